"""A trace that was read from a file goes in; a `ValueError` comes out where it refers to what it does not hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .trace import Trace

__all__ = ["validate"]


def validate(trace: Trace) -> None:
    """Raises `ValueError` for parts that are not numbered in order, and for numbers of parts that are not there."""
    for what, parts in (
        ("tensors", trace.tensors),
        ("ops", trace.ops),
        ("nodes", trace.nodes),
        ("edges", trace.edges),
        ("steps", trace.steps),
    ):
        if any(part.index != place for place, part in enumerate(parts)):
            raise ValueError(f"this file is damaged: its {what} are not numbered in order")
    for what, number in _references(trace):
        if not 0 <= number < len(getattr(trace, what)):
            raise ValueError(
                f"this file is damaged: it speaks of {what}[{number}], which it does not hold"
            )


def _references(trace: Trace) -> Iterator[tuple[str, int]]:
    """Every index that a trace holds, with the name of the list that it points into."""
    single: list[tuple[str, int | None]] = [("tensors", trace.root)]
    for tensor in _both(trace.tensors):
        single += [("ops", tensor.op), ("nodes", tensor.node), ("tensors", tensor.origin)]
        single.append(("blocks", tensor.block))
    for op in _both(trace.ops):
        single += [("tensors", i) for i in (*op.inputs, *op.outputs)]
        single += [("tensors", arg) for arg in op.args if not isinstance(arg, str)]
        single += [("sources", piece) for piece, _ in op.stack]
        single += [("nodes", op.within), ("calls", op.call), ("blocks", op.block)]
    for node in _both(trace.nodes):
        single += [("ops", node.op), ("tensors", node.leaf)]
        single += [("tensors", saved.tensor) for saved in node.saved]
        single += [("nodes", node.within), ("steps", node.made), ("blocks", node.block)]
        single.append(("steps", node.until))
    for edge in _both(trace.edges):
        single += [("nodes", edge.source), ("nodes", edge.target)]
    for step in _both(trace.steps):
        single += [("ops", step.op), ("nodes", step.node)]
        single += [("edges", edge) for edge, _ in step.passed]
        single += [("sources", piece) for piece, _ in step.stack]
    single += [("tensors", change.tensor) for change in trace.grads]
    single += [("calls", call.outer) for call in trace.calls]
    single += [("blocks", block.outer) for block in _both(trace.blocks)]
    return ((what, number) for what, number in single if number is not None)


def _both(parts: Iterable[Any]) -> Iterator[Any]:
    """Parts, and what a comparison holds of them from the other run."""
    for part in parts:
        yield part
        if part.other is not None:
            yield part.other
