"""Graphviz's JSON goes in, geometry comes out: the size of the picture, boxes of cards and clusters, routes of links.

Read are the attributes that Graphviz's documentation names: `bb` of the graph and of clusters, `pos`, `width` and
`height` of nodes, `pos` and `lp` of edges. Graphviz counts up from the bottom, in points and for nodes in inches; SVG
counts down from the top, and so does everything here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from math import hypot
from typing import Any

__all__ = [
    "CORNER_HANDLE",
    "HEAD_LENGTH",
    "PAD",
    "Box",
    "Geometry",
    "Point",
    "Route",
    "read_geometry",
]

Point = tuple[float, float]
"""Across and down, in points."""
Box = tuple[float, float, float, float]
"""Left, top, width and height, in points."""

PAD = 4.0
"""Points that Graphviz's own pictures keep free around the graph (its `pad` is 0.0555 inches)."""
POINTS_PER_INCH = 72.0
HEAD_LENGTH, HALF_HEAD_WIDTH = 7.0, 2.5
"""Points of an arrow's head, as large as Graphviz's at the `arrowsize` of 0.7: 0.7 × 10 long and 0.7 × 7 wide."""
CORNER_HANDLE = 0.4477
"""Of the radius: how far from the corner the controls of a cubic Bézier curve lie that is nearest to a quarter circle.

That is 1 - 4/3 (√2 - 1); the curve is nowhere further from the circle than 0.03 % of the radius.
"""


@dataclass(slots=True)
class Route:
    """How a link runs: cubic Bézier curves end to end, the tip of the arrow, the middle of its label.

    `points` are the start and three points for each curve: two controls and its end, where the arrow's head begins.
    `tip` is what the arrow points at, None where there is no arrow; `label` is None where there is none.
    """

    points: list[Point]
    tip: Point | None = None
    label: Point | None = None

    def head(self) -> list[Point]:
        """The corners of the arrow's head, which begins where the curves end; empty without a tip.

        Graphviz leaves room for a border around the head, 1.7 points at its tip: our heads have none.

        >>> Route([(0.0, 0.0), (0.0, 1.0), (0.0, 2.0), (0.0, 3.0)], (0.0, 11.7)).head()
        [(-2.5, 3.0), (0.0, 10.0), (2.5, 3.0)]
        """
        if self.tip is None:
            return []
        (x, y), (tip_x, tip_y) = self.points[-1], self.tip
        length = hypot(tip_x - x, tip_y - y) or 1.0
        dx, dy = (tip_x - x) / length, (tip_y - y) / length
        wing_x, wing_y = HALF_HEAD_WIDTH * dy, HALF_HEAD_WIDTH * dx
        end = x + HEAD_LENGTH * dx, y + HEAD_LENGTH * dy
        return [(x - wing_x, y + wing_y), end, (x + wing_x, y - wing_y)]

    def middle(self) -> Point:
        """The middle of the curves, by the lengths of their chords: near enough to put a word beside it.

        Within the curve that holds the middle it is the point at `t` of Bernstein's form of a cubic Bézier curve,
        `(1 - t)³ a + 3t(1 - t)² b + 3t²(1 - t) c + t³ d`: for the only curve of a route at t = 1/2, so
        `(a + 3b + 3c + d) / 8`.

        >>> Route([(0.0, 0.0), (0.0, 10.0), (0.0, 20.0), (0.0, 30.0)]).middle()
        (0.0, 15.0)
        """
        chords = [hypot(bx - ax, by - ay) for (ax, ay), (bx, by) in pairwise(self.points[::3])]
        rest, at = sum(chords) / 2, 0
        while rest > chords[at]:
            rest, at = rest - chords[at], at + 1
        t = rest / chords[at] if chords[at] else 0.5
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = self.points[3 * at : 3 * at + 4]
        return a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy

    def top(self) -> float:
        """The least `y` of the points that describe the curves.

        >>> Route([(0.0, 5.0), (0.0, 10.0), (0.0, 20.0), (0.0, 30.0)]).top()
        5.0
        """
        return min(y for _, y in self.points)


@dataclass(slots=True)
class Geometry:
    """Width and height of the picture, boxes of cards and clusters and routes of links by id."""

    width: float
    height: float
    boxes: dict[str, Box]
    routes: dict[str, Route]


def read_geometry(laid_out: str) -> Geometry:
    """Where Graphviz has put everything, from its `json0`.

    The left upper corner of the graph is (0, 0); width and height have `PAD` on all sides.

    >>> found = read_geometry(
    ...     '{"bb": "0,0,54,108", "objects": ['
    ...     '{"_gvid": 0, "name": "n0", "pos": "27,90", "width": "0.75", "height": "0.5"},'
    ...     '{"_gvid": 1, "name": "n1", "pos": "27,18", "width": "0.75", "height": "0.5"}],'
    ...     '"edges": [{"id": "e0", "pos": "e,27,36 27,72 27,64 27,56 27,43"}]}'
    ... )
    >>> found.width, found.height, found.boxes["n0"]
    (62, 116, (0.0, 0.0, 54.0, 36.0))
    >>> found.routes["e0"].points[0], found.routes["e0"].tip
    ((27.0, 36.0), (27.0, 72.0))
    """
    graph: dict[str, Any] = json.loads(laid_out)
    left, bottom, right, top = _numbers(graph["bb"])
    boxes: dict[str, Box] = {}
    for each in graph.get("objects", ()):
        if "bb" in each:  # a cluster
            x, y, end, upper = _numbers(each["bb"])
            boxes[each["name"].removeprefix("cluster_")] = x - left, top - upper, end - x, upper - y
        elif "pos" in each:
            x, y = _numbers(each["pos"])
            width, height = (POINTS_PER_INCH * float(each[name]) for name in ("width", "height"))
            boxes[each["name"]] = x - left - width / 2, top - y - height / 2, width, height
    routes = {each["id"]: _route(each, left, top) for each in graph.get("edges", ())}
    width, height = (int(side + 2 * PAD + 0.5) for side in (right - left, top - bottom))
    return Geometry(width, height, boxes, routes)


def _route(edge: dict[str, Any], left: float, top: float) -> Route:
    """`e,tip start control control end …` as points; `e,tip` only where an arrow ends."""
    numbers = iter(_numbers(edge["pos"].removeprefix("e,").replace(" ", ",")))
    points = [(x - left, top - y) for x, y in zip(numbers, numbers, strict=True)]
    tip = points.pop(0) if edge["pos"].startswith("e,") else None
    label: Point | None = None
    if "lp" in edge:
        x, y = _numbers(edge["lp"])
        label = x - left, top - y
    return Route(points, tip, label)


def _numbers(text: str) -> list[float]:
    return list(map(float, text.split(",")))
