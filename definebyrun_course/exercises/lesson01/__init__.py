"""Exercises of lesson 01, Your first graph: count a graph, build one to size, make a leaf, mend a cut, find leaves."""

from __future__ import annotations

from . import batch_loss, leaves, node_counts, size, weights

__all__ = ["EXERCISES"]

EXERCISES = (
    node_counts.EXERCISE,
    size.EXERCISE,
    weights.EXERCISE,
    batch_loss.EXERCISE,
    leaves.EXERCISE,
)
