"""Exercise `accumulate`: the gradient of a large batch, in small pieces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    apart,
    counted,
    drawn,
    expect,
    near,
    tried,
    untouched,
)
from ..networks import mlp

__all__ = ["EXERCISE"]

SHARE = "Each piece's mean counts by its share of the batch."


class Net(nn.Module):
    """A small network that notes each batch's size and its mode then, and how many of its graphs are alive."""

    def __init__(
        self, draw: Drawn, inputs: int, classes: int, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        self.body = mlp(draw, inputs, 4, classes, dtype=dtype)
        self.sizes: list[int] = []
        self.modes: set[bool] = set()
        self.alive: list[int] = [0]

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        self.sizes.append(len(x))
        self.modes.add(self.training)
        if y.requires_grad:
            self.alive.append(self.alive[-1] + 1)
            y.register_hook(lambda grad: self.alive.append(self.alive[-1] - 1))
        return y


def check_accumulate(accumulate: Callable[[nn.Module, Tensor, Tensor, int], Any]) -> None:
    """`accumulate(model, x, y, size)` leaves the gradient of the whole batch's mean loss in every `.grad`."""
    draw = Drawn(3)
    for dtype in (torch.float64, torch.float32):
        for n, size in ((1, 1), (3, 2), (2, 1), (4, 2), (5, 8), (22, 8), (23, 4)):
            _ask(accumulate, draw, n, size, dtype)
    _ask(accumulate, draw, 3, 2, torch.float64, training=False)
    fresh = drawn()
    _ask(accumulate, fresh, fresh.whole(5, 30), fresh.whole(1, 6), torch.float64, f" ({fresh})")


def _ask(
    accumulate: Any,
    draw: Drawn,
    n: int,
    size: int,
    dtype: torch.dtype,
    seed: str = "",
    training: bool = True,
) -> None:
    model, x, y = Net(draw, 5, 3, dtype), draw.normal(n, 5).to(dtype), torch.arange(n) % 3
    model.train(training)
    x[0] *= 3  # one example counts more than the others
    where = f"for a batch of {n} in pieces of {size}{seed}"
    values = dict(model.state_dict())
    for times in (1, 2):
        for parameter in model.parameters():
            parameter.grad = None if times == 1 else torch.full_like(parameter, 0.5)
        model.sizes.clear()
        with untouched(parameters={name: t.detach() for name, t in values.items()}):
            accumulate(model, x, y, size)
        _pieces_are_right(model, n, size, where)
        _is_as_it_was(model, training, where)
        if times == 1:
            _gradients_are_right(model, x, y, size, where)
    expect(
        _all_near([p.grad for p in model.parameters()], _right(model, x, y)),
        f"Called where there are gradients already, your function adds to them, {where}.",
        "Those that were there before do not count: clear them before the first piece.",
    )


def _pieces_are_right(model: Net, n: int, size: int, where: str) -> None:
    sizes = model.sizes
    expect(
        sizes, f"Your function never called the model, {where}.", "Piece by piece, model(x_part)."
    )
    expect(
        max(sizes) <= size,
        f"The model saw a piece of {max(sizes)} examples, {where}.",
        "x.split(size) cuts into pieces of that many rows; x.chunk(k) makes k pieces.",
    )
    expect(
        sum(sizes) == n,
        f"The model saw {counted(sum(sizes), 'example')} in all, {where}.",
        "Each example once; the last piece may be smaller.",
    )
    expect(
        max(model.alive) <= 1,
        f"{max(model.alive)} pieces' graphs were alive at once, {where}: that takes the memory you wanted to save.",
        "Call backward inside the loop: it lets go of each piece's graph before the next is built.",
    )


def _is_as_it_was(model: Net, training: bool, where: str) -> None:
    came, now = ("training", "evaluation") if training else ("evaluation", "training")
    expect(
        all(module.training is training for module in model.modules()),
        f"The model came in {came} mode and is in {now} mode now, {where}.",
        "Nothing is measured here; the mode is the caller's.",
    )
    expect(
        model.modes == {training},
        f"While the pieces went through it, the model was in {now} mode, {where}; it came in {came} mode.",
        "In another mode, dropout and batch normalisation give other gradients: whose are asked for?",
    )
    expect(
        all(parameter.requires_grad for parameter in model.parameters()),
        f"A parameter asks for no gradient any more, {where}.",
        "The flag is the caller's.",
    )


def _right(model: Net, x: Tensor, y: Tensor, *weights: float, size: int = 0) -> list[Tensor]:
    """The gradients of the whole batch's mean loss, or of a weighted sum of the pieces' mean losses."""
    parts = zip(x.split(size or len(x)), y.split(size or len(x)), strict=True)
    losses = [cross_entropy(model.body(a), b) for a, b in parts]
    total = sum(w * loss for w, loss in zip(weights or (1.0,), losses, strict=True))
    return list(torch.autograd.grad(total, list(model.parameters())))  # type: ignore[arg-type]


def _all_near(found: list[Any], right: list[Tensor]) -> bool:
    return all(a is not None and near(a, b, rtol=1e-4) for a, b in zip(found, right, strict=True))


def _gradients_are_right(model: Net, x: Tensor, y: Tensor, size: int, where: str) -> None:
    grads = [parameter.grad for parameter in model.parameters()]
    expect(
        all(grad is not None for grad in grads),
        f"A parameter has no .grad, {where}.",
        "Was backward called, and nothing cleared afterwards?",
    )
    right = _right(model, x, y)
    if _all_near(grads, right):
        return
    n, k = len(x), -(-len(x) // size)
    shares = [len(b) / n for b in y.split(size)]
    full = [len(b) / size for b in y.split(size)]
    last = [0.0] * (k - 1)
    known = [
        ([1.0] * k, "the sum of the pieces' mean gradients", SHARE),
        ([1 / k] * k,
         "the mean of the pieces' mean gradients; each piece counts the same, although they differ in size", SHARE),
        ([n * share for share in shares], "the gradient of the sum over all examples, not of their mean",
         "One factor is missing: that of a mean."),
        ([size / n] * k, "made as if each piece had the full size", "The last piece may be smaller: count its rows."),
        (full, "made with each piece's share of a full piece", SHARE),
        ([*last, 1.0], "that of the last piece alone", "zero_grad belongs before the loop, not into it."),
        ([*last, shares[-1]], "that of the last piece alone", "zero_grad belongs before the loop, not into it."),
        ([*last, 1 / k], "that of the last piece alone", "zero_grad belongs before the loop, not into it."),
    ]  # fmt: skip
    for weights, words, hint in known:
        is_it = not _all_near(_right(model, x, y, *weights, size=size), right)
        if is_it and _all_near(grads, _right(model, x, y, *weights, size=size)):
            expect(False, f"Your gradient is {words}, {where}.", hint)
    texts = apart(grads[-1], right[-1])
    expect(
        False,
        f"The gradient is not that of the batch's mean loss, {where}: the last bias has {texts[0]}, not {texts[1]}.",
        SHARE,
    )


# ---- right answers, found in other ways ----


def by_sums(model: nn.Module, x: Tensor, y: Tensor, size: int) -> None:
    for parameter in model.parameters():
        parameter.grad = None
    for begin in range(0, len(y), size):
        rows = slice(begin, begin + size)
        (cross_entropy(model(x[rows]), y[rows], reduction="sum") / len(y)).backward()


def by_grad(model: nn.Module, x: Tensor, y: Tensor, size: int) -> None:
    """Asks for the gradients, adds them up, and writes .grad at the end; the model's forward is called itself."""
    parameters = list(model.parameters())
    totals = [torch.zeros_like(p) for p in parameters]
    for rows in torch.arange(len(x)).split(size):
        loss = cross_entropy(model.forward(x[rows]), y[rows]) * len(rows)
        for total, g in zip(totals, torch.autograd.grad(loss, parameters), strict=True):
            total += g
    for p, total in zip(parameters, totals, strict=True):
        p.grad = total / len(x)


# ---- wrong answers ----


def _accumulate(
    model: nn.Module, x: Tensor, y: Tensor, size: int, clear: str = "before", **switches: Any
) -> None:
    """The solution with its usual mistakes as switches."""
    pieces = switches.get("pieces", lambda t, size: t.split(size))
    parts = list(zip(pieces(x, size), pieces(y, size), strict=True))
    parts = parts[:-1] if switches.get("drop") and len(y) % size else parts
    waiting: list[Tensor] = []
    for nth, (x_part, y_part) in enumerate(parts):
        if clear == "inside" or (clear == "before" and nth == 0):
            model.zero_grad()
        factor = switches.get("factor", lambda part, batch, pieces, size: part / batch)
        weight = factor(len(y_part), len(y), len(parts), size)
        waiting.append(cross_entropy(model(x_part), y_part) * weight)
        if not switches.get("late") or nth == len(parts) - 1:
            sum(waiting).backward()  # type: ignore[union-attr]
            waiting.clear()
    if switches.get("step"):
        torch.optim.SGD(model.parameters(), lr=0.1).step()
    if clear == "after":
        model.zero_grad()
    if switches.get("evaluate"):
        model.eval()


def _x_scaled(model: nn.Module, x: Tensor, y: Tensor, size: int) -> None:
    _accumulate(model, x, y, size)
    x /= len(x)


def _evaluated(model: nn.Module, x: Tensor, y: Tensor, size: int) -> None:
    training = model.training
    model.eval()
    _accumulate(model, x, y, size)
    model.train(training)


WRONG = {
    "means added up": ({"factor": lambda part, batch, pieces, size: 1}, "the sum of the pieces' mean gradients"),
    "divided by the number of pieces": ({"factor": lambda part, batch, pieces, size: 1 / pieces},
        "each piece counts the same"),
    "the full size for each piece": ({"factor": lambda part, batch, pieces, size: size / batch}, "had the full size"),
    "the share of a full piece": ({"factor": lambda part, batch, pieces, size: part / size}, "share of a full piece"),
    "a sum": ({"factor": lambda part, batch, pieces, size: part}, "sum over all examples"),
    "cleared inside the loop": ({"clear": "inside"}, "the last piece alone"),
    "cleared at the end": ({"clear": "after"}, "has no .grad"),
    "never cleared": ({"clear": "never"}, "adds to them"),
    "not cut into pieces": ({"pieces": lambda t, size: [t]}, "a piece of 3 examples"),
    "as many pieces as examples in one": ({"pieces": lambda t, size: t.chunk(size)},
        "a piece of 2 examples, for a batch of 2 in pieces of 1"),
    "the last piece left out": ({"drop": True}, "The model saw 2 examples in all"),
    "one backward at the end": ({"late": True}, "alive at once"),
    "steps as well": ({"step": True}, "leave alone: parameters['body.0.weight']"),
    "left in evaluation mode": ({"evaluate": True}, "in evaluation mode now"),
}  # fmt: skip


def oracle(accumulate: Callable[..., Any]) -> Any:
    """The gradients, the pieces, and the model afterwards."""

    def told(n: int, size: int, before: bool) -> Any:
        model = Net(Drawn(n), 4, 3)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.5) if before else None
        x, y = Drawn(size).normal(n, 4), torch.arange(n) % 3
        kept = x.clone()
        accumulate(model, x, y, size)
        grads = [
            None if p.grad is None else p.grad.mul(1e6).round() + 0.0 for p in model.parameters()
        ]
        pieces = max(model.sizes) <= size, sum(model.sizes), max(model.alive)
        return [model, grads, list(pieces), sorted(model.modes), torch.equal(x, kept)]

    sizes = ((1, 1), (2, 1), (3, 2), (7, 3), (7, 7), (5, 9), (23, 4), (12, 4))
    return [tried(told, n, size, before) for n, size in sizes for before in (True, False)]


EXERCISE = Exercise(
    "accumulate",
    "Small pieces, the gradient of the whole batch.",
    check_accumulate,
    (
        *(
            Wrong(name, partial(_accumulate, **switch), says)
            for name, (switch, says) in WRONG.items()
        ),
        Wrong("in evaluation mode", _evaluated, "model was in evaluation mode"),
        Wrong("x overwritten", _x_scaled, "x is not what it was"),
    ),
    right=(Right("by sums", by_sums), Right("by autograd.grad", by_grad)),
    may_change=(0,),
    oracle=oracle,
    allows={"returns its argument": "what accumulate returns is free: the gradients are in .grad"},
)
