"""A plan: by old index, which part of a smaller trace stands for each operation, node and tensor of a trace."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..trace import Block, Op, Trace

__all__ = ["Plan"]


@dataclass
class Plan:
    """By old index, the representative of each operation, node and tensor: mostly itself; None where it is folded away.

    `changed_ops` holds the representatives that change, still in old numbers. `absorbed_by` is the node in which the
    `AccumulateGrad` of a leaf has been folded away, `repetition` the block and the number of the repetition of a node
    that is rolled up, `leaf_block` the block of a leaf. `passes` leads from the backward passes of earlier repetitions
    to those of the last one, which stand for them.
    """

    op: list[int]
    node: list[int | None]
    tensor: list[int | None]
    blocks: tuple[Block, ...]
    changed_ops: dict[int, Op] = field(default_factory=dict)
    absorbed_by: dict[int, int] = field(default_factory=dict)
    repetition: dict[int, tuple[int, int]] = field(default_factory=dict)
    leaf_block: dict[int, int] = field(default_factory=dict)
    passes: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, trace: Trace) -> Plan:
        """The plan that changes nothing."""
        return cls(
            list(range(len(trace.ops))),
            list(range(len(trace.nodes))),
            list(range(len(trace.tensors))),
            trace.blocks,
        )

    def stays(self, op: int, trace: Trace) -> Op:
        """A representative as it is to be, in old numbers."""
        return self.changed_ops.get(op, trace.ops[op])
