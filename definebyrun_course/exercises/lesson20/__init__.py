"""Exercises of lesson 20, Measuring a slope: choose a step, measure, read a curve, compare, tell kinks."""

from __future__ import annotations

from . import kind, numeric, read_v, step_size, worst_entry
from .read_v import curve_steps, curves

__all__ = ["EXERCISES", "curve_steps", "curves"]

EXERCISES = (
    step_size.EXERCISE,
    numeric.EXERCISE,
    read_v.EXERCISE,
    worst_entry.EXERCISE,
    kind.EXERCISE,
)
