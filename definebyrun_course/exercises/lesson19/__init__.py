"""Exercises of lesson 19, A step in practice: the life of a scale, a step on a batch in pieces, averaged weights."""

from __future__ import annotations

from . import averaged_state, piecewise_step, scale_life

__all__ = ["EXERCISES"]

EXERCISES = (scale_life.EXERCISE, piecewise_step.EXERCISE, averaged_state.EXERCISE)
