"""Exercise `scale_life`: the scale that each step's loss is multiplied by, as `GradScaler` sets it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any

from ...grading import Drawn, Exercise, Right, Wrong, counted, drawn, expect, forms, near, tried
from ..mistakes import then

__all__ = ["EXERCISE"]

CASES: tuple[tuple[list[bool], float, int], ...] = (
    ([], 8.0, 2),
    ([False], 8.0, 3),
    ([True, False], 8.0, 3),
    ([True, True, False], 4.0, 3),
    ([False, False, False], 2.0, 2),
    ([False] * 5, 2.0, 2),
    ([False, True, False, False, False], 16.0, 2),
    ([False, False, True, False, False, False], 16.0, 3),
    ([False, False, True, False, False, False, False], 1.0, 3),
    ([False, False, False], 1.0, 1),
    ([True] * 4, 1.0, 5),
)
"""From the smallest up; in the seventh an overflow interrupts a row of good steps."""


def check_scale_life(scales: Callable[..., Any]) -> None:
    """`scales(overflows, start, interval)` gives the scale of every step."""
    for case in CASES:
        _ask(scales, *case)
    draw = drawn()
    overflows = [draw.whole(0, 3) == 0 for _ in range(draw.whole(12, 20))]
    _ask(scales, overflows, 2.0 ** draw.whole(0, 10), draw.whole(2, 4), f" ({draw})")


def _ask(scales: Any, overflows: list[bool], start: float, interval: int, seed: str = "") -> None:
    said = "".join("x" if bad else "." for bad in overflows) or "no step"
    where = f"for {said} (x: overflow), start {start:g}, interval {interval}{seed}"
    found = forms.numbers(scales(list(overflows), start, interval), "The list of scales")
    expect(
        len(found) == len(overflows),
        f"There is one scale for each step; yours has {counted(len(found), 'entry')}, {where}.",
        "The scale after the last step belongs to a step that is not there yet.",
    )
    wanted = _scales(overflows, start, interval)
    for step, (mine, right) in enumerate(zip(found, wanted, strict=True)):
        expect(
            near(mine, right),
            f"The loss of step {step} is multiplied by {mine:g} here; it should be {right:g}, {where}.",
            "What happened in the steps before it? A scale is changed after a step, and counts from the next one on.",
        )


# ---- answers ----


def _scales(overflows: list[bool], start: float, interval: int, **switches: Any) -> list[float]:
    """The solution, with its usual mistakes as switches."""
    scale, good, found = start, 0, []
    for bad in overflows:
        if not switches.get("late"):
            found.append(scale)
        if bad:
            scale /= switches.get("shrink", 2)
            good = good if switches.get("keeps") else 0
        else:
            good += 1
            if switches.get("never"):
                continue
            if good >= interval + switches.get("more", 0):
                scale *= switches.get("grow", 2)
                good = good if switches.get("runs on") else 0
        if switches.get("late"):
            found.append(scale)
    return found


def by_powers(overflows: list[bool], start: float, interval: int) -> list[float]:
    """Exponents of two are added up; a run of good steps is counted by its length."""
    changes, run = [0], 0
    for bad in overflows:
        run = 0 if bad else run + 1
        changes.append(-1 if bad else int(run % interval == 0))
    return [start * 2.0**power for power in accumulate(changes[:-1])] if overflows else []


def as_generator(overflows: list[bool], start: float, interval: int) -> Any:
    last = -1
    for step, bad in enumerate(overflows):
        yield start
        if bad or (step - last) == interval:
            start, last = start * (0.5 if bad else 2.0), step


WRONG = {
    "after the step": ({"late": True}, "The loss of step 0 is multiplied by 4"),
    "never doubled": ({"never": True}, "The loss of step 2 is multiplied by 2"),
    "the count goes on": ({"keeps": True}, "The loss of step 3 is multiplied by 16"),
    "doubled at every step from then on": (
        {"runs on": True},
        "The loss of step 3 is multiplied by 8 here",
    ),
    "one step too late": ({"more": 1}, "The loss of step 2 is multiplied by 2"),
    "a quarter": ({"shrink": 4}, "The loss of step 1 is multiplied by 2"),
    "times four": ({"grow": 4}, "The loss of step 2 is multiplied by 8"),
}


def oracle(scales: Callable[..., Any]) -> Any:
    """The scales of many runs, and the list of overflows afterwards."""

    def told(overflows: list[bool], start: float, interval: int) -> Any:
        given = list(overflows)
        return [[float(s) for s in scales(given, start, interval)], given]

    draw = Drawn(0)
    wide = list(CASES)
    for chance in (1, 2, 5, 30):
        for interval in (1, 2, 3, 7):
            runs = [draw.whole(0, chance) == 0 for _ in range(25)]
            wide.append((runs, 2.0 ** draw.whole(-3, 16), interval))
    return [tried(told, *case) for case in wide]


EXERCISE = Exercise(
    "scale_life",
    "Half after an overflow, double after a row of good steps.",
    check_scale_life,
    (
        *(Wrong(name, partial(_scales, **switch), says) for name, (switch, says) in WRONG.items()),
        Wrong("the last scale alone", lambda o, s, i: s, "The list of scales is a sequence"),
        Wrong(
            "one too many", lambda o, s, i: [*_scales(o, s, i), s], "yours has 1 entry, for no step"
        ),
        Wrong("overflows emptied", then(_scales, lambda o, s, i: o.clear()), "is not what it was"),
    ),
    right=(Right("by powers of two", by_powers), Right("a generator", as_generator)),
    oracle=oracle,
)
