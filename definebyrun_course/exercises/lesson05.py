"""Exercises of lesson 05, Control flow: a graph's size, a safe logarithm, a padded batch, a tree without recursion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]


# ---- 05.1: nodes of a loop ----


def check_sizes(sizes: Any) -> None:
    """The answer is the number of nodes of the graphs of g(x, 2), g(x, 7) and g(x, 16)."""
    three = isinstance(sizes, (list, tuple)) and [type(n) for n in sizes] == [int] * 3
    expect(three, f"The answer is a list of three whole numbers; this is {sizes!r:.60}.")
    expect(
        list(sizes) != [1, 4, 4],
        "Those are the multiplications.",
        "x is a leaf that asks for gradients, and has a node as well.",
    )
    expect(
        list(sizes) != [3, 7, 6],
        "You gave some leaf a node for each time it is used.",
        "A leaf that is used often is one leaf.",
    )
    for n, mine, right in zip((2, 7, 16), sizes, (2, 5, 5), strict=True):
        expect(
            mine == right,
            f"{mine} is not the number of nodes of g(x, {n}).",
            "Write down the values of n, one for each time round the loop.",
        )


# ---- 05.2: a safe logarithm ----


def check_safe_log(safe_log: Callable[[Tensor], Tensor]) -> None:
    """`safe_log(x)` is log(x) or -10, with gradients 1 / x and 0."""
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([[2.0, 0.0], [-1.0, 0.5]], dtype=dtype, requires_grad=True)
        y = safe_log(x)
        right = torch.tensor([[2.0, 1.0], [1.0, 0.5]], dtype=dtype).log()
        right[0, 1] = right[1, 0] = -10
        expect(y.shape == x.shape, f"For shape (2, 2) the result has shape {tuple(y.shape)}.")
        expect(
            torch.allclose(y.detach(), right),
            f"For 2, 0, -1, 0.5 the values are {_told(y)}.",
            "log where x is positive, -10 elsewhere; nothing in between.",
        )
        [grad] = autograd.grad(y.sum(), x)
        expect(
            not grad.isnan().any(),
            "The values are right, and the gradient holds nan.",
            "Both sides of a where are in the graph: 0 times infinity.",
        )
        expect(
            torch.allclose(grad, torch.tensor([[0.5, 0.0], [0.0, 2.0]], dtype=dtype)),
            f"For 2, 0, -1, 0.5 the gradient is {_told(grad)}.",
            "1 / x where x is positive, 0 elsewhere.",
        )
    tiny = torch.tensor([1e-20], requires_grad=True)
    expect(
        torch.allclose(safe_log(tiny), tiny.log()),
        "A small positive number has a logarithm, too: log(1e-20) is -46.05.",
        "Where is the boundary?",
    )


def _told(x: Tensor) -> list[float]:
    return [round(v, 3) for v in x.flatten().tolist()]


# ---- 05.3: a padded batch ----


def check_last_states(last_states: Callable[[nn.RNNCell, Tensor, Tensor], Tensor]) -> None:
    """`last_states(cell, batch, lengths)` gives each sequence's state after its last real step."""
    torch.manual_seed(0)
    cell = nn.RNNCell(3, 5).double()
    for counts in ([3, 1, 4], [2, 2], [5]):
        parts = [torch.randn(n, 3, dtype=torch.float64) for n in counts]
        alone = []
        for part in parts:
            h = torch.zeros(5, dtype=torch.float64)
            for x in part:
                h = cell(x, h)
            alone.append(h)
        want = torch.stack(alone)
        for padding in (0.0, float("nan")):
            batch = nn.utils.rnn.pad_sequence(parts, padding_value=padding)
            found = last_states(cell, batch, torch.tensor(counts))
            shape = tuple(want.shape)
            expect(
                isinstance(found, Tensor) and tuple(found.shape) == shape,
                f"For {len(counts)} sequences the result has shape {shape}: (sequences, hidden).",
            )
            what = "nan" if padding else "zeros"
            expect(
                torch.allclose(found, want),
                f"For lengths {counts}, padded with {what}, a last state is not the one alone.",
                "A padded step has to leave the state as it was.",
            )
            expect(found.requires_grad, "No gradient can flow back.")
            ours = autograd.grad(found.square().sum(), list(cell.parameters()))
            theirs = autograd.grad(want.square().sum(), list(cell.parameters()), retain_graph=True)
            expect(
                all(torch.allclose(a, b) for a, b in zip(ours, theirs, strict=True)),
                f"The states are right; the gradients with padding of {what} are not.",
                "What the cell has seen is in the graph, selected or not.",
            )


# ---- 05.4: a deep tree ----


def check_value(value: Callable[[Any], Tensor]) -> None:
    """`value(tree)` computes nested tuples, however deep, with gradients to the leaves."""
    a, b, c = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (2.0, 3.0, 5.0))
    expect(
        value(a) is a or value(a) == a, "A tree that is one tensor has that tensor as its value."
    )
    for tree, want, code in [
        (("+", a, b), a + b, "a + b"),
        (("*", ("+", a, b), c), (a + b) * c, "(a + b) * c"),
        (("+", ("*", a, ("+", b, c)), ("*", a, a)), a * (b + c) + a * a, "a * (b + c) + a * a"),
    ]:
        found = value(tree)
        expect(isinstance(found, Tensor), f"value returns a tensor; yours returned {found!r:.40}.")
        expect(torch.equal(found, want), f"{code} is {want.item()}; your value is {found.item()}.")
        expect(found.requires_grad, f"The value of {code} does not ask for gradients.")
        grads = autograd.grad(found, [a, b, c], allow_unused=True)
        right = autograd.grad(want, [a, b, c], allow_unused=True)
        expect(
            all(x is y is None or torch.equal(x, y) for x, y in zip(grads, right, strict=True)),
            f"The value of {code} is right, its gradients are not.",
        )
    for left in (True, False):
        deep: Any = a
        for _ in range(20_000):
            deep = ("+", deep, b) if left else ("+", b, deep)
        side = "left" if left else "right"
        try:
            found = value(deep)
        except RecursionError:
            expect(
                False,
                f"A tree that is 20,000 deep on its {side} side stops with a RecursionError.",
                "Keep a list of what is still to be done, and one of what is ready.",
            )
        expect(found.item() == 60_002.0, f"A tree of 20,000 additions on the {side} is wrong.")
        while isinstance(deep, tuple):  # taken apart here: a deep tuple is freed by recursion
            deep = deep[1] if left else deep[2]


# ---- what learners write instead ----


def _one_where(x: Tensor) -> Tensor:
    return torch.where(x > 0, x.log(), torch.full_like(x, -10.0))


def _clamped(x: Tensor) -> Tensor:
    return torch.where(x > 1e-6, x.clamp(min=1e-6).log(), torch.full_like(x, -10.0))


def _shifted(x: Tensor) -> Tensor:
    return (x.clamp(min=0) + 4.54e-5).log()


def _every_step(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    h = batch.new_zeros(batch.shape[1], cell.hidden_size)
    for x in batch:
        h = cell(x, h)
    return h


def _selected_after(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    h = batch.new_zeros(batch.shape[1], cell.hidden_size)
    for step, x in enumerate(batch):
        h = torch.where((step < lengths)[:, None], cell(x, h), h)
    return h


def _with_values(tree: Any) -> Tensor:
    return tree.detach() if isinstance(tree, Tensor) else _joined(tree, _with_values)


def _recursive(tree: Any) -> Tensor:
    return tree if isinstance(tree, Tensor) else _joined(tree, _recursive)


def _joined(tree: Any, value: Callable[[Any], Tensor]) -> Tensor:
    left, right = value(tree[1]), value(tree[2])
    return left + right if tree[0] == "+" else left * right


EXERCISES = (
    Exercise(
        "05.1",
        "One node for each time round, and the leaf.",
        check_sizes,
        (
            Wrong("without the leaf", [1, 4, 4], "the multiplications"),
            Wrong("a leaf for each use", [3, 7, 6], "each time it is used"),
            Wrong("n times round", [2, 7, 16], "g(x, 7)"),
        ),
    ),
    Exercise(
        "05.2",
        "The logarithm never saw a bad number.",
        check_safe_log,
        (
            Wrong("one where", _one_where, "holds nan"),
            Wrong("a bound of its own", _clamped, "1e-20"),
            Wrong("shifted", _shifted, "the values are"),
        ),
    ),
    Exercise(
        "05.3",
        "Padding leaves the state alone, and the gradient too.",
        check_last_states,
        (
            Wrong("every step", _every_step, "padded with zeros"),
            Wrong("selected afterwards", _selected_after, "padding of nan"),
        ),
    ),
    Exercise(
        "05.4",
        "A list of what is to be done, whatever the depth.",
        check_value,
        (
            Wrong("recursion", _recursive, "RecursionError"),
            Wrong("detached", _with_values, "does not ask"),
        ),
    ),
)
