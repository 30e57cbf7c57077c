"""A trace goes in, a smaller trace comes out: modules folded into one operation each, repetitions rolled up.

A folded trace is a trace like any other, so every other room works on it. Its operations and nodes say how many
they stand for; what it no longer shows is counted, not invented. Repetitions are looked for after modules are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

from .merge import Plan, merge
from .repeats import Run, common_call, find_runs
from .trace import Block, Op, Trace

__all__ = ["fit", "fold"]


def fold(
    trace: Trace, modules: bool | int | str | Iterable[str] = False, repeats: bool = False
) -> Trace:
    """A trace in which modules are folded, one operation for each call, and repetitions rolled up.

    `modules` is how many levels of modules stay open, or the paths of those to fold: with 0 every module that your
    code calls is one operation; with 1 or True those are open and the modules inside them folded. `repeats` rolls up
    what runs at least three times in a row, also through modules of one structure that differ in their numbers.

    Raises `ValueError` for a path that no module of the run has, and for a negative number of levels.

    >>> from definebyrun.trace import Op, Step, Tensor, Value
    >>> one = Value((), "int64")
    >>> tensors = [Tensor(0, "y", "constant", one), *(Tensor(i + 1, "y", "result", one, i) for i in range(5))]
    >>> ops = [Op(i, "mul", 3, "y = y * 2", "", (i,), (i + 1,), args=(i, "2")) for i in range(5)]
    >>> steps = [Step(i, "forward", op=i) for i in range(5)]
    >>> folded = fold(Trace(tuple(tensors), tuple(ops), steps=tuple(steps)), repeats=True)
    >>> [(op.name, op.times) for op in folded.ops], len(folded.steps)
    ([('mul', 5)], 1)
    """
    if modules is not False:
        trace = _fold_calls(trace, _chosen(trace, modules))
    if repeats:
        for alike in (False, True):
            while runs := find_runs(trace, alike):
                trace = _roll(trace, runs)
    return trace


def fit(trace: Trace, fits: Callable[[Trace], bool]) -> Trace:
    """The trace folded as little as it takes: repetitions first, then modules, the deepest first; else all of it."""
    if fits(trace):
        return trace
    folded = fold(trace, repeats=True)
    depths = _depths(trace)
    used = (depths[op.call] for op in trace.ops if op.call is not None)
    for level in range(max(used, default=-1), -1, -1):
        if fits(folded):
            break
        folded = fold(trace, modules=level, repeats=True)
    return folded


# ---- modules ----


def _depths(trace: Trace) -> list[int]:
    """By call: how many calls are around it."""
    depths: list[int] = []
    for call in trace.calls:
        depths.append(0 if call.outer is None else depths[call.outer] + 1)
    return depths


def _chosen(trace: Trace, modules: bool | int | str | Iterable[str]) -> list[int | None]:
    """By call: the call that it is folded into, if any."""
    if isinstance(modules, int):
        if modules < 0:
            raise ValueError(f"modules is a number of levels that stay open, so not {modules}")
        depths, level = _depths(trace), int(modules)
        wanted = [depth == level for depth in depths]
    else:
        paths = [modules] if isinstance(modules, str) else list(modules)
        known = dict.fromkeys(call.path for call in trace.calls)
        for path in paths:
            if path not in known:
                there = ", ".join(list(known)[:8]) or "none"
                raise ValueError(f"no module of this run has the path {path!r}; there are: {there}")
        wanted = [call.path in paths for call in trace.calls]
    chosen: list[int | None] = []
    for call in trace.calls:
        around = None if call.outer is None else chosen[call.outer]
        chosen.append(call.index if around is None and wanted[call.index] else around)
    return chosen


def _calls_of(trace: Trace) -> list[int | None]:
    """By operation: the call that it ran in. One that was found, not seen, ran where its neighbours did."""
    calls = [op.call for op in trace.ops]
    after: list[int | None] = [None] * len(calls)
    following = None
    for op in reversed(trace.ops):
        following = following if op.opaque and op.call is None else op.call
        after[op.index] = following
    for op in trace.ops:
        if op.opaque and op.call is None and op.index:
            one, two = calls[op.index - 1], after[op.index]
            calls[op.index] = common_call(trace, one, two)
    return calls


def _fold_calls(trace: Trace, chosen: list[int | None]) -> Trace:
    groups: dict[int, list[int]] = {}
    for index, call in enumerate(_calls_of(trace)):
        into = None if call is None else chosen[call]
        if into is not None:
            groups.setdefault(into, []).append(index)
    plan, spans = Plan.of(trace), _Spans(trace)
    for call, ops in groups.items():
        block = _common_block(trace, [trace.ops[i] for i in ops])
        leaves = spans.leaves_in(ops[0], ops[-1])
        if block is not None:  # leaves that all repetitions share stay outside
            leaves = [i for i in leaves if block in _around(trace, trace.tensors[i].block)]
        if len(ops) > 1 or (leaves and not trace.ops[ops[0]].module):
            _fold_call(trace, plan, spans, call, ops, block, leaves)
    return merge(trace, plan) if plan.ops else trace


def _fold_call(
    trace: Trace,
    plan: Plan,
    spans: _Spans,
    number: int,
    ops: list[int],
    block: int | None,
    leaves: list[int],
) -> None:
    """Let the last operation of a call stand for all of them."""
    last = ops[-1]
    members = [trace.ops[i] for i in ops]
    call = trace.calls[number]
    times = _times(trace, block)
    inside = {i for op in members for i in op.outputs}
    gone = {i for leaf in leaves for i in spans.versions[leaf]}
    read = dict.fromkeys(
        i for op in members for i in op.inputs if i not in inside and i not in gone
    )
    made = [i for op in members for i in op.outputs if i not in gone]
    outputs = tuple(i for i in made if spans.last_use[i] > last) or tuple(
        i for i in trace.ops[last].outputs
    )
    changed = {i for op in members if op.inplace and gone & set(op.inputs) for i in op.outputs}
    unused = {i for i in made if spans.last_use[i] < 0 and trace.tensors[i].name} - changed
    outputs = tuple(i for i in made if i in unused or i in outputs) or outputs
    nodes = [n for i in ops for n in trace.nodes_of(i)]
    stack = _common_stack(members)
    main = next((trace.tensors[i].node for i in outputs if trace.tensors[i].node in nodes), None)
    main = max(nodes, default=None) if main is None else main
    parameters = [n for leaf in leaves for n in spans.nodes.get(leaf, ())]
    outer = None if call.outer is None else trace.calls[call.outer].path
    for i in ops:
        plan.op[i] = last
    for i in nodes:
        plan.node[i] = main
    for i in parameters:
        plan.node[i] = None
        if main is not None:
            plan.home[i] = main
    for i in (*inside, *gone):
        plan.tensor[i] = i if i in outputs else None
    held = sum(op.parameters * op.times for op in members)
    held += sum(trace.nodes[i].times for i in parameters)
    plan.ops[last] = replace(
        trace.ops[last],
        name=call.path or call.kind,
        line=stack[0][1] if stack else trace.ops[last].line,
        code=_code(trace, stack) if stack else trace.ops[last].code,
        scope=outer or "",
        inputs=tuple(read),
        outputs=outputs,
        args=tuple(read),
        inplace=False,
        grad_enabled=any(op.grad_enabled for op in members),
        opaque=False,
        factory=False,
        stack=stack or trace.ops[last].stack,
        call=number,
        times=times,
        module=call.kind,
        parameters=held // times,
        block=block,
    )


class _Spans:
    """Where leaves and results are used, so that one can say what is used inside a stretch of operations only."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        count, far = len(trace.tensors), len(trace.ops)
        self.last_use = [-1] * count
        self.versions: dict[int, list[int]] = {}
        self.nodes: dict[int, list[int]] = {}
        first, last = [far] * count, [-1] * count
        self._place_of: dict[int, dict[int, int]] = {}
        self._users: dict[int, dict[int, None]] = {}
        optimizers = {op.index for op in trace.ops if op.name.endswith(".step") and op.inplace}
        root = [t.index if t.origin is None else t.origin for t in trace.tensors]

        def use(tensor: int, op: int) -> None:
            leaf = root[tensor]
            self._users.setdefault(leaf, {})[op] = None
            if op in optimizers:  # changes a leaf wherever it lies
                return
            first[leaf], last[leaf] = min(first[leaf], op), max(last[leaf], op)

        made: dict[tuple[int, int], list[int]] = {}
        for tensor in trace.tensors:
            if tensor.kind != "result":
                self.versions.setdefault(root[tensor.index], []).append(tensor.index)
                if tensor.op is not None:
                    use(tensor.index, tensor.op)
            elif tensor.node is not None:
                made.setdefault((tensor.node, tensor.output_nr), []).append(tensor.index)
        for op in trace.ops:
            for i in op.inputs:
                use(i, op.index)
                self.last_use[i] = max(self.last_use[i], op.index)
        for node in trace.nodes:
            if node.leaf is not None:
                self.nodes.setdefault(root[node.leaf], []).append(node.index)
        for edge in trace.edges:
            source, leaf = trace.nodes[edge.source].op, trace.nodes[edge.target].leaf
            if leaf is not None:
                use(leaf, -1 if source is None else source)
            elif source is not None:
                for i in made.get((edge.target, edge.input_nr), ()):
                    self.last_use[i] = max(self.last_use[i], source)
        self._first, self._last = first, last
        self._ends: dict[int, list[int]] = {}
        for leaf in self.versions:
            self._ends.setdefault(last[leaf], []).append(leaf)

    def made_by(self, tensor: int) -> int:
        """The operation that made a tensor; -1: it was there before."""
        op = self.trace.tensors[tensor].op
        return -1 if op is None else op

    def users_outside(self, leaf: int, first: int, last: int) -> tuple[int, ...]:
        """The operations outside these that use a leaf."""
        return tuple(sorted(op for op in self._users[leaf] if not first <= op <= last))

    def changed(self, op: int, leaf: int) -> int | None:
        """What an operation that changes all its inputs in place has made of a leaf."""
        step = self.trace.ops[op]
        if step.inplace and len(step.inputs) == len(step.outputs):
            place = self._places(op).get(leaf)
            return None if place is None else step.outputs[place]
        return None

    def _places(self, op: int) -> dict[int, int]:
        if op not in self._place_of:
            self._place_of[op] = {i: n for n, i in enumerate(self.trace.ops[op].inputs)}
        return self._place_of[op]

    def leaves_in(self, first: int, last: int) -> list[int]:
        """The leaves that nothing outside these operations uses, in order."""
        ends = (leaf for i in range(first, last + 1) for leaf in self._ends.get(i, ()))
        return sorted(leaf for leaf in ends if self._first[leaf] >= first)


def _common_stack(ops: list[Op]) -> tuple[tuple[int, int], ...]:
    """The outer part of the way through the code that all these operations share."""
    common = ops[0].stack
    for op in ops[1:]:
        if op.stack != common:
            shared = 0
            for a, b in zip(reversed(common), reversed(op.stack), strict=False):
                if a != b:
                    break
                shared += 1
            common = common[len(common) - shared :]
    return common


def _code(trace: Trace, stack: tuple[tuple[int, int], ...]) -> str:
    source, line = trace.sources[stack[0][0]], stack[0][1]
    at = line - source.first
    return source.lines[at].strip() if 0 <= at < len(source.lines) else ""


def _around(trace: Trace, block: int | None) -> list[int]:
    """A block and the blocks around it, innermost first."""
    chain = []
    while block is not None:
        chain.append(block)
        block = trace.blocks[block].outer
    return chain


def _common_block(trace: Trace, ops: list[Op]) -> int | None:
    common = _around(trace, ops[0].block)
    for op in ops[1:]:
        if op.block != (common[0] if common else None):
            these = set(_around(trace, op.block))
            common = [block for block in common if block in these]
    return common[0] if common else None


def _times(trace: Trace, block: int | None) -> int:
    times = 1
    for index in _around(trace, block):
        times *= trace.blocks[index].times
    return times


# ---- repetitions ----


def _roll(trace: Trace, runs: list[Run]) -> Trace:
    plan, spans = Plan.of(trace), _Spans(trace)
    blocks = list(trace.blocks)
    for run in runs:
        number = len(blocks)
        ends = (run.start, run.start + run.period * run.times - 1)
        around = common_call(trace, *(trace.ops[i].call for i in ends))
        blocks.append(Block(number, run.times, run.label, call=around))
        for at in range(run.start, run.start + run.period * run.times):
            block = trace.ops[at].block
            if block is not None:
                top = _around(trace, block)[-1]
                blocks[top] = replace(blocks[top], outer=number)
        _roll_run(trace, plan, spans, run, number)
        _roll_backward(trace, plan, run)
    plan.blocks = tuple(blocks)
    return _without_unused_blocks(merge(trace, plan))


def _roll_run(trace: Trace, plan: Plan, spans: _Spans, run: Run, number: int) -> None:
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
                plan.place[node] = (number, time)
        for place in range(len(shown.inputs)):
            _roll_leaves(trace, plan, spans, run, number, [op.inputs[place] for op in same])
        args = tuple(
            arg if isinstance(arg, int) or all(op.args[i] == arg for op in same) else "…"
            for i, arg in enumerate(shown.args)
        )
        outside = _entering(spans, run, shown, same)
        plan.ops[at] = replace(
            shown,
            inputs=tuple(dict.fromkeys((*shown.inputs, *outside))),
            args=args,
            times=shown.times * run.times,
            block=number if shown.block is None else shown.block,
        )


def _entering(spans: _Spans, run: Run, shown: Op, same: list[Op]) -> list[int]:
    """What the repetitions of an operation read from before the block: one result for each operation that made some."""
    made = {spans.made_by(i) for i in shown.inputs} - {-1}
    found: list[int] = []
    for index in dict.fromkeys(i for op in same for i in op.inputs):
        maker = spans.made_by(index)
        if maker < run.start and maker not in made:
            found.append(index)
            made |= {maker} - {-1}
    return found


def _roll_backward(trace: Trace, plan: Plan, run: Run) -> None:
    """Where every repetition runs backward itself, let the last one's backward runs stand for the others'."""
    starts = [trace.step_of(run.start + i * run.period).index for i in range(run.times)]
    after = run.start + run.times * run.period
    starts.append(trace.step_of(after).index if after < len(trace.ops) else len(trace.steps))
    within: list[list[int]] = []
    for first, end in pairwise(starts):
        steps = (trace.steps[i] for i in range(first, end))
        within.append(list(dict.fromkeys(step.run for step in steps if step.node is not None)))
    each = len(within[0])
    if all(len(runs) == each for runs in within[:-1]) and each <= len(within[-1]):
        for runs in within[:-1]:
            plan.runs.update(zip(runs, within[-1], strict=False))


def _stand_for(
    trace: Trace, plan: Plan, spans: _Spans, one: int, shown: int, number: int, time: int
) -> None:
    """Let a tensor of the last repetition stand for one of an earlier one, with its node if it is a leaf."""
    plan.tensor[one] = shown
    if trace.tensors[one].kind != "result" and trace.tensors[shown].block is None:
        plan.inside[shown] = number
    nodes, kept = spans.nodes.get(one, []), spans.nodes.get(shown, [])
    if len(nodes) == len(kept):
        for a, b in zip(nodes, kept, strict=True):
            plan.node[a] = b
            plan.place[a] = (number, time)


def _roll_leaves(
    trace: Trace, plan: Plan, spans: _Spans, run: Run, number: int, read: list[int]
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
    used = {block for op in trace.ops for block in _around(trace, op.block)}
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
