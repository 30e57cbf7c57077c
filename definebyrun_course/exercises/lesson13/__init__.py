"""Exercises of lesson 13, Beyond first gradients: accumulation, a Function, a penalty, a step, norms per sample."""

from __future__ import annotations

from . import accumulated, contraction, meta_gradient, sample_norms, silu

__all__ = ["EXERCISES"]

EXERCISES = (
    accumulated.EXERCISE,
    silu.EXERCISE,
    contraction.EXERCISE,
    meta_gradient.EXERCISE,
    sample_norms.EXERCISE,
)
