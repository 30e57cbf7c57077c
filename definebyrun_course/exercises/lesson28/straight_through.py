"""Exercise `straight_through`: rounding to a grid, with a gradient that goes straight through."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, func
from torch.autograd.function import once_differentiable

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    apart,
    drawn,
    expect,
    forms,
    near,
    tried,
)
from ..live import kept_bytes
from .straight_through_wrong import WRONG

__all__ = ["EXERCISE"]

INSIDE = "Inside the limits the gradient passes as it is; outside of them it is 0."
STEP = "v = x / scale: the slope by scale is round(v) - v inside, and the limit outside, summed over all entries."
LOW, HIGH = -2, 3
NEEDS = {
    "setup_context": (
        "its Function has no setup_context",
        "torch.func wants a forward without ctx; what is kept goes into a method of its own, setup_context.",
    ),
    "vmap support": (
        "the Function has no rule for a batch",
        "generate_vmap_rule lets torch make one; a static method vmap is one by hand.",
    ),
    "requires_grad_()": (
        "requires_grad_() is called inside of it",
        "Inside a transform of torch.func, gradients are taken by torch.func, too.",
    ),
    "saved tensor hooks": (
        "hooks on saved tensors are set inside of it, as a checkpoint does",
        "torch.func has no such hooks: a Function says itself what is kept.",
    ),
}
"""By words of PyTorch's error: why a transform of torch.func does not run an answer, and what it needs."""


def want(x: Tensor, scale: Tensor, low: int, high: int) -> tuple[Tensor, Tensor, Tensor]:
    """The value, and what the gradients of x and scale are to be multiplied by."""
    v = x / scale
    inside = (v >= low) & (v <= high)
    q = v.round().clamp(low, high)
    return q * scale, inside.to(x.dtype), torch.where(inside, q - v, q)


def check_straight_through(quantise: Callable[..., Any]) -> None:
    """`quantise(x, scale, low, high)` rounds to multiples of scale; gradients of x and scale as in the statement."""
    D = torch.float64
    cases: list[tuple[str, Tensor, float]] = [
        ("one number inside", torch.tensor([0.3], dtype=D), 1.0),
        ("one number above", torch.tensor([9.0], dtype=D), 1.0),
        ("one number below", torch.tensor([-7.0], dtype=D), 1.0),
        ("halves", torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5], dtype=D), 1.0),
        ("the limits themselves", torch.tensor([-2.0, 3.0], dtype=D), 1.0),
        ("a little outside", torch.tensor([3.2, -2.3, 2.9], dtype=D), 1.0),
        ("a scale of 0.5", torch.tensor([[0.3, 0.9, 2.0], [-0.2, -1.4, 1.1]], dtype=D), 0.5),
        ("float32", torch.linspace(-2, 2, 9, dtype=torch.float32), 0.25),
        ("no entries", torch.zeros(0, dtype=D), 1.0),
    ]
    draw = drawn()
    cases.append((f"numbers {draw}", 2 * draw.normal(3, 4), draw.whole(2, 9) / 8))
    for words, x, scale in cases:
        _judge(quantise, words, x, scale, LOW, HIGH)
    _judge(quantise, "limits of 0 and 15", Drawn(2).normal(6) * 4, 0.3, 0, 15)
    _judge_saved(quantise)
    _judge_version(quantise)
    _judge_needed(quantise)
    _judge_twice(quantise)
    _judge_func(quantise)


def _judge(quantise: Any, words: str, x: Tensor, scale: float, low: int, high: int) -> None:
    x = x.clone().requires_grad_()
    s = torch.tensor(scale, dtype=x.dtype, requires_grad=True)
    value, factor, slope = want(x.detach(), s.detach(), low, high)
    y = forms.tensor(quantise(x, s, low, high), "quantise", tuple(x.shape))
    texts = apart(y.flatten().tolist(), value.flatten().tolist())
    expect(
        near(y, value, 1e-6) and y.dtype == x.dtype,
        f"For {words} the value is {texts[0]}; it should be {texts[1]}.",
        "torch.round goes to the even neighbour from a half; clamp after rounding, then times scale.",
    )
    expect(
        y.requires_grad, f"For {words} the result has no graph.", "A gradient is to come through."
    )
    upstream = torch.linspace(1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    found = torch.autograd.grad(y, (x, s), upstream, allow_unused=True)
    expect(
        found[0] is not None and found[1] is not None,
        f"For {words} {'x' if found[0] is None else 'scale'} gets no gradient.",
        "Both are asked for.",
    )
    texts = apart(found[0].flatten().tolist(), (upstream * factor).flatten().tolist())
    expect(
        near(found[0], upstream * factor, 1e-6),
        f"For {words} the gradient of x is {texts[0]}; it should be {texts[1]}.",
        INSIDE,
    )
    total = (upstream * slope).sum()
    expect(
        found[1].shape == s.shape,
        f"For {words} the gradient of scale has the shape {tuple(found[1].shape)}; scale is a single number.",
        "Sum over all that it was used for.",
    )
    texts = apart(found[1].item(), total.item())
    expect(
        near(found[1], total, 1e-5, 1e-6),
        f"For {words} the gradient of scale is {texts[0]}; it should be {texts[1]}.",
        STEP,
    )


def _judge_saved(quantise: Any) -> None:
    """What hooks see, and what is held without them, as attributes of ctx are."""
    x = Drawn(1).normal(500).requires_grad_()
    s = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    size = sum(kept_bytes(quantise, x, s, LOW, HIGH))
    expect(
        size <= 500 * 8 + 64,
        f"For 500 numbers in float64, which take 4,000 bytes, {size:,} bytes are kept for the backward pass.",
        "x and scale are enough: the rest can be computed again.",
    )


def _judge_version(quantise: Any) -> None:
    """A write after the forward pass does no harm, or raises an error."""
    for place, name in enumerate(("x", "scale")):
        leaves = Drawn(1).normal(4), torch.tensor(0.3, dtype=torch.float64)
        _, factor, slope = want(*leaves, LOW, HIGH)
        x, s = given = [leaf.requires_grad_() * 1 for leaf in leaves]
        y = quantise(x, s, LOW, HIGH)
        with torch.no_grad():
            given[place].mul_(2)
        try:
            dx, ds = torch.autograd.grad(y.sum(), leaves)
        except RuntimeError as error:
            if "modified by an inplace operation" in str(error):
                continue
            raise
        expect(
            near(dx, factor, 1e-6) and near(ds, slope.sum(), 1e-6),
            f"{name} was written to between forward and backward: no error comes, and the gradients are wrong.",
            "What is saved by save_for_backward is guarded by its version; an attribute is not.",
        )


def _judge_needed(quantise: Any) -> None:
    x = Drawn(1).normal(4)
    s = torch.tensor(0.3, dtype=torch.float64)
    expect(
        not quantise(x, s, LOW, HIGH).requires_grad,
        "Nothing asks for gradients, and the result does.",
        "A Function looks at its inputs.",
    )
    quantise(x, s.clone().requires_grad_(), LOW, HIGH).sum().backward()
    asking = x.clone().requires_grad_()
    quantise(asking, s, LOW, HIGH).sum().backward()
    expect(
        asking.grad is not None,
        "When only x asks, it gets no gradient.",
        "Each input may ask alone.",
    )


def _judge_twice(quantise: Any) -> None:
    """A second derivative is an error or zero, never a wrong number."""
    for place, name in enumerate(("x", "scale")):
        x = torch.tensor([0.3, 1.2], dtype=torch.float64, requires_grad=True)
        s = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        y = quantise(x, s, LOW, HIGH).sum()
        g = torch.autograd.grad(y, (x, s), create_graph=True)[place]
        if not g.requires_grad:
            continue
        try:
            second = torch.autograd.grad((g * g).sum(), (x, s), allow_unused=True)
        except RuntimeError:
            continue
        expect(
            all(t is None or not t.any() for t in second),
            f"The gradient of {name} has a second derivative that is not 0, and no error comes.",
            "Made-up gradients have no derivative: what is asked for is an error, or 0.",
        )


def _judge_func(quantise: Any) -> None:
    """Under the transforms of torch.func, over the rows of x, as in a loop."""
    rows = torch.tensor([[0.3, 0.9, 2.0], [-0.2, -1.4, 9.0]], dtype=torch.float64)
    for x in (rows[:1, :1], rows):
        scales = torch.tensor([0.5, 1.0], dtype=torch.float64)[: len(x)]
        for scale in (scales[0], scales):
            given = f"{'a scale for each' if scale.ndim else 'one scale'}, {scale.tolist()}"
            where = f"for the rows {x.tolist()} and {given}"
            for way, (answer, *wanted) in by_func(x, scale).items():
                _judge_way(partial(answer, quantise), f"{way}, {where},", wanted)


def by_func(x: Tensor, scale: Tensor) -> dict[str, Any]:
    """For each way to use torch.func on rows: what it gives for an answer, and what a loop gives."""
    dims = (0, 0 if scale.ndim else None)
    upstream = torch.linspace(1, 2, x[0].numel(), dtype=x.dtype).reshape(x[0].shape)
    each = [want(*row, LOW, HIGH) for row in zip(x, scale.expand(len(x)), strict=True)]
    values, factors, slopes = map(torch.stack, zip(*each, strict=True))
    dx, ds = upstream * factors, (upstream * slopes).reshape(len(x), -1).sum(1)
    total = ds if scale.ndim else ds.sum()

    def loss(q: Any) -> Any:
        return lambda x, s: (q(x, s, LOW, HIGH) * upstream).sum()

    def of_all(q: Any) -> Any:
        return lambda x, s: func.vmap(loss(q), dims)(x, s).sum()

    def first(q: Any) -> Any:
        return func.grad(loss(q), (0, 1))(x[0], scale.flatten()[0])

    return {
        "torch.func.grad of the first row": (first, dx[0], ds[0]),
        "torch.func.vmap": (
            lambda q: [func.vmap(lambda x, s: q(x, s, LOW, HIGH), dims)(x, scale)],
            values,
        ),
        "vmap of grad": (lambda q: func.vmap(func.grad(loss(q), (0, 1)), dims)(x, scale), dx, ds),
        "grad of vmap": (lambda q: func.grad(of_all(q), (0, 1))(x, scale), dx, total),
    }


def _judge_way(answer: Callable[[], Any], where: str, wanted: list[Tensor]) -> None:
    try:
        found = answer()
    except RuntimeError as error:
        text = " ".join(str(error).split())
        unknown = f"it stops with RuntimeError: {text:.120}", "Run it alone, on two rows."
        why, hint = next((need for words, need in NEEDS.items() if words in text), unknown)
        raise Mistake(f"{where} gives nothing: {why}.", hint) from error
    names = ("value",) if len(wanted) == 1 else ("gradient of x", "gradient of scale")
    for name, mine, right in zip(names, found, wanted, strict=True):
        texts = apart(mine.tolist(), right.tolist())
        expect(
            near(mine, right, 1e-6),
            f"{where} gives the {name} {texts[0]}; a loop over the rows gives {texts[1]}.",
            "Each row is a call of its own: which sums go over a row, and which over all of them?",
        )


# ---- right answers ----


class _Quantise(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        return (x / scale).round().clamp(low, high) * scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, scale, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, scale = ctx.saved_tensors
        v = x / scale
        inside = (v >= ctx.low) & (v <= ctx.high)
        q = v.round().clamp(ctx.low, ctx.high)
        return grads[0] * inside, (grads[0] * (q - v * inside)).sum(), None, None


def as_a_function(x: Tensor, scale: Tensor, low: int, high: int) -> Any:
    return _Quantise.apply(x, scale, low, high)


def surrogate(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    v = (x / scale).clamp(low, high)
    return (v + (v.round() - v).detach()) * scale


class _Recomputed(torch.autograd.Function):
    """Surrogate graph inside the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: Tensor, limits: tuple[int, int]) -> Tensor:
        return torch.clamp(torch.round(x / scale), *limits) * scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *both, ctx.limits = inputs
        ctx.save_for_backward(*both)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        _, pull = func.vjp(lambda x, s: surrogate(x, s, *ctx.limits), *ctx.saved_tensors)
        return *pull(grads[0]), None


def through_a_surrogate(x: Tensor, scale: Tensor, low: int, high: int) -> Any:
    return _Recomputed.apply(x, scale, (low, high))


class _ByHand(torch.autograd.Function):
    """The rule for a batch is written out: rows first, and a scale for each of them beside its row."""

    @staticmethod
    def forward(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        return (x / scale).round().clamp(low, high) * scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.limits = inputs[2:]

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], x: Tensor, scale: Tensor, *limits: int) -> Any:
        scale = scale if dims[1] is None else scale.reshape(-1, *[1] * (x.ndim - 1))
        return _ByHand.apply(x, scale, *limits), 0

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, scale = ctx.saved_tensors
        v, (low, high) = x / scale, ctx.limits
        q, outside = v.round().clamp(low, high), (v < low) | (v > high)
        dx = grads[0].masked_fill(outside, 0)
        return dx, (grads[0] * torch.where(outside, q, q - v)).sum_to_size(scale.shape), None, None


def by_hand(x: Tensor, scale: Tensor, low: int, high: int) -> Any:
    return _ByHand.apply(x, scale, low, high)


def _rounded(found: Any) -> Any:
    return [torch.round(t.double(), decimals=3) + 0.0 for t in found]


def oracle(quantise: Callable[..., Any]) -> Any:
    """Value and gradients of many inputs, and the other properties."""

    def told(x: Tensor, scale: float, low: int, high: int) -> Any:
        a, s = x.clone().requires_grad_(), torch.tensor(scale, dtype=x.dtype, requires_grad=True)
        y = quantise(a, s, low, high)
        upstream = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
        return _rounded((y, *torch.autograd.grad(y, (a, s), upstream)))

    draw = Drawn(4)
    wide: list[Any] = [
        (3 * draw.normal(*shape).to(d), s, low, high)
        for shape in ((), (1,), (7,), (2, 3))
        for d in (torch.float64, torch.float32)
        for s, low, high in ((1.0, -2, 3), (0.3, 0, 7), (2.0, -128, 127))
    ]
    wide += [(torch.tensor([0.5, 1.5, -0.5, 2.0, -3.0, 3.0]), 1.0, -3, 3)]
    found: list[Any] = [tried(told, *each) for each in wide]
    for n, shape in enumerate([(1, 1), (2, 3), (3, 3), (2,), (3, 2, 2)]):
        x, scales = 2 * Drawn(n).normal(*shape), Drawn(n).normal(shape[0]).abs() + 0.2
        for scale in (scales[0], scales):
            found += [
                tried(lambda way=way: _rounded(way(quantise)))
                for way, *_ in by_func(x, scale).values()
            ]
    for test in (_judge_saved, _judge_version, _judge_needed, _judge_twice):
        found.append(tried(lambda test=test: test(quantise)))
    return found


EXERCISE = Exercise(
    "straight_through",
    "Rounded forward, straight through backward, and the step size learns, too.",
    check_straight_through,
    WRONG,
    right=(
        Right("a Function", as_a_function),
        Right("a surrogate inside", through_a_surrogate),
        Right("its own rule for a batch", by_hand),
    ),
    oracle=oracle,
)
