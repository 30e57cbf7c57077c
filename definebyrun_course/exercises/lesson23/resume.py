"""Exercise `resume`: resume optimizer and scheduler."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...grading import Exercise, Right, Wrong, apart, drawn, expect, near, plain, tried
from ..mistakes import then
from .runs import MAKERS, Path, go, put_back, start, velocities

__all__ = ["EXERCISE"]

LATER = 6
"""Steps that the old run and the resumed one are compared over."""


def check_resume(pack: Callable[..., Any], unpack: Callable[..., Any]) -> None:
    """`unpack` puts a run of optimizer and scheduler back as `pack` found it."""
    for steps in (1, 6, 0):
        for name in MAKERS:
            _ask(pack, unpack, name, steps)
    _ask(pack, unpack, "LambdaLR", 3, groups=2)
    _two_at_once(pack, unpack)
    draw = drawn()
    names = sorted(MAKERS)
    _ask(pack, unpack, names[draw.whole(0, 3)], draw.whole(1, 20), draw.whole(1, 2), f" ({draw})")


def _ask(pack: Any, unpack: Any, name: str, steps: int, groups: int = 1, seed: str = "") -> None:
    old, scheduler = start(name, groups)
    go(old, scheduler, steps)
    velocity = velocities(old)
    saved = pack(old, scheduler)
    where = f"with {name}, packed after {steps} step{'' if steps == 1 else 's'}{seed}"
    expect(
        saved is not None,
        f"pack returns what unpack needs; yours returned None, {where}. Is a `return` missing?",
        "Both objects know how to give their state away.",
    )
    expect(
        scheduler.last_epoch == steps,
        f"pack has moved the old run: its scheduler counts {scheduler.last_epoch} steps now, {where}.",
        "Packing only reads.",
    )
    true = go(old, scheduler, LATER)
    new, built = start(name, groups)
    put_back(unpack, saved, new, built)
    _counts_and_rates(new, built, steps, true[:groups], where)
    _velocities(velocities(new), velocity, velocities(old), where)
    again = go(new, built, LATER)
    expect(
        near(again, true, rtol=1e-9),
        f"Count, rate and velocity are right, but a later step of the resumed run differs, {where}.",
        "Is there anything else in the two states? Which of their entries have you put back?",
    )


def _counts_and_rates(new: Optimizer, built: Any, steps: int, true: Path, where: str) -> None:
    expect(
        built.last_epoch == steps,
        f"The scheduler counts {built.last_epoch} steps after unpack, not {steps}, {where}.",
        "Who knows how many steps were made? And an assignment to a name of the function changes no object.",
    )
    rates = [float(group["lr"]) for group in new.param_groups]
    texts = apart(rates, [rate for rate, _ in true])
    expect(
        near(rates, [rate for rate, _ in true], rtol=1e-9),
        f"The next step would use the rate {texts[0]}, not {texts[1]}, {where}.",
        "The rate of the next step lies in the optimizer's groups, and building the scheduler wrote into them.",
    )
    texts = apart([float(rate) for rate in built.get_last_lr()], rates)
    expect(
        near(built.get_last_lr(), rates, rtol=1e-9),
        f"The scheduler's get_last_lr() tells {texts[0]}, and the groups have {texts[1]}, {where}.",
        "A scheduler's state holds more than its count.",
    )


def _velocities(found: list[float], right: list[float], later: list[float], where: str) -> None:
    live = not near(found, right) and near(found, later)
    expect(
        not live,
        f"The velocity is that of the old run as it is now, not as it was packed, {where}.",
        "state_dict hands out the live buffers, and the old run went on.",
    )
    lost = [math.isnan(one) and not math.isnan(two) for one, two in zip(found, right, strict=True)]
    expect(
        not any(lost),
        f"The velocity was not put back, {where}: the resumed run starts from rest.",
        "Momentum is kept in the optimizer's state, one buffer for each parameter.",
    )
    texts = apart(found, right)
    expect(
        near(found, right, rtol=1e-9),
        f"The velocity is {texts[0]} after unpack, and was {texts[1]} when it was packed, {where}.",
        "Is it another parameter's, or another moment's?",
    )


def _two_at_once(pack: Any, unpack: Any) -> None:
    """Two runs are packed before either is put back."""
    runs = [start("StepLR"), start("LambdaLR")]
    for steps, run in zip((5, 2), runs, strict=True):
        go(*run, steps)
    packed = [pack(*run) for run in runs]
    counts = []
    for saved, name in zip(packed, ("StepLR", "LambdaLR"), strict=True):
        new, built = start(name)
        put_back(unpack, saved, new, built)
        counts.append(built.last_epoch)
    expect(
        counts == [5, 2],
        f"Two runs of 5 and 2 steps were packed; put back, they count {counts[0]} and {counts[1]} steps.",
        "All that unpack needs is in what pack returned, and nowhere else.",
    )


# ---- right answers, found in other ways ----


def pack_bytes(optimizer: Optimizer, scheduler: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], buffer)
    return buffer.getvalue()


def unpack_bytes(saved: bytes, optimizer: Optimizer, scheduler: Any) -> None:
    first, second = torch.load(io.BytesIO(saved), weights_only=False)
    scheduler.load_state_dict(second)
    optimizer.load_state_dict(first)


def pack_fields(optimizer: Optimizer, scheduler: Any) -> Any:
    """Options, buffers and the scheduler's own fields, one by one."""
    options = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    buffers = [
        {k: v.clone() if isinstance(v, Tensor) else v for k, v in optimizer.state[p].items()}
        for g in optimizer.param_groups
        for p in g["params"]
        if p in optimizer.state
    ]
    state = copy.deepcopy(scheduler.state_dict())
    return options, buffers, state


def unpack_fields(saved: Any, optimizer: Optimizer, scheduler: Any) -> None:
    options, buffers, state = saved
    for group, own in zip(optimizer.param_groups, options, strict=True):
        group.update(own)
    parameters = [p for g in optimizer.param_groups for p in g["params"]]
    for parameter, buffer in zip(parameters, buffers, strict=False):
        optimizer.state[parameter] = buffer
    scheduler.load_state_dict(state)


# ---- wrong answers ----


def pack_both(
    optimizer: Any, scheduler: Any, left_out: str = "", copies: Any = copy.deepcopy
) -> Any:
    parts = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    if left_out == "velocity":
        parts["optimizer"]["state"] = {}
    if left_out == "rate":
        parts["optimizer"]["param_groups"] = []
    parts.pop(left_out, None)
    return copies(parts)


def unpack_both(saved: dict[str, Any], optimizer: Any, scheduler: Any) -> None:
    for name, part in (("optimizer", optimizer), ("scheduler", scheduler)):
        if name in saved:
            part.load_state_dict(saved[name])


def _unpack_state(saved: Any, optimizer: Any, scheduler: Any) -> None:
    """The groups stay as they are built."""
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved["optimizer"]["state"], "param_groups": groups})
    scheduler.load_state_dict(saved["scheduler"])


def _unpack_names(saved: Any, optimizer: Any, scheduler: Any) -> None:
    """Assigns to its own names."""
    optimizer, scheduler = saved  # noqa: RUF059


def _pack_count(optimizer: Any, scheduler: Any) -> Any:
    return scheduler.last_epoch


def _unpack_count(saved: Any, optimizer: Any, scheduler: Any) -> None:
    scheduler.last_epoch = saved


def _unpack_and_count(saved: Any, optimizer: Any, scheduler: Any) -> None:
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.last_epoch = saved["scheduler"]["last_epoch"]


def _unpack_crossed(saved: Any, optimizer: Any, scheduler: Any) -> None:
    """The last parameter's velocity for the first."""
    unpack_both(saved, optimizer, scheduler)
    states = [optimizer.state[g["params"][0]] for g in optimizer.param_groups]
    buffers = [state.get("momentum_buffer") for state in states]
    for state, buffer in zip(states, buffers[::-1], strict=True):
        state["momentum_buffer"] = buffer


def _unpack_steps(saved: Any, optimizer: Any, scheduler: Any) -> None:
    """Makes as many steps of the scheduler."""
    for _ in range(saved):
        scheduler.step()


def _unpack_rate(saved: Any, optimizer: Any, scheduler: Any) -> None:
    """The count, and the first group's rate in all groups; the state of all."""
    unpack_both(saved, optimizer, scheduler)
    for group in optimizer.param_groups:
        group["lr"] = saved["optimizer"]["param_groups"][0]["lr"]


def _pack_step(optimizer: Any, scheduler: Any) -> Any:
    saved = pack_both(optimizer, scheduler)
    scheduler.step()
    return saved


def _pack_count_on(optimizer: Any, scheduler: Any) -> Any:
    saved = pack_both(optimizer, scheduler)
    scheduler.last_epoch += 1
    return saved


_kept: dict[str, Any] = {}


def _pack_global(optimizer: Any, scheduler: Any) -> Any:
    _kept.update(pack_both(optimizer, scheduler))
    return "kept"


def _unpack_global(saved: Any, optimizer: Any, scheduler: Any) -> None:
    unpack_both(_kept, optimizer, scheduler)


def _unpack_and_step(saved: Any, optimizer: Any, scheduler: Any) -> None:
    unpack_both(saved, optimizer, scheduler)
    scheduler.step()


def _unpack_base(saved: Any, optimizer: Any, scheduler: Any) -> None:
    """The rate that the schedule began from is put into the groups."""
    unpack_both(saved, optimizer, scheduler)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"]


PAIRS = (
    ("no scheduler", partial(pack_both, left_out="scheduler"), unpack_both, "counts 0 steps after unpack, not 1"),
    ("no optimizer", partial(pack_both, left_out="optimizer"), unpack_both,
     "The next step would use the rate [1], not [0.5]"),
    ("live buffers", partial(pack_both, copies=lambda parts: parts), unpack_both, "of the old run as it is now"),
    ("a shallow copy", partial(pack_both, copies=copy.copy), unpack_both, "of the old run as it is now"),
    ("no velocity", partial(pack_both, left_out="velocity"), unpack_both, "the resumed run starts from rest"),
    ("no rate", pack_both, _unpack_state, "The next step would use the rate [1], not [0.5]"),
    ("the first rate", pack_both, _unpack_base, "The next step would use the rate [1], not [0.5]"),
    ("one rate for all groups", pack_both, _unpack_rate, "The next step would use the rate [0.25, 0.25]"),
    ("names of its own", lambda *run: copy.deepcopy(run), _unpack_names, "counts 0 steps after unpack, not 1"),
    ("velocities crossed", pack_both, _unpack_crossed, "Is it another parameter's"),
    ("the count by hand", pack_both, _unpack_and_count, "get_last_lr() tells [1]"),
    ("the count alone", _pack_count, _unpack_count, "The next step would use the rate [1], not [0.5]"),
    ("as many steps", _pack_count, _unpack_steps, "the resumed run starts from rest"),
    ("a step too many", pack_both, _unpack_and_step, "counts 2 steps after unpack, not 1"),
    ("pack makes a step", _pack_step, unpack_both, "optimizer, its groups, is not what it was"),
    ("pack counts on", _pack_count_on, unpack_both, "pack has moved the old run"),
    ("in a global variable", _pack_global, _unpack_global, "Two runs of 5 and 2 steps"),
    ("nothing packed", lambda *run: pack_both(*run).clear(), unpack_both, "yours returned None"),
    ("the dictionary emptied", pack_both, then(unpack_both, lambda saved, *run: saved.clear()), "saved is not what"),
)  # fmt: skip


def oracle(pack: Callable[..., Any], unpack: Callable[..., Any]) -> Any:
    """Count, rates and path of the resumed run for many schedulers, and the old run's path."""

    def told(name: str, steps: int, groups: int) -> Any:
        old, scheduler = start(name, groups)
        go(old, scheduler, steps)
        saved = pack(old, scheduler)
        path = go(old, scheduler, LATER)
        new, built = start(name, groups)
        before = plain(saved)
        put_back(unpack, saved, new, built)
        count = [built.last_epoch, *built.get_last_lr()]
        return [count, path, plain(saved) == before, go(new, built, LATER)]

    wide = [(name, steps, groups) for name in MAKERS for steps in (0, 1, 7) for groups in (1, 2)]
    found = [tried(lambda case=case: told(*case)) for case in wide]
    return [*found, tried(lambda: _two_at_once(pack, unpack))]


EXERCISE = Exercise(
    "resume",
    "Count, rate and velocity are those of the old run.",
    check_resume,
    tuple(Wrong(name, None, says, (pack, unpack)) for name, pack, unpack, says in PAIRS),
    right=(
        Right("as bytes", answers=(pack_bytes, unpack_bytes)),
        Right("field by field", answers=(pack_fields, unpack_fields)),
    ),
    may_change=(1, 2),
    oracle=oracle,
    allows={"returns its argument": "what unpack returns is free"},
)
