"""A finished notebook can be played with: cells run twice, the whole of it run again, other numbers at its beginning.

Each lesson runs in one kernel, as in a reader's hands: every cell twice in a row, then all of them again from the top;
then, for the lessons in `CHANGED`, once more with other inputs. Nothing may stop, and as long as nothing is changed
every text is the stored one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.course.finished import FINISHED
from tests.course.test_form import code, stored, tags
from tools import chapters
from tools.chapters import Lesson
from tools.compare_outputs import printed
from tools.notebooks import CELL_TIMEOUT_S, MEASURED

pytestmark = pytest.mark.slow

CHANGED = {
    "01": {"x": "[1, 2, 3]", "w": "[-0.25, 2.0, 0.75]"},
    "02": {"x": "[1, 2, 3]", "w": "[-0.25, 2.0, 0.75]"},
    "03": {"x": "[1, 2, 3]", "w": "[-0.25, 2.0, 0.75]"},
}
"""What a reader writes for the first `x` and the first `w`, by lesson: whole numbers, where a tensor may hold them."""
TWICE = ("first", "second")

LESSONS = [chapters.find(number) for number in FINISHED]


def with_other_numbers(cells: list[NotebookNode], inputs: dict[str, str]) -> list[NotebookNode]:
    """The cells, with another list in the first `torch.tensor` that is given to each of these names."""
    sources = [cell.source for cell in cells]
    for name, numbers in inputs.items():
        pattern = re.compile(rf"^({name} = torch\.tensor\()\[[^\]]*\]", re.MULTILINE)
        place = next((i for i, source in enumerate(sources) if pattern.search(source)), None)
        assert place is not None, f"no cell begins with {name} = torch.tensor([…])"
        sources[place] = pattern.sub(rf"\g<1>{numbers}", sources[place], count=1)
    return [
        nbformat.v4.new_code_cell(source, metadata=cell.metadata)
        for cell, source in zip(cells, sources, strict=True)
    ]


def named(cells: list[NotebookNode], origin: list[NotebookNode], turn: str) -> list[NotebookNode]:
    """Copies that have not run; the id of each says which cell it is, and in which turn it runs."""
    return [
        nbformat.v4.new_code_cell(
            cell.source, id=f"{old.id}_{turn}"[-64:], metadata={"cell": old.id, "turn": turn}
        )
        for cell, old in zip(cells, origin, strict=True)
    ]


def turns(lesson: Lesson) -> NotebookNode:
    """One notebook with all that is run in the lesson's kernel, in order."""
    cells = [cell for cell in code(stored(lesson)) if cell.id != chapters.SETUP]
    first, second = (named(cells, cells, turn) for turn in TWICE)
    played = [*chain(*zip(first, second, strict=True)), *named(cells, cells, "again")]
    inputs = CHANGED.get(lesson.name[:2])
    if inputs:
        played += named(with_other_numbers(cells, inputs), cells, "changed")
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


def complaints(book: NotebookNode, lesson: Lesson) -> Iterator[str]:
    """What a reader would stumble over, by cell."""
    texts = {cell.id: printed(cell) for cell in code(stored(lesson))}
    measured = {cell.id for cell in code(stored(lesson)) if MEASURED in tags(cell)}
    for cell in book.cells:
        name, turn = cell.metadata["cell"], cell.metadata["turn"]
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if errors:
            yield f"{name}, {turn} run: {errors[0].ename}: {errors[0].evalue}"
        elif turn != "changed" and name not in measured and printed(cell) != texts[name]:
            yield f"{name}, {turn} run: {printed(cell)!r}, stored: {texts[name]!r}"


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_a_notebook_can_be_run_cell_by_cell_twice_whole_again_and_with_other_numbers(
    lesson: Lesson,
) -> None:
    book = turns(lesson)
    run(book, lesson)
    assert list(complaints(book, lesson)) == []
