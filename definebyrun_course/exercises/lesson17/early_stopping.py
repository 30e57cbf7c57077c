"""Exercise `early_stopping`: early stopping that keeps the best state."""

from __future__ import annotations

import copy
import io
import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, tried, untouched

__all__ = ["EXERCISE"]

NAN, INF = math.nan, math.inf
ROW = "The bad epochs have to follow one another; an epoch that is the best so far starts the count again."
BEST = "Compare with the best so far; better means smaller."
CASES: tuple[tuple[int, list[float], list[int], str], ...] = (
    (1, [1.0, 0.5, 0.6], [0, 0, 1], "One epoch in a row was no better: that is the patience."),
    (2, [1.0, 1.1, 1.2], [0, 0, 1], "Count the epoch first, then compare the count with the patience."),
    (2, [0.5, 0.5, 0.5], [0, 0, 1], "A loss that stays the same is no better."),
    (2, [1.0, 2.0, 0.9, 1.0, 0.8, 1.0, 0.7], [0, 0, 0, 0, 0, 0, 0], ROW),
    (2, [1.0, 2.0, 1.5, 1.8], [0, 0, 1, 1], BEST),
    (3, [1.0, 0.8, 0.9, 0.85, 0.7, 0.75, 0.71, 0.72], [0, 0, 0, 0, 0, 0, 0, 1], BEST),
    (2, [1.0, 1.1, 1.2, 1.3, 0.9, 1.0], [0, 0, 1, 1, 0, 0],
     "Asked again after it has stopped, it goes by the same rule: what were the last epochs?"),
    (1, [1.0, 0.9999, 0.99989], [0, 0, 0], "Lower is better, however little."),
    (2, [-1.0, -2.0, -1.5, -1.9], [0, 0, 0, 1], "A loss can be negative."),
    (2, [1e-9, 0.9e-9, 1e-9, 1e-9], [0, 0, 0, 1], "However small the numbers are, lower is better."),
    (2, [1e12, 1e11, 2e11, 2e11], [0, 0, 0, 1], "However large the numbers are, lower is better."),
    (2, [NAN, 3.0, 4.0, 2.0], [0, 0, 0, 0], "A nan is no better than anything, and everything is better than none."),
    (2, [NAN, NAN, 5.0], [0, 1, 0], "A nan is no better than anything: it counts from the first epoch on."),
    (2, [INF, 1.0, INF, NAN], [0, 0, 0, 1], "A nan and an infinity are no better than 1."),
)  # fmt: skip
"""Patience, losses, whether to stop after each, and what to look at; the smallest first."""


def model() -> nn.Sequential:
    """A small model with parameters and buffers."""
    return nn.Sequential(nn.utils.skip_init(nn.Linear, 1, 2), nn.BatchNorm1d(2))


def filled(net: nn.Module, epoch: int) -> None:
    """What training does in an epoch: it writes into parameters and buffers."""
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.fill_(epoch)


def stops(patience: int, losses: list[float]) -> list[bool]:
    """What the rule says."""
    best, bad, found = INF, 0, []
    for loss in losses:
        bad = 0 if loss < best else bad + 1
        best = min(best, loss) if loss < best else best
        found.append(bad >= patience)
    return found


def check_early_stopping(EarlyStopping: Any) -> None:
    """`EarlyStopping(patience)` says when to stop and keeps the best state, safe from later steps."""
    made = getattr(EarlyStopping, "__wrapped__", EarlyStopping)
    message = f"EarlyStopping is a class; this is {forms.said(made)}."
    expect(callable(made), message, "Hand over the class itself, not an object of it.")
    for patience, losses, want, hint in CASES:
        _ask(EarlyStopping, patience, losses, list(map(bool, want)), hint)
    _two_at_once(EarlyStopping)
    draw = drawn()
    for _ in range(3):
        patience = draw.whole(1, 4)
        losses = [draw.whole(1, 9) / 10 for _ in range(12)]
        _ask(EarlyStopping, patience, losses, stops(patience, losses), ROW, f" ({draw})")


def _ask(
    EarlyStopping: Any,
    patience: int,
    losses: list[float],
    want: list[bool],
    hint: str,
    seed: str = "",
) -> None:
    early, net, best, kept = EarlyStopping(patience), model(), INF, None
    for epoch, (loss, stop) in enumerate(zip(losses, want, strict=True), start=1):
        filled(net, epoch)
        with untouched(model=net):
            answer = early.update(loss, net)
        seen = f"with a patience of {patience} and the losses {_told(losses[:epoch])}{seed}"
        _is_answer(answer, stop, seen, hint)
        if loss < best:
            best, kept = loss, epoch
        filled(net, 99)  # the next steps
        if kept is not None:
            _is_best(getattr(early, "best_state", None), net, kept, seen)


def _told(losses: list[float]) -> str:
    return ", ".join(f"{loss:g}" for loss in losses)


def _is_answer(answer: Any, stop: bool, seen: str, hint: str) -> None:
    expect(
        isinstance(answer, (bool, np.bool_)),
        f"update answers True or False, every time; yours answered {forms.said(answer)}, {seen}.",
        "A function without a return answers None.",
    )
    said = "it should stop now, and did not" if stop else "it stopped, and should not"
    expect(bool(answer) == stop, f"{seen[0].upper()}{seen[1:]}, {said}.", hint)


def _is_best(state: Any, net: nn.Module, epoch: int, seen: str) -> None:
    expect(
        isinstance(state, dict),
        f"best_state should be the model's state_dict of the best epoch; it is {forms.said(state)}, {seen}.",
        "model.state_dict() is a dictionary of tensors.",
    )
    missing = [name for name in net.state_dict() if name not in state]
    expect(
        not missing,
        f"best_state has no entry {missing[0] if missing else ''}, {seen}.",
        "model.state_dict() has all that load_state_dict asks for: buffers too.",
    )
    for name, live_one in net.state_dict().items():
        entry = state[name]
        kind = str(entry.dtype) if isinstance(entry, Tensor) else forms.said(entry)
        expect(
            kind == str(live_one.dtype),
            f"The entry {name} of the model's state_dict is a tensor of {live_one.dtype}; yours is {kind}, {seen}.",
            "A copy is what the original is; another dtype rounds.",
        )
    values = {name: float(torch.as_tensor(value).double().max()) for name, value in state.items()}
    live = [name for name, value in values.items() if value == 99]
    expect(
        not live,
        f"best_state has changed with the steps that came after: {live[0] if live else ''} is the live one, {seen}.",
        "state_dict() hands out the live tensors. Copy them when you keep them.",
    )
    other = [(name, value) for name, value in values.items() if value != epoch]
    expect(
        not other,
        f"best_state holds epoch {other[0][1] if other else 0:g}; the best was epoch {epoch}, {seen}.",
        "It is replaced by an epoch that is better, and by no other.",
    )


def _two_at_once(EarlyStopping: Any) -> None:
    """Two objects, each with a model of its own."""
    one, two = EarlyStopping(2), EarlyStopping(1)
    nets = model(), model()
    for epoch, losses in enumerate(((1.0, 5.0), (0.5, 4.0), (0.6, 4.5)), start=1):
        said = []
        for early, net, loss, step in zip(
            (one, two), nets, losses, (epoch, 10 * epoch), strict=True
        ):
            filled(net, step)
            said.append(early.update(loss, net))
    kept = [float(early.best_state["0.weight"].max()) for early in (one, two)]
    expect(
        [bool(answer) for answer in said] == [False, True] and kept == [2, 20],
        "Two objects of the class, each with its own losses, know of each other: what one has seen changes the other.",
        "What belongs to one object is set in __init__, on self.",
    )


# ---- right answers, found in other ways ----


class ByHistory:
    """Keeps all losses, and asks how long ago the best was."""

    def __init__(self, patience: int) -> None:
        self.patience, self.losses = patience, []
        self.best_state: dict[str, Tensor] = {}

    def update(self, loss: float, model: nn.Module) -> np.bool_:
        self.losses.append(INF if loss != loss else loss)
        best = int(np.argmin([INF, *self.losses]))
        if best == len(self.losses):
            self.best_state = {name: t.detach().clone() for name, t in model.state_dict().items()}
        return np.bool_(len(self.losses) - best >= self.patience)


class ByFile:
    """Keeps the state as bytes; counts down."""

    def __init__(self, patience: int) -> None:
        self.patience = self.left = patience
        self.best, self.file = INF, b""

    def update(self, loss: float, model: nn.Module) -> bool:
        if not loss < self.best:
            self.left -= 1
            return self.left <= 0
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        self.best, self.left, self.file = loss, self.patience, buffer.getvalue()
        return False

    @property
    def best_state(self) -> dict[str, Tensor] | None:
        return torch.load(io.BytesIO(self.file), weights_only=True) if self.file else None


# ---- wrong answers ----


class _EarlyStopping:
    """The solution with its usual mistakes as switches."""

    def __init__(self, patience: int, **switches: Any) -> None:
        self.patience, self.on = patience, switches.get
        self.best, self.waited, self.best_state = INF, 0, None
        self.waited += self.on("counts from 1", 0)

    def update(self, loss: float, model: nn.Module) -> Any:
        on = self.on
        better = loss < (1 - on("part", 0.0)) * self.best - on("delta", 0.0) or (
            loss == self.best and on("ties")
        )
        if on("nan") and not loss >= self.best:
            better = True
        if better:
            self.waited = self.waited if on("total") else 0
        else:
            self.waited += 1
        if better or on("every epoch"):
            self.best_state = self._state(model)
        if better or on("previous"):
            self.best = loss
        stop = self.waited >= self.patience + on("late", 0)
        if on("once"):
            stop = self.waited == self.patience
        if stop and on("starts again"):
            self.waited = 0
        return None if on("silent") and not stop else stop

    def _state(self, model: nn.Module) -> Any:
        state = model.state_dict()
        kinds = {
            "live": lambda: state,
            "shallow": lambda: dict(state),
            "parameters": lambda: {n: p.detach().clone() for n, p in model.named_parameters()},
            "model": lambda: copy.deepcopy(model),
            "loss": lambda: self.best,
        }
        return kinds.get(self.on("keeps", ""), lambda: copy.deepcopy(state))()


class _OnTheClass:
    """What it knows is kept on the class, and reset by each new object."""

    best, waited, best_state = INF, 0, None

    def __init__(self, patience: int) -> None:
        self.patience = patience
        type(self).best, type(self).waited, type(self).best_state = INF, 0, None

    def update(self, loss: float, model: nn.Module) -> bool:
        kind = type(self)
        if loss < kind.best:
            kind.best, kind.waited = loss, 0
            kind.best_state = copy.deepcopy(model.state_dict())  # type: ignore[assignment]
        else:
            kind.waited += 1
        return kind.waited >= self.patience


class _Trains(_EarlyStopping):
    """Puts the best state back into the model at once."""

    def update(self, loss: float, model: nn.Module) -> Any:
        stop = super().update(loss, model)
        if stop and self.best_state is not None:
            model.load_state_dict(self.best_state)
        return stop


WRONG = {
    "state not copied": ({"keeps": "live"}, "has changed with the steps that came after"),
    "a shallow copy": ({"keeps": "shallow"}, "has changed with the steps that came after"),
    "parameters without buffers": ({"keeps": "parameters"}, "no entry 1.running_mean"),
    "the model instead": ({"keeps": "model"}, "it is Sequential("),
    "the loss instead": ({"keeps": "loss"}, "it is inf"),
    "the last state": ({"every epoch": True}, "holds epoch 3; the best was epoch 2"),
    "count never starts again": ({"total": True}, "the losses 1, 2, 0.9, 1, it stopped"),
    "one epoch too early": ({"late": -1}, "the losses 1, it stopped"),
    "one epoch too late": ({"late": 1}, "1, 0.5, 0.6, it should stop now"),
    "compared with the last epoch": ({"previous": True}, "1, 2, 1.5, it should stop now"),
    "a tie counts as better": ({"ties": True}, "the losses 0.5, 0.5"),
    "answers only to stop": ({"silent": True}, "yours answered None"),
    "says it once": ({"once": True}, "1, 2, 1.5, 1.8, it should stop now"),
    "starts again after a stop": ({"starts again": True}, "1, 2, 1.5, 1.8, it should stop now"),
    "a smallest step": ({"delta": 1e-6}, "the losses 1e-09, 9e-10"),
    "a smallest part": ({"part": 0.001}, "the losses 1, 0.9999,"),
    "nan is better": ({"nan": True}, "the losses nan, nan, it should stop now"),
    "the count starts at 1": ({"counts from 1": 1}, "nan, it stopped"),
}  # fmt: skip


def oracle(EarlyStopping: Any) -> Any:
    """Answers and kept states for many series of losses, and two objects at once."""

    def told(patience: int, losses: list[float]) -> Any:
        early, net, found = EarlyStopping(patience), model(), []
        for epoch, loss in enumerate(losses, start=1):
            filled(net, epoch)
            answer = early.update(loss, net)
            same = float(net[0].weight.detach().max()) == epoch
            filled(net, 99)
            seen_better = any(loss < INF for loss in losses[:epoch])
            state = getattr(early, "best_state", None) if seen_better else {}
            best = sorted((n, float(t.max())) for n, t in state.items())
            is_bool = isinstance(answer, (bool, np.bool_))
            found.append([bool(answer) if is_bool else "?", same, best])
        return found

    draw = Drawn(0)
    wide = [(patience, losses) for patience, losses, _, _ in CASES]
    wide += [
        (draw.whole(1, 5), [draw.whole(-5, 5) / 7 for _ in range(draw.whole(1, 9))])
        for _ in range(40)
    ]
    found = [tried(told, patience, losses) for patience, losses in wide]
    return [*found, tried(lambda: _two_at_once(EarlyStopping))]


EXERCISE = Exercise(
    "early_stopping",
    "It waits for bad epochs in a row, and its best state is safe from later steps.",
    check_early_stopping,
    (
        *(
            Wrong(name, partial(_EarlyStopping, **switch), says)
            for name, (switch, says) in WRONG.items()
        ),
        Wrong("kept on the class", _OnTheClass, "know of each other"),
        Wrong("loads the best state", _Trains, "leave alone: model"),
        Wrong("an object", _EarlyStopping(3), "EarlyStopping is a class"),
    ),
    right=(
        Right("all losses are kept", ByHistory),
        Right("counting down, the state in bytes", ByFile),
    ),
    oracle=oracle,
)
