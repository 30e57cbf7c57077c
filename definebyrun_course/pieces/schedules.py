"""Learning-rate schedules as functions: settings go in, a function from a step's number to a factor comes out.

The factor times a group's own starting rate is the rate of that step. `Schedule` writes it into an optimizer, `Plateau`
and `lowered` are the rule that looks at the loss. Nothing here knows how a network is trained; built in lesson 23.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from torch.optim import Optimizer

__all__ = [
    "Factor",
    "Plateau",
    "Schedule",
    "better",
    "constant",
    "cosine",
    "cyclic",
    "exponential",
    "linear",
    "lowered",
    "milestones",
    "one_cycle",
    "polynomial",
    "product",
    "restarts",
    "sequence",
    "step_decay",
]

Factor = Callable[[int], float]
"""From the number of a step, 0 first, to what the starting rate is multiplied by."""


def step_decay(every: int, gamma: float = 0.1) -> Factor:
    """Times `gamma` after every `every` steps: torch's `StepLR`.

    >>> [step_decay(2, 0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return lambda step: gamma ** (step // every)


def milestones(at: Iterable[int], gamma: float = 0.1) -> Factor:
    """Times `gamma` at each step named in `at`; a step named twice counts twice: torch's `MultiStepLR`.

    >>> [milestones([1, 3], 0.5)(step) for step in range(5)]
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """
    at = sorted(at)
    return lambda step: gamma ** bisect_right(at, step)


def exponential(gamma: float) -> Factor:
    """Times `gamma` at every step: torch's `ExponentialLR`."""
    return lambda step: gamma**step


def constant(factor: float, until: int) -> Factor:
    """`factor` before step `until`, 1 from there on: torch's `ConstantLR`."""
    return lambda step: factor if step < until else 1.0


def linear(start: float, end: float, until: int) -> Factor:
    """A straight line from `start` to `end` at step `until`, then `end`: torch's `LinearLR`. Warm-up, with end 1.

    >>> [linear(0.25, 1.0, 3)(step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return lambda step: start + (end - start) * min(step, until) / until


def polynomial(until: int, power: float = 1.0) -> Factor:
    """`(1 - step / until) ** power`, and 0 from step `until` on: torch's `PolynomialLR`."""
    return lambda step: (1 - min(step, until) / until) ** power


def cosine(until: int, floor: float = 0.0) -> Factor:
    """Half a cosine from 1 to `floor` at step `until`, and up again after it: torch's `CosineAnnealingLR`.

    torch's `eta_min` is a rate, the same for all groups; `floor` is a share: `eta_min / rate`.
    Source: Loshchilov and Hutter, SGDR, arXiv 1608.03983, equation 5.

    >>> [round(cosine(4)(step), 3) for step in (0, 1, 2, 4, 8)]
    [1.0, 0.854, 0.5, 0.0, 1.0]
    """
    return lambda step: floor + (1 - floor) * (1 + math.cos(math.pi * step / until)) / 2


def restarts(first: int, times: int = 1, floor: float = 0.0) -> Factor:
    """Half cosines one after another, each `times` as long as the last: torch's `CosineAnnealingWarmRestarts`.

    >>> [round(restarts(2, 2)(step), 2) for step in range(7)]
    [1.0, 0.5, 1.0, 0.85, 0.5, 0.15, 1.0]
    """

    def factor(step: int) -> float:
        length = first
        while step >= length:
            step, length = step - length, length * times
        return cosine(length, floor)(step)

    return factor


def one_cycle(
    total: int,
    low: float = 1 / 25,
    high: float = 1.0,
    last: float = 1 / 25e4,
    warm: float = 0.3,
    shape: str = "cos",
    three_phase: bool = False,
) -> Factor:
    """Up from `low` to `high`, then down to `last` at step `total - 1`: torch's `OneCycleLR`, as shares of `max_lr`.

    Momentum runs the other way: `one_cycle(total, low=0.95, high=0.85, last=0.95)`. With `three_phase` it comes back
    to `low` as fast as it went up, and only then to `last`. Source: Smith and Topin, Super-Convergence, arXiv
    1708.07120, and torch's phase ends.

    Raises `ValueError` for a phase without length, where torch divides by zero.
    """
    ends, levels = [0.0, warm * total - 1, total - 1.0], [low, high, last]
    if three_phase:
        ends.insert(2, 2 * warm * total - 2)
        levels.insert(2, low)
    if any(end == start for start, end in pairwise(ends)):
        raise ValueError(f"one_cycle has a phase without length: phases end at steps {ends[1:]}.")

    def factor(step: int) -> float:
        phase = next((i for i, end in enumerate(ends[1:]) if step <= end), len(ends) - 2)
        done = (step - ends[phase]) / (ends[phase + 1] - ends[phase])
        down = (1 + math.cos(math.pi * done)) / 2 if shape == "cos" else 1 - done
        return levels[phase + 1] + (levels[phase] - levels[phase + 1]) * down

    return factor


def cyclic(
    up: int,
    down: int | None = None,
    low: float = 0.1,
    mode: str = "triangular",
    gamma: float = 1.0,
) -> Factor:
    """Up and down between `low` and 1, again and again, as shares of `max_lr`: torch's `CyclicLR`.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186.

    >>> [round(cyclic(2, low=0.5)(step), 2) for step in range(6)]
    [0.5, 0.75, 1.0, 0.75, 0.5, 0.75]
    """
    down = up if down is None else down

    def factor(step: int) -> float:
        cycle, place = divmod(step, up + down)
        height = place / up if place <= up else (up + down - place) / down
        shrink = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": gamma**step}[mode]
        return low + (1 - low) * height * shrink

    return factor


def product(*factors: Factor) -> Factor:
    """All of them at once: what torch's `ChainedScheduler` does with schedulers that multiply the current rate."""
    return lambda step: math.prod(factor(step) for factor in factors)


def sequence(factors: Sequence[Factor], at: Sequence[int]) -> Factor:
    """One after another, each counting from 0 when its turn comes: torch's `SequentialLR`.

    >>> warm_up_then_cosine = sequence([linear(0.25, 1.0, 3), cosine(4)], at=[3])
    >>> [round(warm_up_then_cosine(step), 2) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 0.85, 0.5, 0.15, 0.0]
    """

    def factor(step: int) -> float:
        turn = bisect_right(at, step)
        return factors[turn](step - (at[turn - 1] if turn else 0))

    return factor


class Schedule:
    """A scheduler: counts steps and writes `base rate × factor(count)` into every group of an optimizer.

    One factor serves all groups; otherwise there is one for each. What it keeps beside the optimizer is the count and
    the base rates, so a state is two entries, and loading one also writes the rates.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.8)
    >>> schedule = Schedule(optimizer, exponential(0.5))
    >>> optimizer.step()
    >>> schedule.step()
    >>> optimizer.param_groups[0]["lr"]
    0.4
    """

    def __init__(self, optimizer: Optimizer, *factors: Factor) -> None:
        groups = len(optimizer.param_groups)
        if len(factors) not in (1, groups):
            raise ValueError(
                f"Schedule needs one factor, or one for each of {groups} groups; got {len(factors)}."
            )
        self.optimizer = optimizer
        self.factors = list(factors) * (groups if len(factors) == 1 else 1)
        self.base = [group["lr"] for group in optimizer.param_groups]
        self.count = 0
        self.write()

    def write(self) -> None:
        """Write the rates of the present count into the optimizer."""
        groups = self.optimizer.param_groups
        for group, base, factor in zip(groups, self.base, self.factors, strict=True):
            group["lr"] = base * factor(self.count)

    def step(self) -> None:
        """Count one step and write its rates; to be called after the optimizer's own step."""
        self.count += 1
        self.write()

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "base": list(self.base)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self.base = state["count"], list(state["base"])
        self.write()


def better(
    loss: float, best: float, mode: str = "min", threshold: float = 1e-4, kind: str = "rel"
) -> bool:
    """Whether `loss` beats `best` by more than the threshold, as torch's `ReduceLROnPlateau` asks it.

    The relative question multiplies `best`: with a `best` below 0 it takes no change for an improvement.

    >>> better(0.99, 1.0), better(-1.0, -1.0), better(-1.0, -1.0, kind="abs"), better(float("nan"), 1.0)
    (True, True, False, False)
    """
    sign = 1 if mode == "max" else -1
    bar = best * (1 + sign * threshold) if kind == "rel" else best + sign * threshold
    return loss > bar if mode == "max" else loss < bar


class Plateau:
    """Says when to cut the rate: after *more than* `patience` losses in a row that were not better than the best.

    For `cooldown` losses after a cut none is counted. `how` goes to `better`: mode, threshold, kind. This is the rule
    of torch's `ReduceLROnPlateau`; what a cut does to a rate is `lowered`.

    >>> plateau = Plateau(patience=2)
    >>> [plateau.cut(loss) for loss in (0.9, 0.9, 0.9, 0.9, 0.9)]
    [False, False, False, True, False]
    """

    def __init__(self, patience: int = 10, cooldown: int = 0, **how: Any) -> None:
        self.patience, self.cooldown, self.how = patience, cooldown, how
        self.best = -math.inf if how.get("mode") == "max" else math.inf
        self.bad, self.cooling = 0, 0

    def cut(self, loss: float) -> bool:
        """Take in one loss; whether the rate is to be cut now."""
        if better(loss, self.best, **self.how):
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        if self.cooling:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad <= self.patience:
            return False
        self.bad, self.cooling = 0, self.cooldown
        return True

    def state_dict(self) -> dict[str, Any]:
        """What has been seen so far, without the settings: loading it does not undo a new patience."""
        return {"best": self.best, "bad": self.bad, "cooling": self.cooling}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.bad, self.cooling = state["best"], state["bad"], state["cooling"]


def lowered(rate: float, factor: float = 0.1, least: float = 0.0, eps: float = 1e-8) -> float:
    """The rate after a cut: times `factor`, not below `least`; unchanged if it would move by no more than `eps`.

    >>> lowered(0.5), lowered(0.5, least=0.2), lowered(1e-8)
    (0.05, 0.2, 1e-08)
    """
    new = max(rate * factor, least)
    return new if rate - new > eps else rate
