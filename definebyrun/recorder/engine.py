"""A backward pass runs code too: hooks, custom `Function`s, the recomputation of a checkpoint. Here it is made visible.

PyTorch takes a function mode off the stack while one of the mode's calls is running, `loss.backward()` among them. For
the length of the pass the mode is put back, in the thread that records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import RLock, get_ident
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

from ..trace.records import During
from ._torch import (
    autograd_node_now,
    engine_run_backward,
    function_modes,
    graph_task_id,
    jit_tracer,
    pop_function_mode,
    push_function_mode,
    remove_function_mode,
    replace_engine_run_backward,
)
from .call_site import without_own_frames

__all__ = ["Engine", "running_node", "running_phase"]

BeginPass = Callable[[tuple[Any, ...], bool], int]
FailPass = Callable[[int, BaseException, tuple[Any, ...]], None]
CHECKPOINT_FILES = ("torch/utils/checkpoint.py", "torch\\utils\\checkpoint.py")


class Engine:
    """Stands before PyTorch's autograd engine while it is `on`, and lets a mode see what runs inside a pass."""

    def __init__(self, mode: TorchFunctionMode) -> None:
        self._mode: TorchFunctionMode | None = mode
        self._begin_pass: BeginPass = _nothing
        self._fail_pass: FailPass = _nothing_either
        self._thread = get_ident()
        self.is_hidden = False
        """Whether what runs is kept out of the mode's sight."""
        self.creates_graph = False
        """Whether the pass that is running was asked for `create_graph`."""

    def on(self, begin_pass: BeginPass, fail_pass: FailPass) -> None:
        """Stand before the engine; `begin_pass` is called before each pass, `fail_pass` after one that has raised.

        The former is given the positional arguments of the engine and whether leaves are filled; the latter what the
        former has returned, the exception, and these arguments.
        """
        self._begin_pass, self._fail_pass = begin_pass, fail_pass
        _Standing.add(self)

    def off(self) -> None:
        """Stand aside, and let go of what this one leads to: somebody may have kept it.

        The tables of `torch.overrides` do, by way of the `torch.compile` that they find when they are made.
        """
        _Standing.remove(self)
        self._mode, self._begin_pass, self._fail_pass = None, _nothing, _nothing_either

    def is_elsewhere(self) -> bool:
        """Whether this code is none of the recording's: another thread runs it, or PyTorch captures it for itself."""
        return self.is_hidden or jit_tracer() is not None or get_ident() != self._thread

    @property
    def is_on(self) -> bool:
        """Whether the mode sees what runs now: not inside a call that it has seen."""
        return self._mode is not None and self._mode in function_modes()

    @property
    def is_of_this_thread(self) -> bool:
        """Whether the recording began in the thread that asks."""
        return get_ident() == self._thread

    def run(self, run_backward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a pass by `run_backward`, as `torch.autograd` calls it: `create_graph` is the fourth argument of that."""
        number = self._begin_pass(args, bool(kwargs.get("accumulate_grad")))
        mode = self._mode
        if mode is None or self.is_elsewhere():
            return run_backward(*args, **kwargs)
        is_off = mode not in function_modes()
        outer = self.creates_graph
        if is_off:
            self.creates_graph = len(args) > 3 and bool(args[3])
            push_function_mode(mode)
        try:
            return run_backward(*args, **kwargs)
        except BaseException as error:
            self._fail_pass(number, error, args)
            error.__traceback__ = without_own_frames(error.__traceback__)
            raise
        finally:
            self.creates_graph = outer
            if is_off:
                remove_function_mode(mode)

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


class _Standing:
    """The engines of all recordings that are going on, in all threads, and what stood in their place before the first.

    Recordings that overlap may end in any order: only the last to end puts back what was there.
    """

    lock = RLock()  # a collection may end another recording meanwhile
    engines: tuple[Engine, ...] = ()
    is_kept = False
    """Whether another program stands before the engine with a function that leads here, and so it stays."""
    run_backward: Callable[..., Any] = staticmethod(engine_run_backward())

    @classmethod
    def add(cls, engine: Engine) -> None:
        with cls.lock:
            if not cls.engines and not cls.is_kept:
                cls.run_backward = staticmethod(engine_run_backward())
                replace_engine_run_backward(_run_past_engines)
            cls.engines = (*cls.engines, engine)

    @classmethod
    def remove(cls, engine: Engine) -> None:
        with cls.lock:
            cls.engines = tuple([each for each in cls.engines if each is not engine])
            if not cls.engines:
                cls.is_kept = engine_run_backward() is not _run_past_engines
                if not cls.is_kept:
                    replace_engine_run_backward(cls.run_backward)


def _run_past_engines(*args: Any, **kwargs: Any) -> Any:
    """Run a pass in the place of `torch.autograd`'s function: the engine of the newest recording begins."""
    run_backward = _Standing.run_backward
    for engine in _Standing.engines:
        run_backward = partial(engine.run, run_backward)
    try:
        return run_backward(*args, **kwargs)
    except BaseException as error:
        error.__traceback__ = without_own_frames(error.__traceback__)
        raise


def _nothing(args: tuple[Any, ...], fills_leaves: bool) -> int:
    """Nobody waits for a pass."""
    return 0


def _nothing_either(number: int, error: BaseException, args: tuple[Any, ...]) -> None:
    """Nobody waits for one that fails."""


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
