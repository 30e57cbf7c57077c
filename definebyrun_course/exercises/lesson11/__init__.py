"""Exercises of lesson 11, torch.compile in practice: graphs counted, a layer mended, guards, a break-even."""

from __future__ import annotations

from . import break_even, centred_mean, compile_counts, guarded

__all__ = ["EXERCISES"]

EXERCISES = (
    compile_counts.EXERCISE,
    centred_mean.EXERCISE,
    guarded.EXERCISE,
    break_even.EXERCISE,
)
