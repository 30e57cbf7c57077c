"""A link and its route go in, the arrow as SVG comes out, with the words that stand beside it."""

from __future__ import annotations

from ..cards.model import Link, back_label, times_label
from .geometry import Box, Point, Route
from .leaf_groups import GRADIENT_CHAR_WIDTH
from .markup import BOLD, SMALL, at_point, point_list, text_element
from .palette import DATA_LINE, ONLY

__all__ = ["again_word", "flow_texts", "link_shape", "times_word"]

ALONE_WIDTH = 2.2
"""Points: of a link that only one run has."""
GRADIENT_GAP, GRADIENT_LINE = 7.0, 13.0
"""Points: from an arrow to the gradient beside it, and from line to line of that."""
WORD_GAP = 7.0
"""Points from the end of an arrow to a word beside it."""
TIMES_GAP = 13.0
"""Points from the beginning of an arrow down to the words that say how many links it stands for."""


def link_shape(link: Link, route: Route, boxes: dict[str, Box]) -> str:
    """An arrow with the words at its ends, and the mark of one that only one run has."""
    look, mark = "", ""
    if link.edge is None:
        look = f' fill="{DATA_LINE.light}" stroke="{DATA_LINE.light}"'
    if link.side:
        colour = ONLY[link.side].light
        look = f' fill="{colour}" stroke="{colour}" stroke-width="{ALONE_WIDTH}"'
        x, y = route.middle()
        style = f' class="dbr-m" stroke="none" font-size="11"{BOLD}'
        mark = text_element(at_point(x - 5, y + 4, end=True) + style, link.side_name or link.side)
    dash = ' stroke-dasharray="5 3"' if link.edge is None or link.back else ""
    start, *curves = route.points
    return (
        f'<g class="dbr-e" data-e="{link.id}" data-b="{link.born}"{look}>'
        f'<path d="M{point_list([start])}C{point_list(curves)}" fill="none"{dash}/>'
        f'<polygon points="{point_list(route.head())}" stroke="none"/>{_end_words(link, route, boxes)}{mark}</g>'
    )


def _end_words(link: Link, route: Route, boxes: dict[str, Box]) -> str:
    """Which result an arrow begins at and which argument it ends at: on the side of the line that is free."""
    parts = []
    style = f' class="dbr-m" stroke="none" {SMALL}'
    if link.tail_word and not link.back:
        place = _beside(route.points[0], route.points[1], boxes[link.tail])
        parts.append(text_element(place + style, link.tail_word))
    if link.head_word and not link.back and route.tip is not None:
        place = _beside(route.tip, route.points[-1], boxes[link.head])
        parts.append(text_element(place + style, link.head_word))
    return "".join(parts)


def _beside(end: Point, following: Point, box: Box) -> str:
    """Where a word stands beside the end of a line at a card, which goes on to a point `following`."""
    (x, y), (left, top, width, height) = end, box
    if x >= left + width - 1:
        return at_point(x + WORD_GAP, y - 5)
    if x <= left + 1:
        return at_point(x - WORD_GAP, y - 5, end=True)
    comes_from_right = following[0] > x
    base = y - WORD_GAP if y < top + height / 2 else y + WORD_GAP + 6
    return at_point(x - WORD_GAP if comes_from_right else x + WORD_GAP, base, end=comes_from_right)


def again_word(link: Link, route: Route) -> str:
    """The word beside an arrow that leads back."""
    if route.label is None:
        return ""
    x, y = route.label
    return text_element(f'{at_point(x, y + 4)} text-anchor="middle"', back_label(link))


def times_word(link: Link, route: Route) -> str:
    """How many links an arrow stands for, beside its beginning."""
    (x, y), (_, following) = route.points[0], route.points[-1]
    down = following - y > TIMES_GAP
    at = (x + 5, y + TIMES_GAP) if down else (x + 5, y - 5)
    return text_element(at_point(*at), times_label(link))


def flow_texts(link: Link, route: Route, right: float, horizontal: bool) -> str:
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
            parts.append(text_element(at_point(x, y + 4 + GRADIENT_LINE * row, end) + when, text))
    return "".join(parts)
