"""Custom `Function`s at work: their forward is the learner's code, and what it computes lies within one call.

PyTorch calls it from `Function.apply`, whose frame says which class it is and what it was given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch

from .calls import tensors_in
from .entries import Forward, Stack
from .ledger import Ledger
from .trace import Call

__all__ = ["Functions"]

APPLY = torch.autograd.Function.apply.__func__.__code__  # type: ignore[attr-defined]


@dataclass
class _Open:
    """A running `apply`: its frame's id and arguments, which tell it from all others, and its call's number."""

    frame: int
    given: Any
    call: int


class Functions:
    """Finds the calls of custom `Function`s that are going on, and enters them into the ledger."""

    def __init__(self, ledger: Ledger, where: Callable[[FrameType | None], Stack]) -> None:
        self._ledger, self._where = ledger, where
        self._open: list[_Open] = []

    def innermost(self, module: int | None) -> int | None:
        """The innermost call that is going on, given that of a module: calls that are open lie within each other."""
        if torch.is_grad_enabled():  # in a forward of a custom Function it is off
            return module
        running: list[_Open] = []
        for frame in _applies():
            variables = frame.f_locals
            given = variables.get("args")
            at = len(running)
            known = self._open[at] if at < len(self._open) else None
            if known is None or known.frame != id(frame) or known.given is not given:
                outer = running[-1].call if running else None
                outer = outer if module is None or (outer or -1) > module else module
                known = _Open(id(frame), given, self._enter(frame, variables, outer))
            running.append(known)
        self._open = running
        if not running:
            return module
        return running[-1].call if module is None else max(module, running[-1].call)

    def _enter(self, frame: FrameType, variables: dict[str, Any], outer: int | None) -> int:
        calls, number = self._ledger.calls, len(self._ledger.calls)
        inputs = [self._ledger.tensor(tensor) for tensor in tensors_in(variables.get("args"))]
        name = getattr(variables.get("cls"), "__name__", "Function")
        self._ledger.forwards.append(Forward(number, name, inputs, self._where(frame.f_back)))
        calls.append(Call(number, "", name, outer))
        return number


def _applies() -> list[FrameType]:
    """The frames of `Function.apply` that led here, outermost first."""
    frames = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is APPLY:
            frames.append(frame)
        frame = frame.f_back
    return frames[::-1]
