"""Exercises answer back: right answers pass, wrong ones are caught with words of their own, nothing is raised."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import definebyrun as dbr
from definebyrun_course.exercises import Exercise, Wrong, lessons, of_lesson, template
from definebyrun_course.exercises.old_ids import OLD_IDS
from definebyrun_course.grading import Right, Verdict, expect, is_stub, judge, seeded
from tests.course.answers import (
    ALL,
    default_dtype,
    published,
    right_answers,
    takes_functions,
    template_as_written,
)

BISECTED = ("too many", "too few", "not enough", "too large", "too small")
"""Words by which a number is found without understanding."""


def ids(value: Any) -> str | None:
    return getattr(value, "id", getattr(value, "name", None))


@cache
def verdicts_on_wrong(number: str) -> dict[str, Verdict]:
    """The verdicts on an exercise's wrong answers, by name."""
    (exercise,) = (each for each in ALL if each.id == number)
    return {wrong.name: judge(exercise, wrong.given) for wrong in exercise.wrong}


@pytest.mark.parametrize(("exercise", "wrong"), [(e, w) for e in ALL for w in e.wrong], ids=ids)
def test_a_listed_wrong_answer_is_caught_with_its_own_message(
    exercise: Exercise, wrong: Wrong
) -> None:
    verdict = verdicts_on_wrong(exercise.id)[wrong.name]
    assert verdict.status == "not yet", verdict
    assert wrong.says in repr(verdict), verdict


@pytest.mark.parametrize("exercise", ALL, ids=ids)
def test_five_kinds_of_mistakes_at_least_have_words_that_no_other_verdict_has(
    exercise: Exercise,
) -> None:
    found = verdicts_on_wrong(exercise.id)
    verdicts = [(wrong, repr(found[wrong.name])) for wrong in exercise.wrong]
    assert len({wrong.says for wrong in exercise.wrong}) >= 5
    assert len({wrong.name for wrong in exercise.wrong}) == len(exercise.wrong)
    for wrong in exercise.wrong:
        taken = [
            other.name
            for other, verdict in verdicts
            if other.says != wrong.says and wrong.says in verdict
        ]
        assert not taken, f"{wrong.says!r} of {wrong.name} stands in the verdicts on {taken}"
    for words in BISECTED:
        assert not [wrong.name for wrong, verdict in verdicts if words in verdict]


@pytest.mark.parametrize(("dtype", "seed"), [(torch.float32, 1), (torch.float64, 2026)], ids=str)
@pytest.mark.parametrize(
    ("exercise", "right"), [(e, r) for e in ALL for r in e.right or [None]], ids=ids
)
def test_a_listed_right_answer_passes_whatever_the_default_dtype_and_the_seed(
    exercise: Exercise, right: Right | None, dtype: torch.dtype, seed: int
) -> None:
    assert right is not None, "a right answer is listed beside the published one"
    torch.manual_seed(seed)
    with default_dtype(dtype), seeded(seed):
        verdict = judge(exercise, right.given)
    assert verdict.status == "correct", verdict


@pytest.mark.parametrize("exercise", ALL, ids=ids)
def test_an_oracle_tells_wrong_answers_from_right_ones_and_no_right_one_from_another(
    exercise: Exercise,
) -> None:
    assert (exercise.oracle is not None) == takes_functions(exercise)
    if exercise.oracle is None:
        return
    right = {name: exercise.oracle(*given) for name, given in right_answers(exercise).items()}
    wanted = right["published"]
    assert [name for name, told in right.items() if told != wanted] == []
    wrong = [each for each in exercise.wrong if all(map(callable, each.given))]
    assert [each.name for each in wrong if exercise.oracle(*each.given) == wanted] == []


@pytest.mark.parametrize(
    ("cell", "status"), [("stub", "not attempted yet"), ("solution", "correct")]
)
def test_the_template_for_new_exercises_works(cell: str, status: str) -> None:
    found: list[Verdict] = []
    check = SimpleNamespace(check=lambda _, *given: found.append(judge(template.EXERCISE, given)))
    written = template_as_written()
    exec(getattr(written, cell), {"dbr": check})
    assert [verdict.status for verdict in found] == [status]
    assert written.id == template.EXERCISE.id


def test_every_lesson_has_at_least_three_exercises_each_in_the_module_of_its_name() -> None:
    assert lessons()
    for number in lessons():
        assert len(of_lesson(number)) >= 3
        for exercise in of_lesson(number):
            path = f"definebyrun_course.exercises.lesson{number}.{exercise.id}"
            assert importlib.import_module(path).EXERCISE is exercise


def test_no_two_exercises_have_one_name_and_no_name_looks_like_a_number() -> None:
    names = [exercise.id for exercise in ALL]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z_]+", name)] == []


@pytest.mark.parametrize(("number", "name"), OLD_IDS.items())
def test_a_number_of_old_still_leads_to_its_exercise(number: str, name: str) -> None:
    (exercise,) = (each for each in ALL if each.id == name)
    answers = published(name)
    verdict = dbr.check(number, *answers)
    assert verdict == replace(judge(exercise, answers), exercise=number)
    assert verdict.status == "correct"


def empty(x: Any) -> None: ...


def documented(x: Any) -> None:
    """Only says what it will do."""


class Hollow:
    def forward(self, x: Any) -> None: ...


class HollowFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> None: ...


class HalfFunction(HollowFunction):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.exp()

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> None: ...


EMPTY = [empty, documented, Hollow, HollowFunction, lambda: ...]


@pytest.mark.parametrize("stub", [..., (..., ...), [1, ...], {"a": ...}, *EMPTY])
def test_a_stub_is_not_attempted(stub: Any) -> None:
    assert is_stub(stub)
    assert dbr.check("leaves", stub).status == "not attempted yet"


@pytest.mark.parametrize(
    "answer", [0, None, (1, 2), [], lambda x: x, lambda: 3, judge, Exercise, HalfFunction]
)
def test_an_attempt_is_no_stub(answer: Any) -> None:
    assert not is_stub(answer)


def half_done(tensor: Any) -> Any:
    node = ...
    return node.next_functions


def test_dots_left_inside_are_not_attempted_either() -> None:
    verdict = dbr.check("leaves", half_done)
    assert verdict.status == "not attempted yet"
    assert "still holds dots" in verdict.message


@pytest.mark.parametrize(
    "answer",
    [None, 3, "no", object(), lambda: 1, lambda *a: 1 / 0, [lambda x: x], {}, float("nan")],
)
@pytest.mark.parametrize("exercise", ALL, ids=ids)
def test_a_check_never_raises(exercise: Exercise, answer: Any) -> None:
    verdict = judge(exercise, (answer,))
    assert verdict.status == "not yet"
    assert verdict.message
    assert repr(verdict).startswith(f"✗ Exercise {exercise.id}: not yet\n")


def test_an_unknown_exercise_is_named_with_those_that_exist() -> None:
    assert "There is no exercise 'leafs': did you mean 'leaves'" in dbr.check("leafs", 1).message
    assert "its name stands in the last line" in dbr.check("01.9", 1).message


def test_a_verdict_shows_itself_with_markup_escaped() -> None:
    exercise = Exercise("99.1", "fine", lambda a: expect(a == 1, "1 < 2 & <b>", "try 1"), ())
    html = judge(exercise, (2,))._repr_html_()
    assert "1 &lt; 2 &amp; &lt;b&gt;" in html
    assert "Hint: try 1" in html
    assert 'role="status"' in html
    assert repr(judge(exercise, (1,))) == "✓ Exercise 99.1: correct\nfine"
