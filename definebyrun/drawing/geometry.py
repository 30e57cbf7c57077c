"""Graphviz's SVG goes in, places come out: the size of the picture, a box for each card and cluster, a line for a link.

Its SVG is regular (a group for each card, link and cluster, in which none of these lies), and long: reading just these
groups takes a small part of what making a tree of all elements does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

__all__ = ["Box", "Geometry", "Point", "Route", "read_geometry"]

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, width and height."""

_VIEW = re.compile(r'viewBox="([^"]*)"')
_SHIFT = re.compile(r"translate\(([^)]*)\)")
_FINE = re.compile(r"(?<=\.\d)\d+")


@dataclass(slots=True)
class Route:
    """How a link runs: its curves and the head of its arrow, as SVG writes them, and the room of its label."""

    curves: str
    head: str
    room: Box | None = None

    def middle(self) -> Point:
        """The middle of the curves, by the lengths of their chords: near enough to put a word beside it.

        >>> Route("M0,0C0,10 0,20 0,30", "").middle()
        (0.0, 15.0)
        """
        found = _numbers(self.curves)
        if len(found) == 8:  # a single curve, most often
            ax, ay, bx, by, cx, cy, dx, dy = found
            across = 0.125 * ax + 0.375 * bx + 0.375 * cx + 0.125 * dx
            return across, 0.125 * ay + 0.375 * by + 0.375 * cy + 0.125 * dy
        points = list(zip(found[::2], found[1::2], strict=True))
        chords = [hypot(bx - ax, by - ay) for (ax, ay), (bx, by) in pairwise(points[::3])]
        rest, at = sum(chords) / 2, 0
        while rest > chords[at] and at + 1 < len(chords):
            rest, at = rest - chords[at], at + 1
        t = rest / chords[at] if chords[at] else 0.5
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = points[3 * at : 3 * at + 4]
        return a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy

    def top(self) -> float:
        """Where the highest point of the curves is, of those that SVG names.

        >>> Route("M0,5C0,10 0,20 0,30", "").top()
        5.0
        """
        return min(_numbers(self.curves)[1::2])


@dataclass(frozen=True)
class Geometry:
    """Width and height of the picture, how far its content is moved; boxes and lines by id."""

    width: float
    height: float
    shift: tuple[str, str]
    boxes: dict[str, Box]
    lines: dict[str, Route]


def read_geometry(svg: str) -> Geometry:
    """What Graphviz has drawn where.

    >>> found = read_geometry(
    ...     '<svg viewBox="0.00 0.00 62.00 44.00"><g id="graph0" class="graph" transform="translate(4 40)">'
    ...     '<g id="n0" class="node"><polygon fill="none" points="54,-36 0,-36 0,0 54,0"/></g></g></svg>'
    ... )
    >>> found.width, found.shift, found.boxes["n0"]
    (62.0, ('4', '40'), (0.0, -36.0, 54.0, 36.0))
    """
    view, shift = _VIEW.search(svg), _SHIFT.search(svg)
    *_, width, height = _numbers(view[1]) if view else (0.0, 0.0)
    x, y = shift[1].replace(",", " ").split() if shift else ("0", "0")
    boxes: dict[str, Box] = {}
    lines: dict[str, Route] = {}
    for group in svg.split('<g id="')[1:]:
        name, _, inside = group.partition('" class="')
        kind, _, inside = inside.partition('"')
        inside = inside.partition("</g>")[0]
        if kind == "edge":
            lines[name] = _line(inside)
        elif kind == "node":
            boxes[name] = _box(_value(inside, "points"))
        elif kind == "cluster":  # a path has round corners
            boxes[name] = _box(_value(inside, "d" if "<path" in inside else "points"))
    return Geometry(width, height, (x, y), boxes, lines)


def _line(inside: str) -> Route:
    """A link from its shapes: a path, the head of an arrow if it has one, the white room of a label."""
    curve, *shapes = inside.split("<polygon")
    found = Route(_FINE.sub("", _value(curve, "d")), "")
    for shape in shapes:
        if 'fill="white"' in shape:
            found.room = _box(_value(shape, "points"))
        else:
            found.head = _FINE.sub("", _value(shape, "points"))
    return found


def _value(shape: str, name: str) -> str:
    """What an attribute holds."""
    return shape.partition(f' {name}="')[2].partition('"')[0]


def _numbers(coordinates: str) -> list[float]:
    """The coordinates of a polygon or of a path of curves."""
    return list(
        map(float, coordinates.replace("M", "").replace("C", " ").replace(",", " ").split())
    )


def _box(coordinates: str) -> Box:
    """The box around a polygon or a path."""
    found = _numbers(coordinates)
    xs, ys = found[::2], found[1::2]
    left, top = min(xs), min(ys)
    return left, top, max(xs) - left, max(ys) - top
