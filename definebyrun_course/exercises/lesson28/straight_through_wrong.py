"""Wrong answers to exercise `straight_through`, with the words of their verdicts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from ...grading import Wrong

__all__ = ["WRONG"]


def _wrong(mistake: str) -> Callable[..., Any]:
    class Bad(torch.autograd.Function):
        generate_vmap_rule = mistake != "no rule for a batch"

        @staticmethod
        def forward(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
            v = x / scale
            if mistake.startswith("floor"):
                v = (v + 0.5 * ("+" in mistake)).floor()
            v = v.round()
            v = v if mistake == "no limits" else v.clamp(low, high)
            return v if mistake == "not scaled back" else v * scale

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            _keep(ctx, mistake, *inputs)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            x, scale = _kept(ctx, mistake)
            v, g = x / scale, grads[0]
            inside = (v >= ctx.low) & (v <= ctx.high)
            if mistake == "open limits":
                inside = (v > ctx.low) & (v < ctx.high)
            if mistake == "limits for x":
                inside = (x >= ctx.low) & (x <= ctx.high)
            q = v.round().clamp(ctx.low, ctx.high)
            if mistake == "inside after rounding":
                inside = v.round() == q
            dx = g if mistake == "1 outside" else g * inside
            slope = q if mistake == "q alone" else q - v * inside
            if mistake == "q - v everywhere":
                slope = q - v
            ds = g * slope
            ds = ds.mean() if mistake == "a mean" and ds.numel() else ds.sum()
            return dx, None if mistake == "None for scale" else ds, None, None

    if mistake != "differentiable twice":
        Bad.backward = staticmethod(once_differentiable(Bad.backward))  # type: ignore[method-assign]
    return lambda x, scale, low, high: Bad.apply(x, scale, low, high)


def _keep(ctx: Any, mistake: str, x: Tensor, scale: Tensor, low: int, high: int) -> None:
    ctx.low, ctx.high = low, high
    if mistake == "x on ctx":
        ctx.x = x.detach()
        ctx.save_for_backward(scale)
    elif mistake == "scale on ctx":
        ctx.scale = scale.detach()
        ctx.save_for_backward(x)
    elif mistake == "saves more":
        ctx.save_for_backward(x, scale, (x / scale).round())
    else:
        ctx.save_for_backward(x, scale)
    if mistake == "more on ctx":
        ctx.rounded = (x / scale).round()


def _kept(ctx: Any, mistake: str) -> tuple[Tensor, Tensor]:
    if mistake == "x on ctx":
        return ctx.x, ctx.saved_tensors[0]
    if mistake == "scale on ctx":
        return ctx.saved_tensors[0], ctx.scale
    return ctx.saved_tensors[0], ctx.saved_tensors[1]


def _gradients(g: Tensor, x: Tensor, scale: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
    """Those of x, and of scale before they are summed."""
    v = x / scale
    inside = (v >= low) & (v <= high)
    return g * inside, g * (v.round().clamp(low, high) - v * inside)


def _plain(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    return (x / scale).round().clamp(low, high) * scale


def _surrogate(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    v = (x / scale).clamp(low, high)
    return (v + (v.round() - v).detach()) * scale


def _no_detach(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    v = (x / scale).clamp(low, high)
    return (v + (v.round() - v)) * scale


class _CtxInForward(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, *limits: int) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.limits = limits
        return _plain(x, scale, *limits)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        dx, ds = _gradients(grads[0], *ctx.saved_tensors, *ctx.limits)
        return dx, ds.sum(), None, None


class _AutogradInside(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Tensor, *limits: int) -> Tensor:
        return _plain(x, scale, *limits)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.limits = inputs[2:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, scale = (t.detach().requires_grad_() for t in ctx.saved_tensors)
        with torch.enable_grad():
            y = _surrogate(x, scale, *ctx.limits)
        return *torch.autograd.grad(y, (x, scale), grads[0].detach()), None, None


class _SumOfAll(_AutogradInside):
    """Its rule for a batch takes all rows at once; its backward pass adds up all that it is given."""

    generate_vmap_rule = False

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], x: Tensor, scale: Tensor, *limits: int) -> Any:
        scale = scale if dims[1] is None else scale.reshape(-1, *[1] * (x.ndim - 1))
        return _SumOfAll.apply(x, scale, *limits), 0

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        dx, ds = _gradients(grads[0], *ctx.saved_tensors, *ctx.limits)
        return dx, ds.sum().expand_as(ctx.saved_tensors[1]), None, None


SAYS = {
    "x on ctx": "x was",
    "scale on ctx": "scale was",
    "saves more": "bytes, 8,008",
    "more on ctx": "bytes, 8,008",
    "floor of x + 0.5": "3, 0, -1];",
    "floor": "-1, -2];",
    "no limits": "above the value",
    "not scaled back": "be [0.5,",
    "open limits": "limits themselves",
    "inside after rounding": "outside the",
    "limits for x": "[1, 1.2,",
    "1 outside": "x is [1];",
    "q alone": "be -0.3.",
    "q - v everywhere": "scale is -6;",
    "a mean": "is -0.15;",
    "None for scale": "inside scale",
    "differentiable twice": "of scale has a second",
    "no rule for a batch": "no rule",
}
WRONG = (
    *(Wrong(name, _wrong(name), says) for name, says in SAYS.items()),
    Wrong("plain rounding", _plain, "x is [0];"),
    Wrong("the detach forgotten", _no_detach, "x is [0];"),
    Wrong("all intermediates kept", _surrogate, "bytes, 12,008"),
    Wrong(
        "a checkpoint",
        partial(checkpoint, _surrogate, use_reentrant=False),
        "hooks on saved tensors",
    ),
    Wrong("ctx in forward", _CtxInForward.apply, "gives nothing: its Function"),
    Wrong("autograd inside", _AutogradInside.apply, "requires_grad_() is"),
    Wrong("a sum of all rows", _SumOfAll.apply, "gives ["),
)
