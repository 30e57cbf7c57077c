"""Writes the exact pins: `python -m tools.pins`, or `python -m tools.pins numpy` to take the newest numpy that fits.

`uv pip compile` derives them from the groups in pyproject.toml, the same for every system and Python that we name. A
pin stays as it is unless it is named (or `all` are), so nothing moves by itself. Needs the network.
"""

from __future__ import annotations

import subprocess
import sys

from tools import ROOT

__all__ = ["FILES"]

FILES = {
    "requirements-book.txt": ("book",),
    "requirements.txt": ("book", "lessons", "test", "develop"),
}
"""Each file, and the groups whose packages it pins."""

HEADS = {
    "requirements-book.txt": "# All that the HTML needs, and nothing else: no torch, no plotting.\n",
    "requirements.txt": "# What executing and testing the lessons needs, the book, and the package itself.\n",
}
HOW = """#
# Written by `make pins` from the groups in pyproject.toml, where the reasons stand. Every package has one version, the
# indirect ones too, so that outputs and pages are the same next year. There are no hashes: they would differ for
# every platform and Python, and triple the length.

"""
OPTIONS = [
    "--universal",
    "--fork-strategy=fewest",  # one version for all Pythons where there is one
    "--python-version=3.11",
    "--annotation-style=line",
    "--no-header",
    "--quiet",
]
PROJECT = "-e .\n"


def write(name: str, upgrade: list[str]) -> int:
    """Compile one file in place and give it its head; how many packages it pins."""
    groups = [f"--group={group}" for group in FILES[name]]
    newer = ["--upgrade" if what == "all" else f"--upgrade-package={what}" for what in upgrade]
    command = [sys.executable, "-m", "uv", "pip", "compile", *OPTIONS, *newer, *groups]
    given = PROJECT if "lessons" in FILES[name] else ""
    done = subprocess.run([*command, f"-o{name}", "-"], cwd=ROOT, input=given, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{name} is left as it was: uv says above why it could not be compiled.")
    path = ROOT / name
    lines = path.read_text("utf-8").splitlines(keepends=True)
    pins = [line for line in lines if line.strip() and line[0] not in "#-"]
    path.write_text("".join([HEADS[name], HOW, *pins, given]), encoding="utf-8", newline="\n")
    return len(pins)


def main() -> None:
    for name in FILES:
        print(f"  {name}: {write(name, sys.argv[1:])} packages")


if __name__ == "__main__":
    main()
