"""Graph tasks go in, as PyTorch numbers them; the backward passes of a recording come out, numbered from 0."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._torch import graph_is_kept, graph_task_id
from .call_stack import CallStack
from .drafts import Stack

__all__ = ["BackwardPass", "BackwardPasses"]


@dataclass(slots=True)
class BackwardPass:
    """A backward pass: its number, the call that started it, whether it frees the graph, the nodes that have run."""

    number: int
    stack: Stack
    freed: bool
    ran: list[int] = field(default_factory=list)


class BackwardPasses:
    """Numbers the passes in the order in which they first show themselves."""

    def __init__(self, stack: CallStack) -> None:
        self._stack = stack
        self._by_task: dict[int, BackwardPass] = {}

    def __len__(self) -> int:
        return len(self._by_task)

    def of_task(self, task: int) -> BackwardPass:
        """The pass of a graph task, which is running now."""
        return self._by_task.get(task) or self._begin(task)

    def now(self) -> BackwardPass:
        """The pass that is running in this thread."""
        return self.of_task(graph_task_id())

    def nodes_since(self, first: int) -> set[int]:
        """The nodes that have run in the passes from a number on."""
        return {
            node for each in self._by_task.values() if each.number >= first for node in each.ran
        }

    def _begin(self, task: int) -> BackwardPass:
        begun = BackwardPass(len(self._by_task), self._stack.running, not graph_is_kept())
        self._by_task[task] = begun
        return begun
