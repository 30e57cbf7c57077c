"""A backward pass runs code too: hooks, custom `Function`s, the recomputation of a checkpoint. Here it is made visible.

PyTorch switches a function mode off while one of its own calls is running, `loss.backward()` among them. For the
length of the pass the mode is put back, in the thread that records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

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


class Engine:
    """Stands before PyTorch's autograd engine while it is `on`, and lets a mode see what runs inside a pass.

    `begin` is told of every pass, before it.
    """

    def __init__(self, mode: TorchFunctionMode, begin: Callable[[], None]) -> None:
        self._mode: TorchFunctionMode | None = mode
        self._begin, self._thread = begin, get_ident()
        self._before: Callable[..., Any] | None = None
        self.is_away = False  # whether what runs is kept out of the mode's sight
        # whether the pass that is running is recorded itself: `create_graph=True`
        self.creates = False

    def on(self) -> None:
        """Begin."""
        self._before = engine_run_backward()
        replace_engine_run_backward(self._run)

    def off(self) -> None:
        """Put the engine back as it was, and let go of what this one led to: somebody may have kept it.

        So do the tables of `torch.overrides`, which hold the `torch.compile` that they find when they are made.
        """
        replace_engine_run_backward(self._before)
        self._mode, self._begin = None, _nothing

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        assert self._before is not None
        self._begin()
        mode = self._mode
        seen = mode is None or self.is_away or mode in function_modes()
        if seen or get_ident() != self._thread:
            return self._before(*args, **kwargs)
        outer, self.creates = self.creates, len(args) > 3 and bool(args[3])
        push_function_mode(mode)
        try:
            return self._before(*args, **kwargs)
        finally:
            pop_function_mode()
            self.creates = outer

    @contextmanager
    def away(self) -> Iterator[None]:
        """A region in which the mode does not see what runs, in a pass or before it; modes above it stay on."""
        above = []
        on = self._mode in function_modes()
        while on and (top := pop_function_mode()) is not self._mode:
            above.append(top)
        for other in reversed(above):
            push_function_mode(other)
        outer, self.is_away = self.is_away, True
        try:
            yield
        finally:
            self.is_away = outer
            for _ in above:
                pop_function_mode()
            for each in (self._mode, *reversed(above)) if on else ():
                push_function_mode(each)


def _nothing() -> None:
    """Nobody asks any more."""


def running_node() -> Any:
    """The node whose backward is running in this thread, or None."""
    return autograd_node_now() if graph_task_id() >= 0 else None


def running_phase() -> str:
    """`recompute` when a checkpoint is being computed again, else `backward`: a hook or a custom backward."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.endswith(
            ("torch/utils/checkpoint.py", "torch\\utils\\checkpoint.py")
        ):
            return "recompute"
        frame = frame.f_back
    return "backward"
