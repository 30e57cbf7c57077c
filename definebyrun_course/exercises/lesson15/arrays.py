"""What the checks of lesson 15 share: arrays that are drawn, and several arrays held against the right ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from ...grading import Mistake, apart, expect, forms, near, shown

__all__ = ["compare", "given", "numbers", "several"]

MIN_SIZE = 1e-9
"""What is smaller may be rounding: a sum that should be zero."""
SHAPE = "A gradient has the shape of what it belongs to."


def numbers(*shape: int, seed: int = 0) -> ndarray:
    """Numbers of one decimal, from a normal distribution, in float64; none is zero."""
    drawn = np.random.default_rng(seed).normal(size=shape).round(1)
    return np.where(drawn == 0, 0.5, drawn)


def several(found: Any, names: str) -> list[Any]:
    """The parts of a result that has one for each name."""
    wanted = names.split()
    found = list(found) if isinstance(found, ndarray) and found.dtype == object else found
    if isinstance(found, (tuple, list)) and len(found) == len(wanted):
        return list(found)
    number = "two" if len(wanted) == 2 else "three"
    told = f"{len(found)} of them" if isinstance(found, (tuple, list)) else forms.said(found)
    raise Mistake(
        f"Your function returns {number} things, {', '.join(wanted)}; yours returned {told}.",
        f"return {', '.join(wanted)}",
    )


def compare(
    name: str, found: Any, right: ndarray, where: str, hint: str, rtol: float = 2e-5
) -> None:
    """Expect an array of the right shape with the right numbers."""
    array = forms.array(found, name)
    expect(
        array.shape == right.shape,
        f"{name} has the shape {array.shape}, not {right.shape}, {where}.",
        SHAPE,
    )
    texts = apart(array, right)
    size = np.abs(right).max(initial=0.0)
    expect(
        near(array, right, rtol=rtol, atol=max(rtol * size, MIN_SIZE)),
        f"{name} is {texts[0]}, not {texts[1]}, {where}.",
        hint,
    )


def given(**arrays: ndarray) -> str:
    """The arguments of a call in words: the numbers where they are few, else the shapes."""
    return "with " + ", ".join(f"{name} = {shown(array)}" for name, array in arrays.items())
