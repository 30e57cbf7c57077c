"""Exercise `softmax`: a rule that passes a test of each element by itself, and is wrong between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...grading import Exercise, Right, Wrong, expect, near, plain, shown, tried
from ...pieces.engine_rules import Array
from ..mistakes import then
from .made import Rule, cases, parts_of, passed

__all__ = ["EXERCISE"]

SMALL = ([0.7], [0.7, -1.3], [[0.3, 0.9, -0.4]], [[0.3, 0.9], [2.1, 0.2]])
LARGE = ([1000.0, 999.0], [-1000.0, -999.0, -1001.0], [[1000.0, 0.0], [0.5, 0.0]])
ROUNDING = 1e-12
COMMON = (
    "All probabilities of a row add up to 1. What does the same gradient for each of them ask for?"
)
BETWEEN = "Nudge one number: which probabilities of its row move, and which way?"


def check_softmax(softmax: Rule) -> None:
    """`softmax(self)` is a rule along the last axis, with the slopes between the elements of a row."""
    with np.errstate(all="ignore"):
        for x, what in cases((*SMALL, *LARGE)):
            _judge(softmax, x, what)


def _judge(softmax: Rule, x: Array, what: str) -> None:
    want = _right(x)
    result, (to_self,) = parts_of(softmax(x), "softmax", ("self",))
    expect(
        result.shape == want.shape,
        f"For {what} the result has the shape {result.shape}, not {want.shape}.",
        "A probability for each number.",
    )
    expect(
        near(result, want),
        f"For {what} the result is {shown(result)}, not {shown(want)}.",
        "This part of the rule was right; also for large numbers, row by row.",
    )
    for grad in (np.ones(want.shape), np.cos(np.arange(want.size)).reshape(want.shape) + 1):
        given = passed(to_self, grad, what)
        right = _slopes(want, grad)
        expect(
            given.shape == x.shape,
            f"For {what} the gradient has the shape {given.shape}; that of self is {x.shape}.",
            "A number back for each number.",
        )
        expect(
            near(given, right, atol=1e-6),
            f"For {what}, with the gradient {shown(grad)} of the result, that of self is {shown(right)}; "
            f"yours is {shown(given)}.",
            COMMON if np.ptp(grad) == 0 else BETWEEN,
        )


def _right(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _slopes(probabilities: Array, grad: Array) -> Array:
    """The gradient of self; what is a rounding error of 0 is 0."""
    right = probabilities * (grad - (grad * probabilities).sum(axis=-1, keepdims=True))
    return np.where(np.abs(right) < ROUNDING, 0.0, right)


# ---- answers ----


def rule(
    result: Callable[[Array], Array] = _right,
    back: Callable[[Array, Array], Any] = lambda g, p: p * (g - (g * p).sum(-1, keepdims=True)),
) -> Rule:
    """The solution with its usual mistakes as switches."""

    def softmax(self: Array) -> tuple[Any, ...]:
        found = result(self)
        return found, lambda grad: back(grad, found)

    return softmax


def _along_the_first(x: Array) -> Array:
    return _right(x.swapaxes(0, -1)).swapaxes(0, -1)


def _of_all(x: Array) -> Array:
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def _overwritten(g: Array, p: Array) -> Array:
    g -= (g * p).sum(axis=-1, keepdims=True)
    return g * p


def _by_jacobians(self: Array) -> list[Any]:
    """The whole matrix of slopes of each row: diag(p) - p pᵀ."""
    p = _right(self)
    slopes = p[..., None] * np.eye(p.shape[-1]) - p[..., None] * p[..., None, :]
    return [p, lambda grad: (grad[..., None, :] @ slopes)[..., 0, :]]


def _by_logarithms(self: Array) -> tuple[Any, ...]:
    p = np.exp(self - np.logaddexp.reduce(self, axis=-1, keepdims=True))

    def to_self(grad: Array) -> Array:
        part = grad * p
        return part - p * part.sum(axis=-1, keepdims=True)

    return p, to_self


def told(softmax: Rule) -> Any:
    """The oracle: result and gradient for many shapes and sizes, and what has become of the arrays."""
    rng = np.random.default_rng(2)

    def said(x: Array) -> Any:
        with np.errstate(all="ignore"):
            result, back = softmax(x)
            grad = np.cos(np.arange(x.size)).reshape(x.shape)
            given = plain(np.round(np.asarray(back(grad)), 10))
        return [plain(np.asarray(result)), given, plain(grad), plain(x)]

    arrays = [np.array(numbers) for numbers in (*SMALL, *LARGE)]
    arrays += [
        rng.normal(size=shape) * scale
        for shape in ((1,), (7,), (1, 1), (3, 3), (2, 3, 1), (3, 1, 2))
        for scale in (1e-9, 1.0, 300.0)
    ]
    arrays += [rng.normal(size=(4, 6))[::2, ::3]]
    return [tried(said, x) for x in arrays]


EXERCISE = Exercise(
    "softmax",
    "Every probability depends on every number of its row, and the gradient knows it.",
    check_softmax,
    (
        Wrong(
            "each by itself, as it was",
            rule(back=lambda g, p: g * p * (1 - p)),
            "[1, 1] of the result, that of self is [0, 0]; yours is [0.105, 0.105]",
        ),
        Wrong("the probabilities", rule(back=lambda g, p: g * p), "of self is [0]; yours is [1]"),
        Wrong(
            "the other sign",
            rule(back=lambda g, p: p * ((g * p).sum(-1, keepdims=True) - g)),
            "yours is [-0.04827, 0.04827]",
        ),
        Wrong(
            "the mean taken off",
            rule(back=lambda g, p: p * (g - g.mean(-1, keepdims=True))),
            "yours is [0.2025, -0.0274]",
        ),
        Wrong(
            "the sum of all rows",
            rule(back=lambda g, p: p * (g - (g * p).sum())),
            "For [[0.3, 0.9], [2.1, 0.2]], with the gradient [[1, 1], [1, 1]]",
        ),
        Wrong(
            "along the first axis",
            rule(result=_along_the_first),
            "For [[0.3, 0.9, -0.4]] the result is [[1, 1, 1]]",
        ),
        Wrong("one sum for all", rule(result=_of_all), "For [[0.3, 0.9], [2.1, 0.2]] the result"),
        Wrong(
            "overflows",
            rule(result=lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
            "For [1000, 999] the result is [nan, nan]",
        ),
        Wrong(
            "the logarithm's gradient",
            rule(back=lambda g, p: g - p * g.sum(-1, keepdims=True)),
            "of self is [0, 0]; yours is [-0.7616, 0.7616]",
        ),
        Wrong("nothing", rule(back=lambda g, p: g * 0.0), "yours is [0, 0]"),
        Wrong("no axis", rule(back=lambda g, p: p.sum(axis=-1) * 0), "has the shape (); that of"),
        Wrong("the gradient scaled", rule(back=_overwritten), "has written into the gradient"),
        Wrong("self overwritten", then(rule(), lambda x: x.fill(0)), "it was given: self"),
        Wrong("the result alone", _right, "and one function, from its gradient to that of self"),
    ),
    right=(Right("by Jacobians, a list", _by_jacobians), Right("by logarithms", _by_logarithms)),
    oracle=told,
)
