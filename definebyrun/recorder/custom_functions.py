"""Custom `Function`s at work: their forward is the learner's code, and what it computes lies within one call.

PyTorch calls it without gradients, from native code that leaves no frame. So a running forward is known by its own
frame: its code is that of a subclass's `forward`, and the context that it has been given says which call this is.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction, Function

from ..trace.model import ModuleCall
from ._torch import forward_class, next_sequence_nr, sequence_nr
from .drafts import FunctionForward, Stack
from .ledger import Ledger
from .torch_calls import tensors_in
from .user_frames import clear_locals_copy

__all__ = ["CustomFunctions"]

NO_SETUP = Function.setup_context
"""What a class has that does without `setup_context`: its forward is given the context itself."""


@dataclass
class _Open:
    """A running forward: its frame's id, a sequence number, how far it had come, and its call's number.

    With a context the sequence number is that of its node, which no other call has. Without one it is the next
    node's: it goes up with each call of a `Function`, this one's or one within it, and then the code goes on.
    """

    frame: int
    sequence_nr: int
    place: int
    call: int

    def is_the_same(self, frame: FrameType, sequence_nr: int, has_context: bool) -> bool:
        """Whether a frame that is seen now is this forward still."""
        if self.frame != id(frame):
            return False
        return self.sequence_nr == sequence_nr or (not has_context and frame.f_lasti > self.place)


class CustomFunctions:
    """Finds the calls of custom `Function`s that are going on, and enters them into the ledger."""

    def __init__(self, ledger: Ledger, where: Callable[[FrameType | None], Stack]) -> None:
        self._ledger, self._where = ledger, where
        self._open: list[_Open] = []
        self._classes: dict[CodeType, type[Function]] = {}  # by the code of a forward
        self._known = -1  # how many classes there were then
        # by id of a code, since hashing takes long: the code, and the class if it is a forward's
        self._met: dict[int, tuple[CodeType, type[Function] | None]] = {}

    def innermost(self, module: int | None) -> int | None:
        """The innermost call that is going on, given that of a module: calls that are open lie within each other."""
        if torch.is_grad_enabled():  # in a forward of a custom Function it is off
            return module
        running: list[_Open] = []
        for frame, kind in self._forwards():
            given = _arguments(frame)
            number = next_sequence_nr()
            has_context = kind.setup_context is NO_SETUP
            if has_context:
                ctx = given.pop(0) if given else None
                kind = forward_class(ctx) or kind
                if not isinstance(ctx, BackwardCFunction) or _code_of(kind) is not frame.f_code:
                    continue  # the learner's own code has called it
                number = sequence_nr(ctx)
            at = len(running)
            known = self._open[at] if at < len(self._open) else None
            if known is not None and known.is_the_same(frame, number, has_context):
                call = known.call
            else:
                outer = running[-1].call if running else None
                outer = outer if module is None or (outer or -1) > module else module
                call = self._enter(frame, kind, given, outer)
            running.append(_Open(id(frame), number, frame.f_lasti, call))
        self._open = running
        if not running:
            return module
        return running[-1].call if module is None else max(module, running[-1].call)

    def _enter(self, frame: FrameType, kind: type, given: list[Any], outer: int | None) -> int:
        calls, number = self._ledger.calls, len(self._ledger.calls)
        inputs = [self._ledger.tensor(tensor) for tensor in tensors_in(given)]
        place = self._where(frame.f_back)
        self._ledger.forwards.append(FunctionForward(number, kind.__name__, inputs, place))
        calls.append(ModuleCall(number, "", kind.__name__, outer))
        return number

    def _forwards(self) -> list[tuple[FrameType, type[Function]]]:
        """The frames of forwards that led here, outermost first, with the classes that have them."""
        frames = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            met = self._met.get(id(frame.f_code)) or self._meet(frame.f_code)
            if met[1] is not None:
                frames.append((frame, met[1]))
            frame = frame.f_back
        return frames[::-1]

    def _meet(self, code: CodeType) -> tuple[CodeType, type[Function] | None]:
        there = len(Function.__subclasses__())
        if there != self._known:
            self._known, self._classes = there, {}
            for kind in _below(Function):
                own = _code_of(kind)
                if own is not None:
                    self._classes.setdefault(own, kind)
        met = self._met[id(code)] = code, self._classes.get(code)
        return met


def _below(kind: type) -> Iterator[type[Function]]:
    """All subclasses."""
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def _code_of(kind: type[Function]) -> CodeType | None:
    """The code of a class's forward, without what decorators have put around it."""
    return getattr(inspect.unwrap(kind.forward), "__code__", None)


def _arguments(frame: FrameType) -> list[Any]:
    """What a function was called with, in order."""
    code, variables = frame.f_code, frame.f_locals
    several = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    count = code.co_argcount + code.co_kwonlyargcount + several.bit_count()
    given = [variables.get(name) for name in code.co_varnames[:count]]
    clear_locals_copy(frame, variables)
    return given
