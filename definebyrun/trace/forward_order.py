"""Backward nodes in the order of the forward pass that made them, as far as their edges tell it."""

from __future__ import annotations

from collections.abc import Sequence

from .trace import Trace

__all__ = ["forward_order"]


def forward_order(trace: Trace, nodes: Sequence[int]) -> list[int]:
    """These nodes, each after those of them that its edges lead to."""
    own, order, seen = set(nodes), [], set[int]()
    waiting = [(node, False) for node in nodes]
    while waiting:
        node, done = waiting.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            waiting.append((node, True))
            targets = [edge.target for edge in trace.edges_of([node])]
            waiting += [(target, False) for target in targets[::-1] if target in own]
    return order
