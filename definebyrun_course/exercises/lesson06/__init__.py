"""Exercises of lesson 06, What the graph remembers: bytes, an update in place, saved-tensor hooks, a checkpoint."""

from __future__ import annotations

from . import half, kept, recompute, saved_bytes, update

__all__ = ["EXERCISES"]

EXERCISES = (
    kept.EXERCISE,
    update.EXERCISE,
    saved_bytes.EXERCISE,
    half.EXERCISE,
    recompute.EXERCISE,
)
