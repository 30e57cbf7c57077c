"""Exercises of lesson 09, Changing the model: a branch that starts at zero, an optimizer told, a wider layer."""

from __future__ import annotations

from . import branch, swap, widen

__all__ = ["EXERCISES"]

EXERCISES = (branch.EXERCISE, swap.EXERCISE, widen.EXERCISE)
