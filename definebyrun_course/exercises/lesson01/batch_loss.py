"""Exercise `batch_loss`: a program that stops at `backward`, and after a first repair leaves one gradient `None`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, near, shown, tried
from ..graphs import passed

__all__ = ["EXERCISE"]

BatchLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Any]
CASES: tuple[tuple[list[list[float]], list[float], list[float], float], ...] = (
    ([[2.0]], [1.0], [3.0], 0.5),
    ([[1.0, -2.0, 3.0]], [8.0], [0.5, 1.0, 2.0], 1.0),
    ([[1.0, -2.0, 3.0], [2.0, 0.0, 1.0]], [8.0, 3.0], [0.5, 1.0, 2.0], 1.0),
    ([[1.0, 2.0], [3.0, -1.0], [-4.0, 0.5]], [1.0, -1.0, 2.0], [0.5, 2.0], -0.25),
)
"""Samples, targets, w and b, from the smallest up; the third is the program of the statement."""
SAME = "The values of the program are right: only what cuts the graph is to be changed."
ON_THE_WAY = "Ask each result on the way for its grad_fn: the first that has none was cut off."


def check_batch_loss(batch_loss: BatchLoss) -> None:
    """`batch_loss(xs, targets, w, b)` is the mean squared error of `relu(x * w + b).sum()`, with gradients for both."""
    for dtype in (torch.float32, torch.float64):
        for xs, targets, w, b in CASES:
            inputs = (torch.tensor(part, dtype=dtype) for part in (xs, targets, w, b))
            _judge(batch_loss, *inputs, f"for xs = {shown(xs)}")
    draw = drawn()
    _judge(batch_loss, *_random_inputs(draw), f"for random inputs ({draw})")


def _random_inputs(draw: Drawn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    samples, features = draw.whole(4, 7), draw.whole(2, 3)
    return (
        draw.normal(samples, features),
        draw.normal(samples),
        draw.normal(features),
        draw.normal(),
    )


def _by_hand(xs: Tensor, targets: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss and its slopes in `w` and `b`."""
    s = xs * w + b  # (samples, features)
    errors = s.clamp(min=0).sum(1) - targets
    factors = 2 * errors[:, None] / len(xs) * (s > 0)
    return (errors**2).mean(), (factors * xs).sum(0), factors.sum()


def _judge(
    batch_loss: BatchLoss, xs: Tensor, targets: Tensor, w: Tensor, b: Tensor, where: str
) -> None:
    want, *slopes = _by_hand(xs, targets, w, b)
    w, b = w.requires_grad_(), b.requires_grad_()
    loss = forms.tensor(batch_loss(xs, targets, w, b), "batch_loss", ())
    expect(near(loss, want), f"The loss is {shown(loss)} {where}; it was {shown(want)}.", SAME)
    expect(
        loss.requires_grad,
        f"The loss has the right value and no grad_fn, {where}: backward stops as before.",
        ON_THE_WAY,
    )
    expect(
        loss.grad_fn is not None,
        f"The loss is a leaf, {where}: no operation made it, so no gradient goes on from it.",
        "requires_grad_() on the loss silences the error. Who is to send gradients to w?",
    )
    grads = passed(lambda: autograd.grad(loss, (w, b), allow_unused=True), where, ON_THE_WAY)
    for name, grad, slope in zip("wb", grads, slopes, strict=True):
        expect(
            grad is not None,
            f"backward raises nothing, and {name}.grad stays None, {where}.",
            f"Where does a plain number, or a copy, take the place of {name}?",
        )
        expect(
            near(grad, slope, atol=1e-6),
            f"The gradient of {name} is {shown(grad)} {where}; a nudge says {shown(slope)}.",
            "Part of the loss is connected and part is not.",
        )


# ---- answers ----


def _program(
    xs: Tensor,
    targets: Tensor,
    w: Tensor,
    b: Tensor,
    collected: Callable[[list[Tensor]], Any] = torch.stack,
    bias: Callable[[Tensor], Any] = lambda b: b,
    weight: Callable[[Tensor], Tensor] = lambda w: w,
    squared: Callable[[Tensor], Tensor] = lambda error: error**2,
    end: Callable[[Tensor], Any] = lambda losses: losses.mean(),
) -> Any:
    """The solution, with its faults as switches."""
    losses = []
    for x, target in zip(xs, targets, strict=True):
        h = torch.relu(x * weight(w) + bias(b))
        losses.append(squared(h.sum() - target))
    return end(collected(losses))


def _with(**faults: Any) -> BatchLoss:
    return lambda xs, targets, w, b: _program(xs, targets, w, b, **faults)


def _numbers(losses: list[Tensor]) -> Tensor:
    return torch.tensor([loss.item() for loss in losses], dtype=losses[0].dtype)


def _first_connected(losses: list[Tensor]) -> Tensor:
    return torch.stack([losses[0], *(loss.detach() for loss in losses[1:])])


def _at_once(xs: Tensor, targets: Tensor, w: Tensor, b: Tensor) -> Tensor:
    errors = torch.relu(xs * w + b).sum(dim=1) - targets
    return (errors**2).mean()


def _running_sum(xs: Tensor, targets: Tensor, w: Tensor, b: Tensor) -> Any:
    total: Any = 0.0
    for x, target in zip(xs, targets, strict=True):
        total = total + (torch.relu(x * w + b).sum() - target) ** 2
    return total / len(xs)


def _under_no_grad(xs: Tensor, targets: Tensor, w: Tensor, b: Tensor) -> Tensor:
    with torch.no_grad():
        return _at_once(xs, targets, w, b)


def _backward_inside(xs: Tensor, targets: Tensor, w: Tensor, b: Tensor) -> Tensor:
    loss = _at_once(xs, targets, w, b)
    loss.backward(retain_graph=True)
    return loss


def told(batch_loss: BatchLoss) -> Any:
    """The oracle: the loss, both gradients, and the inputs afterwards, for many sizes."""
    inputs = [[torch.tensor(part) for part in case] for case in CASES]
    for seed, (samples, features) in enumerate([(1, 1), (1, 7), (7, 1), (2, 3), (3, 3)]):
        draw = Drawn(seed)
        inputs.append(
            [
                draw.normal(samples, features),
                draw.normal(samples),
                draw.normal(features),
                draw.normal(),
            ]
        )
    found: list[Any] = []
    for xs, targets, w, b in inputs:
        given = xs, targets, w.requires_grad_(), b.requires_grad_()
        found += [tried(batch_loss, *given), tried(_gradients, batch_loss, *given)]
    return found


def _gradients(batch_loss: BatchLoss, *given: Tensor) -> Any:
    return autograd.grad(batch_loss(*given), given[2:], allow_unused=True)


EXERCISE = Exercise(
    "batch_loss",
    "Nothing is cut off: both gradients arrive.",
    check_batch_loss,
    (
        Wrong("as it was", _with(collected=_numbers, bias=Tensor.item), "backward stops as before"),
        Wrong(
            "as the warning advises",
            _with(collected=lambda losses: _numbers([loss.detach() for loss in losses])),
            "backward stops as before",
        ),
        Wrong("under no_grad", _under_no_grad, "backward stops as before"),
        Wrong(
            "silenced",
            lambda *given: _program(*given, collected=_numbers).requires_grad_(),
            "The loss is a leaf",
        ),
        Wrong(
            "the list silenced",
            _with(collected=lambda losses: _numbers(losses).requires_grad_()),
            "and w.grad stays None",
        ),
        Wrong("one of two cuts", _with(bias=Tensor.item), "and b.grad stays None"),
        Wrong("b detached", _with(bias=Tensor.detach), "and b.grad stays None"),
        Wrong("w detached", _with(weight=Tensor.detach), "and w.grad stays None"),
        Wrong(
            "only the first connected",
            _with(collected=_first_connected),
            "Part of the loss is connected",
        ),
        Wrong(
            "the sum",
            _with(end=torch.sum),
            "The loss is 9.25 for",
        ),
        Wrong("the last sample", _with(end=lambda losses: losses[-1]), "The loss is 9 for"),
        Wrong("not squared", _with(squared=lambda error: error), "The loss is 5.5 for xs = [[2]]"),
        Wrong("absolute errors", _with(squared=torch.abs), "The loss is 5.5 for xs = [[2]]"),
        Wrong("without the bias", _with(bias=lambda b: b * 0), "The loss is 25 for xs = [[2]]"),
        Wrong("a number", _with(end=lambda losses: losses.mean().item()), "yours returned 30.25"),
        Wrong("one loss each", _with(end=lambda losses: losses), "yours returned (1,)"),
        Wrong("backward inside", _backward_inside, "w, its .grad"),
        Wrong("no return", _with(end=lambda losses: None), "Is a `return` missing?"),
    ),
    right=(
        Right("all samples at once", _at_once),
        Right("a running sum", _running_sum),
    ),
    oracle=told,
)
