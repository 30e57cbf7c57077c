"""Exercise `by_hand`: `u.grad` and `v.grad` of `(u * v + u).pow(2).sum()`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...grading import Exercise, Right, Wrong, expect, forms, near, shown

__all__ = ["EXERCISE"]

MAX_DEPTH = 3


def check_grads(grads: Any) -> None:
    """The answer is `[u.grad, v.grad]` for u = [1, 2] and v = 3."""
    parts = _flat(grads)
    expect(
        len(parts) != 4,
        "You gave two numbers for v, which is one number.",
        "v was broadcast: one number was used twice, and each use sends something back.",
    )
    expect(
        len(parts) == 3,
        f"The answer is [[., .], .], two numbers for u and one for v; this is {forms.said(grads)}.",
        "A gradient has the shape of its tensor.",
    )
    mine = forms.numbers(parts)
    u, v = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor(3.0, requires_grad=True)
    s = u * v + u
    s.pow(2).sum().backward()
    s, of_u, of_v = s.detach(), u.grad, v.grad
    u, v = u.detach(), v.detach()
    for kind, message, hint in (
        (
            2 * s * v,
            "what comes through the product",
            "u is used twice: a second edge leads to it, from the addition.",
        ),
        (
            2 * s,
            "what comes straight from the addition",
            "u is used twice: a second edge leads to it, through the product.",
        ),
        (
            s * (v + 1),
            "what comes back if a square passes on what it was given",
            "pow(2) has the derivative 2 * s.",
        ),
    ):
        expect(not near(mine[:2], kind), f"{shown(mine[:2])} for u is {message}.", hint)
    for number, message, hint in (
        *(
            (
                each,
                "one of the two numbers that come back to v",
                "v was used for both numbers of u.",
            )
            for each in 2 * s * u
        ),
        (
            (s * u).sum(),
            "what comes back to v if a square passes on what it was given",
            "pow(2) has the derivative 2 * s.",
        ),
        (
            (2 * s).sum(),
            "what arrives at the product, added up",
            "The product sends on what arrives, times its other factor.",
        ),
    ):
        expect(not near(mine[2], number), f"{shown(mine[2])} for v is {message}.", hint)
    expect(
        near(mine[:2], of_u) and near(mine[2], of_v),
        f"[{shown(mine[:2])}, {shown(mine[2])}] is not right.",
        "First compute s = u * v + u and what the square sends to it; then follow every edge back to u and to v, "
        "and add where several meet.",
    )


def _flat(answer: Any, depth: int = 0) -> list[Any]:
    if isinstance(answer, (torch.Tensor, np.ndarray)):
        return list(answer.reshape(-1))
    if isinstance(answer, (list, tuple)) and depth < MAX_DEPTH:
        return [number for part in answer for number in _flat(part, depth + 1)]
    return [answer]


EXERCISE = Exercise(
    "by_hand",
    "Both edges to u, and the sum for v.",
    check_grads,
    (
        Wrong("the product alone", [[24.0, 48.0], 40.0], "what comes through the product"),
        Wrong("the addition alone", [[8.0, 16.0], 40.0], "straight from the addition"),
        Wrong("s instead of 2 s", [[16.0, 32.0], 20.0], "for u is what comes back if"),
        Wrong("s instead of 2 s, for v", [[32.0, 64.0], 20.0], "for v is what comes back to v if"),
        Wrong("one use of v", [[32.0, 64.0], 8.0], "one of the two numbers"),
        Wrong("the other use of v", [[32.0, 64.0], 32], "one of the two numbers"),
        Wrong("times nothing", [[32.0, 64.0], 24.0], "arrives at the product"),
        Wrong("v not summed", [[32.0, 64.0], [8.0, 32.0]], "You gave two numbers for v"),
        Wrong("another number", [[32.0, 63.0], 40.0], "[[32, 63], 40] is not right"),
        Wrong("v alone", 40.0, "two numbers for u and one for v"),
        Wrong("a text", [["32", 64], 40], "Entry 1 is a number"),
    ),
    right=(
        Right("whole numbers", [[32, 64], 40]),
        Right("tensors", (torch.tensor([32.0, 64.0]), torch.tensor(40.0))),
        Right("arrays", [np.array([32.0, 64.0]), np.float32(40.0)]),
        Right("v as a list", [[32, 64], [40]]),
    ),
)
