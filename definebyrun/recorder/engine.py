"""A backward pass runs code too: hooks, custom `Function`s, the recomputation of a checkpoint. Here it is made visible.

PyTorch takes a function mode off the stack while one of the mode's calls is running, `loss.backward()` among them. For
the length of the pass the mode is put back, in the thread that records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

from ..trace.records import During
from ._torch import (
    autograd_node_now,
    engine_run_backward,
    function_modes,
    graph_task_id,
    pop_function_mode,
    push_function_mode,
    replace_engine_run_backward,
)

__all__ = ["Engine", "running_node", "running_phase"]

CHECKPOINT_FILES = ("torch/utils/checkpoint.py", "torch\\utils\\checkpoint.py")


class Engine:
    """Stands before PyTorch's autograd engine while it is `on`, and lets a mode see what runs inside a pass."""

    def __init__(self, mode: TorchFunctionMode) -> None:
        self._mode: TorchFunctionMode | None = mode
        self._begin_pass: Callable[[], None] = _nothing
        self._run_backward: Callable[..., Any] = engine_run_backward()  # what stood there before
        self._thread = get_ident()
        self.is_hidden = False
        """Whether what runs is kept out of the mode's sight."""
        self.creates_graph = False
        """Whether the pass that is running was asked for `create_graph`."""

    def on(self, begin_pass: Callable[[], None]) -> None:
        """Stand before the engine; `begin_pass` is called before each pass."""
        self._begin_pass, self._run_backward = begin_pass, engine_run_backward()
        replace_engine_run_backward(self._run)

    def off(self) -> None:
        """Put the engine back as it was, and let go of what this one leads to: somebody may have kept it.

        The tables of `torch.overrides` do, by way of the `torch.compile` that they find when they are made.
        """
        replace_engine_run_backward(self._run_backward)
        self._mode, self._begin_pass = None, _nothing

    def is_elsewhere(self) -> bool:
        """Whether this code is none of the recording's: another thread runs it, or PyTorch captures it for itself."""
        return self.is_hidden or get_ident() != self._thread

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """Run a pass, as `torch.autograd` calls it: `create_graph` is its fourth argument."""
        self._begin_pass()
        mode = self._mode
        if mode is None or self.is_elsewhere() or mode in function_modes():
            return self._run_backward(*args, **kwargs)
        outer, self.creates_graph = self.creates_graph, len(args) > 3 and bool(args[3])
        push_function_mode(mode)
        try:
            return self._run_backward(*args, **kwargs)
        finally:
            pop_function_mode()
            self.creates_graph = outer

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """A region in which the mode does not see what runs, in a pass or before it; modes above it stay on."""
        above: list[TorchFunctionMode] = []
        mode = self._mode
        on = mode if mode is not None and mode in function_modes() else None
        while on is not None and (top := pop_function_mode()) is not on:
            above.append(top)
        for each in reversed(above):
            push_function_mode(each)
        outer, self.is_hidden = self.is_hidden, True
        try:
            yield
        finally:
            self.is_hidden = outer
            for _ in above:
                pop_function_mode()
            if on is not None:
                push_function_mode(on)
            for each in reversed(above):
                push_function_mode(each)


def _nothing() -> None:
    """Nobody waits for a pass."""


def running_node() -> Any:
    """The node whose backward is running in this thread, or None."""
    return autograd_node_now() if graph_task_id() >= 0 else None


def running_phase() -> During:
    """`recompute` when a checkpoint is being computed again, else `backward`: a hook or a custom backward."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.endswith(CHECKPOINT_FILES):
            return "recompute"
        frame = frame.f_back
    return "backward"
