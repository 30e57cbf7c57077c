"""Exercise `shortcut`: a block with four in-place writes, as a function that can be differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, near, shown, tried
from ..graphs import passed

__all__ = ["EXERCISE"]

Block = Callable[[Tensor, Tensor, Tensor], Any]
Inputs = tuple[Tensor, Tensor, Tensor]
NAMES = ("x", "w1", "w2")

CASES: tuple[tuple[Any, Any, Any], ...] = (
    ([[0.2]], [[1.0]], [[0.3]]),
    ([[-2.0]], [[1.0]], [[0.3]]),
    ([[2.0]], [[1.0]], [[0.3]]),
    ([[0.2], [0.1]], [[1.0, -6.0]], [[0.5, 0.1], [0.2, -0.4]]),
)
"""From the smallest up: neither clamp cuts; the first does; the second does; a second column that no clamp may cut."""
HINTS = (
    "Neither clamp cuts here: tanh, the layer, sigmoid, the factor 2, the shortcut. Which first column does the last "
    "line multiply with?",
    "Here the first clamp cuts: it changes h itself, before the second product.",
    "Here the second clamp cuts: the first column that the last line sees has been cut, too.",
    "The first clamp writes through a view: which columns does that view show?",
)


def as_it_stands(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """The block of the statement, write by write, on new tensors."""
    h = torch.tanh(x @ w1)
    h = torch.cat([h[:, :1].clamp(min=-0.5), h[:, 1:]], dim=1)
    r = (h @ w2).sigmoid() * 2
    h = (h + r).clamp(max=1.5)
    return h * h[:, :1]


def check_shortcut(block: Block) -> None:
    """`block(x, w1, w2)` has the numbers of the program and the gradients of its function."""
    for dtype in (torch.float64, torch.float32):
        for case, hint in zip(CASES, HINTS, strict=True):
            _judge(block, _inputs(case, dtype), hint)
    draw = drawn()
    rows, n, m = draw.whole(2, 4), draw.whole(5, 6), draw.whole(7, 9)
    _judge(
        block, (draw.normal(rows, n), draw.normal(n, m), draw.normal(m, m)), HINTS[0], f" ({draw})"
    )
    for alone in range(3):
        _judge(block, _inputs(CASES[0]), HINTS[0], asking=(alone,))


def _inputs(case: tuple[Any, Any, Any], dtype: torch.dtype = torch.float64) -> Inputs:
    x, w1, w2 = (torch.tensor(numbers, dtype=dtype) for numbers in case)
    return x, w1, w2


def _judge(
    block: Block, inputs: Inputs, hint: str, source: str = "", asking: tuple[int, ...] = (0, 1, 2)
) -> None:
    for i, t in enumerate(inputs):
        t.requires_grad_(i in asking)
    want = as_it_stands(*inputs)
    where = f"for x = {shown(inputs[0])}, w1 = {shown(inputs[1])}{source}"
    found = forms.tensor(block(*inputs), "block", tuple(want.shape))
    expect(
        near(found, want, rtol=1e-5, atol=1e-6),
        f"The result is {shown(found)} {where}; the program gives {shown(want)}.",
        hint,
    )
    asked = "a gradient of " + ", ".join(NAMES[i] for i in asking) + " is"
    expect(
        found.requires_grad,
        f"The result has no graph, and {asked} asked for.",
        "Each of the three may be the only one that is trained.",
    )
    weights = torch.arange(1, 1 + want.numel(), dtype=want.dtype).reshape(want.shape)
    leaves = [inputs[i] for i in asking]
    grads = passed(
        lambda: autograd.grad(found, leaves, weights, materialize_grads=True),
        "block",
        "A write into a tensor that a node has saved: which of the four writes are left?",
    )
    wanted = autograd.grad(want, leaves, weights)
    for i, grad, right in zip(asking, grads, wanted, strict=True):
        expect(
            near(grad, right, rtol=1e-4, atol=1e-6),
            f"The numbers are right, and the gradient of {NAMES[i]} is {shown(grad)} {where}.",
            "A write that is not recorded is missing in the gradient. Where clamp cuts, its derivative is 0; and the "
            "first column in the last line has a gradient, too.",
        )


# ---- answers ----


def _indexed(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Writes are left where no node has saved the memory: into copies."""
    h = torch.tanh(x @ w1).clone()
    h[:, :1].clamp_(min=-0.5)
    r = (h @ w2).sigmoid().clone()
    r *= 2
    out = h.clone()
    out += r
    out = torch.where(out > 1.5, torch.full_like(out, 1.5), out)
    return out[:, :1] * out


def _by_mask(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    h = torch.tanh(torch.mm(x, w1))
    low = torch.full((h.shape[1],), -float("inf"), dtype=h.dtype)
    low[0] = -0.5
    h = torch.maximum(h, low)
    h = torch.minimum(h + 2 / (1 + torch.exp(-(h @ w2))), torch.tensor(1.5, dtype=h.dtype))
    return torch.einsum("ij,i->ij", h, h[:, 0])


def changed(
    low: Callable[[Tensor], Tensor] = lambda h: torch.cat([h[:, :1].clamp(min=-0.5), h[:, 1:]], 1),
    branch: Callable[[Tensor], Tensor] = lambda z: z.sigmoid() * 2,
    high: Callable[[Tensor], Tensor] = lambda h: h.clamp(max=1.5),
    scale: Callable[[Tensor, Tensor], Tensor] = lambda first, last: last[:, :1],
    given: Callable[[Tensor], Tensor] = lambda t: t,
) -> Block:
    """The solution with its usual mistakes as switches."""

    def block(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
        first = low(torch.tanh(given(x) @ w1))
        last = high(first + branch(first @ w2))
        return last * scale(first, last)

    return block


def _as_written(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    h = torch.tanh(x @ w1)
    scale = h[:, :1]
    scale.clamp_(min=-0.5)
    r = (h @ w2).sigmoid()
    r *= 2
    h += r
    h.data.clamp_(max=1.5)
    return h * scale


def _all_data(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    h = torch.tanh(x @ w1)
    scale = h[:, :1]
    scale.data.clamp_(min=-0.5)
    r = (h @ w2).sigmoid()
    r.data *= 2
    h.data += r
    h.data.clamp_(max=1.5)
    return h * scale


def _in_no_grad(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    with torch.no_grad():
        return as_it_stands(x, w1, w2)


def _without_return(x: Tensor, w1: Tensor, w2: Tensor) -> None:
    as_it_stands(x, w1, w2)


def _into_x(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    y = as_it_stands(x, w1, w2)
    x.data *= 1.5
    return y


def oracle(block: Block) -> Any:
    """Results and gradients, for inputs where each clamp cuts and where it does not."""

    def told(*inputs: Tensor) -> Any:
        y = block(*inputs)
        weights = torch.arange(1, 1 + y.numel(), dtype=y.dtype).cos().reshape(y.shape)
        return [y, y.requires_grad, autograd.grad(y, inputs, weights, materialize_grads=True)]

    draw = Drawn(0)
    wide = [_inputs(case) for case in CASES]
    for rows, n, m in ((1, 2, 1), (3, 1, 2), (2, 7, 3), (5, 4, 6)):
        wide += [(draw.normal(rows, n), draw.normal(n, m), draw.normal(m, m) * s) for s in (0.1, 3)]
    return [tried(told, *(t.requires_grad_() for t in inputs)) for inputs in wide]


EXERCISE = Exercise(
    "shortcut",
    "No write is left, and every gradient is there.",
    check_shortcut,
    (
        Wrong("as it was written", _as_written, "modified by an inplace operation"),
        Wrong(
            "everything through .data",
            _all_data,
            "the gradient of x is [[-1.24]]",
        ),
        Wrong(
            "the second clamp through .data",
            changed(high=lambda h: h.detach().clamp(max=1.5) + h - h.detach()),
            "the gradient of x is [[0.2431]]",
        ),
        Wrong(
            "the scale as it was before the shortcut",
            changed(scale=lambda first, last: first[:, :1]),
            "The result is [[0.2",
        ),
        Wrong("every column clamped", changed(low=lambda h: h.clamp(min=-0.5)), "w1 = [[1, -6]]"),
        Wrong("the first clamp left out", changed(low=lambda h: h), "[[-2]]"),
        Wrong("the second clamp left out", changed(high=lambda h: h), "The result is [[4.442"),
        Wrong("the factor left out", changed(branch=torch.sigmoid), "The result is [[0.5"),
        Wrong(
            "the scale detached",
            changed(scale=lambda first, last: last[:, :1].detach()),
            "the gradient of x is [[1.",
        ),
        Wrong("the input detached", changed(given=torch.detach), "the gradient of x is [[0]]"),
        Wrong("without a graph", _in_no_grad, "The result has no graph"),
        Wrong("no return", _without_return, "Is a `return` missing"),
        Wrong("x changed", _into_x, "changed what it was given"),
    ),
    right=(
        Right("writes into copies", _indexed),
        Right("with maximum and minimum", _by_mask),
        Right("with cat", as_it_stands),
    ),
    oracle=oracle,
)
