"""A comparison goes in, either of its two runs comes out as a trace of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..trace import Trace, cached
from ..trace.frozen import altered
from .renumber import Renumbering, renumbered

__all__ = ["Half", "apart", "halves"]


@dataclass(frozen=True)
class Half:
    """One run of a comparison, and for each of its tensors, operations, nodes and edges the number there.

    Its steps keep the numbers of the comparison, so what is said of a step has one number in both runs.
    """

    trace: Trace
    tensors: tuple[int, ...]
    ops: tuple[int, ...]
    nodes: tuple[int, ...]
    edges: tuple[int, ...]


def apart(trace: Trace, side: str) -> Half:
    """One run of a comparison, `side` being "A" or "B".

    >>> from definebyrun.comparison.join import join
    >>> from definebyrun.trace import TensorVersion
    >>> from definebyrun.trace.value import Value
    >>> runs = [Trace(tensors=(TensorVersion(0, "x", "constant", Value((), "int64", (n,))),)) for n in (1, 2)]
    >>> apart(join(*runs), "B").trace.tensors == runs[1].tensors
    True
    """

    def seen(parts: tuple[Any, ...]) -> list[Any]:
        mine = [part for part in parts if part.side in ("", side)]
        if side == "B":
            mine = [part if part.other is None else part.other for part in mine]
        return [altered(part, side="", other=None) for part in mine]

    kinds = ("tensors", "ops", "nodes", "edges", "blocks")
    parts = {kind: seen(getattr(trace, kind)) for kind in kinds}
    old = {kind: tuple(part.index for part in parts[kind]) for kind in kinds}
    move = Renumbering(**{kind: {n: i for i, n in enumerate(old[kind])} for kind in kinds})
    root = trace.root if trace.root in move.tensors else None
    return Half(
        Trace(
            tensors=tuple(map(move.tensor, parts["tensors"])),
            ops=tuple(map(move.op, parts["ops"])),
            nodes=tuple(map(move.node, parts["nodes"])),
            edges=tuple(map(move.edge, parts["edges"])),
            steps=tuple(map(move.step, seen(trace.steps))),
            sources=trace.sources,
            blocks=tuple(map(move.block, parts["blocks"])),
            root=renumbered(move.tensors, root),
            grads=tuple(
                altered(move.grad(change), side="")
                for change in trace.grads
                if change.side in ("", side)
            ),
        ),
        tensors=old["tensors"],
        ops=old["ops"],
        nodes=old["nodes"],
        edges=old["edges"],
    )


def halves(trace: Trace) -> tuple[Half, Half]:
    """Both runs of a comparison, taken apart once."""
    return cached(trace, _both_halves)


def _both_halves(trace: Trace) -> tuple[Half, Half]:
    return apart(trace, "A"), apart(trace, "B")
