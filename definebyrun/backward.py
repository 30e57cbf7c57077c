"""Nodes go in one by one, with a hook on each; what happens to them in a backward pass comes out as steps.

A hook only looks: it changes no gradient. Gradients are copied at once, because PyTorch reuses their memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from .calls import place_of, version_of
from .entries import Stack
from .ledger import Ledger
from .snapshot import unseen_snapshot as snapshot
from .trace import Step
from .values import Value

__all__ = ["Watcher"]

Grads = tuple[torch.Tensor | None, ...]
Received = tuple[Value | None, ...]
_Seen = tuple[object, Value]


class Watcher:
    """Hangs hooks on nodes and writes a step into the ledger whenever one has run.

    `where` gives the place in the learner's code that started the backward pass.
    """

    def __init__(self, where: Callable[[], Stack]) -> None:
        self.ledger = Ledger(self._watch)
        self._where = where
        self._handles: list[Any] = []
        self._runs: dict[int, tuple[int, list[int]]] = {}
        self._before: dict[int, tuple[Received, Value | None]] = {}
        self._travelling: dict[tuple[int, int, int], _Seen | None] = {}
        self._hooks = self._about_to_run, self._has_run  # bound once, not for every node

    def release(self) -> None:
        """Take all hooks off, and let go of what they lead to."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._hooks = ()
        self.ledger.watch = _unwatched

    def _watch(self, node: Any, number: int, leaf: torch.Tensor | None) -> None:
        """Hang hooks on a node; a gradient that the learner's code may change in place is read before the node runs."""
        before, after = self._hooks
        if leaf is not None or isinstance(node, torch.autograd.function.BackwardCFunction):
            self._handles.append(node.register_prehook(partial(before, number, leaf)))
        self._handles.append(node.register_hook(partial(after, number, leaf)))

    def _about_to_run(self, number: int, leaf: torch.Tensor | None, grad_outputs: Grads) -> None:
        with torch._C.DisableTorchFunction():
            received = self._received(number, grad_outputs)
            self._before[number] = received, None if leaf is None else _maybe(leaf.grad)

    def _has_run(
        self, number: int, leaf: torch.Tensor | None, grad_inputs: Grads, grad_outputs: Grads
    ) -> None:
        with torch._C.DisableTorchFunction():
            self._ran(number, leaf, grad_inputs, grad_outputs)

    def _ran(
        self, number: int, leaf: torch.Tensor | None, grad_inputs: Grads, grad_outputs: Grads
    ) -> None:
        """A node has run: note what arrived, what it passed on, and what that did to a leaf's `.grad`."""
        ledger, task = self.ledger, torch._C._current_graph_task_id()
        run, ran = self._runs.setdefault(task, (len(self._runs), []))
        if torch.is_grad_enabled():  # in a pass it is on with `create_graph=True`
            self._see_made(number, leaf, grad_inputs, grad_outputs, run)
        if number in self._before:
            received, before = self._before.pop(number)
        else:
            received, before = self._received(number, grad_outputs), None
        passed = []
        for slot, grad in enumerate(grad_inputs):
            edge = ledger.edge_at(number, slot)
            if grad is not None and edge is not None:
                ledger.edge_grads[edge] = value = snapshot(grad)
                passed.append((edge, value))
                _, target, input_nr, _ = ledger.graph.edges[edge]
                way = (task, target, input_nr)
                self._travelling[way] = None if way in self._travelling else (_form(grad), value)
        node = ledger.nodes[number]
        node.order, node.grad = len(ran), received[0] if received else None
        ran.append(number)
        value = None
        if leaf is not None:
            value = _kept(leaf.grad, grad_outputs, received, before)
            ledger.hold_grad(leaf, value)
        ledger.steps.append(
            Step(
                index=len(ledger.steps),
                phase="backward",
                node=number,
                stack=self._where(),
                received=received,
                passed=tuple(passed),
                before=before,
                after=value,
                run=run,
                freed=not torch._C._autograd._get_current_graph_task_keep_graph(),
            )
        )

    @property
    def runs(self) -> int:
        """How many backward runs there have been."""
        return len(self._runs)

    def run_now(self) -> int:
        """The number of the backward run that is going on."""
        task = torch._C._current_graph_task_id()
        return self._runs.setdefault(task, (len(self._runs), []))[0]

    def _see_made(
        self,
        number: int,
        leaf: torch.Tensor | None,
        grad_inputs: Grads,
        grad_outputs: Grads,
        run: int,
    ) -> None:
        """A node has run in a pass that is recorded: its own gradients hang from nodes now."""
        ledger, made = self.ledger, grad_inputs if leaf is None else (leaf.grad,)
        ledger.see_functions(made, run, number)
        step = len(ledger.steps)
        ledger.see_made(grad_outputs, run, None, step)  # new only where gradients met
        ledger.see_made(made, run, number, step)

    def _received(self, number: int, grads: Grads) -> Received:
        task = torch._C._current_graph_task_id()
        return tuple(
            [
                None if grad is None else self._arrived((task, number, nr), grad)
                for nr, grad in enumerate(grads)
            ]
        )

    def _arrived(self, way: tuple[int, int, int], grad: torch.Tensor) -> Value:
        """What arrived at a node: what was seen to leave for it, if it is still that, else read anew.

        The engine holds a gradient until its node runs, so the same memory at the same version is the same gradient;
        a sum of several, or what a hook has put in its place, is not.
        """
        seen = self._travelling.pop(way, None)
        return (
            seen[1] if seen and seen[0] is not None and seen[0] == _form(grad) else snapshot(grad)
        )


def _form(tensor: torch.Tensor) -> tuple[object, int] | None:
    """The memory that a tensor shows and how often it was written to; None (equal to nothing seen) without one."""
    place = place_of(tensor)
    return None if place is None else (place, version_of(tensor))


def _kept(
    grad: torch.Tensor | None, arrived: Grads, received: Received, before: Value | None
) -> Value | None:
    """A leaf's `.grad` after its node: most often the very tensor that arrived, untouched."""
    if grad is None or before is not None or not arrived or arrived[0] is None:
        return _maybe(grad)
    form = _form(grad)
    untouched = form is not None and form[1] == 0 and form == _form(arrived[0])
    return received[0] if untouched else snapshot(grad)


def _unwatched(node: Any, number: int, leaf: torch.Tensor | None) -> None:
    """The recording has ended."""


def _maybe(tensor: torch.Tensor | None) -> Value | None:
    return None if tensor is None else snapshot(tensor)
