"""Cards, links and Graphviz's layout go in, the finished SVG comes out: our own cards where Graphviz puts them.

Every text that changes over time stands there once for each state, marked with the steps `data-f` (from) to
`data-u` (until) in which it holds; cards, links and clusters carry the step `data-b` in which they are born. As
written, the picture shows the end of the run: what does not hold then has `display="none"`. Colours are the light ones
of the palette; what several shapes share stands in a group around them. Classes are there for a page's style and
script alone: `dbr-c` a card, `dbr-e` a link, `dbr-name`, `dbr-g` and `dbr-m` words that stand on lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ..cards.clusters import Cluster
from ..cards.model import AGAIN, Card, Link, State, times_label
from .geometry import CORNER_HANDLE, Box, Point, Route
from .geometry import PAD as GRAPH_PAD
from .leaf_groups import GRADIENT_CHAR_WIDTH
from .metrics import CARD_PAD, ROW_HEIGHT, SMALL_PRINT_SIZE, TEXT_SIZE, TITLE_SIZE
from .palette import (
    BACKWARD,
    CLUSTER_FILL,
    CLUSTER_LINE,
    DATA_LINE,
    EDGE_LINE,
    INK,
    KINDS,
    MADE_FILL,
    MADE_LINE,
    ONLY,
    OP_LINE,
    PAPER,
    SMALL_PRINT_INK,
    Colour,
)
from .placement import Placement, place

__all__ = ["Picture", "render"]

FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace"
MARK_ROOM = 8.0
"""Points around a comparison, for the marks on its outermost cards."""
TAB_WIDTH, TAB_HEIGHT = 44.0, 14.0
"""Points: of the tab that says `only A`."""
BORDER_WIDTH, LINK_WIDTH, ALONE_WIDTH = 1.3, 1.4, 2.2
"""Points: of a card's border, of a link, of a link that only one run has."""
GRADIENT_GAP, GRADIENT_LINE = 7.0, 13.0
"""Points: from an arrow to the gradient beside it, and from line to line of that."""
TIMES_GAP = 13.0
"""Points from the beginning of an arrow down to the words that say how many links it stands for."""
RULE_OPACITY = 0.35
"""The line within a card, between what ran and its node, is an ornament: rows say it all."""
BOLD = ' font-weight="700"'
_NOT_IN_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What no XML document may hold, not even escaped."""
_SPECIAL = re.compile(f"[&<>\"']|{_NOT_IN_XML.pattern}")


@dataclass(frozen=True)
class Picture:
    """A finished picture and its natural size in pixels."""

    svg: str
    width: float
    height: float
    note: str = ""
    """How the arrows are simplified, in a sentence, where there are too many to lay out each."""


def render(
    cards: list[Card],
    links: list[Link],
    label: str,
    clusters: Sequence[Cluster] = (),
    large: bool = False,
    *,
    unlimited: bool = False,
    right: bool = False,
    placement: Placement | None = None,
) -> Picture:
    """Lay out, where that has not been done, and draw; `label` is the text alternative, `large` as for `place`.

    With `right` data flows from left to right.

    Raises `layout.LayoutError` without an engine, and where the layout would take too long, unless `unlimited`.
    """
    placement = placement or place(cards, links, clusters, large, unlimited=unlimited, right=right)
    geometry, horizontal = placement.geometry, placement.horizontal
    boxes, routes = geometry.boxes, geometry.routes
    flowing = [link for link in links if link.flows]
    parts = [
        _group(
            f'fill="{CLUSTER_FILL.light}" fill-opacity=".5" stroke="{CLUSTER_LINE.light}" stroke-width="1"',
            [_cluster(cluster, boxes[cluster.id]) for cluster in clusters],
        ),
        _group(
            f'fill="{EDGE_LINE.light}" stroke="{EDGE_LINE.light}" stroke-width="{LINK_WIDTH}"',
            [_link(link, routes[link.id]) for link in links],
        ),
        _group(
            f'class="dbr-name" {_SMALL}',
            [_cluster_label(cluster, boxes[cluster.id]) for cluster in clusters]
            + [_again(routes[link.id]) for link in links if link.back]
            + [_times(link, routes[link.id]) for link in links if link.times > 1 and not link.back],
        ),
        *(_card(card, boxes[card.id]) for card in cards),
        _group(
            f'class="dbr-g" fill="{BACKWARD.light}" font-size="11"{BOLD}',
            [
                _flows(link, routes[link.id], geometry.width, link.id in horizontal)
                for link in flowing
            ],
        ),
    ]
    room = MARK_ROOM if any(card.side for card in cards) else 0
    width, height = geometry.width + 2 * room, geometry.height + 2 * room
    corner = -GRAPH_PAD - room
    start = (
        f'<svg class="dbr-svg" xmlns="http://www.w3.org/2000/svg" viewBox="{corner:g} {corner:g} {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{_escaped(label)}" translate="no" '
        f'font-family="{FONTS}" font-size="{TEXT_SIZE:g}" fill="{INK.light}" stroke-width="{BORDER_WIDTH}">'
    )
    inside = "".join(parts).replace('.0"', '"')  # lengths; within words every quote is escaped
    return Picture(f"{start}{inside}</svg>", width, height, placement.note)


# ---- clusters ----


def _cluster(cluster: Cluster, box: Box) -> str:
    look = ""
    if cluster.rolled:
        look = f' stroke="{OP_LINE.light}" stroke-width="1.6"'
    elif cluster.made:
        look = (
            f' fill="{MADE_FILL.light}" fill-opacity=".35" stroke="{MADE_LINE.light}" stroke-width="1.8"'
            ' stroke-dasharray="2 4" stroke-linecap="round"'
        )
    return f'<rect {_rect(*box)} rx="8"{look}{_born(cluster)}/>'


def _cluster_label(cluster: Cluster, box: Box) -> str:
    x, y, _, _ = box
    look = ""
    if cluster.rolled or cluster.made:
        look = f' fill="{(MADE_LINE if cluster.made else OP_LINE).light}"{BOLD}'
    return _text(_at(x + CARD_PAD, y + 15) + look + _born(cluster), cluster.label)


def _born(cluster: Cluster) -> str:
    """A graph that a backward pass makes is not there before."""
    return f' data-b="{cluster.born}"' if cluster.made else ""


# ---- links ----


def _link(link: Link, route: Route) -> str:
    look, mark = "", ""
    if link.edge is None:
        look = f' fill="{DATA_LINE.light}" stroke="{DATA_LINE.light}"'
    if link.side:
        colour = ONLY[link.side].light
        look = f' fill="{colour}" stroke="{colour}" stroke-width="{ALONE_WIDTH}"'
        x, y = route.middle()
        style = f' class="dbr-m" stroke="none" font-size="11"{BOLD}'
        mark = _text(_at(x - 5, y + 4, end=True) + style, link.side)
    dash = ' stroke-dasharray="5 3"' if link.edge is None or link.back else ""
    start, *curves = route.points
    return (
        f'<g class="dbr-e" data-e="{link.id}" data-b="{link.born}"{look}>'
        f'<path d="M{_points([start])}C{_points(curves)}" fill="none"{dash}/>'
        f'<polygon points="{_points(route.head())}" stroke="none"/>{mark}</g>'
    )


def _again(route: Route) -> str:
    """The word beside an arrow that leads from one repetition to the next."""
    if route.label is None:
        return ""
    x, y = route.label
    return _text(f'{_at(x, y + 4)} text-anchor="middle"', AGAIN)


def _times(link: Link, route: Route) -> str:
    """How many links an arrow stands for, beside its beginning."""
    (x, y), (_, following) = route.points[0], route.points[-1]
    down = following - y > TIMES_GAP
    at = (x + 5, y + TIMES_GAP) if down else (x + 5, y - 5)
    return _text(_at(*at), times_label(link))


def _flows(link: Link, route: Route, right: float, horizontal: bool) -> str:
    """The gradients that go along a link, beside its middle: above the cards, and on the side where there is room.

    Over a link that runs level they stand above it.
    """
    parts = []
    middle = route.middle()
    for flow in link.flows:
        rows, (x, y) = flow.text.split("\n"), middle
        width = GRADIENT_CHAR_WIDTH * max(map(len, rows))
        if horizontal:
            x, y = x - GRADIENT_GAP - width / 2, route.top() - 10 - GRADIENT_LINE * (len(rows) - 1)
        end = x + GRADIENT_GAP + width > right  # else it would be cut off
        x += -GRADIENT_GAP if end else GRADIENT_GAP
        when = f' data-f="{flow.since}" data-u="{flow.since + 1}" display="none"'
        for row, text in enumerate(rows):
            parts.append(_text(_at(x, y + 4 + GRADIENT_LINE * row, end) + when, text))
    return "".join(parts)


# ---- cards ----


def _card(card: Card, box: Box) -> str:
    """A card's shapes, then its rows from top to bottom: title, values, node, where that comes from, gradients."""
    x, y, width, _ = box
    left, right = f'x="{x + CARD_PAD:.1f}"', f'x="{x + width - CARD_PAD:.1f}"{_END}'
    line, base = KINDS[card.kind].line, y + CARD_PAD / 2 + 12
    at = f' y="{base:.1f}"'
    small = _text(right + at, card.corner) if card.corner else ""
    parts = [_text(f'{left}{at} font-size="{TITLE_SIZE}"{BOLD}', card.title)]
    for values in (card.values, card.more_values):
        if values:
            base += ROW_HEIGHT
            parts.append(_states(f'{left} y="{base:.1f}"', values))
    if card.function:
        parts.append(
            f'<path d="M{x:.1f} {base + 4:.1f}h{width:.1f}" stroke="{line.light}" '
            f'stroke-width="1" stroke-opacity="{RULE_OPACITY}"/>'
        )
        base += ROW_HEIGHT
        at = f' y="{base:.1f}"'
        small += _text(left + at, card.function)
        if card.keeps:
            small += _states(right + at, card.keeps)
    if card.origin:
        base += ROW_HEIGHT
        small += _text(f'{left} y="{base:.1f}"', card.origin)
    if small:
        parts.append(f"<g {_SMALL}>{small}</g>")
    grads = ""
    for states in (card.grads, card.more_grads):
        if states:
            base += ROW_HEIGHT
            grads += _states(f'{left} y="{base:.1f}"', states)
    if grads:
        parts.append(f'<g fill="{BACKWARD.light}">{grads}</g>')
    if card.notes:
        first = base + ROW_HEIGHT
        notes = [
            _text(f'{left} y="{first + ROW_HEIGHT * i:.1f}"', n) for i, n in enumerate(card.notes)
        ]
        parts.append(f"<g {_SMALL}>{''.join(notes)}</g>")
    shapes = _shapes(card, box, line)
    marks = _alone(card, box) if card.side else ""
    return f'<g class="dbr-c" data-c="{card.id}" data-b="{card.born}">{shapes}{"".join(parts)}{marks}</g>'


def _shapes(card: Card, box: Box, line: Colour) -> str:
    """The card itself: of a folded one two edges of further cards behind it, of an output a second border within."""
    x, y, width, height = box
    kind = KINDS[card.kind]
    shapes = ""
    if card.folded:
        edges = [f"M{x + d:.1f} {y + height + d:.1f}h{width:.1f}v{-height:.1f}" for d in (3, 6)]
        shapes = f'<path d="{"".join(edges)}" fill="none" stroke="{line.light}" stroke-width="1"/>'
    dash = ' stroke-dasharray="4 3"' if kind.dashed else ""
    shapes += f'<rect {_rect(*box)} rx="{_radius(card)}" fill="{kind.fill.light}" stroke="{line.light}"{dash}/>'
    if card.output:
        inner = _rect(x + 3, y + 3, width - 6, height - 6)
        shapes += f'<rect {inner} rx="1" fill="none" stroke="{line.light}"/>'
    return shapes


def _radius(card: Card) -> int:
    """Points: of the corners of a card."""
    return 14 if KINDS[card.kind].rounded else 3


def _alone(card: Card, box: Box) -> str:
    """What only one run did: a bar along the card, left for A and right for B, and a tab that says so."""
    x, y, width, height = box
    radius, colour = _radius(card), ONLY[card.side].light
    edge, inward = (x, 1) if card.side == "A" else (x + width, -1)
    handle, start, bottom = inward * radius * CORNER_HANDLE, edge + inward * radius, y + height
    upper = [(edge + handle, y), (edge, y + abs(handle)), (edge, y + radius)]
    lower = [(edge, bottom - abs(handle)), (edge + handle, bottom), (start, bottom)]
    bar = f"M{_points([(start, y)])}C{_points(upper)}L{_points([(edge, bottom - radius)])}C{_points(lower)}"
    tab = x + 12 if card.side == "A" else x + width - 12 - TAB_WIDTH
    words = f'{_at(tab + TAB_WIDTH / 2, y + 0.5)} text-anchor="middle" font-size="10"{BOLD}'
    return (
        f'<path d="{bar}" fill="none" stroke="{colour}" stroke-width="5"/>'
        f'<rect {_rect(tab, y - 10, TAB_WIDTH, TAB_HEIGHT)} rx="7" fill="{colour}"/>'
        + _text(f'{words} fill="{PAPER.light}"', f"only {card.side}")
    )


# ---- texts and numbers ----


_SMALL = f'fill="{SMALL_PRINT_INK.light}" font-size="{SMALL_PRINT_SIZE}"'
_END = ' text-anchor="end"'
_NOT_YET = f' fill="{SMALL_PRINT_INK.light}" font-style="italic"'


def _states(position: str, states: list[State]) -> str:
    """One text for each state; all but the last are off."""
    texts, last = [], len(states) - 1
    for at, state in enumerate(states):
        when = _NOT_YET if state.text.endswith("not yet") else ""
        when += f' data-f="{state.since}"' if state.since or last else ""
        if at < last:
            when += f' data-u="{states[at + 1].since}" display="none"'
        texts.append(_text(position + when, state.text))
    return "".join(texts)


def _group(shared: str, parts: Iterable[str]) -> str:
    """Parts that share attributes; nothing where there are none."""
    inside = "".join(parts)
    return f"<g {shared}>{inside}</g>" if inside else ""


def _escaped(words: str) -> str:
    """A text for XML; in place of what XML cannot hold stands the sign for what is unknown."""
    return escape(_NOT_IN_XML.sub("\ufffd", words))


def _text(attributes: str, words: str) -> str:
    words = _escaped(words) if _SPECIAL.search(words) else words
    return f"<text {attributes}>{words}</text>"


def _at(x: float, y: float, end: bool = False) -> str:
    """Where a text begins, or ends, on its base line. Lengths are said to a tenth of a point: nobody sees more."""
    return f'x="{x:.1f}" y="{y:.1f}"{_END if end else ""}'


def _rect(x: float, y: float, width: float, height: float) -> str:
    return f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'


def _points(points: Sequence[Point]) -> str:
    flat = [part for point in points for part in point]
    return ("%.1f,%.1f " * len(points) % tuple(flat))[:-1]
