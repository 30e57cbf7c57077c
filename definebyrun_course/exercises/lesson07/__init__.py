"""Exercises of lesson 07, Dynamic against static: graphs counted and measured, a branch exported, captures judged."""

from __future__ import annotations

from . import counts, graph_sizes, shrink, verdicts

__all__ = ["EXERCISES"]

EXERCISES = (counts.EXERCISE, graph_sizes.EXERCISE, shrink.EXERCISE, verdicts.EXERCISE)
