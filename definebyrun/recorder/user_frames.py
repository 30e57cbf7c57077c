"""The stack of running code goes in, the frames of the user's own code come out.

Frames of torch, of this package, of the course and of other installed libraries do not count as the user's code.
"""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from torch.nn.modules import module as nn_module
from torch.overrides import handle_torch_function

from .call_site import CALL_SITE_NAME

__all__ = ["calling_frame", "clear_locals_copy", "is_library", "user_frames"]

_PACKAGE = Path(__file__).parent.parent
_OURS = tuple(
    f"{folder}{os.sep}" for folder in (_PACKAGE, _PACKAGE.with_name("definebyrun_course"))
)
_LIBRARIES = tuple(
    {sysconfig.get_path(key) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_MODULE_FILE = nn_module.__file__
_HANDLER = handle_torch_function.__code__
OWN_REFERENCES = 4
"""References to the copy of a frame's variables: the frame's, the caller's, the argument's, that of the count."""


@cache
def is_library(filename: str) -> bool:
    """Whether a file is torch's, this package's or another installed library's, and so not the user's code."""
    if filename.startswith((*_OURS, *_LIBRARIES)) or "site-packages" in filename:
        return True
    return filename.startswith("<frozen ")


def user_frames(
    stop: FrameType | None = None, start: FrameType | None = None
) -> tuple[list[FrameType], bool]:
    """The frames of the user's code that led here, or to `start`, innermost first, and whether `stop` was met.

    They are followed as far out as `stop`, which is among them if it is the user's too.
    """
    frames: list[FrameType] = []
    frame: FrameType | None = start or sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not is_library(code.co_filename) and code.co_name != CALL_SITE_NAME:
            frames.append(frame)
        if frame is stop:
            return frames, True
        frame = frame.f_back
    return frames, False


def calling_frame(frame: FrameType | None) -> FrameType | None:
    """The frame whose call arrived at this one: torch's functions in Python and `Module.__call__` pass calls on."""
    if frame is not None and frame.f_code is _HANDLER:
        frame = frame.f_back and frame.f_back.f_back
    while frame is not None and frame.f_code.co_filename == _MODULE_FILE:
        frame = frame.f_back
    return frame


def clear_locals_copy(frame: FrameType, variables: Any) -> None:
    """Empty the copy of a function's variables that `frame.f_locals` leaves in the frame before Python 3.13.

    It would keep every tensor alive that the function deletes later. A copy to which there are more than
    `OWN_REFERENCES` (the result of `locals()`, which the user holds) stays as it is.
    """
    if frame.f_code.co_flags & inspect.CO_OPTIMIZED and isinstance(variables, dict):
        count = sys.getrefcount(variables)
        if count <= OWN_REFERENCES or count == OWN_REFERENCES + 1 == _own_references():
            variables.clear()


def _own_references() -> int:
    """`OWN_REFERENCES` as it is now: one more where `torch.compile` evaluates frames, for a call's arguments then."""
    variables: dict[str, Any] = {}
    held = [variables]
    return _references(held[0])


def _references(variables: Any) -> int:
    return sys.getrefcount(variables)
