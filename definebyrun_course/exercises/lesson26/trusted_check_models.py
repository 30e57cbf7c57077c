"""Models with right and with wrong gradients, for exercise `trusted_check`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...grading import Drawn
from ..models import filled

__all__ = ["Bent", "Step", "guilty", "innocent"]

Places = list[tuple[int, ...]]


class Bent(torch.autograd.Function):
    """The identity, with a backward pass that may be anything."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, back: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.back = back
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return ctx.back(grads[0]), None


class Step(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class TrainedOnly(nn.Module):
    """A backward pass that is wrong in training mode, and right in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        return (Bent.apply(x, lambda g: 3 * g) if self.training else x) ** 2


class Model(nn.Module):
    """A weight and a bias, and what happens to them."""

    def __init__(self, draw: Drawn, inputs: int, outputs: int, run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(draw.normal(outputs, inputs))
        self.bias = nn.Parameter(draw.normal(outputs) / 2)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, self.weight, self.bias)


def _of(draw: Drawn, *modules: nn.Module) -> nn.Sequential:
    return filled(draw, nn.Sequential(*modules).double())


def innocent(draw: Drawn) -> list[tuple[str, nn.Module, Tensor]]:
    """Words, a model, its input: autograd's gradient is right, at a kink one of those that are."""
    tiny = Step(lambda x: 1e-9 * x.pow(2))
    huge = Step(lambda x: 1e9 * x.pow(3))
    far = Step(lambda x: torch.tanh(15 + x))
    sparse = Step(lambda x: x[:, :1] * 2)
    shared = Model(draw, 2, 2, lambda x, w, b: torch.tanh(x @ w) @ w + b)
    rest = Model(draw, 2, 2, lambda x, w, b: x @ w)
    x = draw.normal(3, 2)
    kinks = torch.tensor([[0.0, 1.0], [-2.0, 0.0]], dtype=torch.float64)
    return [
        ("one number, squared", Step(lambda x: x * x), draw.normal(1)),
        ("the cubes of large numbers", Step(lambda x: x**3), 200 * draw.normal(2)),
        ("gradients near 1e-9", tiny, x),
        ("gradients near 1e9", huge, x),
        ("a saturated tanh", far, x),
        ("an input that is partly unused", sparse, x),
        ("a kink of relu at 0", Step(torch.relu), kinks),
        ("a kink of abs at 0", Step(lambda x: x.abs() * 3), kinks),
        ("a layer with two outputs", _of(draw, nn.Linear(2, 2), nn.Tanh()), x),
        ("gradients switched off", _of(draw, nn.Linear(2, 1), nn.Sigmoid()), x),
        ("a weight that is used twice", shared, x),
        ("a bias that is not used", rest, x),
        ("dropout", _of(draw, nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 1)), x),
        (
            "batch normalisation",
            _of(draw, nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Tanh()),
            draw.normal(4, 2),
        ),
        ("evaluation mode", _of(draw, nn.Linear(2, 2), nn.BatchNorm1d(2)).eval(), x),
    ]


def _all(shape: tuple[int, ...]) -> Places:
    return [tuple(int(i) for i in row) for row in torch.ones(shape).nonzero()]


def guilty(draw: Drawn) -> list[tuple[str, nn.Module, Tensor, dict[str, Places], float | None]]:
    """Words, a model, its input, the wrong entries, and how many times the slope autograd's number is."""

    def bent(back: Callable[[Tensor], Tensor], part: str = "all") -> Model:
        def run(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            w = Bent.apply(w, back) if part == "w" else w
            b = Bent.apply(b, back) if part == "b" else b
            x = Bent.apply(x, back) if part == "x" else x
            return torch.tanh(x @ w.T + b)

        return Model(draw, 2, 2, run)

    def one(g: Tensor) -> Tensor:
        g = g.clone()
        g[-1, -1] *= 1.5
        return g

    def second(g: Tensor) -> Tensor:
        return g * torch.tensor([1.0, 0.0], dtype=g.dtype)

    def nans(g: Tensor) -> Tensor:
        return torch.full_like(g, math.nan)

    x = draw.normal(3, 2)
    x = x.sign() * (x.abs() + 0.2)
    w, b, every = _all((2, 2)), _all((2,)), _all((3, 2))
    soft = Step(lambda x: Bent.apply(x, lambda g: g - g).softmax(1))
    negative = Step(lambda x: x * x.detach().clamp(min=0) + x.clamp(max=0) * 2)
    many = Model(draw, 20, 2, lambda x, w, b: x @ Bent.apply(w, one).T * 1e3 + b)
    mean = Step(lambda x: Bent.apply(x, lambda g: g / len(g)) ** 2)
    norm = nn.Sequential(Step(lambda x: Bent.apply(x, lambda g: -g)), nn.BatchNorm1d(2), nn.Tanh())
    positive = [tuple(i) for i in every if float(x[i]) > 0]
    return [
        (
            "the opposite sign in one number",
            Step(lambda x: Bent.apply(x, lambda g: -g) * 3),
            draw.normal(1) + 3,
            {"x": [(0,)]},
            -1.0,
        ),
        ("a bias whose gradient is doubled", bent(lambda g: 2 * g, "b"), x, {"bias": b}, 2.0),
        ("a weight whose gradient is halved", bent(lambda g: g / 2, "w"), x, {"weight": w}, 0.5),
        (
            "an input whose gradient is 0.9 times the slope",
            bent(lambda g: 0.9 * g, "x"),
            x,
            {"x": every},
            0.9,
        ),
        (
            "a square weight with a transposed gradient",
            bent(lambda g: g.T, "w"),
            x,
            {"weight": [(0, 1), (1, 0)]},
            None,
        ),
        ("one entry of forty", many, draw.normal(2, 20), {"weight": [(1, 19)]}, 1.5),
        ("a mean for a sum", mean, x, {"x": every}, 1 / 3),
        ("a softmax whose gradient is always 0", soft, x, {"x": every}, 0.0),
        ("a path that is detached where x > 0", negative, x, {"x": positive}, 0.5),
        (
            "an upstream that is lost in the second column",
            Step(lambda x: Bent.apply(x, second) * 2),
            x,
            {"x": [(i, 1) for i in range(3)]},
            0.0,
        ),
        ("a gradient of nan", bent(nans, "b"), x, {"bias": b}, None),
        ("a factor in training mode only", TrainedOnly(), x, {"x": every}, 3.0),
        (
            "a sign under batch normalisation",
            norm.double(),
            draw.normal(4, 2),
            {"x": _all((4, 2))},
            -1.0,
        ),
    ]
