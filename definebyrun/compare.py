"""Two traces go in, one comes out whose parts say which run they belong to; `apart` gives either run back.

What both runs did is there once. A comparison's steps go like a difference of two texts: as long as the runs agree, one
step for both; where they part, first what only A did, then what only B did; then on together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .align import Alignment, align
from .frozen import altered
from .same import Pairs, same_pieces
from .trace import Block, Edge, Grad, Node, Op, Source, Step, Tensor, Trace

__all__ = ["Run", "apart", "compare", "weave"]

Numbers = dict[int, int]


@dataclass
class _Move:
    """From the numbers of one trace to those of another, for every kind of part; `pieces` also shifts lines."""

    tensors: Numbers
    ops: Numbers
    nodes: Numbers
    edges: Numbers
    blocks: Numbers
    steps: Numbers | None = None
    pieces: dict[int, tuple[int, int]] = field(default_factory=dict)
    storages: Mapping[int, int] = field(default_factory=dict)

    def tensor(self, tensor: Tensor) -> Tensor:
        return altered(
            tensor,
            index=self.tensors[tensor.index],
            op=_maybe(self.ops, tensor.op),
            node=_maybe(self.nodes, tensor.node),
            origin=_maybe(self.tensors, tensor.origin),
            since=self.since(tensor.since),
            block=_maybe(self.blocks, tensor.block),
        )

    def op(self, op: Op) -> Op:
        stack = self.stack(op.stack)
        return altered(
            op,
            index=self.ops[op.index],
            line=stack[0][1] if stack else op.line,
            inputs=tuple(self.tensors[i] for i in op.inputs),
            outputs=tuple(self.tensors[i] for i in op.outputs),
            stack=stack,
            args=tuple(a if isinstance(a, str) else self.tensors[a] for a in op.args),
            within=_maybe(self.nodes, op.within),
            call=None,
            block=_maybe(self.blocks, op.block),
        )

    def node(self, node: Node) -> Node:
        saved = tuple(
            altered(
                s,
                storage=self.storages.get(s.storage, s.storage),
                tensor=_maybe(self.tensors, s.tensor),
            )
            for s in node.saved
        )
        op, leaf = _maybe(self.ops, node.op), _maybe(self.tensors, node.leaf)
        return altered(
            node,
            index=self.nodes[node.index],
            op=op,
            leaf=leaf,
            saved=saved,
            within=_maybe(self.nodes, node.within),
            made=node.made if self.steps is None else _maybe(self.steps, node.made),
            until=node.until if self.steps is None else _maybe(self.steps, node.until),
            block=_maybe(self.blocks, node.block),
        )

    def edge(self, edge: Edge) -> Edge:
        source, target = self.nodes[edge.source], self.nodes[edge.target]
        return altered(edge, index=self.edges[edge.index], source=source, target=target)

    def block(self, block: Block) -> Block:
        outer = _maybe(self.blocks, block.outer)
        return altered(block, index=self.blocks[block.index], outer=outer, call=None)

    def step(self, step: Step) -> Step:
        return altered(
            step,
            index=step.index if self.steps is None else self.steps[step.index],
            op=_maybe(self.ops, step.op),
            node=_maybe(self.nodes, step.node),
            stack=self.stack(step.stack),
            passed=tuple((self.edges[edge], value) for edge, value in step.passed),
        )

    def grad(self, change: Grad) -> Grad:
        return altered(change, tensor=self.tensors[change.tensor], since=self.since(change.since))

    def since(self, step: int) -> int:
        """A number of steps that had run, or of the step after them: 0 before the first, else counted from 1."""
        if not step or self.steps is None:
            return step
        known = self.steps.get(step - 1)
        return 1 + (max(self.steps.values(), default=-1) + 1 if known is None else known)

    def stack(self, stack: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        moved = []
        for piece, line in stack:
            to, by = self.pieces.get(piece, (piece, 0))
            moved.append((to, line + by))
        return tuple(moved)


def _maybe(numbers: Numbers, number: int | None) -> int | None:
    return None if number is None else numbers[number]


# ---- together ----


def compare(a: Trace, b: Trace, names: tuple[str, str] = ("A", "B")) -> Trace:
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
    move_a = _Move(**to[0])
    move_b = _Move(**to[1], pieces=pieces, storages=_storages(a, b, same))

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
        root=_maybe(lead.tensors, root),
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


Order = list[tuple[int | None, int | None]]


def weave(size_a: int, size_b: int, same: Pairs) -> Order:
    """All numbers of A in A's order, those of B alone after what came before them in B."""
    order: Order = []
    done: set[int] = set()
    at = 0

    def alone() -> None:
        """Take what B has alone, up to the next number that waits for its pair."""
        nonlocal at
        while at < size_b and (at not in same.to_a or at in done):
            if at not in same.to_a:
                order.append((None, at))
            at += 1

    for i in range(size_a):
        j = same.to_b.get(i)
        if j is not None:
            alone()
            done.add(j)
        order.append((i, j))
    alone()
    return order


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


# ---- apart ----


@dataclass(frozen=True)
class Run:
    """One run of a comparison, and for each of its tensors, operations, nodes and edges the number there.

    Its steps keep the numbers of the comparison, so what is said of a step has one number in both runs.
    """

    trace: Trace
    tensors: tuple[int, ...]
    ops: tuple[int, ...]
    nodes: tuple[int, ...]
    edges: tuple[int, ...]


def apart(trace: Trace, side: str) -> Run:
    """One run of a comparison, `side` being "A" or "B".

    >>> from .values import Value
    >>> runs = [Trace(tensors=(Tensor(0, "x", "constant", Value((), "int64", (n,))),)) for n in (1, 2)]
    >>> apart(compare(*runs), "B").trace.tensors == runs[1].tensors
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
    move = _Move(**{kind: {n: i for i, n in enumerate(old[kind])} for kind in kinds})
    root = trace.root if trace.root in move.tensors else None
    return Run(
        Trace(
            tensors=tuple(map(move.tensor, parts["tensors"])),
            ops=tuple(map(move.op, parts["ops"])),
            nodes=tuple(map(move.node, parts["nodes"])),
            edges=tuple(map(move.edge, parts["edges"])),
            steps=tuple(map(move.step, seen(trace.steps))),
            sources=trace.sources,
            blocks=tuple(map(move.block, parts["blocks"])),
            root=_maybe(move.tensors, root),
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
