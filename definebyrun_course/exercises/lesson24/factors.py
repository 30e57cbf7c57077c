"""Exercise `factors`: factors for batches of unequal size."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ...grading import Drawn, Exercise, Right, Wrong, counted, drawn, expect, forms, near, tried
from ..mistakes import then

__all__ = ["EXERCISE"]

SIZES = ([1], [4], [2, 2], [1, 2], [9, 3], [3, 9], [1, 2, 5], [0, 4], [7, 0, 3], [1000, 1], [3] * 8)
"""Rows of each rank; from the smallest up."""
OFF_TIES = 1.0003
"""Times this, no quotient of small numbers lies between two rounded ones."""
ROW = "How much should one row count in the end, and how much does it count now?"


def check_factors(factors: Callable[..., Any]) -> None:
    """`factors(sizes)` gives each rank the number by which it multiplies its mean loss."""
    for sizes in SIZES:
        _ask(factors, sizes)
    draw = drawn()
    _ask(factors, [draw.whole(1, 20) for _ in range(draw.whole(2, 5))], f" ({draw})")


def _ask(factors: Any, sizes: list[int], seed: str = "") -> None:
    case, world, rows = f"for {sizes}{seed}", len(sizes), sum(sizes)
    found = forms.sequence(factors(list(sizes)), "The list of factors")
    expect(
        len(found) == world,
        f"There is one factor for each of {counted(world, 'rank')}; yours has {len(found)}, {case}.",
        "In the order of sizes.",
    )
    numbers = [forms.number(f, f"Factor {rank + 1}") for rank, f in enumerate(found)]
    broken = [f for f in numbers if not math.isfinite(f)]
    expect(
        not broken,
        f"A factor is {broken[0] if broken else 0}, {case}.",
        "A rank with no rows has the loss 0; times nan or inf it would be nan.",
    )
    weights = {
        rank: f / world / n for rank, (f, n) in enumerate(zip(numbers, sizes, strict=True)) if n
    }
    if near(list(weights.values()), [1 / rows] * len(weights), rtol=1e-5):
        return
    _say_which(weights, sizes, case)


def _say_which(weights: dict[int, float], sizes: list[int], case: str) -> None:
    """What one row counts in the average of all ranks, for each rank that has rows."""
    world, rows = len(sizes), sum(sizes)
    ratios = [weight * rows for weight in weights.values()]
    is_even = near(ratios, [ratios[0]] * len(ratios), rtol=1e-5)
    few = near(ratios[0] * world, 1.0, rtol=1e-5)
    expect(
        not (is_even and few),
        f"All rows count the same, and the averaged gradient is {world} times smaller than the joined batch's, {case}.",
        "DDP divides by the number of processes after you have weighted.",
    )
    expect(
        not is_even,
        f"All rows count the same, but the averaged gradient is {ratios[0]:.4g} times the joined batch's, {case}.",
        "What all factors together do is divided by the number of processes. What should be left?",
    )
    ranks = list(weights)
    by_size = sorted(ranks, key=lambda rank: weights[rank])
    low, high = by_size[0], by_size[-1]
    expect(
        False,
        f"A row of rank {high} counts {weights[high] / (weights[low] or math.inf):.4g} times as much as a row of "
        f"rank {low}, {case}."
        if weights[low]
        else f"A row of rank {low} does not count at all, {case}.",
        ROW,
    )


# ---- right answers, found in other ways ----


def by_tensor(sizes: list[int]) -> Tensor:
    """Against the mean size."""
    rows = torch.tensor(sizes, dtype=torch.float32)
    return rows / rows.mean()


def by_fractions(sizes: list[int]) -> Any:
    """Exact, and 1 for a rank without rows."""
    return (Fraction(n * len(sizes), sum(sizes)) if n else 1 for n in sizes)


# ---- wrong answers ----


def _some(sizes: list[int]) -> int:
    return sum(n > 0 for n in sizes)


WRONG = {
    "plain mean": (lambda sizes: [1.0] * len(sizes), "A row of rank 0 counts 2 times as much as"),
    "no world": (lambda s: [n / sum(s) for n in s], "2 times smaller than the joined batch's, for [2, 2]"),
    "rows": (lambda sizes: [float(n) for n in sizes], "the averaged gradient is 4 times the joined"),
    "not over the sum": (lambda s: [n * len(s) for n in s], "the averaged gradient is 4 times the joined"),
    "world twice": (lambda s: [n * len(s) ** 2 / sum(s) for n in s], "the averaged gradient is 2 times the joined"),
    "inverse": (lambda s: [sum(s) / (n * len(s)) if n else 0 for n in s], "A row of rank 0 counts 4 times as much as"),
    "against the largest": (lambda s: [n / max(s) for n in s], "the averaged gradient is 0.75 times the joined"),
    "against the first": (lambda s: [n / (s[0] or 1) for n in s], "the averaged gradient is 1.5 times the joined"),
    "ranks with rows": (
        lambda s: [n * _some(s) / sum(s) for n in s], "2 times smaller than the joined batch's, for [0, 4]"),
    "whole numbers": (lambda s: [n * len(s) // sum(s) for n in s], "A row of rank 0 does not count at all, for [1, 2]"),
    "roots": (lambda s: [(n * len(s) / sum(s)) ** 0.5 for n in s], "1.414 times as much"),
    "the other order": (lambda s: [n * len(s) / sum(s) for n in s[::-1]], "A row of rank 0 counts 4 times as much as"),
    "nan for no rows": (lambda s: [n * len(s) / sum(s) if n else math.nan for n in s], "A factor is nan, for [0, 4]"),
    "no factor for no rows": (lambda s: [n * len(s) / sum(s) for n in s if n], "yours has 1, for [0, 4]"),
    "one number": (lambda s: len(s) / sum(s), "The list of factors is a sequence"),
    "sizes overwritten": (then(lambda s: [n * len(s) / sum(s) for n in s], lambda s: s.clear()), "is not what it was"),
}  # fmt: skip


def oracle(factors: Callable[..., Any]) -> Any:
    """The factors of the ranks that have rows, whether the others are finite, and the sizes afterwards."""

    def told(sizes: list[int]) -> Any:
        rows = list(sizes)
        found = [forms.number(f) for f in factors(sizes)]
        if len(found) != len(rows):
            return len(found)
        return [
            float(f"{f * OFF_TIES:.3g}") if n else math.isfinite(f)
            for f, n in zip(found, rows, strict=True)
        ]

    draw = Drawn(0)
    wide = [list(sizes) for sizes in (*SIZES, [7] * 7, [1] * 64, [0, 0, 5], [10**9, 1])]
    wide += [[draw.whole(0, 9) for _ in range(draw.whole(1, 7))] + [1] for _ in range(30)]
    return [tried(told, sizes) for sizes in wide]


EXERCISE = Exercise(
    "factors",
    "Every row counts the same, whatever process it is on.",
    check_factors,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("against the mean size", by_tensor), Right("by fractions", by_fractions)),
    oracle=oracle,
)
