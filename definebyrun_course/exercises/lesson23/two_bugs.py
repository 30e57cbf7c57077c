"""Exercise `two_bugs`: a training loop with two bugs in it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler

from ...grading import Exercise, Right, Wrong, apart, counted, drawn, expect, forms, near, tried

__all__ = ["EXERCISE"]

SIZES = ((1, 1, 1.0), (2, 3, 1.0), (1, 2, 1.0), (2, 1, 1.0), (3, 4, 0.5), (5, 7, 0.2), (4, 3, 0.01))
"""Epochs, batches, rate; the second tells epochs, batches and steps apart."""
COUNTS = "T_max counts calls of scheduler.step(). How many are there in the whole training?"


def new_optimizer(rate: float) -> Optimizer:
    return SGD([nn.Parameter(torch.ones(1, dtype=torch.float64))], lr=rate, momentum=0.9)


def cosine(epochs: int, batches: int, rate: float) -> list[float]:
    total = epochs * batches
    return [rate * (1 + math.cos(math.pi * t / total)) / 2 for t in range(total)]


def followed(run: Any, epochs: int, batches: int, rate: float) -> tuple[Any, list[float]]:
    """What `run` returns, and the rate that the optimizer had at each of its steps."""
    optimizer, seen = new_optimizer(rate), []
    optimizer.register_step_pre_hook(lambda o, *_: seen.append(float(o.param_groups[0]["lr"])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        used = run(optimizer, epochs, batches)
    return used, seen


def check_run(run: Callable[..., Any]) -> None:
    """`run(optimizer, epochs, batches)` returns the rate used at each step of a cosine over the whole training."""
    for sizes in SIZES:
        _ask(run, *sizes)
    draw = drawn()
    _ask(run, draw.whole(1, 5), draw.whole(2, 6), draw.whole(1, 99) / 100, f" ({draw})")


def _ask(run: Any, epochs: int, batches: int, rate: float, seed: str = "") -> None:
    used, seen = followed(run, epochs, batches, rate)
    total = epochs * batches
    case = f"with epochs={epochs}, batches={batches} and a rate of {rate:g}{seed}"
    expect(
        len(seen) == total,
        f"The optimizer made {counted(len(seen), 'step')} instead of {total}, {case}.",
        "One step for each batch of each epoch.",
    )
    expect(
        near(seen[0], rate),
        f"The first step used the rate {seen[0]:.4g}, {case}: a value is skipped.",
        "Which of the two step calls writes the next rate?",
    )
    _is_cosine(seen, cosine(epochs, batches, rate), batches, case)
    found = forms.numbers(forms.sequence(used, "The list of rates"), "The list of rates")
    expect(
        len(found) == total,
        f"Your list has {counted(len(found), 'rate')}; the optimizer made {total} steps, {case}.",
        "One entry for each step of the optimizer.",
    )
    texts = apart(found[:3], seen[:3])
    expect(
        near(found, seen, atol=1e-6 * rate),
        f"Your list is not what the optimizer used: it begins with {texts[0]}, the optimizer used {texts[1]}, {case}.",
        "When has a rate been used, and when is it written over?",
    )


def _is_cosine(seen: list[float], want: list[float], batches: int, case: str) -> None:
    rises = sum(b > a + 1e-12 for a, b in pairwise(seen))
    expect(
        not rises,
        f"The rate rose {counted(rises, 'time')}, {case}: the cosine ended and went up again.",
        COUNTS,
    )
    expect(
        len(seen) < 2 or seen[-1] < seen[0],
        f"The rate never falls, {case}.",
        "Which of the two objects makes it fall, and is it told to?",
    )
    stays = any(near(a, b) for a, b in pairwise(seen)) and batches > 1
    expect(
        not stays,
        f"The rate stays the same from one batch to the next, {case}; it should fall at every batch.",
        "In which of the two loops does the scheduler step, and how often?",
    )
    texts = apart(seen[-1], want[-1])
    expect(
        near(seen, want, atol=1e-6 * want[0]),
        f"The last step used the rate {texts[0]}; half a cosine over all steps has {texts[1]} there, {case}.",
        COUNTS,
    )


# ---- right answers, found in other ways ----


def by_lambda(optimizer: Optimizer, epochs: int, batches: int) -> tuple[float, ...]:
    """A factor for each step, and one loop."""
    total = epochs * batches
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda t: math.cos(math.pi / 2 * t / total) ** 2)
    used = []
    for _ in range(total):
        used += scheduler.get_last_lr()
        optimizer.zero_grad()
        optimizer.step()
        scheduler.step()
    return tuple(used)


def by_hand(optimizer: Optimizer, epochs: int, batches: int) -> torch.Tensor:
    """Without a scheduler."""
    rates = torch.tensor(cosine(epochs, batches, optimizer.param_groups[0]["lr"])).double()
    for rate in rates.tolist():
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return rates


# ---- wrong answers ----


def _run(optimizer: Optimizer, epochs: int, batches: int, t_max: str = "all", first: bool = False, outer: bool = False,
         late: bool = False, anew: bool = False, never: bool = False, low: float = 0.0,
         keeps: str = "all") -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    total, used = epochs * batches, []
    calls = {
        "all": total,
        "epochs": epochs,
        "batches": batches,
        "one less": total - 1,
        "one more": total + 1,
    }[t_max]
    scheduler = lr_scheduler.CosineAnnealingLR(
        optimizer, max(calls, 1), low * optimizer.param_groups[0]["lr"]
    )
    for _ in range(epochs):
        if anew:
            scheduler = lr_scheduler.CosineAnnealingLR(optimizer, batches)
        for _ in range(batches):
            if first:
                scheduler.step()
            rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            if not (first or outer or never):
                scheduler.step()
            used.append(optimizer.param_groups[0]["lr"] if late else rate)
        if outer:
            scheduler.step()
    kinds = {
        "all": used,
        "epochs": used[::batches],
        "nothing": None,
        "last": used[-1] if used else 0.0,
    }
    return kinds[keeps]


def _no_steps(optimizer: Optimizer, epochs: int, batches: int) -> list[float]:
    scheduler, used = lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches), []
    for _ in range(epochs * batches):
        used.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    return used


def _step_an_epoch(optimizer: Optimizer, epochs: int, batches: int) -> list[float]:
    return _run(optimizer, 1, epochs)  # type: ignore[no-any-return]


WRONG = {
    "both bugs": (partial(_run, first=True, t_max="epochs"), "a value is skipped"),
    "the order": (partial(_run, first=True), "a value is skipped"),
    "the unit": (partial(_run, t_max="epochs"), "went up again"),
    "one epoch's batches": (partial(_run, t_max="batches"), "went up again"),
    "the outer loop": (partial(_run, t_max="epochs", outer=True), "from one batch to the next"),
    "the outer loop, all steps": (partial(_run, outer=True), "from one batch to the next"),
    "a step short": (partial(_run, t_max="one less"), "The last step used the rate 0; half a cosine"),
    "a step long": (partial(_run, t_max="one more"), "The last step used the rate 0.1883; half a cosine"),
    "not down to 0": (partial(_run, low=0.1), "The last step used the rate 0.1603; half a cosine"),
    "noted late": (partial(_run, late=True), "not what the optimizer used"),
    "a scheduler for each epoch": (partial(_run, anew=True), "from one batch to the next"),
    "no scheduler": (partial(_run, never=True), "The rate never falls"),
    "no step of the optimizer": (_no_steps, "made 0 steps"),
    "a step an epoch": (_step_an_epoch, "made 2 steps instead of 6"),
    "a rate for each epoch": (partial(_run, keeps="epochs"), "Your list has 2 rates"),
    "no return": (partial(_run, keeps="nothing"), "The list of rates is a sequence, such as a list; this is None"),
    "the last rate": (partial(_run, keeps="last"), "The list of rates is a sequence, such as a list; this is 1.0"),
}  # fmt: skip


def oracle(run: Callable[..., Any]) -> Any:
    """The rates that were used and those that are listed, for many sizes."""

    def told(*sizes: Any) -> Any:
        used, seen = followed(run, *sizes)
        lists = [[forms.number(rate) for rate in used], seen]
        return [[float(f"{rate / sizes[2] + 1e-12:.5f}") for rate in rates] for rates in lists]

    wide = [*SIZES, (7, 1, 3.0), (1, 7, 1e-6), (2, 20, 100.0)]
    return [tried(lambda sizes=sizes: told(*sizes)) for sizes in wide]


EXERCISE = Exercise(
    "two_bugs",
    "Optimizer first, and a cosine as long as the training.",
    check_run,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by a factor", by_lambda), Right("by hand", by_hand)),
    may_change=(0,),
    oracle=oracle,
)
