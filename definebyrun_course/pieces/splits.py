"""Images to train, to choose and to test: what `digits_split` and `strokes_split` give."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Split"]


class Split(NamedTuple):
    """Three sets: `x` of shape (images, pixels), standardised; `y` of shape (images,), int64 classes 0 to 9."""

    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
