"""Exercise `fair_comparison`: repair a comparison of two schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, near, tried

__all__ = ["EXERCISE"]

Table = dict[str, dict[float, float]]
LAST = (
    "Every loss of a training, also in the choice of the rate, is the mean of its last five epochs."
)
BOTH = "Each schedule has a best rate of its own."
CHOICE = "Which set chose the rate, and on which seeds?"
ERROR = "Same seed, same start, same batches: subtract first, then ask how the differences spread."


class World(NamedTuple):
    """What `train` would measure: a level for each schedule and rate, on both sets, and what seeds and epochs add."""

    words: str
    hint: str
    validation: Table
    test: Table
    tuning: tuple[int, ...]
    reported: tuple[int, ...]
    epochs: int = 5
    jump: float = 0.0
    odd: float = 0.0  # added on tuning seeds to the validation loss of the smallest rate
    hard: float = 0.0  # added to the validation loss of tuning seed 102 at the largest rate
    late: float = 0.0  # taken from the last validation loss at the largest rate

    def train(self, schedule: str, rate: float, seed: int) -> tuple[list[float], list[float]]:
        """Validation and test loss after each epoch."""
        kind = len(schedule)
        easy = 3.0 * ((7 * seed) % 5) + 0.25 * ((3 * seed + kind) % 4)
        own = self.odd * (seed in self.tuning and rate == min(self.rates))
        own += self.hard * (seed == 102 and rate == max(self.rates))
        val, test = [], []
        for epoch in range(self.epochs):
            slip = self.jump * (((seed + 1) * (epoch + kind)) % 4)
            slip += 10.0 * kind * (epoch < self.epochs - 5)
            gift = self.late * (epoch == self.epochs - 1 and rate == max(self.rates))
            val.append(self.validation[schedule][rate] + easy + own + slip - gift)
            test.append(self.test[schedule][rate] + easy + 2 * slip)
        return val, test

    @property
    def rates(self) -> list[float]:
        return list(self.validation["one"])


def _levels(one: Sequence[float], other: Sequence[float]) -> Table:
    rates = (0.01, 0.03, 0.1)[: len(one)]
    return {"one": dict(zip(rates, one, strict=True)), "other": dict(zip(rates, other, strict=True))}  # fmt: skip


SAME = _levels([1.0], [2.0])
WORLDS = (
    World("One rate, one epoch like the other", ERROR, SAME, SAME, (100,), (0, 1, 2)),
    World("Four seeds are reported and two chose", CHOICE, SAME, SAME, (100, 101), (0, 1, 2, 3)),
    World("The loss jumps from epoch to epoch", LAST, SAME, SAME, (100,), (0, 1, 2, 4), jump=0.5),
    World("Nine epochs, the first four far above", LAST, SAME, SAME, (100,), (0, 1, 2, 4), 9, 0.5),
    World(
        "The two have different best rates", BOTH, _levels([1, 2, 3], [6, 5, 4]), _levels([1, 2, 4], [8, 7, 5]),
        (100, 101), (0, 1, 2, 3),
    ),
    World(
        "Validation and test loss have different best rates", CHOICE, _levels([1, 2, 3], [6, 5, 4]),
        _levels([3, 2, 1], [4, 5, 7]), (100, 101), (0, 1, 2, 3),
    ),
    World(
        "The seeds that choose prefer another rate than the others", CHOICE, _levels([1, 2, 3], [4, 5, 6]),
        _levels([1, 3, 6], [2, 5, 9]), (100, 101), (0, 1, 2, 3, 4), odd=2.0,
    ),
    World(
        "One seed of three fares badly at the largest rate", "The mean over the seeds decides.",
        _levels([2.0, 1.5, 1.0], [3.0, 2.5, 2.0]), _levels([2, 3, 5], [4, 6, 9]), (100, 101, 102), (0, 1, 2, 3),
        hard=4.0,
    ),
    World(
        "At the last epoch another rate is ahead", LAST, _levels([1.0, 1.4], [2.0, 2.3]), _levels([1, 3], [2, 5]),
        (100, 102), (0, 1, 2, 4), 7, late=1.0,
    ),
)  # fmt: skip
"""From the smallest up."""


def fair(world: World) -> tuple[float, float]:
    """What the statement says."""

    def loss(schedule: str, rate: float, seed: int, which: int) -> float:
        return float(np.mean(world.train(schedule, rate, seed)[which][-5:]))

    best = {
        name: min(world.rates, key=lambda r: np.mean([loss(name, r, s, 0) for s in world.tuning]))
        for name in ("one", "other")
    }
    apart = np.array([loss("one", best["one"], s, 1) - loss("other", best["other"], s, 1)
                      for s in world.reported])  # fmt: skip
    return float(apart.mean()), float(apart.std(ddof=1) / np.sqrt(len(apart)))


def check_fair_comparison(compare: Callable[..., Any]) -> None:
    """`compare(train, one, other, rates, tuning, reported)` gives the paired difference and its standard error."""
    for world in WORLDS:
        _ask(compare, world)
    draw = drawn()
    _ask(compare, _random(draw, f" ({draw})"))


def _random(draw: Drawn, seed: str = "") -> World:
    def levels() -> Table:
        return _levels(*([draw.whole(10, 90) / 10 for _ in range(3)] for _ in range(2)))

    return World(f"Any levels{seed}", BOTH, levels(), levels(), (100, 101, 103), (0, 1, 2, 3, 5), 8, 0.3)  # fmt: skip


def _ask(compare: Any, world: World) -> None:
    got = compare(world.train, "one", "other", world.rates, world.tuning, world.reported)
    found = forms.numbers(got, "What compare returns", 2)
    mean, error = fair(world)
    expect(
        near(found[0], mean, rtol=1e-6, atol=1e-6),
        f"{world.words}: the mean difference is {found[0]:.4g}, and it should be {mean:.4g}.",
        world.hint,
    )
    expect(
        near(found[1], error, rtol=1e-6, atol=1e-6),
        f"{world.words}: the mean is right and the standard error is {found[1]:.4g}, not {error:.4g}.",
        ERROR,
    )


# ---- right answers, found in other ways ----


def by_tables(train: Any, one: str, other: str, rates: Any, tuning: Any, reported: Any) -> Any:
    """All losses in one array first."""

    def losses(schedule: str, which: int, seeds: Any) -> Any:
        return np.array(
            [[np.mean(train(schedule, r, s)[which][-5:]) for s in seeds] for r in rates]
        )

    rows = [losses(n, 1, reported)[losses(n, 0, tuning).mean(1).argmin()] for n in (one, other)]
    apart = rows[0] - rows[1]
    return apart.mean(), np.sqrt(apart.var(ddof=1) / len(apart))


def by_sums(train: Any, one: str, other: str, rates: Any, tuning: Any, reported: Any) -> Any:
    """Plain Python."""
    chosen = {}
    for schedule in (one, other):
        sums = {r: sum(sum(train(schedule, r, s)[0][-5:]) for s in tuning) for r in rates}
        chosen[schedule] = min(sums, key=lambda r: sums[r])
    apart = [
        (sum(train(one, chosen[one], s)[1][-5:]) - sum(train(other, chosen[other], s)[1][-5:])) / 5
        for s in reported
    ]
    mean = sum(apart) / len(apart)
    spread = sum((each - mean) ** 2 for each in apart) / (len(apart) - 1)
    return [mean, (spread / len(apart)) ** 0.5]


# ---- wrong answers: each fault alone, and usual ones ----


def _compare(
    train: Any, one: str, other: str, rates: Any, tuning: Any, reported: Any, mistake: str = ""
) -> Any:
    def of(curve: Any, choosing: bool) -> float:
        if mistake == ("snapshot chooses" if choosing else "snapshot reported"):
            return float(curve[-1])
        if mistake == "all epochs":
            return float(np.mean(curve))
        return float(min(curve[-5:]) if mistake == "best epoch" else np.mean(curve[-5:]))

    choosers = {
        "reported chooses": reported, "all choose": [*tuning, *reported], "one seed chooses": tuning[:1],
    }.get(mistake, tuning)  # fmt: skip
    which = int(mistake == "test chooses")
    average = np.median if mistake == "median" else np.mean

    def best(schedule: str) -> Any:
        return min(
            rates, key=lambda r: average([of(train(schedule, r, s)[which], True) for s in choosers])
        )

    rate = {one: best(one), other: best(other)}
    if mistake in ("rate of one", "rate of other"):
        rate = dict.fromkeys((one, other), best(one if mistake == "rate of one" else other))
    seeds = [*tuning, *reported] if mistake == "all reported" else list(reported)
    part = 0 if mistake == "validation reported" else 1
    ones, others = ([of(train(n, rate[n], s)[part], False) for s in seeds] for n in (one, other))
    apart = np.array(ones) - np.array(others)
    apart = -apart if mistake == "sign" else apart
    error = apart.std(ddof=int(mistake != "n")) / np.sqrt(len(apart))
    if mistake == "unpaired":
        error = np.sqrt((np.var(ones, ddof=1) + np.var(others, ddof=1)) / len(apart))
    error = apart.std(ddof=1) if mistake == "spread" else error
    return apart.mean(), error


SAYS = {
    "snapshot chooses": "At the last epoch another rate is ahead: the mean difference",
    "snapshot reported": "The loss jumps from epoch to epoch",
    "all epochs": "Nine epochs, the first four far above",
    "best epoch": "The loss jumps from epoch to epoch",
    "reported chooses": "The seeds that choose prefer another rate",
    "all choose": "The seeds that choose prefer another rate",
    "one seed chooses": "One seed of three fares badly",
    "test chooses": "Validation and test loss have different best rates",
    "median": "One seed of three fares badly",
    "rate of one": "The two have different best rates",
    "rate of other": "The two have different best rates",
    "all reported": "the mean difference is -0.75, and it should be -0.8333",
    "validation reported": "The loss jumps from epoch to epoch",
    "sign": "the mean difference is 0.8333",
    "n": "the mean is right and the standard error",
    "unpaired": "the mean is right and the standard error",
    "spread": "the mean is right and the standard error",
}


def oracle(compare: Callable[..., Any]) -> Any:
    """What it returns in many worlds."""

    def told(world: World) -> Any:
        got = compare(world.train, "one", "other", world.rates, world.tuning, world.reported)
        return [float(f"{value:.6e}") for value in forms.numbers(got, length=2)]

    draw = Drawn(0)
    return [tried(told, world) for world in (*WORLDS, *(_random(draw) for _ in range(12)))]


EXERCISE = Exercise(
    "fair_comparison",
    "Tuned alike, paired, and no snapshot.",
    check_fair_comparison,
    tuple(Wrong(name, partial(_compare, mistake=name), says) for name, says in SAYS.items()),
    right=(Right("by tables", by_tables), Right("by sums", by_sums)),
    oracle=oracle,
)
