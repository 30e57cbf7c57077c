"""An object goes in, what is stored in it comes out: parts of modules, entries of containers, attributes of objects.

Instance dictionaries, slots and the entries of lists, tuples and dicts are read, and nothing else: no property, no
descriptor, no `__getattr__`, `__iter__` or `__len__` of the user's classes ever runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from types import GetSetDescriptorType, MemberDescriptorType, ModuleType, SimpleNamespace
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from ._torch import BUFFERS, MODULES, PARAMETERS, registered_parts
from .user_frames import is_library

__all__ = [
    "LIST",
    "MODULE",
    "OBJECT",
    "OTHER",
    "TENSOR",
    "Kinds",
    "entries",
    "entry_suffix",
    "module_parts",
    "parts",
]

OTHER, OBJECT, LIST, TUPLE, DICT, MODULE, TENSOR = range(7)
"""What the instances of a class are to names: `OTHER` has no parts, from `LIST` to `DICT` they are containers."""

MAX_ENTRIES_SEARCHED = 1000
"""Of a container with more entries than this none is a part."""

REGISTERED = (MODULES, PARAMETERS, BUFFERS)
CONTAINERS: dict[int, type] = {LIST: list, TUPLE: tuple, DICT: dict}
MODULE_INTERNALS = frozenset(vars(torch.nn.Module()))
"""What PyTorch stores in every module: hooks, flags, and the dictionaries of its registered parts."""
_NOTHING: frozenset[str] = frozenset()
WITHOUT_PARTS = (type, ModuleType, torch.optim.Optimizer, LRScheduler)
"""`optimizer.param_groups[0]['params'][3]` is nobody's name for a parameter."""
HEAP_TYPE = 1 << 9  # `Py_TPFLAGS_HEAPTYPE` in CPython's `object.h`: made by a `class` statement

_mro = type.__dict__["__mro__"].__get__
_class_dict = type.__dict__["__dict__"].__get__


class Kinds(dict[type, int]):
    """What the instances of each class are; a class is looked at once.

    >>> kinds = Kinds()
    >>> kinds[torch.nn.Parameter] == TENSOR, kinds[torch.nn.Linear] == MODULE, kinds[int] == OTHER
    (True, True, True)
    """

    def __missing__(self, kind: type) -> int:
        found = self[kind] = _kind_of(kind)
        return found


def _kind_of(kind: type) -> int:
    bases = _mro(kind)
    if torch.Tensor in bases:
        return TENSOR
    if torch.nn.Module in bases:
        return MODULE
    for number, base in CONTAINERS.items():
        if base in bases and _defined(kind, "__getitem__") is base.__dict__["__getitem__"]:
            return number
    if not (kind.__flags__ & HEAP_TYPE or kind is SimpleNamespace):
        return OTHER
    stored = type(_defined(kind, "__dict__")) in (
        GetSetDescriptorType,
        MemberDescriptorType,
        type(None),  # slots only
    )
    return OBJECT if stored and not any(base in bases for base in WITHOUT_PARTS) else OTHER


def _defined(kind: type, name: str) -> Any:
    """What a class or one of its bases has under a name, as it is stored there."""
    return next((_class_dict(base)[name] for base in _mro(kind) if name in _class_dict(base)), None)


def parts(
    thing: Any, kind: int, kinds: Kinds, registered: bool = True
) -> list[tuple[str, Any, int]]:
    """What is stored in an object: what code writes behind the object to get it, the thing itself and its kind.

    What has no parts and no name, such as numbers and functions, is left out; without `registered`, of a module all but
    its own attributes.

    >>> kinds, w = Kinds(), torch.ones(2)
    >>> [suffix for suffix, _, _ in parts({"gen": w, ("a", 0): w, "n": 1}, kinds[dict], kinds)]
    ["['gen']", "[('a', 0)]"]
    >>> [suffix for suffix, _, _ in parts(torch.nn.Linear(2, 3), MODULE, kinds)]
    ['.weight', '.bias']
    """
    found: list[tuple[str, Any, int]] = []
    if kind in CONTAINERS:
        for key, part in list(entries(thing, kind, MAX_ENTRIES_SEARCHED)):
            inner = kinds[type(part)]
            suffix = entry_suffix(thing, key) if inner != OTHER else ""
            if suffix:
                found.append((suffix, part, inner))
        return found
    stored = _attributes(thing)
    hidden, own = _NOTHING, iter(stored.items())
    if kind == MODULE:
        hidden = MODULE_INTERNALS
        for which in REGISTERED if registered else ():
            for name, part in registered_parts(stored, which):
                found.append((f".{name}", part, kinds[type(part)]))
    else:
        own = iter((*own, *_slots(thing)))
    private = ""
    for name, part in own:
        if name not in hidden and (inner := kinds[type(part)]) != OTHER:
            private = private or _private_prefix(type(thing))
            if type(name) is str and not name.startswith(private):
                found.append((f".{name}", part, inner))
    return found


def module_parts(module: torch.nn.Module) -> list[tuple[str, Any]]:
    """A module, all modules inside it, their parameters and buffers, each with its path behind the module's name.

    >>> [path for path, _ in module_parts(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()))]
    ['', '.0', '.0.weight', '.0.bias', '.1']
    """
    found: list[tuple[str, Any]] = []
    met: set[int] = set()
    waiting = [("", module)]
    while waiting:
        path, part = waiting.pop()
        if id(part) in met:
            continue
        met.add(id(part))
        found.append((path, part))
        stored = _attributes(part)
        for name, tensor in registered_parts(stored, PARAMETERS):
            found.append((f"{path}.{name}", tensor))
        for name, tensor in registered_parts(stored, BUFFERS):
            found.append((f"{path}.{name}", tensor))
        inside = registered_parts(stored, MODULES)
        if inside:
            waiting += [(f"{path}.{name}", child) for name, child in reversed(inside)]
    return found


def entries(thing: Any, kind: int, most: int) -> Iterable[tuple[Any, Any]]:
    """The entries of a container by key or index; none of one that has more than `most`."""
    base: Any = CONTAINERS[kind]
    if base.__len__(thing) > most:
        return ()
    return dict.items(thing) if base is dict else enumerate(base.__iter__(thing))


def entry_suffix(thing: Any, key: Any) -> str:
    """What code writes behind a container to get an entry; empty for a key whose repr may be no code.

    >>> from collections import namedtuple
    >>> entry_suffix([5], 0), entry_suffix({}, "a"), entry_suffix({}, object())
    ('[0]', "['a']", '')
    >>> entry_suffix(namedtuple("Batch", "x y")(1, 2), 1)
    '.y'
    """
    fields = _defined(type(thing), "_fields")
    if type(fields) is tuple and type(key) is int and key < len(fields):
        return f".{fields[key]}"
    written = key if type(key) is tuple else (key,)
    return f"[{key!r}]" if all(type(part) in (str, int, float, bool) for part in written) else ""


def _attributes(thing: Any) -> dict[str, Any]:
    try:
        stored = object.__getattribute__(thing, "__dict__")
    except AttributeError:  # slots only
        return {}
    return stored if type(stored) is dict else {}


def _slots(thing: Any) -> list[tuple[str, Any]]:
    found = []
    for base in _mro(type(thing)):
        if "__slots__" in _class_dict(base):
            for name, member in _class_dict(base).items():
                if type(member) is MemberDescriptorType:
                    with suppress(AttributeError):  # nothing is stored there
                        found.append((name, member.__get__(thing)))
    return found


def _private_prefix(kind: type) -> str:
    """How attributes begin that are no names: libraries mark with one underscore what is not for others."""
    home = sys.modules.get(_class_dict(kind).get("__module__") or "")
    file = None if home is None else _attributes(home).get("__file__")
    return "_" if type(file) is str and is_library(file) else "__"
