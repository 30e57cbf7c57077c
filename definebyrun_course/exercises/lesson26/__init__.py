"""Problems of notebook 26, the backward pass: depth by input, a check, a rate, a loss, an order, broadcasting."""

from __future__ import annotations

from . import (
    adaptive_depth,
    backward_order,
    logits_loss,
    reacting_rate,
    trusted_check,
    unbroadcast,
)

__all__ = ["EXERCISES"]

EXERCISES = (
    adaptive_depth.EXERCISE,
    trusted_check.EXERCISE,
    reacting_rate.EXERCISE,
    logits_loss.EXERCISE,
    backward_order.EXERCISE,
    unbroadcast.EXERCISE,
)
