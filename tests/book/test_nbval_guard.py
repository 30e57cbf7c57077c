"""The guard guards: one number, one error message or one drawing altered in a stored notebook, and nbval fails.

Works on copies of a real lesson, cut off after the cell in question so that they run fast. The unaltered copy
passes, so a failure comes from the alteration and from nothing else. All copies run in one pytest of their own.
"""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable

import nbformat
import pytest
from nbformat import NotebookNode

from tools import ROOT

pytestmark = pytest.mark.slow

LESSON = ROOT / "notebooks" / "01-your-first-graph.ipynb"


def stored_texts(cell: NotebookNode) -> list[str]:
    return [
        o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", [])
    ]


def first(book: NotebookNode, wanted: Callable[[NotebookNode], bool]) -> int:
    return next(i for i, cell in enumerate(book.cells) if cell.cell_type == "code" and wanted(cell))


def shows_a_number(cell: NotebookNode) -> bool:
    return any(re.match(r"\w.*= \[?-?\d+\.\d", text) for text in stored_texts(cell))


def shows_an_error(cell: NotebookNode) -> bool:
    return "except " in cell.source and any(
        re.search(r"Error: \w", text) for text in stored_texts(cell)
    )


def shows_a_drawing(cell: NotebookNode) -> bool:
    return any(
        "text/html" in o.get("data", {}) and "<svg" in o.data["text/html"] for o in cell.outputs
    )


def alter(book: NotebookNode, index: int, pattern: str, replacement: str) -> NotebookNode:
    """A copy whose stored text of one cell differs in one place; the picture beside it stays as it is."""
    altered = copy.deepcopy(book)
    for output in altered.cells[index].outputs:
        holder, key = (output, "text") if "text" in output else (output.data, "text/plain")
        if re.search(pattern, holder[key]):
            holder[key] = re.sub(pattern, replacement, holder[key], count=1)
            return altered
    raise AssertionError(f"cell {book.cells[index].id} shows nothing like {pattern}")


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """For each copy, the cells that nbval found wrong."""
    book = nbformat.read(LESSON, as_version=4)
    number, error, drawing = (
        first(book, wanted) for wanted in (shows_a_number, shows_an_error, shows_a_drawing)
    )
    book.cells = book.cells[: max(number, error, drawing) + 1]
    copies = {
        "unaltered": book,
        "number": alter(book, number, r"(?<=\d)\.(\d)", r".9\1"),
        "error": alter(book, error, r"Error: \w", "Error: Q"),
        "drawing": alter(book, drawing, r"Backward0", "Backward1"),
    }
    folder = tmp_path_factory.mktemp("copies")
    for name, altered in copies.items():
        nbformat.write(altered, folder / f"{name}.ipynb")
    place = [str(folder), "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    plain = ["-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rA", "-o", f"addopts={options()}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *place, *plain],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    found = {
        name: re.findall(rf"FAILED \S*{name}\.ipynb::Cell (\d+)", done.stdout) for name in copies
    }
    ran = {
        name: len(re.findall(rf"(?:PASSED|FAILED) \S*{name}\.ipynb::Cell", done.stdout))
        for name in copies
    }
    cells = sum(cell.cell_type == "code" for cell in book.cells)
    assert set(ran.values()) == {cells}, done.stdout[-3000:]
    return found


def options() -> str:
    """The project's own nbval options, so that it is the project's guard that is tested."""
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return " ".join(o for o in settings["tool"]["pytest"]["ini_options"]["addopts"] if "nbval" in o)


def test_the_unaltered_copy_passes(verdicts: dict[str, list[str]]) -> None:
    assert verdicts["unaltered"] == []


@pytest.mark.parametrize("what", ["number", "error", "drawing"])
def test_an_altered_output_is_found(verdicts: dict[str, list[str]], what: str) -> None:
    assert len(verdicts[what]) == 1
