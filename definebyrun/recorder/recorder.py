"""A run goes in, a `Trace` comes out: forward operations, backward nodes and gradients, in execution order.

Forward operations are seen by a `TorchFunctionMode`, modules and optimizers by their global hooks, backward nodes
by hooks on the nodes themselves. Nothing is cloned, re-run or replaced: the user's own graph is what is read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

from ..trace import Trace
from ._torch import (
    DisableTorchFunction,
    frame_evaluation_callback,
    function_modes,
    graph_task_id,
    is_operator,
    jit_tracer,
    remove_function_mode,
    without_jit_trace,
)
from .call_site import CallSites, without_own_frames
from .operations import TorchCall
from .session import Session
from .silent_writes import hands_out_memory
from .stops import error_text
from .torch_calls import is_passed_through

__all__ = ["Recorder"]


class Recorder(TorchFunctionMode):
    """Records what runs while it is entered; `trace()` gives the result once it is left.

    Everything that a recording holds hangs from its session, which no frame of a call refers to: neither a tape nor
    the traceback of an error keeps the run's memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self._result: Trace | None = None
        self._session: Session | None = None
        self._call_sites = CallSites()

    def __enter__(self) -> Recorder:
        if frame_evaluation_callback() is not None:
            raise RuntimeError(
                "record sees eager PyTorch: use it around a compiled function, not inside one"
            )
        for mode in function_modes():
            if isinstance(mode, Recorder) and mode.done:  # it ended inside a call of its own
                remove_function_mode(mode)
        with without_jit_trace():
            self._session = Session(self)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's are without types
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        remove_function_mode(self)
        session, self._session = self._session, None
        assert session is not None
        session.stop()
        session.stops.end(error)
        try:
            with without_jit_trace():
                session.read_variables()
        finally:
            self._result = session.freeze(None if error is None else error_text(error))
            self._call_sites = CallSites()
        if error is None:
            session.warn_if_deep(stacklevel=4)

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
        """Draft what is known of a call, call it, finish the draft with what it has returned."""
        kwargs = kwargs or {}
        caller = sys._getframe(1)
        call_there = self._call_sites.of(caller)
        if is_passed_through(func):
            call = None
            if hands_out_memory(func):
                self._hand_out(args)
        else:
            call = self._draft(func, args, kwargs, caller)
        try:
            output = call_there(func, args, kwargs)
        except BaseException as error:
            if call is not None:
                self._leave(call, error)
            elif is_passed_through(func):
                self._note_unread(func, args, kwargs, error)
            error.__traceback__ = without_own_frames(error.__traceback__)
            raise
        if call is not None:
            self._finish(call, output, caller)
        return output

    def _draft(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        caller: FrameType,
    ) -> TorchCall | None:
        session = self._session
        if session is None or jit_tracer() is not None:
            return None
        if (graph_task_id() >= 0 or is_operator(func)) and session.is_dispatching(caller):
            return None
        steps = session.optimizer_steps
        if steps.running is not None and steps.hides_call():
            steps.note_write(func, args, kwargs)
            return None
        return session.operations.draft(func, args, kwargs, caller)

    def _hand_out(self, args: tuple[Any, ...]) -> None:
        if self._session is not None and args and jit_tracer() is None:
            self._session.operations.hand_out(args[0])

    def _leave(self, call: TorchCall, error: BaseException) -> None:
        if self._session is not None:
            with DisableTorchFunction():
                self._session.stops.note_call(call, error)
            self._session.operations.leave(call)

    def _note_unread(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        error: BaseException,
    ) -> None:
        if self._session is not None and jit_tracer() is None:
            with DisableTorchFunction():
                self._session.stops.note_unread(func, args, kwargs, error)

    def _finish(self, call: TorchCall, output: Any, caller: FrameType) -> None:
        if self._session is not None:
            self._session.operations.finish(call, output, caller)
