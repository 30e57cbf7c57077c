"""Exercises of lesson 17, Train the MLP: scale without a leak, evaluate, stop, resume, accumulate."""

from __future__ import annotations

from . import accumulate, checkpoint, early_stopping, evaluate, standardise

__all__ = ["EXERCISES"]

EXERCISES = (
    standardise.EXERCISE,
    evaluate.EXERCISE,
    early_stopping.EXERCISE,
    checkpoint.EXERCISE,
    accumulate.EXERCISE,
)
