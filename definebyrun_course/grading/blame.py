"""An exception goes in; out comes whose code raised it, at which line, and the loop around that line."""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, TracebackType

from definebyrun.recorder.user_frames import is_library

__all__ = ["Line", "learners_line", "loop_around"]

_OURS = str(Path(__file__).resolve().parent.parent)
MAX_TEXT_CHARS = 60


@dataclass(frozen=True)
class Line:
    """A line of the learner's code: its file (or cell), its number there, its text."""

    file: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"line {self.number}: `{self.text}`" if self.text else f"line {self.number}"


def learners_line(trace: TracebackType | None, check: CodeType | None = None) -> Line | None:
    """The innermost line of a traceback that is the learner's own; None when none of it is.

    `check` is the code of the check that ran: it is not the learner's, wherever it stands.
    """
    found = None
    while trace is not None:
        code = trace.tb_frame.f_code
        file = code.co_filename
        if code is not check and not is_library(file) and not file.startswith(_OURS):
            found = _line(file, trace.tb_lineno)
        trace = trace.tb_next
    return found


def loop_around(line: Line) -> Line:
    """The `while` or `for` in which a line lies, the innermost one; the line itself when it lies in none."""
    try:
        tree = ast.parse("".join(linecache.getlines(line.file)))
    except (SyntaxError, ValueError, RecursionError):
        return line
    loops = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, (ast.While, ast.For, ast.AsyncFor))
        and node.lineno <= line.number <= (node.end_lineno or node.lineno)
    ]
    return _line(line.file, max(loops)) if loops else line


def _line(file: str, number: int) -> Line:
    text = " ".join(linecache.getline(file, number).split())
    return Line(file, number, text if len(text) <= MAX_TEXT_CHARS else f"{text[:MAX_TEXT_CHARS]}…")
