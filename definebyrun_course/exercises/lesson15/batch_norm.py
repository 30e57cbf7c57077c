"""Exercise `batch_norm`: batch normalisation, backward, with the batch's own statistics and with stored ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch.nn import functional as F

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, near, tried
from ..mistakes import then
from .arrays import compare, given, numbers, several

__all__ = ["EXERCISE"]

SIZES = ((3, 1, 0.25), (1, 2, 0.5), (2, 2, 0.1), (3, 2, 1e-5), (4, 5, 0.0), (6, 6, 0.5))
"""Batch, features and eps; from the smallest up."""
FAR = 1e7
DIGITS = "For columns near 1 it is right. What is left of a variance of 1 when two numbers near 1e14 are subtracted?"
HINTS = {
    "dx": "Three ways lead from x[i] to each x_hat of its column: directly, through the mean, through the variance.",
    "dgamma": "gamma[j] is used in every row, each time times x_hat: a sum over the batch.",
    "dbeta": "beta[j] is added in every row: a sum over the batch.",
}
CONSTANT = "Stored numbers do not depend on x: which of the three ways is left?"
Running = tuple[ndarray, ndarray]


def arguments(batch: int, features: int, seed: int = 0) -> tuple[ndarray, ndarray, ndarray]:
    dy, x = numbers(batch, features, seed=3 * seed + 1), numbers(batch, features, seed=3 * seed)
    return dy, 3 * x + np.arange(batch)[:, None], numbers(features, seed=3 * seed + 2)


def stored(features: int, seed: int = 0) -> Running:
    """A mean and a variance from elsewhere."""
    return numbers(features, seed=7 + seed), 0.5 + numbers(features, seed=8 + seed) ** 2


def right_gradients(
    dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None
) -> dict[str, ndarray]:
    """By autograd, in float64; PyTorch's own refuses a training batch of one."""
    ins = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, gamma, 0 * gamma)]
    if running is None:
        mean, var = ins[0].mean(dim=0), ins[0].var(dim=0, correction=0)
        y = (ins[0] - mean) / (var + eps).sqrt() * ins[1] + ins[2]
    else:
        mean, var = (torch.tensor(a, dtype=torch.float64) for a in running)
        y = F.batch_norm(ins[0], mean, var, ins[1], ins[2], training=False, eps=eps)
    found = torch.autograd.grad(y, ins, torch.tensor(dy, dtype=torch.float64))
    return {name: g.numpy() for name, g in zip(HINTS, found, strict=True)}


def check_batch_norm(batch_norm_backward: Callable[..., Any]) -> None:
    """`batch_norm_backward(dy, x, gamma, eps, running)` returns the gradients of x, gamma and beta."""
    for batch, features, eps in SIZES:
        _ask(batch_norm_backward, *arguments(batch, features), eps)
        _ask(batch_norm_backward, *arguments(batch, features), eps, stored(features))
    _ask(batch_norm_backward, *(a.astype(np.float32) for a in arguments(5, 4)), 1e-3)
    dy, x, gamma = arguments(3, 2)
    _ask(batch_norm_backward, dy, x + FAR, gamma, 0.5, None, f", columns near {FAR:,.0f}")
    draw = drawn()
    sizes = draw.whole(2, 6), draw.whole(2, 6)
    eps = draw.whole(1, 50) / 100
    for running in (None, stored(sizes[1], draw.seed)):
        _ask(batch_norm_backward, *arguments(*sizes, draw.seed), eps, running, f" ({draw})")


def _ask(
    batch_norm_backward: Any, dy: ndarray, x: ndarray, gamma: ndarray, eps: float,
    running: Running | None = None, seed: str = "",
) -> None:  # fmt: skip
    mode = ", in training" if running is None else ", with stored statistics"
    where = f"{given(dy=dy, x=x, gamma=gamma)}, eps = {eps:g}{mode}{seed}"
    rtol = 2e-5 if x.dtype == np.float64 else 2e-4
    far = np.abs(x).max(initial=0.0) >= FAR / 2
    right = right_gradients(dy, x, gamma, eps, running)
    parts = several(batch_norm_backward(dy, x, gamma, eps, running), "dx dgamma dbeta")
    for (name, want), found in zip(right.items(), parts, strict=True):
        yours = forms.array(found, name)
        wrong = yours.shape == want.shape and not near(yours, want, rtol=rtol, atol=1e-6)
        if wrong and not far:
            for value, words, hint in _known(name, dy, x, gamma, eps, running):
                expect(not near(yours, value, rtol=rtol, atol=1e-6), f"{words}, {where}.", hint)
        hint = CONSTANT if running is not None and name == "dx" else HINTS[name]
        compare(name, yours, want, where, DIGITS if far else hint, rtol)


def _known(
    name: str, dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None
) -> list[tuple[Any, str, str]]:
    """What the usual mistakes give."""
    answer = partial(_norm, dy, x, gamma, eps, running)
    if name == "dx":
        return [
            (answer(constant=False)[0] if running else np.nan,
             "dx has ways through the mean and the variance", CONSTANT),
            (answer(mean=False, variance=False)[0], "dx has the direct way only", HINTS["dx"]),
            (answer(mean=False)[0], "dx lacks the way through the mean", "Each column of dx adds up to 0."),
            (answer(variance=False)[0], "dx lacks the way through the variance",
             "Stretching a column changes (but for eps) nothing."),
            (answer(eps_used=False)[0] if eps else np.nan, "dx is made as if eps were 0",
             "eps stands under the root, on the way back too."),
            (answer(weighted=False)[0], "dx comes without gamma", "What arrives at x_hat has gone through gamma."),
            (answer(unbiased=True)[0], "dx is made with a variance that is divided by rows - 1",
             "The batch's own variance is a mean of squares; n - 1 belongs to what is stored."),
        ]  # fmt: skip
    parts = answer()
    other = {"dgamma": parts[2], "dbeta": parts[1]}[name]
    return [
        (other, f"{name} is what {'dbeta' if name == 'dgamma' else 'dgamma'} should be", HINTS[name]),
        (answer(own=True)[1] if running else np.nan, "dgamma is made with the batch's own statistics", CONSTANT),
        ({"dgamma": parts[1], "dbeta": parts[2]}[name] / len(x), f"{name} is a mean over the batch",
         "The mean belongs to the loss, and is in dy."),
    ]  # fmt: skip


def _norm(
    dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None = None, mean: bool = True,
    variance: bool = True, weighted: bool = True, unbiased: bool = False, constant: bool = True,
    own: bool = False, eps_used: bool = True, divide: bool = True, end: Any = None,
) -> tuple[ndarray, ...]:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    batch_own = running is None or own
    mu, var = (x.mean(axis=0), x.var(axis=0)) if batch_own else running  # type: ignore[misc]
    if unbiased and batch_own:
        var = var * len(x) / max(len(x) - 1, 1)
    with np.errstate(all="ignore"):
        spread = np.sqrt(var + (eps if eps_used else 0))
        x_hat, g = (x - mu) / spread, dy * gamma if weighted else dy
        dx = g
        if running is None or not constant:
            dx = g - (g.mean(axis=0) if mean else 0)
            dx = dx - (x_hat * (g * x_hat).mean(axis=0) if variance else 0)
        parts = dx / (spread if divide else 1), (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    return parts if end is None else end(parts)


# ---- right answers, found in other ways ----


def by_jacobian(
    dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None = None
) -> list[ndarray]:
    """The whole Jacobian of each column."""
    n = len(x)
    dx, hats = np.empty(x.shape), np.empty(x.shape)
    for j, column in enumerate(x.T.astype(float)):
        mean, var = (
            (column.mean(), column.var()) if running is None else (running[0][j], running[1][j])
        )
        spread = np.sqrt(var + eps)
        hats[:, j] = (column - mean) / spread
        jacobian = np.eye(n) / spread
        if running is None:
            jacobian -= (1 / n + np.outer(hats[:, j], hats[:, j]) / n) / spread
        dx[:, j] = jacobian @ (dy[:, j] * gamma[j])
    return [dx, np.einsum("ij,ij->j", dy, hats), np.ones(n) @ dy]  # fmt: skip


def step_by_step(
    dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None = None
) -> tuple[Any, ...]:
    """Step by step, each with its own formula, as autograd would do it."""
    centred = x - (x.mean(axis=0) if running is None else running[0])
    variance = np.square(centred).mean(axis=0) if running is None else running[1]
    inverse = 1 / np.sqrt(variance + eps)
    d_hat = dy * gamma
    dx = d_hat * inverse
    if running is None:
        d_variance = -0.5 * (d_hat * centred).sum(axis=0) * inverse**3
        dx = dx + 2 * centred * d_variance / len(x)
        dx = dx - dx.mean(axis=0)
    return dx, (dy * centred * inverse).sum(axis=0), dy.sum(axis=0)


# ---- wrong answers ----


def _along_rows(
    dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None = None
) -> tuple[ndarray, ...]:
    """Layer normalisation."""
    dx = _norm((dy * gamma).T, x.T, np.ones(len(x)), eps)[0].T
    return dx, *_norm(dy, x, gamma, eps, running)[1:]


def _one_pass(
    dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None = None
) -> tuple[ndarray, ...]:
    """The variance as the mean of the squares minus the square of the mean."""
    own = x.mean(axis=0), np.maximum((x**2).mean(axis=0) - x.mean(axis=0) ** 2, 0)
    return _norm(dy, x, gamma, eps, running or own, constant=running is not None)


def _ignored(
    dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None = None
) -> tuple[ndarray, ...]:
    return _norm(dy, x, gamma, eps)


def _always_constant(
    dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None = None
) -> tuple[ndarray, ...]:
    return _norm(dy, x, gamma, eps, running or (x.mean(axis=0), x.var(axis=0)))


def _spread_stored(
    dy: ndarray, x: ndarray, gamma: ndarray, eps: float, running: Running | None = None
) -> tuple[ndarray, ...]:
    """Takes the stored variance for a standard deviation."""
    return _norm(dy, x, gamma, eps, running and (running[0], running[1] ** 2))


def _overwrite_stored(*given: Any) -> None:
    if len(given) > 4 and given[4] is not None:
        given[4][0].fill(0)


WRONG = {
    "two large numbers subtracted": (_one_pass, "two numbers near 1e14"),
    "no way by the mean": (partial(_norm, mean=False), "lacks the way through the mean"),
    "no way by the variance": (partial(_norm, variance=False), "lacks the way through the variance"),
    "the direct way only": (_always_constant, "the direct way only"),
    "stored numbers that depend on x": (partial(_norm, constant=False), "ways through the mean and the variance"),
    "the batch's own for gamma": (partial(_norm, own=True), "dx is [[0.03654]"),
    "stored statistics ignored": (_ignored, "dx is [[-0.02911], [0.0345]"),
    "the stored variance as a spread": (_spread_stored, "dx is [[0.01751]"),
    "along the rows": (_along_rows, "dx is [[0], [0], [0]]"),
    "no gamma": (partial(_norm, weighted=False), "dx comes without gamma"),
    "no eps": (partial(_norm, eps_used=False), "as if eps were 0"),
    "not divided": (partial(_norm, divide=False), "dx is [[-0.0478]"),
    "an unbiased variance": (partial(_norm, unbiased=True), "divided by rows - 1"),
    "gamma and beta exchanged": (
        partial(_norm, end=lambda parts: (parts[0], parts[2], parts[1])), "dgamma is what dbeta should be"),
    "dgamma as a mean": (
        partial(_norm, end=lambda parts: (parts[0], parts[1] / max(len(parts[0]), 1), parts[2])),
        "dgamma is a mean over the batch"),
    "dx alone": (partial(_norm, end=lambda parts: parts[0]), "returns three things"),
    "x overwritten": (then(_norm, lambda dy, x, *_: np.copyto(x, 0)), "x is not what it was"),
    "stored numbers overwritten": (then(_norm, _overwrite_stored), "running[0] is not what it was"),
}  # fmt: skip


def oracle(batch_norm_backward: Callable[..., Any]) -> Any:
    """The three gradients for many sizes in both modes, and the arguments afterwards."""

    def told(*given: Any) -> Any:
        found = several(batch_norm_backward(*given), "dx dgamma dbeta")
        return [np.asarray(part, dtype=np.float64).round(6) + 0.0 for part in found]

    wide = [(*arguments(batch, features), eps) for batch, features, eps in SIZES]
    wide += [(*arguments(n, k, seed=n), 1e-3) for n, k in ((1, 7), (7, 2), (3, 5))]
    wide += [(dy, x + FAR, gamma, 0.5) for dy, x, gamma in [arguments(4, 3)]]
    wide += [(dy, x * 50 + 1000, gamma, 1e-5) for dy, x, gamma in [arguments(4, 3)]]
    wide += [(*(a[::2] for a in arguments(6, 3)[:2]), arguments(4, 3)[2], 0.1)]
    cases: list[tuple[Any, ...]] = [*wide]
    cases += [(*case, tuple(part.copy() for part in stored(len(case[2])))) for case in wide]
    return [
        tried(told, *(a.copy() if isinstance(a, ndarray) else a for a in case)) for case in cases
    ]


EXERCISE = Exercise(
    "batch_norm",
    "Three ways to x in training, one in evaluation.",
    check_batch_norm,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by the whole Jacobian", by_jacobian), Right("step by step", step_by_step)),
    oracle=oracle,
)
