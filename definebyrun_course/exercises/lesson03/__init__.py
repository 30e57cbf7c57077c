"""Exercises of lesson 03, What a pass leaves behind: no trace, a failed batch, a `backward`, two losses."""

from __future__ import annotations

from . import left_out, own_backward, peek, two_losses

__all__ = ["EXERCISES"]

EXERCISES = (peek.EXERCISE, left_out.EXERCISE, own_backward.EXERCISE, two_losses.EXERCISE)
