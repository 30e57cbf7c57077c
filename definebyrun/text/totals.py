"""A trace goes in, the size of the run comes out in a line: operations, nodes, parameters and their numbers, bytes."""

from __future__ import annotations

from math import prod

from ..trace import Trace
from ..trace.memory import kept_after_steps
from .format import format_bytes

__all__ = ["totals"]


def totals(trace: Trace) -> str:
    """How much there is in a whole run, or graph; empty for a comparison, which has two.

    >>> from definebyrun.trace import Node, TensorVersion
    >>> from definebyrun.trace.value import Value
    >>> w = TensorVersion(0, "w", "parameter", Value((2, 3), "float32"), node=0)
    >>> totals(Trace((w,), nodes=(Node(0, "torch::autograd::AccumulateGrad", leaf=0),)))
    '1 backward node, 1 parameter with 6 numbers.'
    """
    if trace.sides:
        return ""
    parameters = [leaf for leaf in trace.leaves if leaf.kind == "parameter"]
    numbers = sum(prod(leaf.value.shape) for leaf in parameters)
    parts = [
        _count(sum(op.holds * op.times for op in trace.ops), "operation"),
        _count(sum(node.holds * node.times for node in trace.nodes), "backward node"),
        f"{_count(len(parameters), 'parameter')} with {_count(numbers, 'number')}"
        if parameters
        else "",
    ]
    kept = max(kept_after_steps(trace), default=0)
    most = f"; at most {format_bytes(kept)} kept for backward" if kept else ""
    return f"{', '.join(filter(None, parts))}{most}."


def _count(number_of: int, word: str) -> str:
    return f"{number_of:,} {word}{'s' * (number_of != 1)}" if number_of else ""
