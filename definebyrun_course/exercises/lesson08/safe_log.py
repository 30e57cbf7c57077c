"""Exercise `safe_log`: a logarithm that is safe to learn with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, near, shown, tried
from ..graphs import passed
from ..mistakes import then

__all__ = ["EXERCISE"]

SafeLog = Callable[[Tensor], Any]
SMALL = (3.0, 0.0, -2.0, [2.0, 0.0], [[2.0, -1.0, 0.5], [0.0, 7.0, -0.0]])
FAR = [1e30, -1e30, float("inf"), -float("inf")]
TWO_SIDES = "Both sides of a where are in the graph: the other gets the gradient 0, and 0 times infinity is nan."


def check_safe_log(safe_log: SafeLog) -> None:
    """`safe_log(x)` is log(x) or -10, with gradients 1 / x and 0."""
    for numbers in (*SMALL, _tiny(), FAR):
        _judge(safe_log, _tensor(numbers), shown(_tensor(numbers)))
    _judge(safe_log, _tensor([]).reshape(0, 2), "a tensor of shape (0, 2)")
    _judge(safe_log, _tensor(SMALL[-1]).T, "a transposed tensor of shape (3, 2)")
    draw = drawn()
    shape = (draw.whole(1, 3), draw.whole(2, 4), draw.whole(2, 5))
    _judge(
        safe_log, draw.normal(*shape, dtype=torch.get_default_dtype()), f"shape {shape} ({draw})"
    )


def _tiny() -> list[float]:
    """Small numbers, the last near the smallest whose inverse is finite: it has fewer digits than others."""
    return [1e-6, 1e-20, torch.finfo(torch.get_default_dtype()).tiny / 3]


def _tensor(numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.get_default_dtype())


def _right(x: Tensor) -> tuple[Tensor, Tensor]:
    values = [math.log(n) if n > 0 else -10.0 for n in x.flatten().tolist()]
    slopes = [1 / n if n > 0 else 0.0 for n in x.flatten().tolist()]
    return (torch.tensor(parts, dtype=x.dtype).reshape(x.shape) for parts in (values, slopes))  # type: ignore[return-value]


def _judge(safe_log: SafeLog, x: Tensor, what: str) -> None:
    values, slopes = _right(x)
    y = forms.tensor(safe_log(x), "safe_log", tuple(x.shape))
    _judge_values(y, values, what)
    x = x.clone().requires_grad_()
    if x.numel():
        x.grad = torch.full_like(x, 3.0)
    y = forms.tensor(safe_log(x), "safe_log", tuple(x.shape))
    _judge_values(y, values, what)
    weights = torch.arange(1, x.numel() + 1, dtype=x.dtype).cos().reshape(x.shape)
    expect(
        y.requires_grad,
        f"For {what}, which asks for gradients, the result asks for none.",
        "A result that was detached, or made of plain numbers, hands no gradient on.",
    )
    [grad] = passed(lambda: autograd.grad(y, x, weights, allow_unused=True), what, TWO_SIDES)
    expect(
        grad is not None,
        f"For {what} no gradient comes back to x.",
        "The result has to be computed from x itself, also where every number is -10.",
    )
    bad = grad[~grad.isfinite()]
    expect(
        not len(bad),
        f"For {what} the values are right, and the gradient holds {shown(bad[:1])[1:-1]}.",
        TWO_SIDES,
    )
    expect(
        near(grad, weights * slopes),
        f"For {what}, with the gradient {shown(weights)} of the result, the gradient of x is {shown(grad)}.",
        "1 / x times what comes in where x is positive, however small or large, and 0 elsewhere.",
    )


def _judge_values(y: Tensor, values: Tensor, what: str) -> None:
    expect(
        near(y, values),
        f"For {what} the values are {shown(y)}.",
        "The logarithm where x is positive, however small or large it is, and exactly -10 elsewhere, at 0 too.",
    )


# ---- answers ----


def _inner_where(x: Tensor) -> Tensor:
    """The solution."""
    positive = x > 0
    inside = torch.where(positive, x, torch.ones_like(x))
    return torch.where(positive, inside.log(), torch.full_like(x, -10.0))


def _one_where(x: Tensor) -> Tensor:
    return torch.where(x > 0, x.log(), torch.full_like(x, -10.0))


def _clamped(x: Tensor) -> Tensor:
    bound = math.exp(-10)
    return torch.where(x > bound, x.clamp(min=bound).log(), torch.full_like(x, -10.0))


def _clamp_alone(x: Tensor) -> Tensor:
    return x.clamp(min=math.exp(-10)).log()


def _shifted(x: Tensor) -> Tensor:
    return (x.clamp(min=0) + math.exp(-10)).log()


def _zero_too(x: Tensor) -> Tensor:
    inside = torch.where(x >= 0, x, torch.ones_like(x))
    return torch.where(x >= 0, inside.log(), torch.full_like(x, -10.0))


def _absolute(x: Tensor) -> Tensor:
    return torch.where(x == 0, torch.full_like(x, -10.0), torch.where(x == 0, 1.0, x).abs().log())


def _nan_to_num(x: Tensor) -> Tensor:
    return x.log().nan_to_num(nan=-10.0, neginf=-10.0, posinf=math.inf)


def _clamped_far_below(x: Tensor) -> Tensor:
    return torch.where(x > 0, x.clamp(min=1e-30).log(), torch.full_like(x, -10.0))


def _clamped_at_the_edge(x: Tensor) -> Tensor:
    tiny = torch.finfo(x.dtype).tiny
    return torch.where(x > 0, x.abs().clamp(min=tiny).log(), torch.full_like(x, -10.0))


def _hooked(x: Tensor) -> Tensor:
    if x.requires_grad:
        x.register_hook(torch.nan_to_num)
    return _one_where(x)


def _overwriting(x: Tensor) -> Tensor:
    positive = x > 0
    with torch.no_grad():
        x[~positive] = 1
    return torch.where(positive, x.log(), torch.full_like(x, -10.0))


def _detached(x: Tensor) -> Tensor:
    return _inner_where(x.detach())


def _by_data(x: Tensor) -> Tensor:
    y = _inner_where(x.detach())
    return y + (x - x.detach()).nan_to_num()


def _no_negative(x: Tensor) -> Tensor:
    """-10 where the logarithm would be smaller."""
    return _inner_where(x).clamp(min=-10.0)


def _forgetful(x: Tensor) -> None:
    _inner_where(x)


def _selected(x: Tensor) -> Tensor:
    return x[x > 0].log()


def _by_index(x: Tensor) -> Tensor:
    y, positive = torch.full(x.shape, -10.0), x > 0
    y[positive] = x[positive].log()
    return y


def _filled(x: Tensor) -> Tensor:
    gone = ~(x > 0)
    return x.masked_fill(gone, 1.0).log().masked_fill(gone, -10.0)


class _OwnRule(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _one_where(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        [x] = ctx.saved_tensors
        return torch.where(x > 0, grad_output / x, torch.zeros_like(x))


def told(safe_log: SafeLog) -> Any:
    """The oracle: values and gradients of many shapes and sizes, and x afterwards."""
    generator = torch.Generator().manual_seed(0)
    inputs = [_tensor(numbers) for numbers in (*SMALL, _tiny(), FAR, [], [[1.0], [-1.0]])]
    for shape in ((1,), (7,), (3, 1, 2)):
        x = torch.randn(*shape, 2, generator=generator, dtype=torch.get_default_dtype())
        inputs += [x[..., 0], x[..., 0] * 1e-8, x[..., 0] * 1e8]
    found: list[Any] = []
    for x in inputs:
        for asks in (False, True):
            found.append(tried(safe_log, x.clone().requires_grad_(asks), asks=True))
        found.append(tried(_gradient, safe_log, x))
    return found


def _gradient(safe_log: SafeLog, x: Tensor) -> Any:
    x = x.clone().requires_grad_()
    [grad] = autograd.grad(safe_log(x).sum(), x, allow_unused=True)
    return grad


EXERCISE = Exercise(
    "safe_log",
    "The logarithm never saw a bad number.",
    check_safe_log,
    (
        Wrong("one where", _one_where, "For 0 the values are right, and the gradient holds nan"),
        Wrong(
            "a bound of its own",
            _clamped,
            "1e-20, 3.918e-39] the values are [-10, -10, -10]",
        ),
        Wrong("a clamp", _clamp_alone, "1e-20, 3.918e-39] the values are [-10, -10, -10]"),
        Wrong(
            "cut below -10",
            _no_negative,
            "1e-20, 3.918e-39] the values are [-10, -10, -10]",
        ),
        Wrong(
            "a bound far below",
            _clamped_far_below,
            "3.918e-39] the values are [-13.82, -46.05, -69.08]",
        ),
        Wrong(
            "a bound at the smallest normal number",
            _clamped_at_the_edge,
            "3.918e-39] the values are [-13.82, -46.05, -87.34]",
        ),
        Wrong("a hook on x", _hooked, "x, its hooks"),
        Wrong("shifted", _shifted, "the gradient of x is 1.19e+04"),
        Wrong("zero taken for positive", _zero_too, "For 0 the values are -inf"),
        Wrong("of the absolute value", _absolute, "For -2 the values are 0.6931"),
        Wrong(
            "repaired afterwards",
            _nan_to_num,
            "For 0 the values are right, and the gradient holds nan",
        ),
        Wrong("x overwritten", _overwriting, "it was given: x is"),
        Wrong(
            "x overwritten afterwards",
            then(_inner_where, lambda x: x.data.fill_(1)),
            "it was given: x is",
        ),
        Wrong("detached", _detached, "the result asks for none"),
        Wrong("the gradient of x itself", _by_data, "the gradient of x is 0.5403"),
        Wrong("positive ones alone", _selected, "returns the shape () here; yours returned (1,)"),
        Wrong("return forgotten", _forgetful, "Is a `return` missing"),
    ),
    right=(
        Right("by index, -10 of the default dtype", _by_index),
        Right("filled before and after", _filled),
        Right("a rule of its own", lambda x: _OwnRule.apply(x)),
    ),
    oracle=told,
)
