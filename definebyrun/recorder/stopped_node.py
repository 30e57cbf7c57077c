"""The graph of a pass that has failed and the nodes that ran in it go in, the node that was to run comes out.

PyTorch does not say which that was. But its engine runs, of the nodes whose gradients have all arrived, the one that
was made last, and an `AccumulateGrad` before all others; what has run is known, so what was to follow is too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ._torch import sequence_nr
from .walk import NodeIndex

__all__ = ["NodesOfPass", "stopped_node"]


@dataclass(frozen=True)
class NodesOfPass:
    """Numbers of nodes: where a pass began, what ran in it, and, where only some gradients are asked for, of what."""

    roots: list[int]
    ran: set[int]
    wanted: list[int]


def stopped_node(graph: NodeIndex, these: NodesOfPass) -> int | None:
    """The node that the engine had taken when the pass failed; None where none was ready to run."""
    targets: dict[int, list[int]] = {}
    sources: dict[int, list[int]] = {}
    for source, target, _, _ in graph.edges:
        targets.setdefault(source, []).append(target)
        sources.setdefault(target, []).append(source)
    reached = _reachable(these.roots, targets)
    missing = Counter(target for node in reached for target in targets.get(node, ()))
    missing.subtract(target for node in these.ran & reached for target in targets.get(node, ()))
    ready = {node for node in reached - these.ran if not missing[node]}
    if these.wanted:  # what leads to no gradient that is asked for does not run
        ready &= _reachable(these.wanted, sources)
    nodes = list(graph.index)
    return max(ready, key=lambda number: sequence_nr(nodes[number]), default=None)


def _reachable(starts: list[int], following: dict[int, list[int]]) -> set[int]:
    """All that is reached from some nodes, themselves among it."""
    found: set[int] = set()
    waiting = list(starts)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += following.get(node, ())
    return found
