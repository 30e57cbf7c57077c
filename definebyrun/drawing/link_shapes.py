"""A link and its route go in, the arrow as SVG comes out, with the words that stand beside it."""

from __future__ import annotations

from collections.abc import Sequence

from ..cards.model import Link, back_label
from .geometry import Route
from .leaf_groups import GRADIENT_CHAR_WIDTH
from .markup import BOLD, SMALL, at_point, point_list, text_element
from .palette import DATA_LINE, ONLY
from .word_places import Word

__all__ = ["again_word", "flow_texts", "link_shape"]

ALONE_WIDTH = 2.2
"""Points: of a link that only one run has."""
GRADIENT_GAP, GRADIENT_LINE = 7.0, 13.0
"""Points: from an arrow to the gradient beside it, and from line to line of that."""


def link_shape(link: Link, route: Route, words: Sequence[Word] = ()) -> str:
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
    style = f' class="dbr-m" stroke="none" {SMALL}'
    beside = "".join([text_element(at_point(x, y, end) + style, said) for x, y, end, said in words])
    start, *curves = route.points
    return (
        f'<g class="dbr-e" data-e="{link.id}" data-b="{link.born}"{look}>'
        f'<path d="M{point_list([start])}C{point_list(curves)}" fill="none"{dash}/>'
        f'<polygon points="{point_list(route.head())}" stroke="none"/>{beside}{mark}</g>'
    )


def again_word(link: Link, route: Route) -> str:
    """The word beside an arrow that leads back."""
    if route.label is None:
        return ""
    x, y = route.label
    return text_element(f'{at_point(x, y + 4)} text-anchor="middle"', back_label(link))


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
