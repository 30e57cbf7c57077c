"""Exercise `linear`: a linear layer, backward, with any number of leading dimensions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from ...grading import Exercise, Right, Wrong, apart, drawn, expect, forms, near, tried
from ..mistakes import then
from .arrays import SHAPE, compare, given, numbers, several

__all__ = ["EXERCISE"]

Lead = tuple[int, ...]

SIZES: tuple[tuple[Lead, int, int], ...] = (
    *(((1,), 1, 1), ((1,), 2, 3), ((2,), 1, 1), ((2,), 1, 3), ((2,), 3, 1), ((5,), 3, 4)),
    *(((3,), 3, 3), ((), 1, 1), ((), 2, 3), ((1, 2), 2, 1), ((2, 3), 4, 2), ((3, 3), 3, 3)),
    ((2, 1, 3), 2, 4),
)
"""Leading dimensions, inputs, outputs; from the smallest up."""
HINTS = {
    "dx": "dx[i, j] is a sum over all outputs: each of them was reached from x[i, j], through one weight.",
    "dW": "dW[j, k] is a sum over all examples: each has sent something through the weight.",
    "db": "db[k] is a sum over all examples: the bias was added to each.",
}


def right_gradients(x: ndarray, W: ndarray, dz: ndarray) -> dict[str, ndarray]:
    """By autograd, in float64."""
    leaves = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, W)]
    b = torch.zeros(W.shape[1], dtype=torch.float64, requires_grad=True)
    z = leaves[0] @ leaves[1] + b
    found = torch.autograd.grad(z, [*leaves, b], torch.tensor(dz, dtype=torch.float64))
    return {name: g.numpy() for name, g in zip(HINTS, found, strict=True)}


def arguments(
    lead: Lead, inputs: int, outputs: int, seed: int = 0
) -> tuple[ndarray, ndarray, ndarray]:
    three = ((*lead, inputs), (inputs, outputs), (*lead, outputs))
    return tuple(numbers(*shape, seed=3 * seed + nth) for nth, shape in enumerate(three))  # type: ignore[return-value]


def check_linear(linear_backward: Callable[..., Any]) -> None:
    """`linear_backward(x, W, dz)` returns the gradients of x, W and b for `z = x @ W + b`."""
    for sizes in SIZES:
        _ask(linear_backward, *arguments(*sizes))
    _ask(linear_backward, *(a.astype(np.float32) for a in arguments((4,), 2, 3)))
    x, W, dz = arguments((6,), 4, 6)
    _ask(linear_backward, x[::2, ::2], W[:2, ::2], dz[::2, ::2])
    draw = drawn()
    lead = tuple(draw.whole(2, 4) for _ in range(draw.whole(0, 3)))
    sizes = draw.whole(2, 6), draw.whole(2, 6)
    _ask(linear_backward, *arguments(lead, *sizes, seed=draw.seed), seed=f" ({draw})")


def _ask(linear_backward: Any, x: ndarray, W: ndarray, dz: ndarray, seed: str = "") -> None:
    where = given(x=x, W=W, dz=dz) + seed
    right = right_gradients(x, W, dz)
    found = dict(zip(HINTS, several(linear_backward(x, W, dz), "dx dW db"), strict=True))
    n = int(np.prod(x.shape[:-1]))
    for name, want in right.items():
        yours = forms.array(found[name], name)
        others = [
            other
            for other in right
            if other != name and near(yours, right[other]) and not near(yours, want)
        ]
        expect(
            not others,
            f"{name} is what {''.join(others)} should be, {where}.",
            "In which order are they asked for?",
        )
        is_transposed = yours.ndim == 2 and near(yours.T, want) and not near(yours, want)
        expect(not is_transposed, f"{name} is transposed, {where}.", SHAPE)
        crossed = W.shape[0] == W.shape[1] and name == "dx" and near(yours, dz @ W)
        expect(not crossed or near(yours, want), f"The sums of dx run along the wrong axis of W, {where}.",
               f"The shapes fit because inputs and outputs are as many. {HINTS[name]}")  # fmt: skip
        is_mean = n > 1 and near(yours * n, want, atol=1e-6)
        expect(not is_mean, f"{name} is divided by the batch, {where}.",
               "The mean belongs to the loss, and dz has it in it already: nothing more is divided here.")  # fmt: skip
        if name == "db" and n > 1:
            expect(not near(yours, dz), f"db has a row for each example, {where}.", HINTS["db"])
            expect(
                not near(yours, dz.mean(-1)),
                f"db is a mean over the outputs, {where}.",
                HINTS["db"],
            )
        if yours.shape == want.shape:
            texts = apart(yours, want)
            expect(np.isfinite(yours).all(), f"{name} is {texts[0]}, {where}.", HINTS[name])
        compare(name, yours, want, where, HINTS[name])


# ---- right answers, found in other ways ----


def by_index(x: ndarray, W: ndarray, dz: ndarray) -> list[ndarray]:
    dx, dW, db = np.zeros(x.shape), np.zeros(W.shape), np.zeros(W.shape[1])
    for i in np.ndindex(x.shape[:-1]):
        for k in range(W.shape[1]):
            db[k] += dz[(*i, k)]
            for j in range(W.shape[0]):
                dx[(*i, j)] += dz[(*i, k)] * W[j, k]
                dW[j, k] += dz[(*i, k)] * x[(*i, j)]
    return [dx, dW, db]


def by_tensordot(x: ndarray, W: ndarray, dz: ndarray) -> tuple[ndarray, ...]:
    lead = list(range(x.ndim - 1))
    dW = np.tensordot(x, dz, axes=(lead, lead))
    return np.tensordot(dz, W, axes=(-1, 1)), dW, dz.sum(axis=tuple(lead))


# ---- wrong answers ----


def _linear(x: ndarray, W: ndarray, dz: ndarray, dx: Any = None, dW: Any = None, db: Any = None,
            end: Any = None) -> Any:  # fmt: skip
    """The solution with one part exchanged."""
    rows, above = x.reshape(-1, W.shape[0]), dz.reshape(-1, W.shape[1])
    parts = (
        dz @ W.T if dx is None else dx(x, W, dz),
        rows.T @ above if dW is None else dW(x, W, dz),
        above.sum(axis=0) if db is None else db(x, W, dz),
    )
    return parts if end is None else end(parts)


def _square_only(x: ndarray, W: ndarray, dz: ndarray) -> Any:
    """Shapes fit with sizes that are equal."""
    dx = dz @ W if W.shape[0] == W.shape[1] else dz @ W.T
    return dx, *_linear(x, W, dz)[1:]


def _matrices_only(x: ndarray, W: ndarray, dz: ndarray) -> Any:
    """The lesson's own formulas."""
    return dz @ W.T, x.T @ dz, dz.sum(axis=0)


def _one_example_lost(x: ndarray, W: ndarray, dz: ndarray) -> Any:
    """A matrix for each sequence, as `swapaxes` gives it; summed over the batch, where there is one."""
    if x.ndim == 1:
        return dz @ W.T, np.outer(x, dz), dz
    dW = np.swapaxes(x, -1, -2) @ dz
    return dz @ W.T, dW, dz.reshape(-1, W.shape[1]).sum(axis=0)


def _last_but_one(x: ndarray, W: ndarray, dz: ndarray) -> Any:
    """The bias summed over one dimension alone."""
    db = dz.sum(axis=-2) if dz.ndim > 1 else dz
    return *_linear(x, W, dz)[:2], db


def _scaled(x: ndarray, W: ndarray, dz: ndarray) -> None:
    dz *= 1 / len(x)


WRONG = {
    "matrices alone": (_matrices_only, "dW has the shape (), not (1, 1)"),
    "a matrix for each sequence": (_one_example_lost, "with x = an array of shape (1, 2, 2)"),
    "one dimension summed": (_last_but_one, "with x = an array of shape (1, 2, 2)"),
    "not summed": (partial(_linear, db=lambda x, W, dz: dz), "(1, 1), not (1,), with x = [[0.1]]"),
    "mean": (partial(_linear, dW=lambda x, W, dz: x.T @ dz / len(x)), "dW is divided by the batch"),
    "mean of the bias": (partial(_linear, db=lambda x, W, dz: dz.mean(axis=0)), "db is divided by the batch"),
    "no transpose": (partial(_linear, dx=lambda x, W, dz: dz @ W), "size 2 is different from 3"),
    "no transpose where it fits": (_square_only, "the wrong axis of W"),
    "dW transposed": (
        partial(_linear, dW=lambda x, W, dz: _linear(x, W, dz)[1].T), "dW is transposed"),
    "summed over the outputs": (partial(_linear, db=lambda x, W, dz: dz.sum(axis=1)),
        "db has the shape (1,), not (3,)"),
    "an axis kept": (partial(_linear, db=lambda x, W, dz: dz.sum(0, keepdims=True)),
        "(1, 1), not (1,), with x = [[0.1]]"),
    "another order": (partial(_linear, end=lambda parts: (parts[1], parts[0], parts[2])), "dx is what dW should be"),
    "dx alone": (partial(_linear, end=lambda parts: parts[0]), "returns three things"),
    "ones for dz": (
        partial(_linear, dW=lambda x, W, dz: x.T @ np.ones_like(dz)), "dW is [[0.1]]"),
    "dz overwritten": (then(_linear, _scaled), "dz is not what it was"),
    "the bias's gradient in x": (then(_linear, lambda x, W, dz: np.copyto(x, 0)), "x is not what it was"),
}  # fmt: skip


def oracle(linear_backward: Callable[..., Any]) -> Any:
    """The three gradients for many sizes, and the arguments afterwards."""

    def told(*arrays: ndarray) -> Any:
        found = several(linear_backward(*arrays), "dx dW db")
        return [np.asarray(part, dtype=np.float64) for part in found]

    more: tuple[tuple[Lead, int, int], ...] = (((0,), 2, 3), ((7,), 2, 3), ((3, 2), 7, 2))
    wide = [arguments(*sizes) for sizes in (*SIZES, *more)]
    wide += [tuple(a * scale for a in arguments((3,), 2, 4)) for scale in (1e-8, 1e8)]
    wide += [tuple(a[::2, ::2] for a in arguments((6,), 4, 4)[:1]) + arguments((3,), 2, 2)[1:]]
    return [tried(told, *(a.copy() for a in arrays)) for arrays in wide]


EXERCISE = Exercise(
    "linear",
    "Three formulas, for sizes that differ and sizes that do not.",
    check_linear,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("number by number", by_index), Right("by tensordot", by_tensordot)),
    oracle=oracle,
)
