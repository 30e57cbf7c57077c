"""Exercise `logsumexp`: the rule of a logarithm of a sum of exponentials, which does not overflow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...grading import Exercise, Right, Wrong, expect, near, plain, shown
from ...pieces.engine_rules import Array
from ..mistakes import then
from .made import Rule, cases, parts_of, passed

__all__ = ["EXERCISE"]

SMALL = ([0.7], [0.7, -1.3], [[0.3, 0.9, -0.4]], [[0.3, 0.9, -0.4], [2.1, 0.2, 0.5]])
LARGE = ([1000.0, 1000.0], [-1000.0, -999.0], [1000.0, -1000.0, 0.0], [[1000.0, 0.0], [0.0, 0.5]])


def check_logsumexp(logsumexp: Rule) -> None:
    """`logsumexp(self)` is a rule along the last axis that is right for large numbers too."""
    with np.errstate(all="ignore"):
        for x, what in cases((*SMALL, *LARGE)):
            _judge(logsumexp, x, what)


def _judge(logsumexp: Rule, x: Array, what: str) -> None:
    want, soft = _right(x)
    result, (to_self,) = parts_of(logsumexp(x), "logsumexp", ("self",))
    expect(
        result.shape == want.shape,
        f"For {what} the result has the shape {result.shape}, not {want.shape}.",
        "The last axis goes away, and no other, however long it is.",
    )
    expect(
        near(result, want),
        f"For {what} the result is {shown(result)}, not {shown(want)}.",
        "Is any power of e infinite, or are all of a row zero? What could be taken out of each sum first?",
    )
    for grad in (np.ones(want.shape), np.cos(np.arange(want.size)).reshape(want.shape)):
        given = passed(to_self, grad, what)
        _judge_gradient(x, what, grad, given, grad[..., None] * soft)


def _judge_gradient(x: Array, what: str, grad: Array, given: Array, right: Array) -> None:
    expect(
        given.shape == x.shape,
        f"For {what} the gradient has the shape {given.shape}; that of self is {x.shape}.",
        "The axis that went away has to come back.",
    )
    expect(
        near(given, right),
        f"For {what}, with the gradient {shown(grad)} of the result, yours for self is {shown(given)}; "
        f"along the last axis it adds up to {shown(given.sum(axis=-1))}.",
        "It adds up to the gradient of the result, each row to its own, and the largest number gets the most. "
        "In large numbers it needs the same care as the result.",
    )


def _right(x: Array) -> tuple[Array, Array]:
    """The result, and the softmax."""
    flat = x.reshape(-1, x.shape[-1]).tolist()
    results = [max(row) + math.log(math.fsum(math.exp(n - max(row)) for n in row)) for row in flat]
    soft = [[math.exp(n - result) for n in row] for row, result in zip(flat, results, strict=True)]
    return np.array(results).reshape(x.shape[:-1]), np.array(soft).reshape(x.shape)


# ---- answers ----


def rule(
    top: Callable[[Array], Any] = lambda self: self.max(axis=-1, keepdims=True),
    top_of_grad: Callable[[Array], Any] | None = None,
    cut: Callable[[Array], Any] = lambda result: result[..., 0],
    back: Callable[[Array, Array, Array], Any] = lambda grad, soft, powers: grad[..., None] * soft,
) -> Rule:
    """The solution with its usual mistakes as switches."""

    def logsumexp(self: Array) -> tuple[Any, ...]:
        low = top(self)
        result = cut(np.log(np.exp(self - low).sum(axis=-1, keepdims=True)) + low)
        powers = np.exp(self - (top_of_grad or top)(self))
        soft = powers / powers.sum(axis=-1, keepdims=True)
        return result, lambda grad: back(grad, soft, powers)

    return logsumexp


def _overwrites(self: Array) -> tuple[Any, ...]:
    top = self.max(axis=-1, keepdims=True)
    self -= top
    total = np.exp(self).sum(axis=-1, keepdims=True)
    return (np.log(total) + top)[..., 0], lambda grad: grad[..., None] * np.exp(self) / total


def _grad_overwritten(grad: Array, soft: Array, powers: Array) -> Array:
    given = grad[..., None] * soft
    grad *= 0
    return given


def _textbook(self: Array) -> list[Any]:
    """The derivative as exp(x − lse), and the sum by the library."""
    result = np.logaddexp.reduce(self, axis=-1)
    return [result, lambda g: np.expand_dims(g, -1) * np.exp(self - result[..., None])]


def _row_by_row(self: Array) -> tuple[Any, ...]:
    rows = self.reshape(-1, self.shape[-1])
    tops = [max(row) for row in rows]
    sums = [sum(np.exp(row - top)) for row, top in zip(rows, tops, strict=True)]
    result = np.array([t + np.log(s) for t, s in zip(tops, sums, strict=True)])
    soft = np.array([np.exp(r - t) / s for r, t, s in zip(rows, tops, sums, strict=True)])

    def back(grad: Array) -> Array:
        return (np.reshape(grad, (-1, 1)) * soft).reshape(self.shape)

    return result.reshape(self.shape[:-1]), back


def told(logsumexp: Rule) -> Any:
    """The oracle: result and gradient for many shapes and sizes, and what has become of the arrays."""
    rng = np.random.default_rng(1)
    arrays = [np.array(numbers) for numbers in (*SMALL, *LARGE)]
    arrays += [
        rng.normal(size=shape) * scale
        for shape in ((1,), (7,), (1, 1), (2, 3, 1), (3, 1, 2))
        for scale in (1e-9, 1.0, 700.0)
    ]
    arrays += [
        rng.normal(size=(4, 6))[::2, ::3],
        np.float32([[0.5, 1.0, 2.0]]),
        np.array([3e4, -1e4, 1.0]),
    ]
    found: list[Any] = []
    with np.errstate(all="ignore"):
        for x in arrays:
            grad = np.cos(np.arange(x[..., 0].size)).reshape(x.shape[:-1])
            try:
                result, back = logsumexp(x)
                found.append(
                    [
                        plain(np.asarray(result)),
                        plain(np.asarray(back(grad))),
                        plain(grad),
                        plain(x),
                    ]
                )
            except Exception as error:
                found.append(type(error).__name__)
    return found


EXERCISE = Exercise(
    "logsumexp",
    "The logarithm of a sum of exponentials, and the softmax as its gradient, without overflow.",
    check_logsumexp,
    (
        Wrong("overflows", rule(top=lambda x: 0.0), "For [1000, 1000] the result is inf"),
        Wrong(
            "gradient overflows", rule(top_of_grad=lambda x: 0.0), "yours for self is [nan, nan]"
        ),
        Wrong(
            "one maximum for all rows", rule(top=lambda x: x.max()), "the result is [1000, -inf]"
        ),
        Wrong(
            "the mean taken out",
            rule(top=lambda x: x.mean(-1, keepdims=True)),
            "-1000, 0] the result is inf",
        ),
        Wrong("squeezed", rule(cut=np.squeeze), "the result has the shape (), not (1,)"),
        Wrong("axis kept", rule(cut=lambda r: r), "the result has the shape (1,), not ()"),
        Wrong(
            "along the first axis", lambda x: rule()(x.T), "the result has the shape (3,), not (1,)"
        ),
        Wrong(
            "gradient without the grad",
            rule(back=lambda g, soft, p: soft + 0 * g[..., None]),
            "adds up to [1, 1]",
        ),
        Wrong(
            "gradient not divided", rule(back=lambda g, soft, p: g[..., None] * p), "is [1, 0.1353]"
        ),
        Wrong(
            "gradient of ones",
            rule(back=lambda g, soft, p: g[..., None] + 0 * p),
            "is [1, 1]; along",
        ),
        Wrong(
            "gradient of the first row for all",
            rule(back=lambda g, soft, p: g.reshape(-1)[0] * soft),
            "adds up to [1, 1]",
        ),
        Wrong(
            "the maximum",
            lambda x: (x.max(-1), lambda g: g[..., None] * (x == x.max(-1, keepdims=True))),
            "the result is 0.7, not",
        ),
        Wrong("self overwritten", _overwrites, "it was given: self"),
        Wrong(
            "self overwritten afterwards", then(rule(), lambda x: x.fill(0)), "it was given: self"
        ),
        Wrong("grad overwritten", rule(back=_grad_overwritten), "has written into the gradient"),
        Wrong(
            "result alone",
            lambda x: np.logaddexp.reduce(x, axis=-1),
            "that of self; yours returned 0.7.",
        ),
        Wrong(
            "gradient instead of its function",
            lambda x: (rule()(x)[0], rule()(x)[1](np.ones(x.shape[:-1]))),
            "yours returned 0.7, [1]",
        ),
    ),
    right=(
        Right("the textbook's derivative, a list", _textbook),
        Right("row by row", _row_by_row),
    ),
    oracle=told,
)
