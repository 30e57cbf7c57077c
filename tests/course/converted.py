"""The lessons whose exercises are held to all rules; the others still wait for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from definebyrun_course.exercises import Exercise, lessons, of_lesson
from tools import chapters

__all__ = [
    "ALL",
    "CONVERTED",
    "STRICT",
    "default_dtype",
    "published",
    "right_answers",
    "takes_functions",
]

CONVERTED = ("01", "08", "09", "10", "11", "12", "13", "14")

ALL: list[Exercise] = [exercise for number in lessons() for exercise in of_lesson(number)]
STRICT: list[Exercise] = [exercise for exercise in ALL if exercise.id[:2] in CONVERTED]


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
def _written(lesson: str) -> dict[str, chapters.Exercise]:
    found = next(each for each in chapters.lessons() if each.name.startswith(lesson))
    return {exercise.id: exercise for exercise in chapters.exercises(found)}


def published(number: str) -> tuple[Any, ...]:
    """What the chapter's folded solution hands to `check` after the exercise's id."""
    written = _written(number[:2])[number]
    names: dict[str, Any] = {"__name__": "__main__"}
    with default_dtype(torch.get_default_dtype()):  # a lesson may set another for its notebook
        exec(compile(written.setup, "<setup>", "exec"), names)
        tree = ast.parse(written.solution)
        call = tree.body.pop()
        assert isinstance(call, ast.Expr)
        assert isinstance(call.value, ast.Call), "the cell ends in its check"
        exec(compile(tree, "<solution>", "exec"), names)
        return tuple(
            eval(compile(ast.Expression(part), "<answer>", "eval"), names)
            for part in call.value.args[1:]
        )


def right_answers(exercise: Exercise) -> dict[str, tuple[Any, ...]]:
    """All right answers to an exercise that are known, by name: the published one comes first."""
    listed = {right.name: right.given for right in exercise.right}
    return {"published": published(exercise.id), **listed}


def takes_functions(exercise: Exercise) -> bool:
    """Whether an exercise asks for functions or classes, not for numbers or choices."""
    return any(map(callable, published(exercise.id)))
