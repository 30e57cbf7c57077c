"""Functions whose gradients are right, functions that were broken on purpose, and points at kinks, for the checker.

Each entry of a dict is a function without arguments that gives `(function, inputs)`; what is random is seeded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

Case = Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]


def normal(
    *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64, shift: float = 0.0
) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=draw, dtype=dtype) + shift).requires_grad_()


def positive(*shape: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, generator=draw, dtype=torch.float64) + 0.3).requires_grad_()


def seeded(module: nn.Module) -> nn.Module:
    draw = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw) * 0.4
    return module


def branch(x: Tensor) -> Tensor:
    """Another graph for another input."""
    return x.exp() if x.sum() > 0 else x.sin() * 3


def loop(x: Tensor) -> Tensor:
    """As many multiplications as it takes."""
    while x.norm() < 20:
        x = x * 1.7
    return x.tanh() + x


def recurrent(x: Tensor, w: Tensor) -> Tensor:
    state = torch.zeros(3, dtype=x.dtype)
    for row in x:
        state = torch.tanh(w @ state + row)
    return state


def overwrites(x: Tensor) -> Tensor:
    x[0] = 2 * x[1]
    return (x.mul_(3)).sin()


def penalty(x: Tensor) -> Tensor:
    """A gradient inside the function."""
    y = (x**3).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    return y + g.square().sum()


class RightCube(Function):
    """A custom backward that is right, also twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


def case(function: Callable[..., Any], *inputs: Any) -> Case:
    return lambda: (function, inputs)


X = normal(3, 4)
W = normal(4, 2, seed=1)
TARGET = torch.tensor([1, 0, 3])

RIGHT: dict[str, Case] = {
    "sin": case(torch.sin, X),
    "exp of 20": case(torch.exp, normal(3, shift=20.0)),
    "log": case(torch.log, positive(4)),
    "log near zero": case(torch.log, (positive(3).detach() * 1e-8).requires_grad_()),
    "sqrt": case(torch.sqrt, positive(4)),
    "reciprocal of a millionth": case(
        torch.reciprocal, (positive(3).detach() * 1e-6).requires_grad_()
    ),
    "sin of 1000 x": case(lambda x: (1000 * x).sin(), normal(3)),
    "sin at a million": case(torch.sin, normal(3, shift=1e6)),
    "square of a million": case(torch.square, normal(3, shift=1e6)),
    "a tiny function": case(lambda x: 1e-30 * x**3, normal(3)),
    "a tiny gradient": case(lambda x: 1 + 1e-7 * x**2, normal(3)),
    "a constant": case(lambda x: x * 0 + 5, normal(3)),
    "an unused input": case(lambda x, y: x * 2, normal(3), normal(2)),
    "round": case(torch.round, positive(4)),
    "tanh": case(torch.tanh, X),
    "sigmoid far out": case(torch.sigmoid, normal(3, shift=30.0)),
    "gelu": case(F.gelu, X),
    "softplus": case(F.softplus, X),
    "relu beside its kinks": case(torch.relu, X),
    "relu very near its kink": case(
        torch.relu, torch.tensor([1e-5, -1e-6], dtype=torch.float64).requires_grad_()
    ),
    "abs": case(torch.abs, X),
    "power 1.5 at zero": case(
        lambda x: x.abs() ** 1.5, torch.zeros(2, dtype=torch.float64, requires_grad=True)
    ),
    "softmax": case(lambda x: x.softmax(1), X),
    "log softmax": case(lambda x: x.log_softmax(1), X),
    "logsumexp of large": case(lambda x: x.logsumexp(1), normal(3, 4, shift=500.0)),
    "cross entropy": case(lambda x: F.cross_entropy(x, TARGET), X),
    "matmul": case(torch.matmul, X, W),
    "broadcast": case(lambda x, b: x * b + b, X, normal(4, seed=2)),
    "einsum": case(lambda a, b: torch.einsum("ij,jk->ki", a, b), X, W),
    "layer norm": case(lambda x: F.layer_norm(x, (4,)), X),
    "std": case(lambda x: x.std(0), X),
    "norm": case(lambda x: x.norm(), X),
    "max": case(lambda x: x.max(1).values, X),
    "sort": case(lambda x: x.sort(1).values.cumsum(1), X),
    "cumprod": case(lambda x: x.cumprod(0), X),
    "index and gather": case(lambda x: x[[0, 0, 2]].gather(1, TARGET[:, None]), X),
    "conv2d": case(
        lambda x, w: F.conv2d(x, w, padding=1), normal(1, 2, 4, 3), normal(2, 2, 3, 3, seed=1)
    ),
    "max pool": case(lambda x: F.max_pool2d(x, 2), normal(1, 1, 4, 4)),
    "determinant": case(torch.linalg.det, normal(3, 3)),
    "inverse": case(torch.linalg.inv, normal(3, 3)),
    "solve": case(torch.linalg.solve, normal(3, 3), normal(3, 1, seed=4)),
    "eigenvalues": case(lambda x: torch.linalg.eigvalsh(x + x.T), normal(3, 3)),
    "fft": case(torch.fft.fft, normal(5)),
    "complex input": case(
        lambda z: (z * z.conj()).real + z.abs(), normal(3, dtype=torch.complex128)
    ),
    "a tuple of outputs": case(lambda x: (x.sin(), {"a": x.sum(), "n": 3}), X),
    "another graph for another input": case(branch, X),
    "a while loop": case(loop, normal(3)),
    "recurrent": case(recurrent, X.detach()[:, :3].clone().requires_grad_(), normal(3, 3, seed=5)),
    "writes into its input": case(overwrites, normal(4)),
    "a gradient inside": case(penalty, normal(3)),
    "a custom function": case(RightCube.apply, normal(3)),
    "expanded input": case(torch.sin, normal(1).detach().expand(3).requires_grad_()),
    "transposed input": case(lambda x: x.sin(), X.detach().T.requires_grad_()),
    "float32": case(lambda x: x.sin() * x, normal(4, dtype=torch.float32)),
    "dropout": case(lambda x: F.dropout(x, 0.5), X),
    "a linear layer": lambda: (seeded(nn.Linear(4, 2)), (X,)),
    "a network with batch norm and dropout": lambda: (
        seeded(
            nn.Sequential(
                nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 2)
            )
        ),
        (X,),
    ),
    "an LSTM": lambda: (seeded(nn.LSTM(4, 2)), (X,)),
    "attention": lambda: (seeded(nn.MultiheadAttention(4, 2)), (X, X, X)),
    "large minus large": case(lambda x: (1e6 + x**2) - 1e6, normal(3)),
    "no elements": case(torch.sin, normal(0)),
}


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64, requires_grad=True)


KINKS: dict[str, Case] = {
    "relu at zero": case(torch.relu, zeros(3)),
    "abs at zero": case(torch.abs, zeros(3)),
    "clamp at its bound": case(lambda x: x.clamp(0, 1), zeros(2)),
    "a tie of max": case(lambda x: x.max(), zeros(3)),
    "hinge at its corner": case(
        lambda x: F.relu(1 - x).sum(), torch.ones(2, dtype=torch.float64, requires_grad=True)
    ),
    "one dead unit": case(lambda x, w: torch.relu(x @ w).sum(), zeros(2, 4), W),
    "dead units, several outputs": case(
        lambda x, w: torch.relu(x @ w), zeros(2, 4), normal(4, 8, seed=7)
    ),
    "a small kink on a curve": case(lambda x: (x**2 + 1e-3 * x.relu()).sum(), zeros(2)),
    "another branch with another slope": case(lambda x: x * 2 if x.sum() > 0 else x * 3, zeros(1)),
    "leaky relu": case(lambda x: F.leaky_relu(x, 0.1), zeros(2)),
    "elu with another slope": case(lambda x: F.elu(x, alpha=2.0), zeros(2)),
}

JUMPS: dict[str, Case] = {
    "another branch with another value": case(lambda x: x + 1 if x.sum() > 0 else x * 3, zeros(1)),
    "sign at zero": case(torch.sign, zeros(2)),
    "floor at a whole number": case(torch.floor, zeros(2)),
}
