"""Exercise `warm_cosine`: warm-up in a line, then half a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...grading import Exercise, Right, Wrong, apart, drawn, expect, forms, near, tried

__all__ = ["EXERCISE"]

SIZES = (
    (1, 2, 0.0),
    (1, 3, 0.0),
    (2, 4, 0.0),
    (3, 4, 0.5),
    (1, 7, 0.1),
    (4, 20, 0.0),
    (10, 14, 0.25),
    (2, 5, 1.0),
)
"""warm, total, floor; from the smallest up."""  # fmt: skip
HINTS = {
    "on the straight line": "It reaches 1 at step warm - 1, the last of the warm-up. How high is it at step 0?",
    "where the cosine begins": "The cosine counts its steps from there, not from step 0.",
    "on the cosine": "It goes from 1 to floor in total - warm steps.",
    "at the end": "It goes from 1 to floor in total - warm steps.",
    "past the end": "A longer training should stay at the floor.",
}


def right_factor(step: int, warm: int, total: int, floor: float) -> float:
    """What the statement says."""
    if step < warm:
        return (step + 1) / warm
    wave = (1 + math.cos(math.pi * min(1.0, (step - warm) / (total - warm)))) / 2
    return floor + (1 - floor) * wave


def part_of(step: int, warm: int, total: int) -> str:
    """Where a step lies, in words."""
    if step < warm:
        return "on the straight line"
    if step == warm:
        return "where the cosine begins"
    if step < total:
        return "on the cosine"
    return "at the end" if step == total else "past the end"


def check_warm_cosine(warm_cosine: Callable[..., Any]) -> None:
    """`warm_cosine(warm, total, floor)` gives a function from a step to a factor."""
    for sizes in SIZES:
        _ask(warm_cosine, *sizes)
    _without_floor(warm_cosine)
    _two_at_once(warm_cosine)
    draw = drawn()
    warm = draw.whole(1, 9)
    _ask(warm_cosine, warm, warm + draw.whole(1, 20), draw.whole(0, 9) / 10, f" ({draw})")


def _function(factor: Any) -> Callable[[int], Any]:
    missing = " Is a `return` missing?" if factor is None else ""
    expect(
        callable(factor),
        f"warm_cosine returns a function of the step; yours returned {forms.said(factor)}.{missing}",
        "A function can be made inside of another one, and be returned: its name, without brackets.",
    )
    return factor  # type: ignore[no-any-return]


def _ask(warm_cosine: Any, warm: int, total: int, floor: float, seed: str = "") -> None:
    factor = _function(warm_cosine(warm, total, floor))
    where = f"warm={warm}, total={total}, floor={floor:g}{seed}"
    first = forms.number(factor(0), "The factor of step 0")
    expect(first != 0, f"The factor of step 0 is 0, with {where}: that step is wasted.",
           "The first step of a training should move, if only a little.")  # fmt: skip
    steps = [*range(total + 3), 3 * total, 10 * total]
    for step in steps:
        _one(factor, step, warm, total, floor, where)
    for step in reversed(steps):
        found, right = forms.number(factor(step)), right_factor(step, warm, total, floor)
        expect(
            near(found, right, atol=1e-6),
            f"Asked again for step {step}, with {where}, the factor has become {found:.4g}.",
            "A scheduler may ask for any step, and for one twice: the factor is made from the step alone.",
        )


def _one(factor: Any, step: int, warm: int, total: int, floor: float, where: str) -> None:
    found = forms.number(factor(step), f"The factor of step {step}")
    right, part = right_factor(step, warm, total, floor), part_of(step, warm, total)
    texts = apart(found, right)
    expect(
        near(found, right, atol=1e-6),
        f"{where}: step {step}, {part}, has the factor {texts[0]}, not {texts[1]}.",
        HINTS[part],
    )


def _without_floor(warm_cosine: Any) -> None:
    factor = _function(warm_cosine(2, 6))
    end = forms.number(factor(6))
    expect(
        near(end, 0.0, atol=1e-6),
        f"Called without a floor, warm_cosine(2, 6) ends at {end:.4g}.",
        "Leave the first line of the stub as it is: it says what floor is when nobody gives one.",
    )


def _two_at_once(warm_cosine: Any) -> None:
    one = _function(warm_cosine(2, 4, 0.0))
    two = _function(warm_cosine(4, 8, 0.5))
    found = [forms.number(each(3)) for each in (one, two, one)]
    expect(
        near(found, [0.5, 1.0, 0.5], atol=1e-6),
        "Two functions that were made one after the other disturb each other.",
        "What belongs to one of them is kept in its own arguments, not in a global variable.",
    )


# ---- right answers, found in other ways ----


def from_a_table(warm: int, total: int, floor: float = 0.0) -> Callable[[int], float]:
    """All factors are made before."""
    line = [(step + 1) / warm for step in range(warm)]
    angles = [math.pi / 2 * t / (total - warm) for t in range(total - warm + 1)]
    table = [*line, *(floor + (1 - floor) * math.cos(angle) ** 2 for angle in angles)]
    return lambda step: table[min(step, total)]


def with_tensors(warm: int, total: int, floor: float = 0.0) -> Callable[[int], Tensor]:
    """The larger of the end and the wave, the smaller of that and the line; in tensors."""

    def factor(step: int) -> Tensor:
        done = torch.tensor((step - warm) / (total - warm), dtype=torch.float64).clamp(0, 1)
        wave = torch.lerp(
            torch.tensor(1.0).double(),
            torch.tensor(floor).double(),
            (1 - (math.pi * done).cos()) / 2,
        )
        return (
            torch.minimum(wave, torch.tensor((step + 1) / warm).double()) if step < warm else wave
        )

    return factor  # fmt: skip


# ---- wrong answers ----


def _warm_cosine(warm: int, total: int, floor: float = 0.0, first: float = 1, below: float = 0, end: float = 1,
                 shift: float = 1, last: int = 0, way: str = "") -> Callable[[int], float]:  # fmt: skip
    """The solution with its usual mistakes as switches."""

    def factor(step: int) -> float:
        if step < warm:
            return (step + first) / (warm + below)
        done = min(end, (step - shift * warm) / (total - last - shift * warm or 1))
        wave = (1 + math.cos(math.pi * done)) / 2
        if way == "straight":
            wave = 1 - done
        if way == "quarter":
            wave = math.cos(math.pi / 2 * done)
        if way == "zero past the end" and step > total:
            return 0.0
        kinds = {"no floor": wave, "added": floor + wave, "cut": max(floor, wave)}
        return round(kinds.get(way, floor + (1 - floor) * wave), 3 if way == "rounded" else 15)

    return factor


def _counts_itself(warm: int, total: int, floor: float = 0.0) -> Callable[[int], float]:
    """Goes by how often it was asked."""
    right, asked = _warm_cosine(warm, total, floor), [-1]

    def factor(step: int) -> float:
        asked[0] += step > 0 or asked[0] < 0
        return right(asked[0])

    return factor


_shared: dict[str, Any] = {}


def _in_globals(warm: int, total: int, floor: float = 0.0) -> Callable[[int], float]:
    _shared.update(warm=warm, total=total, floor=floor)
    return lambda step: _warm_cosine(**_shared)(step)


def _other_default(warm: int, total: int, floor: float = 0.1) -> Callable[[int], float]:
    return _warm_cosine(warm, total, floor)


WRONG = {
    "starts at 0": (partial(_warm_cosine, first=0), "that step is wasted"),
    "never at 1": (partial(_warm_cosine, below=1), "step 0, on the straight line, has the factor 0.5, not 1"),
    "climbs again": (partial(_warm_cosine, end=9.0), "past the end, has the factor 1"),
    "cosine from step 0": (partial(_warm_cosine, shift=0), "where the cosine begins, has the factor 0.5, not 1"),
    "ends a step early": (partial(_warm_cosine, last=1), "total=3, floor=0: step 2, on the cosine, has the factor 0,"),
    "ends a step late": (partial(_warm_cosine, last=-1), "step 2, at the end, has the factor 0.5, not 0"),
    "floor ignored": (partial(_warm_cosine, way="no floor"), "floor=0.5: step 4, at the end, has the factor 0,"),
    "floor added": (partial(_warm_cosine, way="added"), "where the cosine begins, has the factor 1.5"),
    "cut off at the floor": (partial(_warm_cosine, way="cut"), "step 2, on the cosine, has the factor 0.933"),
    "a straight line down": (partial(_warm_cosine, way="straight"), "step 2, on the cosine, has the factor 0.85"),
    "a quarter of a cosine": (partial(_warm_cosine, way="quarter"), "step 2, on the cosine, has the factor 0.7071"),
    "0 past the end": (partial(_warm_cosine, way="zero past the end"), "past the end, has the factor 0, not 0.5"),
    "rounded": (partial(_warm_cosine, way="rounded"), "has the factor 0.94, not 0.9397"),
    "counts itself": (_counts_itself, "Asked again for step"),
    "global variables": (_in_globals, "disturb each other"),
    "another default": (_other_default, "Called without a floor"),
    "a factor at once": (lambda warm, total, floor=0.0: _warm_cosine(warm, total, floor)(0), "yours returned 1.0"),
}  # fmt: skip


def oracle(warm_cosine: Callable[..., Any]) -> Any:
    """All factors for many sizes, forwards and backwards, also without a floor."""

    def told(*sizes: Any) -> Any:
        factor = warm_cosine(*sizes)
        steps = [*range(sizes[1] + 5), 5 * sizes[1]]
        return [_digits(factor(step)) for step in steps + steps[::-1]]

    wide = [*SIZES, (7, 9, 0.3), (1, 30, 0.0), (20, 21, 0.7), (3, 8), (1, 2)]
    found = [tried(lambda sizes=sizes: told(*sizes)) for sizes in wide]
    return [*found, tried(lambda: _two_at_once(warm_cosine))]


def _digits(factor: Any) -> float:
    return float(f"{forms.number(factor) + 1e-12:.4f}")


EXERCISE = Exercise(
    "warm_cosine",
    "Up in a line, down in a cosine, and at rest afterwards.",
    check_warm_cosine,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("from a table", from_a_table), Right("with tensors", with_tensors)),
    oracle=oracle,
)
