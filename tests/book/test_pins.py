"""The pins are complete: whatever a pinned package asks for, on any platform and Python, is pinned and fits.

Reads what the installed packages declare, so that a forgotten pin shows here and not on somebody else's machine.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import ROOT
from tools.pins import FILES

PLATFORMS = {
    "Linux": {"sys_platform": "linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macOS": {"sys_platform": "darwin", "os_name": "posix", "platform_machine": "arm64"},
    "Windows": {"sys_platform": "win32", "os_name": "nt", "platform_machine": "AMD64"},
}
SYSTEMS = {"Linux": "Linux", "macOS": "Darwin", "Windows": "Windows"}


def read(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = (line.partition("#")[0].strip() for line in lines)
    return [Requirement(pin) for pin in pins if pin and not pin.startswith("-")]


BOOK = read("requirements-book.txt")
ALL = read("requirements.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = [name.rpartition(" ")[2] for name in PROJECT["project"]["classifiers"]]


@pytest.mark.parametrize("python", PYTHONS)
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


@pytest.mark.parametrize("pins", [BOOK, ALL], ids=["book", "all"])
def test_every_pin_is_exact_and_stands_once(pins: list[Requirement]) -> None:
    names = [canonicalize_name(pin.name) for pin in pins]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    assert len(set(names)) == len(names)


def test_the_book_and_the_lessons_use_the_same_versions() -> None:
    assert {str(pin) for pin in BOOK} <= {str(pin) for pin in ALL}
    assert "torch" not in {pin.name for pin in BOOK}


@pytest.mark.parametrize("file", FILES)
def test_what_the_project_asks_for_is_pinned_to_a_version_that_it_allows(file: str) -> None:
    pins = {canonicalize_name(pin.name): pin for pin in read(file)}
    for group in FILES[file]:
        for line in PROJECT["dependency-groups"][group]:
            asked = Requirement(line)
            pin = pins[canonicalize_name(asked.name)]
            assert asked.specifier.contains(next(iter(pin.specifier)).version), (
                f"run make pins: {line}"
            )


def test_nothing_of_cuda_is_pinned() -> None:
    assert not [pin.name for pin in ALL if pin.name.startswith(("nvidia", "cuda", "triton"))]


def test_only_all_the_pins_bring_the_package_along() -> None:
    last = {name: (ROOT / name).read_text(encoding="utf-8").splitlines()[-1] for name in FILES}
    assert last["requirements.txt"] == "-e ."
    assert last["requirements-book.txt"] != "-e ."


# ---- the same Pythons everywhere ----


def test_the_package_the_makefile_and_the_texts_name_the_same_pythons() -> None:
    first, last = PYTHONS[0], PYTHONS[-1]
    said = f"Python {first} to {last}"
    for name in ("README.md", "Makefile", "chapters/how-to-run.md"):
        assert said in (ROOT / name).read_text(encoding="utf-8"), f"{name} must say {said!r}"
    assert PROJECT["project"]["requires-python"] == f">={first}"
    tested = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    assert tested["jobs"]["test"]["strategy"]["matrix"]["python"] == PYTHONS
