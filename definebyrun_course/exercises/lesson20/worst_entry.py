"""Exercise `worst_entry`: the largest relative error, with a floor."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...grading import Exercise, Right, Wrong, apart, drawn, expect, forms, near, shown, tried
from ..mistakes import then

__all__ = ["EXERCISE"]

INF, NAN = math.inf, math.nan
SIZE = "Entry by entry: |a - n|, divided by the largest of |a|, |n| and floor."
Case = tuple[list[Any] | float, list[Any] | float, float, float, str]
CASES: tuple[Case, ...] = (
    ([2.0], [4.0], 0.0, 0.5, SIZE),
    ([4.0], [2.0], 0.0, 0.5, "The larger of both may be on either side."),
    (3.0, 3.0, 0.0, 0.0, "Equal entries have the error 0."),
    ([-4.0], [2.0], 0.0, 1.5, "Below stands a size, not a signed number."),
    ([2.0], [-4.0], 0.0, 1.5, "Below stands a size, not a signed number."),
    ([0.0], [0.0], 0.0, 0.0, "Two zeros are equal: 0 divided by 0 is not what is asked for."),
    (
        [0.0, 0.001],
        [0.001, 0.001],
        0.1,
        0.01,
        "Where both are smaller than floor, floor stands below.",
    ),
    ([0.5], [0.25], 0.1, 0.5, "Above the floor, the floor has no part in it."),
    (
        [1.0, 2.0, 8.0],
        [1.0, 4.0, 7.0],
        0.0,
        0.5,
        "The largest of all entries, each with its own size.",
    ),
    (
        [[1.0, 1.0], [3.0, 2.0]],
        [[1.0, 1.0], [3.0, 1.0]],
        0.0,
        0.5,
        "No entry hides behind the others.",
    ),
    (
        [100.0, 0.001],
        [100.0, 0.002],
        0.0,
        0.5,
        "A small entry counts like a large one: no norm over all.",
    ),
    (
        [1.0, NAN],
        [1.0, 2.0],
        0.1,
        INF,
        "A nan wins no comparison: look where it ends up in the maximum.",
    ),
    ([1.0, 2.0], [NAN, 2.0], 0.1, INF, "In either of the two tensors."),
    ([NAN], [NAN], 0.1, INF, "Two nan are no equal entries."),
    ([INF], [1.0], 0.1, INF, "inf / inf is nan."),
    ([INF, 1.0], [INF, 2.0], 0.1, 0.5, "Two equal infinities are equal entries."),
    (
        [3e38],
        [-3e38],
        0.0,
        2.0,
        "In float32 the difference is an infinity; does the quotient survive?",
    ),
)
"""a, n, floor, the right answer and what to look at; the smallest first."""


def check_worst(worst_error: Callable[..., Any]) -> None:
    """`worst_error(a, n, floor)` is the largest relative error with a floor."""
    for dtype in (torch.float64, torch.float32):
        for a, n, floor, right, hint in CASES:
            right = INF if dtype == torch.float32 and a == [3e38] else right
            _ask(
                worst_error,
                torch.tensor(a, dtype=dtype),
                torch.tensor(n, dtype=dtype),
                floor,
                right,
                hint,
            )
    draw = drawn()
    for shape in ((5,), (2, 3, 2)):
        a, floor = draw.normal(*shape), draw.whole(0, 5) / 10
        n = a + draw.normal(*shape) / 10
        size = torch.maximum(a.abs(), n.abs()).clamp(min=floor)
        right = ((a - n).abs() / size).max().item()
        _ask(worst_error, a, n, floor, right, SIZE, f" ({draw})")


def _ask(
    worst_error: Any, a: Tensor, n: Tensor, floor: float, right: float, hint: str, seed: str = ""
) -> None:
    found = worst_error(a, n, floor)
    where = f"for a = {shown(a)}, n = {shown(n)}, floor = {floor:g}{seed}"
    missing = " Is a `return` missing?" if found is None else ""
    expect(
        isinstance(found, float),
        f"The answer should be a Python float; yours is {forms.said(found)}, {where}.{missing}",
        "A tensor with one element becomes a Python number by .item().",
    )
    texts = apart(found, right)
    expect(
        near(found, right, atol=1e-12),
        f"The worst error is {texts[1]}; yours is {texts[0]}, {where}.",
        hint,
    )


# ---- right answers, found in other ways ----


def by_entries(a: Tensor, n: Tensor, floor: float) -> float:
    worst = 0.0
    for one, two in zip(a.flatten().tolist(), n.flatten().tolist(), strict=True):
        if one == two:
            continue
        size = max(abs(one), abs(two), floor)
        error = abs(one - two) / size
        if a.dtype == torch.float32 and abs(one - two) > torch.finfo(torch.float32).max:
            error = INF
        worst = INF if math.isnan(error) else max(worst, error)
    return worst


def by_masks(a: Tensor, n: Tensor, floor: float) -> float:
    unlike = a != n
    if not unlike.any():
        return 0.0
    a, n = a[unlike], n[unlike]
    size = torch.stack([a.abs(), n.abs(), torch.full_like(a, floor)]).amax(0)
    error = (a - n).abs().div(size)
    return INF if bool(error.isnan().any()) else float(error.max())


# ---- wrong answers ----


def _worst(a: Tensor, n: Tensor, floor: float, nan: float | None = INF, size: Any = torch.maximum, equal: bool = True,
           end: Any = Tensor.max, posinf: bool = True, floors: Any = None, item: bool = True) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    below = size(a.abs(), n.abs())
    below = below.clamp(min=floor) if floors is None else floors(below, floor)
    error = (a - n).abs() / below
    error = torch.where(a == n, torch.zeros_like(error), error) if equal else error
    if nan is not None:
        error = error.nan_to_num(nan=nan, posinf=INF if posinf else None)
    worst = end(error)
    return worst.item() if item else worst


def _two_nan(a: Tensor, n: Tensor, floor: float) -> float:
    """Takes two nan for equal entries."""
    both = a.isnan() & n.isnan()
    return float(_worst(torch.where(both, 0.0, a), torch.where(both, 0.0, n), floor))


def _norms(a: Tensor, n: Tensor, floor: float) -> float:
    return ((a - n).norm() / max(a.norm().item(), n.norm().item(), floor, 1e-300)).item()


def _ignores_nan(a: Tensor, n: Tensor, floor: float) -> float:
    """Keeps the maximum with `>`, which is false for nan."""
    worst = 0.0
    for one, two in zip(a.flatten().tolist(), n.flatten().tolist(), strict=True):
        size = max(abs(one), abs(two), floor) or 1.0
        error = abs(one - two) / size
        if one != two and error > worst:
            worst = error
    return worst


WRONG = {
    "absolute": (lambda a, n, floor: (a - n).abs().max().item(), "The worst error is 0.5; yours is 2, for a = [2]"),
    "divided by n": (partial(_worst, size=lambda a, n: n), "The worst error is 0.5; yours is 1, for a = [4]"),
    "divided by a": (partial(_worst, size=lambda a, n: a), "The worst error is 0.5; yours is 1, for a = [2]"),
    "divided by the smaller": (partial(_worst, size=torch.minimum), "The worst error is 0.5; yours is 1, for a = [2]"),
    "divided by the sum": (partial(_worst, size=torch.add), "yours is 0.3333, for a = [2]"),
    "sizes compared": (lambda a, n, floor: _worst(a.abs(), n.abs(), floor), "yours is 0.5, for a = [-4]"),
    "zeros": (partial(_worst, equal=False), "yours is inf, for a = [0], n = [0]"),
    "no floor": (partial(_worst, floors=lambda size, floor: size), "yours is 1, for a = [0, 0.001]"),
    "the floor added": (
        partial(_worst, floors=lambda size, floor: size + floor), "yours is 0.009901, for a = [0, 0.001]"),
    "the mean": (partial(_worst, end=Tensor.mean), "yours is 0.005, for a = [0, 0.001]"),
    "the first entry": (partial(_worst, end=lambda e: e.flatten()[0]), "yours is 0, for a = [1, 2, 8]"),
    "a norm": (_norms, "yours is 0.2692, for a = [1, 2, 8]"),
    "nan is fine": (partial(_worst, nan=0.0), "yours is 0, for a = [1, nan]"),
    "nan ignored": (_ignores_nan, "yours is 0, for a = [1, nan]"),
    "nan beside nan": (_two_nan, "yours is 0, for a = [nan]"),
    "nan stays": (partial(_worst, nan=None), "yours is nan, for a = [1, nan]"),
    "a large number instead of inf": (partial(_worst, posinf=False), "yours is 3.403e+38"),
    "a tensor": (partial(_worst, item=False), "should be a Python float"),
    "a overwritten": (then(_worst, lambda a, n, floor: a.sub_(n)), "a is not what it was"),
}  # fmt: skip


def oracle(worst_error: Callable[..., Any]) -> Any:
    """The answers and their type for many pairs, and the pairs afterwards."""

    def told(a: Tensor, n: Tensor, floor: float) -> Any:
        found = worst_error(a, n, floor)
        return [float(f"{found:.4g}"), type(found).__name__]

    t = torch.tensor
    wide = [
        (t(a, dtype=d), t(n, dtype=d), f)
        for d in (torch.float32, torch.float64)
        for a, n, f, _, _ in CASES
    ]
    base = torch.arange(1.0, 43.0, dtype=torch.float64).sin().reshape(7, 6)
    for k in (1, 2, 3, 7):
        for scale in (1e-20, 1.0, 1e20):
            for floor in (0.0, 0.3, 5.0):
                wide.append((base[:k, ::2] * scale, base[:k, 1::2] * scale, floor))
    return [tried(told, a.clone(), n.clone(), floor) for a, n, floor in wide]


EXERCISE = Exercise(
    "worst_entry",
    "The larger of both below, and a floor.",
    check_worst,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("entry by entry", by_entries), Right("only where they differ", by_masks)),
    oracle=oracle,
)
