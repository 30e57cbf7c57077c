"""A finished notebook can be played with: cells run twice, the whole of it run again, other numbers at its beginning.

Each lesson runs in one kernel, as in a reader's hands: every cell twice in a row, then all of them again from the top;
then, for the lessons in `CHANGED`, once more with other inputs. Nothing may stop, and as long as nothing is changed
every text is the stored one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.course import kinds
from tests.course.test_form import code, stored, tags
from tools import chapters
from tools.chapters import Lesson
from tools.compare_outputs import printed
from tools.notebooks import CELL_TIMEOUT_S, MEASURED

pytestmark = pytest.mark.slow

Changes = tuple[tuple[str, str], ...]
X = ("x = torch.tensor([1.0, -2.0, 3.0]", "x = torch.tensor([1, 2, 3]")
W = ("torch.tensor([0.5, 1.0, 2.0]", "torch.tensor([-0.25, 2.0, 0.75]")
CHANGED = {"01": (X, W), "02": (X, W), "03": (W,)}
"""What a reader changes first, by lesson: a text, and what is written in its place; whole numbers where they may be."""

LESSONS = [
    chapters.find(number) for number in kinds.LESSONS if number in CHANGED or os.environ.get("ALL")
]
"""The first three, and all with `ALL=1`: each runs three times."""


def with_other_inputs(cells: list[NotebookNode], changes: Changes) -> list[str]:
    """The sources of the cells, with each of these texts replaced where it first stands."""
    sources = [cell.source for cell in cells]
    for old, new in changes:
        place = next((i for i, source in enumerate(sources) if old in source), None)
        assert place is not None, f"no cell holds {old}"
        sources[place] = sources[place].replace(old, new, 1)
    return sources


def copies(cells: list[NotebookNode], turn: str, sources: list[str]) -> list[NotebookNode]:
    """Cells with these sources that have not run; each says whose place it takes, and in which turn."""
    return [
        nbformat.v4.new_code_cell(
            source, id=f"{cell.id}_{turn}"[-64:], metadata={"cell": cell.id, "turn": turn}
        )
        for cell, source in zip(cells, sources, strict=True)
    ]


def turns(cells: list[NotebookNode], changes: Changes) -> NotebookNode:
    """One notebook with all that is run in a lesson's kernel, in order."""
    as_stored = [cell.source for cell in cells]
    first, second, again = (copies(cells, turn, as_stored) for turn in ("first", "second", "again"))
    played = [*chain(*zip(first, second, strict=True)), *again]
    if changes:
        played += copies(cells, "changed", with_other_inputs(cells, changes))
    return nbformat.v4.new_notebook(cells=played, metadata=chapters.METADATA)


def run(book: NotebookNode, lesson: Lesson) -> None:
    """Run every cell, also after one that stopped, where readers run their kernel: in the notebook's folder."""
    NotebookClient(
        book,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        allow_errors=True,
        resources={"metadata": {"path": str(lesson.notebook.parent)}},
    ).execute()


def complaints(book: NotebookNode, cells: list[NotebookNode]) -> Iterator[str]:
    """What a reader would stumble over, by cell; `cells` are the stored ones."""
    texts = {cell.id: printed(cell) for cell in cells if MEASURED not in tags(cell)}
    for cell in book.cells:
        name, turn = cell.metadata["cell"], cell.metadata["turn"]
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors:
            yield f"{name}, {turn} run: {errors[0].ename}: {errors[0].evalue}"
        elif turn != "changed" and name in texts and printed(cell) != texts[name]:
            yield f"{name}, {turn} run: {printed(cell)!r}, stored: {texts[name]!r}"


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_a_notebook_can_be_run_cell_by_cell_twice_whole_again_and_with_other_numbers(
    lesson: Lesson,
) -> None:
    cells = [cell for cell in code(stored(lesson)) if cell.id != chapters.SETUP]
    book = turns(cells, CHANGED.get(lesson.name[:2], ()))
    run(book, lesson)
    assert list(complaints(book, cells)) == []
