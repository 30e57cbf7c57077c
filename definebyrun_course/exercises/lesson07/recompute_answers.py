"""Answers to exercise `recompute`, right and wrong: checkpoints as classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

__all__ = [
    "ByAttributes",
    "ByBackward",
    "ByVjp",
    "Forgotten",
    "GradOutput",
    "GraphKept",
    "OfTheSum",
    "OnTheClass",
    "OneGradient",
    "OtherWayRound",
    "Recompute",
    "ResultKept",
    "Thrice",
    "TimesTheSum",
    "Unrecorded",
    "Written",
]


class Recompute(autograd.Function):
    """The solution, to be changed in one place."""

    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Any:
        ctx.function = function
        ctx.save_for_backward(x)
        return function(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x, y = again(ctx)
        return None, autograd.grad(y, x, grad_output)[0]


def again(ctx: Any, after: Callable[[Tensor], Tensor] = lambda y: y) -> tuple[Tensor, Tensor]:
    """A new leaf, and the function of it once more."""
    x = ctx.saved_tensors[0].detach().requires_grad_()
    with torch.enable_grad():
        return x, after(ctx.function(x))


class OfTheSum(Recompute):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x, y = again(ctx, torch.sum)
        return None, autograd.grad(y, x)[0]


class TimesTheSum(Recompute):
    """Right where each element of the result depends on its own element of x."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x, y = again(ctx, torch.sum)
        return None, autograd.grad(y, x)[0] * grad_output


class GraphKept(Recompute):
    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Any:
        with torch.enable_grad():
            ctx.x = x.detach().requires_grad_()
            ctx.y = function(ctx.x)
        return ctx.y.detach()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return None, autograd.grad(ctx.y, ctx.x, grad_output)[0]


class ResultKept(Recompute):
    """Keeps a second copy of the result."""

    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Any:
        y = Recompute.forward(ctx, function, x)
        ctx.y = y.clone()
        return y


class Unrecorded(Recompute):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x = ctx.saved_tensors[0].detach().requires_grad_()
        return None, autograd.grad(ctx.function(x), x, grad_output)[0]


class OnTheClass(Recompute):
    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Any:
        OnTheClass.function = function
        ctx.save_for_backward(x)
        return function(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        ctx.function = OnTheClass.function
        return Recompute.backward(ctx, grad_output)


class Written(Recompute):
    """Calls backward on a graph that goes on to the caller's x."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        [x] = ctx.saved_tensors
        with torch.enable_grad():
            y = ctx.function(x)
        y.backward(grad_output)
        return None, x.grad


class GradOutput(Recompute):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return None, grad_output * torch.ones_like(ctx.saved_tensors[0])


class OneGradient(Recompute):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return Recompute.backward(ctx, grad_output)[1]


class OtherWayRound(Recompute):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return Recompute.backward(ctx, grad_output)[::-1]


class Thrice(Recompute):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        again(ctx)
        return Recompute.backward(ctx, grad_output)


class Forgotten(Recompute):
    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Any:
        Recompute.forward(ctx, function, x)


class ByBackward(Recompute):
    """Calls backward on the small graph, whose leaf is its own."""

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        x, y = again(ctx)
        y.backward(grad_output)
        return None, x.grad


class ByAttributes(autograd.Function):
    """x as an attribute of ctx; the product of the result with grad_output is one number."""

    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor) -> Any:
        ctx.kept = function, x
        return function(x)

    @staticmethod
    @torch.enable_grad()
    def backward(ctx: Any, *grads: Tensor) -> Any:
        function, x = ctx.kept
        x = x.detach().clone().requires_grad_()
        return None, *autograd.grad((function(x) * grads[0]).sum(), [x])


class ByVjp(Recompute):
    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        _, back = torch.func.vjp(ctx.function, ctx.saved_tensors[0].detach())
        return None, back(grad_output)[0]
