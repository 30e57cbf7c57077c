"""Exercises of lesson 08, Control flow: sizes of graphs, a safe logarithm, points that meet, padding, a deep tree."""

from __future__ import annotations

from . import energy, last_states, safe_log, sizes, tree

__all__ = ["EXERCISES"]

EXERCISES = (
    sizes.EXERCISE,
    safe_log.EXERCISE,
    energy.EXERCISE,
    last_states.EXERCISE,
    tree.EXERCISE,
)
