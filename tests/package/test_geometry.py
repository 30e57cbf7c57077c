"""Geometry from Graphviz's JSON: what counts up from the bottom counts down from the top, and arrows have heads."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from definebyrun.drawing.geometry import HEAD_LENGTH, PAD, Point, Route, read_geometry
from definebyrun.drawing.layout import run_dot

GRAPH = {
    "bb": "10,20,110,220",
    "objects": [
        {"name": "cluster_f0", "bb": "10,120,60,220", "lp": "35,210"},
        {"name": "n0", "pos": "35,170", "width": "0.5", "height": "1"},
        {"name": "ranked"},  # a subgraph that is no cluster has no place
    ],
    "edges": [
        {"id": "e0", "pos": "e,60,70 40,120 40,110 50,100 60,77"},
        {"id": "e1", "pos": "40,120 40,110 50,100 60,77", "lp": "50,95"},
    ],
}


def test_the_upper_left_corner_is_the_origin_and_down_is_positive() -> None:
    found = read_geometry(json.dumps(GRAPH))
    assert found.boxes == {"f0": (0, 0, 50, 100), "n0": (7, 14, 36, 72)}
    assert (found.width, found.height) == (100 + 2 * PAD, 200 + 2 * PAD)
    with_arrow, without = found.routes["e0"], found.routes["e1"]
    assert with_arrow.points == without.points == [(30, 100), (30, 110), (40, 120), (50, 143)]
    assert (with_arrow.tip, with_arrow.label) == ((50, 150), None)
    assert (without.tip, without.label) == (None, (40, 125))
    assert without.head() == []


@pytest.mark.parametrize("way", [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0), (0.6, 0.8)])
def test_a_head_begins_where_its_curve_ends_and_points_the_same_way(way: Point) -> None:
    dx, dy = way
    one, tip, two = Route([(5.0, 5.0)], (5 + 20 * dx, 5 + 20 * dy)).head()
    assert tip == pytest.approx((5 + HEAD_LENGTH * dx, 5 + HEAD_LENGTH * dy))
    assert ((one[0] + two[0]) / 2, (one[1] + two[1]) / 2) == pytest.approx((5, 5))
    across = two[0] - one[0], two[1] - one[1]
    assert across[0] * dx + across[1] * dy == pytest.approx(0)
    assert across[0] ** 2 + across[1] ** 2 == pytest.approx(25)


def straight(*stops: float) -> Route:
    """Curves straight down from stop to stop."""
    points = [(0.0, stops[0])]
    for start, end in pairwise(stops):
        third = (end - start) / 3
        points += [(0.0, start + third), (0.0, end - third), (0.0, end)]
    return Route(points)


@pytest.mark.parametrize(
    "stops", [(0, 30), (0, 10, 30), (0, 20, 30), (0, 1, 2, 30), (0, 28, 29, 30)]
)
def test_the_middle_of_a_route_is_the_middle_of_its_length(stops: tuple[float, ...]) -> None:
    assert straight(*stops).middle() == pytest.approx((0, 15))


def test_the_middle_of_a_route_with_a_corner_is_on_the_longer_side() -> None:
    down = straight(0, 20).points
    route = Route([*down, (3.0, 20.0), (7.0, 20.0), (10.0, 20.0)])
    assert route.middle() == pytest.approx((0, 15), abs=0.2)


def test_a_route_without_length_has_a_middle_too() -> None:
    assert straight(4, 4).middle() == (0, 4)


def test_a_cluster_lies_where_graphviz_draws_it() -> None:
    dot = 'digraph {subgraph cluster_f0 {a [fixedsize=true width=1 height=1 label=""]} a -> b [id=e0]}'
    found = read_geometry(run_dot(dot, "json0"))
    left, top, width, height = found.boxes["f0"]
    x, y, *_ = found.boxes["a"]
    assert left < x < left + width
    assert top < y < top + height
    assert found.boxes["b"][1] > top + height
    assert found.routes["e0"].points[0][1] < found.routes["e0"].points[-1][1]
