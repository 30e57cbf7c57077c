"""A plan: by old index, which part of a smaller trace stands for each operation, node and tensor of a trace."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..trace import Block, Op, Trace

__all__ = ["Plan"]


@dataclass
class Plan:
    """By old index: which operation, node or tensor stands for it (itself, mostly); None: it is folded away.

    `ops` holds the representatives that change, still in old numbers; `home` the node in which a leaf's node has
    been folded away; `place` the block and the repetition of a node that is rolled up; `inside` the block of a leaf;
    `runs` the backward run of the last repetition that stands for one of an earlier repetition.
    """

    op: list[int]
    node: list[int | None]
    tensor: list[int | None]
    blocks: tuple[Block, ...]
    ops: dict[int, Op] = field(default_factory=dict)
    home: dict[int, int] = field(default_factory=dict)
    place: dict[int, tuple[int, int]] = field(default_factory=dict)
    inside: dict[int, int] = field(default_factory=dict)
    runs: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, trace: Trace) -> Plan:
        """The plan that changes nothing."""
        return cls(
            list(range(len(trace.ops))),
            list(range(len(trace.nodes))),
            list(range(len(trace.tensors))),
            trace.blocks,
        )
