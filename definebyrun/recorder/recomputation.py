"""Nodes in checkpoints go in; which node was computed again for which, and until when it keeps its tensors, comes out.

A checkpoint's recomputation makes a node for each node of the checkpoint that saves something, in the same order. What
the new node saves is needed until the original one has run.
"""

from __future__ import annotations

from typing import Any

from ._torch import graph_task_id
from .drafts import NodeDraft, StepDraft

__all__ = ["Recomputations"]


class Recomputations:
    """Pairs the nodes of checkpoints with the nodes that are computed again for them."""

    def __init__(self) -> None:
        self._inside: dict[Any, list[int]] = {}  # by checkpoint: its nodes that save something
        self._checkpoints: dict[int, Any] = {}  # by node: the checkpoint in which it was made
        self._recomputed: dict[int, list[int]] = {}  # by node: those computed again for it
        # by checkpoint and graph task: how many of its nodes have been computed again
        self._counts: dict[tuple[int, int], int] = {}

    def add(self, number: int, checkpoint: Any) -> None:
        """A node was made in a checkpoint, which keeps nothing of what the node would have saved."""
        self._checkpoints[number] = checkpoint
        self._inside.setdefault(checkpoint, []).append(number)

    def pair(self, number: int, running: int | None) -> None:
        """A node that saves something was made while another runs: if that is in a checkpoint, for its next node."""
        checkpoint = None if running is None else self._checkpoints.get(running)
        if running is None or checkpoint is None:
            return
        key = (id(checkpoint), graph_task_id())
        count = self._counts.get(key, 0)
        self._counts[key] = count + 1
        inside = self._inside[checkpoint]
        original = inside[count] if count < len(inside) else running
        self._recomputed.setdefault(original, []).append(number)

    def finish(self, nodes: list[NodeDraft], steps: list[StepDraft]) -> None:
        """A recomputed node keeps its tensors until the original node runs: note that step as its `until`."""
        if not self._recomputed:
            return
        made = {step.op: step.index for step in steps if step.op is not None}
        for step in steps:
            if step.node is None:
                continue
            for number in self._recomputed.get(step.node, ()):
                node = nodes[number]
                made_in = -1 if node.op is None else made.get(node.op, -1)
                if node.until is None and made_in < step.index:
                    node.until = step.index
