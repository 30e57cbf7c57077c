"""All exercises that are held to the rules, those of the lessons and the template, with their right answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jupytext
import torch

from definebyrun_course.exercises import Exercise, lessons, of_lesson, template
from tools import chapters
from tools.mutants.answers import PUBLISHED, of_chapter, written

__all__ = [
    "ALL",
    "default_dtype",
    "published",
    "right_answers",
    "takes_functions",
    "template_as_written",
]

ALL: list[Exercise] = [exercise for number in lessons() for exercise in of_lesson(number)]
ALL += [template.EXERCISE]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """A region in which new tensors have this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@cache
def template_as_written() -> chapters.Exercise:
    """The template's part in the chapter."""
    front = "---\njupytext:\n  text_representation:\n    format_name: myst\n---\n"
    cells = jupytext.reads(front + template.CHAPTER, fmt="md:myst").cells
    (found,) = chapters.exercises_in(cells, "template.py")
    return found


def published(number: str) -> tuple[Any, ...]:
    """What the chapter's folded solution hands to `check` after the exercise's id."""
    (exercise,) = (each for each in ALL if each.id == number)
    printed = template_as_written() if exercise is template.EXERCISE else written(number)
    return of_chapter(exercise, printed).answers()[PUBLISHED]


def right_answers(exercise: Exercise) -> dict[str, tuple[Any, ...]]:
    """All right answers to an exercise that are known, by name: the published one comes first."""
    listed = {right.name: right.given for right in exercise.right}
    return {PUBLISHED: published(exercise.id), **listed}


def takes_functions(exercise: Exercise) -> bool:
    """Whether an exercise asks for functions or classes, not for numbers or choices."""
    return any(map(callable, published(exercise.id)))
