"""One recording from its beginning to its end: it owns what a recording is made of, and what it changes in torch.

A fact that a diagnosis of runs will want is noted where it is at hand, into an optional field of its record: an
optimizer's identity, groups and rates, and what a scheduler made of them, in `OptimizerSteps.begin`; a module's
training mode in `enter_module`; counts of NaN and of zeros in a tensor too large to be kept in `snapshot`, beside
its range.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import FrameType
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode

from ..trace import Trace
from ._torch import DisableTorchFunction, graph_task_id
from .call_stack import CallStack
from .deep_graphs import warn_if_deep
from .engine import Engine
from .ledger import Ledger
from .node_hooks import NodeHooks
from .operations import Operations
from .optimizer_step import OptimizerSteps
from .patches import keep_native_fast_path, run_compiled_as_eager
from .source import Sources
from .stops import Stops
from .user_frames import user_frames
from .walk import gradient_edge, is_leaf

__all__ = ["Session"]


class Session:
    """A recording that is going on. When the recorder drops it, nothing refers to the run's tensors any more."""

    def __init__(self, mode: TorchFunctionMode) -> None:
        frames, _ = user_frames()
        self._frame = frames[0] if frames else None
        self._sources = Sources(self._frame)
        self._ledger = Ledger()
        self._ledger.names.begin(self._frame)
        self._stack = CallStack(self._frame, self._sources, self._ledger.names)
        self._engine = Engine(mode)
        self._hooks = NodeHooks(self._ledger, self._stack)
        self.operations = Operations(self._ledger, self._stack, self._engine, self._hooks)
        self.stops = Stops(
            self._ledger, self._stack, self._sources, self._hooks, self.operations.functions
        )
        self.optimizer_steps = OptimizerSteps(self._ledger, self._stack, self.operations)
        self._changes = ExitStack()  # what has to be put back in torch
        self._change_torch(mode)

    def _change_torch(self, mode: TorchFunctionMode) -> None:
        with ExitStack() as changes:
            changes.enter_context(run_compiled_as_eager(self._engine))
            changes.enter_context(keep_native_fast_path(mode))
            self._engine.on(self._begin_pass, self._fail_pass)
            changes.callback(self._engine.off)
            for handle in (
                register_module_forward_pre_hook(self.enter_module),
                register_module_forward_hook(self.leave_module, always_call=True),
                register_optimizer_step_pre_hook(self.optimizer_steps.begin),
                register_optimizer_step_post_hook(self.optimizer_steps.end),
            ):
                changes.callback(handle.remove)
            self._changes = changes.pop_all()

    def _begin_pass(self, args: tuple[Any, ...], fills_leaves: bool) -> int:
        """A pass begins: note the gradients that its caller has given; a call of `grad` reads them as an operation."""
        number = self._hooks.begin_pass()
        if fills_leaves and not self._engine.is_elsewhere():
            is_outermost = graph_task_id() < 0
            with DisableTorchFunction():
                self._hooks.begin_with(args[0], args[1], self._engine.is_on and is_outermost)
        return number

    def _fail_pass(self, number: int, error: BaseException, args: tuple[Any, ...]) -> None:
        """A pass has raised: enter what has run of it, and where it stopped."""
        begun = self._hooks.begun()
        self._hooks.fail_pass()
        with DisableTorchFunction():
            self.stops.note_pass(number, begun, error, args)

    def is_dispatching(self, frame: FrameType | None) -> bool:
        """Whether a `__torch_dispatch__` makes the call that this frame makes: no call of the program, but PyTorch's.

        A function mode sees no such call while the call of the program is running; in a backward pass there is none.
        """
        while frame is not None and frame is not self._frame:
            if frame.f_code.co_name == "__torch_dispatch__":
                return True
            frame = frame.f_back
        return False

    # ---- modules ----

    def enter_module(self, module: torch.nn.Module, args: Any) -> None:
        """Before a module's forward: enter the call, and read what lies around it."""
        if self._engine.is_elsewhere():
            return
        with DisableTorchFunction():
            running = sys._getframe(1)
            around = self._stack.read(running.f_back)
            outer = self.operations.functions.innermost_call()
            number = self._ledger.open_call(type(module).__name__, outer)
            self._ledger.names.call(number, module)
        self._stack.enter_module(number, running, around)

    def leave_module(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        """After a module's forward, also when that has raised."""
        if not self._engine.is_elsewhere():
            error, number = sys.exc_info()[1], self._stack.module_call()
            if error is not None and number is not None and _has_just_left(error, sys._getframe(1)):
                with DisableTorchFunction():
                    self.stops.note_module(number, args, error)
            running = self._stack.leave_module()
            if running is not None:
                self._ledger.names.assigned.note(running, output)

    # ---- the end ----

    def stop(self) -> None:
        """Put everything in torch back as it was."""
        self._changes.close()
        self._hooks.release()

    def read_variables(self) -> None:
        """Read the variables as they are at the end: for names, and for results that no call has shown."""
        with DisableTorchFunction():
            self._stack.read()
            self._enter_results(self._ledger.versions.without_known_node())
            if self._frame is not None:
                variables = list(self._frame.f_locals.items())  # the dict itself is emptied later
                self._enter_results([thing for _, thing in variables])
                self._enter_results(self._ledger.names.stored_tensors(variables))
            self._ledger.read_again()
            self._ledger.versions.settle_names()

    def _enter_results(self, variables: Sequence[Any]) -> None:
        """Enter results that no call has shown and nothing has used: of custom `Function`s, of `torch.vmap`."""
        nodes = self._ledger.nodes
        for thing in variables:
            if issubclass(type(thing), torch.Tensor) and not is_leaf(thing):
                edge = gradient_edge(thing)
                if edge and edge[0] not in nodes.graph and not nodes.is_older(edge[0]):
                    self._ledger.tensor(thing)

    def warn_if_deep(self, stacklevel: int) -> None:
        """Warn of a graph that is so deep that PyTorch may not free it."""
        graph = self._ledger.nodes.graph
        warn_if_deep(len(graph.index), graph.edges, stacklevel + 1)

    def freeze(self, error: str | None) -> Trace:
        """All that was recorded, as plain data; `error` is the exception that has ended the recording."""
        self._hooks.generations.number()
        trace = self._ledger.freeze(self._sources, error)
        stops = self.stops.freeze(trace)
        return replace(trace, stops=stops) if stops else trace


def _has_just_left(error: BaseException, frame: FrameType) -> bool:
    """Whether it is this frame that an exception has come to: not one that is handled further out."""
    traceback = error.__traceback__
    return traceback is not None and traceback.tb_frame is frame
