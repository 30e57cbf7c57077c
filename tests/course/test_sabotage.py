"""Right answers with one fault each, made by machine: every kind is refused, or stands in the exercise's `allows`."""

from __future__ import annotations

import os
from functools import cache

import pytest

from definebyrun_course.exercises import Exercise
from definebyrun_course.grading import Verdict, judge
from tests.course.answers import ALL, right_answers, takes_functions
from tests.course.saboteurs import HARMLESS, KINDS, spoilings

# a generator of PyTorch's that was cut on its way out complains when it is collected
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LIMIT_SECONDS = 0.1
"""For answers that never end; a learner's has much more."""
SLOW = () if os.environ.get("ALL") else ("centred_mean", "shrink", "warm_up")
"""Their classes are compiled or exported at each check: spoiled with `ALL=1` in the environment only."""
ONE_GRAPH = "centred_mean"
"""Asks for a module that is a single graph, which may not print at all."""
FUNCTIONS = [each for each in ALL if takes_functions(each) and each.id not in SLOW]
kinds = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != HARMLESS])
each = pytest.mark.parametrize("exercise", FUNCTIONS, ids=lambda exercise: exercise.id)


@cache
def called_once(number: str) -> None:
    """A first call may import a library, which must not be cut."""
    (exercise,) = (each for each in FUNCTIONS if each.id == number)
    for given in right_answers(exercise).values():
        judge(exercise, given)


def spoiled(exercise: Exercise, kind: str) -> dict[str, Verdict]:
    """The verdicts on right answers with this fault, where it has changed anything; of a class each method in turn.

    Of those that never end, one is cut for each exercise and kind, the first or the last; with `ALL=1` in the
    environment all of them.
    """
    found = {}
    answers_by_name = list(right_answers(exercise).items())
    if kind == "endless in except":
        answers_by_name.reverse()
    for name, given in answers_by_name:
        for part, sabotage, answers in spoilings(kind, given):
            if not sabotage.ends:
                called_once(exercise.id)
            limit = {} if sabotage.ends else {"limit_seconds": LIMIT_SECONDS}
            verdict = judge(exercise, answers, **limit)
            if sabotage.struck:
                found[f"{name}, {part}"] = verdict
                if not (sabotage.ends or os.environ.get("ALL")):
                    return found
    return found


@kinds
@each
def test_a_spoiled_answer_is_refused_unless_the_exercise_says_why_not(
    exercise: Exercise, kind: str
) -> None:
    verdicts = spoiled(exercise, kind)
    passed = [name for name, got in verdicts.items() if got.status == "correct"]
    reason = exercise.allows.get(kind, "")
    assert bool(passed) == bool(reason), f"{passed} pass, and the reason is {reason!r}"
    if kind == "endless":
        assert ["was stopped" in got.message for got in verdicts.values()] == [True] * len(verdicts)


@pytest.mark.parametrize(
    "exercise", [each for each in FUNCTIONS if each.id != ONE_GRAPH], ids=lambda each: each.id
)
def test_an_answer_that_prints_without_end_is_right_all_the_same_and_little_is_shown(
    exercise: Exercise, capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts = spoiled(exercise, HARMLESS)
    assert {name: repr(got) for name, got in verdicts.items() if got.status != "correct"} == {}
    assert len(capsys.readouterr().out.splitlines()) < 10_000


def test_what_is_allowed_is_a_kind_of_sabotage() -> None:
    assert {kind for exercise in ALL for kind in exercise.allows} <= set(KINDS)
