"""The numbers of one trace's parts and of another's go in, parts with their indices changed come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..trace import Block, Edge, Grad, Node, Op, Step, TensorVersion
from ..trace.frozen import altered

__all__ = ["Numbers", "Renumbering", "renumbered"]

Numbers = dict[int, int]


@dataclass
class Renumbering:
    """From the numbers of one trace to those of another, for every kind of part; `pieces` also shifts lines."""

    tensors: Numbers
    ops: Numbers
    nodes: Numbers
    edges: Numbers
    blocks: Numbers
    steps: Numbers | None = None
    pieces: dict[int, tuple[int, int]] = field(default_factory=dict)
    storages: Mapping[int, int] = field(default_factory=dict)

    def tensor(self, tensor: TensorVersion) -> TensorVersion:
        return altered(
            tensor,
            index=self.tensors[tensor.index],
            op=renumbered(self.ops, tensor.op),
            node=renumbered(self.nodes, tensor.node),
            origin=renumbered(self.tensors, tensor.origin),
            since=self.since(tensor.since),
            block=renumbered(self.blocks, tensor.block),
        )

    def op(self, op: Op) -> Op:
        stack = self.stack(op.stack)
        return altered(
            op,
            index=self.ops[op.index],
            line=stack[0][1] if stack else op.line,
            inputs=tuple(self.tensors[i] for i in op.inputs),
            outputs=tuple(self.tensors[i] for i in op.outputs),
            stack=stack,
            args=tuple(a if isinstance(a, str) else self.tensors[a] for a in op.args),
            within=renumbered(self.nodes, op.within),
            call=None,
            block=renumbered(self.blocks, op.block),
        )

    def node(self, node: Node) -> Node:
        saved = tuple(
            altered(
                s,
                storage=self.storages.get(s.storage, s.storage),
                tensor=renumbered(self.tensors, s.tensor),
            )
            for s in node.saved
        )
        op, leaf = renumbered(self.ops, node.op), renumbered(self.tensors, node.leaf)
        return altered(
            node,
            index=self.nodes[node.index],
            op=op,
            leaf=leaf,
            saved=saved,
            within=renumbered(self.nodes, node.within),
            made=node.made if self.steps is None else renumbered(self.steps, node.made),
            until=node.until if self.steps is None else renumbered(self.steps, node.until),
            block=renumbered(self.blocks, node.block),
        )

    def edge(self, edge: Edge) -> Edge:
        source, target = self.nodes[edge.source], self.nodes[edge.target]
        return altered(edge, index=self.edges[edge.index], source=source, target=target)

    def block(self, block: Block) -> Block:
        outer = renumbered(self.blocks, block.outer)
        return altered(block, index=self.blocks[block.index], outer=outer, call=None)

    def step(self, step: Step) -> Step:
        return altered(
            step,
            index=step.index if self.steps is None else self.steps[step.index],
            op=renumbered(self.ops, step.op),
            node=renumbered(self.nodes, step.node),
            stack=self.stack(step.stack),
            passed=tuple((self.edges[edge], value) for edge, value in step.passed),
        )

    def grad(self, change: Grad) -> Grad:
        return altered(change, tensor=self.tensors[change.tensor], since=self.since(change.since))

    def since(self, step: int) -> int:
        """A number of steps that had run, or of the step after them: 0 before the first, else counted from 1."""
        if not step or self.steps is None:
            return step
        known = self.steps.get(step - 1)
        return 1 + (max(self.steps.values(), default=-1) + 1 if known is None else known)

    def stack(self, stack: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        moved = []
        for piece, line in stack:
            to, by = self.pieces.get(piece, (piece, 0))
            moved.append((to, line + by))
        return tuple(moved)


def renumbered(numbers: Numbers, number: int | None) -> int | None:
    return None if number is None else numbers[number]
