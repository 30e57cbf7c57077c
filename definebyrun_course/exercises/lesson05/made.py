"""What rules are asked, and what they must return, read or refused in words: a result, a function for each input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ...grading import drawn, expect, forms, shown
from ...pieces.engine_rules import Array

__all__ = ["Rule", "cases", "parts_of", "passed"]

Rule = Callable[..., Any]
NUMBERS = ("no", "one", "two")


def cases(listed: Iterable[Any]) -> Iterator[tuple[Array, str]]:
    """What a rule along the last axis is asked, with words for it: what is listed, of three axes, and drawn anew."""
    for numbers in listed:
        yield np.array(numbers), shown(np.array(numbers))
    rng = np.random.default_rng(0)
    for shape in ((2, 3, 5), (4, 1, 2)):
        yield rng.normal(size=shape), f"an array of shape {shape}"
    draw = drawn()
    for scale in (1.0, 300.0):
        shape = (draw.whole(1, 3), draw.whole(2, 4), draw.whole(2, 5))
        yield (scale * draw.normal(*shape)).numpy(), f"an array of shape {shape} ({draw})"


def parts_of(made: Any, name: str, inputs: tuple[str, ...]) -> tuple[Array, tuple[Rule, ...]]:
    """The result of a rule, and its functions; a rule that returned something else is refused."""
    count = len(inputs)
    right = isinstance(made, (tuple, list)) and len(made) == 1 + count
    functions = f"{NUMBERS[count]} function{'s' * (count > 1)}"
    expect(
        right and all(map(callable, made[1:])),
        f"{name} returns the result and {functions}, from its gradient to that of {' and '.join(inputs)}; "
        f"yours returned {_said(made)}.",
        "Compare with a line of RULES: (result, lambda grad: …).",
    )
    return forms.array(made[0], "The rule"), tuple(made[1:])


def passed(function: Rule, grad: Array, what: str) -> Array:
    """What a gradient function gives; one that writes into the gradient that it was given is refused."""
    kept = grad.copy()
    given = forms.array(function(grad), "The gradient function")
    expect(
        np.array_equal(grad, kept),
        f"For {what} your gradient function has written into the gradient that it was given.",
        "Others may hold that array: work on something new.",
    )
    return given


def _said(made: Any) -> str:
    parts = made if isinstance(made, (tuple, list)) else [made]
    return ", ".join("a function" if callable(part) else shown(part) for part in parts) or "nothing"
