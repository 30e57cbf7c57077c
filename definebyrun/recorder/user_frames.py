"""The stack of running code goes in, the frames of the learner's own code come out.

Frames of torch, of this package, of the course and of other installed libraries do not count as the learner's code.
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

from .call_site import CALL_SITE_NAME

__all__ = ["clear_locals_copy", "is_library", "user_frames"]

_PACKAGE = Path(__file__).parent.parent
_OURS = tuple(
    f"{folder}{os.sep}" for folder in (_PACKAGE, _PACKAGE.with_name("definebyrun_course"))
)
_LIBRARIES = tuple(
    {sysconfig.get_path(key) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib")}
)
OWN_REFERENCES = 4


@cache
def is_library(filename: str) -> bool:
    """Whether a file is torch's, this package's or another installed library's, and so not the learner's code."""
    if filename.startswith((*_OURS, *_LIBRARIES)) or "site-packages" in filename:
        return True
    return filename.startswith("<frozen ")


def user_frames(
    stop: FrameType | None = None, start: FrameType | None = None
) -> tuple[list[FrameType], bool]:
    """The frames of the learner's code that led here, or to `start`, innermost first, and whether `stop` was met.

    They are followed as far out as `stop`, which counts if it is the learner's too.
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


def clear_locals_copy(frame: FrameType, variables: Any) -> None:
    """Empty the copy of a function's variables that Python before 3.13 leaves in the frame.

    It would keep every tensor alive that the function deletes later. A copy that somebody else holds too (the
    result of `locals()`) stays as it is: four references are the frame's, the caller's, ours and the count's own.
    """
    copied = frame.f_code.co_flags & inspect.CO_OPTIMIZED and isinstance(variables, dict)
    if copied and sys.getrefcount(variables) <= OWN_REFERENCES:
        variables.clear()
