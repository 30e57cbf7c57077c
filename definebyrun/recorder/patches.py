"""What a recording changes in torch while it goes on, so that a run goes the way it would go without one.

`run_compiled_as_eager` keeps a compiler from tracing the recorder itself; `keep_native_fast_path` leaves attention and
transformer layers their native fast path, which PyTorch takes only where no `TorchFunctionMode` is active.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from threading import RLock
from typing import Any, ClassVar

import torch
from torch.overrides import TorchFunctionMode

from ._torch import (
    CAPTURING_CONTEXTS,
    CAPTURING_MODULE,
    compiler_is_loaded,
    function_modes,
    pop_function_mode,
    push_function_mode,
)
from .engine import Engine

__all__ = ["keep_native_fast_path", "run_compiled_as_eager"]

FAST_PATH_MODULES = ("torch.nn.modules.activation", "torch.nn.modules.transformer")
"""Modules with a native fast path that PyTorch disables while any `TorchFunctionMode` is active."""


# ---- compiled functions ----


@contextmanager
def run_compiled_as_eager(engine: Engine) -> Iterator[None]:
    """A region in which functions of `torch.compile` run as plain Python: a compiler would trace the recorder itself.

    What cannot do without a compiler (`torch.cond` captures its branches with one) gets it, out of the mode's sight.
    The compiler itself takes seconds to import: that is left to who first asks for it.
    """
    with _Eager.lock:
        if not _Eager.engines:
            _change_compiler(_Eager.changes)
        _Eager.engines.append(engine)
    try:
        yield
    finally:
        with _Eager.lock:
            _Eager.engines.remove(engine)
            if not _Eager.engines:
                _Eager.changes.close()


class _Eager:
    """The engines of all recordings that are going on, in all threads: the last to end puts the compiler back."""

    lock = RLock()  # a collection may end another recording meanwhile
    engines: ClassVar[list[Engine]] = []
    changes = ExitStack()

    @classmethod
    def here(cls) -> list[Engine]:
        """The engines of the recordings of this thread."""
        return [engine for engine in cls.engines if engine.is_of_this_thread]


def _change_compiler(stack: ExitStack) -> None:
    """Have compiled functions run as plain Python until the stack is closed."""
    for name in filter(partial(hasattr, CAPTURING_MODULE), CAPTURING_CONTEXTS):
        before = getattr(CAPTURING_MODULE, name)
        stack.callback(setattr, CAPTURING_MODULE, name, before)
        setattr(CAPTURING_MODULE, name, partial(_captured_unseen, before))
    if compiler_is_loaded():
        stack.enter_context(torch.compiler.set_stance("force_eager"))
    else:
        stack.callback(setattr, torch, "compile", torch.compile)
        torch.compile = _eager_from_first_use(torch.compile, stack)


def _eager_from_first_use(compile: Callable[..., Any], stack: ExitStack) -> Callable[..., Any]:
    """`torch.compile` where no compiler is loaded yet: the first call loads it, and what it gives runs as plain Python.

    The stance is left with the region around, by `stack`.
    """

    @wraps(compile)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        is_hidden = any(engine.is_hidden for engine in _Eager.here())
        if torch.compile is compiled and not is_hidden:
            torch.compile = compile
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        return compile(*args, **kwargs)

    return compiled


@contextmanager
def _captured_unseen(context: Callable[[], Any]) -> Iterator[None]:
    """A context in which PyTorch captures code for an operator of its own, with a compiler and without the mode."""
    with ExitStack() as stack:
        for engine in _Eager.here():
            stack.enter_context(engine.hidden())
        stack.enter_context(torch.compiler.set_stance("default"))
        stack.enter_context(context())
        yield


# ---- the native fast path ----

_HAS_TORCH_FUNCTION = torch.overrides.has_torch_function
_overlooked: list[TorchFunctionMode] = []


@contextmanager
def keep_native_fast_path(mode: TorchFunctionMode) -> Iterator[None]:
    """A region in which attention and transformer layers overlook a mode that is on top of the stack."""
    _overlooked.append(mode)
    torch.overrides.has_torch_function = _has_torch_function
    try:
        yield
    finally:
        _overlooked.remove(mode)
        if not _overlooked:
            torch.overrides.has_torch_function = _HAS_TORCH_FUNCTION


@wraps(_HAS_TORCH_FUNCTION)
def _has_torch_function(args: Any) -> bool:
    above = []
    if sys._getframe(1).f_globals.get("__name__") in FAST_PATH_MODULES:
        while (modes := function_modes()) and modes[-1] in _overlooked:
            above.append(pop_function_mode())
    try:
        return _HAS_TORCH_FUNCTION(args)
    finally:
        for mode in reversed(above):
            push_function_mode(mode)
