"""A trace and a choice of module calls go in, a plan comes out in which each of these calls is one operation.

What a call reads from outside are its inputs, what is used outside are its outputs. Its leaves are those that its
module holds, or that an operation inside it makes, and that nothing else uses: what its caller has given it stays
outside. Its nodes become one, at which the gradients of its outputs arrive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any, cast

from ..trace import ModuleCall, Op, Stack, Trace, cached
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
        paths = _paths(modules)
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


def _paths(modules: object) -> list[str]:
    """The paths that were asked for; `TypeError` for anything else."""
    several = isinstance(modules, Iterable) and not isinstance(modules, str)
    asked: Iterable[Any] = cast(Iterable[Any], modules) if several else [modules]
    found: list[str] = []
    for path in asked:
        if not isinstance(path, str):
            given = f"the class {path.__name__}" if isinstance(path, type) else type(path).__name__
            raise TypeError(
                f"modules takes True, a number of levels or paths such as 'model.fc', not {given}"
            )
        found.append(path)
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


def plan_modules(trace: Trace, into: list[int | None]) -> Plan:
    """The plan that folds every operation of a call into the call that `into` gives for it, by call."""
    ops_by_call: dict[int, list[int]] = {}
    for index, call in enumerate(calls_by_op(trace)):
        whole = None if call is None else into[call]
        if whole is not None:
            ops_by_call.setdefault(whole, []).append(index)
    plan, ranges, owned = Plan.of(trace), LiveRanges.of(trace), _Owned(trace)
    for call, ops in ops_by_call.items():
        block = _common_block(trace, [trace.ops[i] for i in ops])
        leaves = [i for i in ranges.leaves_in(ops[0], ops[-1]) if owned.by(call, i, ops)]
        if block is not None:  # leaves that all repetitions share stay outside
            leaves = [i for i in leaves if block in enclosing_blocks(trace, trace.tensors[i].block)]
        nodes = sum(len(trace.nodes_of(i)) for i in ops)
        if max(len(ops), nodes) > 1 or not trace.ops[ops[0]].module:
            _FoldedCall(trace, ranges, trace.calls[call], ops, block, leaves).write(plan)
    return plan


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


@dataclass
class _FoldedCall:
    """A call of a module, the operations that ran in it, the block around all of them and the leaves that are its own.

    The last operation stands for all of them.
    """

    trace: Trace
    ranges: LiveRanges
    call: ModuleCall
    ops: list[int]
    block: int | None
    leaves: list[int]

    def write(self, plan: Plan) -> None:
        """Write into a plan what becomes of the call's operations, nodes and tensors."""
        trace, last = self.trace, self.ops[-1]
        members = [trace.ops[i] for i in self.ops]
        made_inside = {i for op in members for i in op.outputs}
        versions = (i for leaf in self.leaves for i in self.ranges.versions[leaf])
        own = {i for i in versions if trace.tensors[i].op is None or i in made_inside}
        outputs = self._outputs(members, own)
        nodes = [n for i in self.ops for n in trace.nodes_of(i)]
        main = self._main_node(nodes, outputs)
        for i in self.ops:
            plan.op[i] = last
        for i in nodes:
            plan.node[i] = main
        accumulators = [n for leaf in self.leaves for n in self.ranges.nodes.get(leaf, ())]
        for i in accumulators:
            plan.node[i] = None
            if main is not None:
                plan.absorbed_by[i] = main
        for i in (*made_inside, *own):
            plan.tensor[i] = i if i in outputs else None
        hidden = made_inside | {i for leaf in self.leaves for i in self.ranges.versions[leaf]}
        read = (i for op in members for i in op.inputs if i not in hidden)
        inputs = tuple(dict.fromkeys(read))
        plan.changed_ops[last] = self._op(members, inputs, outputs, accumulators)

    def _outputs(self, members: list[Op], own: set[int]) -> tuple[int, ...]:
        """Results that are used after the call, or named and never used; else those of the last operation."""
        last, tensors, last_use = self.ops[-1], self.trace.tensors, self.ranges.last_use
        made = [i for op in members for i in op.outputs if i not in own]
        changed = {i for op in members if op.inplace and own & set(op.inputs) for i in op.outputs}
        unused = {i for i in made if last_use[i] < 0 and tensors[i].name} - changed
        of_last = self.trace.ops[last].outputs
        used = {i for i in made if last_use[i] > last} or set(of_last)
        return tuple(i for i in made if i in unused or i in used) or of_last

    def _main_node(self, nodes: list[int], outputs: tuple[int, ...]) -> int | None:
        """The node that stands for all nodes of the call: the `grad_fn` of its first output, else the last node."""
        own = set(nodes)
        main = (self.trace.tensors[i].node for i in outputs)
        return next((node for node in main if node in own), max(nodes, default=None))

    def _op(
        self,
        members: list[Op],
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        accumulators: list[int],
    ) -> Op:
        """The operation that the call becomes."""
        trace, call, last = self.trace, self.call, members[-1]
        stack, times = _common_stack(members), _times(trace, self.block)
        parameters = [op.parameters * op.times for op in members]
        elements = [op.elements * op.times for op in members]
        for node in accumulators:
            leaf = trace.tensors[trace.nodes[node].leaf or 0]
            parameters.append(trace.nodes[node].times)
            elements.append(trace.nodes[node].times * prod(leaf.value.shape))
        return altered(
            last,
            name=call.path or call.kind,
            line=stack[0][1] if stack else last.line,
            code=_code(trace, stack) if stack else last.code,
            scope="" if call.outer is None else trace.calls[call.outer].path,
            inputs=inputs,
            outputs=outputs,
            args=inputs,
            inplace=False,
            grad_enabled=any(op.grad_enabled for op in members),
            opaque=False,
            factory=False,
            stack=stack or last.stack,
            call=call.index,
            times=times,
            module=call.kind,
            parameters=sum(parameters) // times,
            elements=sum(elements) // times,
            block=self.block,
        )


def _common_stack(ops: list[Op]) -> Stack:
    """The outer frames that the stacks of all these operations share."""
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


def _code(trace: Trace, stack: Stack) -> str:
    """The innermost line of a stack."""
    source, line = trace.sources[stack[0][0]], stack[0][1]
    at = line - source.first
    return source.lines[at].strip() if 0 <= at < len(source.lines) else ""


def _common_block(trace: Trace, ops: list[Op]) -> int | None:
    """The innermost block around all of these operations."""
    common = enclosing_blocks(trace, ops[0].block)
    for op in ops[1:]:
        if op.block != (common[0] if common else None):
            these = set(enclosing_blocks(trace, op.block))
            common = [block for block in common if block in these]
    return common[0] if common else None


def _times(trace: Trace, block: int | None) -> int:
    """How often the operations of a block ran, in all repetitions of the blocks around it."""
    times = 1
    for index in enclosing_blocks(trace, block):
        times *= trace.blocks[index].times
    return times
