"""Rules with mistakes for exercise `worst_error`, each beside the right one.

How far off they are is known for any gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...pieces.engine_rules import RULES, Array

__all__ = ["Planted", "Rule", "arrays_of", "nan_rule", "planted_rules", "right_rules"]

Rule = Callable[..., Any]


@dataclass
class Planted:
    """A rule with a mistake, the right rule beside it, and the gradients of the result that a checker gives to it."""

    what: str
    wrong: Rule
    right: Rule
    arrays: list[Array]
    given: list[tuple[int, Array]] = field(default_factory=list)

    def __call__(self, *arrays: Array) -> tuple[Any, ...]:
        result, *to_inputs = self.wrong(*arrays)
        return (result, *(self._noting(nth, to_input) for nth, to_input in enumerate(to_inputs)))

    def _noting(self, nth: int, to_input: Rule) -> Rule:
        def noted(grad: Array) -> Any:
            self.given.append((nth, np.array(grad, dtype=float)))
            return to_input(grad)

        return noted

    def worst(self) -> float:
        """The largest difference that central differences show for the gradients that were given."""
        return max((float(np.max(np.abs(w - r))) for w, r in self._pairs()), default=0.0)

    def _pairs(self) -> list[tuple[Array, Array]]:
        wrong, right = self.wrong(*self.arrays)[1:], self.right(*self.arrays)[1:]
        shapes = [array.shape for array in self.arrays]
        return [
            (np.broadcast_to(wrong[n](g), shapes[n]), np.broadcast_to(right[n](g), shapes[n]))
            for n, g in self.given
        ]

    def alike(self) -> bool:
        """Whether all that was given is the same number everywhere, where it could differ."""
        several = [grad for _, grad in self.given if grad.size > 1]
        return bool(several) and all(np.ptp(grad) == 0 for grad in several)


def _off_at(place: tuple[int, ...], by: float) -> Rule:
    def to_input(grad: Array, x: Array) -> Array:
        given = grad * np.cos(x)
        given[place] += by
        return given

    return lambda x: (np.sin(x), lambda grad: to_input(grad, x))


def _sine(x: Array) -> tuple[Any, ...]:
    return np.sin(x), lambda grad: grad * np.cos(x)


def _square(x: Array) -> tuple[Any, ...]:
    return x * x, lambda grad: grad * 2 * x


def planted_rules(a: Array, b: Array) -> list[Planted]:
    """Rules with mistakes, for two arrays of one shape with two axes."""
    mul, transpose = RULES["mul"], lambda x: (x.T, lambda g: g.T)
    last = (a.shape[0] - 1, a.shape[1] - 1)
    square = a[:2, :2]
    return [
        Planted("leaves out a factor 2", lambda x: (x * x, lambda g: g * x), _square, [a[0, :1]]),
        Planted(
            "gives twice the gradient", lambda x: (x * x, lambda g: g * 4 * x), _square, [a[0]]
        ),
        Planted(
            "is wrong for its first input",
            lambda x, y: (x * y, lambda g: g, lambda g: g * x),
            mul,
            [a, b],
        ),
        Planted(
            "is wrong for its second input",
            lambda x, y: (x * y, lambda g: g * y, lambda g: g),
            mul,
            [a, b],
        ),
        Planted("is half a unit high for its first element", _off_at((0, 0), 0.5), _sine, [a]),
        Planted("is half a unit low for its last element", _off_at(last, -0.5), _sine, [a]),
        Planted("does not transpose back", lambda x: (x.T, lambda g: g), transpose, [square]),
        Planted(
            "forgets the gradient of its sum",
            lambda x: (x.sum(), lambda g: x * 0 + 3.0),
            lambda x: (x.sum(), lambda g: x * 0 + g),
            [b[0]],
        ),
    ]


def nan_rule(x: Array) -> tuple[Any, ...]:
    return x * 1.0, lambda grad: np.where(np.arange(x.size).reshape(x.shape) == 1, np.nan, grad)


def right_rules(a: Array, b: Array) -> list[tuple[str, Rule, list[Array]]]:
    return [
        ("x * x", _square, [a[0, :1]]),
        ("mul", RULES["mul"], [a, b]),
        ("div", RULES["div"], [a, b]),
        ("tanh", RULES["tanh"], [a[0]]),
        ("matmul", RULES["matmul"], [a, b.T]),
    ]


def arrays_of(rng: Any) -> tuple[Array, Array]:
    return rng.uniform(0.3, 1.5, size=(2, 3)), rng.uniform(0.3, 1.5, size=(2, 3))
