"""How many wrong programs the graders of the coding problems were tried on, and what they said.

For each problem of the interview part: its listed wrong answers, its right answers spoiled by each kind of sabotage,
every mutant of its right answers. A mutant that the problem's oracle cannot tell from the right answer is the same; one
that passes and differs is a hole. `tests/course/test_problems.py` holds the counts of listed answers and of mutants.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from definebyrun_course.exercises import Exercise, of_lesson
from definebyrun_course.grading import CORRECT, judge
from tests.course.answers import right_answers
from tests.course.kinds import PROBLEMS
from tests.course.saboteurs import HARMLESS, KINDS, spoilings
from tools.mutants.__main__ import listed
from tools.mutants.answers import sources
from tools.mutants.checks import Checks

__all__ = ["counts", "run"]

LIMIT_SECONDS = 0.3
"""For answers that never end."""


def counts(exercise: Exercise) -> dict[str, int]:
    """What can be counted without trying anything: listed wrong answers, and changes of right ones."""
    changed = sum(len(source.mutants()) for source in sources(exercise))
    return {"wrong": len(exercise.wrong), "changed": changed}


def spoiled(exercise: Exercise) -> int:
    """How many spoiled right answers are refused; those that the exercise allows are not counted."""
    refused = 0
    for kind in KINDS.keys() - {HARMLESS}:
        for given in right_answers(exercise).values():
            for _, sabotage, answers in spoilings(kind, given):
                limit = {} if sabotage.ends else {"limit_seconds": LIMIT_SECONDS}
                verdict = judge(exercise, answers, **limit)
                if sabotage.struck and verdict.status != CORRECT:
                    refused += 1
                elif sabotage.struck and kind not in exercise.allows:
                    raise RuntimeError(f"{exercise.id} accepts an answer that is spoiled: {kind}")
    return refused


def run() -> dict[str, Any]:
    """The counts, by notebook and problem."""
    start = time.monotonic()

    def say(words: str) -> None:
        os.write(1, f"{words} ({time.monotonic() - start:.0f} s)\n".encode())

    checks, known, found = Checks(say), listed("checks"), {}
    for lesson in PROBLEMS:
        found[lesson] = {}
        for exercise in of_lesson(lesson):
            mutants = [m for source in sources(exercise) for m in source.mutants()]
            verdicts = checks.run([m for m in mutants if m.name not in known])
            outcomes = Counter(verdict.outcome for verdict in verdicts)
            same = outcomes["same"] + len(mutants) - len(verdicts)
            holes = outcomes["hole"] + outcomes["crashed"]
            found[lesson][exercise.id] = {
                **counts(exercise),
                "spoiled": spoiled(exercise),
                "same": same,
                "holes": holes,
            }
    return found
