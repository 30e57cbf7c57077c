"""The exercises of all lessons: `check(name, answer)` finds the exercise, asks its check, gives a `Verdict`.

Each exercise has a name and the module of that name, in the folder of its lesson, whose `EXERCISES` gives their order.
A lesson is imported when it is first asked. Lessons may be renumbered; the name of an exercise stays.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from dataclasses import replace
from functools import cache
from typing import Any

from ..grading import NOT_YET, Exercise, Verdict, Wrong, judge
from .old_ids import OLD_IDS

__all__ = ["Exercise", "Verdict", "Wrong", "check", "lesson_of", "lessons", "of_lesson"]


def lessons() -> list[str]:
    """The numbers of the lessons that have exercises, in order: `["01", "17"]`."""
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


@cache
def _lessons_by_module() -> dict[str, str]:
    """The number of each module's lesson; nothing is imported."""
    return {
        module.name: number
        for number in lessons()
        for module in pkgutil.iter_modules([f"{folder}/lesson{number}" for folder in __path__])
    }


def lesson_of(name: str) -> str:
    """The number of the lesson that an exercise stands in; `KeyError` when there is no such exercise.

    >>> lesson_of("node_counts")
    '01'
    """
    number = _lessons_by_module().get(name)
    if number is None or all(exercise.id != name for exercise in of_lesson(number)):
        raise KeyError(f"no exercise {name!r}")
    return number


def check(exercise: str, *answers: Any) -> Verdict:
    """Judge an answer to the exercise of this name; says what is wrong and never raises.

    A number under which an exercise was known once, such as `"10.1"`, still leads to it.

    >>> check("node_counts", ...)
    ○ Exercise node_counts: not attempted yet
    Replace the dots (...) with your own code, then run the cell again.
    """
    asked = str(exercise)
    name = OLD_IDS.get(asked, asked)
    try:
        number = lesson_of(name)
    except KeyError:
        return Verdict(asked, NOT_YET, f"There is no exercise {asked!r}{_near(asked)}")
    (found,) = (each for each in of_lesson(number) if each.id == name)
    return replace(judge(found, answers), exercise=asked)


def _near(asked: str) -> str:
    """What may have been meant."""
    names = [exercise.id for number in lessons() for exercise in of_lesson(number)]
    near = difflib.get_close_matches(asked, names, n=3, cutoff=0.5)
    if near:
        return f": did you mean {' or '.join(map(repr, near))}?"
    return ": its name stands in the last line of its cell in the lesson."
