"""Words, places and colours go in, pieces of SVG come out: what all shapes of a picture are written with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from .geometry import Point
from .metrics import SMALL_PRINT_SIZE
from .palette import SMALL_PRINT_INK

__all__ = [
    "BOLD",
    "END",
    "SMALL",
    "at_point",
    "escaped",
    "group",
    "point_list",
    "rect_attributes",
    "text_element",
]

BOLD = ' font-weight="700"'
SMALL = f'fill="{SMALL_PRINT_INK.light}" font-size="{SMALL_PRINT_SIZE}"'
END = ' text-anchor="end"'
_NOT_IN_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What no XML document may hold, not even escaped."""
_SPECIAL = re.compile(f"[&<>\"']|{_NOT_IN_XML.pattern}")


def group(shared: str, parts: Iterable[str]) -> str:
    """Parts that share attributes; nothing where there are none."""
    inside = "".join(parts)
    return f"<g {shared}>{inside}</g>" if inside else ""


def escaped(words: str) -> str:
    """A text for XML; in place of what XML cannot hold stands the sign for what is unknown."""
    return escape(_NOT_IN_XML.sub("\ufffd", words))


def text_element(attributes: str, words: str) -> str:
    """A text, escaped."""
    words = escaped(words) if _SPECIAL.search(words) else words
    return f"<text {attributes}>{words}</text>"


def at_point(x: float, y: float, end: bool = False) -> str:
    """Where a text begins, or ends, on its base line. Lengths are said to a tenth of a point: nobody sees more."""
    return f'x="{x:.1f}" y="{y:.1f}"{END if end else ""}'


def rect_attributes(x: float, y: float, width: float, height: float) -> str:
    """Where a rectangle lies."""
    return f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'


def point_list(points: Sequence[Point]) -> str:
    """Points as a path or a polygon lists them."""
    flat = [part for point in points for part in point]
    return ("%.1f,%.1f " * len(points) % tuple(flat))[:-1]
