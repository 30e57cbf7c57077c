"""A result that `near` has accepted goes in; where the inputs are float64, it must have float64's digits as well.

`near` takes the digits of float32 for enough. An exercise whose statement asks for the digits of its inputs adds this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .near import apart, near
from .verdict import expect

__all__ = ["expect_digits", "has_digits"]

FLOAT64_RTOL = 1e-9
"""Far from both: float32 rounds by 6e-8 of a number, float64 by 1e-16."""


def has_digits(found: Any, want: Any, dtype: Any) -> bool:
    """Whether `found` agrees with `want` in the digits of the inputs' `dtype`, PyTorch's or NumPy's.

    >>> has_digits(np.float32(0.1), 0.1, np.float32), has_digits(np.float32(0.1), 0.1, torch.float64)
    (True, False)
    """
    if dtype not in (torch.float64, np.float64):
        return near(found, want)
    numbers = want.detach().numpy() if isinstance(want, torch.Tensor) else np.asarray(want)
    size = np.abs(numbers).max(initial=1.0)
    return near(found, want, rtol=FLOAT64_RTOL, atol=FLOAT64_RTOL * size)


def expect_digits(what: str, found: Any, want: Any, dtype: Any, where: str) -> None:
    """Expect that `found`, which is near `want`, has the digits of float64 where that is the inputs' `dtype`."""
    texts = apart(found, want)
    expect(
        dtype not in (torch.float64, np.float64) or has_digits(found, want, dtype),
        f"{what} is right in the digits of float32 alone: {texts[0]}, not {texts[1]}, {where}.",
        "What comes in is float64. Which step rounds, or computes in another dtype?",
    )
