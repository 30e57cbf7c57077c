"""A trace and a plan of what stands for what go in, the nodes and edges that become one come out.

Edges of a repeated block that do the same become one; edges within a folded module are only counted. Where gradients
enter a module at different places, these are numbered as its outputs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..trace import Edge, Trace
from .plan import Plan

__all__ = ["EdgeGroup", "EdgeGroups"]


@dataclass
class EdgeGroup:
    """Edges that become one: which of them is shown, and whether its gradient is the sum of all."""

    source: int
    target: int
    shown: Edge
    times: int = 0
    again: bool = False
    summed: bool = False
    index: int = -1
    input_nr: int = 0


@dataclass
class EdgeGroups:
    """Nodes by what stands for them, edges by what they become."""

    trace: Trace
    plan: Plan
    members: dict[int, list[int]] = field(default_factory=dict)  # nodes by representative
    shown: dict[int, int] = field(default_factory=dict)  # the node whose gradient is shown
    inner: Counter[int] = field(default_factory=Counter)  # edges folded away, by node
    entries: dict[int, dict[tuple[int, int], int]] = field(default_factory=dict)
    bundles: list[EdgeGroup] = field(default_factory=list)
    bundle_of: dict[int, EdgeGroup] = field(default_factory=dict)

    def bundle(self) -> None:
        """Find what belongs together."""
        trace, plan = self.trace, self.plan
        for old, new in enumerate(plan.node):
            if new is not None:
                self.members.setdefault(new, []).append(old)
        for new, olds in self.members.items():
            reached = [i for i in olds if trace.nodes[i].order is not None]
            rolled = plan.place.get(new) is not None
            self.shown[new] = (reached or [new])[-1] if rolled else new
        self._find_entries()
        self._bundle_edges()

    def grouped(self, node: int) -> bool:
        """Whether a node stands for different nodes: then each place where gradients enter is an output of its own."""
        return len(self.members[node]) > 1 and node not in self.plan.place

    def _find_entries(self) -> None:
        for op in self.plan.ops.values():
            for index in op.outputs:
                tensor = self.trace.tensors[index]
                new = None if tensor.node is None else self.plan.node[tensor.node]
                if new is not None and self.grouped(new):
                    places = self.entries.setdefault(new, {})
                    places.setdefault((tensor.node or 0, tensor.output_nr), len(places))

    def _bundle_edges(self) -> None:
        trace, plan = self.trace, self.plan
        found: dict[tuple[int, ...], EdgeGroup] = {}
        parallel: Counter[tuple[int, ...]] = Counter()
        for edge in trace.edges:
            source, target = plan.node[edge.source], plan.node[edge.target]
            if source is None:
                source = plan.home[edge.source]
            if target is None or (source == target and self._swallowed(edge, source)):
                self.inner[source] += edge.times
                continue
            here, there = plan.place.get(edge.source), plan.place.get(edge.target)
            key: tuple[int, ...] = (0, edge.index)
            if here is not None and there is not None and here[0] == there[0]:
                key = (1, source, edge.slot, target, here[1] - there[1], edge.again)
            elif here is not None:
                key = (2, source, edge.slot, target, edge.input_nr, edge.again)
            elif there is not None:
                which = (edge.source, edge.target, edge.input_nr, edge.again)
                key = (3, source, target, edge.input_nr, edge.again, parallel[which])
                parallel[which] += 1
            bundle = found.get(key)
            if bundle is None:
                bundle = found[key] = EdgeGroup(source, target, edge)
                self.bundles.append(bundle)
            elif not (there and bundle.shown.target == self.shown[target] != edge.target):
                bundle.shown = edge
            bundle.times += edge.times
            bundle.summed = there is None and bundle.times > edge.times
            self.bundle_of[edge.index] = bundle
            inside = there is not None and bundle.shown.target != self.shown[target]
            bundle.again = inside or (edge.again and self._lives_on(edge.target))
        self.bundles.sort(key=lambda b: (b.source, b.shown.slot, b.again, b.target))
        for index, bundle in enumerate(self.bundles):
            bundle.index = index
            bundle.input_nr = bundle.shown.input_nr
            if self.grouped(bundle.target):
                places = self.entries.setdefault(bundle.target, {})
                entry = (bundle.shown.target, bundle.shown.input_nr)
                bundle.input_nr = places.setdefault(entry, len(places))

    def _swallowed(self, edge: Edge, node: int) -> bool:
        """Whether an edge from a node to itself lies within it: not when it leads to another repetition."""
        if self.plan.place.get(node) is not None:
            return False
        return not edge.again or not self._lives_on(edge.target)

    def _lives_on(self, node: int) -> bool:
        """Whether the repeated block of a node is still there, around what the node has become part of."""
        old = self.trace.nodes[node].op
        if old is None:
            return True
        new = self.plan.op[old]
        block = self.plan.ops.get(new, self.trace.ops[new]).block
        while block is not None and block != self.trace.ops[old].block:
            block = self.plan.blocks[block].outer
        return block is not None
