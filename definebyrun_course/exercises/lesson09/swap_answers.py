"""Answers to exercise `swap`, right and wrong: ways to tell an optimizer of a swapped layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

__all__ = [
    "all_forgotten",
    "anew",
    "by_state_dict",
    "deleted",
    "emptied",
    "exchanged",
    "into_the_olds_group",
    "model_only",
    "old_out",
    "one_group",
    "only_added",
    "to_every_group",
]


def old_out(
    model: nn.Module, name: str, optimizer: Any, groups: Any = None, pop: Any = None
) -> None:
    gone = {id(p): p for p in getattr(model, name).parameters()}
    for p in gone.values():
        optimizer.state.pop(p, None) if pop is None else pop(optimizer.state, p)
    for group in optimizer.param_groups[groups or slice(None)]:
        group["params"] = [p for p in group["params"] if id(p) not in gone]


def exchanged(
    model: nn.Module,
    name: str,
    layer: nn.Module,
    optimizer: Any,
    groups: Any = None,
    pop: Any = None,
    add: Callable[[Any, list[Tensor]], Any] = lambda o, news: o.add_param_group({"params": news}),
    put: Callable[[nn.Module], nn.Module] = lambda layer: layer,
) -> None:
    """A solution that adds a group, with the usual mistakes as switches."""
    old_out(model, name, optimizer, groups, pop)
    setattr(model, name, put(layer))
    add(optimizer, list(getattr(model, name).parameters()))


def model_only(model: nn.Module, name: str, layer: nn.Module, optimizer: Any) -> None:
    setattr(model, name, layer)


def only_added(model: nn.Module, name: str, layer: nn.Module, optimizer: Any) -> None:
    setattr(model, name, layer)
    optimizer.add_param_group({"params": list(layer.parameters())})


def anew(model: nn.Module, name: str, layer: nn.Module, optimizer: Any) -> None:
    setattr(model, name, layer)
    optimizer.__init__(model.parameters(), lr=0.01)


def one_group(model: nn.Module, name: str, layer: nn.Module, optimizer: Any) -> None:
    """All that the model has now comes into the first group; the state stays."""
    for p in getattr(model, name).parameters():
        optimizer.state.pop(p, None)
    setattr(model, name, layer)
    optimizer.param_groups[0]["params"] = list(model.parameters())
    del optimizer.param_groups[1:]


def emptied(state: Any, p: Tensor) -> None:
    state[p].clear()


def all_forgotten(state: Any, p: Tensor) -> None:
    state.clear()


def deleted(state: Any, p: Tensor) -> None:
    del state[p]


def to_every_group(optimizer: Any, news: list[Tensor]) -> None:
    for group in optimizer.param_groups:
        group["params"] += news


def into_the_olds_group(model: Any, name: str, layer: nn.Module, optimizer: Any) -> None:
    """The new parameters take over the group of the old ones, where there is one."""
    olds = list(model._modules[name].parameters())
    model._modules[name] = layer
    place = optimizer.param_groups[0]
    for group in optimizer.param_groups:
        kept = [p for p in group["params"] if not any(p is old for old in olds)]
        place = group if len(kept) < len(group["params"]) else place
        group["params"][:] = kept
    place["params"].extend(layer.parameters())
    for p in [p for p in optimizer.state if any(p is old for old in olds)]:
        del optimizer.state[p]


def by_state_dict(model: Any, name: str, layer: nn.Module, optimizer: Any) -> None:
    """The state is put together anew, as copies."""
    gone = {id(p) for p in getattr(model, name).parameters()}
    model.add_module(name, layer)
    kept = {p: dict(s) for p, s in optimizer.state.items() if id(p) not in gone}
    optimizer.state.clear()
    optimizer.state.update(kept)
    for group in optimizer.param_groups:
        group.update(params=[p for p in group["params"] if id(p) not in gone])
    optimizer.param_groups[-1]["params"] += [*layer.parameters()]
