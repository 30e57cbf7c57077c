"""Exercises of lesson 12, Gradient checking: measure a gradient, compare, choose a step, convict, aim, tell kinks."""

from __future__ import annotations

from . import along, convict, kind, numeric, step, worst
from .convict import suspects

__all__ = ["EXERCISES", "suspects"]

EXERCISES = (
    numeric.EXERCISE,
    worst.EXERCISE,
    step.EXERCISE,
    convict.EXERCISE,
    along.EXERCISE,
    kind.EXERCISE,
)
