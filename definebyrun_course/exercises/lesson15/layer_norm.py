"""Exercise `layer_norm`: layer normalisation, backward."""

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

SIZES = (
    (1, 3, 0.5),
    (1, 2, 1e-5),
    (2, 2, 0.1),
    (2, 3, 0.0),
    (5, 4, 1e-12),
    (6, 6, 0.5),
    (3, 1, 0.25),
)
"""Batch, features and eps; from the smallest up."""
FAR = 1e7
DIGITS = "For rows near 1 it is right. What is left of a variance of 1 when two numbers near 1e14 are subtracted?"
HINTS = {
    "dx": "Three ways lead from x[i] to each x_hat of its row: directly, through the mean, through the variance.",
    "dgamma": "gamma[j] is used in every row, each time times x_hat: a sum over the batch.",
    "dbeta": "beta[j] is added in every row: a sum over the batch.",
}


def arguments(batch: int, features: int, seed: int = 0) -> tuple[ndarray, ndarray, ndarray]:
    dy, x = (
        numbers(batch, features, seed=3 * seed + 1),
        3 * numbers(batch, features, seed=3 * seed) + 1,
    )
    return dy, x + np.arange(features), numbers(features, seed=3 * seed + 2)


def right_gradients(dy: ndarray, x: ndarray, gamma: ndarray, eps: float) -> dict[str, ndarray]:
    """By autograd, in float64."""
    ins = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, gamma, 0 * gamma)]
    y = F.layer_norm(ins[0], gamma.shape, ins[1], ins[2], eps)
    found = torch.autograd.grad(y, ins, torch.tensor(dy, dtype=torch.float64))
    return {name: g.numpy() for name, g in zip(HINTS, found, strict=True)}


def check_layer_norm(layer_norm_backward: Callable[..., Any]) -> None:
    """`layer_norm_backward(dy, x, gamma, eps)` returns the gradients of x, gamma and beta."""
    for batch, features, eps in SIZES:
        _ask(layer_norm_backward, *arguments(batch, features), eps)
    _ask(layer_norm_backward, *(a.astype(np.float32) for a in arguments(4, 5)), 1e-3)
    dy, x, gamma = arguments(2, 3)
    _ask(layer_norm_backward, dy, x + FAR, gamma, 0.5, f", rows near {FAR:,.0f}")
    draw = drawn()
    sizes = draw.whole(2, 6), draw.whole(2, 6)
    _ask(
        layer_norm_backward,
        *arguments(*sizes, seed=draw.seed),
        draw.whole(1, 50) / 100,
        f" ({draw})",
    )


def _ask(
    layer_norm_backward: Any, dy: ndarray, x: ndarray, gamma: ndarray, eps: float, seed: str = ""
) -> None:
    where = f"{given(dy=dy, x=x, gamma=gamma)}, eps = {eps:g}{seed}"
    rtol = 2e-5 if x.dtype == np.float64 else 2e-4
    far = np.abs(x).max(initial=0.0) >= FAR / 2
    right = right_gradients(dy, x, gamma, eps)
    found = dict(
        zip(HINTS, several(layer_norm_backward(dy, x, gamma, eps), "dx dgamma dbeta"), strict=True)
    )
    for name, want in right.items():
        yours = forms.array(found[name], name)
        wrong = yours.shape == want.shape and not near(yours, want, rtol=rtol, atol=1e-6)
        if wrong and not far:
            for value, words, hint in _known(name, dy, x, gamma, eps):
                expect(not near(yours, value, rtol=rtol, atol=1e-6), f"{words}, {where}.", hint)
            if name == "dx":
                _say_what_dx_lacks(yours, x, eps, where)
        compare(name, yours, want, where, DIGITS if far else HINTS[name], rtol)


def _say_what_dx_lacks(dx: ndarray, x: ndarray, eps: float, where: str) -> None:
    size = np.abs(dx).max() + 1e-9
    expect(
        np.abs(dx.sum(axis=1)).max() < 1e-3 * size,
        f"Shifting a row changes nothing, so each row of dx must add up to 0; one of yours adds up to "
        f"{dx.sum(axis=1)[np.abs(dx.sum(axis=1)).argmax()]:.4g}, {where}.",
        "Is the way through the mean in it, and is it taken along the row?",
    )
    along = (dx * x).sum(axis=1)
    expect(
        eps > 1e-6 or np.abs(along).max() < 1e-3 * size * np.abs(x).max(),
        f"Stretching a row changes nothing, so dx must have no part along it; yours has, {where}.",
        "Is the way through the variance in it, and is it taken along the row?",
    )


def _known(
    name: str, dy: ndarray, x: ndarray, gamma: ndarray, eps: float
) -> list[tuple[Any, str, str]]:
    """What the usual mistakes give."""
    centred = x - x.mean(axis=1, keepdims=True)
    x_hat = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    if name != "dx":
        return [
            (dy.sum(axis=0), "dgamma is what dbeta should be", "gamma is a factor: of what?"),
            ((dy * x).sum(axis=0), "dgamma is made with x instead of x_hat", HINTS["dgamma"]),
            ((dy * x_hat).sum(axis=0), "dbeta is what dgamma should be", "beta is added, not multiplied."),
            ((dy * x_hat).mean(axis=0), "dgamma is a mean over the batch",
             "The mean belongs to the loss, and is in dy."),
            (dy.mean(axis=0), "dbeta is a mean over the batch", "The mean belongs to the loss, and is in dy."),
            ((dy * gamma).sum(axis=0), "dbeta has the factor gamma", "beta is added after gamma has multiplied."),
        ]  # fmt: skip
    parts = partial(_dx, dy, x, gamma, eps)
    return [
        (parts(unbiased=True), "dx is made with a variance that is divided by features - 1",
         "mean, not sum / (n - 1)."),
        (parts(weighted=False), "dx comes without gamma", "What arrives at x_hat has gone through gamma."),
        (parts(variance=False, mean=False), "dx has the direct way only", HINTS["dx"]),
        (parts(mean=False), "dx lacks the way through the mean",
         "Shifting a row changes nothing: its dx adds up to 0."),
        (parts(variance=False), "dx lacks the way through the variance",
         "Stretching a row changes (but for eps) nothing: dx has no part along it."),
        (parts(eps=0.0) if eps else np.nan, "dx is made as if eps were 0",
         "eps stands under the root, on the way back too."),
        (parts(root=False), "dx is divided by the variance plus eps, not by its root", "What was x_hat divided by?"),
        (parts(divide=False), "dx is not divided by the spread", "x_hat was divided by it: so is what comes back."),
    ]  # fmt: skip


def _dx(dy: ndarray, x: ndarray, scale: ndarray, small: float, mean: bool = True, variance: bool = True,
    root: bool = True,
        weighted: bool = True, divide: bool = True, eps: float | None = None,
            unbiased: bool = False) -> ndarray:  # fmt: skip
    """dx with its usual mistakes as switches."""
    centred = x - x.mean(axis=1, keepdims=True)
    count = x.shape[1] - unbiased
    square = (centred**2).sum(axis=1, keepdims=True) / max(count, 1) + (
        small if eps is None else eps
    )
    with np.errstate(all="ignore"):
        x_hat = centred / np.sqrt(square)
        g = dy * scale if weighted else dy
        dx = g - (g.mean(axis=1, keepdims=True) if mean else 0)
        dx = dx - (x_hat * (g * x_hat).mean(axis=1, keepdims=True) if variance else 0)
        return dx / (np.sqrt(square) if root else square) if divide else dx


# ---- right answers, found in other ways ----


def by_jacobian(dy: ndarray, x: ndarray, gamma: ndarray, eps: float) -> list[ndarray]:
    """The whole Jacobian of each row."""
    n = x.shape[1]
    dx, hats = np.empty(x.shape), np.empty(x.shape)
    for nth, (row, above) in enumerate(zip(x.astype(float), dy * gamma, strict=True)):
        spread = np.sqrt(row.var() + eps)
        hats[nth] = (row - row.mean()) / spread
        jacobian = (np.eye(n) - 1 / n - np.outer(hats[nth], hats[nth]) / n) / spread
        dx[nth] = jacobian.T @ above
    return [dx, np.einsum("ij,ij->j", dy, hats), np.ones(len(dy)) @ dy]


def step_by_step(dy: ndarray, x: ndarray, gamma: ndarray, eps: float) -> tuple[Any, ...]:
    """Step by step, each with its own formula, as autograd would do it."""
    mean = x.mean(axis=1, keepdims=True)
    centred = x - mean
    variance = np.square(centred).mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt(variance + eps)
    d_hat = dy * gamma
    d_inverse = (d_hat * centred).sum(axis=1, keepdims=True)
    d_variance = -0.5 * d_inverse * inverse**3
    d_centred = d_hat * inverse + 2 * centred * d_variance / x.shape[1]
    dx = d_centred - d_centred.mean(axis=1, keepdims=True)
    return dx, (dy * centred * inverse).sum(axis=0), dy.sum(axis=0)


# ---- wrong answers ----


def _norm(dy: ndarray, x: ndarray, gamma: ndarray, eps: float, axis: int = 0, of: str = "x_hat",
          beta: Any = None, **switches: Any) -> tuple[ndarray, ...]:  # fmt: skip
    centred = x - x.mean(axis=1, keepdims=True)
    x_hat = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    factor = {"x_hat": x_hat, "x": x, "one": np.ones_like(x)}[of]
    dbeta = dy.sum(axis=0) if beta is None else beta(dy, gamma)
    return _dx(dy, x, gamma, eps, **switches), (dy * factor).sum(axis=axis), dbeta


def _batch_norm(dy: ndarray, x: ndarray, gamma: ndarray, eps: float) -> tuple[ndarray, ...]:
    """Means along the batch."""
    dx = _dx((dy * gamma).T, x.T, np.ones(len(x)), eps).T
    return dx, *_norm(dy, x, gamma, eps)[1:]


def _without_eps(dy: ndarray, x: ndarray, gamma: ndarray, eps: float) -> tuple[ndarray, ...]:
    return _norm(dy, x, gamma, 0.0)


def _one_pass(dy: ndarray, x: ndarray, gamma: ndarray, eps: float) -> tuple[ndarray, ...]:
    """The variance as the mean of the squares minus the square of the mean."""
    mean = x.mean(axis=1, keepdims=True)
    variance = (x**2).mean(axis=1, keepdims=True) - mean**2
    spread = np.sqrt(np.maximum(variance, 0) + eps)
    x_hat, g = (x - mean) / spread, dy * gamma
    along = (g * x_hat).mean(axis=1, keepdims=True)
    dx = (g - g.mean(axis=1, keepdims=True) - x_hat * along) / spread
    return dx, (dy * x_hat).sum(axis=0), dy.sum(axis=0)


WRONG = {
    "two large numbers subtracted": (_one_pass, "two numbers near 1e14"),
    "no way by the mean": (partial(_norm, mean=False), "lacks the way through the mean"),
    "no way by the variance": (partial(_norm, variance=False), "lacks the way through the variance"),
    "the direct way only": (partial(_norm, mean=False, variance=False), "the direct way only"),
    "along the batch": (_batch_norm, "dx is [[0, 0, 0]]"),
    "no gamma": (partial(_norm, weighted=False), "dx comes without gamma"),
    "no eps": (_without_eps, "as if eps were 0"),
    "no root": (partial(_norm, root=False), "not by its root"),
    "not divided": (partial(_norm, divide=False), "not divided by the spread"),
    "an unbiased variance": (partial(_norm, unbiased=True), "divided by features - 1"),
    "dgamma over features": (partial(_norm, axis=1), "dgamma has the shape (1,)"),
    "dgamma of x": (partial(_norm, of="x"), "made with x instead of x_hat"),
    "dgamma without x_hat": (partial(_norm, of="one"), "dgamma is what dbeta should be"),
    "dbeta with gamma": (partial(_norm, beta=lambda dy, gamma: (dy * gamma).sum(axis=0)), "dbeta has the factor gamma"),
    "dbeta as a mean": (partial(_norm, beta=lambda dy, gamma: dy.mean(axis=0)), "dbeta is a mean"),
    "dx alone": (lambda *given: _norm(*given)[0], "returns three things"),
    "x overwritten": (then(_norm, lambda dy, x, *_: np.copyto(x, 0)), "x is not what it was"),
    "dy overwritten": (then(_norm, lambda dy, *_: np.copyto(dy, 0)), "dy is not what it was"),
}  # fmt: skip


def oracle(layer_norm_backward: Callable[..., Any]) -> Any:
    """The three gradients for many sizes, and the arguments afterwards."""

    def told(*given: Any) -> Any:
        found = several(layer_norm_backward(*given), "dx dgamma dbeta")
        return [np.asarray(part, dtype=np.float64).round(6) + 0.0 for part in found]

    wide = [(*arguments(batch, features), eps) for batch, features, eps in SIZES]
    wide += [(*arguments(n, k, seed=n), 1e-3) for n, k in ((1, 7), (7, 2), (0, 3), (3, 5))]
    wide += [(dy, x + FAR, gamma, 0.5) for dy, x, gamma in [arguments(3, 4)]]
    wide += [(dy, x * 50 + 1000, gamma, 1e-5) for dy, x, gamma in [arguments(3, 4)]]
    wide += [(*(a[::2] for a in arguments(4, 3)[:2]), arguments(4, 3)[2], 0.1)]
    return [
        tried(told, *(a.copy() if isinstance(a, ndarray) else a for a in case)) for case in wide
    ]


EXERCISE = Exercise(
    "layer_norm",
    "Three ways to x, and two sums over the batch.",
    check_layer_norm,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by the whole Jacobian", by_jacobian), Right("step by step", step_by_step)),
    oracle=oracle,
)
