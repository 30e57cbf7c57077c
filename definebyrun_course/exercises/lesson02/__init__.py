"""Exercises of lesson 02, The backward pass: gradients by hand, a weighted loss, a Jacobian, an engine of your own."""

from __future__ import annotations

from . import by_hand, jacobian, leaf_grads, weighted_loss

__all__ = ["EXERCISES"]

EXERCISES = (by_hand.EXERCISE, weighted_loss.EXERCISE, jacobian.EXERCISE, leaf_grads.EXERCISE)
