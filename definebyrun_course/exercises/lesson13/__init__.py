"""Exercises of lesson 13, The gradient's own graph: accumulation, forces, a Function, the gradient through a step."""

from __future__ import annotations

from . import accumulated, distances, meta_gradient, silu

__all__ = ["EXERCISES"]

EXERCISES = (
    accumulated.EXERCISE,
    distances.EXERCISE,
    silu.EXERCISE,
    meta_gradient.EXERCISE,
)
