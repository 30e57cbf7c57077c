"""The graph of `draw` goes in, a smaller one comes out: nodes that repeat in a row become a block that is shown once.

Such a graph has nodes and no operations. Each node is taken for an operation that reads what its edges lead to, in an
order in which what is read comes first; then repetitions are found and rolled up as those of a recording are, and the
operations are taken away again. A tensor that a variable holds is shown where its own node is.
"""

from __future__ import annotations

from dataclasses import replace

from ..trace import Node, Op, Step, TensorVersion, Trace
from ..trace.forward_order import forward_order
from ..trace.frozen import altered
from ..trace.references import renumbered
from ..trace.value import Value
from .roll_up import roll_up_all

__all__ = ["roll_up_nodes"]

Output = tuple[int, int]
"""A node and the number of one of its outputs."""
NO_VALUE = Value((), "")


def roll_up_nodes(trace: Trace) -> Trace:
    """The graph with its repetitions rolled up; itself when nothing repeats three times in a row, or when it was."""
    if trace.blocks:
        return trace
    rolled = roll_up_all(_as_operations(trace))
    return _as_nodes(trace, rolled) if rolled.blocks else trace


def _leaves_first(trace: Trace) -> list[int]:
    """The nodes without leaves, each after those that its edges lead to, from the first node on."""
    order = forward_order(trace, [node.index for node in trace.nodes[::-1]])
    return [index for index in order if trace.nodes[index].leaf is None]


def _as_operations(trace: Trace) -> Trace:
    """An operation for each node; its outputs are named after the node, so that `_as_nodes` finds them again."""
    leaves = [tensor for tensor in trace.tensors if tensor.kind != "result"]
    tensors = [altered(leaf, index=i, op=None) for i, leaf in enumerate(leaves)]
    made: dict[Output, int] = {(t.node, 0): t.index for t in tensors if t.node is not None}
    leaf_of = {tensor.node: tensor.index for tensor in tensors}
    outputs: dict[int, set[int]] = {}
    for edge in trace.edges:
        outputs.setdefault(edge.target, set()).add(edge.input_nr)
    ops: list[Op] = []
    op_of: dict[int, int] = {}
    for index in _leaves_first(trace):
        number = op_of[index] = len(ops)
        inputs = tuple(made[edge.target, edge.input_nr] for edge in trace.edges_of([index]))
        results = []
        for nr in sorted(outputs.get(index, {0})):
            result, name = len(tensors), f"{index}.{nr}"
            made[index, nr] = result
            results.append(result)
            tensors.append(
                TensorVersion(result, name, "result", NO_VALUE, op=number, node=index, output_nr=nr)
            )
        ops.append(
            Op(
                number,
                trace.nodes[index].name,
                line=None,
                code="",
                scope="",
                inputs=inputs,
                outputs=tuple(results),
                args=inputs,
            )
        )

    def with_op(node: Node) -> Node:
        leaf = None if node.leaf is None else leaf_of[node.index]
        return altered(node, op=op_of.get(node.index), leaf=leaf)

    return replace(
        trace,
        tensors=tuple(tensors),
        ops=tuple(ops),
        nodes=tuple(map(with_op, trace.nodes)),
        steps=tuple(Step(i, "forward", op=i) for i in range(len(ops))),
        root=None,
    )


def _as_nodes(trace: Trace, rolled: Trace) -> Trace:
    """What was rolled up without its operations, with the tensors whose `grad_fn` is shown."""
    leaves = [tensor for tensor in rolled.tensors if tensor.kind != "result"]
    numbers = {leaf.index: i for i, leaf in enumerate(leaves)}
    tensors = [altered(leaf, index=i, op=None) for i, leaf in enumerate(leaves)]
    root = next((t.index for t in tensors if t.node == 0), None)  # where a leaf itself was drawn
    shown = _shown_outputs(rolled)
    for tensor in trace.tensors:
        found = shown.get((tensor.node or 0, tensor.output_nr))
        if tensor.kind == "result" and found is not None:
            if tensor.index == trace.root:
                root = len(tensors)
            node, nr = found
            tensors.append(altered(tensor, index=len(tensors), node=node, output_nr=nr))

    def without_op(node: Node) -> Node:
        block = None if node.op is None else rolled.ops[node.op].block
        return altered(renumbered(node, {"tensors": numbers}), op=None, block=block)

    return replace(
        rolled,
        tensors=tuple(tensors),
        ops=(),
        nodes=tuple(map(without_op, rolled.nodes)),
        steps=(),
        root=root,
    )


def _shown_outputs(rolled: Trace) -> dict[Output, Output]:
    """By output of a node of the graph: the output that it has become, where it is shown."""
    shown: dict[Output, Output] = {}
    for tensor in rolled.tensors:
        if tensor.kind == "result" and tensor.node is not None:
            node, _, nr = (tensor.name or "").partition(".")
            shown[int(node), int(nr)] = (tensor.node, tensor.output_nr)
    return shown
