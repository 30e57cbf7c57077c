"""A fresh seed goes in for the last cases of a check, random inputs come out; the message of a failure names the seed.

The cases before them are fixed, from the smallest up. These keep an answer from being fitted to the fixed ones.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

__all__ = ["Drawn", "drawn", "seeded"]

MAX_SEED = 9999
_fixed: list[int] = []


@dataclass
class Drawn:
    """A seed and what is drawn with it."""

    seed: int
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """Numbers from a normal distribution."""
        return torch.randn(shape, generator=self.generator, dtype=dtype)

    def uniform(
        self, *shape: int, low: float = 0.0, high: float = 1.0, dtype: torch.dtype = torch.float64
    ) -> torch.Tensor:
        """Numbers between two bounds."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=dtype)

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def __str__(self) -> str:
        return f"drawn with seed {self.seed}"


def drawn() -> Drawn:
    """A fresh seed, or the one that `seeded` has fixed."""
    return Drawn(_fixed[-1] if _fixed else secrets.randbelow(MAX_SEED) + 1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A region in which every check draws with this seed: to see a failure again.

    >>> with seeded(7):
    ...     str(drawn()), drawn().whole(1, 6) == drawn().whole(1, 6)
    ('drawn with seed 7', True)
    """
    _fixed.append(seed)
    try:
        yield
    finally:
        _fixed.pop()
