"""Exercise `sizes`: how many nodes the graphs of a loop have."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...grading import Exercise, Right, Wrong, expect, forms
from ..graphs import nodes_of

__all__ = ["EXERCISE"]

ASKED = (2, 7, 16)
KINDS = (
    (
        [1, 4, 4],
        "Those are the multiplications.",
        "x is a leaf that asks for gradients, and has a node as well.",
    ),
    (
        [3, 7, 6],
        "With these numbers x has a node for each time it is used.",
        "A leaf that is used often is one leaf.",
    ),
    (
        [2, 7, 16],
        "Those would be the nodes of x * x * … * x, with n factors.",
        "The loop halves n where it can: how often does it run?",
    ),
    (
        [2, 3, 5],
        "Those count the squarings, and leave out what is done for an odd n.",
        "For an odd n the loop runs as well: it multiplies by x.",
    ),
    (
        [3, 6, 6],
        "That is one node more for each graph than there is.",
        "y = x gives x a second name; no operation runs, and no node comes of it.",
    ),
)


def g(x: Tensor, n: int) -> Tensor:
    """The exercise's function."""
    y = x
    while n > 1:
        y = y * y if n % 2 == 0 else y * x
        n = n // 2 if n % 2 == 0 else n - 1
    return y


def check_sizes(sizes: Any) -> None:
    """The answer is the number of nodes of the graphs of g(x, 2), g(x, 7) and g(x, 16)."""
    mine = forms.wholes(sizes, "The answer", len(ASKED))
    for numbers, message, hint in KINDS:
        expect(mine != numbers, message, hint)
    x = torch.tensor(1.0, requires_grad=True)
    expect(
        mine == [len(nodes_of(g(x, n))) for n in ASKED],
        f"{mine} is not right.",
        "For each of the three write down the values of n, one for each time round. One operation runs each time.",
    )


EXERCISE = Exercise(
    "sizes",
    "One node for each time round, and the leaf.",
    check_sizes,
    (
        Wrong("without the leaf", [1, 4, 4], "Those are the multiplications"),
        Wrong("a leaf for each use", [3, 7, 6], "each time it is used"),
        Wrong("n factors", [2, 7, 16], "with n factors"),
        Wrong("squarings alone", [2, 3, 5], "count the squarings"),
        Wrong("a node for y = x", [3, 6, 6], "one node more for each graph"),
        Wrong("another number", [2, 5, 6], "[2, 5, 6] is not right"),
        Wrong("two numbers", [2, 5], "yours has 2"),
        Wrong("halves", [2, 5, 5.5], "Entry 3 is a whole number"),
    ),
    right=(
        Right("an array", np.array([2, 5, 5])),
        Right("a tensor", torch.tensor([2, 5, 5])),
        Right("a tuple of floats", (2.0, 5.0, 5.0)),
    ),
)
