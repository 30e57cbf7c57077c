"""Nodes go in one by one, with a hook on each; what happens to them in a backward pass comes out as steps.

A hook only looks: it changes no gradient. Gradients are copied at once, because PyTorch reuses their memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from weakref import ref

import torch

from ..trace.model import Step
from ..trace.value import Value
from ._torch import (
    DisableTorchFunction,
    graph_is_kept,
    graph_task_id,
    post_accumulate_hooks,
    version_counter,
)
from .drafts import Stack
from .ledger import Ledger
from .snapshot import unseen_snapshot as snapshot
from .torch_calls import version_of

__all__ = ["NodeHooks"]

Grads = tuple[torch.Tensor | None, ...]
Received = tuple[Value | None, ...]


class _Sent(NamedTuple):
    """A gradient on its way to a node: the tensor, which nobody may keep for us, its version, what was in it."""

    tensor: ref[torch.Tensor]
    version: int
    value: Value


@dataclass(slots=True)
class _Pass:
    """A backward pass: its number, the place that started it, whether it frees the graph, the nodes that have run."""

    number: int
    stack: Stack
    freed: bool
    ran: list[int] = field(default_factory=list)


class NodeHooks:
    """Hangs hooks on nodes and writes a step into the ledger whenever one has run.

    `where` gives the place in the learner's code that started the backward pass.
    """

    def __init__(self, where: Callable[[], Stack]) -> None:
        self.ledger = Ledger(self._watch)
        self._where = where
        self._handles: list[Any] = []
        self._passes: dict[int, _Pass] = {}
        self._before: dict[int, tuple[Received, Value | None]] = {}
        self._travelling: dict[tuple[int, int, int], _Sent | None] = {}
        self._hooks = self._about_to_run, self._has_run  # bound once, not for every node
        self._leaves: list[tuple[Any, int, torch.Tensor]] = []  # not read before their nodes run

    def release(self) -> None:
        """Take all hooks off, and let go of what they lead to."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._leaves.clear()
        self._hooks = ()
        self.ledger.watch = _unwatched

    def _watch(self, node: Any, number: int, leaf: torch.Tensor | None) -> None:
        """Hang hooks on a node; a gradient that the learner's code may change in place is read before the node runs."""
        if leaf is not None:
            self._leaves.append((node, number, leaf))
        elif isinstance(node, torch.autograd.function.BackwardCFunction):
            self._read_before(node, number, leaf)
        self._handles.append(node.register_hook(partial(self._hooks[1], number, leaf)))

    def _read_before(self, node: Any, number: int, leaf: torch.Tensor | None) -> None:
        self._handles.append(node.register_prehook(partial(self._hooks[0], number, leaf)))

    def begin(self) -> None:
        """A pass begins: leaves that hold something, or a hook that may change what arrives, are read before they run.

        Of all others it is known that they hold nothing, or what code in the pass has put there.
        """
        leaves, self._leaves = self._leaves, []  # another thread may find more of them meanwhile
        with DisableTorchFunction():
            for node, number, leaf in leaves:
                if leaf.grad is None and not post_accumulate_hooks(leaf):
                    self._leaves.append((node, number, leaf))
                    self.ledger.hold_grad(leaf, None, None)
                else:
                    self._read_before(node, number, leaf)

    def _about_to_run(self, number: int, leaf: torch.Tensor | None, grad_outputs: Grads) -> None:
        with DisableTorchFunction():
            received = self._received(number, grad_outputs, graph_task_id())
            self._before[number] = received, None if leaf is None else _maybe(leaf.grad)

    def _has_run(
        self, number: int, leaf: torch.Tensor | None, grad_inputs: Grads, grad_outputs: Grads
    ) -> None:
        with DisableTorchFunction():
            self._ran(number, leaf, grad_inputs, grad_outputs)

    def _ran(
        self, number: int, leaf: torch.Tensor | None, grad_inputs: Grads, grad_outputs: Grads
    ) -> None:
        """A node has run: note what arrived, what it passed on, and what that did to a leaf's `.grad`."""
        ledger, task = self.ledger, graph_task_id()
        here = self._passes.get(task) or self._begun(task)
        if torch.is_grad_enabled():  # in a pass it is on with `create_graph=True`
            self._see_made(number, leaf, grad_inputs, grad_outputs, here.number)
        seen: dict[int, Value | None] = {}  # by id of a gradient: what is in it
        if number in self._before:
            received, before = self._before.pop(number)
        else:
            received = self._received(number, grad_outputs, task)
            before = None if leaf is None else ledger.held_grad(leaf)
            if leaf is None:
                seen = dict(zip(map(id, grad_outputs), received, strict=True))
        passed = []
        for slot, grad in enumerate(grad_inputs):
            edge = ledger.graph.edge_at.get((number, slot))
            if grad is not None and edge is not None:
                value = seen.get(id(grad))  # an addition passes on what has arrived, twice
                if value is None:
                    value = seen[id(grad)] = snapshot(grad)
                ledger.edge_grads[edge] = value
                passed.append((edge, value))
                _, target, input_nr, _ = ledger.graph.edges[edge]
                way = (task, target, input_nr)
                met = way in self._travelling  # and its sum is another tensor
                self._travelling[way] = None if met else _Sent(ref(grad), version_of(grad), value)
        node = ledger.nodes[number]
        node.order, node.grad = len(here.ran), received[0] if received else None
        here.ran.append(number)
        value = None
        if leaf is not None:
            held = leaf.grad
            value = _kept(held, grad_outputs, received, before)
            ledger.hold_grad(leaf, held, value)
        ledger.steps.append(
            Step.draft(
                index=len(ledger.steps),
                phase="backward",
                node=number,
                stack=here.stack,
                received=received,
                passed=tuple(passed),
                before=before,
                after=value,
                run=here.number,
                freed=here.freed,
            )
        )

    def _begun(self, task: int) -> _Pass:
        """A pass that has shown nothing of itself so far."""
        keeps = graph_is_kept()
        begun = self._passes[task] = _Pass(len(self._passes), self._where(), not keeps)
        return begun

    @property
    def runs(self) -> int:
        """How many backward runs there have been."""
        return len(self._passes)

    def run_now(self) -> int:
        """The number of the backward run that is going on."""
        task = graph_task_id()
        return (self._passes.get(task) or self._begun(task)).number

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

    def _received(self, number: int, grads: Grads, task: int) -> Received:
        """What arrived at a node: what was seen to leave for it, where it is still that, else read anew.

        A sum of several gradients, or what a hook has put in their place, is another tensor.
        """
        received: list[Value | None] = []
        for nr, grad in enumerate(grads):
            sent = self._travelling.pop((task, number, nr), None)
            if grad is None:
                received.append(None)
            elif sent and sent.tensor() is grad and sent.version == version_of(grad):
                received.append(sent.value)
            else:
                received.append(snapshot(grad))
        return tuple(received)


def _kept(
    grad: torch.Tensor | None, arrived: Grads, received: Received, before: Value | None
) -> Value | None:
    """A leaf's `.grad` after its node: most often the very memory that arrived, untouched."""
    if grad is None or before is not None or not arrived or arrived[0] is None:
        return _maybe(grad)
    return received[0] if _is_same(grad, arrived[0]) else snapshot(grad)


def _is_same(grad: torch.Tensor, arrived: torch.Tensor) -> bool:
    """Whether two tensors of one shape are the same memory, into which nothing has been written yet."""
    try:
        in_order = grad.is_contiguous() and arrived.is_contiguous() and grad.dtype == arrived.dtype
        return in_order and version_counter(grad) == 0 and grad.data_ptr() == arrived.data_ptr()
    except RuntimeError:  # sparse and wrapped tensors
        return False


def _unwatched(node: Any, number: int, leaf: torch.Tensor | None) -> None:
    """The recording has ended."""


def _maybe(tensor: torch.Tensor | None) -> Value | None:
    return None if tensor is None else snapshot(tensor)
