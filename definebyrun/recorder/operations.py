"""A torch call goes in before it runs, and again with its output; the operation that it was goes into the ledger.

Reading or setting an attribute is no operation, but `w.grad`, `w.grad = …` and `w.data = …` tell something of a leaf.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NamedTuple

import torch

from ._torch import DisableTorchFunction
from .call_stack import CallStack
from .custom_functions import CustomFunctions
from .drafts import OpDraft, Stack
from .engine import Engine, running_node, running_phase
from .ledger import Ledger
from .library_calls import LibraryCalls
from .node_hooks import NodeHooks
from .silent_writes import may_write_silently, silently_written
from .torch_calls import (
    arguments_of,
    changed_since,
    function_name,
    indexed,
    is_getter,
    is_setter,
    tensors_in,
    versions_of,
    written_in_inference_mode,
)

__all__ = ["Operations", "TorchCall"]

DEFAULT_GRAD_ARGS = (
    *("create_graph=False", "retain_graph=False", "only_inputs=True", "allow_unused=False"),
    *("is_grads_batched=False", "materialize_grads=False"),
)
"""What `torch.autograd.grad` is given when nobody says otherwise: not worth showing."""

SET_DATA = "set_data"
"""`w.data = x` under the name of PyTorch's operator; `data` is the reading of the attribute."""
INDEXING = ("getitem", "setitem")
"""Operations whose second argument is an index."""


class _GradCall(NamedTuple):
    """What must be known from before a call of `grad`: the nodes of a pass around it, how many passes there were."""

    without_op: list[int]
    passes: int


@dataclass(slots=True)
class TorchCall:
    """A torch call that is running, and what must be known of it from before it ran.

    It leads to nothing else of the recording: the traceback of an error may keep it.
    """

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outer: Stack  # the locations of the torch call around it
    op: OpDraft | None = None  # None for an attribute, which is no operation
    given: list[torch.Tensor] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)  # of the given ones, by PyTorch's counter
    inference: bool = False
    grad: _GradCall | None = None


class Operations:
    """Drafts an operation for each torch call, and enters it when the call has made or changed any tensor."""

    def __init__(self, ledger: Ledger, stack: CallStack, engine: Engine, hooks: NodeHooks) -> None:
        self._ledger, self._stack, self._engine, self._hooks = ledger, stack, engine, hooks
        self.functions = CustomFunctions(ledger, stack)
        self._library = LibraryCalls(ledger)

    # ---- before the call ----

    def draft(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        caller: FrameType,
    ) -> TorchCall:
        """What is known of a call before it runs; `finish` takes it again, or `leave` when it raises."""
        call = TorchCall(func, args, kwargs, self._stack.running)
        if is_setter(func) and function_name(func) != "data":
            return call
        with DisableTorchFunction():
            stack = self._stack.read(caller)
            if is_getter(func) and function_name(func) == "grad":
                return call
            if self._ledger.leaf_grads.exposed:
                self._ledger.note_exposed_grads()
            self._draft_op(call, stack)
            if func is torch.autograd.grad:
                call.grad = _GradCall(self._hooks.generations.begin_grad(), len(self._hooks.passes))
            if self._ledger.nodes.found:
                self._hooks.register()
        self._stack.running = stack
        return call

    def _draft_op(self, call: TorchCall, stack: Stack) -> None:
        inputs: list[int] = []
        written: list[int | str] = []
        name = SET_DATA if is_setter(call.func) else function_name(call.func)
        keywords: list[tuple[torch.Tensor, str]] = []
        is_index = name in INDEXING and len(call.args) > 1
        for argument in (
            indexed(call.args) if is_index else arguments_of(call.args, call.kwargs, keywords)
        ):
            if isinstance(argument, str):
                written.append(argument)
            else:
                number = self._ledger.tensor(argument)
                call.given.append(argument)
                inputs.append(number)
                written.append(number)
        op = OpDraft(
            -1,
            name,
            line=None,
            code="",
            scope="",
            inputs=tuple(inputs),
            outputs=(),
            stack=stack,
            args=tuple(written),
        )
        if keywords:
            op.named = tuple([(self._ledger.tensor(tensor), word) for tensor, word in keywords])
        call.op, call.versions = op, versions_of(call.given)
        call.inference = torch.is_inference_mode_enabled()
        op.grad_enabled = torch.is_grad_enabled() and not call.inference
        node = running_node()
        if node is not None:
            op.within, op.during = self._ledger.nodes.graph.index.get(node), running_phase()
            if self._engine.creates_graph and op.during == "backward":
                op.pass_nr = self._hooks.passes.now().number

    def leave(self, call: TorchCall) -> None:
        """The call has raised."""
        self._stack.running = call.outer

    # ---- after the call ----

    def finish(self, call: TorchCall, output: Any, caller: FrameType) -> None:
        """The call has returned this: enter the operation, or what reading or setting an attribute tells."""
        op = call.op
        with DisableTorchFunction():
            if op is None:
                self._note_attribute(call, output)
            elif call.grad is not None:
                self._enter_grad(call, op, call.grad, output)
            else:
                changed = changed_since(call.given, call.versions)
                if may_write_silently(call.func):
                    changed += self._silently_changed(call, changed)
                if call.inference:
                    changed += written_in_inference_mode(
                        call.func, call.given, call.args, call.kwargs, output
                    )
                self.enter(op, changed, output, from_nothing=not call.given)
                if op.index >= 0:
                    self._library.note(op, caller, self._stack.module_frame())
            if op is not None:
                self._ledger.names.assigned.note(caller, output)
            if self._ledger.nodes.found:
                self._hooks.register()
        self._stack.running = call.outer

    def enter(
        self, op: OpDraft, changed: list[torch.Tensor], output: Any, from_nothing: bool = False
    ) -> None:
        """Enter an operation if it made or changed any tensor."""
        op.call = self.functions.innermost_call()
        results = [tensor for tensor in tensors_in(output) if self._ledger.versions.is_new(tensor)]
        if changed or len(results) > 1:
            results = list({id(tensor): tensor for tensor in [*results, *changed]}.values())
        if not results:
            return
        op.inplace, op.factory = bool(changed), from_nothing
        if changed and len(results) > 1:
            ids = set(map(id, changed))
            op.beside = sum(id(each) in ids for each in results) % len(results)
        for tensor in changed:
            self._ledger.changed(tensor)
        self._ledger.add(op, results)

    def _enter_grad(self, call: TorchCall, op: OpDraft, before: _GradCall, output: Any) -> None:
        """Enter a call of `grad`; with `create_graph` the nodes that its pass has made are this operation's."""
        op.args = tuple([arg for arg in op.args if arg not in DEFAULT_GRAD_ARGS])
        ledger = self._ledger
        created = call.kwargs.get("create_graph") and len(self._hooks.passes) > before.passes
        if created:  # what a custom backward has computed last may be the result
            for tensor in tensors_in(output):
                if not any(tensor is other for other in call.given):
                    ledger.versions.forget(tensor)
        number, first = len(ledger.ops), len(ledger.nodes.drafts)
        self.enter(op, [], output)
        if created:
            self._hooks.generations.assign_nodes(number, first, before.passes)
        self._hooks.generations.end_grad(before.without_op)

    def _silently_changed(self, call: TorchCall, changed: list[torch.Tensor]) -> list[torch.Tensor]:
        """What a call has written into past the version counters, so that it is not among what they say has changed."""
        ledger = self._ledger
        if is_setter(call.func):  # `w.data = x`; a lazy parameter is not among the given ones
            written = call.given[:1] if call.given and call.given[0] is call.args[0] else []
            ledger.data_replaced(call.args[0])
        else:
            written = silently_written(call.func, call.args, call.kwargs)
        return [
            tensor
            for tensor in written
            if ledger.versions.latest(tensor) is not None
            and not any(tensor is other for other in changed)
            and ledger.versions.may_differ(tensor)
        ]

    def hand_out(self, tensor: Any) -> None:
        """A call gives a tensor's memory to what writes without PyTorch."""
        if isinstance(tensor, torch.Tensor):
            with DisableTorchFunction():
                self._ledger.hand_out(tensor)

    def _note_attribute(self, call: TorchCall, output: Any) -> None:
        """`w.grad` names the tensor that autograd has put there; `w.grad = None` changes a leaf."""
        tensor, name = call.args[0], function_name(call.func)
        if is_setter(call.func):
            if name == "grad":
                self._ledger.note_grad(tensor)
        elif output is not None:
            self._ledger.leaf_grads.note_read(output)
            self._ledger.names.give_grad(tensor, output)
