"""A trace goes in, answers come out: which operations use a leaf, which blocks lie around a block.

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
    """Where leaves and results are used, so that one can say what is used inside a stretch of operations only."""

    @classmethod
    def of(cls, trace: Trace) -> LiveRanges:
        """Those of a trace, worked out once: to fit a picture, one trace is folded several times."""
        return cached(trace, cls)

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
            if op < first[leaf]:
                first[leaf] = op
            if op > last[leaf]:
                last[leaf] = op

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
                self.last_use[i] = op.index  # in order: the last that comes is the last
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
