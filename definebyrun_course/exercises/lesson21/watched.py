"""Functions for exercise `along` whose gradient is right or wrong in a known way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Watched", "opposite"]


class _OffBy(torch.autograd.Function):
    """The sum of sin, with a gradient that is off by what it is told."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, off: Tensor) -> Tensor:
        ctx.save_for_backward(x, off)
        return x.sin().sum()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        x, off = ctx.saved_tensors
        return g * (x.cos() + off), None


@dataclass
class Watched:
    """A function of a tensor, with a gradient that is right or off by `off`; notes where it was evaluated.

    `bent` is a point at which the gradient is right along those directions only that begin with unlike signs.
    """

    off: Tensor | float = 0.0
    flat: bool = False
    bent: Tensor | None = None
    points: list[Tensor] = field(default_factory=list)

    def __call__(self, x: Tensor) -> Tensor:
        self.points.append(x.detach().clone())
        if self.flat:
            return (x * 0).sum() + 3
        value = _OffBy.apply(x, torch.zeros_like(x) + self.off)
        if self.bent is None:
            return value
        one, two = (x.detach() - self.bent).flatten()[:2]
        return value + torch.minimum(one, two).relu() - torch.minimum(-one, -two).relu()

    def directions(self, x: Tensor) -> list[Tensor]:
        """The directions from x to where it was evaluated, with length 1; each has a point on either side."""
        moves = [(point - x).flatten() for point in self.points]
        return [move / move.norm() for move in moves if move.norm() > 0]


def opposite(x: Tensor, place: tuple[int, int]) -> Watched:
    """A gradient with two wrong entries, one at the front, whose errors are opposite."""
    off = torch.zeros_like(x)
    off[0, 0], off[place] = 1.0, -1.0
    return Watched(off)
