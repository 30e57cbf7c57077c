"""The pins are complete: whatever a pinned package asks for, on any platform and Python, is pinned and fits.

Reads what the installed packages declare, so that a forgotten pin shows here and not on somebody else's machine.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import ROOT

PLATFORMS = {
    "Linux": {"sys_platform": "linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macOS": {"sys_platform": "darwin", "os_name": "posix", "platform_machine": "arm64"},
    "Windows": {"sys_platform": "win32", "os_name": "nt", "platform_machine": "AMD64"},
}
SYSTEMS = {"Linux": "Linux", "macOS": "Darwin", "Windows": "Windows"}


def read(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


BOOK = read("requirements-book.txt")
ALL = BOOK + read("requirements.txt")


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", list(PLATFORMS))
@pytest.mark.parametrize("pins", [BOOK, ALL], ids=["book", "all"])
def test_all_that_a_package_asks_for_is_pinned(
    pins: list[Requirement], platform: str, python: str
) -> None:
    case = PLATFORMS[platform] | {
        "platform_system": SYSTEMS[platform],
        "python_version": python,
        "python_full_version": f"{python}.9",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(case)]
    versions = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in here}
    lacks = []
    for pin in here:
        try:
            asked = distribution(pin.name).requires or []
        except PackageNotFoundError:
            continue  # a package of another platform
        for line in asked:
            wanted = Requirement(line)
            if wanted.marker and not wanted.marker.evaluate(case | {"extra": ""}):
                continue
            version = versions.get(canonicalize_name(wanted.name))
            if version is None and pin.name == "torch" and platform == "Linux":
                continue  # its CUDA packages, which it pins itself
            if version is None or not wanted.specifier.contains(version, prereleases=True):
                lacks.append(f"{pin.name} asks for {line}; the pin is {version}")
    assert not lacks


def test_every_pin_is_exact_and_stands_once() -> None:
    names = [canonicalize_name(pin.name) for pin in ALL]
    assert all(str(pin.specifier).startswith("==") for pin in ALL)
    assert sorted(names) == sorted(set(names))


def test_requirements_take_in_those_of_the_book_and_the_package() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "-r requirements-book.txt"
    assert lines[-1] == "-e ."
    assert "torch" not in {pin.name for pin in BOOK}
