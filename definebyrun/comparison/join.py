"""Two traces go in, one comes out whose parts say which run they belong to; `split.apart` gives either run back.

What both runs did is there once. A comparison's steps go like a difference of two texts: as long as the runs agree, one
step for both; where they part, first what only A did, then what only B did; then on together.
"""

from __future__ import annotations

from typing import Any

from ..trace import Grad, Source, Trace
from ..trace.frozen import altered
from .alignment import Alignment, align
from .code_places import same_pieces
from .renumber import Numbers, Renumbering, renumbered
from .sequences import Order, Pairs, weave

__all__ = ["join"]


def join(a: Trace, b: Trace, names: tuple[str, str] = ("A", "B")) -> Trace:
    """One trace of two runs, `names` being what they are called; see `trace.Trace.sides`."""
    same = align(a, b)
    kinds = ("tensors", "nodes", "edges", "steps")
    orders = {
        kind: weave(len(getattr(a, kind)), len(getattr(b, kind)), getattr(same, kind))
        for kind in kinds
    }
    orders["blocks"] = weave(len(a.blocks), len(b.blocks), _same_blocks(a, b, same))
    orders["ops"] = _order_of_ops(a, b, orders["steps"])
    orders["edges"] = _order_of_edges(a, b, orders["edges"], orders["nodes"])
    sources, pieces = _sources(a, b)
    to = [{kind: _numbers(order, side) for kind, order in orders.items()} for side in (0, 1)]
    move_a = Renumbering(**to[0])
    move_b = Renumbering(**to[1], pieces=pieces, storages=_storages(a, b, same))

    def merge(kind: str, name: str) -> tuple[Any, ...]:
        merged = []
        for i, j in orders[kind]:
            one = None if i is None else getattr(move_a, name)(getattr(a, kind)[i])
            other = None if j is None else getattr(move_b, name)(getattr(b, kind)[j])
            merged.append(_together(one, other))
        return tuple(merged)

    root, lead = (a.root, move_a) if a.root is not None else (b.root, move_b)
    return Trace(
        tensors=merge("tensors", "tensor"),
        ops=merge("ops", "op"),
        nodes=merge("nodes", "node"),
        edges=merge("edges", "edge"),
        steps=merge("steps", "step"),
        blocks=merge("blocks", "block"),
        sources=sources,
        root=renumbered(lead.tensors, root),
        error=_errors(a.error, b.error),
        sides=names,
        grads=_grads(list(map(move_a.grad, a.grads)), list(map(move_b.grad, b.grads))),
    )


def _same_blocks(a: Trace, b: Trace, same: Alignment) -> Pairs:
    """The repeated blocks in which the same operations stand, the innermost with the innermost."""
    found = Pairs()
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
        altered(c, side=side) for side, run in (("A", a), ("B", b)) for c in run if c not in both
    ]
    return (*both, *alone)


def _together(one: Any, other: Any) -> Any:
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
    numbers = [_numbers(nodes, side) for side in (0, 1)]

    def place(pair: tuple[int | None, int | None]) -> tuple[int, int, bool]:
        i, j = pair
        edge = a.edges[i] if i is not None else b.edges[j or 0]
        return numbers[int(i is None)][edge.source], edge.slot, i is None

    return sorted(edges, key=place)


def _numbers(order: Order, side: int) -> Numbers:
    return {pair[side]: new for new, pair in enumerate(order) if pair[side] is not None}


def _sources(a: Trace, b: Trace) -> tuple[tuple[Source, ...], dict[int, tuple[int, int]]]:
    """The code of both runs, a piece of one text only once; and where B's pieces are in it, with a shift of lines."""
    pieces = list(a.sources)
    titles = {piece.title for piece in pieces}
    moved: dict[int, tuple[int, int]] = {}
    same = {j: i for i, j in same_pieces(a.sources, b.sources)}
    for j, piece in enumerate(b.sources):
        i = same.get(j)
        if i is not None and a.sources[i].lines == piece.lines:
            moved[j] = (i, a.sources[i].first - piece.first)
            continue
        moved[j] = (len(pieces), 0)
        title = f"{piece.title} (B)" if piece.title in titles else piece.title
        pieces.append(altered(piece, title=title))
    return tuple(pieces), moved


def _storages(a: Trace, b: Trace, same: Alignment) -> Numbers:
    """B's storages: with the number of A's where paired nodes keep them under one name, else with a new one."""
    found = Pairs()
    for i, j in same.nodes.to_b.items():
        kept = {saved.name: saved.storage for saved in a.nodes[i].saved}
        for saved in b.nodes[j].saved:
            found.add(kept.get(saved.name), saved.storage)
    new = 1 + max((s.storage for node in a.nodes for s in node.saved), default=-1)
    numbers = dict(found.to_a)
    for node in b.nodes:
        for saved in node.saved:
            if saved.storage not in numbers:
                numbers[saved.storage], new = new, new + 1
    return numbers


def _errors(a: str | None, b: str | None) -> str | None:
    if a == b:
        return a
    return "; ".join(f"{error} (only {side})" for error, side in ((a, "A"), (b, "B")) if error)
