"""Exercise `momentum`: steps with momentum and weight decay."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from ...grading import Exercise, Right, Wrong, apart, counted, drawn, expect, forms, near, tried
from ..mistakes import then
from .arrays import numbers

__all__ = ["EXERCISE"]

Arrays = list[ndarray]
STEPS, RTOL = 5, 1e-4
SETTINGS = (
    (0.2, 0.0, 0.0, ((1,),)),
    (0.2, 0.9, 0.0, ((1,),)),
    (0.2, 0.0, 0.5, ((1,),)),
    (0.2, 0.9, 0.5, ((2,), ())),
    (0.05, 0.5, 0.1, ((3, 2), (2,), (1, 4))),
)
"""Rate, momentum, weight decay and shapes; the smallest first."""
LOOK = {
    "params": "The step subtracts lr times the new velocity; lr stands nowhere else.",
    "velocity": "The old velocity times momentum, plus the gradient with the weight decay in it.",
}


def check_momentum(momentum_step: Callable[..., Any]) -> None:
    """`momentum_step(...)` takes the steps of `torch.optim.SGD` with momentum and weight decay."""
    for lr, momentum, decay, shapes in SETTINGS:
        _run(momentum_step, lr, momentum, decay, shapes)
    _run(momentum_step, 0.1, 0.9, 0.1, ((3,), (2, 2)), np.float32)
    draw = drawn()
    rates = (draw.whole(1, 20) / 100, draw.whole(1, 9) / 10, draw.whole(1, 9) / 10)
    shapes = tuple((draw.whole(1, 3), draw.whole(1, 3)) for _ in range(draw.whole(1, 3)))
    _run(momentum_step, *rates, shapes, seed=f" ({draw})", first=draw.seed)


def _run(momentum_step: Any, lr: float, momentum: float, decay: float, shapes: Any, dtype: Any = np.float64,
         seed: str = "", first: int = 0) -> None:  # fmt: skip
    """Five steps beside PyTorch's; the rate falls after the second."""
    params = [numbers(*shape, seed=first + n).astype(dtype) for n, shape in enumerate(shapes)]
    velocity: Arrays | None = None
    twins = [torch.nn.Parameter(torch.tensor(p, dtype=torch.float64)) for p in params]
    optimizer = torch.optim.SGD(twins, lr=lr, momentum=momentum, weight_decay=decay)
    buffers = [np.zeros(shape) for shape in shapes]
    for number in range(1, STEPS + 1):
        rate = optimizer.param_groups[0]["lr"] = lr if number < 3 else lr / 4
        grads = [
            numbers(*s, seed=first + 10 * number + n).astype(dtype) for n, s in enumerate(shapes)
        ]
        start = [t.detach().numpy().copy() for t in twins]
        old, buffers = (
            buffers,
            [momentum * v + g + decay * p for v, g, p in zip(buffers, grads, start, strict=True)],
        )
        for twin, grad in zip(twins, grads, strict=True):
            twin.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
        found = momentum_step(params, grads, velocity, rate, momentum, decay)
        fallen = f", after lr has fallen to {rate:g}" if number > 2 else ""
        where = f"in step {number} with lr {lr:g}, momentum {momentum:g}, weight decay {decay:g}{fallen}{seed}"
        params, velocity = _pair(found, shapes, where)
        want = [t.detach().numpy().copy() for t in twins]
        for nth, parts in enumerate(zip(start, grads, old, strict=True)):
            known = _known(*parts, rate, momentum, decay)
            _compare("params", params[nth], want[nth], where, known[0])
            _compare("velocity", velocity[nth], buffers[nth], where, known[1])


def _pair(found: Any, shapes: Any, where: str) -> tuple[Arrays, Arrays]:
    """The two lists; a list of arrays alone is told from a pair."""
    form = "return params, velocity: two lists with one array for each parameter."
    is_pair = isinstance(found, (tuple, list)) and len(found) == 2
    expect(
        is_pair,
        f"Your function returns two lists, params and velocity; yours returned {forms.said(found)}.",
        form,
    )
    both = []
    for name, part in zip(("params", "velocity"), found, strict=True):
        lists = isinstance(part, (list, tuple)) and len(part) == len(shapes)
        told = forms.said(part)
        expect(
            lists,
            f"The new {name} is a list of {counted(len(shapes), 'array')}; yours is {told}, {where}.",
            form,
        )
        arrays = [forms.array(each, f"Each part of the new {name}") for each in part]
        told = f"{[a.shape for a in arrays]}, not {list(shapes)}"
        expect([a.shape for a in arrays] == list(shapes), f"The shapes of the new {name} are {told}, {where}.",
               "One array for each parameter, shaped like it.")  # fmt: skip
        both.append(arrays)
    return both[0], both[1]


Known = list[tuple[str, ndarray, str]]


def _known(
    p: ndarray, g: ndarray, old: ndarray, lr: float, momentum: float, decay: float
) -> tuple[Known, Known]:
    """What the usual mistakes give, as new params and as new velocity."""
    whole = g + decay * p
    right = momentum * old + whole
    speeds = [
        ("a velocity with lr in it", momentum * old + lr * whole, "lr stands in the step only."),
        ("a velocity without weight decay", momentum * old + g, "Weight decay adds to the gradient."),
        ("a velocity with a damped gradient", momentum * old + (1 - momentum) * whole,
         "PyTorch's velocity adds the whole gradient."),
        ("the gradient alone, without what was collected before", whole, "The old velocity counts, too."),
        ("a velocity that never fades", old + whole, "The old velocity is multiplied by momentum."),
    ]  # fmt: skip
    steps = [(f"a step with {words}", p - lr * value, hint) for words, value, hint in speeds]
    steps += [
        ("a step uphill", p + lr * right, "Descent subtracts."),
        ("a step with the old velocity", p - lr * old, "The step is taken with the new velocity."),
        ("a step with Nesterov's look ahead", p - lr * (whole + momentum * right), "The step subtracts the velocity."),
        ("the new velocity stands there", right, "return params, velocity: in this order."),
        ("a step without lr", p - right, "The step subtracts lr times the velocity."),
        ("a step with the weight decay outside of the velocity", p - lr * (momentum * old + g) - lr * decay * p,
         "That is AdamW's way. Here weight decay is added to the gradient, before the velocity."),
    ]  # fmt: skip
    return steps, speeds


def _compare(name: str, yours: ndarray, right: ndarray, where: str, known: Known) -> None:
    if near(yours, right, rtol=RTOL, atol=1e-6):
        return
    found = [
        (words, hint) for words, value, hint in known if near(yours, value, rtol=RTOL, atol=1e-6)
    ]
    if len(found) == 1:
        expect(False, f"The new {name}: {found[0][0]}, {where}.", found[0][1])
    texts = apart(yours, right)
    expect(False, f"The new {name} is {texts[0]}, not {texts[1]}, {where}.", LOOK[name])


# ---- right answers, found in other ways ----


def on_copies(params: Arrays, grads: Arrays, velocity: Any, lr: float, momentum: float,
              weight_decay: float) -> list[Arrays]:  # fmt: skip
    new, speed = [p.copy() for p in params], []
    for nth, g in enumerate(grads):
        step = g.copy()
        step += weight_decay * params[nth]
        if velocity is not None:
            step += momentum * velocity[nth]
        new[nth] -= lr * step
        speed.append(step)
    return [new, speed]


def by_torch(
    params: Arrays, grads: Arrays, velocity: Any, lr: float, momentum: float, weight_decay: float
) -> Any:
    """PyTorch's own step, with the velocity put where it keeps it."""
    kept = (
        [torch.zeros(p.shape, dtype=torch.float64) for p in params]
        if velocity is None
        else velocity
    )
    found, speed = [], []
    for p, g, v in zip(params, grads, kept, strict=True):
        leaf = torch.nn.Parameter(torch.tensor(p))
        leaf.grad = torch.tensor(g)
        optimizer = torch.optim.SGD(
            [leaf], lr=lr, momentum=momentum or 1e-300, weight_decay=weight_decay
        )
        optimizer.state[leaf]["momentum_buffer"] = torch.as_tensor(v, dtype=leaf.dtype).clone()
        optimizer.step()
        found.append(leaf.detach().numpy())
        speed.append(optimizer.state[leaf]["momentum_buffer"].numpy())
    return found, speed


# ---- wrong answers ----


def _momentum(params: Arrays, grads: Arrays, velocity: Any, lr: float, mu: float, decay: float,
              kind: str = "", end: Any = None) -> Any:  # fmt: skip
    """The solution with its usual mistakes."""
    velocity = velocity or [np.zeros_like(p) for p in params]
    old = velocity
    if kind not in ("no decay", "decay outside"):
        grads = [g + decay * p for g, p in zip(grads, params, strict=True)]
    inside = lr if kind == "lr inside" else 1
    damp = 1 - mu if kind == "damped" else 1
    keep = {"no momentum": 0, "never fades": 1}.get(kind, mu)
    velocity = [keep * v + inside * damp * g for v, g in zip(velocity, grads, strict=True)]
    used = old if kind == "old velocity" else velocity
    if kind == "nesterov":
        used = [g + mu * v for g, v in zip(grads, velocity, strict=True)]
    rate = {"uphill": -lr, "lr inside": 1}.get(kind, lr)
    new = [p - rate * v for p, v in zip(params, used, strict=True)]
    if kind == "decay outside":
        new = [n - lr * decay * p for n, p in zip(new, params, strict=True)]
    return (new, velocity) if end is None else end(new, velocity)


def _written(
    params: Arrays, grads: Arrays, velocity: Any, lr: float, mu: float, decay: float
) -> Any:
    """Adds up in the old velocity."""
    if velocity is None:
        velocity = [np.zeros_like(p) for p in params]
    for v, g, p in zip(velocity, grads, params, strict=True):
        v *= mu
        v += g + decay * p
    return [p - lr * v for p, v in zip(params, velocity, strict=True)], velocity


def _params_written(params: Arrays, *rest: Any) -> Any:
    new, velocity = _momentum(params, *rest)
    for p, n in zip(params, new, strict=True):
        p[...] = n
    return params, velocity


WRONG = {
    "lr inside": (partial(_momentum, kind="lr inside"), "The new velocity: a velocity with lr in it"),
    "no decay": (partial(_momentum, kind="no decay"), "The new params: a step with a velocity without weight decay"),
    "damped": (partial(_momentum, kind="damped"), "a damped gradient"),
    "no momentum": (partial(_momentum, kind="no momentum"), "the gradient alone"),
    "never fades": (partial(_momentum, kind="never fades"), "that never fades"),
    "uphill": (partial(_momentum, kind="uphill"), "a step uphill"),
    "the old velocity": (partial(_momentum, kind="old velocity"), "a step with the old velocity"),
    "Nesterov's": (partial(_momentum, kind="nesterov"), "Nesterov's look ahead"),
    "decay outside": (partial(_momentum, kind="decay outside"), "The new velocity: a velocity without weight decay"),
    "the params alone": (partial(_momentum, end=lambda new, v: new), "two lists, params and velocity"),
    "the two exchanged": (partial(_momentum, end=lambda new, v: (v, new)), "the new velocity stands there"),
    "no lists": (partial(_momentum, end=lambda new, v: (new[0], v[0])),
        "The new params is a list of 1 array; yours is"),
    "velocity overwritten": (_written, "velocity[0] is not what it was"),
    "params overwritten": (_params_written, "params[0] is not what it was"),
    "grads emptied": (then(_momentum, lambda params, grads, *_: grads.clear()), "grads is not what it was"),
}  # fmt: skip


def oracle(momentum_step: Callable[..., Any]) -> Any:
    """Params and velocity after two steps, and the arguments afterwards."""

    def told(params: Arrays, grads: Arrays, velocity: Any, *rates: float) -> Any:
        shapes = [p.shape for p in params]
        pair = _pair(momentum_step(params, grads, velocity, *rates), shapes, "")
        return [[np.asarray(a, dtype=np.float64) for a in part] for part in pair]

    shapes = ((), (1,), (2, 3), (0,), (7,), (1, 4, 2))
    found = []
    for rates in ((0.1, 0.0, 0.0), (0.1, 0.9, 0.0), (0.3, 0.5, 0.2), (0.0, 0.9, 0.5)):
        for start in (None, 0, 1e6):
            arrays = [[numbers(*s, seed=i + n) for n, s in enumerate(shapes)] for i in (0, 10, 20)]
            velocity = None if start is None else [start * v for v in arrays[2]]
            found.append(tried(told, arrays[0], arrays[1], velocity, *rates))
    return found


EXERCISE = Exercise(
    "momentum",
    "The same parameters and the same velocity as torch's, also while the learning rate falls.",
    check_momentum,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("on copies", on_copies), Right("by PyTorch itself", by_torch)),
    oracle=oracle,
)
