"""Exercises of lesson 06, What the graph keeps: bytes, writes that break, an update in place, saved-tensor hooks."""

from __future__ import annotations

from . import kept, saved_bytes, shortcut, update

__all__ = ["EXERCISES"]

EXERCISES = (
    kept.EXERCISE,
    shortcut.EXERCISE,
    update.EXERCISE,
    saved_bytes.EXERCISE,
)
