"""A trace and a plan of what stands for what go in, the outline of the smaller trace comes out, without its values.

An outline has the operations, nodes, edges and tensors that `merge` would leave, but no steps and nothing that the
steps brought with them. That is enough to count cards and to find what repeats, and it is made more quickly.
"""

from __future__ import annotations

from collections.abc import Iterable

from .bundles import Plan
from .merge import Merger
from .trace import Edge, Node, Trace

__all__ = ["outline"]


class _Outliner(Merger):
    """Merges what does not change over time."""

    def run(self) -> Trace:
        self.bundle()
        self.number()
        return Trace(
            tensors=tuple(self.tensors()),
            ops=tuple(self.ops()),
            nodes=tuple(self._bare_nodes()),
            edges=tuple(self._bare_edges()),
            calls=self.trace.calls,
            blocks=self.plan.blocks,
        )

    def _bare_nodes(self) -> Iterable[Node]:
        for old, new in self.new_node.items():
            node = self.trace.nodes[old]
            op = None if node.op is None else self.new_op[self.plan.op[node.op]]
            leaf = None if node.leaf is None else self.plan.tensor[node.leaf]
            holds, times = self.counts(old)
            yield Node(
                new,
                self.name(old, holds),
                op,
                leaf=None if leaf is None else self.new_tensor[leaf],
                holds=holds,
                times=times,
                made=None if self.grouped(old) else node.made,
            )

    def _bare_edges(self) -> Iterable[Edge]:
        for edge in self.bundles:
            source, target = self.new_node[edge.source], self.new_node[edge.target]
            yield Edge(edge.index, source, target, edge.input_nr, edge.shown.slot)


def outline(trace: Trace, plan: Plan) -> Trace:
    """What `merge` would leave, for counting and for finding what repeats."""
    return _Outliner(trace, plan).run()
