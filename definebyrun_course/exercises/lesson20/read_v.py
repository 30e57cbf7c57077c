"""Exercise `read_v`: what is at fault, read from the curve of an error against the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, tried

__all__ = ["EXERCISE", "curve_steps", "curves"]

STEPS = tuple(10.0**-k for k in range(1, 11))
FAULTS = ("none", "forward", "float32", "gradient", "kink")
Function = Callable[[Any], Any]
FUNCTIONS: tuple[tuple[str, Function, Function, float], ...] = (
    ("exp at 1", np.exp, np.exp, 1.0),
    ("sin at 0.7", np.sin, np.cos, 0.7),
    ("x³ at 2", lambda x: x * x * x, lambda x: 3 * x * x, 2.0),
    ("1 / x at 1.5", lambda x: 1 / x, lambda x: -1 / (x * x), 1.5),
    ("exp at -1", np.exp, np.exp, -1.0),
)
"""In words, f, its derivative, and a place where no derivative up to the third is small."""
OFFS = (2.0, 0.5, -2.0, 1e-2, -1e-2, 1e-3, 1e-4, -1e-4)
"""By which share of itself a wrong gradient is off."""
KINKS = (
    (2e-5, 1.0), (5e-3, 1.0), (-2e-5, 0.2), (-5e-3, 0.2), (9e-4, 0.2), (-2e-3, 1.0), (1.1e-4, -0.2),
)  # fmt: skip
"""Where the kink is, seen from x, and by which share of the slope it bends."""
HINTS = {
    "none": "Which two errors does a central difference have, and how does each change from step to step?",
    "forward": "How fast does the error fall from 1e-1 on, in a central difference and in a forward one?",
    "float32": "Where does the left arm begin? What does a function do that does not notice the step any more?",
    "gradient": "An error that neither a smaller nor a larger step changes is not of the measurement.",
    "kink": "Where f is smooth, the error falls by a fixed factor from step to step. And across a kink?",
}


def curve(f: Function, slope: Function, x: float, fault: str, off: float = 0.01,
          at: float = 2e-4, bend: float = 0.5) -> list[float]:  # fmt: skip
    """The relative errors of a measured slope against a claim, one for each of `STEPS`."""
    claim = float(slope(x)) * (1 + off if fault == "gradient" else 1)
    strength = bend * float(slope(x)) if fault == "kink" else 0.0
    kind = np.float32 if fault == "float32" else np.float64

    def value(t: float) -> float:
        beyond = max(t - at if at > 0 else at - t, 0.0)
        return float(f(kind(x) + kind(t))) + strength * beyond

    errors = []
    for h in STEPS:
        back = 0.0 if fault == "forward" else -h
        n = (value(h) - value(back)) / (h - back)
        errors.append(abs(claim - n) / max(abs(claim), abs(n)))
    return errors


curve_steps = STEPS
curves = {
    "Ada": curve(*FUNCTIONS[1][1:], "gradient", off=1e-3),
    "Bela": curve(*FUNCTIONS[0][1:], "none"),
    "Chidi": curve(*FUNCTIONS[3][1:], "float32"),
    "Dora": curve(*FUNCTIONS[2][1:], "forward"),
    "Emre": curve(*FUNCTIONS[0][1:], "kink", at=2e-3, bend=0.2),
}
"""Five people's curves, one for each fault."""


def cases() -> list[tuple[str, str, list[float]]]:
    """What stands in the message, the fault, and the curve; the plainest first."""
    found = []
    for words, *function in FUNCTIONS:
        for fault in ("none", "forward", "float32"):
            found.append((words, fault, curve(*function, fault)))
        for off in OFFS:
            found.append((words, "gradient", curve(*function, "gradient", off=off)))
        for at, bend in KINKS:
            found.append((words, "kink", curve(*function, "kink", at=at, bend=bend)))
    return found


def check_read_v(fault: Callable[..., Any]) -> None:
    """`fault(steps, errors)` names what is at fault in a curve of errors."""
    for words, right, errors in cases():
        _ask(fault, words, right, errors)
    draw = drawn()
    for right in FAULTS:
        words, *function = FUNCTIONS[draw.whole(0, len(FUNCTIONS) - 1)]
        off = (-1) ** draw.whole(0, 1) * 10 ** draw.uniform(1, low=-4, high=-0.5).item()
        at = (-1) ** draw.whole(0, 1) * 10 ** draw.uniform(1, low=-4.6, high=-2.4).item()
        errors = curve(*function, right, off=off, at=at)
        _ask(fault, words, right, errors, f" ({draw})")


def _ask(fault: Any, words: str, right: str, errors: list[float], seed: str = "") -> None:
    found = fault(list(STEPS), list(errors))
    expect(
        isinstance(found, str) and found in FAULTS,
        f"The answer is one of {', '.join(map(repr, FAULTS))}; yours is {forms.said(found)}.",
        "One of the five words, as a text.",
    )
    listed = " ".join(f"{error:.0e}" for error in errors)
    expect(
        found == right,
        f"You say {found!r} of a curve that is {right!r}, {words}{seed}, with the errors {listed}.",
        HINTS[right],
    )


# ---- right answers, found in other ways ----


def by_arms(steps: Sequence[float], errors: Sequence[float]) -> str:
    """The flat part first, then what the small steps say, then how the right arm falls."""
    small = errors[7]  # 1e-8: float64 sees the step well, float32 not at all
    if small > 5e-5:
        return "gradient" if errors[2] > 0.3 * small else "float32"
    falls = [math.log10(one / two) for one, two in pairwise(errors[:5])]
    if max(falls) > 3:
        return "kink"
    return "forward" if falls[1] < 1.5 else "none"


def by_prediction(steps: Sequence[float], errors: Sequence[float]) -> str:
    """What a central difference would have at each step if it began like this one."""
    if errors[7] > 5e-5:
        steady = max(errors[2:8]) < 2 * min(errors[2:8])
        return "gradient" if steady else "float32"
    if any(later < earlier / 900 for earlier, later in pairwise(errors[:5])):
        return "kink"
    return "none" if errors[2] < errors[1] / 33 else "forward"


# ---- wrong answers ----


def _fault(steps: Sequence[float], errors: Sequence[float], depth: bool = False, kinks: bool = True,
           left: bool = True, forward: bool = True, gradient: str = "both", swap: bool = False) -> str:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    if depth:  # the least error alone
        least = min(errors)
        limits = ((1e-9, "none"), (1e-6, "forward"), (9e-5, "float32"))
        return next((word for limit, word in limits if least < limit), "gradient")
    if errors[7] > 5e-5:
        steady = errors[2] > 0.3 * errors[7]
        if gradient == "large":
            steady = errors[7] > 0.005 and steady
        if not left:
            return "gradient"
        return "gradient" if steady != swap else "float32"
    falls = [one / two for one, two in pairwise(errors[:5])]
    if kinks and max(falls) > 1000:
        return "kink"
    return "forward" if forward and falls[1] < 30 else "none"


WRONG = {
    "by the least error": (partial(_fault, depth=True), "with the errors 2e-03 8e-05 1e-04"),
    "no kinks": (partial(_fault, kinks=False), "You say 'forward' of a curve that is 'kink'"),
    "no forward differences": (partial(_fault, forward=False), "You say 'none' of a curve that is 'forward'"),
    "float32 is a wrong gradient": (partial(_fault, left=False), "You say 'gradient' of a curve that is 'float32'"),
    "both exchanged": (partial(_fault, swap=True), "You say 'gradient' of a curve that is 'float32'"),
    "large faults of a gradient only": (
        partial(_fault, gradient="large"), "with the errors 7e-04 1e-03 1e-03"),
    "never": (lambda steps, errors: "none", "You say 'none' of a curve that is 'forward'"),
    "another word": (lambda steps, errors: "fine", "yours is 'fine'"),
    "a number": (lambda steps, errors: FAULTS.index(_fault(steps, errors)), "yours is 0"),
    "errors overwritten": (lambda steps, errors: (_fault(steps, errors), errors.clear())[0], "is not what it was"),
}  # fmt: skip


def oracle(fault: Callable[..., Any]) -> Any:
    """The words for the curves of all cases, and for some between them."""
    wide = [errors for _, _, errors in cases()]
    for _, *function in FUNCTIONS[:3]:
        wide += [curve(*function, "gradient", off=off) for off in (0.2, -0.05, 3e-4)]
        wide += [curve(*function, "kink", at=at, bend=0.5) for at in (3e-5, -3e-4, 4e-3)]
    return [tried(fault, list(STEPS), list(errors)) for errors in wide]


EXERCISE = Exercise(
    "read_v",
    "Two arms, a flat line, and a fall that no power of the step explains.",
    check_read_v,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("arm by arm", by_arms), Right("by what would be expected", by_prediction)),
    oracle=oracle,
)
