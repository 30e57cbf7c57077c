"""Cards, links and Graphviz's layout go in, the finished SVG comes out: our own cards at Graphviz's places.

Every text that changes over time stands there once for each state, marked with the steps `data-f` (from) to
`data-u` (until) in which it holds; cards and links carry the step `data-b` in which they are born. As written,
the picture shows the end of the run: without scripts it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..cards.clusters import Cluster
from ..cards.model import AGAIN, Card, Link, State
from .dot import ALONE, FILL, LINE
from .geometry import PAD as GRAPH_PAD
from .geometry import Box, Point, Route, read_geometry
from .layout import layout_dot, run_dot
from .leaf_groups import GRADIENT_CHAR_WIDTH, group_leaves, open_groups
from .metrics import CARD_PAD, ROW_HEIGHT, card_size

__all__ = ["Picture", "render"]

AGAIN_WIDTH = 57.0
"""Points that the word on an arrow back takes, in the size of small print."""
ROOM = 8
"""Points around a comparison, for the marks on the clusters of its outermost cards."""
_SPECIAL = re.compile("[&<>\"']")


@dataclass(frozen=True)
class Picture:
    """A finished picture and its natural size in pixels."""

    svg: str
    width: float
    height: float


def render(
    cards: list[Card],
    links: list[Link],
    label: str,
    clusters: Sequence[Cluster] = (),
    large: bool = False,
) -> Picture:
    """Lay out and draw; `label` is the text alternative, and a large graph has its leaves beside what uses them.

    Raises `layout.LayoutError` without an engine.
    """
    sizes = {card.id: card_size(card) for card in cards}
    groups = group_leaves(cards, links, clusters, sizes) if large else {}
    dot = layout_dot(cards, links, clusters, sizes, groups, large)
    geometry = open_groups(groups, read_geometry(run_dot(dot, "json0")))
    boxes, routes = geometry.boxes, geometry.routes
    horizontal = {link.id for group in groups.values() for link in group.horizontal}
    parts = [_cluster(cluster, boxes[cluster.id]) for cluster in clusters]
    for link in links:
        parts += _link(link, routes[link.id])
    for cluster in clusters:
        x, y, _, _ = boxes[cluster.id]
        roll = " dbr-rolled" if cluster.rolled else " dbr-second" if cluster.made else ""
        kind, place = f"dbr-k dbr-name{roll}", f"{x + CARD_PAD:.1f}"
        parts.append(_text(kind, place, y + 15, cluster.label, extra=_since(cluster)))
    for card in cards:
        parts += _card(card, boxes[card.id])
    for link in links:
        if link.flows:
            parts += _flows(link, routes[link.id], geometry.width, link.id in horizontal)
    room = ROOM if any(card.side for card in cards) else 0
    width, height = geometry.width + 2 * room, geometry.height + 2 * room
    corner = -GRAPH_PAD - room
    svg = (
        f'<svg class="dbr-svg" xmlns="http://www.w3.org/2000/svg" viewBox="{corner:g} {corner:g} {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{escape(label)}" '
        f'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="12">'
        + "".join(parts)
        + "</svg>"
    )
    return Picture(svg, width, height)


def _cluster(cluster: Cluster, box: Box) -> str:
    x, y, width, height = box
    kind = " dbr-roll" if cluster.rolled else " dbr-gen" if cluster.made else ""
    dash = ' stroke-dasharray="2 4" stroke-linecap="round"' if cluster.made else ""
    return (
        f'<g class="dbr-f{kind}"{_since(cluster)}><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="8" fill="#f6f9fd" stroke="{LINE["made" if cluster.made else "inner"]}"{dash}/></g>'
    )


def _since(cluster: Cluster) -> str:
    """A graph that a backward pass makes is not there before."""
    return f' data-b="{cluster.born}"' if cluster.made else ""


def _link(link: Link, route: Route) -> list[str]:
    kind, dash = ("edge", "") if link.edge is not None else ("data", ' stroke-dasharray="5 3"')
    colour = "#33527a" if link.edge is not None else "#77776f"
    if link.back:
        dash = ' stroke-dasharray="5 3"'
    mark, wide = "", "1.4"
    if link.side:
        (x, y), wide, colour = route.middle(), "2.2", ALONE.get(link.side, colour)
        look = f' fill="{colour}" font-size="11" font-weight="700"'
        mark = _text("dbr-m", f"{x - 5:.1f}", y + 4, link.side, True, look)
    parts = [
        f'<g class="dbr-e dbr-{kind}{_only(link.side)}" data-e="{link.id}" data-b="{link.born}">'
        f'<path d="{_curves(route)}" fill="none" stroke="{colour}" stroke-width="{wide}"{dash}/>'
        f'<polygon points="{_corners(route.head())}" fill="{colour}"/>{mark}</g>'
    ]
    if link.back and route.label is not None:
        x, y = route.label
        parts.append(_text("dbr-k", f"{x - AGAIN_WIDTH / 2:.1f}", y + 4, AGAIN))
    return parts


def _curves(route: Route) -> str:
    """The `d` of a path: cubic Bézier curves end to end."""
    start, *rest = route.points
    return f"M{_corners([start])}C{_corners(rest)}"


def _corners(points: Sequence[Point]) -> str:
    return " ".join([f"{x:.1f},{y:.1f}" for x, y in points])


def _flows(link: Link, route: Route, right: float, horizontal: bool) -> list[str]:
    """The gradients that go along a link, beside its middle: above the cards, and on the side where there is room.

    Over a link that runs level they stand above it.
    """
    parts = []
    middle = route.middle()
    for flow in link.flows:
        rows, (x, y) = flow.text.split("\n"), middle
        wide = GRADIENT_CHAR_WIDTH * max(map(len, rows))
        if horizontal:
            x, y = x - 7 - wide / 2, route.top() - 10 - 13 * (len(rows) - 1)
        end = x + 7 + wide > right  # else it would be cut off
        place = f"{x - 7 if end else x + 7:.1f}"
        when = f' data-f="{flow.since}" data-u="{flow.since + 1}"'
        for row, text in enumerate(rows):
            parts.append(_text("dbr-g dbr-off", place, y + 4 + 13 * row, text, end, when))
    return parts


def _card(card: Card, box: Box) -> list[str]:
    x, y, width, height = box
    left, right, base = f"{x + CARD_PAD:.1f}", f"{x + width - CARD_PAD:.1f}", y + CARD_PAD / 2 + 12
    colour, fill = LINE.get(card.kind, "#77776f"), FILL.get(card.kind, "#ffffff")
    radius = 14 if card.kind in ("leaf", "parameter") else 3
    names = f"dbr-c dbr-{card.kind}" + (" dbr-out" if card.output else "") + _only(card.side)
    parts = [
        f'<g class="{names}" data-c="{card.id}" data-b="{card.born}">{_stack(card, box, colour)}'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}" '
        f'fill="{fill}" stroke="{colour}"{_dash(card)}/>'
    ]
    if card.output:
        parts.append(
            f'<rect x="{x + 3:.1f}" y="{y + 3:.1f}" width="{width - 6:.1f}" height="{height - 6:.1f}" rx="1" '
            f'class="dbr-ring" fill="none" stroke="{colour}"/>'
        )
    parts.append(_text("dbr-t", left, base, card.title))
    if card.corner:
        parts.append(_text("dbr-k", right, base, card.corner, end=True))
    base += ROW_HEIGHT
    for values in filter(None, (card.values, card.more_values)):
        parts += _states("dbr-v", left, base, values)
        base += ROW_HEIGHT
    if card.function:
        rule = base - 12
        parts.append(
            f'<path class="dbr-rule" d="M{x:.1f} {rule:.1f}h{width:.1f}" stroke="{colour}"/>'
        )
        parts.append(_text("dbr-n", left, base, card.function))
        if card.keeps:
            parts += _states("dbr-k", right, base, card.keeps, end=True)
        base += ROW_HEIGHT
    if card.origin:
        parts.append(_text("dbr-n", left, base, card.origin))
        base += ROW_HEIGHT
    for grads in filter(None, (card.grads, card.more_grads)):
        parts += _states("dbr-d", left, base, grads)
        base += ROW_HEIGHT
    if card.side:
        parts += _alone(card.side, box, radius)
    return [*parts, "</g>"]


def _stack(card: Card, box: Box, colour: str) -> str:
    """Two edges of further cards behind a folded one."""
    if not card.folded:
        return ""
    x, y, width, height = box
    line = "".join(f"M{x + d:.1f} {y + height + d:.1f}h{width:.1f}v{-height:.1f}" for d in (3, 6))
    return f'<path class="dbr-stack" d="{line}" fill="none" stroke="{colour}"/>'


def _only(side: str) -> str:
    return f" dbr-only{side}" if side else ""


def _alone(side: str, box: Box, radius: float) -> list[str]:
    """What only one run did: a bar along the cluster, left for A and right for B, and a tab that says so."""
    x, y, width, height = box
    at, inward = (x, 1) if side == "A" else (x + width, -1)
    sweep, wide = int(side == "B"), 44
    turn = f"a{radius} {radius} 0 0 {sweep} {-inward * radius} {radius}"
    back = f"a{radius} {radius} 0 0 {sweep} {inward * radius} {radius}"
    tab = x + 12 if side == "A" else x + width - 12 - wide
    return [
        f'<path class="dbr-bar-only" d="M{at + inward * radius:.1f} {y:.1f}{turn}v{height - 2 * radius:.1f}{back}" '
        f'fill="none" stroke="{ALONE[side]}" stroke-width="5"/>'
        f'<rect class="dbr-tab" x="{tab:.1f}" y="{y - 10:.1f}" width="{wide}" height="14" rx="7" '
        f'fill="{ALONE[side]}"/>'
        f'<text class="dbr-tab-t" x="{tab + wide / 2:.1f}" y="{y + 0.5:.1f}" text-anchor="middle" '
        f'font-size="10" fill="#fff">only {side}</text>'
    ]


def _dash(card: Card) -> str:
    return ' stroke-dasharray="4 3"' if card.kind in ("constant", "plain") else ""


def _text(kind: str, x: str, y: float, words: str, end: bool = False, extra: str = "") -> str:
    """A text at a place, `x` as it is written: many stand one below the other."""
    return _worded(kind, _at(x, y, end) + extra, words)


def _at(x: str, y: float, end: bool) -> str:
    return f'x="{x}" y="{y:.1f}"' + (' text-anchor="end"' if end else "")


def _worded(kind: str, place: str, words: str) -> str:
    words = escape(words) if _SPECIAL.search(words) else words
    return f'<text class="{kind}" {place}>{words}</text>'


def _states(kind: str, x: str, y: float, states: list[State], end: bool = False) -> list[str]:
    """One text for each state; all but the last are off."""
    place, texts, last = _at(x, y, end), [], len(states) - 1
    for at, state in enumerate(states):
        since, words = state.since, state.text
        names = f"{kind} dbr-not" if words.endswith("not yet") else kind
        when = f' data-f="{since}"' if since or last else ""
        if at < last:
            when += f' data-u="{states[at + 1].since}"'
            names += " dbr-off"
        texts.append(_worded(names, place + when, words))
    return texts
