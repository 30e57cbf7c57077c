"""Frames go in, the pieces of source code to show beside the graph come out, and where in them each frame is.

The body of the recorded `with` block is one piece, each function that the run came through another. The text is what
`linecache` has, as in a traceback: files, notebook cells, doctests, and code whose maker has put its text there. Code
made by `exec` from a bare string, or typed into a bare prompt, gives pieces without lines.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from types import CodeType, FrameType

from ..trace import Source

__all__ = ["Sources"]


class Sources:
    """Collects pieces of code as a run comes through them; a location is the index of a piece and a line number."""

    def __init__(self, frame: FrameType | None) -> None:
        self.pieces: list[Source] = []
        self._index: dict[CodeType, int] = {}
        self._locations: dict[
            tuple[int, int], tuple[int, int]
        ] = {}  # by id of code and instruction
        self._held: list[CodeType] = []  # so that an id stays that of its code
        if frame is not None:
            self._add(frame.f_code, "recorded", *_block(frame))

    def location(self, frame: FrameType) -> tuple[int, int]:
        """Where a frame is now."""
        code = frame.f_code
        at = id(code), frame.f_lasti
        location = self._locations.get(at)
        if (
            location is None
        ):  # once for each instruction: to hash code takes the longer the longer it is
            if code not in self._index:
                self._add(code, code.co_qualname, *_function(frame))
            self._held.append(code)
            location = self._locations[at] = self._index[code], frame.f_lineno
        return location

    def location_at(self, frame: FrameType, line: int) -> tuple[int, int]:
        """Where a frame was when an exception came through it in a line."""
        if frame.f_code not in self._index:
            self._add(frame.f_code, frame.f_code.co_qualname, *_function(frame))
        return self._index[frame.f_code], line

    def text(self, location: tuple[int, int] | None) -> str:
        """The line at a location, without its indentation; empty when its text cannot be found."""
        if location is None:
            return ""
        piece = self.pieces[location[0]]
        at = location[1] - piece.first
        return piece.lines[at].strip() if 0 <= at < len(piece.lines) else ""

    def _add(self, code: CodeType, title: str, first: int, lines: Sequence[str]) -> None:
        text = textwrap.dedent("".join(lines)).removesuffix("\n")
        self._index[code] = len(self.pieces)
        self.pieces.append(Source(title, first, tuple(text.split("\n"))))


def _lines_of_file(frame: FrameType) -> list[str]:
    """The text of the file, cell or doctest that a frame's code is from; none where only its maker knows it."""
    return linecache.getlines(frame.f_code.co_filename, frame.f_globals)


def _block(frame: FrameType) -> tuple[int, Sequence[str]]:
    """The body of the `with` statement that a frame is in, as first line number and lines."""
    lines = _lines_of_file(frame)
    for header, first, last in _with_blocks("".join(lines)):
        if header <= frame.f_lineno < first:
            return first, lines[first - 1 : last]
    return frame.f_lineno, lines[frame.f_lineno - 1 : frame.f_lineno]


@lru_cache(maxsize=32)
def _with_blocks(text: str) -> list[tuple[int, int, int]]:
    """All `with` statements in a text: the line of each, and the first and last line of its body."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a cell with a magic command, say
        return []
    found = [node for node in ast.walk(tree) if isinstance(node, (ast.With, ast.AsyncWith))]
    return [(n.lineno, n.body[0].lineno, n.body[-1].end_lineno or n.lineno) for n in found]


def _function(frame: FrameType) -> tuple[int, Sequence[str]]:
    """The source of the function that a frame runs, or of the whole cell or file where it runs none."""
    code, lines = frame.f_code, _lines_of_file(frame)
    if code.co_name != "<module>":
        return code.co_firstlineno, _getblock(tuple(lines[code.co_firstlineno - 1 :]))
    return code.co_firstlineno, lines


@lru_cache(maxsize=32)
def _getblock(lines: tuple[str, ...]) -> Sequence[str]:
    """The lines of the function that begins with the first of these."""
    try:
        return inspect.getblock(lines) if lines else ()
    except (SyntaxError, IndentationError):
        return lines[:1]
