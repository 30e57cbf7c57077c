"""The names that lead to a module or object go in, the one that it is called by comes out: no two have the same.

While a run is recorded it has candidates only. What lies inside it is named by its path from there, which is put
together when somebody asks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ObjectName", "PartName", "Path", "choose", "numbered", "root_of", "unclear"]

_ROOT = re.compile(r"\w*")


@dataclass(slots=True, eq=False)
class ObjectName:
    """The name of a module, or of an object that holds some: candidates until the end of the recording chooses one.

    `thing` gives the object, or None when it has gone; `kind` is the name of its class.
    """

    thing: Callable[[], Any]
    kind: str
    candidates: list[str] = field(default_factory=list)
    is_searched: bool = False
    chosen: str = ""

    def add_first(self, candidates: Iterable[str]) -> None:
        """Better candidates than those that are known, the best first."""
        self.candidates = list(dict.fromkeys((*candidates, *self.candidates)))

    def __str__(self) -> str:
        return self.chosen or next(iter(self.candidates), self.kind)

    def __add__(self, suffix: str) -> PartName:
        return PartName(self, suffix)


@dataclass(slots=True, eq=False)
class PartName:
    """The name of what lies inside an object: `model` and `.hidden.weight`."""

    owner: ObjectName
    suffix: str

    def __str__(self) -> str:
        return f"{self.owner}{self.suffix}"

    def __add__(self, suffix: str) -> PartName:
        return PartName(self.owner, self.suffix + suffix)


Path = str | ObjectName | PartName
"""A name, which can be extended by a suffix."""


def root_of(name: str) -> str:
    """The variable that a name begins with.

    >>> root_of("layers[0].weight"), root_of("w")
    ('layers', 'w')
    """
    return _ROOT.match(name)[0]  # type: ignore[index]  # it matches the empty text too


def unclear(names: Iterable[ObjectName], poor: Collection[str] = ()) -> list[ObjectName]:
    """Those without a candidate that is theirs alone and does not begin with one of the `poor` variables."""
    names = list(names)
    shared = _shared(names)
    return [
        name for name in names if all(c in shared or root_of(c) in poor for c in name.candidates)
    ]


def choose(names: Iterable[ObjectName]) -> None:
    """Give each the first candidate that is its alone; where there is none, `Linear`, `Linear (2)` in order.

    >>> one, two = ObjectName(int, "Tanh", ["h", "hs[0]"]), ObjectName(int, "Tanh", ["h", "hs[1]"])
    >>> three, four = ObjectName(int, "Tanh"), ObjectName(int, "Tanh")
    >>> choose([one, two, three, four])
    >>> [str(name) for name in (one, two, three, four)]
    ['hs[0]', 'hs[1]', 'Tanh', 'Tanh (2)']
    """
    names = list(names)
    shared = _shared(names)
    for name in names:
        name.chosen = next((c for c in name.candidates if c not in shared), "")
    taken = {name.chosen for name in names if name.chosen}
    for name in names:
        name.chosen = name.chosen or numbered(str(name), taken)
        taken.add(name.chosen)


def numbered(name: str, taken: Collection[str]) -> str:
    """A name, or where it is taken the same with the next number: `w`, `w (2)`."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _shared(names: list[ObjectName]) -> set[str]:
    counts = Counter(c for name in names for c in set(name.candidates))
    return {c for c, count in counts.items() if count > 1}
