"""Exercises of lesson 20, Gradient checking: measure a gradient, compare, choose a step, convict, aim, tell kinks."""

from __future__ import annotations

from . import along, convict, kind, numeric, step_size, worst_entry
from .convict import suspects

__all__ = ["EXERCISES", "suspects"]

EXERCISES = (
    numeric.EXERCISE,
    worst_entry.EXERCISE,
    step_size.EXERCISE,
    convict.EXERCISE,
    along.EXERCISE,
    kind.EXERCISE,
)
