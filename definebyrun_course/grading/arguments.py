"""The arguments of a call are noted before it; after it, the first one that is not as before is named.

Looked at are tensors (numbers, shape, `requires_grad`, `.grad`, hooks), arrays, modules (parameters, buffers, mode,
hooks), optimizers (groups), and lists, dicts and tuples of these, as deep as they go. Tensors keep their identity: a
copy would be another leaf.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["Noted"]

MAX_PARTS = 20_000
"""So many parts of arguments are looked at; a graph of a hundred thousand scalars is not."""
MAX_PATH_CHARS = 60
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass
class _Part:
    """A thing somewhere in the arguments, where it is, and what was in it."""

    path: str
    thing: Any
    before: Any


class Noted:
    """What the arguments of a call hold now; `changed` says later what differs, and `put_back` undoes it."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], names: list[str]) -> None:
        named = [*zip(_padded(names, len(args)), args, strict=False), *kwargs.items()]
        self._parts: list[_Part] = []
        seen: set[int] = set()
        for name, argument in named:
            for path, thing in _parts(name, argument, seen):
                self._parts.append(_Part(path, thing, _content(thing)))
                if len(self._parts) >= MAX_PARTS:
                    return

    def changed(self) -> tuple[str, str] | None:
        """The first part that is not as it was: where it is, and what of it differs. None when nothing does."""
        for part in self._parts:
            what = _difference(part.before, _content(part.thing))
            if what:
                return part.path, what
        return None

    def put_back(self) -> None:
        """Give tensors, arrays, lists and dicts their content again, so that the next case begins as it should."""
        for part in self._parts:
            _restore(part.thing, part.before)


def _padded(names: list[str], length: int) -> list[str]:
    return names + [f"argument {i + 1}" for i in range(len(names), length)]


def _parts(name: str, argument: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    waiting = [(name, argument)]
    while waiting:
        path, thing = waiting.pop()
        if id(thing) in seen or not isinstance(
            thing, (torch.Tensor, np.ndarray, nn.Module, torch.optim.Optimizer, list, tuple, dict)
        ):
            continue
        seen.add(id(thing))
        if not isinstance(thing, tuple):
            yield path, thing
        if isinstance(thing, nn.Module):
            inside = [*thing.named_modules()][1:]
            waiting += [(_within(path, f".{p}"), m) for p, m in inside]
            own = [*thing._parameters.items(), *thing._buffers.items()]
            waiting += [(_within(path, f".{n}"), t) for n, t in own if t is not None]
        elif isinstance(thing, (list, tuple)):
            waiting += [(_within(path, f"[{i}]"), part) for i, part in enumerate(thing)][::-1]
        elif isinstance(thing, dict):
            waiting += [(_within(path, f"[{k!r:.30}]"), part) for k, part in [*thing.items()][::-1]]


def _within(path: str, step: str) -> str:
    """The path of a part; the paths of a deep tree would be as long as the tree is deep."""
    if len(path) < MAX_PATH_CHARS:
        return path + step
    return path if path.endswith("…") else f"{path}…"


def _content(thing: Any) -> Any:
    """What is in a thing, as something that later changes do not reach."""
    if isinstance(thing, torch.Tensor):
        with torch.no_grad(), torch._C.DisableTorchFunction():
            grad = thing.grad if thing.is_leaf else None
            return {
                "numbers": _unwrapped(thing).detach().clone(),
                "shape": tuple(thing.shape),
                "requires_grad": thing.requires_grad,
                ".grad": None if grad is None else grad.detach().clone(),
                "hooks": (tuple(thing._backward_hooks or ()),),
            }
    if isinstance(thing, np.ndarray):
        return {"numbers": thing.copy(), "shape": thing.shape}
    if isinstance(thing, nn.Module):
        found: dict[str, Any] = {"mode": thing.training, "forward": vars(thing).get("forward")}
        own = {**thing._parameters, **thing._buffers, **thing._modules}
        found["parts"] = {name: id(part) for name, part in own.items()}
        found["hooks"] = tuple(tuple(vars(thing).get(name) or ()) for name in HOOKS)
        return found
    if isinstance(thing, torch.optim.Optimizer):
        groups = [
            {key: [*map(id, value)] if key == "params" else value for key, value in group.items()}
            for group in thing.param_groups
        ]
        return {"groups": groups}
    if isinstance(thing, dict):
        return {"entries": dict(thing)}
    return {"entries": list(thing)}


def _unwrapped(t: torch.Tensor) -> torch.Tensor:
    """The tensor inside those that transforms of torch.func hand over: a batched one cannot be compared."""
    while torch._C._functorch.is_functorch_wrapped_tensor(t):
        t = torch._C._functorch.get_unwrapped(t)
    return t


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Which of the contents is not as before; empty when all are."""
    what = next((what for what in before if not _same(before[what], now[what])), "")
    if what == "hooks":
        kept = all(set(had) <= set(has) for had, has in zip(before[what], now[what], strict=True))
        return "hooks (one is left behind)" if kept else "hooks (one is gone)"
    return what


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        alike = one.shape == two.shape and one.dtype == two.dtype and one.layout == two.layout
        if not alike or one.layout != torch.strided:
            return alike
        return torch.equal(torch.nan_to_num(one, nan=0.1), torch.nan_to_num(two, nan=0.1)) and (
            torch.equal(one.isnan(), two.isnan())
        )
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        floats = one.dtype.kind in "fc"
        return one.dtype == two.dtype and np.array_equal(one, two, equal_nan=floats)
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    if one is two:
        return True
    plain = (int, float, str, bool, tuple, type(None))
    return isinstance(one, plain) and isinstance(two, plain) and one == two


def _restore(thing: Any, before: dict[str, Any]) -> None:
    if isinstance(thing, torch.Tensor):
        with torch.no_grad(), torch._C.DisableTorchFunction():
            if thing.is_leaf and thing.requires_grad != before["requires_grad"]:
                thing.requires_grad_(before["requires_grad"])
            if thing.shape == before["numbers"].shape and not _same(
                thing.detach(), before["numbers"]
            ):
                thing.detach().copy_(before["numbers"])
            if thing.is_leaf:
                thing.grad = before[".grad"]
    elif isinstance(thing, np.ndarray):
        if thing.flags.writeable and thing.shape == before["shape"]:
            thing[...] = before["numbers"]
    elif isinstance(thing, nn.Module):
        thing.training = before["mode"]
    elif isinstance(thing, dict):
        thing.clear()
        thing.update(before["entries"])
    elif isinstance(thing, list):
        thing[:] = before["entries"]
