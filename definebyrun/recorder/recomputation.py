"""Nodes in checkpoints go in; which of them were computed again for which, and until when, comes out.

A recomputation gives each node of a checkpoint that keeps something a twin, in the same order. What the twin keeps is
wanted until its node has run.
"""

from __future__ import annotations

from typing import Any

from ..trace.model import Node, Step
from ._torch import graph_task_id

__all__ = ["Recomputations"]


class Recomputations:
    """Pairs the nodes of checkpoints with what is computed again for them."""

    def __init__(self) -> None:
        self._inside: dict[Any, list[int]] = {}  # by checkpoint: its nodes that keep something
        self._checkpoint: dict[int, Any] = {}  # by node: the checkpoint in which it was made
        self._twins: dict[int, list[int]] = {}  # by node: what was computed again for it
        self._done: dict[tuple[int, int], int] = {}  # by checkpoint and run: the last place paired

    def put_away(self, number: int, checkpoint: Any) -> None:
        """A node has been made in a checkpoint, which keeps nothing of what the node would have saved."""
        self._checkpoint[number] = checkpoint
        self._inside.setdefault(checkpoint, []).append(number)

    def pair(self, number: int, running: int | None) -> None:
        """A node that keeps something has been made while another runs: for the checkpoint's next, if it is in one."""
        checkpoint = self._checkpoint.get(-1 if running is None else running)
        if running is None or checkpoint is None:
            return
        run = (id(checkpoint), graph_task_id())
        place = self._done[run] = self._done.get(run, -1) + 1
        inside = self._inside[checkpoint]
        twin = inside[place] if place < len(inside) else running
        self._twins.setdefault(twin, []).append(number)

    def end(self, nodes: list[Node], steps: list[Step]) -> None:
        """Tell each twin which step ended it: the next one in which the node ran that it was made for."""
        if not self._twins:
            return
        made = {step.op: step.index for step in steps if step.op is not None}
        for step in steps:
            for number in self._twins.get(-1 if step.node is None else step.node, ()):
                twin = nodes[number]
                if twin.until is None and made.get(twin.op, -1) < step.index:
                    twin.until = step.index
