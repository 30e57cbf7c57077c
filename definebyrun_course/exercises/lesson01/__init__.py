"""Exercises of lesson 01, Your first graph: predict a graph, find its leaves, build one to size, make a leaf."""

from __future__ import annotations

from . import leaves, node_counts, size, weights

__all__ = ["EXERCISES"]

EXERCISES = (node_counts.EXERCISE, leaves.EXERCISE, size.EXERCISE, weights.EXERCISE)
