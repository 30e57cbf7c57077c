"""Exercises of lesson 22, Learning-rate decay: when to cut, a fair comparison, the rule that looks at the loss."""

from __future__ import annotations

from . import best_cut, fair_comparison, plateau

__all__ = ["EXERCISES"]

EXERCISES = (best_cut.EXERCISE, fair_comparison.EXERCISE, plateau.EXERCISE)
