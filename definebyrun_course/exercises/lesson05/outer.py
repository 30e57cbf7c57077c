"""Exercise `outer`: the rule of a product of each element with each, which is fan-out of both inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...grading import Exercise, Right, Wrong, drawn, expect, near, plain, shown, tried
from ...pieces.engine_rules import Array
from ..mistakes import then
from .made import Rule, parts_of, passed

__all__ = ["EXERCISE"]

INPUTS = ("self", "vec2")
CASES = (
    ([2.0], [3.0]),
    ([2.0], [3.0, -1.0]),
    ([2.0, 5.0, -1.0], [3.0]),
    ([2.0, 5.0], [3.0, -1.0, 0.5]),
    ([1.0, -2.0, 4.0], [0.5, 3.0]),
    ([1.0, 2.0], [3.0, 5.0]),
)
"""From the smallest up; in the last a wrong axis does not show in the shape."""
USES = {
    "self": "self[i] is used once for each element of vec2, in row i of the result.",
    "vec2": "vec2[j] is used once for each element of self, in column j of the result.",
}


def check_outer(outer: Rule) -> None:
    """`outer(self, vec2)` multiplies each element with each, and adds up what comes back for it."""
    for first, second in CASES:
        _judge(outer, np.array(first), np.array(second), f"{shown(first)} and {shown(second)}")
    draw = drawn()
    sizes = draw.whole(2, 4), draw.whole(5, 7)
    for n, m in (sizes, sizes[::-1]):
        first, second = draw.normal(n).numpy(), draw.normal(m).numpy()
        _judge(outer, first, second, f"vectors of {n} and {m} elements ({draw})")


def _judge(outer: Rule, first: Array, second: Array, what: str) -> None:
    want = np.multiply.outer(first, second)
    result, functions = parts_of(outer(first, second), "outer", INPUTS)
    expect(
        result.shape == want.shape,
        f"For {what} the result has the shape {result.shape}, not {want.shape}.",
        "A row for each element of self, a column for each of vec2.",
    )
    expect(
        near(result, want),
        f"For {what} the result is {shown(result)}, not {shown(want)}.",
        "In row i and column j stands self[i] * vec2[j].",
    )
    ones = np.ones(want.shape)
    for grad in (ones, np.cos(np.arange(want.size)).reshape(want.shape) + 0.5):
        rights = grad @ second, first @ grad
        for name, function, vector, right in zip(
            INPUTS, functions, (first, second), rights, strict=True
        ):
            given = passed(function, grad, what)
            expect(
                given.shape == vector.shape,
                f"For {what} the gradient of {name} has the shape {given.shape}; that of {name} is {vector.shape}.",
                USES[name],
            )
            expect(
                near(given, right, atol=1e-6),
                f"For {what}, with the gradient {shown(grad)} of the result, that of {name} is {shown(right)}; "
                f"yours is {shown(given)}.",
                USES[name],
            )


# ---- answers ----


def rule(
    result: Callable[[Array, Array], Any] = lambda a, b: a[:, None] * b,
    to_self: Callable[[Array, Array, Array], Any] = lambda g, a, b: g @ b,
    to_vec2: Callable[[Array, Array, Array], Any] = lambda g, a, b: g.T @ a,
) -> Rule:
    """The solution with its usual mistakes as switches."""

    def outer(self: Array, vec2: Array) -> tuple[Any, ...]:
        return (
            result(self, vec2),
            lambda grad: to_self(grad, self, vec2),
            lambda grad: to_vec2(grad, self, vec2),
        )

    return outer


def _scaled_in_place(g: Array, a: Array, b: Array) -> Array:
    g *= b
    return g.sum(axis=1)


def _by_sums(self: Array, vec2: Array) -> list[Any]:
    """Broadcast, then summed over the stretched axis."""
    return [
        self.reshape(-1, 1) * vec2.reshape(1, -1),
        lambda grad: (grad * vec2).sum(axis=1),
        lambda grad: (grad * self[:, None]).sum(axis=0),
    ]


def _element_by_element(self: Array, vec2: Array) -> tuple[Any, ...]:
    table = np.array([[x * y for y in vec2] for x in self])
    return (
        table,
        lambda grad: [sum(g * y for g, y in zip(row, vec2, strict=True)) for row in grad],
        lambda grad: [sum(g * x for g, x in zip(row, self, strict=True)) for row in grad.T],
    )


def told(outer: Rule) -> Any:
    """The oracle: result and both gradients for vectors of many sizes, and what has become of the arrays."""
    rng = np.random.default_rng(4)

    def said(first: Array, second: Array) -> Any:
        result, to_self, to_vec2 = outer(first, second)
        grad = np.cos(np.arange(first.size * second.size)).reshape(first.size, second.size)
        gradients = [plain(np.asarray(f(grad))) for f in (to_self, to_vec2)]
        return [plain(np.asarray(result)), gradients, plain(grad), plain(first), plain(second)]

    sizes = ((1, 1), (1, 3), (3, 1), (2, 2), (2, 7), (5, 3))
    pairs = [(rng.normal(size=n), rng.normal(size=m)) for n, m in sizes]
    pairs += [(np.arange(8.0)[::3], np.arange(6.0)[::-2]), (np.array([1e9, 1.0]), np.array([1e-9]))]
    return [tried(said, first, second) for first, second in pairs]


EXERCISE = Exercise(
    "outer",
    "Each element is used in a whole row, or in a whole column, and gets the sum back.",
    check_outer,
    (
        Wrong("turned", rule(result=lambda a, b: b[:, None] * a), "shape (2, 1), not (1, 2)"),
        Wrong("a sum", rule(result=lambda a, b: a[:, None] + b), "the result is [[5]], not [[6]]"),
        Wrong(
            "the dot product", rule(result=lambda a, b: a.sum() * b.sum()), "shape (), not (1, 1)"
        ),
        Wrong(
            "not summed for self",
            rule(to_self=lambda g, a, b: g * b),
            "gradient of self has the shape (1, 1)",
        ),
        Wrong(
            "not summed for vec2",
            rule(to_vec2=lambda g, a, b: g * a[:, None]),
            "gradient of vec2 has the shape (1, 1)",
        ),
        Wrong(
            "without the other factor, self",
            rule(to_self=lambda g, a, b: g.sum(axis=1)),
            "that of self is [3]; yours is [1]",
        ),
        Wrong(
            "without the other factor, vec2",
            rule(to_vec2=lambda g, a, b: g.sum(axis=0)),
            "that of vec2 is [2]; yours is [1]",
        ),
        Wrong(
            "the mean",
            rule(to_self=lambda g, a, b: (g * b).mean(axis=1)),
            "that of self is [2]; yours is [1]",
        ),
        Wrong(
            "the wrong axis where it fits",
            rule(to_self=lambda g, a, b: g.T @ b if len(a) == len(b) else g @ b),
            "For [1, 2] and [3, 5], with",
        ),
        Wrong(
            "the gradient left out",
            rule(to_self=lambda g, a, b: 0 * a + b.sum()),
            "[[1.5]] of the result, that of self is [4.5]; yours is [3]",
        ),
        Wrong("the gradient scaled", rule(to_self=_scaled_in_place), "has written into the"),
        Wrong("self overwritten", then(rule(), lambda a, b: a.fill(0)), "it was given: self"),
        Wrong("the result alone", np.multiply.outer, "yours returned [[6]]."),
        Wrong("one function", lambda a, b: rule()(a, b)[:2], "yours returned [[6]], a function."),
    ),
    right=(
        Right("by sums, a list", _by_sums),
        Right("element by element", _element_by_element),
    ),
    oracle=told,
)
