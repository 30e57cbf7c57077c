"""Exercises of lesson 10, What a capture refuses: graphs counted, a program that counts, a branch exported, a judge."""

from __future__ import annotations

from . import graph_counts, graph_sizes, shrink, verdicts, warm_up

__all__ = ["EXERCISES"]

EXERCISES = (
    graph_counts.EXERCISE,
    warm_up.EXERCISE,
    graph_sizes.EXERCISE,
    shrink.EXERCISE,
    verdicts.EXERCISE,
)
