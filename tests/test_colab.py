"""What Colab does: one notebook alone in an empty folder, no course package, everything else already there.

The package is built as a wheel, and the notebook's own setup cell installs it into an environment that has torch
and the like but not `definebyrun`; only the address in that cell is replaced by the wheel's. Then every cell runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROBE = "import importlib.util as u; s = u.find_spec('definebyrun'); print(s and s.origin)"


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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel, built from a copy, so that nothing is left in the repository."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "definebyrun", source / "definebyrun", ignore=shutil.ignore_patterns("__pycache__")
    )
    # A version of its own, so that pip does not take the package of this repository, if it sees it, for this one.
    project = (source / "pyproject.toml").read_text(encoding="utf-8")
    project = re.sub(r'^(version = "[^"]+)"', r'\1+wheel"', project, count=1, flags=re.MULTILINE)
    (source / "pyproject.toml").write_text(project, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            ".",
            "--no-deps",
            "--no-build-isolation",
            "--quiet",
            "-w",
            "dist",
        ],
        cwd=source,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (built,) = (source / "dist").glob("*.whl")
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


def test_the_wheel_holds_the_files_that_the_player_needs(wheel: Path) -> None:
    import zipfile

    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("definebyrun/")}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "definebyrun").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == here


def kernel(python: Path, folder: Path) -> Path:
    """Where Jupyter finds a kernel named `bare` that runs in that environment."""
    place = folder / "jupyter" / "kernels" / "bare"
    place.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "bare", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder / "jupyter"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_alone_installs_the_package_and_runs(
    path: Path, python: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "content"
    folder.mkdir()
    assert ask(python, PROBE, folder) == "None", (
        "the environment must not have the package to begin with"
    )
    assert "torch" in ask(python, "import torch; print(torch.__name__)", folder)

    book = nbformat.read(path, as_version=4)
    setup = book.cells[1]
    setup.source, replaced = re.subn(r"git\+https://[^\"\s]+", wheel.as_uri(), setup.source)
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
