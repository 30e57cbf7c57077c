"""A trace and a choice of module calls go in, a plan comes out in which each of these calls is one operation.

What a call reads from outside are its inputs, what is used outside are its outputs, and its leaves are those that
nothing else uses. Its nodes become one, at which the gradients of its outputs arrive.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..trace import Op, Trace, cached
from ..trace.frozen import altered
from .live_ranges import LiveRanges, enclosing_blocks
from .plan import Plan
from .repeats import common_call

__all__ = ["call_depths", "calls_by_op", "folded_into", "plan_modules"]


def call_depths(trace: Trace) -> list[int]:
    """By call: how many calls are around it."""
    found: list[int] = []
    for call in trace.calls:
        found.append(0 if call.outer is None else found[call.outer] + 1)
    return found


def folded_into(trace: Trace, modules: bool | int | str | Iterable[str]) -> list[int | None]:
    """By call: the call that it is folded into, if any."""
    if isinstance(modules, int):
        if modules < 0:
            raise ValueError(f"modules is a number of levels that stay open, so not {modules}")
        level = int(modules)
        wanted = [depth == level for depth in call_depths(trace)]
    else:
        paths = [modules] if isinstance(modules, str) else list(modules)
        known = dict.fromkeys(call.path for call in trace.calls)
        for path in paths:
            if path not in known:
                there = ", ".join(list(known)[:8]) or "none"
                raise ValueError(f"no module of this run has the path {path!r}; there are: {there}")
        wanted = [call.path in paths for call in trace.calls]
    into: list[int | None] = []
    for call in trace.calls:
        outer = None if call.outer is None else into[call.outer]
        into.append(call.index if outer is None and wanted[call.index] else outer)
    return into


def calls_by_op(trace: Trace) -> list[int | None]:
    """By operation: the call that it ran in. One that was found, not seen, ran where its neighbours did."""
    return cached(trace, _calls_of)


def _calls_of(trace: Trace) -> list[int | None]:
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


def plan_modules(trace: Trace, into: list[int | None]) -> Plan:
    """The plan that folds every operation of a call into the call that `into` gives for it, by call."""
    groups: dict[int, list[int]] = {}
    for index, call in enumerate(calls_by_op(trace)):
        whole = None if call is None else into[call]
        if whole is not None:
            groups.setdefault(whole, []).append(index)
    plan, spans = Plan.of(trace), LiveRanges.of(trace)
    for call, ops in groups.items():
        block = _common_block(trace, [trace.ops[i] for i in ops])
        leaves = spans.leaves_in(ops[0], ops[-1])
        if block is not None:  # leaves that all repetitions share stay outside
            leaves = [i for i in leaves if block in enclosing_blocks(trace, trace.tensors[i].block)]
        if len(ops) > 1 or (leaves and not trace.ops[ops[0]].module):
            _fold_call(trace, plan, spans, call, ops, block, leaves)
    return plan


def _fold_call(
    trace: Trace,
    plan: Plan,
    spans: LiveRanges,
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
    versions = (i for leaf in leaves for i in spans.versions[leaf])
    gone = {i for i in versions if trace.tensors[i].op is None or i in inside}
    read = dict.fromkeys(
        i for op in members for i in op.inputs if i not in inside and i not in gone
    )
    made = [i for op in members for i in op.outputs if i not in gone]
    changed = {i for op in members if op.inplace and gone & set(op.inputs) for i in op.outputs}
    unused = {i for i in made if spans.last_use[i] < 0 and trace.tensors[i].name} - changed
    used = {i for i in made if spans.last_use[i] > last} or set(trace.ops[last].outputs)
    outputs = tuple(i for i in made if i in unused or i in used) or trace.ops[last].outputs
    nodes = [n for i in ops for n in trace.nodes_of(i)]
    stack = _common_stack(members)
    new, shown = set(nodes), set(outputs)
    main = next((trace.tensors[i].node for i in outputs if trace.tensors[i].node in new), None)
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
            plan.absorbed_by[i] = main
    for i in (*inside, *gone):
        plan.tensor[i] = i if i in shown else None
    held = sum(op.parameters * op.times for op in members)
    held += sum(trace.nodes[i].times for i in parameters)
    plan.changed_ops[last] = altered(
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


def _common_block(trace: Trace, ops: list[Op]) -> int | None:
    common = enclosing_blocks(trace, ops[0].block)
    for op in ops[1:]:
        if op.block != (common[0] if common else None):
            these = set(enclosing_blocks(trace, op.block))
            common = [block for block in common if block in these]
    return common[0] if common else None


def _times(trace: Trace, block: int | None) -> int:
    times = 1
    for index in enclosing_blocks(trace, block):
        times *= trace.blocks[index].times
    return times
