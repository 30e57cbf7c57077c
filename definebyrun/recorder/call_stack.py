"""Running frames go in, the locations in the user's code that led to a call come out; variables give names on the way.

What lies around a module call stands still until that call has ended: it is read once, when the call begins.
"""

from __future__ import annotations

from types import FrameType
from typing import NamedTuple

from .drafts import Stack
from .names import Names
from .source import Sources
from .user_frames import user_frames

__all__ = ["CallStack"]


class _OpenCall(NamedTuple):
    """A module call that is running: its number, PyTorch's frame that runs it, the locations around it."""

    number: int
    frame: FrameType
    around: Stack


class CallStack:
    """Knows the module calls that are running, and reads the user's frames inside the innermost of them."""

    def __init__(self, frame: FrameType | None, sources: Sources, names: Names) -> None:
        self.running: Stack = ()
        """The locations of the torch call that is running."""
        self._frame = frame  # of the recorded `with` block
        self._sources, self._names = sources, names
        self._modules: list[_OpenCall] = []  # outermost first
        self._stacks: dict[Stack, Stack] = {}

    def module_call(self) -> int | None:
        """The number of the innermost module call that is running."""
        return self._modules[-1].number if self._modules else None

    def module_frame(self) -> FrameType | None:
        """PyTorch's frame that runs the innermost module call."""
        return self._modules[-1].frame if self._modules else None

    def enter_module(self, number: int, frame: FrameType, around: Stack) -> None:
        """A module's forward begins in this frame."""
        self._modules.append(_OpenCall(number, frame, around))

    def leave_module(self) -> FrameType | None:
        """The innermost module call has ended: its frame. None is open when the recording began inside that module."""
        return self._modules.pop().frame if self._modules else None

    def read(self, start: FrameType | None = None) -> Stack:
        """Read the user's frames from `start` outwards for names; give the locations in the code where they are."""
        while self._modules:
            _, running, around = self._modules[-1]
            frames, met = user_frames(running, start)
            if met:
                break
            self._modules.pop()  # its hook never ran: a `KeyboardInterrupt` ended it, say
        else:
            frames, met = user_frames(self._frame, start)
            around = ()
        if not frames:
            return around
        self._names.look(frames)
        return self._locations(frames, around)

    def of(self, start: FrameType | None) -> Stack:
        """The locations from `start` out to the recorded block, whatever module calls lie between."""
        return self._locations(user_frames(self._frame, start)[0])

    def _locations(self, frames: list[FrameType], around: Stack = ()) -> Stack:
        stack = (*[self._sources.location(frame) for frame in frames], *around)
        return self._stacks.setdefault(stack, stack)  # one object for all calls of a loop
