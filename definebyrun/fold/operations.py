"""A trace goes in; a trace comes out in which the nodes that an operation made, or its backward pass, are one.

`linear` on a batch of sequences makes three nodes; in a large graph its card is the operation.
"""

from __future__ import annotations

from ..trace import Trace
from .contraction import contract
from .plan import Plan

__all__ = ["fold_operations", "fold_passes"]


def fold_operations(trace: Trace) -> Trace:
    """The trace with one node for each operation; itself where that is so. Nodes that a pass made stay."""
    return _with_one_node(trace, of_pass=False)


def fold_passes(trace: Trace) -> Trace:
    """The trace in which the nodes that a call of `grad` made are one node, of that call."""
    return _with_one_node(trace, of_pass=True)


def _with_one_node(trace: Trace, of_pass: bool) -> Trace:
    """The trace with one node for each operation whose nodes a pass made, or for each other one."""
    plan = Plan.of(trace)
    for op in trace.ops:
        nodes = trace.nodes_of(op.index)
        if len(nodes) > 1 and (trace.nodes[nodes[0]].made is not None) is of_pass:
            main = trace.main_node(op.index)
            for node in nodes:
                plan.node[node] = main
            plan.changed_ops[op.index] = op
    return contract(trace, plan)
