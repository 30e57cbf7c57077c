"""The steps of a trace go in, those of the smaller trace come out, with the gradients that flow in them.

Steps that ran what becomes one thing become one, at the time of the last of them. Gradients are those that were
recorded; where several edges become one, their sum is PyTorch's own where it is known, and else made here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..trace import Step, Trace
from ..trace.frozen import altered
from ..trace.memory import kept_after_steps
from ..trace.value import Value, sum_values
from .edges import EdgeGroups
from .plan import Plan

__all__ = ["MergedSteps", "merge_steps"]


@dataclass
class MergedSteps:
    """The new steps; what became of the old ones; and what the new ones say of nodes and edges.

    `step_of` leads from an old step to the new one that stands for it, `ends` from a new step to the last of those that
    it stands for. By representative of a node, `orders` is its place in the last pass, and `grads` what arrived at the
    first entry of a mixed one; `sums` are the gradients of the edge groups that are sums.
    """

    steps: list[Step] = field(default_factory=list)
    step_of: dict[int, int] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    orders: dict[int, int] = field(default_factory=dict)
    grads: dict[int, Value | None] = field(default_factory=dict)
    sums: dict[int, Value] = field(default_factory=dict)


def merge_steps(
    trace: Trace, plan: Plan, groups: EdgeGroups, new_op: dict[int, int], new_node: dict[int, int]
) -> MergedSteps:
    """The steps after a plan; `new_op` and `new_node` number the representatives."""
    found, kept = MergedSteps(), kept_after_steps(trace)
    gradients = _Gradients(trace, groups, found.sums)
    ran: Counter[int] = Counter()  # by pass: how many nodes
    for (is_backward, part, pass_nr), group in _by_representative(trace, plan):
        index, last = len(found.steps), group[-1].index
        found.step_of.update((step.index, index) for step in group)
        found.ends.append(last)
        if not is_backward:
            op, stack = new_op[part], plan.stays(part, trace).stack
            found.steps.append(Step(index, "forward", op=op, stack=stack, kept=kept[last]))
            continue
        in_pass = [step for step in group if step.pass_nr == pass_nr] or [group[-1]]
        by_node = {step.node: step for step in in_pass}
        shown = by_node.get(groups.shown[part], in_pass[-1])
        received = shown.received
        if part in groups.mixed:
            entries = groups.entries.get(part, {})
            received = tuple(_nth(by_node.get(node), nr) for node, nr in entries)
            found.grads[part] = next((value for value in received if value is not None), None)
        found.orders[part] = ran[pass_nr]
        ran[pass_nr] += 1
        own = plan.node[shown.node or 0] == part  # not an `AccumulateGrad` that was folded away
        step = altered(
            shown,
            index=index,
            node=new_node[part],
            received=received,
            passed=gradients.passed(in_pass, pass_nr),
            before=shown.before if own else None,
            after=shown.after if own else None,
            freed=any(step.freed for step in group),
            kept=kept[last],
            given=tuple(dict.fromkeys(i for each in in_pass for i in each.given)),
            arrived=tuple(dict.fromkeys(i for each in in_pass for i in each.arrived)),
            returned=() if part in groups.mixed else shown.returned,
        )
        found.steps.append(step)
    return found


def _by_representative(trace: Trace, plan: Plan) -> list[tuple[tuple[bool, int, int], list[Step]]]:
    """Steps that become one, in the order of the last of each: (is backward, representative, pass)."""
    found: dict[tuple[bool, int, int], list[Step]] = {}
    for step in trace.steps:
        if step.op is not None:
            found.setdefault((False, plan.op[step.op], 0), []).append(step)
        elif step.node is not None:
            node = plan.node[step.node]
            node = plan.absorbed_by.get(step.node) if node is None else node
            if node is not None:
                pass_nr = plan.passes.get(step.pass_nr, step.pass_nr)
                found.setdefault((True, node, pass_nr), []).append(step)
    return sorted(found.items(), key=lambda item: item[1][-1].index)


class _Gradients:
    """What was passed along the edges of a trace, in the groups that edges become."""

    def __init__(self, trace: Trace, groups: EdgeGroups, sums: dict[int, Value]) -> None:
        self._groups, self._sums = groups, sums
        self._arrivals: Counter[tuple[int, int, int]] = Counter()  # by target, input and pass
        self._received: dict[tuple[int | None, int], tuple[Value | None, ...]] = {}
        for step in trace.steps:
            if step.node is not None:
                self._received[step.node, step.pass_nr] = step.received
                for index, _ in step.passed:
                    edge = trace.edges[index]
                    self._arrivals[edge.target, edge.input_nr, step.pass_nr] += 1

    def passed(self, steps: list[Step], pass_nr: int) -> tuple[tuple[int, Value], ...]:
        """What merged steps pass on: by edge that stays, the gradient that is shown or the sum of all."""
        found: dict[int, list[tuple[int, Value]]] = {}
        for step in steps:
            for edge, value in step.passed:
                group = self._groups.group_of.get(edge)
                if group is not None:
                    found.setdefault(group.index, []).append((edge, value))
        passed: list[tuple[int, Value]] = []
        for number in sorted(found):
            group, values = self._groups.groups[number], found[number]
            if group.summed and len(values) > 1:
                self._sums[number] = self._sum(number, pass_nr, [value for _, value in values])
                passed.append((number, self._sums[number]))
            else:
                shown = group.shown.index
                passed += [(number, v) for edge, v in values if group.summed or edge == shown]
        return tuple(passed)

    def _sum(self, number: int, pass_nr: int, values: list[Value]) -> Value:
        """The sum of gradients along a group of edges: what its target received, when nothing else arrived there."""
        edge = self._groups.groups[number].shown
        own: Value | None = None
        if self._arrivals[edge.target, edge.input_nr, pass_nr] == len(values):
            received = self._received.get((edge.target, pass_nr), ())
            own = received[edge.input_nr] if edge.input_nr < len(received) else None
        return sum_values(values) if own is None else own


def _nth(step: Step | None, position: int) -> Value | None:
    """What a step received at one output of its node; None where there is no such step or output."""
    if step is None or position >= len(step.received):
        return None
    return step.received[position]
