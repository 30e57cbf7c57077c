"""The notebooks of coding problems: their bones, the second answers that they print, the counts of their graders."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
import torch

from definebyrun_course.exercises import of_lesson
from definebyrun_course.exercises.lesson26 import adaptive_depth
from definebyrun_course.exercises.lesson26.backward_order import Node, engine_order
from definebyrun_course.exercises.lesson27.four_bugs import bugs_of, script, with_bugs
from definebyrun_course.exercises.measures import Held
from definebyrun_course.grading import judge, seeded
from definebyrun_course.measured import stored as numbers
from experiments.graders import counts
from tests.course.kinds import PROBLEMS
from tests.course.test_exercises_in_chapters import run
from tests.course.test_form import code, section, stored, tags
from tools import chapters
from tools.chapters import Lesson

MAX_LINES, MAX_COLUMNS = 15, 88
SECOND = re.compile(
    r"<details><summary>A second right answer</summary>\n\n```python\n(.*?)\n```", re.DOTALL
)
PARTS = (
    r"^What is checked: ",
    r"^<details><summary>Hint 1: ",
    r"^<details><summary>Hint 2: ",
    r"^<details><summary>Solution</summary>",
    r"^<details><summary>A second right answer</summary>",
    r"^\*\*Complexity\.\*\* ",
    r"^\*\*What an interviewer asks next\.\*\*",
)
"""What each problem has, in this order."""

NOTEBOOKS = [chapters.find(number) for number in PROBLEMS]
each = pytest.mark.parametrize("lesson", NOTEBOOKS, ids=lambda lesson: lesson.name)
PRINTED = [(lesson, exercise) for lesson in NOTEBOOKS for exercise in chapters.exercises(lesson)]


def problems(lesson: Lesson) -> dict[str, str]:
    """The Markdown of each problem, by its number, with code cells as one line each."""
    texts = [
        cell.source if cell.cell_type == "markdown" else f"[code cell {' '.join(tags(cell))}]"
        for cell in stored(lesson).cells
    ]
    parts = re.split(r"^### (\d\d\.\d) .*$", "\n\n".join(texts), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@each
def test_a_notebook_has_six_problems_in_the_order_of_their_exercises(lesson: Lesson) -> None:
    number = lesson.name[:2]
    assert list(problems(lesson)) == [f"{number}.{i}" for i in range(1, 7)]
    names = [exercise.id for exercise in chapters.exercises(lesson)]
    assert names == [exercise.id for exercise in of_lesson(number)]


@each
def test_a_problem_has_statement_examples_hints_two_answers_cost_and_what_comes_next(
    lesson: Lesson,
) -> None:
    for number, text in problems(lesson).items():
        places = []
        for part in PARTS:
            found = re.findall(part, text, re.MULTILINE)
            assert len(found) == 1, f"{number}: {part}"
            places.append(re.search(part, text, re.MULTILINE).start())
        assert places == sorted(places), number
        stub = text.index("[code cell exercise]")
        assert places[2] < stub < places[3], f"{number}: hints, stub, solution"
        assert "[code cell ]" in text[: places[1]], f"{number}: examples, executed"
        questions = re.findall(r"^- \*.*?\?\*", text[places[-1] :], re.MULTILINE)
        assert len(questions) == 2, f"{number}: two changes of the problem"


@each
def test_cells_are_short_and_fit_a_page(lesson: Lesson) -> None:
    for cell in code(stored(lesson)):
        if cell.id != chapters.SETUP:
            lines = cell.source.splitlines()
            assert len(lines) <= MAX_LINES or "exercise" in tags(cell), cell.id
            assert max(map(len, lines)) <= MAX_COLUMNS, cell.id


@each
def test_a_notebook_says_how_its_graders_were_tried_and_what_is_next(lesson: Lesson) -> None:
    book = stored(lesson)
    assert section(book, "How these graders were tried")
    assert "](" in section(book, "What is next")
    (told,) = (cell for cell in code(book) if cell.id == "graders")
    assert re.search(r"tried on [\d,]+ wrong programs", told.outputs[0].text)


@pytest.mark.parametrize(("lesson", "exercise"), PRINTED, ids=lambda each: getattr(each, "id", ""))
def test_the_second_answer_that_is_printed_is_right_too(
    lesson: Lesson, exercise: chapters.Exercise
) -> None:
    cells = stored(lesson).cells
    place = next(i for i, cell in enumerate(cells) if cell.source == exercise.stub)
    second = SECOND.search(cells[place + 1].source)[1]
    assert second not in exercise.solution
    check = exercise.stub[re.search(r"^dbr\.check\(", exercise.stub, re.MULTILINE).start() :]
    with seeded(2026):
        verdict = run(exercise.setup, f"{second}\n{check}")
    assert verdict.status == "correct", repr(verdict)


@pytest.mark.parametrize("number", PROBLEMS)
def test_the_counts_of_tried_graders_are_those_of_now(number: str) -> None:
    """Where an answer has changed: `make experiments ONLY=graders`, and the notebooks."""
    tried = numbers("graders")[number]
    assert list(tried) == [exercise.id for exercise in of_lesson(number)]
    for exercise in of_lesson(number):
        found = {name: tried[exercise.id][name] for name in ("wrong", "changed")}
        assert found == counts(exercise), exercise.id
        assert tried[exercise.id]["holes"] == 0
        assert tried[exercise.id]["spoiled"] > 0 or exercise.id == "reacting_rate"  # a class


# ---- what the graders stand on ----


def random_loss(draw: random.Random) -> torch.Tensor:
    """A loss whose graph joins and parts at random, recorded in an order that is not that of its edges."""
    x = torch.ones(2, requires_grad=True)
    values = [x.exp(), x.sin()]
    for _ in range(draw.randrange(3, 9)):
        one, two = draw.choices(values, k=2)
        values.append(draw.choice([one.cos, one.tanh, lambda a=one, b=two: a * b])())
    draw.shuffle(values)
    return torch.stack(values[:4]).sum()


@pytest.mark.parametrize("seed", range(12))
def test_the_order_that_is_asked_for_is_that_of_pytorchs_engine(seed: int) -> None:
    loss = random_loss(random.Random(seed))
    nodes: dict[Any, Node] = {}
    ran: list[Any] = []
    waiting = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node not in nodes:
            number = node._sequence_nr() if "Accumulate" not in node.name() else 2**62
            nodes[node] = Node(number)
            node.register_hook(lambda *_, node=node: ran.append(node))
            waiting += [target for target, _ in node.next_functions if target is not None]
    for node, ours in nodes.items():
        ours.leads_to(*(nodes[target] for target, _ in node.next_functions if target is not None))
    loss.backward()
    assert [nodes[node] for node in ran] == engine_order(nodes[loss.grad_fn])


@pytest.mark.parametrize(("foreach", "most"), [(False, 4), (True, 32)])
def test_a_step_of_pytorchs_adam_holds_few_tensors_or_one_for_each_parameter(
    foreach: bool, most: int
) -> None:
    params = [torch.ones(64, requires_grad=True) for _ in range(32)]
    optimizer = torch.optim.Adam(params, foreach=foreach)
    for p in params:
        p.grad = torch.ones(64)
    with Held() as held:
        optimizer.step()
    state = held.nbytes
    held.peak_nbytes = 0
    with held:
        optimizer.step()
    assert held.nbytes == state == pytest.approx(2 * 32 * 256, rel=0.02)  # and the counts of steps
    assert held.peak_nbytes - state <= most * 256
    assert held.peak_nbytes - state > (most - 2) * 256


@pytest.mark.parametrize("seed", range(40))
def test_a_script_has_four_bugs_and_can_be_run(seed: int) -> None:
    names = bugs_of(seed)
    assert len(set(names)) == 4
    text = script(seed)
    assert text == with_bugs(*names) != with_bugs()
    compile(text, "<script>", "exec")


def test_a_graph_that_is_not_the_expected_one_is_drawn_beside_it() -> None:
    exercise = adaptive_depth.EXERCISE
    (fixed,) = (wrong for wrong in exercise.wrong if wrong.name == "a fixed depth")
    verdict = judge(exercise, fixed.given)
    assert "<svg" in verdict.picture
    assert "<svg" in verdict._repr_html_()
    assert "<svg" not in repr(verdict)
