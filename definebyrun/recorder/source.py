"""Frames and line numbers go in, the pieces of source code to show beside the graph come out.

The body of the recorded `with` block is one piece, each function that the run came through another. Code whose
text cannot be found (typed into a bare prompt, made by `exec`) gives pieces without lines.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from functools import lru_cache
from types import CodeType, FrameType

from ..trace import Source

__all__ = ["Sources"]


class Sources:
    """Collects pieces of code as a run comes through them; a place is (index of the piece, line number)."""

    def __init__(self, frame: FrameType | None) -> None:
        self.pieces: list[Source] = []
        self._home = frame.f_code if frame is not None else None
        self._index: dict[CodeType, int] = {}
        self._places: dict[tuple[int, int], tuple[int, int]] = {}  # by id of code and instruction
        self._seen: list[CodeType] = []  # held, so that an id stays theirs
        if frame is not None:
            self._add(frame.f_code, "recorded", _block(frame))

    def place(self, frame: FrameType) -> tuple[int, int]:
        """Where a frame is now."""
        code = frame.f_code
        at = id(code), frame.f_lasti
        place = self._places.get(at)
        if place is None:  # once for each instruction: hashing code takes as long as the code is
            if code not in self._index:
                self._add(code, code.co_qualname, _function(code))
            self._seen.append(code)
            place = self._places[at] = self._index[code], frame.f_lineno
        return place

    def text(self, place: tuple[int, int] | None) -> str:
        """The line at a place, without its indentation; empty when its text cannot be found."""
        if place is None:
            return ""
        piece = self.pieces[place[0]]
        at = place[1] - piece.first
        return piece.lines[at].strip() if 0 <= at < len(piece.lines) else ""

    def _add(self, code: CodeType, title: str, found: tuple[int, list[str]]) -> None:
        first, lines = found
        self._index[code] = len(self.pieces)
        self.pieces.append(
            Source(
                title, first, tuple(textwrap.dedent("".join(lines)).removesuffix("\n").split("\n"))
            )
        )


def _block(frame: FrameType) -> tuple[int, list[str]]:
    """The body of the `with` statement that a frame is in, as first line number and lines."""
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
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


def _function(code: CodeType) -> tuple[int, list[str]]:
    """The source of a function, or of the whole cell or file when the code belongs to none."""
    lines = linecache.getlines(code.co_filename)
    if code.co_name != "<module>":
        lines = _getblock(tuple(lines[code.co_firstlineno - 1 :]))
    return code.co_firstlineno, lines


@lru_cache(maxsize=32)
def _getblock(lines: tuple[str, ...]) -> list[str]:
    """The lines of the function that begins with the first of these."""
    try:
        return inspect.getblock(lines) if lines else []
    except (SyntaxError, IndentationError):
        return list(lines[:1])
