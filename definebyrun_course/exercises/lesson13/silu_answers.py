"""Answers to exercise `silu`, right and wrong: Functions of x times its sigmoid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function, grad
from torch.autograd.function import once_differentiable

__all__ = [
    "WRONG",
    "ByAutograd",
    "WithSetup",
]


# ---- right answers, found in other ways ----


def _by_halves(x: Tensor) -> Tensor:
    """The sigmoid, with exponentials of negative numbers alone."""
    z = torch.where(x > 0, -x, x).exp()
    return torch.where(x > 0, 1.0, z) / (1 + z)


class WithSetup(Function):
    """Saves in a method of its own, and has sigmoid and derivative in another form."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * _by_halves(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = _by_halves(x)
        return s * (1 + x * (1 - s)) * grad_output


class ByAutograd(Function):
    """Asks autograd for the derivative in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return nn.functional.silu(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            y = nn.functional.silu(x)
        return grad(y, x, grad_output, create_graph=True)[0]


# ---- wrong answers ----


def _function(
    save: Callable[..., Any], slope: Callable[..., Any], value: Any = None, **more: Any
) -> type[Function]:
    """A Function: `save(ctx, x, s)` in forward, `slope(ctx, g)` in backward."""

    class Silu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            s = torch.sigmoid(x)
            save(ctx, x, s)
            return x * s if value is None else value(x, s)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return slope(ctx, g)

    if more.get("once"):
        Silu.backward = staticmethod(once_differentiable(Silu.backward))  # type: ignore[method-assign]
    return Silu


def _x(ctx: Any, x: Tensor, s: Tensor) -> None:
    ctx.save_for_backward(x)


def _formula(x: Tensor, s: Tensor) -> Tensor:
    return s + x * s * (1 - s)


def _slope(s: Tensor) -> Tensor:
    return s * (1 - s)


def _true(ctx: Any, g: Tensor) -> Tensor:
    x = ctx.saved_tensors[0]
    return g * _formula(x, torch.sigmoid(x))


def _without_recording(ctx: Any, g: Tensor) -> Tensor:
    with torch.no_grad():
        return _true(ctx, g)


def _logit(ctx: Any, g: Tensor) -> Tensor:
    """The sigmoid is saved, and x is computed from it."""
    s = ctx.saved_tensors[0]
    return g * _formula((s / (1 - s)).log(), s)


def _quotient(x: Tensor) -> Tensor:
    return x.exp() / (1 + x.exp())


def _small_half(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def _by(sigmoid: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """A backward with another sigmoid."""
    return lambda ctx, g: g * _formula(ctx.saved_tensors[0], sigmoid(ctx.saved_tensors[0]))


def _single(ctx: Any, g: Tensor) -> Tensor:
    x = ctx.saved_tensors[0].float()
    return (g.float() * _formula(x, torch.sigmoid(x))).to(g.dtype)


def _clamped(ctx: Any, g: Tensor) -> Tensor:
    x = ctx.saved_tensors[0].clamp(-20, 20)
    return g * _formula(x, torch.sigmoid(x))


WRONG = {
    "a quotient of exponentials": (
        _function(_x, _by(_quotient), lambda x, s: x * _quotient(x)), "Silu.apply(x) is [nan], at"),
    "that quotient in backward": (_function(_x, _by(_quotient)), "backward gives [nan], not"),
    "an exponential of minus x": (_function(_x, _by(_small_half)), "the second is [nan], not"),
    "in float32": (
        _function(_x, _single), "backward gives is right in the digits of float32 alone: [1.109"),
    "forward in float32": (
        _function(_x, _true, lambda x, s: (x.float() * s.float()).to(x.dtype)), "Silu.apply(x) is right in the digits"),
    "x clamped at 20": (_function(_x, _clamped), "and x = [25]"),
    "saves the slope": (
        _function(lambda ctx, x, s: ctx.save_for_backward(_formula(x, s)), lambda ctx, g: g * ctx.saved_tensors[0]),
        "no way leads from it to x"),
    "saves the sigmoid": (
        _function(lambda ctx, x, s: ctx.save_for_backward(s), _logit), "no way leads from it to x"),
    "saves x and the sigmoid": (
        _function(lambda ctx, x, s: ctx.save_for_backward(x, s), lambda ctx, g: g * _formula(*ctx.saved_tensors)),
        "2 tensors are saved"),
    "keeps x on ctx": (
        _function(lambda ctx, x, s: setattr(ctx, "x", x), lambda ctx, g: g * _formula(ctx.x, torch.sigmoid(ctx.x))),
        "kept as ctx.x"),
    "x detached": (
        _function(_x, lambda ctx, g: g * _formula(ctx.saved_tensors[0].detach(), torch.sigmoid(ctx.saved_tensors[0]))),
        "the second is [0."),
    "nothing recorded": (_function(_x, _without_recording), "it has no graph"),
    "grad_output detached": (_function(_x, lambda ctx, g: _true(ctx, g.detach())), "result by grad_output"),
    "once differentiable": (_function(_x, _true, once=True), "once_differentiable"),
    "grad_output forgotten": (_function(_x, lambda ctx, g: _true(ctx, torch.ones_like(g))), "a grad_output of ones"),
    "product rule forgotten": (
        _function(_x, lambda ctx, g: g * torch.sigmoid(ctx.saved_tensors[0])), "backward gives [0.9337]"),
    "the sigmoid's slope": (
        _function(_x, lambda ctx, g: g * _slope(torch.sigmoid(ctx.saved_tensors[0]))), "backward gives [0.3525]"),
    "no product in forward": (_function(_x, _true, lambda x, s: s), "Silu.apply(x) is [0.6225]"),
    "written into x": (_function(_x, _true, lambda x, s: x.data.mul_(s).clone()), "leave alone: x"),
    "one number back": (_function(_x, lambda ctx, g: _true(ctx, g).sum()), "refuses what backward returns"),
    "apply instead of the class": (_function(_x, _true).apply, "the method apply"),
    "a plain function": (nn.functional.silu, "not a torch.autograd.Function"),
}  # fmt: skip
