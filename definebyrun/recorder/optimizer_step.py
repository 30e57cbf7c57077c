"""An optimizer at work: its step is one operation, however many torch calls it makes.

What a closure does that the optimizer calls (`optimizer.step(closure)`) is the learner's code and recorded as such.
"""

from __future__ import annotations

import inspect
import sys
from types import FrameType
from typing import Any

import torch

from ..trace import Op
from .call_site import CALL_SITE_NAME
from .torch_calls import version_of
from .user_frames import is_library

__all__ = ["OptimizerStep"]


class OptimizerStep:
    """A running `optimizer.step()`: the operation that it will be, its parameters, the frame that called it."""

    def __init__(
        self, optimizer: Any, op: Op, parameters: list[torch.Tensor], frame: FrameType
    ) -> None:
        self.optimizer, self.op, self._parameters, self._frame = optimizer, op, parameters, frame
        self._versions = [version_of(parameter) for parameter in parameters]
        self._own = _codes(type(optimizer))
        self.gone = False

    def at_work(self) -> bool:
        """Whether the call that is being made now is the optimizer's own; sets `gone` when the step has been left."""
        frame: FrameType | None = sys._getframe(1)
        in_closure = False
        while frame is not None and frame is not self._frame:
            code = frame.f_code
            own = id(code) in self._own or code.co_name == CALL_SITE_NAME
            in_closure |= not own and not is_library(code.co_filename)
            frame = frame.f_back
        self.gone = frame is None
        return not self.gone and not in_closure

    def changed(self) -> list[torch.Tensor]:
        """The parameters that have been changed since the step began."""
        pairs = zip(self._parameters, self._versions, strict=True)
        return [parameter for parameter, version in pairs if version_of(parameter) != version]


def _codes(kind: type) -> set[int]:
    """The ids of the code of an optimizer's methods; to compare the code itself takes long."""
    methods = [
        inspect.unwrap(part)
        for base in kind.__mro__
        for part in vars(base).values()
        if callable(part)
    ]
    return {id(method.__code__) for method in methods if hasattr(method, "__code__")}
