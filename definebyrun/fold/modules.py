"""A trace and a choice of module calls go in, a plan comes out in which each of these calls is one operation.

What a call reads from outside are its inputs, what is used outside are its outputs. Its leaves are those that its
module holds, or that an operation inside it makes, and that nothing else uses: what its caller has given it stays
outside. Its nodes become one, at which the gradients of its outputs arrive.
"""

from __future__ import annotations

from ..trace import Trace, cached
from ..trace.records import FUNCTION
from .live_ranges import LiveRanges
from .merged_ops import MergedOps, common_block
from .plan import Plan
from .repeats import common_call

__all__ = ["call_depths", "calls_by_op", "outermost", "plan_modules"]


def call_depths(trace: Trace) -> list[int]:
    """By call: how many calls of modules are around it."""
    found: list[int] = []
    for call in trace.calls:
        around = None if call.outer is None else trace.calls[call.outer]
        depth = 0 if around is None else found[around.index] + (around.kind != FUNCTION)
        found.append(depth)
    return found


def calls_by_op(trace: Trace) -> list[int | None]:
    """By operation: the call that it ran in. One that was found, not seen, ran where its neighbours did."""
    return cached(trace, _calls_by_op)


def _calls_by_op(trace: Trace) -> list[int | None]:
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


def outermost(trace: Trace, wanted: list[bool]) -> list[int | None]:
    """By call: the outermost `wanted` one of itself and the calls around it, if any, as `plan_modules` takes it."""
    into: list[int | None] = []
    for call in trace.calls:
        outer = None if call.outer is None else into[call.outer]
        into.append(call.index if outer is None and wanted[call.index] else outer)
    return into


def plan_modules(trace: Trace, into: list[int | None]) -> Plan:
    """The plan that folds every operation of a call into the call that `into` gives for it, by call.

    A call stays open if data leaves it and comes back while it is running: as one card it would lead to itself.
    """
    ops_by_call: dict[int, list[int]] = {}
    for index, call in enumerate(calls_by_op(trace)):
        whole = None if call is None else into[call]
        if whole is not None:
            ops_by_call.setdefault(whole, []).append(index)
    ops_by_call = {c: ops for c, ops in ops_by_call.items() if not _is_left(trace, ops)}
    plan, ranges, owned = Plan.of(trace), LiveRanges.of(trace), _Owned(trace)
    for call, ops in ops_by_call.items():
        module = trace.calls[call]
        leaves = [i for i in ranges.leaves_in(ops[0], ops[-1]) if owned.by(call, i, ops)]
        nodes = sum(len(trace.nodes_of(i)) for i in ops)
        if max(len(ops), nodes) > 1 or not trace.ops[ops[0]].module:
            MergedOps(
                trace,
                ranges,
                ops,
                common_block(trace, [trace.ops[i] for i in ops]),
                leaves,
                name=module.path or module.kind,
                module=module.kind,
                scope="" if module.outer is None else trace.calls[module.outer].path,
                call=call,
            ).write(plan)
    return plan


def _is_left(trace: Trace, ops: list[int]) -> bool:
    """Whether one of these operations reads what an operation between them has made of what they made."""
    if len(ops) == ops[-1] - ops[0] + 1:  # nothing runs between them
        return False
    own, made, brought = set(ops), set[int](), set[int]()
    for op in trace.ops[ops[0] : ops[-1] + 1]:
        if op.index not in own:
            if not (made | brought).isdisjoint(op.inputs):
                brought.update(op.outputs)
        elif brought.isdisjoint(op.inputs):
            made.update(op.outputs)
        else:
            return True
    return False


class _Owned:
    """Which leaves a call has to itself; in a run that does not say whose they are, their names say it."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._told = any(tensor.owners for tensor in trace.tensors)

    def by(self, call: int, leaf: int, ops: list[int]) -> bool:
        """Whether the module of a call holds a leaf, or one of the call's operations has made it."""
        tensor, module = self._trace.tensors[leaf], self._trace.calls[call]
        if tensor.op is not None and ops[0] <= tensor.op <= ops[-1]:
            return True
        if self._told:
            return (call if module.first is None else module.first) in tensor.owners
        return bool(module.path) and (tensor.name or "").startswith(
            (f"{module.path}.", f"{module.path}[")
        )
