"""Problems of notebook 28, what the graph keeps: checkpoints, rounding, backwards, a leak, versions, prefixes."""

from __future__ import annotations

from . import (
    checkpointed,
    free_leak,
    prefix_products,
    softplus,
    straight_through,
    version_error,
)

__all__ = ["EXERCISES"]

EXERCISES = (
    checkpointed.EXERCISE,
    straight_through.EXERCISE,
    softplus.EXERCISE,
    free_leak.EXERCISE,
    version_error.EXERCISE,
    prefix_products.EXERCISE,
)
