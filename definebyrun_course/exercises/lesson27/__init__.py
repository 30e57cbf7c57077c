"""Problems of notebook 27, the training step: batch norm, pieces, Adam, clipping, a growing layer, four bugs."""

from __future__ import annotations

from . import adam_step, batch_norm_layer, clip_all, four_bugs, grow_layer, unequal_pieces

__all__ = ["EXERCISES"]

EXERCISES = (
    batch_norm_layer.EXERCISE,
    unequal_pieces.EXERCISE,
    adam_step.EXERCISE,
    clip_all.EXERCISE,
    grow_layer.EXERCISE,
    four_bugs.EXERCISE,
)
