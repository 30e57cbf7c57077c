"""The exercises as the chapters print them: each stub is not attempted yet, each folded solution is correct.

Stub and solution are taken out of the chapter's text and run the way a learner runs them: after the cells tagged
`exercise-setup`, and after nothing else.
"""

from __future__ import annotations

import ast

import pytest
import torch

from definebyrun_course.exercises import Verdict, lessons, of_lesson
from definebyrun_course.grading import seeded
from tools import chapters

ALL: list[chapters.Exercise] = []
BROKEN: list[str] = []
for lesson in chapters.lessons():
    try:
        ALL += chapters.exercises(lesson)
    except chapters.ChapterError as error:
        BROKEN.append(str(error))
each = pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.id)


def run(setup: str, cell: str, dtype: torch.dtype | None = None) -> Verdict:
    """Run a cell as a notebook does, under this default dtype if one is given; the value of its last expression."""
    tree = ast.parse(cell)
    assert isinstance(tree.body[-1], ast.Expr), "the cell ends in its check"
    last = ast.Expression(tree.body.pop().value)
    names: dict = {"__name__": "__main__"}
    before = torch.get_default_dtype()
    try:
        exec(compile(setup, "<setup>", "exec"), names)
        torch.set_default_dtype(dtype or torch.get_default_dtype())
        exec(compile(tree, "<cell>", "exec"), names)
        return eval(compile(last, "<check>", "eval"), names)
    finally:
        torch.set_default_dtype(before)  # a lesson may set another for all of its notebook


def test_every_exercise_can_be_read() -> None:
    assert BROKEN == []


@each
def test_the_stub_runs_and_is_not_attempted_yet(exercise: chapters.Exercise) -> None:
    verdict = run(exercise.setup, exercise.stub)
    assert (verdict.exercise, verdict.status) == (exercise.id, "not attempted yet")


@each
def test_the_folded_solution_is_correct(exercise: chapters.Exercise) -> None:
    verdict = run(exercise.setup, exercise.solution)
    assert (verdict.exercise, verdict.status) == (exercise.id, "correct"), repr(verdict)


@each
@pytest.mark.parametrize(("dtype", "seed"), [(torch.float32, 1), (torch.float64, 2026)], ids=str)
def test_the_folded_solution_is_correct_whatever_the_default_dtype_and_the_seed(
    exercise: chapters.Exercise, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    with seeded(seed):
        verdict = run(exercise.setup, exercise.solution, dtype)
    assert verdict.status == "correct", repr(verdict)


def test_chapters_and_package_know_the_same_exercises() -> None:
    known = [exercise.id for number in lessons() for exercise in of_lesson(number)]
    assert sorted(known) == sorted(exercise.id for exercise in ALL)
