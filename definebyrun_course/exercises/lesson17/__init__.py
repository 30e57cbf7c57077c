"""Exercises of lesson 17, Train the MLP: scale without a leak, defend a number, evaluate, stop, accumulate."""

from __future__ import annotations

from . import accumulate, early_stopping, evaluate, paired, standardise

__all__ = ["EXERCISES"]

EXERCISES = (
    standardise.EXERCISE,
    paired.EXERCISE,
    evaluate.EXERCISE,
    early_stopping.EXERCISE,
    accumulate.EXERCISE,
)
