"""Exercise `accumulated`: what is in x.grad after a backward pass through x.grad."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...grading import Exercise, Right, Wrong, expect, forms, near

__all__ = ["EXERCISE"]

FIRST, SECOND, VALUE = 32.0, 48.0, 16.0
KNOWN = {
    SECOND: ("That is the second derivative alone.", "What does backward do with what is in .grad already?"),
    FIRST: ("That is the first derivative alone.", "x.grad.backward() reaches the leaf x, too."),
    2 * FIRST: ("That is the first derivative twice.", "The second pass starts from x.grad, not from y."),
    2 * SECOND: ("That is the second derivative twice.", "What did the first pass leave in x.grad?"),
    FIRST * SECOND: (
        "That is the first derivative times the second.", "What does AccumulateGrad do with what it finds in .grad?"),
    VALUE: ("That is y itself.", "Each of the two passes leaves a derivative in x.grad, none the value."),
    0.0: ("Nothing resets x.grad between the two passes.", "Only the program does, with x.grad = None or zero_()."),
}  # fmt: skip


def check_number(number: Any) -> None:
    """The answer is the number in `x.grad`: the first derivative and the second, added."""
    found = forms.number(number)
    for value, (message, hint) in KNOWN.items():
        expect(not near(found, value), message, hint)
    expect(
        near(found, FIRST + SECOND),
        f"{found:.6g} is not in x.grad.",
        "Write down y' and y'' at 2. Which pass puts which of them there, and what happens to what is there already?",
    )


EXERCISE = Exercise(
    "accumulated",
    "The first pass puts y' there, the second adds y'' to it.",
    check_number,
    (
        Wrong("the second derivative", 48.0, "second derivative alone"),
        Wrong("the first derivative", 32.0, "first derivative alone"),
        Wrong("the first one twice", 64, "first derivative twice"),
        Wrong("the second one twice", np.float64(96), "second derivative twice"),
        Wrong("multiplied", 1536, "times the second"),
        Wrong("the value", torch.tensor(16.0), "y itself"),
        Wrong("reset", 0, "Nothing resets"),
        Wrong("another number", 81, "81 is not in x.grad"),
        Wrong("nan", float("nan"), "nan is not in x.grad"),
        Wrong("a list", [32.0, 48.0], "this is [32.0, 48.0]"),
        Wrong("a truth", True, "this is True"),
    ),
    right=(
        Right("x.grad itself", torch.tensor(80.0, requires_grad=True)),
        Right("a whole number", 80),
        Right("NumPy's", np.float32(80)),
        Right("an array with one number", np.array([80])),
    ),
)
