"""Exercises of lesson 15, An MLP by hand: backward of a linear layer, of losses and of norms; momentum."""

from __future__ import annotations

from . import batch_norm, binary_loss, cross_entropy, layer_norm, linear, momentum

__all__ = ["EXERCISES"]

EXERCISES = (
    linear.EXERCISE,
    binary_loss.EXERCISE,
    cross_entropy.EXERCISE,
    momentum.EXERCISE,
    layer_norm.EXERCISE,
    batch_norm.EXERCISE,
)
