"""Exercises of lesson 16, Before the first step: the loss to expect, a start that was missed, unit signals, twins."""

from __future__ import annotations

from . import first_loss, start, twins, unit_signals

__all__ = ["EXERCISES"]

EXERCISES = (first_loss.EXERCISE, start.EXERCISE, unit_signals.EXERCISE, twins.EXERCISE)
