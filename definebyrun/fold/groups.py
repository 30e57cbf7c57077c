"""A trace goes in, a trace comes out in which operations that belong together without a module are one.

Those that one line changes in place several times in a row without gradients; those of which each gives its result to
the next alone, without gradients too; those of a rolled-up block; those that its lines ran before it and after it;
and, where nothing else is left, all but the first and last operations.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from ..trace import Op, Stack, Trace
from .contraction import contract
from .live_ranges import LiveRanges, enclosing_blocks
from .merged_ops import MergedOps, common_block
from .plan import Plan
from .repeats import step_blocks

__all__ = ["fold_blocks", "fold_chains", "fold_middle", "fold_statements", "fold_unrolled"]

MIN_CHANGES = 3
"""So many changes by one line become one card."""
FIRST_SHOWN, LAST_SHOWN = 7, 6
"""So many operations are shown before and after those that are left out."""
MAX_NAMES = 2
"""A card that stands for several operations names so many."""


def fold_statements(trace: Trace) -> Trace:
    """The trace in which what one line changes in place, several times in a row without gradients, is one operation."""
    groups: list[list[int]] = []
    for key, members in groupby(trace.ops, lambda op: _line_of_change(trace, op)):
        ops = [op.index for op in members]
        if key is not None and len(ops) >= MIN_CHANGES:
            groups.append(ops)
    return _merged(trace, groups)


def _line_of_change(trace: Trace, op: Op) -> object:
    """Where an operation was called that changes something in place without gradients; None for any other."""
    is_change = (
        op.inplace and not trace.nodes_of(op.index) and op.stack and not op.is_optimizer_step
    )
    return (op.stack, op.block, op.call) if is_change else None


def fold_chains(trace: Trace) -> Trace:
    """The trace in which an operation without gradients that only one such operation reads joins it."""
    readers: dict[int, set[int]] = {}
    for op in trace.ops:
        for tensor in op.inputs:
            readers.setdefault(tensor, set()).add(op.index)
    uses = Counter(t.op for t in trace.tensors if t.kind != "result")
    chain_of: dict[int, list[int]] = {}
    for op in reversed(trace.ops):
        read_by = {reader for tensor in op.outputs for reader in readers.get(tensor, ())}
        if len(read_by) != 1 or not _may_join(trace, op) or uses[op.index]:
            continue
        (reader,) = read_by
        other = trace.ops[reader]
        if reader > op.index and other.block == op.block and _may_join(trace, other):
            chain = chain_of.setdefault(reader, [reader])
            chain.append(op.index)
            chain_of[op.index] = chain
    chains = {id(chain): sorted(chain) for chain in chain_of.values()}
    return _merged(trace, list(chains.values()))


def _may_join(trace: Trace, op: Op) -> bool:
    """Whether an operation has no node, changes nothing, makes no leaf, and is no folded module."""
    plain = not (op.inplace or op.factory or op.opaque or op.module or op.during)
    return plain and not trace.nodes_of(op.index) and op.name != "grad"


def fold_blocks(trace: Trace) -> Trace:
    """The trace in which the operations of a rolled-up block are one, unless it is the steps of a training."""
    return _merged(trace, _blocks(trace))


def fold_unrolled(trace: Trace) -> Trace:
    """The trace in which what the lines of a block ran right before it, or right after it, is one operation.

    The first repetition often has fewer nodes than the others, which read what it has made, and so has the last.
    """
    groups: list[list[int]] = []
    for ops in _blocks(trace):
        lines = {trace.ops[i].stack for i in ops}
        before, after = ops[0], ops[-1] + 1
        while before and _is_run_by(trace.ops[before - 1], lines):
            before -= 1
        while after < len(trace.ops) and _is_run_by(trace.ops[after], lines):
            after += 1
        groups += [list(range(before, ops[0])), list(range(ops[-1] + 1, after))]
    return _merged(trace, [ops for ops in groups if len(ops) > 1])


def _blocks(trace: Trace) -> list[list[int]]:
    """The operations of each outermost block that is no training step, if there are several in a row."""
    steps, found = step_blocks(trace), dict[int, list[int]]()
    for op in trace.ops:
        around = [block for block in enclosing_blocks(trace, op.block) if block not in steps]
        if around:
            found.setdefault(around[-1], []).append(op.index)
    return [ops for ops in found.values() if len(ops) > 1 and ops[-1] - ops[0] == len(ops) - 1]


def _is_run_by(op: Op, lines: set[Stack]) -> bool:
    """Whether one of these lines ran an operation, outside of all blocks."""
    return op.block is None and bool(op.stack) and op.stack in lines


def fold_middle(trace: Trace) -> Trace:
    """The trace with all operations but the first and last as one; no rolled-up block is cut."""
    ops = [op.index for op in trace.ops if not op.factory]
    outermost = [(enclosing_blocks(trace, trace.ops[i].block) or [-1])[-1] for i in ops]
    first, end = FIRST_SHOWN, len(ops) - LAST_SHOWN
    while 0 < first < end and outermost[first] >= 0 and outermost[first] == outermost[first - 1]:
        first += 1
    while first < end < len(ops) and outermost[end] >= 0 and outermost[end] == outermost[end - 1]:
        end -= 1
    middle = ops[first:end]
    return _merged(trace, [middle]) if len(middle) > 1 else trace


def _merged(trace: Trace, groups: list[list[int]]) -> Trace:
    """The trace in which each of these groups of operations is one."""
    plan, ranges = Plan.of(trace), LiveRanges.of(trace)
    for ops in groups:
        inside = set(ops)
        leaves = [
            leaf for leaf in ranges.leaves_in(ops[0], ops[-1]) if trace.tensors[leaf].op in inside
        ]
        members = [trace.ops[i] for i in ops]
        held = sum(op.holds for op in members)
        names = list(dict.fromkeys(op.name for op in members))
        words = ", ".join(names) if len(names) <= MAX_NAMES else members[-1].name
        MergedOps(
            trace,
            ranges,
            ops,
            common_block(trace, members),
            leaves,
            name=words,
            module=f"{held} operations",
            scope=members[-1].scope,
            call=members[-1].call,
        ).write(plan)
    return contract(trace, plan)
