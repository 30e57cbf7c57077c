"""A trace and its repetitions go in, a trace comes out in which the last repetition stands for all.

Results, nodes and leaves of every repetition are matched by their position in it. Backward passes are matched too,
where every repetition has its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from ..trace import Block, Op, Trace
from ..trace.frozen import altered
from ..trace.references import Renumbering, renumbered
from .contraction import contract
from .live_ranges import LiveRanges, enclosing_blocks
from .plan import Plan
from .repeats import (
    Repetition,
    common_call,
    find_repetitions,
    find_training_steps,
    step_blocks,
)

__all__ = ["roll_up_all", "roll_up_steps"]


def roll_up_steps(trace: Trace) -> Trace:
    """The trace with the steps of a training rolled up, if there are at least two that are the same."""
    while steps := find_training_steps(trace):
        trace = _roll_up(trace, steps)
    return trace


def roll_up_all(trace: Trace) -> Trace:
    """The trace with all its repetitions rolled up: those of one module, then those of modules of one structure."""
    for same_structure in (False, True):
        while repetitions := find_repetitions(trace, same_structure):
            trace = _roll_up(trace, repetitions)
    return trace


def _roll_up(trace: Trace, repetitions: list[Repetition]) -> Trace:
    """Every stretch of repetitions becomes a block that is shown once."""
    plan, blocks, steps = Plan.of(trace), list(trace.blocks), step_blocks(trace)
    for repetition in repetitions:
        number = len(blocks)
        calls = (trace.ops[i].call for i in (repetition.start, repetition.end - 1))
        call = common_call(trace, *calls)
        around = [
            b for b in enclosing_blocks(trace, trace.ops[repetition.start].block) if b in steps
        ]
        outer = around[0] if around else None
        blocks.append(
            Block(number, repetition.times, label=repetition.label, outer=outer, call=call)
        )
        for at in range(repetition.start, repetition.end):
            inner = [b for b in enclosing_blocks(trace, trace.ops[at].block) if b not in steps]
            if inner:
                blocks[inner[-1]] = altered(blocks[inner[-1]], outer=number)
        _RollUp(trace, plan, LiveRanges.of(trace), repetition, number, steps).roll()
        _roll_backward(trace, plan, repetition)
    plan.blocks = tuple(blocks)
    return _without_unused_blocks(contract(trace, plan))


@dataclass
class _RollUp:
    """Writes into a plan that the last repetition stands for all; `number` is that of the block, in `steps` if any."""

    trace: Trace
    plan: Plan
    ranges: LiveRanges
    repetition: Repetition
    number: int
    steps: set[int]

    def roll(self) -> None:
        """Let the operations of the last repetition stand for those of all."""
        start, period, end = self.repetition.start, self.repetition.period, self.repetition.end
        for first in range(start, start + period):
            self._roll_op([self.trace.ops[i] for i in range(first, end, period)])

    def _roll_op(self, same: list[Op]) -> None:
        """Let the last of the operations at one position stand for all of them."""
        trace, plan, shown = self.trace, self.plan, same[-1]
        nodes = trace.nodes_of(shown.index)
        for nr, op in enumerate(same):
            plan.op[op.index] = shown.index
            for one, representative in zip(op.outputs, shown.outputs, strict=True):
                self._stand_for(one, representative, nr)
            for node, representative in zip(trace.nodes_of(op.index), nodes, strict=True):
                plan.node[node] = representative
                plan.repetition[node] = (self.number, nr)
        for inputs in zip(*(op.inputs for op in same), strict=True):
            self._roll_leaves(inputs)
        args = tuple(
            arg if isinstance(arg, int) or all(op.args[i] == arg for op in same) else "…"
            for i, arg in enumerate(shown.args)
        )
        plan.changed_ops[shown.index] = altered(
            shown,
            inputs=tuple(dict.fromkeys((*shown.inputs, *self._entering(shown, same)))),
            args=args,
            times=shown.times * self.repetition.times,
            block=self.number if shown.block is None or shown.block in self.steps else shown.block,
        )

    def _entering(self, shown: Op, same: list[Op]) -> list[int]:
        """What an operation reads from before the block, in all repetitions: one result of each operation there."""
        made = {self.ranges.made_by(i) for i in shown.inputs} - {-1}
        found: list[int] = []
        for index in dict.fromkeys(i for op in same for i in op.inputs):
            maker = self.ranges.made_by(index)
            if maker < self.repetition.start and maker not in made:
                found.append(index)
                made |= {maker} - {-1}
        return found

    def _stand_for(self, one: int, shown: int, nr: int) -> None:
        """Let a tensor of the last repetition stand for that of repetition `nr`, with its node if it is a leaf."""
        plan, tensors = self.plan, self.trace.tensors
        plan.tensor[one] = shown
        if tensors[one].kind != "result" and tensors[shown].block in (None, *self.steps):
            plan.leaf_block[shown] = self.number
        nodes, shown_nodes = self.ranges.nodes.get(one, []), self.ranges.nodes.get(shown, [])
        if len(nodes) == len(shown_nodes):
            for node, representative in zip(nodes, shown_nodes, strict=True):
                plan.node[node] = representative
                plan.repetition[node] = (self.number, nr)

    def _roll_leaves(self, read: tuple[int, ...]) -> None:
        """Let one leaf stand for those that are read at one position, each in one repetition.

        Outside the block only those may use them that use all of them, as an optimizer does.
        """
        ranges, repetition, plan = self.ranges, self.repetition, self.plan
        read = tuple(self.trace.first_version(i) for i in read)
        if read[0] == read[-1] or any(leaf not in ranges.versions for leaf in read):
            return
        elsewhere: tuple[int, ...] = ()
        for nr, leaf in enumerate(read):
            first = repetition.start + nr * repetition.period
            others = ranges.users_outside(leaf, first, first + repetition.period - 1)
            if nr and others != elsewhere:
                return
            elsewhere = others
        if any(repetition.start <= op < repetition.end for op in elsewhere):
            return
        shown_versions = ranges.versions[read[-1]]
        for nr, leaf in enumerate(read):
            versions = ranges.versions[leaf]
            if len(versions) == len(shown_versions):
                for one_version, shown_version in zip(versions, shown_versions, strict=True):
                    self._stand_for(one_version, shown_version, nr)
            else:
                self._stand_for(leaf, read[-1], nr)
            for op in elsewhere:
                one, shown = (ranges.changed(op, i) for i in (leaf, read[-1]))
                if one is not None and shown is not None:
                    plan.tensor[one] = shown


def _roll_backward(trace: Trace, plan: Plan, repetition: Repetition) -> None:
    """Where every repetition runs backward itself, let the last one's passes stand for the others'."""
    starts = [
        trace.step_of(i).index for i in range(repetition.start, repetition.end, repetition.period)
    ]
    is_last = repetition.end == len(trace.ops)
    starts.append(len(trace.steps) if is_last else trace.step_of(repetition.end).index)
    passes: list[list[int]] = []  # by repetition
    for first, end in pairwise(starts):
        steps = (trace.steps[i] for i in range(first, end))
        passes.append(list(dict.fromkeys(step.pass_nr for step in steps if step.node is not None)))
    *earlier, last = passes
    each = len(passes[0])
    if all(len(own) == each for own in earlier) and each <= len(last):
        for own in earlier:
            plan.passes.update(zip(own, last, strict=False))


def _without_unused_blocks(trace: Trace) -> Trace:
    """Blocks of repetitions that are not shown are gone."""
    used = {block for op in trace.ops for block in enclosing_blocks(trace, op.block)}
    blocks: Renumbering = {old: i for i, old in enumerate(sorted(used))}
    numbers = {"blocks": blocks}
    return replace(
        trace,
        ops=tuple(renumbered(op, numbers) for op in trace.ops),
        tensors=tuple(renumbered(tensor, numbers) for tensor in trace.tensors),
        blocks=tuple(renumbered(trace.blocks[old], numbers) for old in blocks),
    )
