"""Exercises of lesson 10, Dynamic against static: graphs counted and measured, a branch exported, captures judged."""

from __future__ import annotations

from . import graph_counts, graph_sizes, shrink, verdicts

__all__ = ["EXERCISES"]

EXERCISES = (graph_counts.EXERCISE, graph_sizes.EXERCISE, shrink.EXERCISE, verdicts.EXERCISE)
