"""Exercises of lesson 09, Changing the model: a branch that starts at zero, a mended fine-tuning, an optimizer told."""

from __future__ import annotations

from . import branch, swap, thaw, widen

__all__ = ["EXERCISES"]

EXERCISES = (branch.EXERCISE, thaw.EXERCISE, swap.EXERCISE, widen.EXERCISE)
