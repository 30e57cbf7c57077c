"""A trace and its repetitions go in, a trace comes out in which the last repetition stands for all.

Results, nodes and leaves of every repetition are matched by their place in it. Backward runs are matched too, where
every repetition has its own.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ..trace import Block, Op, Trace
from ..trace.frozen import altered
from .contraction import contract
from .live_ranges import LiveRanges, enclosing_blocks
from .plan import Plan
from .repeats import Repetition, common_call

__all__ = ["roll_up"]


def roll_up(trace: Trace, runs: list[Repetition]) -> Trace:
    """Every run becomes a block that is shown once."""
    plan, spans = Plan.of(trace), LiveRanges.of(trace)
    blocks = list(trace.blocks)
    for run in runs:
        number = len(blocks)
        ends = (run.start, run.start + run.period * run.times - 1)
        call = common_call(trace, *(trace.ops[i].call for i in ends))
        blocks.append(Block(number, run.times, label=run.label, call=call))
        for at in range(run.start, run.start + run.period * run.times):
            block = trace.ops[at].block
            if block is not None:
                top = enclosing_blocks(trace, block)[-1]
                blocks[top] = replace(blocks[top], outer=number)
        _roll_run(trace, plan, spans, run, number)
        _roll_backward(trace, plan, run)
    plan.blocks = tuple(blocks)
    return _without_unused_blocks(contract(trace, plan))


def _roll_run(trace: Trace, plan: Plan, spans: LiveRanges, run: Repetition, number: int) -> None:
    """Let the last repetition stand for all."""
    shift = run.period * (run.times - 1)
    for at in range(run.start + shift, run.start + shift + run.period):
        shown = trace.ops[at]
        same = [trace.ops[i] for i in range(at - shift, at + 1, run.period)]
        nodes = trace.nodes_of(at)
        for time, op in enumerate(same):
            plan.op[op.index] = at
            for one, all_of_them in zip(op.outputs, shown.outputs, strict=True):
                _stand_for(trace, plan, spans, one, all_of_them, number, time)
            for node, kept in zip(trace.nodes_of(op.index), nodes, strict=True):
                plan.node[node] = kept
                plan.repetition[node] = (number, time)
        for place in range(len(shown.inputs)):
            _roll_leaves(trace, plan, spans, run, number, [op.inputs[place] for op in same])
        args = tuple(
            arg if isinstance(arg, int) or all(op.args[i] == arg for op in same) else "…"
            for i, arg in enumerate(shown.args)
        )
        outside = _entering(spans, run, shown, same)
        plan.changed_ops[at] = altered(
            shown,
            inputs=tuple(dict.fromkeys((*shown.inputs, *outside))),
            args=args,
            times=shown.times * run.times,
            block=number if shown.block is None else shown.block,
        )


def _entering(spans: LiveRanges, run: Repetition, shown: Op, same: list[Op]) -> list[int]:
    """What the repetitions of an operation read from before the block: one result for each operation that made some."""
    made = {spans.made_by(i) for i in shown.inputs} - {-1}
    found: list[int] = []
    for index in dict.fromkeys(i for op in same for i in op.inputs):
        maker = spans.made_by(index)
        if maker < run.start and maker not in made:
            found.append(index)
            made |= {maker} - {-1}
    return found


def _roll_backward(trace: Trace, plan: Plan, run: Repetition) -> None:
    """Where every repetition runs backward itself, let the last one's backward runs stand for the others'."""
    starts = [trace.step_of(run.start + i * run.period).index for i in range(run.times)]
    after = run.start + run.times * run.period
    starts.append(trace.step_of(after).index if after < len(trace.ops) else len(trace.steps))
    within: list[list[int]] = []
    for first, end in pairwise(starts):
        steps = (trace.steps[i] for i in range(first, end))
        within.append(list(dict.fromkeys(step.pass_nr for step in steps if step.node is not None)))
    each = len(within[0])
    if all(len(runs) == each for runs in within[:-1]) and each <= len(within[-1]):
        for runs in within[:-1]:
            plan.passes.update(zip(runs, within[-1], strict=False))


def _stand_for(
    trace: Trace, plan: Plan, spans: LiveRanges, one: int, shown: int, number: int, time: int
) -> None:
    """Let a tensor of the last repetition stand for one of an earlier one, with its node if it is a leaf."""
    plan.tensor[one] = shown
    if trace.tensors[one].kind != "result" and trace.tensors[shown].block is None:
        plan.leaf_block[shown] = number
    nodes, kept = spans.nodes.get(one, []), spans.nodes.get(shown, [])
    if len(nodes) == len(kept):
        for a, b in zip(nodes, kept, strict=True):
            plan.node[a] = b
            plan.repetition[a] = (number, time)


def _roll_leaves(
    trace: Trace, plan: Plan, spans: LiveRanges, run: Repetition, number: int, read: list[int]
) -> None:
    """Leaves that stand at one place, each for one repetition, become one.

    Outside the block only those may use them that use all of them, as an optimizer does.
    """
    if read[0] == read[-1] or any(leaf not in spans.versions for leaf in read):
        return
    elsewhere: tuple[int, ...] = ()
    for time, leaf in enumerate(read):
        first = run.start + time * run.period
        others = spans.users_outside(leaf, first, first + run.period - 1)
        if time and others != elsewhere:
            return
        elsewhere = others
    if any(run.start <= op < run.start + run.period * run.times for op in elsewhere):
        return
    for time, leaf in enumerate(read):
        _stand_for(trace, plan, spans, leaf, read[-1], number, time)
        for op in elsewhere:
            one, shown = (spans.changed(op, i) for i in (leaf, read[-1]))
            if one is not None and shown is not None:
                plan.tensor[one] = shown


def _without_unused_blocks(trace: Trace) -> Trace:
    """Blocks of repetitions that are not shown are gone."""
    used = {block for op in trace.ops for block in enclosing_blocks(trace, op.block)}
    new = {old: i for i, old in enumerate(sorted(used))}
    blocks = (trace.blocks[old] for old in new)
    return replace(
        trace,
        ops=tuple(o if o.block is None else replace(o, block=new[o.block]) for o in trace.ops),
        tensors=tuple(
            t if t.block is None else replace(t, block=new[t.block]) for t in trace.tensors
        ),
        blocks=tuple(
            replace(b, index=new[b.index], outer=None if b.outer is None else new[b.outer])
            for b in blocks
        ),
    )
