"""Right answers with one fault each, made by machine: every kind is refused, or stands in the exercise's `allows`."""

from __future__ import annotations

from typing import Any

import pytest

from definebyrun_course.exercises import Exercise
from definebyrun_course.grading import Verdict, judge
from tests.course.answers import ALL, right_answers, takes_functions
from tests.course.saboteurs import KINDS

# a generator of PyTorch's that was cut on its way out complains when it is collected
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LIMIT_SECONDS = 0.15
"""For answers that never end; a learner's has much more."""
HARMLESS = "prints without end"
FUNCTIONS = [exercise for exercise in ALL if takes_functions(exercise)]
kinds = pytest.mark.parametrize("kind", KINDS)
each = pytest.mark.parametrize("exercise", FUNCTIONS, ids=lambda exercise: exercise.id)


def spoiled(exercise: Exercise, kind: str) -> dict[str, Verdict]:
    """The verdicts on all right answers with this fault, where it has changed anything; classes are left out."""
    found = {}
    for name, given in right_answers(exercise).items():
        for place, answer in enumerate(given):
            if not callable(answer) or isinstance(answer, type):
                continue
            sabotage = KINDS[kind]()
            if not sabotage.ends:
                judge(exercise, given)  # a first call may import a library, which must not be cut
            answers: list[Any] = list(given)
            answers[place] = sabotage.of(answer)
            limit = {} if sabotage.ends else {"limit_seconds": LIMIT_SECONDS}
            verdict = judge(exercise, tuple(answers), **limit)
            if sabotage.struck:
                found[f"{name}, answer {place + 1}"] = verdict
    return found


@kinds
@each
def test_a_spoiled_answer_is_refused_unless_the_exercise_says_why_not(
    exercise: Exercise, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    passed = [name for name, got in spoiled(exercise, kind).items() if got.status == "correct"]
    if kind == HARMLESS:
        assert len(capsys.readouterr().out.splitlines()) < 10_000
        return
    reason = exercise.allows.get(kind, "")
    assert bool(passed) == bool(reason), f"{passed} pass, and the reason is {reason!r}"


@each
def test_an_answer_that_prints_without_end_is_right_all_the_same(exercise: Exercise) -> None:
    verdicts = spoiled(exercise, HARMLESS)
    assert {name: repr(got) for name, got in verdicts.items() if got.status != "correct"} == {}


@each
def test_an_answer_that_never_ends_is_told_so(exercise: Exercise) -> None:
    for verdict in spoiled(exercise, "endless").values():
        assert "was stopped" in verdict.message


def test_what_is_allowed_is_a_kind_of_sabotage() -> None:
    assert {kind for exercise in ALL for kind in exercise.allows} <= set(KINDS)
