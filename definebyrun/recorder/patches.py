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
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode_stack,
    _pop_mode,
    _push_mode,
)

from .engine import Engine

__all__ = ["uncompiled", "unnoticed"]

CAPTURING = ("_set_compilation_env", "suspend_functionalization")
"""The contexts in which `torch.cond` and its like capture their branches, and the backward of these."""
FAST = ("torch.nn.modules.activation", "torch.nn.modules.transformer")
"""Modules with a native fast path that PyTorch disables while any `TorchFunctionMode` is active."""


@contextmanager
def uncompiled(engine: Engine) -> Iterator[None]:
    """A region in which functions of `torch.compile` run as plain Python: a compiler would trace the recorder itself.

    What cannot do without a compiler (`torch.cond` captures its branches with one) gets it, out of the mode's sight.
    The compiler itself takes seconds to import: that is left to who first asks for it.
    """
    with ExitStack() as stack:
        operators = torch._higher_order_ops.utils
        for name in filter(partial(hasattr, operators), CAPTURING):  # older PyTorch lacks some
            before = getattr(operators, name)
            stack.callback(setattr, operators, name, before)
            setattr(operators, name, partial(_captured, engine, before))
        if "torch._dynamo" in sys.modules:
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
        while (modes := _get_current_function_mode_stack()) and modes[-1] in _unnoticed:
            above.append(_pop_mode())
    try:
        return _HAS_TORCH_FUNCTION(args)
    finally:
        for mode in reversed(above):
            _push_mode(mode)


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
