"""Exercises of lesson 18, The same numbers twice: compare bits, order an epoch, resume."""

from __future__ import annotations

from . import checkpoint, epoch_order, same_bits

__all__ = ["EXERCISES"]

EXERCISES = (
    same_bits.EXERCISE,
    epoch_order.EXERCISE,
    checkpoint.EXERCISE,
)
