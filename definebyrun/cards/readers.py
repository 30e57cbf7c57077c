"""An operation and a tensor that it was given go in, the backward node comes out that stands where the tensor is read.

An operation may make several nodes: `linear` on a batch of sequences makes one that transposes the weight, one that
multiplies and adds, one that gives the result its shape. A gradient's edge says which of them read a tensor; for one
without a gradient, what is known of the nodes says it.
"""

from __future__ import annotations

from ..text.labels import short_node_name
from ..trace import Node, Trace
from ..trace.forward_order import forward_order

__all__ = ["reading_node"]

# fmt: off
MOVERS = frozenset((
    "View", "UnsafeView", "ReshapeAlias", "T", "Transpose", "Permute", "Expand", "Squeeze", "Unsqueeze", "Select",
    "Slice", "AsStrided", "Alias", "Clone", "ToCopy", "Copy", "Detach", "Unbind", "Split", "Movedim", "Narrow",
))
# fmt: on
"""Nodes, without `Backward` and their number, of operations that give numbers another place or shape."""


def reading_node(trace: Trace, op: int, tensor: int) -> int | None:
    """The node of an operation that reads a tensor without a gradient; None for an operation without nodes.

    It is the node that saves the tensor, or its memory; else one that has an input without a gradient besides those
    that are saved; else the first that computes.
    """
    nodes = trace.nodes_of(op)
    if len(nodes) < 2:
        return trace.main_node(op)
    if trace.nodes[nodes[0]].made is not None:
        return _gradient_of(trace, op, tensor)
    order = [trace.nodes[i] for i in forward_order(trace, nodes)]
    for node in order:
        if any(tensor in (saved.tensor, saved.given) for saved in node.saved):
            return node.index
    given = set(trace.ops[op].inputs)
    open_inputs = {node.index: _open_inputs(trace, node, given) for node in order}
    most = max(open_inputs.values())
    if most > 0:
        return next(node.index for node in order if open_inputs[node.index] == most)
    computes = (node.index for node in order if not _only_moves(node))
    return next(computes, trace.main_node(op))


def _gradient_of(trace: Trace, op: int, tensor: int) -> int | None:
    """The node of the gradient that `autograd.grad` gives for one of several inputs; for what it differentiates, the
    node that was made first."""
    grad = trace.ops[op]
    made = [trace.tensors[i].node for i in grad.outputs]
    if len(made) < 2 or len(grad.inputs) != 1 + len(made):
        return trace.main_node(op)
    position = grad.inputs.index(tensor)
    nodes = [node for node in made if node is not None]
    own = made[position - 1] if position else None
    return min(nodes, default=None) if own is None else own


def _open_inputs(trace: Trace, node: Node, given: set[int]) -> int:
    """How many inputs of a node have no gradient and are none of the given tensors that it saves."""
    kept = {s.tensor for s in node.saved} | {s.given for s in node.saved}
    return node.slots - len(trace.edges_of([node.index])) - len(kept & given)


def _only_moves(node: Node) -> bool:
    """Whether a node's operation only gives numbers another place or shape."""
    name = short_node_name(node.name).rstrip("0123456789").removesuffix("Backward")
    return name in MOVERS
