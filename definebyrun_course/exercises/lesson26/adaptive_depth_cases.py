"""The network of `adaptive_depth` in PyTorch, and the inputs on which answers are judged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import Drawn
from ..graphs import nodes_of

__all__ = [
    "Case",
    "asking",
    "by_autograd",
    "case",
    "edges",
    "rounds_of",
    "twin",
]

Case = tuple[Tensor, Tensor, Tensor, Tensor, float, int]
"""x, W, b, v, radius and budget."""


def twin(x: Tensor, W: Tensor, b: Tensor, v: Tensor, radius: float, budget: int) -> Tensor:
    """The network in PyTorch, by the words of the statement."""
    h, left = x, budget
    while left and float(h.detach().norm()) > radius:
        h, left = torch.tanh(W @ h + b), left - 1
    return v @ h


def case(
    draw: Drawn, size: int, steps: int, spare: int, dtype: torch.dtype = torch.float64
) -> Case:
    """An input for which the network takes so many steps, and has so many left in its budget."""
    W = torch.linalg.qr(draw.normal(size, size))[0] * 0.8
    x, b, v = draw.normal(size) + 2.0, draw.normal(size) / 50, draw.normal(size)
    h, norms = x, [2 * float(x.norm())]
    for _ in range(steps + 1):
        norms.append(float(h.norm()))
        h = torch.tanh(W @ h + b)
    radius = (norms[-2] + norms[-1]) / 2 if spare else norms[-1] / 2
    x, W, b, v = (t.to(dtype) for t in (x, W, b, v))
    return x, W, b, v, radius, steps + spare


def edges() -> list[tuple[str, Case]]:
    draw = Drawn(4)
    W, b, v = draw.normal(2, 2) / 2, draw.normal(2), draw.normal(2)
    found = [
        (
            "a norm that is just the radius",
            (torch.tensor([3.0, 4.0], dtype=torch.float64), W, b, v, 5.0, 3),
        ),
        ("a budget of 0", (torch.tensor([3.0, 4.0], dtype=torch.float64), W, b, v, 1.0, 0)),
        ("zeros", (torch.zeros(2).double(), W, b, v, 0.5, 3)),
        ("a huge input", (torch.tensor([1e200, -1e200], dtype=torch.float64), W, b, v, 1e-3, 4)),
    ]
    return found


def asking(case: Case) -> tuple[Any, ...]:
    return (*(t.clone().requires_grad_() for t in case[:4]), *case[4:])


def rounds_of(y: Tensor) -> int:
    """How many rounds of tanh the graph of an output has."""
    return sum("Tanh" in type(node).__name__ for node in nodes_of(y))


def by_autograd(case: Case) -> list[Tensor]:
    given = asking(case)
    found = autograd.grad(twin(*given), given[:4], allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(given[:4], found, strict=True)]
