"""Nodes go in as they are found, and get a hook each; what happens to them in a backward pass comes out as steps.

A hook changes no gradient. Gradients are copied at once, because PyTorch reuses their memory.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch.autograd.function import BackwardCFunction

from ..trace.value import Value
from ._torch import (
    DisableTorchFunction,
    address_of,
    graph_task_id,
    jit_tracer,
    post_accumulate_hooks,
    version_counter,
)
from .backward_passes import BackwardPasses
from .call_stack import CallStack
from .drafts import StepDraft
from .generations import Generations
from .ledger import Ledger
from .nodes import FoundNode
from .snapshot import is_same
from .snapshot import unguarded_snapshot as snapshot
from .torch_calls import tensors_in, version_of
from .walk import gradient_edge

__all__ = ["NodeHooks"]

Grads = tuple[torch.Tensor | None, ...]
Received = tuple[Value | None, ...]


class _Sent(NamedTuple):
    """A gradient on its way to a node: the tensor, which must not be held for it, its version, what was in it."""

    tensor: ref[torch.Tensor]
    version: int
    value: Value


class _Begun(NamedTuple):
    """A node that is about to run: its graph task, the leaf that it fills, what has arrived, that leaf's `.grad`."""

    task: int
    leaf: torch.Tensor | None
    received: Received
    before: Value | None


class NodeHooks:
    """Registers hooks on the nodes that the ledger has found, and enters a step into it whenever one has run."""

    def __init__(self, ledger: Ledger, stack: CallStack) -> None:
        self.passes, self.generations = BackwardPasses(stack), Generations(ledger)
        self._ledger = ledger
        self._handles: list[Any] = []
        # by node: what a pre-hook has read, until the node has run
        self._before: dict[int, _Begun] = {}
        # by graph task, node and its output: what was last sent there; None for a sum
        self._travelling: dict[tuple[int, int, int], _Sent | None] = {}
        # by node: the gradients with which a pass begins there, until the node has run
        self._given: dict[int, list[int]] = {}
        self._plain_leaves: list[FoundNode] = []  # leaves' nodes that have no pre-hook

    # ---- registering ----

    def register(self) -> None:
        """Register hooks on the nodes that the ledger has found since the last call.

        A node of a custom `Function` gets a pre-hook too: its backward may change what arrives in place.
        """
        has_run = self._has_run
        for found in self._ledger.nodes.take_found():
            node, number, leaf = found
            if leaf is not None:
                self._plain_leaves.append(found)
            elif isinstance(node, BackwardCFunction):
                self._register_prehook(found)
            self._handles.append(node.register_hook(partial(has_run, number, leaf)))

    def begin_pass(self) -> int:
        """Before a pass: register pre-hooks on leaves whose `.grad` is set or that have post-accumulate-grad hooks.

        Gives the number that the pass will have, unless another one begins inside it before any of its nodes has run.

        The `.grad` of all others is None until their node runs, or what code in the pass has put there.
        """
        number_of = len(self.passes)
        if jit_tracer() is not None:
            return number_of
        with DisableTorchFunction():
            self.register()
            self._ledger.note_exposed_grads()
            leaves, self._plain_leaves = self._plain_leaves, []  # another thread may find more
            for found in leaves:
                leaf = found.leaf
                assert leaf is not None
                if leaf.grad is None and not post_accumulate_hooks(leaf):
                    self._plain_leaves.append(found)
                    self._ledger.leaf_grads.hold(leaf, None, None)
                else:
                    self._register_prehook(found)
        return number_of

    def begin_with(self, roots: Any, grads: Any, enter: bool) -> None:
        """Note the gradients with which a pass begins, as tensors of the run; `enter` those that it has not seen.

        PyTorch makes one itself where none is given: no call of the program has made that.
        """
        self._given.clear()
        for root, grad in zip(tensors_in(roots), grads, strict=False):
            edge = gradient_edge(root)
            node = None if edge is None else self._ledger.nodes.graph.index.get(edge[0])
            if node is not None and isinstance(grad, torch.Tensor):
                known = self._ledger.versions.latest(grad)
                number = self._ledger.tensor(grad) if enter or known is not None else None
                if number is not None:
                    self._given.setdefault(node, []).append(number)

    def begun(self) -> dict[int, Received]:
        """What the nodes received that have begun to run in a pass that has just failed, and have not ended."""
        around = graph_task_id()  # of the pass around it, which goes on
        return {n: each.received for n, each in self._before.items() if each.task != around}

    def sent_to(self, node: int) -> dict[int, Value]:
        """What was sent to a node that has not run, by output; a sum of several is not known."""
        waiting = {key[2]: sent for key, sent in self._travelling.items() if key[1] == node}
        return {nr: sent.value for nr, sent in waiting.items() if sent is not None}

    def fail_pass(self) -> None:
        """After a pass that has raised: enter the leaf's node that has run although a hook behind it has raised.

        PyTorch runs a post-accumulate-grad hook before the hook by which it is seen that the node has run.
        """
        if graph_task_id() >= 0:  # the pass around this one goes on
            return
        begun, self._before = self._before, {}
        with DisableTorchFunction():
            for number, (task, leaf, received, before) in begun.items():
                after = None if leaf is None else _snapshot_or_none(leaf.grad)
                if leaf is None or is_same(before, after):
                    continue
                self._ledger.leaf_grads.hold(leaf, leaf.grad, after)
                self._enter_step(number, task, received, before=before, after=after)

    def release(self) -> None:
        """Take all hooks off, and let go of what they lead to."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._plain_leaves.clear()

    def _register_prehook(self, found: FoundNode) -> None:
        hook = partial(self._will_run, found.number, found.leaf)
        self._handles.append(found.node.register_prehook(hook))

    # ---- what the hooks do ----

    def _will_run(self, number: int, leaf: torch.Tensor | None, grad_outputs: Grads) -> None:
        if jit_tracer() is not None:
            return
        with DisableTorchFunction():
            task = graph_task_id()
            received = self._received(number, grad_outputs, task)
            before = None
            if leaf is not None:
                self.passes.of_task(task)  # while it runs: `fail_pass` may need it afterwards
                before = _snapshot_or_none(leaf.grad)
            self._before[number] = _Begun(task, leaf, received, before)

    def _has_run(
        self, number: int, leaf: torch.Tensor | None, grad_inputs: Grads, grad_outputs: Grads
    ) -> None:
        """A node has run: enter what arrived, what it passed on, and what that did to a leaf's `.grad`."""
        if jit_tracer() is not None:
            return
        with DisableTorchFunction():
            task = graph_task_id()
            here = self.passes.of_task(task)
            if torch.is_grad_enabled():  # in a pass: `create_graph=True`
                self._enter_created(number, leaf, grad_inputs, grad_outputs, here.number)
            known: dict[int, Value | None] = {}  # by id of a gradient: what is in it
            is_custom = False
            if number in self._before:
                _, _, received, before = self._before.pop(number)
                is_custom = leaf is None
            else:
                received = self._received(number, grad_outputs, task)
                before = None if leaf is None else self._ledger.leaf_grads.held(leaf)
                if leaf is None:
                    known = dict(zip(map(id, grad_outputs), received, strict=True))
            passed = self._pass_on(number, grad_inputs, known, task)
            after = None
            if leaf is not None:
                grad = leaf.grad
                after = _accumulated(grad, grad_outputs, received, before)
                self._ledger.leaf_grads.hold(leaf, grad, after)
            step = self._enter_step(number, task, received, passed, before, after)
            if is_custom:
                self._note_tensors(step, number, grad_inputs, grad_outputs)

    def _note_tensors(
        self, step: StepDraft, number: int, grad_inputs: Grads, grad_outputs: Grads
    ) -> None:
        """Say which tensors of the run a custom backward has received and returned."""
        latest, edge_at = self._ledger.versions.latest, self._ledger.nodes.graph.edge_at
        arrived = [latest(grad) for grad in grad_outputs if grad is not None]
        step.arrived = tuple([each for each in arrived if each is not None])
        returned = [
            latest(grad)
            for slot, grad in enumerate(grad_inputs)
            if grad is not None and (number, slot) in edge_at
        ]
        known = [each for each in returned if each is not None]
        step.returned = tuple(known) if len(known) == len(returned) else ()

    def _enter_step(
        self,
        number: int,
        task: int,
        received: Received,
        passed: tuple[tuple[int, Value], ...] = (),
        before: Value | None = None,
        after: Value | None = None,
    ) -> StepDraft:
        """Enter the step in which a node has run."""
        here = self.passes.of_task(task)
        step = StepDraft(
            index=len(self._ledger.steps),
            phase="backward",
            node=number,
            stack=here.stack,
            received=received,
            passed=passed,
            before=before,
            after=after,
            pass_nr=here.number,
            freed=here.freed,
            given=tuple(self._given.pop(number, ())),
        )
        self._ledger.ran(step, number, order=len(here.ran))
        here.ran.append(number)
        return step

    def _received(self, number: int, grads: Grads, task: int) -> Received:
        """What arrived at a node: what was seen to leave for it, where it is still that, else read anew.

        A sum of several gradients, or what a hook has put in their place, is another tensor.
        """
        received: list[Value | None] = []
        for output_nr, grad in enumerate(grads):
            sent = self._travelling.pop((task, number, output_nr), None)
            if grad is None:
                received.append(None)
            elif sent and sent.tensor() is grad and sent.version == version_of(grad):
                received.append(sent.value)
            else:
                received.append(snapshot(grad))
        return tuple(received)

    def _pass_on(
        self, number: int, grads: Grads, known: dict[int, Value | None], task: int
    ) -> tuple[tuple[int, Value], ...]:
        """The gradients that a node sends along its edges, as pairs of edge and value; `known` is read already."""
        graph, passed = self._ledger.nodes.graph, []
        for slot, grad in enumerate(grads):
            edge = graph.edge_at.get((number, slot))
            if grad is not None and edge is not None:
                value = known.get(id(grad))  # an addition passes on what has arrived, twice
                if value is None:
                    value = known[id(grad)] = snapshot(grad)
                passed.append((edge, value))
                _, target, input_nr, _ = graph.edges[edge]
                key = (task, target, input_nr)
                met = key in self._travelling  # the sum of both is another tensor
                self._travelling[key] = None if met else _Sent(ref(grad), version_of(grad), value)
        return tuple(passed)

    def _enter_created(
        self,
        number: int,
        leaf: torch.Tensor | None,
        grad_inputs: Grads,
        grad_outputs: Grads,
        pass_number: int,
    ) -> None:
        """A node has run in a pass with `create_graph`: the gradients that it has computed have nodes themselves."""
        created = grad_inputs if leaf is None else (leaf.grad,)
        generations = self.generations
        generations.enter_functions(created, pass_number, number)
        step = len(self._ledger.steps)
        # what arrived has new nodes only where gradients met
        generations.enter_nodes(grad_outputs, pass_number, None, step)
        generations.enter_nodes(created, pass_number, number, step)
        self.register()


def _accumulated(
    grad: torch.Tensor | None, arrived: Grads, received: Received, before: Value | None
) -> Value | None:
    """A leaf's `.grad` after its node: most often the very memory that arrived, untouched."""
    if grad is None or before is not None or not arrived or arrived[0] is None:
        return _snapshot_or_none(grad)
    return received[0] if _is_same_memory(grad, arrived[0]) else snapshot(grad)


def _is_same_memory(grad: torch.Tensor, arrived: torch.Tensor) -> bool:
    """Whether two tensors of one shape are the same memory, into which nothing has been written yet."""
    try:
        in_order = grad.is_contiguous() and arrived.is_contiguous() and grad.dtype == arrived.dtype
        return in_order and version_counter(grad) == 0 and _place(grad) == _place(arrived)
    except (RuntimeError, NotImplementedError):  # sparse and wrapped tensors
        return False


def _place(tensor: torch.Tensor) -> tuple[int, int]:
    """Where a tensor's memory begins; fake tensors warn when they are asked for an address."""
    return address_of(tensor.untyped_storage()), int(tensor.storage_offset())


def _snapshot_or_none(tensor: torch.Tensor | None) -> Value | None:
    return None if tensor is None else snapshot(tensor)
