"""Exercises of lesson 12, Debugging a live graph: a bad module, a cut parameter, a hook that clips once, dead units."""

from __future__ import annotations

from . import clip_once, dead_units, first_nonfinite, unreachable

__all__ = ["EXERCISES"]

EXERCISES = (
    first_nonfinite.EXERCISE,
    unreachable.EXERCISE,
    clip_once.EXERCISE,
    dead_units.EXERCISE,
)
