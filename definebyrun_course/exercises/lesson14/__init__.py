"""Exercises of lesson 14, Beyond one gradient: a product with both sides, own slopes, norms per sample, a penalty."""

from __future__ import annotations

from . import contraction, gauss_newton, own_slopes, sample_norms

__all__ = ["EXERCISES"]

EXERCISES = (
    gauss_newton.EXERCISE,
    own_slopes.EXERCISE,
    sample_norms.EXERCISE,
    contraction.EXERCISE,
)
