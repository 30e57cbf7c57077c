"""Exercise `swap`: a layer is swapped, and the optimizer is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, plain, untouched
from ..graphs import passed
from ..models import filled
from . import swap_answers as answers

__all__ = ["EXERCISE"]

Swap = Callable[[nn.Module, str, nn.Module, Optimizer], Any]


class Named(nn.Module):
    """A model whose children have names."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.act = nn.Linear(3, 4), nn.Tanh()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.trunk(x)))


@dataclass
class Case:
    """A model, its optimizer, which child goes, what comes, and all that the optimizer knew of the others."""

    what: str
    model: nn.Module
    name: str
    layer: nn.Module
    optimizer: Optimizer
    steps: int
    x: Tensor
    olds: list[Tensor] = field(init=False)
    others: dict[str, Tensor] = field(init=False)
    known: dict[str, Any] = field(init=False)
    children: dict[str, nn.Module] = field(init=False)

    def __post_init__(self) -> None:
        for _ in range(self.steps):
            self.step()
        self.olds = list(getattr(self.model, self.name).parameters())
        gone = {id(p) for p in self.olds}
        named = self.model.named_parameters()
        self.others = {name: p for name, p in named if id(p) not in gone}
        self.known = {name: copy.deepcopy(self.knows(p)) for name, p in self.others.items()}
        self.children = {name: m for name, m in self.model.named_children() if name != self.name}

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.model(self.x).square().sum().backward()
        self.optimizer.step()

    def knows(self, p: Tensor) -> dict[str, Any]:
        """The options of the groups that a parameter is in, and its state."""
        groups = [g for g in self.optimizer.param_groups if any(p is q for q in g["params"])]
        options = [{key: value for key, value in g.items() if key != "params"} for g in groups]
        return {"options": options, "state": dict(self.optimizer.state.get(p, {}))}

    def times(self, p: Tensor) -> int:
        """How often the optimizer has a parameter in its groups."""
        return sum(p is q for group in self.optimizer.param_groups for q in group["params"])


def _cases(draw: Drawn) -> list[Case]:
    def sequence() -> nn.Sequential:
        return filled(
            draw, nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 1))
        )

    def groups(model: Any) -> list[dict[str, Any]]:
        return [
            {"params": [*model[0].parameters()], "lr": 0.01, "weight_decay": 0.1},
            {"params": [*model[2].parameters()], "lr": 0.3, "betas": (0.5, 0.6)},
            {"params": [*model[3].parameters()], "lr": 0.02},
        ]

    x = draw.normal(4, 3, dtype=torch.get_default_dtype())
    named, plain_model, many, only, bare = (
        filled(draw, Named()),
        sequence(),
        sequence(),
        sequence(),
        sequence(),
    )
    return [
        Case(
            "SGD before its first step",
            named,
            "head",
            nn.Linear(4, 5),
            SGD(named.parameters(), lr=0.1),
            0,
            x,
        ),
        Case(
            "Adam after two steps",
            plain_model,
            "2",
            nn.Linear(3, 3),
            Adam(plain_model.parameters(), lr=0.01),
            2,
            x,
        ),
        Case(
            "Adam with three groups, the second layer's among them",
            many,
            "2",
            nn.Linear(3, 3),
            Adam(groups(many)),
            2,
            x,
        ),
        Case(
            "Adam with three groups, the first layer's among them",
            only,
            "0",
            nn.Linear(3, 3, bias=False),
            Adam(groups(only)),
            1,
            x,
        ),
        Case(
            "SGD with momentum, a layer for a tanh",
            bare,
            "1",
            nn.Linear(3, 3),
            SGD(bare.parameters(), lr=0.01, momentum=0.9),
            2,
            x,
        ),
    ]


def check_swap(swap: Swap) -> None:
    """`swap(model, name, layer, optimizer)` replaces a child and what the optimizer knows of it."""
    for case in _cases(Drawn(1)):
        _judge(swap, case, "")
    draw = drawn()
    for case in _cases(draw):
        _judge(swap, case, f" ({draw})")


def _judge(swap: Swap, case: Case, source: str) -> None:
    with untouched(layer=case.layer, **case.others):
        swap(case.model, case.name, case.layer, case.optimizer)
    what = f"For {case.what}"
    expect(
        getattr(case.model, case.name, None) is case.layer,
        f"{what}, the model's {case.name!r} is not the new layer{source}.",
        "The layer itself, not a copy; setattr takes a name.",
    )
    same = all(getattr(case.model, name, None) is child for name, child in case.children.items())
    expect(
        same,
        f"{what}, another child of the model is gone or another one{source}.",
        "One child is swapped.",
    )
    _judge_new(case, what, source)
    _judge_old(case, what, source)
    _judge_others(case, what, source)
    before = [p.detach().clone() for p in case.layer.parameters()]
    passed(case.step, case.what, "The optimizer's groups and its state have to fit together.")
    moved = all(
        not torch.equal(p, was) for p, was in zip(case.layer.parameters(), before, strict=True)
    )
    expect(
        moved,
        f"{what}, the new layer stands where it was after a step{source}.",
        "Which parameters does step go through?",
    )


def _judge_new(case: Case, what: str, source: str) -> None:
    times = [case.times(p) for p in case.layer.parameters()]
    expect(
        all(times),
        f"{what}, the optimizer does not know the new layer's parameters{source}.",
        "add_param_group, or the list in one of param_groups.",
    )
    expect(
        set(times) == {1},
        f"{what}, the optimizer has a new parameter {max(times)} times: each step would move it as often{source}.",
        "One group is enough for them.",
    )
    stale = [p for p in case.layer.parameters() if case.optimizer.state.get(p)]
    expect(
        not stale,
        f"{what}, a new parameter has a state before its first step{source}.",
        "It has none to take over.",
    )


def _judge_old(case: Case, what: str, source: str) -> None:
    expect(
        not any(case.times(p) for p in case.olds),
        f"{what}, the optimizer still holds the old layer's parameters{source}.",
        "They are in the groups, and any group may have them; compare with `is` or by id.",
    )
    expect(
        not any(p in case.optimizer.state for p in case.olds),
        f"{what}, optimizer.state still has entries of the old layer{source}.",
        "An entry keeps its parameter alive, an empty one too; before the first step there is none.",
    )


def _judge_others(case: Case, what: str, source: str) -> None:
    for name, p in case.others.items():
        before, now = case.known[name], case.knows(p)
        expect(
            len(now["options"]) == 1,
            f"{what}, the optimizer has {name} of another layer {len(now['options'])} times{source}.",
            "Take out of the groups what is gone, and nothing else.",
        )
        expect(
            plain(now["options"]) == plain(before["options"]),
            f"{what}, {name} of another layer has other options than before, such as lr{source}.",
            "Change the groups that are there: a new optimizer, or a new group, begins with what it is given.",
        )
        expect(
            plain(now["state"]) == plain(before["state"]),
            f"{what}, the optimizer has forgotten the state of {name}, of another layer{source}.",
            "Only the entries of the old layer's parameters go.",
        )


def told(swap: Swap) -> Any:
    """The oracle: who is where, in the model, the groups and the state; where the new ones are is free."""
    found: list[Any] = []
    for seed in range(2):
        for case in _cases(Drawn(seed)):
            try:
                swap(case.model, case.name, case.layer, case.optimizer)
                news = list(case.layer.parameters())
                entry: list[Any] = [
                    getattr(case.model, case.name) is case.layer,
                    list(dict(case.model.named_children())),
                ]
                entry.append([case.times(p) for p in (*news, *case.olds)])
                entry.append([p in case.optimizer.state for p in (*news, *case.olds)])
                entry.append(
                    [
                        plain(case.knows(p)) == plain(case.known[name])
                        for name, p in case.others.items()
                    ]
                )
                entry.append(
                    [
                        plain(p, asks=True) == plain(p.detach().clone().requires_grad_(), asks=True)
                        for p in news
                    ]
                )
                before = [p.detach().clone() for p in news]
                case.step()
                entry.append([torch.equal(p, was) for p, was in zip(news, before, strict=True)])
                found.append(entry)
            except Exception as error:
                found.append(type(error).__name__)
    return found


def _with(**switches: Any) -> Swap:
    return lambda model, name, layer, optimizer: answers.exchanged(
        model, name, layer, optimizer, **switches
    )


EXERCISE = Exercise(
    "swap",
    "The new one in, the old one out, the others as they were.",
    check_swap,
    (
        Wrong("not told", answers.model_only, "does not know the new layer's"),
        Wrong("only added", answers.only_added, "its first step, the optimizer still holds"),
        Wrong(
            "an optimizer anew",
            answers.anew,
            "before its first step, trunk.weight of another layer has other options",
        ),
        Wrong(
            "all in one group",
            answers.one_group,
            "among them, 3.weight of another layer has other options",
        ),
        Wrong(
            "the first group only",
            _with(groups=slice(1)),
            "three groups, the second layer's among them, the optimizer still holds",
        ),
        Wrong("KeyError before the first step", _with(pop=answers.deleted), "KeyError"),
        Wrong(
            "empty entries stay", _with(pop=answers.emptied), "still has entries of the old layer"
        ),
        Wrong(
            "the whole state forgotten",
            _with(pop=answers.all_forgotten),
            "has forgotten the state of",
        ),
        Wrong("in every group", _with(add=answers.to_every_group), "has a new parameter 3 times"),
        Wrong("a copy of the layer", _with(put=copy.deepcopy), "'head' is not the new layer"),
        Wrong(
            "the model not changed",
            lambda m, n, layer, o: answers.exchanged(m, n, getattr(m, n), o),
            "'head' is not the new layer",
        ),
        Wrong(
            "the weight alone",
            _with(add=lambda o, news: o.add_param_group({"params": news[:1]})),
            "does not know the new layer's",
        ),
    ),
    right=(
        Right("a new group", answers.exchanged),
        Right("the old ones' group", answers.into_the_olds_group),
        Right("the state put together anew", answers.by_state_dict),
    ),
    may_change=(0, 3),
    allows={"returns its argument": "what the function returns is asked nowhere"},
    oracle=told,
)
