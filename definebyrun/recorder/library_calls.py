"""Operations go in with the frame that called them; those that one call of a library function ran become its call.

The function is the outermost frame below the user's own: `clip_grad_norm_`, `Normal.log_prob`. One operation alone is
no call: `F.cross_entropy` is that operation.
"""

from __future__ import annotations

import sys
from types import FrameType

from ..trace.records import FUNCTION
from .call_site import CALL_SITE_NAME
from .drafts import OpDraft
from .ledger import Ledger
from .user_frames import calling_frame, is_library

__all__ = ["LibraryCalls"]

DECORATORS = frozenset(
    ("_no_grad_wrapper", "decorate_context", "wrapped", "wrapper", "inner", "_fn", "_call_impl")
)
"""Functions that others are wrapped in, by their names: none that a user has called."""


class LibraryCalls:
    """Knows the call of a library function that ran the last operation, and that operation."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._frame = 0  # its id
        self._op = -1  # the last operation that it ran
        self._call: int | None = None

    def note(self, op: OpDraft, caller: FrameType, module: FrameType | None) -> None:
        """An operation has been entered; `module` is PyTorch's frame that runs the innermost module call."""
        frame = None if op.during else _outermost_library_frame(caller, module)
        if frame is None:
            self._frame = 0
            return
        # A flag that is set in a new frame, and that Python reads only where a debugger traces: so another call is
        # told from this one, even at the same address, and nothing keeps the frame alive.
        is_traced = sys.gettrace() is not None
        goes_on = id(frame) == self._frame and (is_traced or not frame.f_trace_lines)
        if not is_traced:
            frame.f_trace_lines = False
        if goes_on and op.index == self._op + 1:
            first = self._ledger.ops[self._op]
            if self._call is None and first.call == op.call:
                name = frame.f_code.co_qualname
                self._call = self._ledger.open_call(FUNCTION, op.call, name)
                first.call = self._call
            if self._call is not None:
                op.call = self._call
        else:
            self._call = None
        self._frame, self._op = id(frame), op.index


def _outermost_library_frame(caller: FrameType, module: FrameType | None) -> FrameType | None:
    """The outermost frame of a library below the user's innermost one; None where that has called torch itself."""
    found: FrameType | None = None
    frame: FrameType | None = calling_frame(caller)
    while frame is not None and frame is not module:
        code = frame.f_code
        if not is_library(code.co_filename) and code.co_name != CALL_SITE_NAME:
            return found
        if code.co_name not in DECORATORS:
            found = frame
        frame = frame.f_back
    return None
