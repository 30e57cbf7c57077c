"""A trace goes in; a trace comes out in which the nodes of each operation are one, if it made several.

`linear` on a batch of sequences makes three nodes; in a large graph its card is the operation.
"""

from __future__ import annotations

from ..trace import Trace, cached
from .contraction import contract
from .plan import Plan

__all__ = ["fold_operations"]


def fold_operations(trace: Trace) -> Trace:
    """The trace with one node for each operation; itself where that is so. Nodes that a pass made stay."""
    folded: Trace = cached(trace, _folded)
    return folded


def _folded(trace: Trace) -> Trace:
    plan = Plan.of(trace)
    for op in trace.ops:
        nodes = trace.nodes_of(op.index)
        if len(nodes) > 1 and all(trace.nodes[i].made is None for i in nodes):
            main = trace.main_node(op.index)
            for node in nodes:
                plan.node[node] = main
            plan.changed_ops[op.index] = op
    return contract(trace, plan)
