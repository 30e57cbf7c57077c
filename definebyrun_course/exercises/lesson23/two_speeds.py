"""Exercise `two_speeds`: two groups of parameters, and another decay for each."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer, lr_scheduler

from ...grading import (
    Exercise,
    Mistake,
    Right,
    Wrong,
    apart,
    counted,
    drawn,
    expect,
    forms,
    near,
    tried,
)
from ..mistakes import then

__all__ = ["EXERCISE"]

SIZES = ((1, 1), (2, 1), (1, 3))
"""Parameters of the body and of the head."""
CALLS = 65
EXTRAS = {"dampening": 0, "weight_decay": 0, "nesterov": False, "maximize": False}
"""Settings of SGD that nobody asked for, as they are by default."""
HINTS = {
    "body": "A factor of its own for each group: at which call does the body's become 1?",
    "head": "A factor of its own for each group: how many whole tens of calls have there been?",
}


def parameters(count: int, value: float = 1.0) -> list[nn.Parameter]:
    return [nn.Parameter(torch.full((n + 1,), value, dtype=torch.float64)) for n in range(count)]


def rates(call: int) -> dict[str, float]:
    """The rates after so many calls."""
    return {"body": 0.001 * (call >= 5), "head": 0.1 * 0.5 ** (call // 10)}


def check_two_speeds(two_speeds: Callable[..., Any]) -> None:
    """`two_speeds(body, head)` gives an optimizer of two groups and a scheduler that moves each in its own way."""
    for sizes in SIZES:
        _ask(two_speeds, *sizes)
    draw = drawn()
    _ask(two_speeds, draw.whole(1, 5), draw.whole(1, 5), f" ({draw})")


def _ask(two_speeds: Any, in_body: int, in_head: int, seed: str = "") -> None:
    body, head = parameters(in_body), parameters(in_head, 2.0)
    optimizer, scheduler = _pair(two_speeds(body, head))
    where = f"with {counted(in_body, 'parameter')} in the body and {in_head} in the head{seed}"
    groups = _groups(optimizer, body, head, where)
    for name, group in groups.items():
        expect(
            near(group["momentum"], 0.9),
            f"The group of {name} has the momentum {group['momentum']:g}, not 0.9, {where}.",
            "Settings for all groups stand once, beside the list of groups.",
        )
        for setting, usual in EXTRAS.items():
            expect(
                group[setting] == usual,
                f"The group of {name} has {setting}={group[setting]}, which nobody asked for, {where}.",
                "Rate and momentum are asked for; all else stays as it is by default.",
            )
    for call in range(CALLS):
        for name, want in rates(call).items():
            found = forms.number(groups[name]["lr"], f"The rate of {name}")
            texts = apart(found, want)
            expect(
                near(found, want, atol=0.0),
                f"After {counted(call, 'call')} the rate of {name} is {texts[0]}, not {texts[1]}, {where}.",
                HINTS[name],
            )
        _step(optimizer, scheduler)


def _step(optimizer: Optimizer, scheduler: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer.step()
        scheduler.step()


def _pair(result: Any) -> tuple[Optimizer, Any]:
    ask = "two_speeds returns two things, the optimizer and the scheduler"
    missing = " Is a `return` missing?" if result is None else ""
    is_pair = isinstance(result, (tuple, list)) and len(result) == 2
    expect(
        is_pair,
        f"{ask}; yours returned {forms.said(result)}.{missing}",
        "return optimizer, scheduler",
    )
    optimizer, scheduler = result
    expect(
        not isinstance(scheduler, Optimizer) or isinstance(optimizer, Optimizer),
        f"{ask}: yours come in the other order.",
        "The optimizer comes first.",
    )
    kind = type(optimizer).__name__
    expect(isinstance(optimizer, SGD), f"The optimizer is torch.optim.SGD; yours is {kind}.",
           "The update rule is part of what is asked for.")  # fmt: skip
    message = (
        f"The second thing is a scheduler, with a method step; yours is {forms.said(scheduler)}."
    )
    can_step = callable(getattr(scheduler, "step", None)) and not isinstance(scheduler, Optimizer)
    expect(can_step, message, "One scheduler may hold a function for each group.")
    return optimizer, scheduler


def _groups(
    optimizer: Optimizer, body: list[nn.Parameter], head: list[nn.Parameter], where: str
) -> dict[str, Any]:
    """The optimizer's two groups by name, in any order."""
    held = {name: set(map(id, own)) for name, own in (("body", body), ("head", head))}
    found = [set(map(id, group["params"])) for group in optimizer.param_groups]
    count = len(found)
    expect(
        count == 2,
        f"The optimizer has {counted(count, 'group')}, not 2, {where}.",
        "A dictionary for each group.",
    )
    for name, own in held.items():
        if own in found:
            continue
        inside = sum(len(own & group) for group in found)
        raise Mistake(
            f"No group holds just the parameters of {name}, {where}: {inside} of {len(own)} are in the optimizer.",
            "All parameters of a part are in its group from the start, whatever its rate is.",
        )
    return {name: optimizer.param_groups[found.index(own)] for name, own in held.items()}


# ---- right answers, found in other ways ----


class _Speeds(lr_scheduler.LRScheduler):
    """A scheduler of its own, that counts on from the rates at the start."""

    def get_lr(self) -> list[float]:
        slow, fast = self.base_lrs
        return [slow if self.last_epoch >= 5 else 0.0, fast / 2 ** (self.last_epoch // 10)]


def by_class(body: Any, head: Any) -> Any:
    optimizer = SGD([{"params": body, "lr": 0.001}, {"params": head}], lr=0.1, momentum=0.9)
    return [optimizer, _Speeds(optimizer)]


def head_first(body: Any, head: Any) -> Any:
    """The other order of the groups; the body is added to the optimizer later."""
    optimizer = SGD(head, lr=0.1, momentum=0.9)
    optimizer.add_param_group({"params": list(body), "lr": 1e-3})
    factors = [lambda step: 2.0 ** -(step // 10), lambda step: 0 if step < 5 else 1]
    return optimizer, lr_scheduler.LambdaLR(optimizer, factors)


# ---- wrong answers ----


def _two_speeds(body: Any, head: Any, until: int = 5, scale: float = 1.0, every: int = 10, way: str = "",
                momentum: float = 0.9, **settings: Any) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    groups: list[dict[str, Any]] = [{"params": body, "lr": 0.001}, {"params": head, "lr": 0.1}]
    if way == "rates swapped":
        groups[0]["lr"], groups[1]["lr"] = 0.1, 0.001
    if way == "head alone":
        groups = groups[1:]
    if way == "a group each":
        groups = [{"params": [p], "lr": 0.001} for p in body] + groups[1:]
    if way == "half of the body":
        groups[0]["params"] = body[:1]
    if way == "momentum of one":
        groups[1]["momentum"], momentum = 0.9, 0.0
    optimizer = (AdamW if way == "Adam" else SGD)(
        groups, lr=0.1, **({} if way == "Adam" else {"momentum": momentum}), **settings
    )
    slow, fast = (lambda step: scale * (step >= until)), (lambda step: 0.5 ** (step // every))
    if way == "smooth":
        fast = lambda step: 0.5 ** (step / every)  # noqa: E731
    if way == "one cut":
        fast = lambda step: 0.5 if step >= 10 else 1.0  # noqa: E731
    if way == "a slope":
        slow = lambda step: min(1.0, step / 5)  # noqa: E731
    if way == "decays too":
        slow = lambda step: (step >= 5) * 0.5 ** (step // 10)  # noqa: E731
    lists = {"one": fast, "the other": slow, "crossed": [fast, slow]}
    factors: Any = lists.get(way, [slow, fast][-len(groups) :])
    factors = [slow] * len(body) + [fast] if way == "a group each" else factors
    if way == "last of a loop":
        both = (slow, fast)
        factors = [lambda step: chosen(step) for chosen in both]  # noqa: B023
    return optimizer, lr_scheduler.LambdaLR(optimizer, factors)


def _two_optimizers(body: Any, head: Any) -> Any:
    return SGD(body, lr=0.001, momentum=0.9), SGD(head, lr=0.1, momentum=0.9)


def _step_lr(body: Any, head: Any) -> Any:
    groups = [{"params": body, "lr": 0.001}, {"params": head, "lr": 0.1}]
    optimizer = SGD(groups, momentum=0.9)
    return optimizer, lr_scheduler.StepLR(optimizer, 10, 0.5)


def _frozen(body: Any, head: Any) -> None:
    for p in body:
        p.requires_grad_(False)


WRONG = {
    "one for both": ({"way": "one"}, "After 0 calls the rate of body is 0.001, not 0"),
    "the body's for both": ({"way": "the other"}, "After 0 calls the rate of head is 0, not 0.1"),
    "crossed": ({"way": "crossed"}, "After 0 calls the rate of body is 0.001, not 0"),
    "the last of a loop": ({"way": "last of a loop"}, "After 0 calls the rate of body is 0.001, not 0"),
    "a call late": ({"until": 6}, "After 5 calls the rate of body is 0, not 0.001"),
    "a call early": ({"until": 4}, "After 4 calls the rate of body is 0.001, not 0"),
    "a slope": ({"way": "a slope"}, "After 1 call the rate of body is 0.0002, not 0"),
    "the rate twice": ({"scale": 0.001}, "After 5 calls the rate of body is 1e-06, not 0.001"),
    "the body decays too": ({"way": "decays too"}, "After 10 calls the rate of body is 0.0005, not 0.001"),
    "every 9 calls": ({"every": 9}, "After 9 calls the rate of head is 0.05, not 0.1"),
    "smoothly": ({"way": "smooth"}, "After 1 call the rate of head is 0.0933, not 0.1"),
    "halved once": ({"way": "one cut"}, "After 20 calls the rate of head is 0.05, not 0.025"),
    "rates swapped": ({"way": "rates swapped"}, "After 0 calls the rate of head is 0.001, not 0.1"),
    "no momentum": ({"momentum": 0.0}, "The group of body has the momentum 0, not 0.9"),
    "momentum of the head": ({"way": "momentum of one"}, "The group of body has the momentum 0, not 0.9"),
    "decay of the weights": ({"weight_decay": 0.01}, "has weight_decay=0.01"),
    "Nesterov": ({"nesterov": True}, "has nesterov=True"),
    "Adam": ({"way": "Adam"}, "yours is AdamW"),
    "the head alone": ({"way": "head alone"}, "The optimizer has 1 group,"),
    "a group for each parameter": ({"way": "a group each"}, "The optimizer has 3 groups,"),
    "half of the body": ({"way": "half of the body"}, "1 of 2 are in the optimizer"),
}  # fmt: skip


def oracle(two_speeds: Callable[..., Any]) -> Any:
    """Rates and places over many calls for many sizes, and whether the parameters still ask for gradients."""

    def told(in_body: int, in_head: int) -> Any:
        parts = {"body": parameters(in_body), "head": parameters(in_head, 2.0)}
        optimizer, scheduler = _pair(two_speeds(*parts.values()))
        groups = _groups(optimizer, parts["body"], parts["head"], "here")
        found: list[Any] = [[len(own) for own in parts.values()]]
        for call in range(CALLS + 20):
            for part in parts.values():
                for p in part:
                    p.grad = torch.full_like(p, 0.1 + call % 3) if p.requires_grad else None
            found.append([float(f"{float(group['lr']):.6e}") for group in groups.values()])
            _step(optimizer, scheduler)
        places = [[p.detach(), p.requires_grad] for part in parts.values() for p in part]
        return [found, places]

    sizes = (*SIZES, (3, 2), (7, 7))
    return [tried(lambda case=case: told(*case)) for case in sizes]


EXERCISE = Exercise(
    "two_speeds",
    "Two groups, two schedules, one scheduler.",
    check_two_speeds,
    (
        *(Wrong(name, partial(_two_speeds, **switch), says) for name, (switch, says) in WRONG.items()),
        Wrong("StepLR", _step_lr, "After 0 calls the rate of body is 0.001, not 0"),
        Wrong("two optimizers", _two_optimizers, "The second thing is a scheduler"),
        Wrong("the optimizer alone", lambda *parts: _two_speeds(*parts)[0], "the optimizer and the scheduler; yours"),
        Wrong("in the other order", lambda *parts: _two_speeds(*parts)[::-1], "yours come in the other order"),
        Wrong("the body asks no more", then(_two_speeds, _frozen), "its requires_grad"),
        Wrong("the head's list emptied", then(_two_speeds, lambda body, head: head.clear()), "head is not what it was"),
    ),
    right=(Right("a scheduler of its own", by_class), Right("the head first", head_first)),
    oracle=oracle,
)  # fmt: skip
