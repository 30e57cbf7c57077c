"""What a recording changes in torch while it goes on, so that a run goes the way it would go without one.

`uncompiled` keeps a compiler from tracing the recorder itself; `unnoticed` leaves attention and transformer layers
their native fast path, which PyTorch takes only where no torch-function mode is active.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any

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

__all__ = ["uncompiled", "unnoticed"]

FAST = ("torch.nn.modules.activation", "torch.nn.modules.transformer")
"""Modules with a native fast path that PyTorch disables while any `TorchFunctionMode` is active."""


@contextmanager
def uncompiled(engine: Engine) -> Iterator[None]:
    """A region in which functions of `torch.compile` run as plain Python: a compiler would trace the recorder itself.

    What cannot do without a compiler (`torch.cond` captures its branches with one) gets it, out of the mode's sight.
    The compiler itself takes seconds to import: that is left to who first asks for it.
    """
    with ExitStack() as stack:
        for name in filter(partial(hasattr, CAPTURING_MODULE), CAPTURING_CONTEXTS):
            before = getattr(CAPTURING_MODULE, name)
            stack.callback(setattr, CAPTURING_MODULE, name, before)
            setattr(CAPTURING_MODULE, name, partial(_captured, engine, before))
        if compiler_is_loaded():
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        else:
            stack.callback(setattr, torch, "compile", torch.compile)
            torch.compile = _late(engine, torch.compile, stack)
        yield


_HAS_TORCH_FUNCTION = torch.overrides.has_torch_function
_unnoticed: list[TorchFunctionMode] = []


@contextmanager
def unnoticed(mode: TorchFunctionMode) -> Iterator[None]:
    """A region in which a mode on top is nobody to attention and transformer layers: they go the way they would go."""
    _unnoticed.append(mode)
    torch.overrides.has_torch_function = _has_torch_function
    try:
        yield
    finally:
        _unnoticed.remove(mode)
        if not _unnoticed:
            torch.overrides.has_torch_function = _HAS_TORCH_FUNCTION


@wraps(_HAS_TORCH_FUNCTION)
def _has_torch_function(args: Any) -> bool:
    above = []
    if sys._getframe(1).f_globals.get("__name__") in FAST:
        while (modes := function_modes()) and modes[-1] in _unnoticed:
            above.append(pop_function_mode())
    try:
        return _HAS_TORCH_FUNCTION(args)
    finally:
        for mode in reversed(above):
            push_function_mode(mode)


def _late(engine: Engine, compile: Callable[..., Any], stack: ExitStack) -> Callable[..., Any]:
    """`torch.compile` for a region that was entered before there was a compiler: what it gives runs as plain Python."""

    @wraps(compile)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        if torch.compile is compiled and not engine.is_away:
            torch.compile = compile
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        return compile(*args, **kwargs)

    return compiled


@contextmanager
def _captured(engine: Engine, context: Callable[[], Any]) -> Iterator[None]:
    """A context in which PyTorch captures code for an operator of its own."""
    with engine.away(), torch.compiler.set_stance("default"), context():
        yield
