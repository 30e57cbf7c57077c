"""Answers to exercise `widen`: a table of what is copied how, with the usual mistakes as switches, and other ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "after_all",
    "all_to_the_first",
    "anew",
    "as_it_was",
    "at_the_end",
    "begun_anew",
    "by_cat",
    "divided",
    "first_mean_only",
    "moved",
    "one_step_more",
    "swapped",
    "widening",
]

Copied = Callable[[Tensor], Tensor]
Answer = Callable[..., Any]
MEANS = ("exp_avg", "exp_avg_sq")


def moved(key: str, value: Tensor, copied: Copied, times: Tensor) -> Tensor:
    """What the new parameter keeps for the old one's value: the solution."""
    return value.clone() if key == "step" else copied(value).clone()


def as_it_was(key: str, value: Tensor, copied: Copied, times: Tensor) -> Tensor:
    return value


def first_mean_only(key: str, value: Tensor, copied: Copied, times: Tensor) -> Tensor:
    return moved(key, value, copied, times) * (0 if key == "exp_avg_sq" else 1)


def divided(key: str, value: Tensor, copied: Copied, times: Tensor) -> Tensor:
    made = moved(key, value, copied, times)
    return made / times if made.dim() == 2 and made.shape[1] == len(times) else made


def begun_anew(key: str, value: Tensor, copied: Copied, times: Tensor) -> Tensor:
    return torch.zeros_like(value) if key == "step" else moved(key, value, copied, times)


def one_step_more(key: str, value: Tensor, copied: Copied, times: Tensor) -> Tensor:
    return value + 1 if key == "step" else moved(key, value, copied, times)


def widening(
    divide: Any = True,
    state: Callable[..., Tensor] | None = moved,
    fresh: bool = False,
    backwards: bool = False,
    interleaved: bool = False,
    keep_old: bool = False,
    groups: slice = slice(None),
) -> Callable[..., Any]:
    """An answer; `divide` makes, of the number of copies of each neuron, what its outgoing weights are divided by."""

    def widen_adam(first: nn.Linear, second: nn.Linear, extra: int, optimizer: Any) -> Any:
        n = first.out_features
        more = torch.arange(extra) % n
        source = torch.cat([torch.arange(n), n - 1 - more if backwards else more])
        source = source.sort().values if interleaved else source
        copies = source.bincount(minlength=n)[source]
        times = divide(copies) if callable(divide) else copies if divide else 1
        wide, after = (
            nn.Linear(first.in_features, n + extra),
            nn.Linear(n + extra, second.out_features),
        )
        rows, columns = (lambda t: t[source]), (lambda t: t[:, source])
        table = [
            (first.weight, wide.weight, rows, 1),
            (first.bias, wide.bias, rows, 1),
            (second.weight, after.weight, columns, times),
            (second.bias, after.bias, lambda t: t, 1),
        ]
        for old, new, copied, divisor in table:
            with torch.no_grad():
                new.copy_(copied(old) / divisor)
                if fresh and new is wide.weight:
                    new[n:] = torch.randn_like(new[n:])
            came = optimizer.state[old] if keep_old else optimizer.state.pop(old)
            if state is not None:
                optimizer.state[new] = {key: state(key, came[key], copied, copies) for key in came}
            for group in optimizer.param_groups[groups]:
                group["params"] = [new if p is old else p for p in group["params"]]
        return wide, after

    return widen_adam


def after_all(answer: Answer, act: Callable[[Any, Any, Any], Any]) -> Answer:
    """The answer, and something more that is done to the layers and the optimizer."""

    def widen_adam(first: nn.Linear, second: nn.Linear, extra: int, optimizer: Any) -> Any:
        wide, after = answer(first, second, extra, optimizer)
        act(wide, after, optimizer)
        return wide, after

    return widen_adam


def at_the_end(first: nn.Linear, second: nn.Linear, extra: int, optimizer: Any) -> Any:
    """The new parameters come into a group of their own."""
    olds = {id(p) for layer in (first, second) for p in layer.parameters()}
    kept = [[p for p in group["params"] if id(p) not in olds] for group in optimizer.param_groups]
    wide, after = widening()(first, second, extra, optimizer)
    for group, params in zip(optimizer.param_groups, kept, strict=True):
        group["params"] = params
    optimizer.add_param_group({"params": [*wide.parameters(), *after.parameters()]})
    return wide, after


def anew(wide: nn.Linear, after: nn.Linear, optimizer: Any) -> None:
    groups = [{**group} for group in optimizer.param_groups]
    state = dict(optimizer.state)
    optimizer.__init__(groups)
    optimizer.state.update({p: s for p, s in state.items() if p.shape[0] < 0})


def swapped(answer: Answer) -> Answer:
    return lambda *given: answer(*given)[::-1]


def all_to_the_first(first: nn.Linear, second: nn.Linear, extra: int, optimizer: Any) -> Any:
    """What goes out of a copy is zero, and the old neuron keeps all: the function is the same."""
    wide, after = widening()(first, second, extra, optimizer)
    with torch.no_grad():
        after.weight[:, : first.out_features] = second.weight
        after.weight[:, first.out_features :] = 0
    return [wide, after]


def by_cat(first: nn.Linear, second: nn.Linear, extra: int, optimizer: Any) -> Any:
    """With cat and repeat instead of one index; the state is moved by a loop over pairs."""
    n = first.out_features
    rounds = -(-extra // n)
    times = torch.tensor([1 + len(range(i, extra, n)) for i in range(n)], dtype=first.weight.dtype)

    def rows(t: Tensor) -> Tensor:
        return torch.cat([t, t.repeat(rounds, *[1] * (t.dim() - 1))[:extra]])

    wide, after = nn.Linear(first.in_features, n + extra), nn.Linear(n + extra, second.out_features)
    wide.weight.data.copy_(rows(first.weight.detach()))
    wide.bias.data.copy_(rows(first.bias.detach()))
    after.weight.data.copy_(rows((second.weight.detach() / times).T).T)
    after.bias.data.copy_(second.bias.detach())
    ways = {"weight": lambda t: rows(t.T).T, "bias": lambda t: t}
    for layer, new, way in ((first, wide, {"weight": rows, "bias": rows}), (second, after, ways)):
        for name, old in layer.named_parameters():
            came = optimizer.state.pop(old)
            made = {key: way[name](came[key]).contiguous() for key in MEANS}
            optimizer.state[getattr(new, name)] = {"step": came["step"], **made}
            for group in optimizer.param_groups:
                for place, p in enumerate(group["params"]):
                    if p is old:
                        group["params"][place] = getattr(new, name)
    return wide, after
