"""The bones of lessons: a reason first, few predictions that nothing gives away, an honest clock.

Reads stored notebooks; runs nothing.
"""

from __future__ import annotations

import ast
import re

import pytest
from nbformat import NotebookNode

from tests.course import kinds
from tests.course.test_form import code, prose, section, stored, tags
from tools import chapters, clock
from tools.chapters import Lesson

MAX_COLUMNS = 86
MAX_WORK_MINUTES, MAX_PREDICTIONS, MAX_LINES, MAX_FOLDED_LINES = 60, 8, 15, 60
CLOSED = {"hide-output", "hide-cell"}
ORDER = (
    "A wrong belief, executed",
    "Exercises",
    "Cheat sheet",
    "Going deeper",
    "What is next",
    "Further reading",
)
EXPLANATION = "<details><summary>Explanation</summary>"
TELLING = re.compile(r"\d|True|False|None|Error")
"""What a first line must not hold: JupyterLab shows it of an output that is closed."""

LESSONS = [chapters.find(number) for number in kinds.LESSONS]
each = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


def sections(lesson: Lesson) -> list[str]:
    return re.findall(r"^## (.*?)\s*$", "\n".join(prose(stored(lesson))), re.MULTILINE)


@each
def test_a_lesson_opens_with_a_question_honest_times_and_objectives(lesson: Lesson) -> None:
    first = next(cell.source for cell in stored(lesson).cells)
    question = first.split("\n\n")[2]
    assert question.endswith("?"), "the first paragraph is one question"
    time = clock.count(stored(lesson))
    assert f"**Time:** {time} · **Builds on:** " in first, f"by the clock: {time}"
    assert time.work <= MAX_WORK_MINUTES, "cut, move below the cheat sheet, or throw away"
    objectives = re.search(
        r"\*\*After this lesson you can\*\*\n\n((?:- .*\n?(?:  .*\n?)*)+)", first
    )
    assert objectives
    assert 3 <= len(re.findall(r"^- ", objectives[1], re.MULTILINE)) <= 5


@each
def test_a_lesson_begins_with_why_and_a_program_that_fails(lesson: Lesson) -> None:
    found = sections(lesson)
    assert found[0].startswith("Why"), "the first section says why this matters"
    assert section(stored(lesson), "Why").strip()
    cells, heads = stored(lesson).cells, []
    for i, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            heads += [i] * len(re.findall(r"^## ", cell.source, re.MULTILINE))
    programs = [cell for cell in cells[heads[0] : heads[1]] if cell.cell_type == "code"]
    assert any(cell.outputs for cell in programs), "one program that fails, executed"


@each
def test_sections_stand_in_order_and_there_is_a_cheat_sheet(lesson: Lesson) -> None:
    last = [title for title in sections(lesson) if title in ORDER]
    assert last == [title for title in ORDER if title in last]
    assert set(ORDER) - {"Going deeper"} <= set(last)
    assert len(section(stored(lesson), "Cheat sheet").splitlines()) <= 45, "one screen"


@each
def test_few_predictions_each_closed_with_its_explanation(lesson: Lesson) -> None:
    """Question, then a closed output, then `<details>` with the explanation: in this order and nothing between."""
    cells = stored(lesson).cells
    asked = [c for c in cells if c.cell_type == "markdown" and clock.ASKS.search(c.source)]
    assert 3 <= len(asked) <= MAX_PREDICTIONS
    closed = [i for i, cell in enumerate(cells) if CLOSED & set(tags(cell))]
    assert closed
    for i in closed:
        above, below = cells[i - 1], cells[i + 1]
        assert above.cell_type == "markdown", cells[i].id
        question = above.source.rstrip().rpartition("\n\n")[2]
        assert re.match(r"> \*\*(Predict|Guess)\.\*\*", question), (
            f"no question above {cells[i].id}"
        )
        assert below.source.startswith(EXPLANATION), f"no explanation below {cells[i].id}"
        assert cells[i].outputs, f"cell {cells[i].id} has no output"
    assert len(closed) >= len(asked)


def first_line(cell: NotebookNode) -> str:
    output = cell.outputs[0]
    data = output.get("data", {})
    kinds = ("text/html", "image/svg+xml", "text/plain")
    text = output.get("text") or next((data[kind] for kind in kinds if kind in data), "")
    return next((line for line in text.splitlines() if line.strip()), "")


@each
def test_the_first_line_of_a_closed_output_says_nothing(lesson: Lesson) -> None:
    for cell in code(stored(lesson)):
        if CLOSED & set(tags(cell)):
            line = re.sub(r"<\?xml.*", "", first_line(cell))
            assert not TELLING.search(line), f"{cell.id}: print a heading first, not {line!r}"


@each
def test_a_wrong_belief_is_executed_and_said_in_an_interview(lesson: Lesson) -> None:
    assert re.search(
        r"^> \*\*In an interview\*\*", section(stored(lesson), "wrong belief"), re.MULTILINE
    )


@each
def test_exercises_rise_from_a_warm_up_and_hold_a_diagnosis_and_a_writing(lesson: Lesson) -> None:
    text = section(stored(lesson), "Exercises")
    kinds = re.findall(
        r"^### \d\d\.\d .*\n\n\*(Warm-up|Diagnosis|Write it|Practice)\.\*", text, re.MULTILINE
    )
    assert len(kinds) == len(chapters.exercises(lesson)) >= 3
    assert kinds[0] == "Warm-up"
    assert {"Diagnosis", "Write it"} <= set(kinds)


@each
def test_steps_are_short_and_harness_is_folded(lesson: Lesson) -> None:
    """A step has 15 lines; a class may be as long as it is, and so may what is folded, up to a screen."""
    for cell in code(stored(lesson)):
        if cell.id == chapters.SETUP:
            continue
        lines = len(cell.source.splitlines())
        widest = max(cell.source.splitlines(), key=len, default="")
        if {"hide-input", "hide-cell"} & set(tags(cell)):
            assert lines <= MAX_FOLDED_LINES, cell.id
            continue
        assert len(widest) <= MAX_COLUMNS, f"{cell.id}, cut on a page: {widest}"
        if lines > MAX_LINES:
            body = ast.parse(cell.source).body
            assert any(isinstance(node, ast.ClassDef) for node in body), (
                f"cell {cell.id} is too long"
            )
            assert lines <= MAX_FOLDED_LINES, cell.id


@each
def test_an_assert_says_what_failed(lesson: Lesson) -> None:
    for cell in code(stored(lesson)):
        if "exercise" not in tags(cell) and cell.id != chapters.SETUP:
            for node in ast.walk(ast.parse(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE))):
                assert not isinstance(node, ast.Assert) or node.msg, (
                    f"{cell.id}: {ast.unparse(node)}"
                )
