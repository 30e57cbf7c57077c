"""Exercise `reacting_rate`: a learning rate that reacts to the loss, on a real optimizer, and can be resumed."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler

from ...grading import Drawn, Exercise, Mistake, Right, Wrong, drawn, expect, near, tried, untouched

__all__ = ["EXERCISE"]

NAN, INF = math.nan, math.inf
Case = tuple[str, list[float], dict[str, Any], str]
ROW = "A good loss ends the row of bad ones, and so does a cut."
BEST = "Compare with the best loss so far, not with the last one."
MARGIN = "best - threshold: the margin is a difference, whatever the sign of the losses."
CASES: tuple[Case, ...] = (
    ("one loss", [1.0], {"patience": 0}, "The first finite loss is better than no loss at all."),
    ("a falling loss", [4.0, 3.0, 2.0, 1.0], {"patience": 0}, "Lower is better."),
    (
        "a loss that stays the same",
        [1.0, 1.0],
        {"patience": 0},
        "Not lower, so it is bad; more than 0 is one.",
    ),
    (
        "patience 2, two bad losses",
        [1.0] * 3,
        {"patience": 2},
        "More than patience: two are not more than two.",
    ),
    (
        "patience 2, three bad losses",
        [1.0] * 4,
        {"patience": 2},
        "More than patience: the third one cuts.",
    ),
    (
        "two cuts",
        [1.0] * 6,
        {"patience": 1},
        "After a cut the count begins again, and another cut can follow.",
    ),
    ("a noisy loss", [3.0, 4, 4, 2, 3, 3, 1], {"patience": 2}, ROW),
    ("falling, but never below the best", [5.0, 1, 4, 3, 2], {"patience": 2}, BEST),
    (
        "better by less than the threshold",
        [1.0, 0.95, 0.85, 0.8],
        {"patience": 0, "threshold": 0.1},
        MARGIN,
    ),
    (
        "small steps that add up",
        [1.0, 0.96, 0.92, 0.88],
        {"patience": 2, "threshold": 0.1},
        "A loss that is not good enough does not become the best.",
    ),
    ("better by just the threshold", [1.0, 0.75, 0.25], {"patience": 0, "threshold": 0.25}, MARGIN),
    ("negative losses", [-1.0, -0.95, -1.05, -1.3], {"patience": 0, "threshold": 0.1}, MARGIN),
    (
        "a loss of nan",
        [1.0, NAN, NAN, 0.5],
        {"patience": 1},
        "nan is lower than nothing, so it is bad.",
    ),
    (
        "nan as the first loss",
        [NAN, NAN, 2.0, 1.0, 1.5, 1.5],
        {"patience": 1},
        "nan must not become the best.",
    ),
    (
        "an infinite loss",
        [1.0, INF, INF, 0.5, 0.5],
        {"patience": 1},
        "Infinity is not lower than the best.",
    ),
    (
        "infinity as the first loss",
        [INF, INF, 1.0],
        {"patience": 0},
        "Infinity is not lower than no loss at all.",
    ),
    (
        "a cooldown of 2",
        [1.0] * 8,
        {"patience": 0, "cooldown": 2},
        "In the cooldown no bad loss is counted; when it is over, the count begins.",
    ),
    (
        "a good loss in the cooldown",
        [1.0, 1.0, 0.5, 0.7, 0.6, 0.4],
        {"patience": 0, "cooldown": 1},
        "A better loss is noted in the cooldown, too.",
    ),
    (
        "a lowest rate",
        [1.0] * 6,
        {"patience": 0, "min_lr": 0.03, "factor": 0.5},
        "No rate goes below min_lr.",
    ),
    (
        "a small rate",
        [1.0] * 4,
        {"patience": 0, "factor": 0.1, "scale": 1e-9},
        "Every cut multiplies, however small.",
    ),
)
"""Words, losses, settings, what to look at; the smallest first."""


class Reference:
    """The rule of the statement."""

    def __init__(
        self,
        rates: list[float],
        factor: float = 0.5,
        patience: int = 2,
        threshold: float = 0.0,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        self.rates, self.factor, self.patience = list(rates), factor, patience
        self.threshold, self.cooldown, self.min_lr = threshold, cooldown, min_lr
        self.best, self.bad, self.cool = INF, 0, 0

    def step(self, loss: float) -> list[float]:
        good = loss < self.best - self.threshold
        self.best = loss if good else self.best
        self.bad = 0 if good or self.cool else self.bad + 1
        self.cool = max(self.cool - 1, 0)
        if self.bad > self.patience:
            self.rates = [max(rate * self.factor, self.min_lr) for rate in self.rates]
            self.bad, self.cool = 0, self.cooldown
        return self.rates


def optimizer_with(rates: list[float]) -> Optimizer:
    """An optimizer whose groups have these rates."""
    return SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], lr=1.0)


def check_reacting_rate(ReactingRate: Callable[..., Any]) -> None:
    """`ReactingRate(optimizer, …).step(loss)` cuts the rates of all groups after more bad losses than `patience`."""
    for case in CASES:
        _judge(ReactingRate, *case)
    _judge_defaults(ReactingRate)
    _judge_forms(ReactingRate)
    draw = drawn()
    for _ in range(3):
        losses = [draw.whole(-9, 9) / 4 for _ in range(14)]
        settings = {
            "patience": draw.whole(0, 2),
            "cooldown": draw.whole(0, 2),
            "threshold": draw.whole(0, 2) / 4,
        }
        settings["factor"] = draw.whole(2, 9) / 10
        _judge(ReactingRate, f"fourteen losses ({draw})", losses, settings, ROW)
    for cut in (1, 2, 4, 5, 6):
        _judge_resume(ReactingRate, cut)


def _rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def _made(
    ReactingRate: Callable[..., Any], rates: list[float], settings: dict[str, Any]
) -> tuple[Any, Optimizer]:
    optimizer = optimizer_with(rates)
    made = ReactingRate(optimizer, **settings)
    for name in ("step", "state_dict", "load_state_dict"):
        expect(
            callable(getattr(made, name, None)),
            f"What ReactingRate(optimizer) gives has no method {name}.",
            "A class with step, state_dict and load_state_dict.",
        )
    return made, optimizer


def _judge(
    ReactingRate: Any, words: str, losses: list[float], settings: dict[str, Any], hint: str
) -> None:
    settings = dict(settings)
    scale = settings.pop("scale", 1.0)
    rates = [0.4 * scale, 0.1 * scale]
    made, optimizer = _made(ReactingRate, rates, settings)
    expect(
        near(_rates(optimizer), rates, atol=0),
        f"ReactingRate changes the rates when it is made: {_told(_rates(optimizer))}.",
        "The first loss has not come yet.",
    )
    want = Reference(rates, **settings)
    for nth, loss in enumerate(losses, start=1):
        before, wanted = _rates(optimizer), want.step(loss)
        made.step(loss)
        found = _rates(optimizer)
        expect(
            near(found, wanted, 1e-9, atol=0),
            f"For {words}, {_told(losses[:nth])}, with {_settings(settings)}, the rates go from {_told(before)} to "
            f"{_told(found)}; they should be {_told(wanted)}.",
            hint,
        )


def _judge_defaults(ReactingRate: Any) -> None:
    made, optimizer = _made(ReactingRate, [0.4, 0.1], {})
    want = Reference([0.4, 0.1])
    for loss in [1.0, 0.99999] + [1.0] * 7 + [0.0] * 3:
        made.step(loss)
        expect(
            near(_rates(optimizer), want.step(loss), 1e-9),
            "Without settings the rates are not those of factor=0.5, patience=2, threshold=0, cooldown=0, min_lr=0.",
            "Look at the first line of the stub.",
        )


def _judge_forms(ReactingRate: Any) -> None:
    """A loss may be a tensor, and the object may not look at anything but its argument."""
    made, optimizer = _made(ReactingRate, [0.4, 0.1], {"patience": 0})
    loss = torch.tensor(1.0, dtype=torch.float64, requires_grad=True) * 1
    with untouched(loss=loss):
        made.step(loss)
    kept = json.dumps(str(vars(made)) if hasattr(made, "__dict__") else "")
    expect(
        "grad_fn" not in kept
        and not any(torch.is_tensor(v) and v.requires_grad for v in vars(made).values()),
        "After step(loss) with a tensor, the object holds that tensor, and with it the graph of the loss.",
        "A number is enough: float(loss).",
    )
    made.step(torch.tensor(1.0))
    expect(
        near(_rates(optimizer), [0.2, 0.05]),
        f"For losses that are tensors, [1, 1] with patience=0, the rates are {_told(_rates(optimizer))}.",
        "A tensor with one number compares like a number.",
    )


def _judge_resume(ReactingRate: Any, cut: int) -> None:
    losses = [2.0, 1.0, 1.5, 1.4, 1.3, 1.2, 1.1, 1.6, 0.9, 1.0, 1.0]
    settings = {"patience": 1, "cooldown": 1, "threshold": 0.05}
    made, optimizer = _made(ReactingRate, [0.4, 0.1], settings)
    want = Reference([0.4, 0.1], **settings)  # type: ignore[arg-type]
    for loss in losses[:cut]:
        made.step(loss)
        want.step(loss)
    state, rates = made.state_dict(), _rates(optimizer)
    if not isinstance(state, dict):
        raise Mistake("state_dict gives a dictionary.", "What is to be remembered, by name.")
    for loss in (0.01, 5.0, 5.0):  # the old object goes on, and must not change what was saved
        made.step(loss)
    try:
        state = json.loads(json.dumps(state))
    except (TypeError, ValueError) as error:
        raise Mistake(
            f"state_dict holds something that cannot be written to a file as JSON: {error}.",
            "Numbers, texts and lists of them: not the optimizer, not a tensor.",
        ) from error
    again, optimizer = _made(ReactingRate, rates, settings)
    again.load_state_dict(copy.deepcopy(state))
    for loss in losses[cut:]:
        again.step(loss)
        wanted = want.step(loss)
        expect(
            near(_rates(optimizer), wanted, 1e-9),
            f"Resumed after {cut} losses of {_told(losses)}, the rates are {_told(_rates(optimizer))} later; they "
            f"should be {_told(wanted)}.",
            "What does the rule remember from one loss to the next? All of it is the state, as it is at that moment.",
        )


def _told(numbers: list[float]) -> str:
    return f"[{', '.join(f'{number:.4g}' for number in numbers)}]"


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in settings.items())


# ---- right answers ----


class ReactingRate:
    """The rule, written down."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.5,
        patience: int = 2,
        threshold: float = 0.0,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        self.groups = optimizer.param_groups
        self.rule = factor, patience, threshold, cooldown, min_lr
        self.state = {"best": math.inf, "bad": 0, "cool": 0}

    def step(self, loss: Any) -> None:
        factor, patience, threshold, cooldown, lowest = self.rule
        s = self.state
        loss = loss.item() if isinstance(loss, torch.Tensor) else loss
        if loss < s["best"] - threshold:
            s["best"], s["bad"] = loss, 0
        elif s["cool"] == 0:
            s["bad"] += 1
        s["cool"] = max(s["cool"] - 1, 0)
        if s["bad"] > patience:
            s["bad"], s["cool"] = 0, cooldown
            for group in self.groups:
                group["lr"] = max(group["lr"] * factor, lowest)

    def state_dict(self) -> dict[str, float]:
        return dict(self.state)

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.state.update(state)


class OfPyTorch:
    """PyTorch's own scheduler, told not to leave anything out."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.5,
        patience: int = 2,
        threshold: float = 0.0,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        self.inner = lr_scheduler.ReduceLROnPlateau(
            optimizer,
            factor=factor,
            patience=patience,
            threshold=threshold,
            threshold_mode="abs",
            cooldown=cooldown,
            min_lr=min_lr,
            eps=0.0,
        )

    def step(self, loss: Any) -> None:
        self.inner.step(torch.as_tensor(loss).detach())

    def state_dict(self) -> dict[str, Any]:
        state = self.inner.state_dict()
        return {name: state[name] for name in ("best", "num_bad_epochs", "cooldown_counter")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state)


# ---- wrong answers ----


def _with(mistake: str) -> type:
    class Answer(ReactingRate):
        def __init__(self, optimizer: Optimizer, *args: Any, **settings: Any) -> None:
            super().__init__(optimizer, *args, **settings)
            self.first, self.count, self.last = [g["lr"] for g in self.groups], 0, INF
            self.loss: Any = None

        def step(self, loss: Any) -> None:
            self.count += 1
            factor, patience, threshold, cooldown, lowest = self.rule
            s = self.state
            if mistake == "the graph":
                self.loss = loss
            loss = loss.item() if isinstance(loss, torch.Tensor) else loss
            if mistake == "the epoch":
                for group, first in zip(self.groups, self.first, strict=True):
                    group["lr"] = first * factor**self.count
                return
            if mistake == "exponential on bad" and not loss < s["best"]:
                for group in self.groups:
                    group["lr"] *= factor
            bar = s["best"] - threshold
            if mistake == "relative":
                bar = s["best"] * (1 - threshold)
            if mistake == "no threshold":
                bar = s["best"]
            good = bool(loss <= bar) if mistake == "ties" else bool(loss < bar)
            if mistake == "nan is good":
                good = not bool(loss >= bar)
            if good:
                s["best"], s["bad"] = float(loss), 0
            elif s["cool"] == 0 or mistake == "counts in the cooldown":
                s["bad"] += 1
            if mistake == "the last loss" or (mistake == "creeping best" and loss < s["best"]):
                s["best"] = float(loss)
            if mistake != "cools for ever":
                s["cool"] = max(s["cool"] - 1, 0)
            if s["bad"] > patience - (mistake == "early") + (mistake == "late"):
                s["bad"], s["cool"] = s["bad"] if mistake == "no reset" else 0, cooldown
                if mistake == "best forgotten":
                    s["best"] = INF
                for group in self.groups:
                    group["lr"] = self._cut(group["lr"], factor, lowest)

        def _cut(self, rate: float, factor: float, lowest: float) -> float:
            if mistake == "one rate for all":
                return max(self.groups[0]["lr"] * (factor if rate == self.first[0] else 1), lowest)
            if mistake == "no lowest rate":
                return rate * factor
            if mistake == "stops above the lowest":
                return rate * factor if rate * factor >= lowest else rate
            return (
                rate
                if mistake == "eps" and rate - rate * factor < 1e-8
                else max(rate * factor, lowest)
            )

        def state_dict(self) -> dict[str, Any]:
            if mistake == "a reference":
                return self.state
            left_out = {
                "bad forgotten": "bad",
                "cooldown forgotten": "cool",
                "best not saved": "best",
            }
            kept = {k: v for k, v in self.state.items() if k != left_out.get(mistake)}
            return {**kept, "optimizer": self.groups} if mistake == "the optimizer" else kept

    return Answer


SAYS = {
    "the epoch": "For one loss, [1]",
    "exponential on bad": "[1, 1], with patience=0, the rates go from [0.4, 0.1] to [0.1, 0.025]",
    "the last loss": "For falling, but never below the best",
    "creeping best": "[1, 0.95, 0.85], with",
    "early": "For one loss, [1]",
    "late": "same, [1, 1], with patience=0, the rates go from [0.4, 0.1] to [0.4",
    "ties": "same, [1, 1], with patience=0, the rates go from [0.4, 0.1] to [0.4",
    "relative": "For negative losses",
    "no threshold": "[1, 0.95], with",
    "nan is good": "For a loss of nan",
    "one rate for all": "to [0.2, 0.2]",
    "no reset": "For two cuts",
    "best forgotten": "For two cuts",
    "cools for ever": "For a cooldown of 2, [1, 1, 1, 1, 1]",
    "counts in the cooldown": "For a cooldown of 2, [1, 1, 1]",
    "no lowest rate": "For a lowest rate",
    "stops above the lowest": "For a lowest rate",
    "eps": "For a small rate",
    "bad forgotten": "Resumed after 6",
    "cooldown forgotten": "Resumed after 4",
    "best not saved": "Resumed after 2",
    "a reference": "Resumed after 1",
    "the optimizer": "cannot be written to a file as JSON",
    "the graph": "the graph of the loss",
}


def _article(optimizer: Optimizer, **settings: Any) -> Any:
    """The article's rule in a function: the loss is no argument."""

    def adjust(epoch: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] *= settings.get("factor", 0.1) ** epoch

    return adjust


def oracle(ReactingRate: Callable[..., Any]) -> Any:
    """The rates for many series of losses, with and without a resume."""
    draw = Drawn(0)
    wide: list[Any] = [(losses, dict(settings)) for _, losses, settings, _ in CASES]
    for _ in range(60):
        losses = [draw.whole(-6, 9) / 4 for _ in range(draw.whole(1, 15))]
        wide.append(
            (
                losses,
                {
                    "factor": draw.whole(1, 9) / 10,
                    "patience": draw.whole(0, 3),
                    "cooldown": draw.whole(0, 3),
                    "threshold": draw.whole(0, 3) / 5,
                    "min_lr": draw.whole(0, 1) / 30,
                },
            )
        )
    wide += [([1.0, 0.999, NAN, 1.0, 1.0, 1.0, -INF, 0.0, 0.0, 0.0, 0.0], {})]

    def told(losses: list[float], settings: dict[str, Any]) -> Any:
        scale, found = settings.pop("scale", 1.0), []
        for cut in (len(losses), 1, 3, 5):
            optimizer = optimizer_with([0.4 * scale, 0.1 * scale])
            made, rates = ReactingRate(optimizer, **settings), []
            for loss in losses[:cut]:
                made.step(loss)
                rates.append(_rates(optimizer))
            state, now = made.state_dict(), _rates(optimizer)
            made.step(torch.tensor(-5.0, requires_grad=True) * 1)
            asks = [v.requires_grad for v in vars(made).values() if torch.is_tensor(v)]
            state = json.loads(json.dumps(state))
            optimizer = optimizer_with(now)
            made = ReactingRate(optimizer, **settings)
            made.load_state_dict(state)
            for loss in losses[cut:]:
                made.step(loss)
                rates.append(_rates(optimizer))
            found.append([[[float(f"{rate:.6e}") for rate in pair] for pair in rates], asks])
        return found

    return [tried(told, list(losses), dict(settings)) for losses, settings in wide]


EXERCISE = Exercise(
    "reacting_rate",
    "It reads the loss and nothing else, and goes on after a resume as if nothing had happened.",
    check_reacting_rate,
    (
        *(Wrong(name, _with(name), says) for name, says in SAYS.items()),
        Wrong("the article's function", _article, "has no method step"),
        Wrong("PyTorch's defaults", lr_scheduler.ReduceLROnPlateau, "to [0.04, 0.01]"),
    ),
    right=(Right("the rule, written down", ReactingRate), Right("PyTorch's scheduler", OfPyTorch)),
    oracle=oracle,
    may_change=(0,),
    allows={"returns its argument": "what step and load_state_dict return is asked nowhere"},
)
