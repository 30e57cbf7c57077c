"""A backward pass runs code too: hooks, custom `Function`s, the recomputation of a checkpoint. Here it is made visible.

PyTorch switches a function mode off while one of its own calls is running, `loss.backward()` among them. For the
length of the pass the mode is put back, in the thread that records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import get_ident
from types import FrameType
from typing import Any

import torch
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode_stack,
    _pop_mode,
    _push_mode,
)

__all__ = ["Engine", "running_node", "uncompiled", "what_runs"]


class Engine:
    """Stands before PyTorch's autograd engine while it is `on`, and lets a mode see what runs inside a pass."""

    def __init__(self, mode: TorchFunctionMode) -> None:
        self._mode, self._thread = mode, get_ident()
        self._before: Callable[..., Any] | None = None
        self.creates = (
            False  # whether the pass that is running is recorded itself: `create_graph=True`
        )

    def on(self) -> None:
        """Begin."""
        self._before = torch.autograd._engine_run_backward
        torch.autograd._engine_run_backward = self._run  # type: ignore[assignment]

    def off(self) -> None:
        """Put the engine back as it was."""
        torch.autograd._engine_run_backward = self._before  # type: ignore[assignment]

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        assert self._before is not None
        if get_ident() != self._thread or self._mode in _get_current_function_mode_stack():
            return self._before(*args, **kwargs)
        outer, self.creates = self.creates, len(args) > 3 and bool(args[3])
        _push_mode(self._mode)
        try:
            return self._before(*args, **kwargs)
        finally:
            _pop_mode()
            self.creates = outer


def uncompiled() -> AbstractContextManager[object]:
    """A region in which functions of `torch.compile` run as plain Python: a compiler would trace the recorder itself.

    Nothing to do, and nothing imported, when no compiler has been loaded.
    """
    return (
        torch.compiler.set_stance("force_eager")
        if "torch._dynamo" in sys.modules
        else nullcontext()
    )


def running_node() -> Any:
    """The node whose backward is running in this thread, or None."""
    return torch._C._current_autograd_node() if torch._C._current_graph_task_id() >= 0 else None


def what_runs() -> str:
    """`recompute` when a checkpoint is being computed again, else `backward`: a hook or a custom backward."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.endswith(
            ("torch/utils/checkpoint.py", "torch\\utils\\checkpoint.py")
        ):
            return "recompute"
        frame = frame.f_back
    return "backward"
