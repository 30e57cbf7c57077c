"""Exercises of lesson 12, Debugging a live graph: hooks, cut parameters, dead units, five silent bugs."""

from __future__ import annotations

from . import clip_once, dead_units, first_nonfinite, fit_batch, unreachable

__all__ = ["EXERCISES"]

EXERCISES = (
    clip_once.EXERCISE,
    unreachable.EXERCISE,
    dead_units.EXERCISE,
    fit_batch.EXERCISE,
    first_nonfinite.EXERCISE,
)
