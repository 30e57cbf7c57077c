"""Bytes kept alive after every step go in, a tuple that can show itself comes out: numbers, and in a notebook a plot.

The plot is an image with a description in words, so it is seen where a notebook viewer strips styles and
scripts, and read where it is not seen. matplotlib is imported when a notebook asks for the plot, and not before.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from importlib.util import find_spec
from typing import Self

from . import plots
from .brief import size

__all__ = ["Kept"]


class Kept(tuple[int, ...]):
    """Bytes after each step, a tuple in every way; `backward` says of each step whether it ran backward.

    >>> kept = Kept((16, 48, 48, 0), (False, False, True, True))
    >>> kept, kept == (16, 48, 48, 0), max(kept)
    ((16, 48, 48, 0), True, 48)
    >>> kept.description()
    'Memory that the graph keeps alive: at most 48 B, after step 2 of 4; 0 B at the end. Backward begins with step 3.'
    """

    backward: tuple[bool, ...]

    def __new__(cls, parts: tuple[int, ...], backward: tuple[bool, ...]) -> Self:
        """`ValueError` unless there is one `backward` for each part."""
        if len(parts) != len(backward):
            raise ValueError(
                f"each step needs its bytes and its phase; got {len(parts)} and {len(backward)}."
            )
        self = super().__new__(cls, parts)
        self.backward = tuple(backward)
        return self

    def __getnewargs__(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return tuple(self), self.backward

    def description(self) -> str:
        """What the plot shows, in words."""
        if not self:
            return "Memory that the graph keeps alive: no step was recorded."
        text = (
            f"Memory that the graph keeps alive: at most {size(max(self))}, after step {self.index(max(self)) + 1} "
            f"of {len(self)}; {size(self[-1])} at the end."
        )
        if True in self.backward:
            text += f" Backward begins with step {self.backward.index(True) + 1}."
        return text

    def _repr_html_(self) -> str | None:
        if not self or find_spec("matplotlib") is None:
            return None  # the numbers are shown
        words = self.description()
        address = b64encode(plots.memory(self, self.backward, words).encode()).decode()
        return f'<img alt="{escape(words)}" src="data:image/svg+xml;base64,{address}">'
