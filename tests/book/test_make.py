"""The commands themselves: each bad input is one clear sentence, and nothing is left half-written.

Runs make on a copy of the Makefile and the tools in an empty folder, with Pythons made of a few lines of shell;
nothing is installed and nothing is built.
"""

from __future__ import annotations

import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import ROOT, book, environment

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
        "mutants",
        "torch",
        "picture",
        "pins",
        "clean",
    ):
        assert f"make {verb} " in done.stdout


@pytest.mark.parametrize("verb", ["book", "test"])
def test_only_old_pythons_is_one_sentence(clone: Path, verb: str) -> None:
    old_python(clone, "python3", "python")
    said = sentence(make(clone, verb, only=True))
    assert said.startswith(
        "Define by Run needs Python 3.11 to 3.14, and there is none here: install one"
    )
    assert not (clone / ".venv").exists()


def test_a_python_named_by_hand_that_is_too_old_is_named(clone: Path) -> None:
    old_python(clone, "python3.9")
    said = sentence(make(clone, "book", "PYTHON=python3.9"))
    assert "needs Python 3.11 to 3.14, and python3.9 is Python 3.9.18" in said
    assert not (clone / ".venv").exists()


def test_a_python_that_is_not_there_is_one_sentence(clone: Path) -> None:
    said = sentence(make(clone, "book", "PYTHON=nopython"))
    assert "needs Python 3.11 to 3.14, and nopython is" in said
    assert not (clone / ".venv").exists()


def test_a_newer_python_is_found_behind_an_old_one(clone: Path) -> None:
    old_python(clone, "python3", "python")
    program(clone, "python3.12", 'echo "$0 $*" >> chosen; exit 0')
    done = make(clone, ".venv/book.stamp", only=True)
    assert done.returncode == 0, done.stderr
    assert "python3.12 -m tools.environment book" in (clone / "chosen").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("version", "good"),
    [((3, 10), False), ((3, 11), True), ((3, 14), True), ((3, 15), False), ((4, 0), False)],
)
def test_enough_has_two_ends(
    version: tuple[int, int], good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough = re.search(r"^ENOUGH := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    monkeypatch.setattr(sys, "version_info", (*version, 0))
    with pytest.raises(SystemExit) as ended:
        exec(enough[1], {})
    assert (not ended.value.code) is good


def test_the_newest_python_makes_the_environment_and_then_its_own_is_used(clone: Path) -> None:
    for name in ("python3.11", "python3.13", "python3"):
        program(clone, name, 'echo "$0 $*" >> chosen; exit 0')
    make(clone, ".venv/book.stamp", only=True)
    assert "python3.13 -m tools.environment book" in (clone / "chosen").read_text("utf-8")
    ready(clone, "echo mine >> chosen; exit 0")
    make(clone, ".venv/test.stamp", "--always-make", only=True)
    assert (clone / "chosen").read_text("utf-8").endswith("mine\n")


def test_python_without_venv_is_one_sentence(clone: Path) -> None:
    hide = "import sys; sys.modules['ensurepip'] = None; sys.argv = ['environment', 'book']"
    run = "import runpy; runpy.run_module('tools.environment', run_name='__main__')"
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
        [sys.executable, "-m", "tools.environment", "book"],
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


def ready(clone: Path, does: str = f'exec "{sys.executable}" "$@"') -> None:
    """As if everything were installed: `.venv` runs the Python of this test, or does what is given."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
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


def test_a_part_of_the_tests_is_its_folders_and_an_unknown_one_is_one_sentence(
    clone: Path,
) -> None:
    ready(clone, 'echo "$@"')
    assert make(clone, "test", "PART=package").stdout.endswith("tests/package definebyrun\n")
    assert "-m pytest" in make(clone, "test").stdout
    assert sentence(make(clone, "test", "PART=engine")) == (
        "There is no part 'engine': make test PART=package, course, book or notebooks"
    )


def test_the_lab_has_its_root_where_links_to_chapters_and_pictures_lead(clone: Path) -> None:
    ready(clone, 'echo "$@"')
    (clone / ".venv" / "lab.stamp").touch()
    assert make(clone, "lab").stdout == (
        "-m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks\n"
    )


def serving(port: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "tools.serve", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def test_a_port_that_cannot_be_had_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, said = serving(port).communicate(timeout=60)
    assert said.startswith(f"The book is not shown, port {port} cannot be had")
    assert len(said.splitlines()) == 1
    for wrong in ("eighty", "70000"):
        _, said = serving(wrong).communicate(timeout=60)
        assert "make serve PORT=8001" in said
        assert len(said.splitlines()) == 1


def test_the_server_stops_without_a_traceback() -> None:
    server = serving(0)
    assert server.stdout.readline().startswith("The book is at http://localhost:")
    server.send_signal(signal.SIGINT)
    _, said = server.communicate(timeout=60)
    assert said.split() == ["Stopped."]


# ---- PyTorch's CPU builds ----


class Answering(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.HTTPServer]:
    """A stand-in for PyTorch's index, on Linux without a GPU."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        monkeypatch.setattr(environment, "CPU_WHEELS", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_cpu_builds_are_taken_where_their_index_answers(index: http.server.HTTPServer) -> None:
    assert environment.without_cuda() == ["--extra-index-url", environment.CPU_WHEELS]


def test_cpu_builds_are_left_where_there_is_a_gpu_or_another_system(
    index: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert environment.without_cuda() == []
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert environment.without_cuda() == []


def test_an_index_that_refuses_hangs_or_is_not_there_is_passed_over_soon_and_silently(
    index: http.server.HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Answering, "status", 403)
    assert environment.without_cuda() == []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(environment, "MAX_WAIT_S", 0.2)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(environment, "CPU_WHEELS", address)
        assert environment.without_cuda() == []
    assert environment.without_cuda() == []  # closed by now
    monkeypatch.setattr(environment, "CPU_WHEELS", "https://nowhere.invalid")
    assert environment.without_cuda() == []
    assert capfd.readouterr() == ("", "")


# ---- the book ----


def test_without_a_network_no_link_is_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = "repository: {url: 'https://nowhere.invalid/book', branch: main}\n"
    (tmp_path / "_config.yml").write_text(config, encoding="utf-8")
    monkeypatch.setattr(book, "ROOT", tmp_path)
    assert book.links() == 1
    assert capsys.readouterr().out.splitlines() == [
        "No link was checked: this needs the network, and https://nowhere.invalid/book does not answer."
    ]


@pytest.mark.parametrize(
    "lesson", sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
)
def test_a_chapter_that_was_edited_since_its_notebook_was_made_is_named(
    lesson: str, tmp_path: Path
) -> None:
    for kind, ending in (("chapters", "md"), ("notebooks", "ipynb")):
        (tmp_path / kind).mkdir()
        shutil.copy(ROOT / kind / f"{lesson}.{ending}", tmp_path / kind)
    assert book.behind(tmp_path) == []
    chapter = tmp_path / "chapters" / f"{lesson}.md"
    text = chapter.read_text("utf-8")
    middle = text.index(" the ", len(text) // 2)
    for edited in (text + "\nOne sentence more.\n", text[:middle] + text[middle + 4 :]):
        chapter.write_text(edited, encoding="utf-8")
        assert book.behind(tmp_path) == [lesson]


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
