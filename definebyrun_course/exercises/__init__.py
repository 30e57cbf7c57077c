"""The exercises of all lessons: `check(id, answer)` finds the exercise, asks its check, gives a `Verdict`.

Each lesson has one module, `lessonNN`, with an `EXERCISES` tuple; it is imported when its lesson first asks.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from ..grading import NOT_YET, Exercise, Verdict, Wrong, judge

__all__ = ["Exercise", "Verdict", "Wrong", "check", "lessons", "of_lesson"]


def lessons() -> list[str]:
    """The numbers of the lessons that have exercises, in order: `["01", "11"]`."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.removeprefix("lesson") for name in names if name.startswith("lesson"))


def of_lesson(number: str) -> tuple[Exercise, ...]:
    """The exercises of one lesson, by its two-digit number; `KeyError` when there is no such lesson."""
    if number not in lessons():
        raise KeyError(f"no lesson {number!r}: there are {', '.join(lessons())}")
    exercises: tuple[Exercise, ...] = importlib.import_module(
        f"{__name__}.lesson{number}"
    ).EXERCISES
    return exercises


def check(exercise: str, *answers: Any) -> Verdict:
    """Judge an answer to the exercise with this id, such as `"01.2"`; says what is wrong and never raises.

    >>> check("01.1", ...)
    ○ Exercise 01.1: not attempted yet
    Replace the dots (...) with your own code, then run the cell again.
    """
    number = str(exercise).partition(".")[0]
    known = {e.id: e for e in of_lesson(number)} if number in lessons() else {}
    if exercise not in known:
        ids = ", ".join(known) or "by lesson: " + ", ".join(lessons())
        return Verdict(
            str(exercise), NOT_YET, f"There is no exercise {exercise!r}; there are {ids}."
        )
    return judge(known[exercise], answers)
