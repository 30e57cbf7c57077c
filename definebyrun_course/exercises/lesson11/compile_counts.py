"""Exercise `compile_counts`: how many graphs a compiled module has, call by call."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...grading import Exercise, Right, Wrong, expect, forms

__all__ = ["EXERCISE"]

CALLS = 7
RIGHT = [1, 1, 2, 2, 3, 4, 4]
"""Lesson 11's tests ask `torch.compile` for these numbers."""
KINDS = (
    (
        [1, 2, 3, 4, 5, 6, 7],
        "With these numbers every call is captured anew.",
        "A graph is used again while its guards hold. Which of these calls differ in something that is guarded?",
    ),
    (
        [1, 2, 3, 3, 4, 5, 5],
        "With these numbers the values in a tensor are guarded.",
        "Dtype, sizes and flags are guarded; what a tensor holds is not.",
    ),
    (
        [1, 1, 2, 3, 4, 5, 6],
        "With these numbers each length has a graph of its own.",
        "What does the default of `dynamic` do after the second length?",
    ),
    (
        [1, 1, 1, 1, 2, 3, 3],
        "With these numbers the first graph serves all lengths.",
        "The default of `dynamic` takes a size for fixed until it meets another one.",
    ),
    (
        [1, 1, 2, 2, 2, 3, 3],
        "With these numbers the graph of training mode is used in evaluation mode.",
        "Dropout asks for `training`, a flag of Python.",
    ),
    (
        [1, 1, 2, 2, 3, 3, 3],
        "With these numbers a graph that records gradients is used under no_grad.",
        "The parameters require gradients. Is grad mode guarded?",
    ),
    (
        [1, 1, 2, 2, 3, 4, 5],
        "With these numbers the return to training mode is captured anew.",
        "Old graphs are kept. Is there one whose guards all hold?",
    ),
)


def check_counts(counts: Any) -> None:
    """The answer is the number of graphs captured after each of seven calls."""
    mine = forms.wholes(counts, "The answer", CALLS)
    expect(
        mine == sorted(mine),
        "The number of graphs cannot fall: a graph that was captured is kept.",
        "The counts are of all graphs so far.",
    )
    expect(
        mine[0] == 1,
        "The first call makes another number of graphs.",
        "Is there a line in this module at which Python has to run between two operations?",
    )
    for numbers, message, hint in KINDS:
        expect(mine != numbers, message, hint)
    expect(
        mine == RIGHT,
        f"{mine} is not right.",
        "Write down for each call: rows, training, grad mode. Which entries of earlier calls fit all three?",
    )


EXERCISE = Exercise(
    "compile_counts",
    "A new length once, each mode once, and values never.",
    check_counts,
    (
        Wrong("each call", [1, 2, 3, 4, 5, 6, 7], "every call is captured anew"),
        Wrong("values guarded", [1, 2, 3, 3, 4, 5, 5], "the values in a tensor are guarded"),
        Wrong("each length", [1, 1, 2, 3, 4, 5, 6], "each length has a graph of its own"),
        Wrong("symbols from the start", [1, 1, 1, 1, 2, 3, 3], "serves all lengths"),
        Wrong("no guard on training", [1, 1, 2, 2, 2, 3, 3], "is used in evaluation mode"),
        Wrong("no guard on grad mode", [1, 1, 2, 2, 3, 3, 3], "is used under no_grad"),
        Wrong("nothing is kept", [1, 1, 2, 2, 3, 4, 5], "the return to training mode"),
        Wrong("broken at dropout", [2, 2, 4, 4, 6, 8, 8], "another number of graphs"),
        Wrong("new ones alone", [1, 0, 1, 0, 1, 1, 0], "cannot fall"),
        Wrong("other numbers", [1, 1, 2, 2, 4, 4, 4], "[1, 1, 2, 2, 4, 4, 4] is not right"),
        Wrong("six numbers", [1, 1, 2, 2, 3, 4], "yours has 6"),
    ),
    right=(
        Right("an array", np.array(RIGHT)),
        Right("a tensor", torch.tensor(RIGHT)),
        Right("a tuple of floats", tuple(map(float, RIGHT))),
    ),
)
