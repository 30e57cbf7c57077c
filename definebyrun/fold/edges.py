"""A trace and a plan go in, the groups of nodes and of edges that become one come out.

Edges of a rolled-up block that do the same become one; edges within a folded module are only counted. Where gradients
enter a folded module at different nodes, these entries are numbered as the outputs of the one node that it becomes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..trace import Edge, Trace
from .plan import Plan

__all__ = ["EdgeGroup", "EdgeGroups", "group_edges"]


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
    """Nodes by their representative, and edges by the group that they belong to.

    Representatives are old indices. `shown` is the node whose gradient is shown, `mixed` holds those that stand for
    different nodes, as that of a folded module does; `entries` numbers the (node, output) at which gradients enter
    these. `first_slots` says, by node of a mixed one, at which slot of that its own slots begin, `slots` how many there
    are; both only where there are mixed ones. `inner` counts the edges that are folded away.
    """

    members: dict[int, list[int]] = field(default_factory=dict)
    shown: dict[int, int] = field(default_factory=dict)
    mixed: set[int] = field(default_factory=set)
    entries: dict[int, dict[tuple[int, int], int]] = field(default_factory=dict)
    first_slots: dict[int, int] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)
    inner: Counter[int] = field(default_factory=Counter)
    groups: list[EdgeGroup] = field(default_factory=list)
    group_of: dict[int, EdgeGroup] = field(default_factory=dict)

    def slot(self, edge: Edge) -> int:
        """The slot at which an edge leaves the representative of its source."""
        return self.first_slots.get(edge.source, 0) + edge.slot

    def entry(self, node: int, at: tuple[int, int]) -> int:
        """The output of a representative at which a gradient enters that goes to an output of one of its nodes."""
        numbers = self.entries.setdefault(node, {})
        return numbers.setdefault(at, len(numbers))


def group_edges(trace: Trace, plan: Plan) -> EdgeGroups:
    """Find what becomes one, by a plan."""
    found = EdgeGroups()
    for old, new in enumerate(plan.node):
        if new is not None:
            found.members.setdefault(new, []).append(old)
    for new, olds in found.members.items():
        reached = [i for i in olds if trace.nodes[i].order is not None]
        rolled = new in plan.repetition
        found.shown[new] = (reached or [new])[-1] if rolled else new
        if len(olds) > 1 and not rolled:
            found.mixed.add(new)
    _number_slots(trace, found)
    _number_outputs(trace, plan, found)
    _group_edges(trace, plan, found)
    return found


def _number_slots(trace: Trace, found: EdgeGroups) -> None:
    """The slots of nodes that become one follow each other: an edge is known by its source and slot."""
    for new in found.mixed:
        total = 0
        for old in found.members[new]:
            found.first_slots[old] = total
            used = [edge.slot + 1 for edge in trace.edges_of([old])]
            total += max([trace.nodes[old].slots, *used])
        found.slots[new] = total


def _number_outputs(trace: Trace, plan: Plan, found: EdgeGroups) -> None:
    """The results of a folded module come first among the outputs of its node."""
    for op in plan.changed_ops.values():
        for index in op.outputs:
            tensor = trace.tensors[index]
            new = None if tensor.node is None else plan.node[tensor.node]
            if new in found.mixed:
                found.entry(new, (tensor.node or 0, tensor.output_nr))


def _group_edges(trace: Trace, plan: Plan, found: EdgeGroups) -> None:
    groups: dict[tuple[int, ...], EdgeGroup] = {}
    parallel: Counter[tuple[int, ...]] = Counter()
    for edge in trace.edges:
        source, target = plan.node[edge.source], plan.node[edge.target]
        if source is None:
            source = plan.absorbed_by[edge.source]
        if target is None or (source == target and _is_inner(trace, plan, edge, source)):
            found.inner[source] += edge.times
            continue
        key = _key(plan, edge, source, target, parallel)
        leads_in = edge.target in plan.repetition
        group = groups.get(key)
        if group is None:
            group = groups[key] = EdgeGroup(source, target, edge)
        elif not (leads_in and group.shown.target == found.shown[target] != edge.target):
            group.shown = edge
        group.times += edge.times
        group.summed = not leads_in and group.times > edge.times
        found.group_of[edge.index] = group
        elsewhere = leads_in and group.shown.target != found.shown[target]
        group.again = elsewhere or (edge.again and _is_block_left(trace, plan, edge.target))
    found.groups = sorted(
        groups.values(),
        key=lambda group: (group.source, found.slot(group.shown), group.again, group.target),
    )
    for index, group in enumerate(found.groups):
        group.index, group.input_nr = index, group.shown.input_nr
        if group.target in found.mixed:
            group.input_nr = found.entry(group.target, (group.shown.target, group.shown.input_nr))


def _key(
    plan: Plan, edge: Edge, source: int, target: int, parallel: Counter[tuple[int, ...]]
) -> tuple[int, ...]:
    """What edges have in common that become one: within a block, out of one, into one; others are alone."""
    here, there = plan.repetition.get(edge.source), plan.repetition.get(edge.target)
    if here is not None and there is not None and here[0] == there[0]:
        return (1, source, edge.slot, target, here[1] - there[1], edge.again)
    if here is not None:
        return (2, source, edge.slot, target, edge.input_nr, edge.again)
    if there is not None:
        which = (edge.source, edge.target, edge.input_nr, edge.again)
        parallel[which] += 1
        return (3, source, target, edge.input_nr, edge.again, parallel[which])
    return (0, edge.index)


def _is_inner(trace: Trace, plan: Plan, edge: Edge, node: int) -> bool:
    """Whether an edge from a representative to itself lies within it: not when it leads to another repetition."""
    if node in plan.repetition:
        return False
    return not edge.again or not _is_block_left(trace, plan, edge.target)


def _is_block_left(trace: Trace, plan: Plan, node: int) -> bool:
    """Whether the rolled-up block of a node is still there, around what the node has become part of."""
    old = trace.nodes[node].op
    if old is None:
        return True
    block = plan.stays(plan.op[old], trace).block
    while block is not None and block != trace.ops[old].block:
        block = plan.blocks[block].outer
    return block is not None
