"""What every number in a record means: an index into a list of the trace, or a plain number. It is said here, once.

A saved trace is checked by this table (`validate.py`), two runs are compared and a run is folded by it: `renumbered`
gives a record with its indices changed. A field with an `int` in it that is not declared here fails a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from .frozen import Record, altered
from .records import (
    Block,
    Edge,
    Grad,
    ModuleCall,
    Node,
    Op,
    Saved,
    Source,
    Step,
    TensorVersion,
)
from .stop import Stop

__all__ = [
    "FIELDS",
    "LISTS",
    "Index",
    "Moment",
    "Nested",
    "Plain",
    "Renumbering",
    "indices",
    "renumbered",
]

R = TypeVar("R", bound=Record)
Renumbering = Mapping[int, int | None]
"""From the old index of each part of a list to the new one; None for a part that is gone."""

LISTS: dict[str, type[Record]] = {
    "tensors": TensorVersion,
    "ops": Op,
    "nodes": Node,
    "edges": Edge,
    "steps": Step,
    "sources": Source,
    "grads": Grad,
    "calls": ModuleCall,
    "blocks": Block,
    "stops": Stop,
}
"""The lists of a trace, and what they hold."""


@dataclass(frozen=True)
class Index:
    """An index into the list `of`, or None; or a tuple: of indices (`each`), of pairs that begin with one (`first`)."""

    of: str
    form: Literal["one", "each", "first"] = "one"


@dataclass(frozen=True)
class Moment:
    """A moment between steps: how many steps came before it, at most all of them, and `beyond` so many.

    A `Grad` names the step after it instead, counted from 1, which may be one that never came.
    """

    of: str = "steps"
    beyond: int = 0


@dataclass(frozen=True)
class Plain:
    """A plain number, at least `least`."""

    least: int = 0


@dataclass(frozen=True)
class Nested:
    """A tuple of records that stand in no list of their own."""

    kind: type[Record]


FIELDS: dict[type[Record], dict[str, Index | Moment | Plain | Nested]] = {
    TensorVersion: {
        "index": Index("tensors"),
        "op": Index("ops"),
        "node": Index("nodes"),
        "output_nr": Plain(),
        "origin": Index("tensors"),
        "since": Moment(),
        "times": Plain(1),
        "block": Index("blocks"),
        "owners": Index("calls", "each"),
    },
    Op: {
        "index": Index("ops"),
        "line": Plain(),
        "inputs": Index("tensors", "each"),
        "outputs": Index("tensors", "each"),
        "stack": Index("sources", "first"),
        "args": Index("tensors", "each"),
        "within": Index("nodes"),
        "call": Index("calls"),
        "holds": Plain(1),
        "times": Plain(1),
        "parameters": Plain(),
        "elements": Plain(),
        "block": Index("blocks"),
        "generation": Plain(1),
        "pass_nr": Index("passes"),
        "beside": Plain(),
        "named": Index("tensors", "first"),
    },
    Saved: {
        "storage": Index("storages"),
        "nbytes": Plain(),
        "tensor": Index("tensors"),
        "given": Index("tensors"),
    },
    Node: {
        "index": Index("nodes"),
        "op": Index("ops"),
        "order": Plain(),
        "leaf": Index("tensors"),
        "saved": Nested(Saved),
        "holds": Plain(1),
        "times": Plain(1),
        "edges": Plain(),
        "generation": Plain(1),
        "pass_nr": Index("passes"),
        "within": Index("nodes"),
        "made": Index("steps"),
        "block": Index("blocks"),
        "until": Index("steps"),
        "slots": Plain(),
    },
    Edge: {
        "index": Index("edges"),
        "source": Index("nodes"),
        "target": Index("nodes"),
        "input_nr": Plain(),
        "slot": Plain(),
        "times": Plain(1),
    },
    Step: {
        "index": Index("steps"),
        "op": Index("ops"),
        "node": Index("nodes"),
        "stack": Index("sources", "first"),
        "passed": Index("edges", "first"),
        "pass_nr": Index("passes"),
        "kept": Plain(),
        "given": Index("tensors", "each"),
        "arrived": Index("tensors", "each"),
        "returned": Index("tensors", "each"),
    },
    ModuleCall: {"index": Index("calls"), "outer": Index("calls"), "first": Index("calls")},
    Block: {
        "index": Index("blocks"),
        "times": Plain(1),
        "outer": Index("blocks"),
        "call": Index("calls"),
    },
    Grad: {"tensor": Index("tensors"), "since": Moment(beyond=1)},
    Source: {"first": Plain()},
    Stop: {
        "line": Plain(),
        "stack": Index("sources", "first"),
        "inputs": Index("tensors", "each"),
        "args": Index("tensors", "each"),
        "call": Index("calls"),
        "node": Index("nodes"),
        "changed_by": Index("ops"),
    },
}
"""By record and field. Backward passes and storages are numbered too, but have no list: `passes`, `storages`."""

_REFERENCES = {
    kind: [(name, field) for name, field in known.items() if not isinstance(field, Plain)]
    for kind, known in FIELDS.items()
}


def indices(record: Record) -> Iterator[tuple[str, str, int]]:
    """Every index in a record: the field, the list that it points into, and the index."""
    for name, field in FIELDS[type(record)].items():
        found = getattr(record, name)
        if isinstance(field, Nested):
            for part in found:
                yield from ((f"{name}.{inner}", of, i) for inner, of, i in indices(part))
        elif isinstance(field, Index):
            yield from ((name, field.of, i) for i in _all(field, found))


def _all(field: Index, found: Any) -> list[int]:
    """The indices in a field; an operation's arguments are indices and texts."""
    if field.form == "one":
        return [] if found is None else [found]
    parts = found if field.form == "each" else [first for first, _ in found]
    return [part for part in parts if isinstance(part, int)]


def renumbered(record: R, numbers: Mapping[str, Renumbering]) -> R:
    """A record with new indices, by the names of the lists that were numbered anew; other lists keep their numbers.

    A part that is gone leaves None, or nothing where several are listed. A number that is not in `numbers` at all is a
    `KeyError`.

    >>> renumbered(Saved("self", storage=3, nbytes=8, tensor=5), {"tensors": {5: 0}})
    Saved(name='self', storage=3, nbytes=8, tensor=0, given=None)
    """
    changes: dict[str, Any] = {}
    for name, field in _REFERENCES[type(record)]:
        found = getattr(record, name)
        if isinstance(field, Nested):
            if found:
                changes[name] = tuple([renumbered(part, numbers) for part in found])
        elif field.of in numbers and found is not None and found != ():
            changes[name] = _moved(field, found, numbers[field.of])
    return altered(record, **changes) if changes else record


def _moved(field: Index | Moment, found: Any, to: Renumbering) -> Any:
    """What a field holds, in new numbers."""
    if isinstance(field, Moment):
        return _moment(found, to)
    if field.form == "one":
        return to[found]
    if field.form == "each":
        moved = [part if isinstance(part, str) else to[part] for part in found]
        return tuple([part for part in moved if part is not None])
    pairs = [(to[first], rest) for first, rest in found]
    return tuple([pair for pair in pairs if pair[0] is not None])


def _moment(found: int, to: Renumbering) -> int:
    """A moment follows the step before it; one after the last step stays after the last."""
    if not found:
        return 0
    new = to.get(found - 1)
    if new is None:
        new = 1 + max((number for number in to.values() if number is not None), default=-1)
    return new + 1
