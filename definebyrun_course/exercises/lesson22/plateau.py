"""Exercise `plateau`: the rule that reacts to the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import SGD, lr_scheduler

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, near, tried
from ..mistakes import then

__all__ = ["EXERCISE"]

NAN, INF = math.nan, math.inf
ROW = "A good loss ends a row, and after a cut the count starts again."
BEST = "Compare with the best so far, not with the last."
Series = tuple[list[float], int, list[float], str, str]
SERIES: tuple[Series, ...] = (
    ([1.0], 0, [1], "The first loss of all is a good one", "What is the best before there was any loss?"),
    ([1.0, 0.5], 0, [1, 1], "The second loss is lower", "Lower is better."),
    ([1.0, 1.0], 0, [1, 0.5], "A loss that stays the same is bad, and one bad loss is more than 0", "Strictly lower."),
    ([1.0] * 3, 2, [1, 1, 1], "Two bad losses are not more than two",
     "Count the bad ones in a row; the first loss of all is a good one."),
    ([1.0] * 4, 2, [1, 1, 1, 0.5], "The fourth loss is the third bad one in a row",
     "More than patience means: one more."),
    ([1.0] * 5, 2, [1, 1, 1, 0.5, 0.5], "After the cut one bad loss has come", "After a cut the count starts again."),
    ([1.0] * 6, 1, [1, 1, 0.5, 0.5, 0.25, 0.25], "Two bad losses, a cut, and two again",
     "A cut starts the count again and nothing else: the best so far stays, and another cut can follow."),
    ([3, 4, 4, 2, 3, 3, 1], 2, [1] * 7, "Never three bad ones in a row", ROW),
    ([5, 1, 4, 3, 2], 2, [1, 1, 1, 1, 0.5], "Falling, but three in a row are not below 1", BEST),
    ([1, 2, 2, 1.5, 1.5], 1, [1, 1, 0.5, 0.5, 0.25], "After the cut 1.5 is not below the best",
     "The best so far survives a cut."),
    ([1, 0.99999, 0.99998, 0.99997], 1, [1] * 4, "Each loss is a little lower than the one before: all are good",
     "How much lower is not asked. Which numbers does a scheduler of PyTorch have besides patience and factor?"),
    ([-1, -2, -1.5, -1.9], 1, [1, 1, 1, 0.5], "Losses can be negative, and -2 is the lowest", BEST),
    ([0, 1e-9, 1e-9], 1, [1, 1, 0.5], "1e-9 is not lower than 0", BEST),
    ([1, NAN, NAN, NAN], 1, [1, 1, 0.5, 0.5], "A nan is not lower than the best, so it is bad",
     "`loss < best` is False for nan, and so is `loss >= best`."),
    ([NAN, NAN], 1, [1, 0.5], "A nan is bad from the first loss on",
     "A nan is lower than nothing, not even than no loss."),
    ([NAN, 3, 4, 2, 3, 3], 1, [1, 1, 1, 1, 1, 0.5], "The first loss is nan, and 3 is the best after it",
     "A nan must not become the best: what is lower than nan?"),
    ([1, INF, 2, 0.5], 1, [1, 1, 0.5, 0.5], "An infinite loss is bad", BEST),
)  # fmt: skip
"""Losses, patience, the rates from 1 on, in words, what to look at; the smallest first."""
FORM = "Append the rate once in every round, after the loss has been looked at."


def rates_of(losses: list[float], rate: float, factor: float, patience: int) -> list[float]:
    """What the rule says."""
    best, bad, rates = INF, 0, []
    for loss in losses:
        bad = 0 if loss < best else bad + 1
        best = loss if loss < best else best
        if bad > patience:
            rate, bad = rate * factor, 0
        rates.append(rate)
    return rates


def check_plateau_rates(plateau_rates: Callable[..., Any]) -> None:
    """`plateau_rates(losses, rate, factor, patience)` lists the rate after each loss."""
    for start, factor in ((1.0, 0.5), (0.2, 0.1), (1e-9, 0.5)):
        for losses, patience, halves, words, hint in SERIES:
            want = [start * factor ** round(-math.log2(half)) for half in halves]
            _ask(plateau_rates, losses, start, factor, patience, want, words, hint)
    expect(
        not forms.sequence(plateau_rates([], 1.0, 0.5, 1), "The list of rates"),
        "Without a loss there is no rate to list.",
        FORM,
    )
    draw = drawn()
    for _ in range(3):
        losses = [draw.whole(1, 9) / 10 for _ in range(12)]
        patience, factor = draw.whole(0, 3), draw.whole(1, 9) / 10
        want = rates_of(losses, 1.0, factor, patience)
        _ask(plateau_rates, losses, 1.0, factor, patience, want, f"Twelve losses ({draw})", ROW)


def _ask(plateau_rates: Any, losses: list[float], start: float, factor: float, patience: int, want: list[float],
         words: str, hint: str) -> None:  # fmt: skip
    given = list(losses)
    rates = forms.sequence(plateau_rates(given, start, factor, patience), "The list of rates")
    case = f"for the losses {_told(losses)} with rate={start:g}, factor={factor:g}, patience={patience}"
    expect(
        len(rates) == len(losses),
        f"There is one rate for each of the {len(losses)} losses; yours has {len(rates)}, {case}.",
        FORM,
    )
    found = [forms.number(rate, f"Rate {nth + 1}") for nth, rate in enumerate(rates)]
    expect(
        near(found, want, rtol=1e-5, atol=0.0),
        f"{words}; your rates {case} are {_told(found)}.",
        hint,
    )


def _told(numbers: list[float]) -> str:
    return f"[{', '.join(f'{number:g}' for number in numbers)}]"


# ---- right answers, found in other ways ----


def by_pytorch(losses: list[float], rate: float, factor: float, patience: int) -> list[float]:
    """PyTorch's scheduler without its threshold and its smallest change."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=0.0, eps=0.0
    )
    rates = []
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def by_history(losses: list[float], rate: float, factor: float, patience: int) -> Any:
    """Which losses are the best so far is found before; the rates come in an array."""
    good = [loss < min([INF, *(l for l in losses[:n] if l == l)]) for n, loss in enumerate(losses)]
    cuts, since = np.zeros(len(losses)), -1
    for n, is_good in enumerate(good):
        since = n if is_good else since
        if n - since > patience:
            cuts[n], since = 1, n
    return rate * factor ** cuts.cumsum()


# ---- wrong answers ----


def _plateau_rates(
    losses: list[float], rate: float, factor: float, patience: int, mistake: str = ""
) -> Any:
    best, bad, rates, start = INF, 0, [], rate
    best = losses[0] if mistake == "first" and losses else best
    bad = 1 if mistake == "counts from 1" else bad
    for loss in losses:
        good = {"nan": not loss >= best, "ties": loss <= best, "threshold": loss < best - 1e-4}.get(
            mistake, loss < best
        )
        bad = (bad if mistake == "in all" else 0) if good else bad + 1
        best = loss if good or mistake == "last" else best
        before = rate
        if bad > patience - (mistake == "early") + (mistake == "late"):
            rate, bad = rate * factor, bad if mistake == "count" else 0
            rate = start * factor if mistake == "once" else rate
            best = INF if mistake == "best" else best
            bad = -1 if mistake == "cooldown" else bad
        rates.append(before if mistake == "before" else rate)
    return {"the last": rates[-1:], "changes": sorted(set(rates))[::-1]}.get(mistake, rates)  # fmt: skip


def _by_pytorch(
    losses: list[float], rate: float, factor: float, patience: int, **settings: Any
) -> list[float]:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, **settings
    )
    rates = []
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


SAYS = {
    "early": "The first loss of all is a good one; your rates",
    "late": "with rate=1, factor=0.5, patience=0 are [1, 1]",
    "count": "After the cut one bad loss has come",
    "last": "Falling, but three in a row",
    "best": "Two bad losses, a cut, and two again",
    "nan": "A nan is not lower than the best, so it is bad; your rates",
    "ties": "with rate=1, factor=0.5, patience=0 are [1, 1]",
    "threshold": "Each loss is a little lower",
    "first": "The first loss of all is a good one; your rates",
    "counts from 1": "A nan is bad from the first loss on",
    "in all": "Never three bad ones in a row",
    "once": "Two bad losses, a cut, and two again",
    "cooldown": "Two bad losses, a cut, and two again",
    "before": "with rate=1, factor=0.5, patience=0 are [1, 1]",
    "the last": "There is one rate for each of the 2 losses; yours has 1",
    "changes": "There is one rate for each of the 2 losses; yours has 1",
}


def _first_is_best(losses: list[float], rate: float, factor: float, patience: int) -> list[float]:
    """The first loss is the best, and good, whatever it is."""
    best, bad, rates = losses[0] if losses else INF, 0, [rate][: len(losses)]
    for loss in losses[1:]:
        bad = 0 if loss < best else bad + 1
        best = loss if loss < best else best
        if bad > patience:
            rate, bad = rate * factor, 0
        rates.append(rate)
    return rates


def oracle(plateau_rates: Callable[..., Any]) -> Any:
    """The rates for many series of losses, and the losses afterwards."""
    draw = Drawn(0)
    wide = [(losses, 1.0, 0.5, patience) for losses, patience, *_ in SERIES]
    wide += [(losses, 1e-9, 0.5, patience) for losses, patience, *_ in SERIES]
    wide += [
        ([draw.whole(-5, 9) / 7 for _ in range(draw.whole(0, 15))], 0.3, 0.1, draw.whole(0, 4))
        for _ in range(40)
    ]
    wide += [
        ([1.0, 1 - 1e-12, 1 - 2e-12], 1.0, 0.5, 0),
        ([NAN] * 5, 1.0, 0.5, 0),
        ([-INF, -INF, 1], 1.0, 0.5, 0),
    ]

    def told(losses: list[float], *rest: Any) -> Any:
        return [float(f"{forms.number(rate):.6e}") for rate in plateau_rates(losses, *rest)]

    return [tried(told, list(losses), *rest) for losses, *rest in wide]


EXERCISE = Exercise(
    "plateau",
    "More than `patience` bad losses in a row, and nan is one.",
    check_plateau_rates,
    (
        *(Wrong(name, partial(_plateau_rates, mistake=name), says) for name, says in SAYS.items()),
        Wrong("the first is the best", _first_is_best, "A nan is bad from the first loss on"),
        Wrong("PyTorch's own threshold", _by_pytorch, "Each loss is a little lower"),
        Wrong("PyTorch's smallest change", partial(_by_pytorch, threshold=0.0), "rate=1e-09"),
        Wrong("losses overwritten", then(_plateau_rates, lambda losses, *_: losses.clear()), "losses is not what"),
        Wrong("one rate", lambda losses, rate, factor, patience: rate, "The list of rates is a sequence"),
    ),
    right=(Right("by PyTorch, without its threshold", by_pytorch), Right("good losses found before", by_history)),
    oracle=oracle,
)  # fmt: skip
