"""Two traces go in, one comes out whose records say which run they belong to; `split.half` gives either run back.

What both runs did is there once. A comparison's steps go like a difference of two texts: as long as the runs agree, one
step for both; where they part, first what only A did, then what only B did; then on together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ..trace import Grad, ModuleCall, Op, Source, Step, Stop, Trace
from ..trace.frozen import Record, altered
from ..trace.references import Renumbering, renumbered
from .alignment import Alignment, align
from .code_locations import same_pieces
from .sequences import Matching, Order, merge_order

__all__ = ["join"]

R = TypeVar("R", bound=Record)


def join(a: Trace, b: Trace, names: tuple[str, ...] = ("A", "B")) -> Trace:
    """One trace of two runs, called by two `names`; see `trace/records.py` for `side` and `other`."""
    same = align(a, b)
    orders = {
        name: merge_order(len(getattr(a, name)), len(getattr(b, name)), getattr(same, name))
        for name in ("tensors", "nodes", "edges", "steps")
    }
    orders["blocks"] = merge_order(len(a.blocks), len(b.blocks), _same_blocks(a, b, same))
    orders["ops"] = _order_of_ops(a, b, orders["steps"])
    orders["edges"] = _order_of_edges(a, b, orders["edges"], orders["nodes"])
    calls, calls_of_b = _calls(a, b)
    sources, numbers_of_b, shifts = _sources(a, b, names[1])
    to_a = _numbers(orders, 0) | {"calls": {call.index: call.index for call in a.calls}}
    to_b = _numbers(orders, 1) | {
        "calls": calls_of_b,
        "sources": numbers_of_b,
        "storages": _storages(a, b, same),
    }

    def merged(name: str) -> tuple[Any, ...]:
        parts_a, parts_b = getattr(a, name), getattr(b, name)
        found = []
        for i, j in orders[name]:
            one = None if i is None else renumbered(parts_a[i], to_a)
            other = None if j is None else renumbered(_shifted(parts_b[j], shifts), to_b)
            found.append(_of_both(one, other))
        return tuple(found)

    root, to = (a.root, to_a) if a.root is not None else (b.root, to_b)
    return Trace(
        tensors=merged("tensors"),
        ops=merged("ops"),
        nodes=merged("nodes"),
        edges=merged("edges"),
        steps=merged("steps"),
        blocks=merged("blocks"),
        sources=sources,
        calls=calls,
        root=None if root is None else to["tensors"][root],
        error=_errors(a.error, b.error, names),
        sides=names,
        grads=_grads(
            [renumbered(change, to_a) for change in a.grads],
            [renumbered(change, to_b) for change in b.grads],
        ),
        stops=_stops(
            [renumbered(stop, to_a) for stop in a.stops],
            [renumbered(_shifted(stop, shifts), to_b) for stop in b.stops],
        ),
    )


def _numbers(orders: Mapping[str, Order], run: int) -> dict[str, Renumbering]:
    """By list: the comparison's numbers for the parts of its run 0 or 1."""
    return {name: _positions(order, run) for name, order in orders.items()}


def _calls(a: Trace, b: Trace) -> tuple[tuple[ModuleCall, ...], dict[int, int]]:
    """The calls of A and those that only B made; by call of B: its number there.

    Calls are paired by the path and class of the module and the call around, the first with the first, and so on.
    """
    calls, waiting = list(a.calls), dict[tuple[object, ...], list[int]]()
    for call in a.calls[::-1]:
        waiting.setdefault((call.outer, call.path, call.kind), []).append(call.index)
    numbers: dict[int, int] = {}
    for call in b.calls:
        outer = None if call.outer is None else numbers[call.outer]
        same = waiting.get((outer, call.path, call.kind))
        numbers[call.index] = number = same.pop() if same else len(calls)
        if number == len(calls):
            first = None if call.first is None else numbers[call.first]
            calls.append(altered(call, index=number, outer=outer, first=first))
    return tuple(calls), numbers


def _positions(order: Order, run: int) -> dict[int, int]:
    """By the number of a part in run 0 or 1: its position in the order of both."""
    pairs = ((pair[run], position) for position, pair in enumerate(order))
    return {number: position for number, position in pairs if number is not None}


def _shifted(record: R, shifts: Mapping[int, int]) -> R:
    """A record of B with the line numbers that A has for the same code."""
    if not isinstance(record, (Op, Step, Stop)) or not record.stack:
        return record
    stack = tuple([(piece, line + shifts[piece]) for piece, line in record.stack])
    if isinstance(record, (Op, Stop)):
        return altered(record, stack=stack, line=stack[0][1])
    return altered(record, stack=stack)


def _same_blocks(a: Trace, b: Trace, same: Alignment) -> Matching:
    """The repeated blocks that hold the same operations, the innermost paired with the innermost."""
    found = Matching()
    for i, j in same.ops.to_b.items():
        one, other = a.ops[i].block, b.ops[j].block
        while one is not None and other is not None:
            found.add(one, other)
            one, other = a.blocks[one].outer, b.blocks[other].outer
    return found


def _grads(a: list[Grad], b: list[Grad]) -> tuple[Grad, ...]:
    """What both did to a leaf's `.grad` between steps once, then what one of them did."""
    both = [change for change in a if change in b]
    alone = [
        altered(change, side=side)
        for side, changes in (("A", a), ("B", b))
        for change in changes
        if change not in both
    ]
    return (*both, *alone)


def _stops(a: list[Stop], b: list[Stop]) -> tuple[Stop, ...]:
    """Where both runs stopped in one call, once; else where each of them did."""
    if a and b and (a[0].name, a[0].stack, a[0].node) == (b[0].name, b[0].stack, b[0].node):
        return (_of_both(a[0], b[0]),)
    return tuple([altered(s, side=side) for side, stops in (("A", a), ("B", b)) for s in stops])


def _of_both(one: Any, other: Any) -> Any:
    """One record for what both runs have, or what one of them has; None where a run has nothing."""
    if other is None:
        return altered(one, side="A")
    if one is None:
        return altered(other, side="B")
    # As text too, because nan is not equal to itself.
    return one if one == other or repr(one) == repr(other) else altered(one, other=other)


def _order_of_ops(a: Trace, b: Trace, steps: Order) -> Order:
    """Operations in the order of their steps."""
    order: Order = []
    for i, j in steps:
        op_a = None if i is None else a.steps[i].op
        op_b = None if j is None else b.steps[j].op
        if (op_a, op_b) != (None, None):
            order.append((op_a, op_b))
    return order


def _order_of_edges(a: Trace, b: Trace, edges: Order, nodes: Order) -> Order:
    """Edges in the order of the nodes that they leave, and there by slot, as a recording lists them."""
    numbers = [_positions(nodes, run) for run in (0, 1)]

    def position(pair: tuple[int | None, int | None]) -> tuple[int, int, bool]:
        i, j = pair
        edge = a.edges[i] if i is not None else b.edges[j or 0]
        return numbers[int(i is None)][edge.source], edge.slot, i is None

    return sorted(edges, key=position)


def _sources(
    a: Trace, b: Trace, name: str
) -> tuple[tuple[Source, ...], dict[int, int], dict[int, int]]:
    """The code of both runs, a piece of one text only once; by piece of B: its number, and how far its lines shift."""
    pieces = list(a.sources)
    titles = {piece.title for piece in pieces}
    numbers: dict[int, int] = {}
    shifts: dict[int, int] = {}
    same = {j: i for i, j in same_pieces(a.sources, b.sources)}
    for j, piece in enumerate(b.sources):
        i = same.get(j)
        if i is not None and a.sources[i].lines == piece.lines:
            numbers[j], shifts[j] = i, a.sources[i].first - piece.first
            continue
        numbers[j], shifts[j] = len(pieces), 0
        title = f"{piece.title} ({name})" if piece.title in titles else piece.title
        pieces.append(altered(piece, title=title))
    return tuple(pieces), numbers, shifts


def _storages(a: Trace, b: Trace, same: Alignment) -> dict[int, int]:
    """B's storages: with the number of A's where paired nodes keep them under one name, else with a new one."""
    found = Matching()
    for i, j in same.nodes.to_b.items():
        kept = {saved.name: saved.storage for saved in a.nodes[i].saved}
        for saved in b.nodes[j].saved:
            found.add(kept.get(saved.name), saved.storage)
    new = 1 + max((saved.storage for node in a.nodes for saved in node.saved), default=-1)
    numbers = dict(found.to_a)
    for node in b.nodes:
        for saved in node.saved:
            if saved.storage not in numbers:
                numbers[saved.storage], new = new, new + 1
    return numbers


def _errors(a: str | None, b: str | None, names: tuple[str, ...]) -> str | None:
    if a == b:
        return a
    of_each = zip((a, b), names, strict=True)
    return "; ".join(f"{error} (only {name})" for error, name in of_each if error)
