"""A trace and a plan of what stands for what go in, the smaller trace comes out.

Operations, nodes and tensors with one representative become one; everything that stays is numbered anew, in the old
order. Counts, saved storages and gradients are taken over from what was recorded: nothing is estimated.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from functools import cached_property

from ..trace import Edge, Grad, Node, Op, Saved, Step, Stop, TensorVersion, Trace
from ..trace.frozen import altered
from ..trace.references import Renumbering, renumbered
from .edges import EdgeGroup, group_edges
from .merged_steps import merge_steps
from .plan import Plan

__all__ = ["contract"]


def contract(trace: Trace, plan: Plan) -> Trace:
    """The trace in which every part is replaced by its representative; itself when the plan names no operation."""
    if not plan.changed_ops:
        return trace
    parts = _Contraction(trace, plan)
    return Trace(
        tensors=tuple(parts.tensors()),
        ops=tuple(parts.ops()),
        nodes=tuple(parts.nodes()),
        edges=tuple(map(parts.edge, parts.groups.groups)),
        steps=tuple(map(parts.step, parts.merged.steps)),
        sources=trace.sources,
        calls=trace.calls,
        blocks=plan.blocks,
        root=None if trace.root is None else parts.numbers["tensors"][trace.root],
        error=trace.error,
        grads=tuple(parts.grads()),
        stops=tuple(parts.stops()),
    )


class _Unchanged(dict[int, int | None]):
    """A renumbering in which what is not named keeps its number."""

    def __missing__(self, number: int) -> int:
        return number


class _Contraction:
    """The parts of a smaller trace, from those of a trace and a plan."""

    def __init__(self, trace: Trace, plan: Plan) -> None:
        self.trace, self.plan = trace, plan
        self.groups = groups = group_edges(trace, plan)
        self.new_op = {old: i for i, old in enumerate(sorted(set(plan.op)))}
        self.new_node = {old: i for i, old in enumerate(sorted(groups.members))}
        stay = sorted({tensor for tensor in plan.tensor if tensor is not None})
        self.new_tensor = {old: i for i, old in enumerate(stay)}
        self.merged = merge_steps(trace, plan, groups, self.new_op, self.new_node)

    @cached_property
    def numbers(self) -> dict[str, Renumbering]:
        """From old numbers to new ones, by way of the representatives."""
        new_node, new_tensor, step_of = self.new_node, self.new_tensor, self.merged.step_of
        return {
            "ops": {old: self.new_op[stay] for old, stay in enumerate(self.plan.op)},
            "nodes": {
                old: None if stay is None else new_node[stay]
                for old, stay in enumerate(self.plan.node)
            },
            "tensors": {
                old: None if stay is None else new_tensor[stay]
                for old, stay in enumerate(self.plan.tensor)
            },
            "steps": {old: step_of.get(old) for old in range(len(self.trace.steps))},
            "passes": _Unchanged(self.plan.passes),
        }

    def tensors(self) -> Iterator[TensorVersion]:
        """The tensors that stay."""
        plan, entries = self.plan, self.groups.entries
        numbers = {name: self.numbers[name] for name in ("tensors", "ops", "nodes")}
        times: Counter[int] = Counter()
        for old, stay in enumerate(plan.tensor):
            if stay is not None:
                times[stay] += self.trace.tensors[old].times
        for old in self.new_tensor:
            tensor = self.trace.tensors[old]
            new = renumbered(tensor, numbers)
            node = None if tensor.node is None else plan.node[tensor.node]
            entry = {} if node is None else entries.get(node, {})
            # a new version of a leaf that is folded away is what an optimizer has made
            optimized = tensor.origin is not None and new.origin is None
            yield altered(
                new,
                kind="result" if optimized else tensor.kind,
                output_nr=entry.get((tensor.node or 0, tensor.output_nr), tensor.output_nr),
                since=bisect_left(self.merged.ends, tensor.since),
                times=times[old] if tensor.kind != "result" else 1,
                block=plan.leaf_block.get(old, tensor.block),
            )

    def ops(self) -> Iterator[Op]:
        """The operations that stay."""
        plan = self.plan
        numbers = {name: self.numbers[name] for name in ("ops", "passes")}
        numbers["nodes"] = self._nodes_or_absorbers
        held: Counter[int] = Counter()
        for old, stay in enumerate(plan.op):
            held[stay] += self.trace.ops[old].holds * self.trace.ops[old].times
        for old in self.new_op:
            op = plan.stays(old, self.trace)
            inputs, args = self._inputs(op)
            outputs = (self.numbers["tensors"][i] for i in op.outputs)
            yield altered(
                renumbered(op, numbers),
                inputs=inputs,
                outputs=tuple(dict.fromkeys(i for i in outputs if i is not None)),
                args=args,
                named=self._named(op),
                holds=held[old] // op.times,
            )

    @cached_property
    def _nodes_or_absorbers(self) -> Renumbering:
        """Nodes in new numbers, a leaf's that was folded away as the node that absorbed it."""
        absorbed = self.plan.absorbed_by.items()
        return {**self.numbers["nodes"], **{old: self.new_node[into] for old, into in absorbed}}

    def _inputs(self, op: Op) -> tuple[tuple[int, ...], tuple[int | str, ...]]:
        """An operation's inputs and arguments in new numbers; tensors that have become one stand there once."""
        representative, new_tensor = self.plan.tensor, self.new_tensor
        if op.args == op.inputs and all(representative[i] == i for i in op.inputs):  # most often
            inputs = tuple([new_tensor[i] for i in op.inputs])
            return inputs, inputs
        first: dict[int, int] = {}
        members: dict[int, set[int]] = {}
        for index in (*op.inputs, *(a for a in op.args if isinstance(a, int))):
            new = representative[index]
            if new is not None:
                first.setdefault(new, index)
                members.setdefault(new, set()).add(index)
        stays = {old: new for new, old in first.items()}
        args: list[int | str] = []
        for arg in op.args:
            if isinstance(arg, str):
                args.append(arg)
            elif arg in stays:
                args.append(new_tensor[stays[arg]])
                several = len(members[stays[arg]])
                if several > 1 and op.index not in self.plan.changed_ops:
                    args.append(f"… {several} in all")
        return tuple(new_tensor[stays[i]] for i in op.inputs if i in stays), tuple(args)

    def _named(self, op: Op) -> tuple[tuple[int, str], ...]:
        """Tensors that were given by keyword, in new numbers."""
        tensors = self.numbers["tensors"]
        found = [(tensors[index], word) for index, word in op.named]
        return tuple([(index, word) for index, word in found if index is not None])

    def nodes(self) -> Iterator[Node]:
        """The nodes that stay."""
        merged, groups = self.merged, self.groups
        numbers = self.numbers | {"nodes": self._nodes_or_absorbers}
        for old, olds in sorted(groups.members.items()):
            node, shown = self.trace.nodes[old], self.trace.nodes[groups.shown[old]]
            holds, times = self._counts(old)
            if old in groups.mixed:  # a folded module, whatever generations lie in it
                node = altered(node, generation=1, pass_nr=None, within=None, made=None, value=None)
                node = altered(node, slots=groups.slots[old])
            yield altered(
                renumbered(node, numbers),
                name=node.name if holds in (1, node.holds) else f"{holds} nodes",
                order=merged.orders.get(old),
                grad=merged.grads.get(old, shown.grad),
                saved=self._saved(old, olds),
                holds=holds,
                times=times,
                edges=groups.inner[old] + sum(self.trace.nodes[i].edges for i in olds),
                until=self._until(olds),
            )

    def _counts(self, node: int) -> tuple[int, int]:
        """How many nodes each time, and how many times, a representative stands for."""
        members = [self.trace.nodes[i] for i in self.groups.members[node]]
        op = self.trace.nodes[node].op
        if op is None:
            return 1, sum([each.times for each in members])
        times = self.plan.stays(self.plan.op[op], self.trace).times
        return sum([each.holds * each.times for each in members]) // times, times

    def _until(self, nodes: list[int]) -> int | None:
        """The last step that frees one of merged nodes; None unless a step frees each that has saved something."""
        ends = [self.trace.nodes[i].until for i in nodes if self.trace.nodes[i].saved]
        known = [end for end in ends if end is not None]
        return self.merged.step_of.get(max(known)) if known and len(known) == len(ends) else None

    def _saved(self, node: int, members: list[int]) -> tuple[Saved, ...]:
        """What merged nodes keep, each storage once; a single node's list as it is."""
        rows = list(self.trace.nodes[node].saved)
        if len(members) > 1:
            rows += [s for i in members if i != node for s in self.trace.nodes[i].saved]
            once: dict[int, Saved] = {}
            for saved in rows:
                once.setdefault(saved.storage, saved)
            rows = list(once.values())
        return tuple([renumbered(saved, self.numbers) for saved in rows])

    def edge(self, group: EdgeGroup) -> Edge:
        """The edge that a group becomes."""
        shown, total = group.shown, self.merged.sums.get(group.index)
        return Edge(
            group.index,
            self.new_node[group.source],
            self.new_node[group.target],
            group.input_nr,
            self.groups.slot(shown),
            grad=shown.grad if total is None else total,
            times=group.times,
            again=group.again,
            summed=shown.summed or total is not None,
        )

    def step(self, step: Step) -> Step:
        """A new step with the new numbers of tensors; what was returned only where all of it stays."""
        if not (step.given or step.arrived or step.returned):
            return step
        new = self.numbers["tensors"]
        returned = [number for i in step.returned if (number := new[i]) is not None]
        return altered(
            step,
            given=tuple([number for i in step.given if (number := new[i]) is not None]),
            arrived=tuple([number for i in step.arrived if (number := new[i]) is not None]),
            returned=tuple(returned) if len(returned) == len(step.passed) else (),
        )

    def stops(self) -> Iterator[Stop]:
        """Where the run stopped: its node may have become one with others, and what it was given too."""
        numbers = {name: self.numbers[name] for name in ("tensors", "ops")}
        numbers["nodes"] = self._nodes_or_absorbers
        for stop in self.trace.stops:
            yield renumbered(stop, numbers)

    def grads(self) -> Iterator[Grad]:
        """What leaves that stay held in `.grad`."""
        for change in self.trace.grads:
            leaf = self.numbers["tensors"][change.tensor]
            if leaf is not None:
                ends, since = self.merged.ends, change.since
                yield Grad(leaf, 1 + bisect_left(ends, since - 1) if since else 0, change.value)
