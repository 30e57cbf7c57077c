"""A frame goes in, a function comes out that calls another one as if from there: warnings name the user's line.

Python files a warning under the file, the line and the module of the calling frame, which under a function mode is the
recorder's. The function made here has a code object with that frame's file and line, and that frame's globals, so that
filters, "once" and `pytest.warns` work as without a recording. It does not count as the user's when frames are read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

from torch.overrides import handle_torch_function

__all__ = ["CALL_SITE_NAME", "CallSites", "without_own_frames"]

CALL_SITE_NAME = "<recorded call>"
"""The name of these functions, by which they are told from the user's."""
_HANDLER = handle_torch_function.__code__
_CODE = (lambda func, args, kwargs: func(*args, **kwargs)).__code__
_UNITS = len(_CODE.co_code) // 2
_NO_COLUMNS = b"".join(
    bytes([0x80 | 13 << 3 | min(8, _UNITS - at) - 1, 0]) for at in range(0, _UNITS, 8)
)
"""A line table (see CPython's `Objects/locations.md`): all on the first line, at no column."""


_FOLDER = str(Path(__file__).parent)


def without_own_frames(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the recorder's frames that it begins with: a bare `raise` then adds none of them again.

    The call from the user's line would stand in it twice.
    """
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_name != CALL_SITE_NAME and not code.co_filename.startswith(_FOLDER):
            break
        traceback = traceback.tb_next
    return traceback


class CallSites:
    """Makes one such function for each calling instruction, and keeps it while a recording lasts."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], tuple[CodeType, FunctionType]] = {}

    def of(self, frame: FrameType) -> Callable[..., Any]:
        """`of(frame)(func, args, kwargs)` is `func(*args, **kwargs)`, called from that frame's line.

        A function that torch has in Python calls `handle_torch_function`: then the caller of that function is meant.
        """
        if (
            frame.f_code is _HANDLER
            and frame.f_back is not None
            and frame.f_back.f_back is not None
        ):
            frame = frame.f_back.f_back
        key = (id(frame.f_code), frame.f_lasti)  # f_lineno takes longer
        known = self._made.get(key)
        if known is None or known[1].__globals__ is not frame.f_globals:
            known = self._made[key] = (frame.f_code, _as_if_at(frame))
        return known[1]


def _as_if_at(frame: FrameType) -> FunctionType:
    code = _CODE.replace(
        co_filename=frame.f_code.co_filename,
        co_firstlineno=frame.f_lineno,
        co_name=CALL_SITE_NAME,
        co_qualname=CALL_SITE_NAME,
        co_linetable=_NO_COLUMNS,
    )
    return FunctionType(code, frame.f_globals)
