"""Operations that become one go in with a name for them; what becomes of their nodes and tensors goes into a plan.

What they read from outside are the inputs, what is used outside are the outputs. Their nodes become one, at which the
gradients of the outputs arrive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from ..trace import Op, Stack, Trace
from ..trace.frozen import altered
from .live_ranges import LiveRanges, enclosing_blocks
from .plan import Plan

__all__ = ["MergedOps", "common_block"]


@dataclass
class MergedOps:
    """Operations, the innermost block around all of them, the leaves that lie inside, and what they become is called.

    The last operation stands for all of them. `module` is the word for what they are, `call` the module call that holds
    nothing else, if any; `scope` is the path of the module around it.
    """

    trace: Trace
    ranges: LiveRanges
    ops: list[int]
    block: int | None
    leaves: list[int]
    name: str
    module: str
    scope: str
    call: int | None

    def write(self, plan: Plan) -> None:
        """Write into a plan what becomes of the call's operations, nodes and tensors."""
        trace, last = self.trace, self.ops[-1]
        members = [trace.ops[i] for i in self.ops]
        made_inside = {i for op in members for i in op.outputs}
        versions = (i for leaf in self.leaves for i in self.ranges.versions[leaf])
        own = {i for i in versions if trace.tensors[i].op is None or i in made_inside}
        stack = _common_stack(members)
        outputs = self._as_written(self._outputs(members, own), stack)
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
        plan.changed_ops[last] = self._op(members, stack, inputs, outputs, accumulators)

    def _outputs(self, members: list[Op], own: set[int]) -> tuple[int, ...]:
        """Results that are used after the call, or named and never used; else those of the last operation."""
        last, tensors, last_use = self.ops[-1], self.trace.tensors, self.ranges.last_use
        made = [i for op in members for i in op.results if i not in own]
        writing = [op for op in members if op.inplace and not op.beside]
        changed = {i for op in writing if own & set(op.inputs) for i in op.outputs}
        unused = {i for i in made if last_use[i] < 0 and tensors[i].name} - changed
        of_last = self.trace.ops[last].results
        used = {i for i in made if last_use[i] > last} or set(of_last)
        return tuple(i for i in made if i in unused or i in used) or of_last

    def _as_written(self, outputs: tuple[int, ...], stack: Stack) -> tuple[int, ...]:
        """Results in the order in which the line of the call names them, `y, weights = attention(x)`."""
        if len(outputs) < 2 or not stack:
            return outputs
        names = [self.trace.tensors[i].name for i in outputs]
        targets, assigns, _ = _code(self.trace, stack).partition("=")
        order = {name: place for place, name in enumerate(re.findall(r"[\w.\[\]]+", targets))}
        if not assigns or any(name not in order for name in names):
            return outputs
        return tuple(sorted(outputs, key=lambda i: order[self.trace.tensors[i].name or ""]))

    def _main_node(self, nodes: list[int], outputs: tuple[int, ...]) -> int | None:
        """The node that stands for all nodes of the call: the `grad_fn` of its first output, else the last node."""
        own = set(nodes)
        main = (self.trace.tensors[i].node for i in outputs)
        return next((node for node in main if node in own), max(nodes, default=None))

    def _op(
        self,
        members: list[Op],
        stack: Stack,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        accumulators: list[int],
    ) -> Op:
        """The operation that the call becomes."""
        trace, last = self.trace, members[-1]
        times = _times(trace, self.block)
        parameters = [op.parameters * op.times // times for op in members]
        elements = [op.elements * op.times // times for op in members]
        around = enclosing_blocks(trace, self.block)
        for index in dict.fromkeys(
            trace.first_version(trace.nodes[i].leaf or 0) for i in accumulators
        ):
            leaf = trace.tensors[index]
            parameters.append(1 if leaf.block in around else leaf.times)
            elements.append(parameters[-1] * prod(leaf.value.shape))
        return altered(
            last,
            name=self.name,
            line=stack[0][1] if stack else last.line,
            code=_code(trace, stack) if stack else last.code,
            scope=self.scope,
            inputs=inputs,
            outputs=outputs,
            args=inputs,
            inplace=False,
            beside=0,
            named=(),
            grad_enabled=any(op.grad_enabled for op in members),
            opaque=False,
            factory=False,
            stack=stack or last.stack,
            call=self.call,
            times=times,
            module=self.module,
            parameters=sum(parameters),
            elements=sum(elements),
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


def common_block(trace: Trace, ops: list[Op]) -> int | None:
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
