"""Exercises of lesson 08, Control flow: a graph's size, a safe logarithm, a padded batch, a tree without recursion."""

from __future__ import annotations

from . import last_states, safe_log, sizes, tree

__all__ = ["EXERCISES"]

EXERCISES = (sizes.EXERCISE, safe_log.EXERCISE, last_states.EXERCISE, tree.EXERCISE)
