"""Exercise `best_cut`: the best moment to cut a rate, in several directions at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, tried

__all__ = ["EXERCISE"]

MEAN = "In each direction the expected square is the square of the mean plus the variance; both change at every step."
ENDS = "There are steps + 1 moments: from no step with the high rate to every step with it."
WAIT = "Only the end counts, not how the loss falls right after the cut."
FLAT = "A flat direction needs the high rate for longer. How much does each direction count in the loss?"
Case = tuple[list[float], float, float, int, float, str, str]
CASES: tuple[Case, ...] = (
    ([1.0], 0.5, 0.1, 1, 10.0, "One step from far away: the high rate goes farther", ENDS),
    ([1.0], 0.5, 0.1, 1, 0.0, "One step from the minimum: any step only adds noise", ENDS),
    ([1.0], 0.5, 0.1, 2, 3.0, "Two steps", MEAN),
    ([1.0], 0.5, 0.1, 8, 3.0, "Eight steps", MEAN),
    ([1.0], 0.3, 0.03, 120, -3.0, "From the other side", MEAN),
    ([2.0], 0.5, 0.1, 6, 3.0, "A curvature of 2", "A step multiplies the mean by 1 - rate * curvature."),
    ([1.0, 0.02], 0.5, 0.05, 20, 10.0, "Two directions, a short budget", WAIT),
    ([1.0, 0.02], 0.5, 0.05, 150, 10.0, "Two directions, a long budget", FLAT),
    ([0.02, 1.0], 0.5, 0.05, 150, 10.0, "The same directions, named the other way round", FLAT),
    ([3.0, 0.5, 0.05], 0.4, 0.02, 60, 5.0, "Three directions", FLAT),
)  # fmt: skip
"""Curvatures, high rate, low rate, steps, start, in words, what to look at; the smallest first."""


def last(
    curvatures: list[float], high: float, low: float, steps: int, start: float, cut: int
) -> float:
    """The expected loss after the last step."""
    total = 0.0
    for curvature in curvatures:
        mean, variance = start, 0.0
        for step in range(steps):
            rate = high if step < cut else low
            shrink = 1 - rate * curvature
            mean, variance = shrink * mean, shrink**2 * variance + rate**2
        total += curvature / 2 * (mean**2 + variance)
    return total


def check_best_cut(best_cut: Callable[..., Any]) -> None:
    """`best_cut(curvatures, high, low, steps, start)` names the number of steps with the high rate that ends best."""
    for case in CASES:
        _ask(best_cut, *case)
    draw = drawn()
    for _ in range(3):
        _ask(best_cut, *_random(draw), f"Other numbers ({draw})", MEAN)


def _random(draw: Drawn) -> tuple[list[float], float, float, int, float]:
    curvatures = [draw.whole(1, 200) / 100 for _ in range(draw.whole(1, 3))]
    high = draw.whole(30, 90) / 100
    return (
        curvatures,
        high,
        high * draw.whole(5, 40) / 100,
        draw.whole(5, 30),
        draw.whole(2, 60) / 10,
    )


def _ask(best_cut: Any, curvatures: list[float], high: float, low: float, steps: int, start: float, words: str,
         hint: str) -> None:  # fmt: skip
    given = list(curvatures)
    told = ", ".join(f"{curvature:g}" for curvature in curvatures)
    where = f"with curvatures [{told}], high={high:g}, low={low:g}, steps={steps}, start={start:g}"
    cut = forms.whole(best_cut(given, high, low, steps, start), "The cut")
    expect(
        0 <= cut <= steps,
        f"The cut is a number of steps from 0 to {steps}; yours is {cut}, {where}.",
        ENDS,
    )
    ends = [last(curvatures, high, low, steps, start, each) for each in range(steps + 1)]
    expect(
        ends[cut] <= min(ends) * (1 + 1e-9),
        f"{words}: cut at {cut}, the expected loss ends at {ends[cut]:.5g}, and another cut ends lower, {where}.",
        hint,
    )


# ---- right answers, found in other ways ----


def by_closed_form(curvatures: Any, high: float, low: float, steps: int, start: float) -> int:
    """Powers instead of a loop, all cuts at once."""
    cut, total = np.arange(steps + 1), 0.0
    for curvature in curvatures:
        a, b = (1 - high * curvature) ** 2, (1 - low * curvature) ** 2
        at_cut = start**2 * a**cut + high**2 * (1 - a**cut) / (1 - a)
        after = b ** (steps - cut)
        total = total + curvature * (at_cut * after + low**2 * (1 - after) / (1 - b))
    return int(np.argmin(total))


def by_squares(curvatures: Any, high: float, low: float, steps: int, start: float) -> int:
    """One expected square for each direction: it is multiplied, and the noise of a step is added."""
    shape = np.asarray(list(curvatures), dtype=float)
    ends = []
    for cut in range(steps + 1):
        square = np.full(len(shape), float(start) ** 2)
        for rate in [high] * cut + [low] * (steps - cut):
            square = (1 - rate * shape) ** 2 * square + rate * rate
        ends.append(float(shape @ square))
    return ends.index(min(ends))


# ---- wrong answers ----


def _best_cut(
    curvatures: Any, high: float, low: float, steps: int, start: float, mistake: str = ""
) -> Any:
    def losses(cut: int) -> list[float]:
        """After each step."""
        means, variances, found = [start] * len(curvatures), [0.0] * len(curvatures), []
        for step in range(steps):
            early = step <= cut if mistake == "late" else step < cut
            rate = high if early != (mistake == "swapped") else low
            total = 0.0
            for nth, curvature in enumerate(curvatures):
                shrink = 1 - rate * (1.0 if mistake == "no curvature" else curvature)
                means[nth] *= shrink
                shrunk = shrink if mistake == "shrink" else shrink**2
                noise = rate if mistake == "noise" else rate**2
                noise = noise * curvature**2 if mistake == "scaled noise" else noise
                variances[nth] = shrunk * variances[nth] + noise
                square = {"mean": means[nth] ** 2, "variance": variances[nth]}.get(
                    mistake, means[nth] ** 2 + variances[nth]
                )
                square = means[nth] + variances[nth] if mistake == "not squared" else square
                total += square * (1.0 if mistake == "unweighted" else curvature)
            found.append(total)
        return found

    def end(cut: int) -> float:
        return losses(cut)[-1]

    cuts = {"no end": range(steps), "no start": range(1, steps + 1)}.get(mistake, range(steps + 1))
    if mistake == "value":
        return end(min(cuts, key=end))
    if (
        mistake == "greedy"
    ):  # the first moment at which one step with the low rate is the better one
        better = (c for c in range(steps) if losses(c)[c] < losses(c + 1)[c])
        return next(better, steps)
    if mistake == "mean of the way":
        return min(cuts, key=lambda cut: sum(losses(cut)))
    found = (max if mistake == "largest" else min)(cuts, key=end)
    return found + (mistake == "plus one")


SAYS = {
    "mean": "Eight steps: cut at 8,",
    "variance": "One step from far away",
    "not squared": "Eight steps: cut at 5,",
    "shrink": "Eight steps: cut at 3,",
    "noise": "From the other side",
    "late": "One step from far away",
    "swapped": "One step from far away",
    "no curvature": "A curvature of 2",
    "scaled noise": "a short budget: cut at 18",
    "unweighted": "a short budget: cut at 20",
    "no end": "One step from far away",
    "no start": "One step from the minimum",
    "value": "The cut is a whole number",
    "greedy": "a short budget: cut at 8,",
    "mean of the way": "a short budget: cut at 14",
    "largest": "One step from far away",
    "plus one": "The cut is a number of steps from 0 to 1; yours is 2",
}


def oracle(best_cut: Callable[..., Any]) -> Any:
    """The cuts for many curvatures, rates, budgets and starts."""
    draw = Drawn(0)
    wide = [case[:5] for case in CASES]
    wide += [_random(draw) for _ in range(25)]

    def told(*case: Any) -> Any:
        return forms.whole(best_cut(*case))

    return [tried(told, list(case[0]), *case[1:]) for case in wide]


EXERCISE = Exercise(
    "best_cut",
    "The best moment to cut depends on the budget.",
    check_best_cut,
    tuple(Wrong(name, partial(_best_cut, mistake=name), says) for name, says in SAYS.items()),
    right=(Right("by powers", by_closed_form), Right("by squares", by_squares)),
    oracle=oracle,
)
