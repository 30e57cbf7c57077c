"""Exercise `graph_counts`: how many graphs are captured, call by call."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...grading import Exercise, Right, Wrong, expect, forms

__all__ = ["EXERCISE"]

CALLS = 5
RIGHT = [2, 2, 3, 4, 4]
"""Lesson 10's tests ask `torch.compile` for these numbers."""
KINDS = (
    (
        [2, 4, 6, 8, 10],
        "With these numbers every call has new graphs.",
        "A graph is used again while its guards hold; the numbers in a tensor are not guarded.",
    ),
    (
        [2, 2, 2, 4, 4],
        "With these numbers both branches behind the condition are one graph.",
        "Which branch is taken is decided in Python: a graph holds only what ran.",
    ),
    (
        [2, 2, 3, 5, 5],
        "With these numbers another flag makes both pieces anew.",
        "Which of the two pieces looks at the flag? The other one has no guard for it.",
    ),
    (
        [2, 2, 3, 4, 5],
        "With these numbers the piece behind the break is captured again for another flag.",
        "The piece behind the break knows nothing of the flag.",
    ),
    (
        [2, 2, 3, 3, 3],
        "With these numbers a graph is used again although the flag is another one.",
        "The flag is a Python value: the graph that saw True has a guard for it.",
    ),
)


def check_counts(counts: Any) -> None:
    """The answer is the number of graphs captured after each of five calls of `k`."""
    mine = forms.wholes(counts, "The answer", CALLS)
    expect(
        mine[0] != 1,
        "With these numbers the first call makes a single graph.",
        "The second if asks for a number that is in a tensor: what is before it is one graph.",
    )
    expect(
        mine == sorted(mine),
        "The number of graphs cannot fall: a graph that was captured is kept.",
        "The counts are of all graphs so far.",
    )
    for numbers, message, hint in KINDS:
        expect(mine != numbers, message, hint)
    expect(
        mine == RIGHT,
        f"{mine} is not right.",
        "Write down, for each call, the flag and the branch behind the condition. Which piece looks at the flag, and "
        "which one holds the branch? Each is captured once.",
    )


EXERCISE = Exercise(
    "graph_counts",
    "Two at the break, one for each new branch, one for each failed guard.",
    check_counts,
    (
        Wrong("one graph a call", [1, 1, 1, 1, 1], "makes a single graph"),
        Wrong("new graphs each time", [2, 4, 6, 8, 10], "every call has new graphs"),
        Wrong(
            "one piece behind the break",
            [2, 2, 2, 4, 4],
            "both branches behind the condition are one",
        ),
        Wrong("both pieces again", [2, 2, 3, 5, 5], "another flag makes both pieces"),
        Wrong("behind the break again", [2, 2, 3, 4, 5], "is captured again for another flag"),
        Wrong("no guard for the flag", [2, 2, 3, 3, 3], "although the flag is another one"),
        Wrong("new ones alone", [2, 0, 1, 1, 0], "cannot fall"),
        Wrong("other numbers", [2, 3, 3, 4, 4], "[2, 3, 3, 4, 4] is not right"),
        Wrong("four numbers", [2, 2, 3, 4], "yours has 4"),
    ),
    right=(
        Right("an array", np.array(RIGHT)),
        Right("a tensor", torch.tensor(RIGHT)),
        Right("a tuple of floats", tuple(map(float, RIGHT))),
    ),
)
