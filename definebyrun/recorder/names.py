"""The frames of running code go in, the names that the learner gave to tensors and modules come out.

A tensor has the first variable name that is seen to hold it, a parameter the path of its module.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import FrameType
from typing import Any
from weakref import ref

import torch

from ._torch import own_tensors
from .torch_calls import is_large
from .user_frames import clear_locals_copy

__all__ = ["Names"]

MAX_SEARCHED_ENTRIES = 64
"""Lists, tuples and dicts of at most this many entries are searched for tensors: `weights[0]`."""


NAMELESS, TENSOR, MODULE, HOLDER = 1, 2, 3, 4
"""What a thing is to names: nothing, itself to be named, something with named parts, something that may hold some."""
HOLDERS = (list, tuple, dict)


def _written(key: Any) -> bool:
    """Whether code can write a key as its repr: numbers, strings, pairs of them. Another repr may hold an address."""
    parts = key if type(key) is tuple else (key,)
    return all(isinstance(part, (str, int, float)) for part in parts)


class Names:
    """Remembers names by object. Modules and small tensors are kept alive, so that no identity is used twice.

    Large tensors are not: for these it remembers whose name it is.
    """

    def __init__(self) -> None:
        self._names: dict[int, str | tuple[ref[Any], str]] = {}
        self._held: list[Any] = []
        self._modules: set[int] = set()
        self._kinds: dict[type, int] = {}

    def look(self, frames: Iterable[FrameType], globals_too: bool = False) -> None:
        """Read the variables of these frames, outermost first: the caller's name wins over the callee's."""
        for frame in reversed(list(frames)):
            variables = frame.f_locals
            self._read(variables)
            clear_locals_copy(frame, variables)
            if globals_too:
                self._read(frame.f_globals)

    def of(self, thing: Any) -> str | None:
        """The name of a tensor or module, or None."""
        found = self._names.get(id(thing))
        if type(found) is tuple:
            return found[1] if found[0]() is thing else None
        return found

    def left(self, key: int) -> str | None:
        """The name of a large tensor that has just gone, by the `id` that it had."""
        found = self._names.get(key)
        return found[1] if type(found) is tuple else None

    def forget(self, key: int) -> None:
        """An `id` is a new tensor's: a name under it, if any, was that of another one."""
        found = self._names.get(key)
        if type(found) is tuple and found[0]() is None:
            del self._names[key]

    def tensors(self) -> list[torch.Tensor]:
        """All tensors that have a name, in the order in which they got it."""
        held = [each() if isinstance(each, ref) else each for each in self._held]
        return [thing for thing in held if isinstance(thing, torch.Tensor)]

    def give(self, thing: Any, name: str) -> None:
        """Name something that no variable holds; a name that is already there stays."""
        if self.of(thing) is not None:
            return
        if is_large(thing):
            self._held.append(ref(thing))
            self._names[id(thing)] = self._held[-1], name
        else:
            self._held.append(thing)
            self._names[id(thing)] = name

    def _read(self, variables: dict[str, Any]) -> None:
        containers, kinds = [], self._kinds
        for name, thing in list(variables.items()):
            kind = kinds.get(type(thing)) or self._kind(type(thing))
            if kind == NAMELESS or self.of(thing) is not None:
                continue
            if name[0] == "_" or name in ("self", "In", "Out"):
                continue
            if kind == TENSOR:
                self.give(thing, name)
            elif kind == MODULE:
                self.give_module(thing, name)
            elif len(thing) <= MAX_SEARCHED_ENTRIES:
                containers.append((name, thing))
        for name, thing in containers:
            keyed = thing.items() if isinstance(thing, dict) else enumerate(thing)
            for key, part in keyed:
                if isinstance(part, torch.Tensor) and _written(key):
                    self.give(part, f"{name}[{key!r}]")

    def _kind(self, kind: type) -> int:
        """What things of a type are to names; asked once for each type."""
        found = NAMELESS
        for number, bases in ((TENSOR, torch.Tensor), (MODULE, torch.nn.Module), (HOLDER, HOLDERS)):
            if issubclass(kind, bases):
                found = number
                break
        self._kinds[kind] = found
        return found

    def give_module(self, module: torch.nn.Module, name: str) -> None:
        """Name a module, the modules inside it and their parameters and buffers by path: `model.hidden.weight`."""
        if id(module) in self._modules:
            return
        self._modules.add(id(module))
        for path, part in module.named_modules():
            inside = f"{name}.{path}" if path else name
            self.give(part, inside)
            for own, tensor in own_tensors(part):
                if tensor is not None:
                    self.give(tensor, f"{inside}.{own}")
