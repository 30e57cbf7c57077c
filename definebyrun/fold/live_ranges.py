"""A trace goes in, the live ranges of its tensors come out: from which operation to which each leaf and result is used.

Folding asks this to know what lies wholly inside a stretch of operations and what crosses its border.
"""

from __future__ import annotations

from ..trace import Trace, cached

__all__ = ["LiveRanges", "enclosing_blocks"]


def enclosing_blocks(trace: Trace, block: int | None) -> list[int]:
    """A block and the blocks around it, innermost first."""
    chain = []
    while block is not None:
        chain.append(block)
        block = trace.blocks[block].outer
    return chain


class LiveRanges:
    """Which operations use a leaf or a result, forward and backward.

    `versions` and `nodes` hold, by the first version of a leaf, all its versions and its `AccumulateGrad` nodes;
    `last_use` the last operation that uses a tensor, -1 for none. The call at which a run stopped counts as an
    operation after the last.
    """

    @classmethod
    def of(cls, trace: Trace) -> LiveRanges:
        """Those of a trace, computed once: to fit a picture, one trace is folded several times."""
        return cached(trace, cls)

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        count, far = len(trace.tensors), len(trace.ops)
        self.last_use = [-1] * count
        self.versions: dict[int, list[int]] = {}
        self.nodes: dict[int, list[int]] = {}
        first, last = [far] * count, [-1] * count
        self._input_positions: dict[int, dict[int, int]] = {}
        self._users: dict[int, dict[int, None]] = {}
        optimizers = {op.index for op in trace.ops if op.is_optimizer_step}
        first_version = [t.index if t.origin is None else t.origin for t in trace.tensors]

        def use(tensor: int, op: int) -> None:
            leaf = first_version[tensor]
            self._users.setdefault(leaf, {})[op] = None
            if op in optimizers:  # changes a leaf wherever it lies
                return
            if op < first[leaf]:
                first[leaf] = op
            if op > last[leaf]:
                last[leaf] = op

        made: dict[tuple[int, int], list[int]] = {}
        for tensor in trace.tensors:
            if tensor.kind != "result":
                self.versions.setdefault(first_version[tensor.index], []).append(tensor.index)
                if tensor.op is not None:
                    use(tensor.index, tensor.op)
            elif tensor.node is not None:
                made.setdefault((tensor.node, tensor.output_nr), []).append(tensor.index)
        for op in trace.ops:
            for i in op.inputs:
                use(i, op.index)
                self.last_use[i] = op.index  # in order, so this ends as the last use
        for stop in trace.stops:  # it reads what it was given after all operations
            for i in stop.inputs:
                use(i, far)
                self.last_use[i] = far
        for node in trace.nodes:
            if node.leaf is not None:
                self.nodes.setdefault(first_version[node.leaf], []).append(node.index)
        for edge in trace.edges:
            source, leaf = trace.nodes[edge.source].op, trace.nodes[edge.target].leaf
            if leaf is not None:
                use(leaf, -1 if source is None else source)
            elif source is not None:
                for i in made.get((edge.target, edge.input_nr), ()):
                    self.last_use[i] = max(self.last_use[i], source)
        self._first = first
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
        """The version of a leaf after an operation that changes all its inputs in place, as an optimizer step does."""
        if op == len(self.trace.ops):  # where the run stopped
            return None
        optimizer = self.trace.ops[op]
        if optimizer.inplace and len(optimizer.inputs) == len(optimizer.outputs):
            position = self._positions(op).get(leaf)
            return None if position is None else optimizer.outputs[position]
        return None

    def _positions(self, op: int) -> dict[int, int]:
        """By tensor: its position among an operation's inputs."""
        if op not in self._input_positions:
            self._input_positions[op] = {i: n for n, i in enumerate(self.trace.ops[op].inputs)}
        return self._input_positions[op]

    def leaves_in(self, first: int, last: int) -> list[int]:
        """The leaves that no operation outside these uses, an optimizer left aside, in order."""
        ends = (leaf for i in range(first, last + 1) for leaf in self._ends.get(i, ()))
        return sorted(leaf for leaf in ends if self._first[leaf] >= first)
