"""Exercise `first_loss`: the loss of a network that knows nothing, and of one that knows how frequent classes are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...grading import Exercise, Right, Wrong, apart, drawn, expect, forms, near, tried

__all__ = ["EXERCISE"]

CASES: tuple[list[int], ...] = (
    [1, 1],
    [5],
    [2, 2, 2],
    [9, 1],
    [1, 2, 5],
    [4, 0, 4],
    [0, 7],
    [900, 90, 10],
)
"""Numbers of examples by class; from the smallest up."""  # fmt: skip
FIRST = "Equal logits give each of the classes the same probability, whether it occurs or not."
SECOND = (
    "Each example costs minus the logarithm of the share of its class: the mean over all examples."
)


def right_result(counts: Sequence[int]) -> tuple[float, float]:
    total = sum(counts)
    shares = [count / total for count in counts if count]
    return math.log(len(counts)), -sum(share * math.log(share) for share in shares) + 0.0


def check_first_loss(first_loss: Callable[..., Any]) -> None:
    """`first_loss(counts)` gives the loss with equal logits, and the least loss that one answer for all can have."""
    for counts in CASES:
        _ask(first_loss, counts)
    draw = drawn()
    _ask(first_loss, [draw.whole(0, 30) for _ in range(draw.whole(3, 7))] + [3], f" ({draw})")


def _ask(first_loss: Any, counts: list[int], seed: str = "") -> None:
    with np.errstate(all="ignore"):
        found = forms.numbers(first_loss(list(counts)), "The answer", 2)
    want, where = right_result(counts), f"for counts {counts}{seed}"
    expect(
        near(want[0], want[1]) or not near(found, want[::-1]),
        f"The two losses are exchanged, {where}.",
        "Equal logits come first.",
    )
    for nth, (one, other, hint) in enumerate(zip(found, want, (FIRST, SECOND), strict=True)):
        name = ("first", "second")[nth]
        texts = apart(one, other)
        expect(
            not near(one * math.log(2), other) or near(one, other),
            f"The {name} loss is in bits, {where}.",
            "PyTorch's cross-entropy takes natural logarithms.",
        )
        expect(
            near(one, other, atol=1e-6),
            f"The {name} loss is {texts[0]}, not {texts[1]}, {where}.",
            hint,
        )


# ---- right answers, found in other ways ----


def by_torch(counts: Sequence[int]) -> list[float]:
    """By the loss itself, on all the examples."""
    import torch

    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    size = torch.tensor(counts, dtype=torch.float64)
    flat = torch.zeros(len(y), len(counts), dtype=torch.float64)
    known = (size / size.sum()).log().clamp(min=-1e9).expand(len(y), -1)
    loss = torch.nn.functional.cross_entropy
    return [loss(flat, y).item(), loss(known, y).item()]


def by_numpy(counts: Sequence[int]) -> tuple[Any, Any]:
    sizes = np.array([count for count in counts if count > 0], float)
    return np.log(len(counts)), np.log(sizes.sum()) - (sizes * np.log(sizes)).sum() / sizes.sum()


# ---- wrong answers ----


def _made(
    counts: Sequence[int], log: Any = math.log, present: bool = False, top: bool = False, sign: int = 1,
    turned: bool = False, over: str = "share", keep: bool = False,
) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    total = sum(counts)
    shares = [count / total for count in counts if count or keep]
    first = log(len(shares) if present else len(counts))
    second = -sign * sum(s * log(s) for s in shares)
    if over == "class":
        second = -sum(log(s) for s in shares) / len(shares)
    if over == "sum":
        second *= total
    second = -log(max(shares)) if top else second
    return (second, first) if turned else (first, second)


WRONG = {
    "bits": (partial(_made, log=math.log2), "is in bits"),
    "classes that occur": (partial(_made, present=True), "for counts [4, 0, 4]"),
    "a class without examples": (partial(_made, keep=True), "ValueError"),
    "the most frequent class alone": (partial(_made, top=True), "The second loss is 0.1054"),
    "the other sign": (partial(_made, sign=-1), "The second loss is -0.6931"),
    "exchanged": (partial(_made, turned=True), "exchanged"),
    "a mean over the classes": (partial(_made, over="class"), "The second loss is 1.204"),
    "a sum over the examples": (partial(_made, over="sum"), "The second loss is 1.386"),
    "the same for both": (lambda counts: [math.log(len(counts))] * 2, "The second loss is 0.6931, not 0.3251"),
    "the examples counted": (
        lambda counts: (math.log(sum(counts)), right_result(counts)[1]), "The first loss is 1.609"),
    "one number": (lambda counts: math.log(len(counts)), "The answer is a sequence"),
}  # fmt: skip


def oracle(first_loss: Callable[..., Any]) -> Any:
    """Both losses for many counts."""

    def told(counts: list[int]) -> Any:
        with np.errstate(all="ignore"):
            return [round(v, 5) + 0.0 for v in forms.numbers(first_loss(counts), "The answer", 2)]

    wide = [*CASES, [1], [3, 1, 4, 1, 5, 9, 2], [1, 1000], [0, 0, 2], [10**6, 1, 1]]
    return [tried(told, list(counts)) for counts in wide]


EXERCISE = Exercise(
    "first_loss",
    "What a network without knowledge loses, and what one number for each class can save.",
    check_first_loss,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by the loss itself", by_torch), Right("by NumPy", by_numpy)),
    oracle=oracle,
)
