"""Tensors and modules go in with their names; by object, or by the `id` of one that has gone, the names come out.

Modules, parameters and small tensors are kept alive, so that no `id` is used twice. Large tensors and other objects
are not: of these a weak reference says whose name it is.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import torch

from .name_paths import ObjectName, PartName, Path
from .object_parts import module_parts
from .torch_calls import is_large

__all__ = ["KnownNames"]

Entry = str | ObjectName | tuple[ref[Any] | None, ObjectName | None, str]
"""A name; or a plain tuple, as a model has thousands of them: a reference to what is not kept alive, the object that
the thing is or is in, the rest of the name."""


class KnownNames:
    """Names by object. A name is given once; to give another, it is dropped first."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        """By `id`. An object without an entry has no name, and one with an entry that is no tuple has one."""
        self._held: list[Any] = []

    def __contains__(self, thing: Any) -> bool:
        found = self.entries.get(id(thing))
        if type(found) is tuple and found[0] is not None:
            return found[0]() is thing
        return found is not None

    def path(self, thing: Any) -> Path | None:
        """The name of a thing, as it is put together."""
        found = self.entries[id(thing)] if thing in self else None
        if not isinstance(found, tuple):
            return found
        return found[2] if found[1] is None else PartName(found[1], found[2])

    def text(self, thing: Any) -> str | None:
        """The name of a thing, as it is now."""
        found = self.entries.get(id(thing))
        if type(found) is str or found is None:  # most often
            return found
        return _text(found) if thing in self else None

    def owner(self, thing: Any) -> ObjectName | None:
        """The name of the module or object that a thing is, or that it is in."""
        found = self.entries.get(id(thing))
        if type(found) is str or found is None:  # most often
            return None
        if type(found) is tuple:
            return found[1] if thing in self else None
        return found if type(found) is ObjectName else None

    def give(self, thing: Any, name: Path) -> None:
        """Name a thing; a name that is already there stays."""
        if thing in self:
            return
        owner, rest = (name.owner, name.suffix) if isinstance(name, PartName) else (None, name)
        if is_large(thing):
            held = ref(thing)
            self._held.append(held)
            self.entries[id(thing)] = held, owner, str(rest)
        else:
            self._held.append(thing)
            self.entries[id(thing)] = rest if owner is None else (None, owner, str(rest))

    def give_object(self, thing: Any, name: ObjectName) -> None:
        """Name an object that is no module, without keeping it alive."""
        self.entries[id(thing)] = ref(thing), name, ""

    def give_parts(self, module: torch.nn.Module, path: ObjectName | PartName) -> None:
        """Name a module and all that is in it by its path from there; names that are already there stay."""
        owner, begin = (path.owner, path.suffix) if isinstance(path, PartName) else (path, "")
        self.give(module, path)
        entries = self.entries
        for suffix, part in module_parts(module):
            if id(part) in entries and part in self:
                continue
            if is_large(part):
                self.give(part, PartName(owner, begin + suffix))
            else:  # the same, but quickly
                self._held.append(part)
                entries[id(part)] = None, owner, begin + suffix

    def drop(self, thing: Any) -> None:
        """Forget the name of a thing, for a better one."""
        self.entries.pop(id(thing), None)

    def left(self, key: int) -> str | None:
        """The name of a large tensor that has just gone, by the `id` that it had."""
        found = self.entries.get(key)
        return _text(found) if type(found) is tuple and found[0] is not None else None

    def forget(self, key: int) -> None:
        """An `id` is a new tensor's: a name under it, if any, was that of another one."""
        found = self.entries.get(key)
        if type(found) is tuple and found[0] is not None and found[0]() is None:
            del self.entries[key]

    def tensors(self) -> list[torch.Tensor]:
        """All tensors that have a name, in the order in which they got it."""
        held = [each() if isinstance(each, ref) else each for each in self._held]
        return [thing for thing in held if isinstance(thing, torch.Tensor)]


def _text(entry: Entry) -> str:
    return f"{entry[1] or ''}{entry[2]}" if type(entry) is tuple else str(entry)
