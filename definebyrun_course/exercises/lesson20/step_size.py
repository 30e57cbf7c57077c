"""Exercise `step_size`: a step for a dtype and a scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, tried

__all__ = ["EXERCISE"]

DTYPES = (torch.float64, torch.float32)
POINTS = (1.0, 0.0, -1.0, 0.5, 3, 1e-8, 1000.0, -1000.0, 1e6, -1e6, 1e-300)
FACTOR = 20
"""So many times larger or smaller than the right step a step may be: the bottom of the V is flat."""


def right_step(x: float, dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps ** (1 / 3) * max(1.0, abs(x))


def check_step(best_step: Callable[..., Any]) -> None:
    """`best_step(x, dtype)` is near the bottom of the V."""
    for dtype in DTYPES:
        for x in POINTS:
            _ask(best_step, x, dtype)
    draw = drawn()
    for dtype in DTYPES:
        x = (-1) ** draw.whole(0, 1) * 10 ** draw.uniform(1, low=-6, high=6).item()
        _ask(best_step, x, dtype, f" ({draw})")


def _ask(best_step: Any, x: float, dtype: torch.dtype, seed: str = "") -> None:
    found, right, eps = best_step(x, dtype), right_step(x, dtype), torch.finfo(dtype).eps
    where = f"at x = {x:g} in {dtype}{seed}"
    step = forms.number(found, "The step")
    expect(math.isfinite(step), f"The step is {step:g} {where}.", "A step is a finite number.")
    expect(
        step > 0,
        f"The step is {step:g} {where}.",
        "A step is above 0: x may be 0, and it may be negative.",
    )
    seen = step / (eps * max(abs(x), 1e-300))
    expect(
        abs(x) <= 1 or right < FACTOR * step,
        f"The step is {step:.1g} {where}; the next number in that dtype is {eps * abs(x):.1g} away, so rounding "
        f"makes an error of a part in {seen:.1g}.",
        "The spacing of numbers grows with x. So must the step.",
    )
    expect(
        right / FACTOR < step < right * FACTOR,
        f"A step of {step:.1g} is not near the bottom of the V {where}: {_which_error(step, right)}.",
        "The formula's error is about h², the rounding error eps / h, for the eps of this dtype. Where are they equal?",
    )


def _which_error(step: float, right: float) -> str:
    return "the formula's own error" if step > right else "rounding"


# ---- right answers, found in other ways ----


def by_spacing(x: float, dtype: torch.dtype) -> Any:
    """From the distance to the next number, as a tensor."""
    scale = torch.tensor(abs(x), dtype=dtype).clamp(min=1.0)
    gap = torch.nextafter(scale, torch.tensor(math.inf, dtype=dtype)) - scale
    return (gap / scale) ** (1 / 3) * scale


def by_bits(x: float, dtype: torch.dtype) -> float:
    """A power of two, at most twice the cube root."""
    bits = {torch.float64: 52, torch.float32: 23}[dtype]
    return 2.0 ** (-(bits // 3)) * (abs(x) if abs(x) > 1 else 1.0)


# ---- wrong answers ----


def _power(x: float, dtype: torch.dtype, power: float = 1 / 3) -> float:
    return torch.finfo(dtype).eps ** power * max(1.0, abs(x))


WRONG = {
    "one for all": (lambda x, dtype: 1e-5, "The step is 1e-05 at x = 1000 in torch.float64; the next number"),
    "relative only": (
        lambda x, dtype: torch.finfo(dtype).eps ** (1 / 3) * abs(x), "The step is 0 at x = 0"),
    "signed": (lambda x, dtype: torch.finfo(dtype).eps ** (1 / 3) * (x or 1.0), "The step is -6.05545e-06 at x = -1"),
    "no size": (lambda x, dtype: torch.finfo(dtype).eps ** (1 / 3) * max(1, x), "The step is 6e-06 at x = -1000"),
    "square root": (lambda x, dtype: _power(x, dtype, 1 / 2), "A step of 1e-08 is not near"),
    "fourth root": (lambda x, dtype: _power(x, dtype, 1 / 4), "A step of 0.0001 is not near"),
    "eps": (lambda x, dtype: _power(x, dtype, 1), "A step of 2e-16 is not near"),
    "float64's eps for all": (
        lambda x, dtype: _power(x, torch.float64), "A step of 6e-06 is not near the bottom of the V at x = 1 in"),
    "float32's eps for all": (lambda x, dtype: _power(x, torch.float32), "A step of 0.005 is not near"),
    "a small addition": (
        lambda x, dtype: torch.finfo(dtype).eps ** (1 / 3) * (abs(x) + 1e-8), "A step of 6e-14 is not near"),
    "no scale": (lambda x, dtype: torch.finfo(dtype).eps ** (1 / 3), "The step is 6e-06 at x = 1000"),
    "the square of the scale": (
        lambda x, dtype: torch.finfo(dtype).eps ** (1 / 3) * max(1.0, x * x), "A step of 6 is not near"),
    "a pair": (lambda x, dtype: (_power(x, dtype), dtype), "The step is a number"),
}  # fmt: skip


def oracle(best_step: Callable[..., Any]) -> Any:
    """For many points, whether the step is near the bottom; which of the good steps it is, is free."""

    def told(x: float, dtype: torch.dtype) -> Any:
        step, right = forms.number(best_step(x, dtype)), right_step(x, dtype)
        return bool(step > 0 and right / FACTOR < step < right * FACTOR)

    wide = [*POINTS, *(sign * 10.0**n for n in range(-12, 13) for sign in (1, -1)), 2, -7]
    return [tried(lambda x=x, dtype=dtype: told(x, dtype)) for x in wide for dtype in DTYPES]


EXERCISE = Exercise(
    "step_size",
    "The cube root of eps, on the scale of x.",
    check_step,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by the next number", by_spacing), Right("a power of two", by_bits)),
    oracle=oracle,
    allows={"half of the digits": "a step may be a tensor of any dtype, and need not be exact"},
)
