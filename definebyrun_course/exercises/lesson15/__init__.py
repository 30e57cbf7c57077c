"""Exercises of lesson 15, An MLP by hand: backward of a linear layer, of the loss and of a norm; twins; momentum."""

from __future__ import annotations

from . import cross_entropy, layer_norm, linear, momentum, twins

__all__ = ["EXERCISES"]

EXERCISES = (
    linear.EXERCISE,
    cross_entropy.EXERCISE,
    twins.EXERCISE,
    momentum.EXERCISE,
    layer_norm.EXERCISE,
)
