"""The commands themselves: each bad input is one clear sentence, and nothing is left half-written.

Runs make on a copy of the Makefile and the tools in an empty folder, with Pythons made of a few lines of shell;
nothing is installed and nothing is built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import ROOT, book

MAKE = shutil.which("gmake") or shutil.which("make")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.name == "nt" or not MAKE, reason="make's messages are for systems with make and a shell"
    ),
]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone in a folder with a space in its name: Makefile, tools and pins, and a `bin` for the PATH."""
    folder = tmp_path / "a clone"
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "requirements.txt", "requirements-book.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "bin").mkdir()
    return folder


def program(clone: Path, name: str, script: str) -> None:
    path = clone / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def old_python(clone: Path, *names: str) -> None:
    for name in names:
        program(clone, name, '[ "$1" = --version ] && { echo Python 3.9.18; exit; }; exit 1')


def make(clone: Path, *arguments: str, only: bool = False) -> subprocess.CompletedProcess:
    """Run make; with `only`, no Python is on the PATH but those in the clone's `bin`."""
    for tool in ("sh", "echo", "find", "head", "rm", "env"):
        (clone / "bin" / tool).exists() or (clone / "bin" / tool).symlink_to(shutil.which(tool))
    path = str(clone / "bin") if only else f"{clone / 'bin'}{os.pathsep}{os.environ['PATH']}"
    kept = {
        k: v
        for k, v in os.environ.items()
        if k not in ("PYTHON", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    return subprocess.run(
        [MAKE, *arguments],
        cwd=clone,
        env=kept | {"PATH": path},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def sentence(done: subprocess.CompletedProcess) -> str:
    """The one line that is not make's own."""
    assert done.returncode != 0
    said = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if not line.startswith(("make", "gmake"))
    ]
    assert len(said) == 1, said
    return said[0]


def test_make_alone_lists_the_verbs(clone: Path) -> None:
    done = make(clone)
    assert done.returncode == 0
    for verb in (
        "book",
        "test",
        "notebooks",
        "chapter",
        "serve",
        "lab",
        "lint",
        "links",
        "bench",
        "torch",
        "clean",
    ):
        assert f"make {verb} " in done.stdout


@pytest.mark.parametrize("verb", ["book", "test"])
def test_only_old_pythons_is_one_sentence(clone: Path, verb: str) -> None:
    old_python(clone, "python3", "python")
    said = sentence(make(clone, verb, only=True))
    assert said.startswith(
        "Define by Run needs Python 3.11 or newer, and there is none here: install one"
    )
    assert not (clone / ".venv").exists()


def test_a_python_named_by_hand_that_is_too_old_is_named(clone: Path) -> None:
    old_python(clone, "python3.9")
    said = sentence(make(clone, "book", "PYTHON=python3.9"))
    assert "needs Python 3.11 or newer, and python3.9 is Python 3.9.18" in said
    assert not (clone / ".venv").exists()


def test_a_python_that_is_not_there_is_one_sentence(clone: Path) -> None:
    said = sentence(make(clone, "book", "PYTHON=nopython"))
    assert "needs Python 3.11 or newer, and nopython is" in said
    assert not (clone / ".venv").exists()


def test_a_newer_python_is_found_behind_an_old_one(clone: Path) -> None:
    old_python(clone, "python3", "python")
    program(clone, "python3.12", 'echo "$0 $*" >> chosen; exit 0')
    done = make(clone, ".venv/book.stamp", only=True)
    assert done.returncode == 0, done.stderr
    assert "python3.12 tools/environment.py book" in (clone / "chosen").read_text(encoding="utf-8")


def test_python_without_venv_is_one_sentence(clone: Path) -> None:
    hide = "import sys; sys.modules['ensurepip'] = None; sys.argv = ['environment.py', 'book']"
    run = "import runpy; runpy.run_path('tools/environment.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}; {run}"],
        cwd=clone,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 1
    assert "has no venv module: install it" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (clone / ".venv").exists()


def test_a_failed_install_says_so_and_is_not_taken_for_done(clone: Path) -> None:
    (clone / "requirements-book.txt").write_text("no-such-package-at-all==0\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "tools/environment.py", "book"],
        cwd=clone,
        env=os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("pip could not install the packages")
    assert "no-such-package-at-all" in done.stderr
    assert not (clone / ".venv" / "book.stamp").exists()


def ready(clone: Path) -> None:
    """As if everything were installed: `.venv` runs the Python of this test."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    script = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    (clone / ".venv" / "bin" / "python").write_text(script, encoding="utf-8")
    (clone / ".venv" / "bin" / "python").chmod(0o755)
    for name in ("book.stamp", "test.stamp"):
        (clone / ".venv" / name).touch()


def test_an_unknown_lesson_is_one_sentence(clone: Path) -> None:
    ready(clone)
    (clone / "chapters").mkdir()
    said = sentence(make(clone, "notebooks", "ONLY=02-nothing"))
    assert said == "There is no lesson '02-nothing': there are none yet."
    assert not (clone / "notebooks").exists()


def test_taking_back_without_a_name_is_one_sentence(clone: Path) -> None:
    ready(clone)
    assert "name the notebook: make chapter NOTEBOOK=notebooks/" in sentence(make(clone, "chapter"))


def test_nothing_changed_means_nothing_is_built(clone: Path) -> None:
    for name in ("_config.yml", "_toc.yml", "index.md", "references.bib"):
        (clone / name).touch()
    for folder in ("chapters", "notebooks"):
        (clone / folder).mkdir()
        (clone / folder / "a").touch()
    ready(clone)
    (clone / "_build").mkdir()
    (clone / "_build" / "book.stamp").touch()
    done = make(clone, "book")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "The book is ready: open _build/html/index.html in a browser, or run make serve."
    ]


@pytest.mark.parametrize("change", ["edited", "gone"])
def test_a_page_that_changed_or_is_gone_means_building(clone: Path, change: str) -> None:
    test_nothing_changed_means_nothing_is_built(clone)
    later = (clone / "_build" / "book.stamp").stat().st_mtime + 5
    page = clone / "notebooks" / "a"
    if change == "gone":
        page.unlink()
        page = page.parent
    os.utime(page, (later, later))
    assert "Building the book" in make(clone, "book").stdout


@pytest.mark.parametrize("folder", ["_static", "_assets", "_templates", "_ext"])
def test_a_new_look_means_building_every_page(tmp_path: Path, folder: str) -> None:
    page = tmp_path / book.PAGE
    sheet = tmp_path / folder / "inside" / "book.css"
    for file in (page, sheet):
        file.parent.mkdir(parents=True)
        file.touch()
    os.utime(sheet, (0, page.stat().st_mtime - 5))
    assert not book.looks_changed(tmp_path)
    os.utime(sheet, (0, page.stat().st_mtime + 5))
    assert book.looks_changed(tmp_path)
    page.unlink()
    assert not book.looks_changed(tmp_path)  # all is built anyway
