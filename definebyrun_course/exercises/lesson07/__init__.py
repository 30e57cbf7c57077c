"""Exercises of lesson 07, How long a graph lives: three bars, a leaking loop, hooks in 16 bits, a checkpoint."""

from __future__ import annotations

from . import half, recompute, step_bytes, training_log

__all__ = ["EXERCISES"]

EXERCISES = (
    step_bytes.EXERCISE,
    training_log.EXERCISE,
    half.EXERCISE,
    recompute.EXERCISE,
)
