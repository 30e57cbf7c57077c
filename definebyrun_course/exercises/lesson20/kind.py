"""Exercise `kind`: smooth, kink or jump, from values alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, tried

__all__ = ["EXERCISE"]

Function = Callable[[float], float]
CHOICES = ("smooth", "kink", "jump")
POINTS: tuple[tuple[str, Function, float, str], ...] = (
    ("3, constant, at 0", lambda x: 3.0, 0.0, "smooth"),
    ("2x - 1 at 1", lambda x: 2 * x - 1, 1.0, "smooth"),
    ("x² at 0", lambda x: x * x, 0.0, "smooth"),
    ("|x| at 0", abs, 0.0, "kink"),
    ("-|x - 1| at 1", lambda x: -abs(x - 1), 1.0, "kink"),
    ("max(x, 0) at 0", lambda x: max(x, 0.0), 0.0, "kink"),
    ("min(x, 0) at 0", lambda x: min(x, 0.0), 0.0, "kink"),
    ("1 if x > 0 else 0, at 0", lambda x: float(x > 0), 0.0, "jump"),
    ("1 if x >= 0 else 0, at 0", lambda x: float(x >= 0), 0.0, "jump"),
    ("1 if x < 0 else 0, at 0", lambda x: float(x < 0), 0.0, "jump"),
    ("1 if x <= 0 else 0, at 0", lambda x: float(x <= 0), 0.0, "jump"),
    ("the sign of x at 0", lambda x: float((x > 0) - (x < 0)), 0.0, "jump"),
    ("1 if x == 0 else 0, at 0", lambda x: float(x == 0), 0.0, "jump"),
    ("max(x, 0) at 0.0002", lambda x: max(x, 0.0), 2e-4, "smooth"),
    ("max(x, 0) at -0.0002", lambda x: max(x, 0.0), -2e-4, "smooth"),
    ("x, and above -2 a hundredth more, at -2", lambda x: x + 0.01 * (x > -2), -2.0, "jump"),
    ("x, and below -2 a hundredth more, at -2", lambda x: x + 0.01 * (x < -2), -2.0, "jump"),
    ("|x| + (1 if x > 0 else 0) at 0", lambda x: abs(x) + (x > 0), 0.0, "jump"),
    ("sin(x) at 1", math.sin, 1.0, "smooth"),
    ("5x² at 1", lambda x: 5 * x * x, 1.0, "smooth"),
    ("x + |x - 2| / 10 at 2", lambda x: x + abs(x - 2) / 10, 2.0, "kink"),
    ("x + |x - 2| / 1000 at 2", lambda x: x + abs(x - 2) / 1000, 2.0, "kink"),
    ("x + max(2 - x, 0) / 500 at 2", lambda x: x + max(2 - x, 0.0) / 500, 2.0, "kink"),
    ("5x² + |x - 1| / 500 at 1", lambda x: 5 * x * x + abs(x - 1) / 500, 1.0, "kink"),
    ("10 max(x, 0) at 0.00015", lambda x: 10 * max(x, 0.0), 1.5e-4, "smooth"),
    ("|x| + |x - 0.0002| at 0", lambda x: abs(x) + abs(x - 2e-4), 0.0, "kink"),
)  # fmt: skip
"""A function in words, the function, the place, and what it is there; the smallest first."""
HINTS = {
    "smooth": "With a smaller step, a strong curvature shrinks and a kink does not. How far from x do you look?",
    "kink": "At a kink the slope to the right and the slope to the left differ, however small the step.",
    "jump": "At a jump the values on both sides differ, however small the step; the slopes may well look alike.",
}


def check_kind(kind: Callable[..., Any]) -> None:
    """`kind(f, x)` is "smooth", "kink" or "jump"."""
    for words, f, x, right in POINTS:
        _ask(kind, words, f, x, right)
    draw = drawn()
    for right in CHOICES:
        place, height = draw.whole(-9, 9) / 4, draw.whole(2, 20) / 10
        f = partial(_made, right, place, height, draw.whole(0, 1))
        _ask(
            kind,
            f"a function with a part of size {height:g} at {place:g} ({draw})",
            f,
            place,
            right,
        )


def _made(right: str, place: float, height: float, side: int, x: float) -> float:
    """A sine with a square, a kink or a jump at a place."""
    beyond = x >= place if side else x > place
    parts = {
        "smooth": height * (x - place) ** 2,
        "kink": height * abs(x - place),
        "jump": height * beyond,
    }
    return math.sin(x) + parts[right]


def _ask(kind: Any, words: str, f: Function, x: float, right: str) -> None:
    found = kind(f, x)
    expect(
        isinstance(found, str) and found in CHOICES,
        f"The answer is one of {', '.join(map(repr, CHOICES))}; yours is {forms.said(found)}.",
        "One of the three words, as a text.",
    )
    expect(found == right, f"{words} is {right}; you say {str(found)!r}.", HINTS[right])


# ---- right answers, found in other ways ----


def by_slopes(f: Function, x: float) -> str:
    """The slopes to either side, at two steps, carried on to a step of 0."""
    h = 4e-5
    up = [(f(x + s) - f(x)) / s for s in (h, h / 2)]
    down = [(f(x) - f(x - s)) / s for s in (h, h / 2)]
    if abs(f(x + h / 8) - f(x)) > 2e-3 or abs(f(x) - f(x - h / 8)) > 2e-3:
        return "jump"
    right, left = 2 * up[1] - up[0], 2 * down[1] - down[0]
    return "kink" if abs(right - left) > 5e-4 else "smooth"


def by_one_small_step(f: Function, x: float) -> str:
    """One step, so small that the largest curvature allowed stays below the weakest kink."""
    h = 1e-6
    here, right, left = f(x), f(x + h), f(x - h)
    if max(abs(right - here), abs(here - left)) > 1e-3:
        return "jump"
    return "kink" if abs((right - here) - (here - left)) / h > 4e-4 else "smooth"


# ---- wrong answers ----


def _kind(f: Function, x: float, ratio: bool = True, first: float = 1e-5, bend: float = 5e-4, rise: float = 1e-3,
          sides: str = "both", jump_last: bool = False) -> str:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    steps = (first, first / 10)
    bends = [abs(f(x + h) - 2 * f(x) + f(x - h)) / h for h in steps]
    ups, downs = ([abs(f(x + s * h) - f(x)) for h in steps] for s in (1, -1))
    rises = {"both": list(map(max, ups, downs)), "right": ups, "left": downs,
             "across": [abs(f(x + h) - f(x - h)) for h in steps]}[sides]  # fmt: skip
    is_jump = rises[1] > rise and (rises[1] > 0.5 * rises[0] or not ratio)
    is_kink = bends[1] > bend and (bends[1] > 0.5 * bends[0] or not ratio)
    if is_jump and not (jump_last and is_kink):
        return "jump"
    return "kink" if is_kink else "smooth"


def _kind_of_one_step(
    f: Function, x: float, h: float = 1e-5, rise: float = 0.1, bend: float = 1e-2
) -> str:
    """One step and two limits."""
    up, down = f(x + h) - f(x), f(x - h) - f(x)
    if max(abs(up), abs(down)) > rise:
        return "jump"
    return "kink" if abs(up + down) / h > bend else "smooth"


def _jump_by_bend(f: Function, x: float) -> str:
    bend = abs(f(x + 1e-5) - 2 * f(x) + f(x - 1e-5))
    return "jump" if bend > 1e-3 else _kind(f, x, rise=9e9)


WRONG = {
    "limits that are wide": (_kind_of_one_step, "hundredth more, at -2 is jump; you say 'kink'"),
    "a kink is not seen when weak": (partial(_kind, bend=5e-3), "x + |x - 2| / 1000 at 2 is kink"),
    "curvature taken for a kink": (
        partial(_kind_of_one_step, h=1e-3, rise=0.005, bend=5e-4), "x² at 0 is smooth; you say 'kink'"),
    "much curvature taken for a kink": (
        partial(_kind_of_one_step, h=9e-5, rise=0.005, bend=5e-4), "5x² at 1 is smooth; you say 'kink'"),
    "looks too far": (partial(_kind, first=0.02), "max(x, 0) at 0.0002 is smooth"),
    "looks a little too far": (partial(_kind, first=1e-3), "5x² + |x - 1| / 500 at 1 is kink"),
    "a step below the digits": (partial(_kind, first=1e-15), "2x - 1 at 1 is smooth; you say 'kink'"),
    "a jump to the right only": (partial(_kind, sides="right"), "1 if x >= 0 else 0, at 0 is jump"),
    "a jump to the left only": (partial(_kind, sides="left"), "1 if x > 0 else 0, at 0 is jump"),
    "from one side to the other": (partial(_kind, sides="across"), "1 if x == 0 else 0, at 0 is jump"),
    "kinks asked first": (partial(_kind, jump_last=True), "1 if x > 0 else 0, at 0 is jump"),
    "a jump seen by its bend": (_jump_by_bend, "the sign of x at 0 is jump; you say 'smooth'"),
    "no jumps": (partial(_kind, rise=9e9), "1 if x > 0 else 0, at 0 is jump"),
    "no kinks": (partial(_kind, bend=9e9), "|x| at 0 is kink; you say 'smooth'"),
    "large jumps only": (partial(_kind, rise=0.05), "hundredth more, at -2 is jump; you say 'kink'"),
    "never": (lambda f, x: "smooth", "|x| at 0 is kink; you say 'smooth'"),
    "another word": (lambda f, x: "corner", "yours is 'corner'"),
    "a number": (lambda f, x: CHOICES.index(_kind(f, x)), "yours is 0"),
}  # fmt: skip


def oracle(kind: Callable[..., Any]) -> Any:
    """The words for many functions and places."""
    wide: list[tuple[Function, float]] = [(f, x) for _, f, x, _ in POINTS]
    for place in (-2.0, 0.0, 0.5, 3.0):
        for height in (0.01, 0.1, 1.0, 5.0):
            for side in (0, 1):
                wide += [
                    (partial(_made, right, place, height * sign, side), place)
                    for right in CHOICES
                    for sign in (1, -1)
                ]
        for gap in (2e-4, -2e-4, 1.2e-4, -1.2e-4):
            wide.append((lambda x, place=place, gap=gap: abs(x - place - gap), place))
    return [tried(partial(kind, f), x) for f, x in wide]


EXERCISE = Exercise(
    "kind",
    "What shrinks with the step, and what does not.",
    check_kind,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("slopes carried on to 0", by_slopes), Right("one small step", by_one_small_step)),
    oracle=oracle,
)
