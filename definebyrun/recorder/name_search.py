"""Frames and objects without a name go in, the paths that lead to them come out: `agent.policy`, `nets['disc']`.

The variables that a frame sees are searched, then what is stored in them, level by level: the shortest path comes
first, and that of the outermost frame before that of the functions it called.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from types import FrameType
from typing import Any, NamedTuple

import torch

from .name_paths import Path
from .object_parts import MODULE, OBJECT, OTHER, TENSOR, Kinds, parts
from .user_frames import clear_locals_copy

__all__ = ["EVERYWHERE", "Depth", "Found", "Scope", "Search", "best", "is_plain_name", "scopes_of"]

MAX_OBJECTS = 2000
"""The objects that one search looks into: what lies behind has no name, rather than that a recording waits."""
MAX_PATHS = 3
"""An object is looked into along so many of the paths that lead to it: a loop's variable, a list, `self`."""
MIN_LEVELS_INSIDE = 3
"""So far a search goes at least for what the outermost frame has no name for: an inner variable may be a loop's."""
POOR = 1_000_000
"""The rank of a path that begins with a poor variable; of others it is the number of the scope, outermost first."""

Scope = list[tuple[str, Any]]
_NOT_THE_USERS = re.compile(r"In|Out|__\w*|_(\d*|i*\d*|[io]h|dh)")
"""Python's own variables, and those in which IPython keeps what was typed and what came of it."""


class Depth(NamedTuple):
    """How many levels a search goes down, `a.b[0].c` being on the third, and whether into modules' registered parts."""

    levels: int
    registered: bool


EVERYWHERE = Depth(levels=7, registered=True)


class Found(NamedTuple):
    """A path to what was wanted, and the outermost nameless object that it leads through, with the path to that."""

    rank: int
    path: Path
    owner: Any
    owner_path: Path


def is_plain_name(name: str) -> bool:
    """Whether a variable is the user's.

    >>> [name for name in ("w", "_w", "In", "_", "_12", "_i3", "__name__") if is_plain_name(name)]
    ['w', '_w']
    """
    return not _NOT_THE_USERS.fullmatch(name)


def scopes_of(frames: Iterable[FrameType]) -> list[Scope]:
    """The variables that these frames see, outermost first: those of each function, then those of its file."""
    scopes: list[Scope] = []
    met: set[int] = set()
    for frame in reversed(list(frames)):
        variables = frame.f_locals
        if variables is not frame.f_globals:
            scopes.append(list(variables.items()))
            clear_locals_copy(frame, variables)
        if id(frame.f_globals) not in met:
            met.add(id(frame.f_globals))
            scopes.append(list(frame.f_globals.items()))
    return scopes


class Search:
    """Looks for paths in what frames see. What is in an object that `known` has a name for is named after that.

    A path that begins with one of the `poor` variables, which the caller may still add to, is worse than any other.
    """

    def __init__(
        self, kinds: Kinds, known: Callable[[Any], Path | None], poor: Collection[str]
    ) -> None:
        self._kinds, self._known, self._poor = kinds, known, poor
        self.opened = 0
        """The objects that all searches have looked into."""

    def paths(
        self, scopes: list[Scope], wanted: Mapping[int, Any], depth: Depth = EVERYWHERE
    ) -> dict[int, list[Found]]:
        """By `id` of what is wanted: the paths to it, the best first.

        The search ends at the level at which everything wanted has a good name: a module any, a tensor an attribute.
        """
        found: dict[int, list[Found]] = {}
        if not wanted:
            return found
        kinds, times = self._kinds, Counter[int]()
        level: list[Any] = [
            (POOR if name in self._poor else rank, name, thing, kind, None, "")
            for rank, scope in enumerate(scopes)
            for name, thing in scope
            if (kind := kinds[type(thing)]) != OTHER and is_plain_name(name)
        ]
        for number in range(depth.levels + 1):
            for rank, path, thing, _, owner, owner_path in level:
                if id(thing) in wanted:
                    found.setdefault(id(thing), []).append(Found(rank, path, owner, owner_path))
            if number == depth.levels or (number and self._is_enough(wanted, found, number)):
                break
            level = self._below(level, wanted, times, depth.registered)
        self.opened += times.total()
        for paths in found.values():
            paths.sort(key=lambda each: each.rank)
        return found

    def tensors(self, scope: Scope, depth: Depth) -> list[torch.Tensor]:
        """The tensors that lie in what these variables hold, so many levels down, those of the upper levels first."""
        found: dict[int, torch.Tensor] = {}
        times = Counter[int]()
        level: list[Any] = [
            (0, name, thing, kind, None, "")
            for name, thing in scope
            if (kind := self._kinds[type(thing)]) not in (OTHER, TENSOR) and is_plain_name(name)
        ]
        for _ in range(depth.levels):
            level = self._below(level, {}, times, depth.registered)
            found |= {id(each[2]): each[2] for each in level if each[3] == TENSOR}
        return list(found.values())

    def _below(
        self, level: list[Any], wanted: Mapping[int, Any], times: Counter[int], registered: bool
    ) -> list[Any]:
        """What is stored in the things of a level, each of which is looked into `MAX_PATHS` times at most."""
        found: list[Any] = []
        for rank, path, thing, kind, owner, owner_path in level:
            key = id(thing)
            if kind == TENSOR or times[key] == MAX_PATHS or len(times) >= MAX_OBJECTS:
                continue
            times[key] += 1
            if kind in (OBJECT, MODULE):
                known = None if key in wanted else self._known(thing)
                if known is not None:
                    rank, path, owner = 0, known, None
                elif owner is None:
                    owner, owner_path = thing, path
            for suffix, part, inner in parts(thing, kind, self._kinds, registered):
                found.append((rank, path + suffix, part, inner, owner, owner_path))
        return found

    def _is_enough(
        self, wanted: Mapping[int, Any], found: dict[int, list[Found]], number: int
    ) -> bool:
        """Whether the levels up to this one have a good name for everything wanted."""
        last = 0 if number < MIN_LEVELS_INSIDE else POOR
        goods = (
            best(found.get(key, ()), self._kinds[type(thing)]) for key, thing in wanted.items()
        )
        return all(good is not None and good.rank <= last for good in goods)


def best(paths: Iterable[Found], kind: int) -> Found | None:
    """The first path that is a good name: of no poor variable, and of a tensor not the index of a list."""
    for each in sorted(paths, key=lambda each: each.rank):
        if each.rank < POOR and (kind == MODULE or not str(each.path).endswith("]")):
            return each
    return None
