"""Cards, links and clusters go in, the place of each comes out: by Graphviz, within a bound that is counted beforehand.

What a layout costs is known from the ranks that its links cross. Where they are too many, the links that the
order of the others implies are not given to Graphviz but drawn as arcs beside the cards; where that is not enough,
all links are straight and Graphviz works in a process of its own, which is stopped when it takes too long. Which of
these ways is taken is decided by numbers of links alone, so the same graph has the same picture on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from ..cards.clusters import Cluster
from ..cards.model import Card, Link
from .crossings import implied_links, ranks_crossed
from .geometry import HEAD_LENGTH, PAD, Box, Geometry, Route, read_geometry
from .layout import STRAIGHT, TooLargeError, layout_dot, run_dot
from .leaf_groups import LeafGroup, group_leaves, open_groups
from .metrics import card_size

__all__ = ["MAX_RANKS_CROSSED", "Placement", "place"]

MAX_RANKS_CROSSED = 1_500
"""Ranks that all links together may cross in an ordinary layout: at most about half a second of one core."""
MAX_RANKS_BESIDE = 2
"""Where there are arcs, a link that crosses no more ranks than this is none: it runs beside a single card."""
CLUSTER_RANKS, BACK_RANKS = 25, 10
"""A cluster takes Graphviz as long as so many ranks that links cross, and a rank that a link crosses back as so many:
75 cards with 20 labelled links from the last to the first of them take 2 s."""
MAX_RANKS_CROSSED_STRAIGHT = 4_000
"""The same where links are straight and the layout is not polished; more is laid out only for `unlimited`."""
MAX_LAYOUT_SECONDS, MAX_LAYOUT_SECONDS_ASKED = 4.0, 120.0
"""After this time a layout in a process of its own is stopped; the second is for `unlimited`. The bounds above let
none through that takes so long on a machine with nothing else to do."""
ARC_ROOM, ARC_ROOM_GROWTH = 16.0, 2.2
"""Points: how far an arc stands off at least, and by how much more for each square root of a point of its height."""

ARCS = "Arrows that lead past other cards are arcs beside them: there are too many to lead each around the cards."
LINES = "Arrows are straight lines: there are too many to bend each around the cards."


@dataclass(frozen=True)
class Placement:
    """Where everything lies. `horizontal` are the links that run level; `note` says how links are simplified, if so."""

    geometry: Geometry
    horizontal: frozenset[str]
    note: str = ""


def place(
    cards: Sequence[Card],
    links: Sequence[Link],
    clusters: Sequence[Cluster] = (),
    large: bool = False,
    *,
    unlimited: bool = False,
    right: bool = False,
    close: bool = False,
    straight: bool = True,
) -> Placement:
    """Lay out a picture; in a `large` one leaves stand beside what uses them, and modules below each other.

    With `right` data flows from left to right, and each card stands for itself, in a large picture too. In a `close`
    one cards of one rank stand closer together.

    Raises `LayoutError` without an engine, and `TooLargeError` where there are too many links, unless `unlimited`, or
    too little time; also, where `straight` is false, instead of drawing straight lines.
    """
    large = large and not right
    sizes = {card.id: card_size(card) for card in cards}
    groups = group_leaves(cards, links, clusters, sizes) if large else {}
    room = MAX_RANKS_CROSSED - CLUSTER_RANKS * len(clusters)
    below = [Link(f"i{card.id}", card.after, card.id, 0) for card in cards if card.after]
    crossed = _cost([*links, *below], groups)
    arcs, laid_out, settings, seconds = set[str](), list(links), "", None
    if sum(crossed.values()) > room:
        arcs = {
            name
            for name in implied_links([*links, *below])
            if crossed.get(name, 0) > MAX_RANKS_BESIDE
        }
        arcs -= {link.id for link in below}
        laid_out = [link for link in links if link.id not in arcs]
        groups = group_leaves(cards, laid_out, clusters, sizes) if large else {}
        total = sum(_cost([*laid_out, *below], groups).values())
        most = MAX_RANKS_CROSSED_STRAIGHT if straight else room
        if total > most and not unlimited:
            raise TooLargeError(
                f"This graph has {len(links):,} arrows between {len(cards):,} cards, too many to lay out: "
                "only the text is shown."
            )
        if total > room:
            settings = STRAIGHT
            seconds = MAX_LAYOUT_SECONDS_ASKED if unlimited else MAX_LAYOUT_SECONDS
    column = bool(arcs)
    dot = layout_dot(
        cards, laid_out, clusters, sizes, groups, large, settings, column, right, close
    )
    geometry = open_groups(groups, read_geometry(run_dot(dot, "json0", seconds)))
    if arcs:
        geometry = _transposed(geometry) if right else geometry
        _draw_arcs(geometry, [link for link in links if link.id in arcs])
        geometry = _transposed(geometry) if right else geometry
    level = links if right else [link for group in groups.values() for link in group.horizontal]
    horizontal = frozenset(link.id for link in level)
    note = " ".join(said for said, so in ((ARCS, arcs), (LINES, settings)) if so)
    return Placement(geometry, horizontal, note)


def _cost(links: Sequence[Link], groups: dict[str, LeafGroup]) -> dict[str, int]:
    """By link that Graphviz is given, the ranks that it crosses; one that leads back costs more."""
    within = {link.id for group in groups.values() for link in group.links}
    outside = [link for link in links if link.id not in within]
    crossed = ranks_crossed(outside)
    return {link.id: crossed[link.id] * (BACK_RANKS if link.back else 1) for link in outside}


def _transposed(geometry: Geometry) -> Geometry:
    """What was across is down: arcs beside the cards come to lie below them."""
    boxes = {name: (y, x, height, width) for name, (x, y, width, height) in geometry.boxes.items()}
    routes = {
        name: Route(
            [(y, x) for x, y in route.points],
            route.tip and (route.tip[1], route.tip[0]),
            route.label and (route.label[1], route.label[0]),
        )
        for name, route in geometry.routes.items()
    }
    return Geometry(geometry.height, geometry.width, boxes, routes)


def _draw_arcs(geometry: Geometry, links: Sequence[Link]) -> None:
    """Add a route for each link: out of the right side of a card, and into that of the other."""
    arriving = _shares([(link.head, link) for link in links], geometry.boxes, by=1)
    leaving = _shares([(link.tail, link) for link in links], geometry.boxes, by=-1)
    for link in links:
        start_x, start = _right(geometry.boxes[link.tail]), leaving[link.id]
        end_x, end = _right(geometry.boxes[link.head]), arriving[link.id]
        out = max(start_x, end_x) + ARC_ROOM + ARC_ROOM_GROWTH * 4 / 3 * sqrt(abs(end - start))
        points = [(start_x, start), (out, start), (out, end), (end_x + HEAD_LENGTH, end)]
        route = geometry.routes[link.id] = Route(points, (end_x, end))
        route.label = route.middle() if link.back else None
        geometry.width = max(geometry.width, ceil(route.middle()[0] + 2 * PAD))


def _right(box: Box) -> float:
    return box[0] + box[2]


def _shares(ends: list[tuple[str, Link]], boxes: dict[str, Box], by: int) -> dict[str, float]:
    """By link: at which height it meets a card, whose arcs share its side; the one from nearest by is the uppermost."""
    at_card: dict[str, list[Link]] = {}
    for card, link in ends:
        at_card.setdefault(card, []).append(link)
    found: dict[str, float] = {}
    for card, links in at_card.items():
        _, top, _, height = boxes[card]
        links.sort(key=lambda link: -boxes[link.tail][1] if by > 0 else boxes[link.head][1])
        for number, link in enumerate(links, 1):
            found[link.id] = top + height * number / (len(links) + 1)
    return found
