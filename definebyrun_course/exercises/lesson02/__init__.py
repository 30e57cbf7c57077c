"""Exercises of lesson 02, The backward pass: gradients by hand, a Jacobian, an engine of your own, two losses."""

from __future__ import annotations

from . import by_hand, jacobian, leaf_grads, two_losses

__all__ = ["EXERCISES"]

EXERCISES = (by_hand.EXERCISE, jacobian.EXERCISE, leaf_grads.EXERCISE, two_losses.EXERCISE)
