"""Exercise `averaged_state`: an exponential average of a model's parameters, with its buffers as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    counted,
    drawn,
    expect,
    near,
    shown,
    tried,
    untouched,
)
from ...grading.forms import said
from ..networks import linear

__all__ = ["EXERCISE"]

Average = dict[str, Tensor] | None


class Model(nn.Module):
    """A layer, a frozen parameter, and two buffers: one of floats, one that counts."""

    def __init__(self, draw: Drawn, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = linear(draw, 2, 3, dtype)
        self.frozen = nn.Parameter(draw.normal(2).to(dtype), requires_grad=False)
        self.register_buffer("seen", draw.normal(3).to(dtype))
        self.register_buffer("batches", torch.tensor(0))

    def moves(self, draw: Drawn) -> None:
        """Other numbers everywhere, as after a step."""
        with torch.no_grad():
            for tensor in self.state_dict().values():
                if tensor.is_floating_point():
                    tensor += draw.normal(*tensor.shape)
                else:
                    tensor += 1


def check_averaged_state(average: Callable[..., Any]) -> None:
    """`average(state, model, decay)` gives the state that comes after `state`, by name."""
    for dtype in (torch.float64, torch.float32):
        for decay in (0.5, 0.9, 0.0, 1.0):
            _ask(average, decay, Drawn(3), dtype)
    draw = drawn()
    _ask(average, 1 / draw.whole(3, 9), draw, torch.float64, f" ({draw})")


def _ask(average: Any, decay: float, draw: Drawn, dtype: torch.dtype, seed: str = "") -> None:
    model = Model(draw, dtype)
    want: Average = None
    state: Average = None
    for times in range(3):
        where = f"at call {times + 1}, decay {decay:.3g}{seed}"
        held = {name: t.detach() for name, t in model.state_dict().items()}
        with untouched(model=held):
            found = average(state, model, decay)
        want = _average(want, model, decay)
        _names_are_right(found, want, where)
        for name in want:
            _is_a_plain_tensor(name, found[name], want[name], where)
            _numbers_are_right(name, found[name], want, state, model, decay, where)
        _memory_is_its_own(found, model, state, where)
        state = found
        model.moves(draw)


def _names_are_right(found: Any, want: dict[str, Tensor], where: str) -> None:
    expect(
        isinstance(found, dict),
        f"The answer is a dictionary; yours is {said(found)}, {where}.",
        "Is a `return` missing?" if found is None else "By name, as in model.state_dict().",
    )
    missing = [name for name in want if name not in found]
    expect(
        not missing and len(found) == len(want),
        f"The dictionary lacks {', '.join(missing)}, {where}."
        if missing
        else f"The dictionary has {counted(len(found), 'name')}; the model's state has {len(want)}, {where}.",
        "Every entry of model.state_dict(), buffers and frozen parameters too.",
    )


def _is_a_plain_tensor(name: str, found: Any, right: Tensor, where: str) -> None:
    expect(
        isinstance(found, Tensor) and found.shape == right.shape,
        f"{name} is {said(found)}, {where}.",
        "Every entry is a tensor of the shape that it has in the model.",
    )
    expect(
        found.dtype == right.dtype,
        f"{name} is {found.dtype}, {where}; in the model it is {right.dtype}.",
        "A number that counts stays a whole number.",
    )
    expect(
        not found.requires_grad,
        f"{name} requires a gradient, {where}.",
        "An average that belongs to a graph keeps every step alive.",
    )


def _numbers_are_right(
    name: str,
    found: Tensor,
    want: dict[str, Tensor],
    state: Average,
    model: nn.Module,
    decay: float,
    where: str,
) -> None:
    """`state` is what the answer gave at the call before, and was right then."""
    right, now = want[name], model.state_dict()[name]
    if near(found, right, rtol=1e-4, atol=1e-6):
        return
    expect(
        state is not None,
        f"There is nothing to average with yet, and {name} is not the model's own value, {where}.",
        "The first result is a copy.",
    )
    old = (state or want)[name]
    if name in dict(model.named_buffers()):
        expect(
            not near(found, old),
            f"The buffer {name} is as it was at the call before, {where}.",
            "A buffer is taken over from the model as it is now.",
        )
        expect(
            False,
            f"The buffer {name} is {shown(found)}, neither old nor the model's {shown(now)}, {where}.",
            "Buffers are taken over; parameters are averaged.",
        )
    expect(
        not near(found, now),
        f"The parameter {name} is the model's own and no average, {where}.",
        "Parameters are averaged whether they are trained or not.",
    )
    expect(
        not near(found, (1 - decay) * old + decay * now, rtol=1e-4, atol=1e-6),
        f"The parameter {name} has the two shares the other way round, {where}.",
        "With decay 0.99 an average moves by a hundredth of the way to the model.",
    )
    expect(
        False,
        f"The parameter {name} is {shown(found.flatten()[:3])}, not {shown(right.flatten()[:3])}, {where}.",
        "decay times the old one, and how much of the model's?",
    )


def _memory_is_its_own(
    found: dict[str, Tensor], model: nn.Module, state: Average, where: str
) -> None:
    others = {**{f"the model's {n}": t for n, t in model.state_dict().items()}}
    others |= {f"the {n} handed in": t for n, t in (state or {}).items()}
    for name, tensor in found.items():
        for owner, other in others.items():
            expect(
                tensor.untyped_storage().data_ptr() != other.untyped_storage().data_ptr(),
                f"{name} shares its memory with {owner}, {where}.",
                "The optimizer writes into the model in place: what shares its memory moves with it.",
            )


# ---- answers ----


def _average(state: Average, model: nn.Module, decay: float, **switches: Any) -> dict[str, Tensor]:
    """The solution, with its usual mistakes as switches."""
    averaged = {
        name
        for name, p in model.named_parameters()
        if p.requires_grad or not switches.get("thawed")
    }
    new = {}
    for name, tensor in model.state_dict().items():
        now = tensor.detach() if switches.get("shares") else tensor.detach().clone()
        if switches.get("from zero") and state is None and name in averaged:
            now = now * (1 - decay)
        elif state is not None and (
            name in averaged or (switches.get("buffers") and now.is_floating_point())
        ):
            old = state[name]
            share = decay if not switches.get("turned") else 1 - decay
            now = (old + now) / 2 if switches.get("halves") else old * share + now * (1 - share)
        elif state is not None and switches.get("stays"):
            now = state[name].clone()
        if switches.get("floats"):
            now = now.float() if now.dtype == torch.int64 else now
        new[name] = now
    if switches.get("parameters"):
        new = {name: t for name, t in new.items() if name in averaged}
    return new


def _by_lerp(state: Average, model: nn.Module, decay: float) -> dict[str, Tensor]:
    new = {name: t.clone() for name, t in model.state_dict().items()}
    if state is not None:
        with torch.no_grad():
            for name, p in model.named_parameters():
                new[name] = torch.lerp(state[name], p, 1 - decay)
    return new


def _by_difference(state: Average, model: nn.Module, decay: float) -> dict[str, Tensor]:
    kept = dict(model.named_buffers())
    now = {name: t.detach() for name, t in model.state_dict().items()}
    old = now if state is None else state
    return {
        name: t.clone() if name in kept else old[name] + (t - old[name]) * (1 - decay)
        for name, t in now.items()
    }


def _in_place(state: Average, model: nn.Module, decay: float) -> dict[str, Tensor]:
    new = _average(state, model, decay)
    if state is None:
        return new
    for name, tensor in new.items():
        state[name].copy_(tensor)
    return state


def _with_graph(state: Average, model: nn.Module, decay: float) -> dict[str, Tensor]:
    new = _average(state, model, decay)
    return new | {name: p * 1 for name, p in model.named_parameters() if state is None}


def _silent(state: Average, model: nn.Module, decay: float) -> None:
    _average(state, model, decay)


WRONG = {
    "starts at zero": ({"from zero": True}, "nothing to average with yet"),
    "the shares turned round": ({"turned": True}, "the other way round"),
    "always half and half": ({"halves": True}, "not [1.019"),
    "buffers averaged": ({"buffers": True}, "neither old nor the model's"),
    "buffers of the first call": ({"stays": True}, "as it was at the call before"),
    "the count as a float": ({"floats": True}, "batches is torch.float32"),
    "parameters alone": ({"parameters": True}, "lacks seen, batches"),
    "shares the model's memory": ({"shares": True}, "shares its memory with the model's"),
    "frozen ones left out of the average": ({"thawed": True}, "is the model's own and no average"),
}


def oracle(average: Callable[..., Any]) -> Any:
    """The states of three calls, and whether anything is shared or changed."""

    def told(decay: float, dtype: torch.dtype) -> Any:
        draw = Drawn(1)
        model, state, states = Model(draw, dtype), None, []
        for _ in range(3):
            old = None if state is None else {n: t.clone() for n, t in state.items()}
            new = average(state, model, decay)
            same = state is None or all(torch.equal(state[n], t) for n, t in (old or {}).items())
            every = [*model.state_dict().values(), *(state or {}).values()]
            owners = {t.untyped_storage().data_ptr() for t in every}
            alone = not any(t.untyped_storage().data_ptr() in owners for t in new.values())
            states.append(
                [dict(sorted(new.items())), same, alone, any(t.requires_grad for t in new.values())]
            )
            state = new
            model.moves(draw)
        return states

    return [
        tried(told, decay, dtype, dtypes=True)
        for decay in (0.0, 0.25, 0.5, 0.99, 1.0)
        for dtype in (torch.float64, torch.float32)
    ]


EXERCISE = Exercise(
    "averaged_state",
    "Parameters averaged, buffers as they are, and nothing shared.",
    check_averaged_state,
    (
        *(Wrong(name, partial(_average, **switch), says) for name, (switch, says) in WRONG.items()),
        Wrong("writes into the state handed in", _in_place, "is not what it was"),
        Wrong("belongs to a graph", _with_graph, "requires a gradient"),
        Wrong("nothing returned", _silent, "Is a `return` missing?"),
    ),
    right=(Right("by lerp", _by_lerp), Right("by differences", _by_difference)),
    oracle=oracle,
)
