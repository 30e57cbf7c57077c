"""The graph of `draw` goes in, a smaller one comes out: nodes that repeat in a row become a block that is shown once.

Such a graph has nodes and no operations. Each node is taken for an operation that reads what its edges lead to, in an
order in which what is read comes first; then repetitions are found and rolled up as those of a recording are, and the
operations are taken away again. A tensor that a variable holds is shown where its own node is.
"""

from __future__ import annotations

from dataclasses import replace

from ..trace import Node, Op, Step, TensorVersion, Trace
from ..trace.value import Value
from .repeats import find_repetitions
from .roll_up import roll_up

__all__ = ["roll_up_nodes"]

Place = tuple[int, int]
"""A node and one of its outputs."""
NOTHING = Value((), "")


def roll_up_nodes(trace: Trace) -> Trace:
    """The graph with its repetitions rolled up; itself when nothing repeats three times in a row, or when it was."""
    if trace.blocks:
        return trace
    rolled = _as_operations(trace)
    for alike in (False, True):
        while runs := find_repetitions(rolled, alike):
            rolled = roll_up(rolled, runs)
    return _as_nodes(trace, rolled) if rolled.blocks else trace


def _leaves_first(trace: Trace) -> list[int]:
    """The nodes without leaves, each after those that its edges lead to, from the first edge on."""
    order: list[int] = []
    seen: set[int] = set()
    waiting = [(node.index, False) for node in trace.nodes[::-1]]
    while waiting:
        index, done = waiting.pop()
        if done:
            order.append(index)
        elif index not in seen:
            seen.add(index)
            waiting.append((index, True))
            waiting += [(edge.target, False) for edge in trace.edges_of([index])[::-1]]
    return [index for index in order if trace.nodes[index].leaf is None]


def _as_operations(trace: Trace) -> Trace:
    """An operation for each node; its outputs are named after the node, so that it can be found again."""
    tensors = [t for t in trace.tensors if t.kind != "result"]
    tensors = [replace(t, index=i, op=None) for i, t in enumerate(tensors)]
    made: dict[Place, int] = {(t.node, 0): t.index for t in tensors if t.node is not None}
    outputs: dict[int, set[int]] = {}
    for edge in trace.edges:
        outputs.setdefault(edge.target, set()).add(edge.input_nr)
    ops: list[Op] = []
    op_of: dict[int, int] = {}
    for index in _leaves_first(trace):
        number = op_of[index] = len(ops)
        inputs = tuple(made[edge.target, edge.input_nr] for edge in trace.edges_of([index]))
        given = []
        for nr in sorted(outputs.get(index, {0})):
            made[index, nr] = len(tensors)
            given.append(len(tensors))
            name = f"{index}.{nr}"
            tensors.append(
                TensorVersion(
                    len(tensors), name, "result", NOTHING, op=number, node=index, output_nr=nr
                )
            )
        name = trace.nodes[index].name
        ops.append(
            Op(
                number,
                name,
                line=None,
                code="",
                scope="",
                inputs=inputs,
                outputs=tuple(given),
                args=inputs,
            )
        )
    leaf_of = {t.node: t.index for t in tensors if t.kind != "result"}
    return replace(
        trace,
        tensors=tuple(tensors),
        ops=tuple(ops),
        nodes=tuple(
            replace(n, op=op_of.get(n.index), leaf=None if n.leaf is None else leaf_of[n.index])
            for n in trace.nodes
        ),
        steps=tuple(Step(i, "forward", op=i) for i in range(len(ops))),
        root=None,
    )


def _as_nodes(trace: Trace, rolled: Trace) -> Trace:
    """What was rolled up without its operations, with the tensors that hang from nodes that are shown."""
    tensors = [t for t in rolled.tensors if t.kind != "result"]
    new = {tensor.index: i for i, tensor in enumerate(tensors)}
    tensors = [replace(tensor, index=i, op=None) for i, tensor in enumerate(tensors)]
    shown: dict[Place, Place] = {}
    for tensor in rolled.tensors:
        if tensor.kind == "result" and tensor.node is not None:
            node, _, nr = (tensor.name or "").partition(".")
            shown[int(node), int(nr)] = (tensor.node, tensor.output_nr)
    root = None
    for tensor in trace.tensors:
        place = (tensor.node or 0, tensor.output_nr)
        if tensor.kind == "result" and place in shown:
            if tensor.index == trace.root:
                root = len(tensors)
            node, nr = shown[place]
            tensors.append(replace(tensor, index=len(tensors), node=node, output_nr=nr))
        elif tensor.index == trace.root:
            root = next(
                (new[t.index] for t in rolled.tensors if t.index in new and t.node == 0), None
            )

    def bare(node: Node) -> Node:
        block = None if node.op is None else rolled.ops[node.op].block
        return replace(
            node, op=None, leaf=None if node.leaf is None else new[node.leaf], block=block
        )

    return replace(
        rolled,
        tensors=tuple(tensors),
        ops=(),
        nodes=tuple(map(bare, rolled.nodes)),
        steps=(),
        root=root,
    )
