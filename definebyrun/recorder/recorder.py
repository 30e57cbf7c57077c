"""A run goes in, a `Trace` comes out: forward operations, backward nodes and gradients, in execution order.

Forward operations are seen by a `TorchFunctionMode`, modules and optimizers by their global hooks, backward nodes
by hooks on the nodes themselves. Nothing is cloned, re-run or replaced: the learner's own graph is what is read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from threading import get_ident
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode

from ..trace.model import ModuleCall, Op, Trace
from ._torch import DisableTorchFunction, frame_evaluation_callback
from .call_site import CallSites
from .custom_functions import CustomFunctions
from .drafts import Stack, draft_op
from .engine import Engine, running_node, running_phase
from .node_hooks import NodeHooks
from .optimizer_step import OptimizerStep
from .patches import uncompiled, unnoticed
from .source import Sources
from .torch_calls import (
    arguments_of,
    function_name,
    is_getter,
    is_passed_through,
    is_setter,
    tensors_in,
    version_of,
    written_in_inference_mode,
)
from .user_frames import user_frames

__all__ = ["Recorder"]

AS_EVER = (
    *("create_graph=False", "retain_graph=False", "only_inputs=True", "allow_unused=False"),
    *("is_grads_batched=False", "materialize_grads=False"),
)
"""What `grad` is told when nobody says otherwise: not worth showing."""


class _Open(NamedTuple):
    """A module call that is going on: its number, PyTorch's frame that runs it, the places in the code around it."""

    number: int
    frame: FrameType
    places: Stack


class Recorder(TorchFunctionMode):
    """Records what runs while it is entered; `trace()` gives the result once it is left."""

    def __init__(self) -> None:
        super().__init__()
        self._result: Trace | None = None
        self._calls: list[_Open] = []  # the module calls that are going on, outermost first
        self._call: Stack = ()
        self._optimizing: OptimizerStep | None = None
        self._callers = CallSites()

    def __enter__(self) -> Recorder:
        if frame_evaluation_callback() is not None:
            raise RuntimeError(
                "record sees eager PyTorch: use it around a compiled function, not inside one"
            )
        self._watcher = NodeHooks(lambda: self._call)
        self._engine = Engine(self, self._watcher.begin)
        self._around = ExitStack()
        self._around.enter_context(uncompiled(self._engine))
        self._around.enter_context(unnoticed(self))
        frames, _ = user_frames()
        self._frame: FrameType | None = frames[0] if frames else None
        self._sources = Sources(self._frame)
        self._stacks: dict[Stack, Stack] = {}
        self._ledger = self._watcher.ledger
        self._ledger.names.look(frames[:1])
        self._functions = CustomFunctions(self._ledger, self._places_from)
        self._thread = get_ident()
        self._engine.on()
        self._handles = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
            register_optimizer_step_pre_hook(self._before_optimizer),
            register_optimizer_step_post_hook(self._after_optimizer),
        ]
        super().__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        super().__exit__(kind, error, trace)
        self._engine.off()
        self._around.close()
        for handle in self._handles:
            handle.remove()
        self._watcher.release()
        stopped_by = None if error is None else f"{type(error).__name__}: {error}"
        try:
            with DisableTorchFunction():
                self._look()
                if self._frame is not None:
                    self._ledger.find_results(list(self._frame.f_locals.values()))
                    self._ledger.names.look([self._frame], globals_too=True)
        finally:
            self._result = self._ledger.freeze(self._sources, stopped_by)
            # a tape keeps nobody's memory
            self._calls.clear()
            del self._watcher, self._ledger, self._functions, self._frame, self._sources
            del self._handles, self._callers, self._optimizing, self._engine, self._around
            del self._stacks

    @property
    def done(self) -> bool:
        """Whether the recording has ended."""
        return self._result is not None

    def trace(self) -> Trace:
        """The finished recording; `RuntimeError` while it is still going on."""
        if self._result is None:
            raise RuntimeError(
                "the recording is still going on: use the tape after its `with` block has ended"
            )
        return self._result

    # ---- one torch call after the other ----

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        caller = sys._getframe(1)
        call_there = self._callers.of(caller)
        if is_passed_through(func) or (self._optimizing and self._optimizing.at_work()):
            return call_there(func, args, kwargs)
        if self._optimizing and self._optimizing.gone:  # its step has raised
            self._after_optimizer(self._optimizing.optimizer, None, None)
        if is_setter(func):
            return self._set(func, args, kwargs)
        with DisableTorchFunction():
            stack = self._look(caller)
            if is_getter(func) and function_name(func) == "grad":
                return self._read_grad(args[0], call_there(func, args, kwargs))
            given: list[torch.Tensor] = []
            versions, inputs, written = [], [], []
            for thing in arguments_of(args, kwargs):
                if type(thing) is str:
                    written.append(thing)
                else:
                    number = self._ledger.tensor(thing)
                    given.append(thing)
                    inputs.append(number)
                    written.append(number)
                    versions.append(version_of(thing))
            op = draft_op(function_name(func), tuple(inputs), stack, tuple(written))
            inference = torch.is_inference_mode_enabled()
            op.grad_enabled = torch.is_grad_enabled() and not inference
            node = running_node()
            if node is not None:
                op.within, op.during = self._ledger.graph.index.get(node), running_phase()
                if self._engine.creates and op.during == "backward":
                    op.run = self._watcher.run_now()
        outer, self._call = self._call, stack
        is_grad = func is torch.autograd.grad
        if is_grad:
            op.args = tuple([arg for arg in op.args if arg not in AS_EVER])
            made, self._ledger.unclaimed = self._ledger.unclaimed, []
            before = self._watcher.runs
        try:
            output = call_there(func, args, kwargs)
        finally:
            self._call = outer
        with DisableTorchFunction():
            changed = [t for t, v in zip(given, versions, strict=True) if version_of(t) != v]
            if inference:
                changed += written_in_inference_mode(func, given, args, kwargs, output)
            if is_grad:
                ran = before if kwargs.get("create_graph") and self._watcher.runs > before else None
                self._record_grad(op, given, output, made, ran)
            else:
                self._record(op, changed, output, not given)
        return output

    def _record_grad(
        self, op: Op, given: list[torch.Tensor], output: Any, made: list[int], run: int | None
    ) -> None:
        """Enter a call of `grad`, with the nodes that its pass has made; `made` are those of a pass around it.

        `run` is the number of its pass, if that was recorded itself.
        """
        ledger = self._ledger
        if run is not None:  # what a custom backward has computed last may be the result
            for tensor in tensors_in(output):
                if not any(tensor is other for other in given):
                    ledger.unsee(tensor)
        number, first = len(ledger.ops), len(ledger.nodes)
        self._record(op, [], output)
        if run is not None:
            ledger.claim(number, first, run)
        ledger.unclaimed = made

    def _record(
        self, op: Op, changed: list[torch.Tensor], output: Any, from_nothing: bool = False
    ) -> None:
        """Enter an operation if it made or changed any tensor."""
        op.call = self._innermost()
        results = [tensor for tensor in tensors_in(output) if self._ledger.is_new(tensor)]
        if changed or len(results) > 1:
            results = list({id(tensor): tensor for tensor in [*results, *changed]}.values())
        if not results:
            return
        op.inplace, op.factory = bool(changed), from_nothing
        for tensor in changed:
            self._ledger.changed(tensor)
        self._ledger.add(op, results)

    def _read_grad(self, leaf: torch.Tensor, grad: torch.Tensor | None) -> torch.Tensor | None:
        """`w.grad` computes nothing: it names the tensor that autograd has put there."""
        owner = self._ledger.names.of(leaf)
        if grad is not None:
            self._ledger.read_grad(grad)
            if owner is not None:
                self._ledger.names.give(grad, f"{owner}.grad")
        return grad

    def _set(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`w.grad = None` and `w.data = x` change a tensor without any operation."""
        output = func(*args, **kwargs)
        with DisableTorchFunction():
            if function_name(func) == "grad":
                self._ledger.note_grad(args[0])
            elif function_name(func) == "data":
                self._ledger.replaced(args[0])
        return output

    def _look(self, start: FrameType | None = None) -> Stack:
        """Read the learner's frames for names; give the places in the code where they are.

        What lies around a module call stands still until that has ended: it was read when the call began.
        """
        while self._calls:
            _, running, around = self._calls[-1]
            frames, met = user_frames(running, start)
            if met:
                break
            self._calls.pop()  # it was left without a word: by `KeyboardInterrupt`, say
        else:
            frames, met = user_frames(self._frame, start)
            around = ()
        if not frames:
            return around
        self._ledger.names.look(frames)
        return self._places(frames, around)

    def _places(self, frames: list[FrameType], around: Stack = ()) -> Stack:
        stack = (*[self._sources.place(frame) for frame in frames], *around)
        return self._stacks.setdefault(stack, stack)  # a loop comes from the same place every time

    def _places_from(self, start: FrameType | None) -> Stack:
        return self._places(user_frames(self._frame, start)[0])

    # ---- modules and optimizers ----

    def _innermost(self) -> int | None:
        return self._functions.innermost(self._calls[-1].number if self._calls else None)

    def _enter_module(self, module: torch.nn.Module, args: Any) -> None:
        if get_ident() != self._thread or self._engine.is_away:
            return
        names = self._ledger.names
        with DisableTorchFunction():
            running = sys._getframe(1)
            places = self._look(running.f_back)
            if names.of(module) is None:
                names.give_module(module, type(module).__name__)
            calls, outer = self._ledger.calls, self._innermost()
        self._calls.append(_Open(len(calls), running, places))
        calls.append(ModuleCall(len(calls), names.of(module) or "", type(module).__name__, outer))

    def _leave_module(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        # no calls are open when the recording began inside this module
        if self._calls and get_ident() == self._thread and not self._engine.is_away:
            self._calls.pop()

    def _before_optimizer(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if get_ident() != self._thread:
            return
        with DisableTorchFunction():
            stack = self._look()
            given = [p for group in optimizer.param_groups for p in group["params"]]
            inputs = tuple(self._ledger.tensor(p) for p in given)
            op = draft_op(f"{type(optimizer).__name__}.step", inputs, stack)
            op.grad_enabled = False
            self._optimizing = OptimizerStep(optimizer, op, given, sys._getframe(1))

    def _after_optimizer(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if get_ident() != self._thread:
            return
        running, self._optimizing = self._optimizing, None
        if running is not None and running.optimizer is optimizer:
            with DisableTorchFunction():
                self._record(running.op, running.changed(), None)
