"""A comparison goes in, either of its two runs comes out as a trace of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..trace import Trace, cached
from ..trace.frozen import altered
from ..trace.references import Renumbering, renumbered

__all__ = ["Half", "half", "halves"]


@dataclass(frozen=True)
class Half:
    """One run of a comparison, and for each of its tensors, operations, nodes, edges and stops the number there.

    Its steps keep the numbers of the comparison, so what is said of a step has one number in both runs.
    """

    trace: Trace
    tensors: tuple[int, ...]
    ops: tuple[int, ...]
    nodes: tuple[int, ...]
    edges: tuple[int, ...]
    stops: tuple[int, ...]


def half(trace: Trace, side: str) -> Half:
    """One run of a comparison, `side` being "A" or "B".

    >>> from definebyrun.comparison.join import join
    >>> from definebyrun.trace import TensorVersion
    >>> from definebyrun.trace.value import Value
    >>> runs = [Trace(tensors=(TensorVersion(0, "x", "constant", Value((), "int64", (n,))),)) for n in (1, 2)]
    >>> half(join(*runs), "B").trace.tensors == runs[1].tensors
    True
    """

    def of_side(parts: tuple[Any, ...]) -> list[Any]:
        mine = [part for part in parts if part.side in ("", side)]
        if side == "B":
            mine = [part if part.other is None else part.other for part in mine]
        return [altered(part, side="", other=None) for part in mine]

    names = ("tensors", "ops", "nodes", "edges", "blocks")
    parts = {name: of_side(getattr(trace, name)) for name in names}
    old = {name: tuple(part.index for part in parts[name]) for name in names}
    numbers: dict[str, Renumbering] = {
        name: {number: i for i, number in enumerate(old[name])} for name in names
    }

    def moved(parts: list[Any]) -> tuple[Any, ...]:
        return tuple(renumbered(part, numbers) for part in parts)

    return Half(
        Trace(
            tensors=moved(parts["tensors"]),
            ops=moved(parts["ops"]),
            nodes=moved(parts["nodes"]),
            edges=moved(parts["edges"]),
            steps=moved(of_side(trace.steps)),
            sources=trace.sources,
            calls=trace.calls,
            blocks=moved(parts["blocks"]),
            root=None if trace.root is None else numbers["tensors"].get(trace.root),
            stops=moved(of_side(trace.stops)),
            grads=moved([altered(g, side="") for g in trace.grads if g.side in ("", side)]),
        ),
        tensors=old["tensors"],
        ops=old["ops"],
        nodes=old["nodes"],
        edges=old["edges"],
        stops=tuple(i for i, stop in enumerate(trace.stops) if stop.side in ("", side)),
    )


def halves(trace: Trace) -> tuple[Half, Half]:
    """Both runs of a comparison, taken apart once."""
    return cached(trace, _halves)


def _halves(trace: Trace) -> tuple[Half, Half]:
    return half(trace, "A"), half(trace, "B")
