"""Exercise `kept`: the bytes that the graph of `((w + x).exp() * x).sum()` keeps alive."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...grading import Exercise, Right, Wrong, expect, forms

__all__ = ["EXERCISE"]

SAID = {
    4000: (
        "4000 bytes are one tensor of 1,000 numbers: one operation's need, and another has one as well.",
        "For each operation write down its derivative. Which tensor stands in it?",
    ),
    12000: (
        "12000 bytes hold something that only a gradient of x would need.",
        "x asks for nothing. Which factor does the product need for the gradient of the other one?",
    ),
    16000: (
        "16000 bytes are every tensor in the line.",
        "A sum has the derivative 1: what has an addition to keep?",
    ),
    2000: ("2000 are numbers, not bytes.", "A float32 has four bytes."),
    16004: (
        "16004 bytes are every tensor in the line, and the result.",
        "A sum has the derivative 1: what has it to keep?",
    ),
}


def check_kept(kept: Any) -> None:
    """The answer is a whole number of bytes."""
    number = forms.whole(kept)
    expect(number not in SAID, *SAID.get(number, ("", "")))
    expect(
        number == 8000,
        f"{number} is not it.",
        "Go through add, exp, mul and sum one by one. Which tensor stands in the derivative for the input that asks? "
        "Two operations that need the same memory keep it once.",
    )


EXERCISE = Exercise(
    "kept",
    "The result of exp, and the factor x.",
    check_kept,
    (
        Wrong("numbers, not bytes", 2000, "not bytes"),
        Wrong("one of the two", 4000, "one operation's need"),
        Wrong("both factors, and the input of exp", 12000, "only a gradient of x would need"),
        Wrong("every tensor", 16000, "every tensor in the line."),
        Wrong("every tensor and the result", 16004, "and the result"),
        Wrong("eight kilobytes", 8192, "8192 is not it"),
        Wrong("a truth value", True, "is a whole number; this is True"),
        Wrong("a text", "8000", "this is '8000'"),
    ),
    right=(
        Right("a float", 8000.0),
        Right("a tensor", torch.tensor(8000)),
        Right("a number of NumPy", np.int64(8000)),
    ),
)
