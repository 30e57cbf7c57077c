"""Running frames go in, the custom `Function` whose forward is among them comes out: its calls are calls of a run too.

PyTorch calls a forward with gradients off and, since 2.14, from native code that leaves no frame. So it is known by
its own frame: the code is that of a subclass's `forward`, and the context that it was given says which call it is.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction, Function

from ._torch import forward_class, next_sequence_nr, sequence_nr
from .call_stack import CallStack
from .ledger import Ledger
from .torch_calls import tensors_in
from .user_frames import clear_locals_copy

__all__ = ["CustomFunctions"]

DEFAULT_SETUP_CONTEXT = Function.setup_context
"""What a class has that overrides no `setup_context`: its forward is given the context itself."""


@dataclass(slots=True)
class _OpenForward:
    """A running forward: its frame's id, a sequence number, the frame's last instruction, its call's number.

    With a context the sequence number is that of its node, which no other call has. Without one it is the number of
    the next node: each call of a `Function`, this one or one inside it, raises that, and then the frame has gone on.
    """

    frame: int
    sequence_nr: int
    instruction: int
    call: int

    def is_same(self, frame: FrameType, sequence_nr: int, has_context: bool) -> bool:
        """Whether a frame that is seen now is still this forward."""
        if self.frame != id(frame):
            return False
        moved_on = not has_context and frame.f_lasti > self.instruction
        return self.sequence_nr == sequence_nr or moved_on


class CustomFunctions:
    """Finds the forwards of custom `Function`s that are running, and enters their calls into the ledger."""

    def __init__(self, ledger: Ledger, stack: CallStack) -> None:
        self._ledger, self._stack = ledger, stack
        self._open: list[_OpenForward] = []
        self._classes = _Classes()

    def innermost_call(self) -> int | None:
        """The innermost open call: a custom `Function` or a module call, whichever was entered last."""
        module = self._stack.module_call()
        if torch.is_grad_enabled():  # in a forward of a custom Function it is off
            return module
        running: list[_OpenForward] = []
        for frame, kind in self._classes.forwards():
            opened = self._open_forward(frame, kind, running, module)
            if opened is not None:
                running.append(opened)
        self._open = running
        if not running:
            return module
        return running[-1].call if module is None else max(module, running[-1].call)

    def _open_forward(
        self,
        frame: FrameType,
        kind: type[Function],
        running: list[_OpenForward],
        module: int | None,
    ) -> _OpenForward | None:
        """The forward that runs in this frame, inside the others; None when the user's own code has called it."""
        given = _arguments(frame)
        number = next_sequence_nr()
        has_context = kind.setup_context is DEFAULT_SETUP_CONTEXT
        if has_context:
            context = given.pop(0) if given else None
            kind = forward_class(context) or kind
            if (
                not isinstance(context, BackwardCFunction)
                or _forward_code(kind) is not frame.f_code
            ):
                return None
            number = sequence_nr(context)
        depth = len(running)
        known = self._open[depth] if depth < len(self._open) else None
        if known is not None and known.is_same(frame, number, has_context):
            call = known.call
        else:
            outer = running[-1].call if running else None
            if module is not None and (outer is None or outer <= module):
                outer = module
            inputs = [self._ledger.tensor(tensor) for tensor in tensors_in(given)]
            stack = self._stack.of(frame.f_back)
            call = self._ledger.open_forward(kind.__name__, inputs, stack, outer)
        return _OpenForward(id(frame), number, frame.f_lasti, call)


class _Classes:
    """Knows the code of each custom `Function`'s forward, as far as such classes have been made."""

    def __init__(self) -> None:
        self._by_forward: dict[CodeType, type[Function]] = {}
        self._count = -1  # direct subclasses of `Function`, when the table was made
        # by id of a code, since hashing takes long: the code, and the class if it is a forward's
        self._known: dict[int, tuple[CodeType, type[Function] | None]] = {}

    def forwards(self) -> list[tuple[FrameType, type[Function]]]:
        """The frames of forwards that led here, outermost first, with the classes that have them."""
        frames = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            known = self._known.get(id(frame.f_code)) or self._look_up(frame.f_code)
            if known[1] is not None:
                frames.append((frame, known[1]))
            frame = frame.f_back
        return frames[::-1]

    def _look_up(self, code: CodeType) -> tuple[CodeType, type[Function] | None]:
        count = len(Function.__subclasses__())
        if count != self._count:
            self._count, self._by_forward = count, {}
            for kind in _subclasses(Function):
                own = _forward_code(kind)
                if own is not None:
                    self._by_forward.setdefault(own, kind)
        found = self._known[id(code)] = code, self._by_forward.get(code)
        return found


def _subclasses(kind: type[Function]) -> Iterator[type[Function]]:
    """All subclasses, at any depth."""
    each: type[Function]
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _forward_code(kind: type[Function]) -> CodeType | None:
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
