"""Nodes go in one by one, with a hook on each; what happens to them in a backward pass comes out as steps.

A hook only looks: it changes no gradient. Gradients are copied at once, because PyTorch reuses their memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from .ledger import Ledger, Stack
from .snapshot import snapshot
from .trace import Step, Value

__all__ = ["Watcher"]

Grads = tuple[torch.Tensor | None, ...]


class Watcher:
    """Hangs hooks on nodes and writes a step into the ledger whenever one has run.

    `where` gives the place in the learner's code that started the backward pass.
    """

    def __init__(self, where: Callable[[], Stack]) -> None:
        self.ledger = Ledger(self._watch)
        self._where = where
        self._handles: list[Any] = []
        self._runs: dict[int, tuple[int, list[int]]] = {}
        self._before: dict[int, Value | None] = {}

    def release(self) -> None:
        """Take all hooks off."""
        for handle in self._handles:
            handle.remove()

    def _watch(self, node: Any, number: int, leaf: torch.Tensor | None) -> None:
        if leaf is not None:

            def before(grad_outputs: Grads) -> None:
                self._before[number] = _maybe(leaf.grad)

            self._handles.append(node.register_prehook(before))

        def after(grad_inputs: Grads, grad_outputs: Grads) -> None:
            self._ran(number, leaf, grad_inputs, grad_outputs)

        self._handles.append(node.register_hook(after))

    def _ran(
        self, number: int, leaf: torch.Tensor | None, grad_inputs: Grads, grad_outputs: Grads
    ) -> None:
        """A node has run: note what arrived, what it passed on, and what that did to a leaf's `.grad`."""
        ledger, task = self.ledger, torch._C._current_graph_task_id()
        run, ran = self._runs.setdefault(task, (len(self._runs), []))
        received = tuple(_maybe(grad) for grad in grad_outputs)
        passed = []
        for slot, grad in enumerate(grad_inputs):
            edge = ledger.edge_at(number, slot)
            if grad is not None and edge is not None:
                ledger.edge_grads[edge] = value = snapshot(grad)
                passed.append((edge, value))
        arrived = next((value for value in received if value is not None), None)
        ledger.nodes[number] = replace(ledger.nodes[number], order=len(ran), grad=arrived)
        ran.append(number)
        ledger.steps.append(
            Step(
                index=len(ledger.steps),
                phase="backward",
                node=number,
                stack=self._where(),
                received=received,
                passed=tuple(passed),
                before=self._before.pop(number, None),
                after=None if leaf is None else _maybe(leaf.grad),
                run=run,
                freed=not torch._C._autograd._get_current_graph_task_keep_graph(),
            )
        )


def _maybe(tensor: torch.Tensor | None) -> Value | None:
    return None if tensor is None else snapshot(tensor)
