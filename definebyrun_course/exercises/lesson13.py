"""Exercises of lesson 13, Learning-rate decay: warm up, react to the loss, order two steps, resume, part groups."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]

near = partial(math.isclose, rel_tol=1e-9, abs_tol=1e-12)


def _optimizer(rate: float) -> Optimizer:
    return SGD([nn.Parameter(torch.ones(1, dtype=torch.float64))], lr=rate, momentum=0.9)


# ---- 13.1: warm-up, then cosine ----


def check_warm_cosine(warm_cosine: Callable[..., Any]) -> None:
    """`warm_cosine(warm, total, floor)` gives a function from a step to a factor."""
    for warm, total, floor in [(4, 20, 0.0), (1, 7, 0.1), (10, 14, 0.25)]:
        factor = warm_cosine(warm, total, floor)
        expect(callable(factor), "warm_cosine returns a function of the step; yours is none.")
        expect(factor(0) != 0, "The factor of step 0 is 0: that step is wasted.", "1 / warm.")
        wave = [(1 + math.cos(math.pi * t / (total - warm))) / 2 for t in range(total - warm + 1)]
        want = [(t + 1) / warm for t in range(warm)] + [floor + (1 - floor) * w for w in wave]
        for step, right in enumerate([*want, floor, floor]):
            got = factor(step)
            part, hint = "on the cosine", "It goes from 1 to floor in total - warm steps."
            if step < warm:
                part, hint = "on the straight line", "Step warm - 1 is the first at 1."
            if step == warm:
                part, hint = "where the cosine begins", "Count its steps from there."
            if step > total:
                part, hint = "past the end", "A longer training should stay at the floor."
            said = f"warm={warm}, total={total}, floor={floor}: step {step}, {part}, has the factor"
            expect(near(got, right), f"{said} {got:.4g}, not {right:.4g}.", hint)


def _warm_cosine(
    warm: int, total: int, floor: float = 0.0, first: int = 1, end: float = 1, shift: int = 1
) -> Callable[[int], float]:
    """The solution with its usual mistakes as switches."""

    def factor(step: int) -> float:
        if step < warm:
            return (step + first) / warm
        done = min(end, (step - shift * warm) / (total - shift * warm))
        return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2

    return factor


# ---- 13.2: the rule that reacts to the loss ----

nan = math.nan
SERIES = (
    ([1.0] * 3, 2, [1, 1, 1], "Three losses of 1.0 and patience=2: one too early",
     "More than two bad ones in a row, and the first loss of all is a good one."),
    ([1.0] * 4, 2, [1, 1, 1, 0.5], "Four losses of 1.0 and patience=2: three of them are bad", ""),
    ([1.0] * 5, 2, [1, 1, 1, 0.5, 0.5], "Five losses of 1.0 and patience=2",
     "After a cut the count starts again."),
    ([3, 4, 4, 2, 3, 3, 1], 2, [1] * 7, "Never three bad ones in a row", "A good loss ends a row."),
    ([5, 1, 4, 3, 2], 2, [1, 1, 1, 1, 0.5], "Falling, but three in a row are not below 1",
     "Compare with the best so far, not with the last."),
    ([1, 2, 2, 1.5, 1.5], 1, [1, 1, 0.5, 0.5, 0.25], "After the cut 1.5 is not below the best",
     "The best so far survives a cut."),
    ([1, nan, nan, nan], 1, [1, 1, 0.5, 0.5], "A nan is not lower than the best, so it is bad",
     "`loss < best` is False for nan, and so is `loss >= best`."),
)  # fmt: skip


def check_plateau_rates(plateau_rates: Callable[..., Any]) -> None:
    """`plateau_rates(losses, rate, factor, patience)` lists the rate after each loss."""
    for start in (1.0, 0.2):
        for losses, patience, want, said, hint in SERIES:
            rates = plateau_rates(list(losses), start, 0.5, patience)
            whole = isinstance(rates, (list, tuple)) and len(rates) == len(losses)
            expect(whole, f"Return a list with one rate for each of the {len(losses)} losses.")
            right = all(near(rate, start * w) for rate, w in zip(rates, want, strict=True))
            expect(right, f"{said}; your rates for {losses}, from {start}, are {rates}.", hint)


def _plateau_rates(
    losses: list[float], rate: float, factor: float, patience: int, mistake: str = ""
) -> list[float]:
    best, bad, rates = math.inf, 0, []
    for loss in losses:
        good = not loss >= best if mistake == "nan" else loss < best
        bad = 0 if good else bad + 1
        best = loss if good or mistake == "last" else best
        if bad > patience - (mistake == "early"):
            rate, bad = rate * factor, bad if mistake == "count" else 0
            best = math.inf if mistake == "best" else best
        rates.append(rate)
    return rates


# ---- 13.3: order and unit of the two steps ----


def check_run(run: Callable[[Optimizer, int, int], Any]) -> None:
    """`run(optimizer, epochs, batches)` returns the rate used at each step of a cosine over the whole training."""
    for epochs, batches, rate in [(3, 4, 1.0), (5, 7, 0.2)]:
        optimizer, seen = _optimizer(rate), []
        optimizer.register_step_pre_hook(lambda o, *_, s=seen: s.append(o.param_groups[0]["lr"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            used = run(optimizer, epochs, batches)
        total = epochs * batches
        expect(len(seen) == total, f"The optimizer made {len(seen)} steps instead of {total}.")
        said = f"The first step used the rate {seen[0]:.4g}, not {rate}: a value is skipped."
        expect(near(seen[0], rate), said, "Which of the two step calls writes the next rate?")
        counts = "T_max counts calls of scheduler.step()."
        rises = sum(b > a for a, b in pairwise(seen))
        expect(
            not rises, f"The rate rose {rises} times: the cosine ended and went up again.", counts
        )
        expect(seen[1] < seen[0], "The rate stays for a whole epoch; let it fall at every batch.")
        want = [rate * (1 + math.cos(math.pi * t / total)) / 2 for t in range(total)]
        said = (
            f"The last rate is {seen[-1]:.4g}; half a cosine over {total} steps has {want[-1]:.4g}."
        )
        expect(all(map(near, seen, want)), said, counts)
        same = isinstance(used, (list, tuple)) and len(used) == total and all(map(near, used, seen))
        expect(same, "Your list is not what the optimizer used.", "Append before optimizer.step().")


def _run(optimizer: Optimizer, epochs: int, batches: int, mistake: str = "") -> list[float]:
    calls = epochs if mistake in ("unit", "epoch") else epochs * batches
    scheduler, used = lr_scheduler.CosineAnnealingLR(optimizer, calls), []
    for batch in range(1, epochs * batches + 1):
        if mistake == "first":
            scheduler.step()
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        if mistake != "first" and (mistake != "epoch" or batch % batches == 0):
            scheduler.step()
        used.append(optimizer.param_groups[0]["lr"] if mistake == "late" else rate)
    return used


# ---- 13.4: resume ----

MAKERS = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 4, 0.5),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 1.0, 40),
}


def _go(optimizer: Optimizer, scheduler: Any) -> list[tuple[float, float]]:
    """Six steps; the rate and the place after each."""
    [weight], path = optimizer.param_groups[0]["params"], []
    for _ in range(6):
        weight.grad, rate = torch.ones_like(weight), optimizer.param_groups[0]["lr"]
        before = weight.item()
        optimizer.step()
        scheduler.step()
        path.append((rate, before - weight.item()))
    return path


def check_resume(pack: Callable[..., Any], unpack: Callable[..., Any]) -> None:
    """`unpack` puts a run of optimizer and scheduler back as `pack` found it."""
    for name, make in MAKERS.items():
        old, new = _optimizer(1.0), _optimizer(1.0)
        scheduler, built = make(old), make(new)
        _go(old, scheduler)
        saved = pack(old, scheduler)
        true = _go(old, scheduler)
        unpack(saved, new, built)
        said = f"{name} counts {built.last_epoch} steps after unpack, not 6."
        expect(built.last_epoch == 6, said, "The count is in the scheduler's state.")
        said = f"With {name} the next step would use the rate {new.param_groups[0]['lr']:.4g}, not {true[0][0]:.4g}."
        expect(near(new.param_groups[0]["lr"], true[0][0]), said, "It is in the optimizer's state.")
        again = [near(a, b) for one, two in zip(_go(new, built), true, strict=True)
                 for a, b in zip(one, two, strict=True)]  # fmt: skip
        said = f"With {name} rate and count are right, but the resumed run takes other steps: velocity."
        expect(all(again), said, "state_dict hands out the live buffers, and the old run went on.")


def _pack(optimizer: Any, scheduler: Any, left_out: str = "", copies: bool = True) -> Any:
    parts = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    parts.pop(left_out, None)
    return copy.deepcopy(parts) if copies else parts


def _unpack(saved: dict[str, Any], optimizer: Any, scheduler: Any) -> None:
    for name, part in (("optimizer", optimizer), ("scheduler", scheduler)):
        if name in saved:
            part.load_state_dict(saved[name])


# ---- 13.5: another decay for each group ----


def check_two_speeds(two_speeds: Callable[..., Any]) -> None:
    """`two_speeds(body, head)` gives an optimizer of two groups and a scheduler that moves each in its own way."""
    body, head = ([nn.Parameter(torch.ones(2)) for _ in range(n)] for n in (2, 1))
    result = two_speeds(body, head)
    expect(isinstance(result, tuple) and len(result) == 2, "Return (optimizer, scheduler).")
    optimizer, scheduler = result
    count = len(optimizer.param_groups)
    expect(count == 2, f"The optimizer has {count} groups, not 2.", "A dictionary for each.")
    for step in range(35):
        want = 0.001 * (step >= 5), 0.1 * 0.5 ** (step // 10)
        for group, own, rate in zip(optimizer.param_groups, (body, head), want, strict=True):
            name = "body" if own is body else "head"
            same = [id(p) for p in group["params"]] == [id(p) for p in own]
            expect(same, f"The group of {name} holds other parameters.", "body first, head second.")
            momentum = group["momentum"]
            expect(momentum == 0.9, f"The group of {name} has the momentum {momentum}, not 0.9.")
            said = f"After {step} calls the rate of {name} is {group['lr']:.4g}, not {rate:.4g}."
            hint = (
                "LambdaLR takes a list of functions, one a group; each gives a factor of its rate."
            )
            expect(near(group["lr"], rate), said, hint)
        optimizer.step()
        scheduler.step()


def _two_speeds(body: Any, head: Any, mistake: str = "") -> Any:
    groups = [{"params": body, "lr": 0.001}, {"params": head, "lr": 0.1}]
    optimizer = SGD(groups, lr=0.1, momentum=0.0 if mistake == "momentum" else 0.9)
    scale, until = 0.001 if mistake == "rate" else 1.0, 6 if mistake == "late" else 5
    slow, fast = (lambda step: scale * (step >= until)), (lambda step: 0.5 ** (step // 10))
    return optimizer, lr_scheduler.LambdaLR(optimizer, fast if mistake == "one" else [slow, fast])


def _wrong(solution: Callable[..., Any], **said: str) -> tuple[Wrong, ...]:
    """One wrong answer for each mistake that the solution can be told to make."""
    return tuple(Wrong(name, partial(solution, mistake=name), says) for name, says in said.items())


EXERCISES = (
    Exercise("13.1", "Up in a line, down in a cosine, and at rest afterwards.", check_warm_cosine, (
        Wrong("starts at 0", partial(_warm_cosine, first=0), "that step is wasted"),
        Wrong("climbs again", partial(_warm_cosine, end=9.0), "past the end"),
        Wrong("cosine from step 0", partial(_warm_cosine, shift=0), "where the cosine begins"),
    )),
    Exercise(
        "13.2", "More than `patience` bad losses in a row, and nan is one.", check_plateau_rates,
        _wrong(_plateau_rates, early="one too early", count="Five losses", last="Falling, but",
               best="After the cut", nan="A nan is not lower"),
    ),
    Exercise(
        "13.3", "Optimizer first, and a cosine as long as the training.", check_run,
        _wrong(_run, first="a value is skipped", unit="went up again", epoch="for a whole epoch",
               late="not what the optimizer used"),
    ),
    Exercise("13.4", "Count, rate and velocity are those of the old run.", check_resume, (
        Wrong("no scheduler", (partial(_pack, left_out="scheduler"), _unpack), "counts 0 steps"),
        Wrong("no optimizer", (partial(_pack, left_out="optimizer"), _unpack), "next step would use"),
        Wrong("live buffers", (partial(_pack, copies=False), _unpack), "takes other steps"),
    )),
    Exercise(
        "13.5", "Two groups, two schedules, one scheduler.", check_two_speeds,
        _wrong(_two_speeds, one="rate of body", late="After 5 calls", rate="is 1e-06",
               momentum="has the momentum 0"),
    ),
)  # fmt: skip
