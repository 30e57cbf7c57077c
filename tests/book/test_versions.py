"""What `make torch` compares: outputs of the lessons under another PyTorch, less what is listed and said."""

from __future__ import annotations

import re
import tomllib

import nbformat
import pytest

from tools import chapters
from tools.compare_outputs import KNOWN, differences, known
from tools.notebooks import MEASURED

LISTED = tomllib.loads(KNOWN.read_text("utf-8")).get("difference", [])


def run(*outputs: dict | str, tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    """A notebook with one cell for each output."""
    cells = []
    for i, output in enumerate(outputs):
        cell = nbformat.v4.new_code_cell("…", id=f"cell-{i}", metadata={"tags": list(tags)})
        given = {"output_type": "stream", "text": output} if isinstance(output, str) else output
        cell.outputs = [nbformat.v4.new_output(**given)]
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells)


def test_a_difference_names_the_first_line_that_differs() -> None:
    (found,) = differences("13", run("one\ntwo\n", "same"), run("one\nthree\nfour\n", "same"))
    assert (found.lesson, found.cell, found.stored, found.now) == ("13", "cell-0", "two", "three")


def test_lines_that_are_gone_or_new_are_differences() -> None:
    assert differences("13", run("one\n"), run("one\ntwo\n"))[0].now == "two"
    assert differences("13", run("one\ntwo\n"), run("one\n"))[0].stored == "two"


def test_texts_are_compared_and_pictures_are_not() -> None:
    def shown(text: str, page: str) -> dict:
        data = {"text/plain": text, "text/html": page}
        return {"output_type": "display_data", "data": data}

    assert differences("13", run(shown("a", "<b>")), run(shown("a", "<i>"))) == []
    assert differences("13", run(shown("a", "<b>")), run(shown("b", "<b>"))) != []


def test_what_is_measured_is_not_compared() -> None:
    assert differences("13", run("1 s", tags=(MEASURED,)), run("2 s", tags=(MEASURED,))) == []


@pytest.mark.parametrize(("version", "count"), [("2.13.0+cpu", 0), ("99.0.1", len(LISTED))])
def test_a_difference_is_listed_since_a_version(version: str, count: int) -> None:
    assert len(known(version)) == count


@pytest.mark.parametrize(
    "listed", LISTED, ids=lambda listed: f"{listed['lesson']}-{listed['cell']}"
)
def test_each_listed_difference_is_said_in_its_lesson(listed: dict[str, str]) -> None:
    lesson = chapters.find(listed["lesson"])
    book = chapters.notebook(lesson)
    assert listed["cell"] in [cell.id for cell in book.cells if cell.cell_type == "code"]
    text = " ".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    assert " ".join(listed["said"].split()) in re.sub(r"\s+", " ", text)
    assert listed["reason"].strip()
