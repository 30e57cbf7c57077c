"""Graphviz's SVG goes in, places come out: the size of the picture, and for every id of the DOT its shapes.

Its SVG is regular (a group for each card, link and frame, none within another), and long: reading just these groups
takes a small part of what making a tree of all elements does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Places", "Shape", "bounds", "numbers", "places"]

_MARKS = str.maketrans("MC,", "   ")
_VIEW = re.compile(r'viewBox="([^"]*)"')
_SHIFT = re.compile(r"translate\(([^)]*)\)")
_GROUP = re.compile(r'<g id="([^"]+)" class="(?:node|edge|cluster)[^"]*">(.*?)</g>', re.DOTALL)
_SHAPE = re.compile(r'<(path|polygon)(?: fill="([^"]*)")?[^>]* (?:d|points)="([^"]*)"')

Shape = tuple[str, str, str]
"""`path` or `polygon`, its fill, its coordinates as SVG writes them."""


@dataclass(frozen=True)
class Places:
    """Width and height of the picture, how far its content is moved, and the shapes by id."""

    width: float
    height: float
    shift: tuple[str, str]
    shapes: dict[str, list[Shape]]


def places(svg: str) -> Places:
    """What Graphviz has drawn where.

    >>> found = places(
    ...     '<svg viewBox="0.00 0.00 62.00 44.00"><g id="graph0" class="graph" transform="translate(4 40)">'
    ...     '<g id="n0" class="node"><polygon fill="none" points="54,-36 0,-36 0,0 54,0"/></g></g></svg>'
    ... )
    >>> found.width, found.shift, found.shapes["n0"]
    (62.0, ('4', '40'), [('polygon', 'none', '54,-36 0,-36 0,0 54,0')])
    """
    view, shift = _VIEW.search(svg), _SHIFT.search(svg)
    *_, width, height = numbers(view[1]) if view else (0.0, 0.0)
    x, y = shift[1].replace(",", " ").split() if shift else ("0", "0")
    shapes = {name: _SHAPE.findall(inside) for name, inside in _GROUP.findall(svg)}
    return Places(width, height, (x, y), shapes)


def numbers(coordinates: str) -> list[float]:
    """The coordinates of a polygon or of a path of curves.

    >>> numbers("M1.5,-2C3,4 5,6 7,8")
    [1.5, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    """
    return list(map(float, coordinates.translate(_MARKS).split()))


def bounds(shape: Shape) -> tuple[float, float, float, float]:
    """Left, top, width and height of a shape.

    >>> bounds(("polygon", "none", "54,-36 0,-36 0,0 54,0"))
    (0.0, -36.0, 54.0, 36.0)
    """
    found = numbers(shape[2])
    xs, ys = found[::2], found[1::2]
    left, top = min(xs), min(ys)
    return left, top, max(xs) - left, max(ys) - top
