"""What Colab does: one notebook alone in an empty folder, no course package, everything else already there.

The packages are built as wheels, and the notebook's own setup cell installs them into an environment that has torch
and the like but no `definebyrun`; only the addresses in that cell are replaced by the wheels'. Then every cell runs.
Two notebooks do it in an ordinary run, all of them with `ALL=1` in the environment: nbval executes the others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import definebyrun
from tools import ROOT, chapters

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PIECES = "definebyrun_course.pieces"
PACKAGES = ("definebyrun", "definebyrun_course")
PROBE = "import importlib.util as u; s = u.find_spec('definebyrun_course'); print(s and s.origin)"


def code(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def chosen() -> list[Path]:
    """The shortest notebook with an exercise, and the shortest that uses pieces of the lessons; or all of them."""
    if os.environ.get("ALL"):
        return NOTEBOOKS
    by_length = sorted(NOTEBOOKS, key=lambda path: len(code(path)))
    with_exercise = [path for path in by_length if ".check(" in code(path)]
    with_pieces = [path for path in by_length if PIECES in code(path)]
    return sorted({*with_exercise[:1], *with_pieces[:1]})


def bare_environment() -> dict[str, str]:
    """No path of this repository, and no network for pip: all that the package asks for must be there."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    return kept | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def ask(python: Path, code: str, folder: Path) -> str:
    done = subprocess.run(
        [python, "-c", code],
        cwd=folder,
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two packages as wheels, built from a copy, so that nothing is left in the repository."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("definebyrun", "definebyrun_course"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    return {
        name: build(source / name, source / f"dist-{name}") for name in (".", "definebyrun_course")
    }


def build(folder: Path, dist: Path) -> Path:
    """The wheel of the project in a folder."""
    # A version of its own, so that pip does not take the package of this repository, if it sees it, for this one.
    project = (folder / "pyproject.toml").read_text(encoding="utf-8")
    project = re.sub(r'^(version = "[^"]+)"', r'\1+wheel"', project, count=1, flags=re.MULTILINE)
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    command = ["-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [sys.executable, *command, "-w", str(dist)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh environment that borrows the packages of this one, but has no `definebyrun`."""
    real = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    if real.is_file():  # the `python` that made this environment may be a shim, which a link breaks
        monkeypatch.setattr(sys, "_base_executable", str(real))
    venv.create(tmp_path / "bare", symlinks=os.name != "nt")  # pip is among what it borrows
    scripts = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin")
    (own,) = (tmp_path / "bare").rglob("site-packages")
    # Added by name only: the .pth files of the borrowed folder, which lead to this repository, are not read.
    (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return scripts / ("python.exe" if os.name == "nt" else "python")


def test_each_wheel_holds_its_whole_package(wheels: dict[str, Path]) -> None:
    held = {
        name: {
            inside for inside in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in inside
        }
        for name, wheel in wheels.items()
    }
    for project, package in ((".", "definebyrun"), ("definebyrun_course", "definebyrun_course")):
        here = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert held[project] == here - {f"{package}/pyproject.toml"}


def test_a_wheel_is_small(wheels: dict[str, Path]) -> None:
    most = {".": 340_000, "definebyrun_course": 700_000}  # with all wrong answers
    assert {name: path.stat().st_size < most[name] for name, path in wheels.items()} == {
        ".": True,
        "definebyrun_course": True,
    }


def test_both_packages_have_one_version_and_one_address() -> None:
    address = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]
    for folder in (".", "definebyrun_course"):
        text = (ROOT / folder / "pyproject.toml").read_text("utf-8")
        project = tomllib.loads(text)["project"]
        assert project["version"] == definebyrun.__version__
        assert project["urls"]["Repository"] == address


def test_the_recorder_alone_says_where_the_exercises_are(
    python: Path, wheels: dict[str, Path], tmp_path: Path
) -> None:
    install = [python, "-m", "pip", "install", "--quiet", wheels["."]]
    subprocess.run(install, env=bare_environment(), check=True, capture_output=True)
    code = """
import torch, definebyrun as dbr
w = torch.ones(2, requires_grad=True)
with dbr.record() as tape:
    (w * 2).sum().backward()
print(len(tape.nodes), "<svg" in tape.svg())
try:
    dbr.check("node_counts", 3)
except ModuleNotFoundError as error:
    print(error)
try:
    dbr.pieces
except ModuleNotFoundError as error:
    print(error)
"""
    said = ask(python, code, tmp_path).splitlines()
    assert said[0] == "3 True"
    address = f"git+{chapters.repository()[0]}#subdirectory=definebyrun_course"
    assert (
        said[1:] == [f'the exercises are a package of their own: run `pip install "{address}"`'] * 2
    )


# ---- a folder that is named like a package, such as a clone of the repository ----


def test_in_a_folder_that_holds_a_clone_the_installed_package_is_imported(tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name / ".git").mkdir(parents=True)
    said = ask(Path(sys.executable), "import definebyrun; print(definebyrun.record)", tmp_path)
    assert said.startswith("<function record")


SETUP = chapters.setup_source(chapters.lessons()[0])
RUN_IN_IPYTHON = """
import sys
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance().run_cell(sys.stdin.read())
"""


def in_ipython(python: Path, source: str, folder: Path) -> list[str]:
    """The lines that a cell prints."""
    done = subprocess.run(
        [python, "-c", RUN_IN_IPYTHON],
        cwd=folder,
        env=bare_environment() | {"IPYTHONDIR": str(folder / "ipython")},
        input=source,
        capture_output=True,
        encoding="utf-8",
    )
    return (done.stdout + done.stderr).splitlines()


def test_the_setup_cell_does_nothing_where_both_packages_are_there(tmp_path: Path) -> None:
    assert in_ipython(Path(sys.executable), SETUP, tmp_path) == []


@pytest.mark.parametrize("there", [(), ("definebyrun",), PACKAGES], ids=len)
def test_the_setup_cell_installs_where_a_package_is_missing_and_folders_do_not_count(
    python: Path, tmp_path: Path, there: tuple[str, ...]
) -> None:
    (own,) = (tmp_path / "bare").rglob("site-packages")
    for name in PACKAGES:
        (tmp_path / "content" / name / ".git").mkdir(parents=True)
    for name in there:
        (own / name).mkdir()
        (own / name / "__init__.py").touch()
    cell = re.sub("%pip .*", "print('installs')", SETUP)
    said = in_ipython(python, cell, tmp_path / "content")
    assert said == ([] if there == PACKAGES else ["installs"])


def test_a_setup_cell_that_cannot_install_says_so_in_one_sentence(
    python: Path, tmp_path: Path
) -> None:
    nowhere = (tmp_path / "nowhere").as_uri()
    said = in_ipython(python, re.sub(r"git\+https://[^@#\"]+", f"git+{nowhere}", SETUP), tmp_path)
    assert said[0].strip('"') == chapters.NOT_INSTALLED
    assert len(said) == 1 or said[1].startswith("Note: you may need to restart the kernel")
    assert len(said) <= 2


def kernel(python: Path, folder: Path) -> Path:
    """Where Jupyter finds a kernel named `bare` that runs in that environment."""
    place = folder / "jupyter" / "kernels" / "bare"
    place.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "bare", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder / "jupyter"


@pytest.mark.parametrize("path", chosen(), ids=lambda path: path.stem)
def test_a_notebook_alone_installs_the_package_and_runs(
    path: Path,
    python: Path,
    wheels: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "content"
    folder.mkdir()
    assert ask(python, PROBE, folder) == "None", (
        "the environment must not have the package to begin with"
    )
    assert "torch" in ask(python, "import torch; print(torch.__name__)", folder)

    book = nbformat.read(path, as_version=4)
    (setup,) = (cell for cell in book.cells if cell.id == chapters.SETUP)
    for name, wheel in wheels.items():
        address = r"(?<=-qqq )\{url\}" if name == "." else rf"\{{url\}}#subdirectory={name}"
        setup.source, replaced = re.subn(address, wheel.as_uri(), setup.source)
        assert replaced == 1
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    monkeypatch.setenv("JUPYTER_PATH", str(kernel(python, tmp_path)))
    place = {"metadata": {"path": str(folder)}}
    try:
        NotebookClient(book, kernel_name="bare", timeout=300, resources=place).execute(
            env=bare_environment()
        )
    except CellExecutionError as error:
        said = [output.get("text", "") for output in setup.outputs]
        pytest.fail(f"{error}\nThe setup cell said: {''.join(said)}", pytrace=False)

    origin = Path(ask(python, PROBE, folder))
    assert origin.is_relative_to(python.parent.parent)
    shown = [output for cell in book.cells[2:] for output in cell.get("outputs", [])]
    assert shown
    assert not [output for output in shown if output.output_type == "error"]
    assert [item.name for item in folder.iterdir() if item.suffix != ".pt"] == []
