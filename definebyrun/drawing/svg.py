"""Cards, links and Graphviz's layout go in, the finished SVG comes out: our own cards where Graphviz puts them.

Every text that changes over time stands there once for each state, marked with the steps `data-f` (from) to
`data-u` (until) in which it holds; cards, links and clusters carry the step `data-b` in which they are born. As
written, the picture shows the end of the run: what does not hold then has `display="none"`. Colours are the light ones
of the palette; what several shapes share stands in a group around them. Classes are there for a page's style and
script alone: `dbr-c` a card, `dbr-e` a link, `dbr-name`, `dbr-g` and `dbr-m` words that stand on lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..cards.clusters import Cluster
from ..cards.model import Card, Link, State
from .geometry import CORNER_HANDLE, Box
from .geometry import PAD as GRAPH_PAD
from .link_shapes import again_word, flow_texts, link_shape
from .markup import (
    BOLD,
    END,
    SMALL,
    at_point,
    escaped,
    group,
    point_list,
    rect_attributes,
    text_element,
)
from .metrics import CARD_PAD, ROW_HEIGHT, TEXT_SIZE, TITLE_SIZE
from .palette import (
    BACKWARD,
    CLUSTER_FILL,
    CLUSTER_LINE,
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
from .word_places import place_words

__all__ = ["Picture", "render"]

FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace"
MARK_ROOM = 8.0
"""Points around a comparison, for the marks on its outermost cards."""
TAB_CHAR_WIDTH, TAB_PAD, TAB_HEIGHT = 6.2, 7.0, 14.0
"""Points: of a character of the tab that says `only A`, of the room beside these, of the tab."""
BORDER_WIDTH, LINK_WIDTH = 1.3, 1.4
"""Points: of a card's border, of a link."""
RULE_OPACITY = 0.35
"""The line within a card, between what ran and its node, is an ornament: rows say it all."""


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
    words = place_words(links, routes, [boxes[card.id] for card in cards])
    parts = [
        group(
            f'fill="{CLUSTER_FILL.light}" fill-opacity=".5" stroke="{CLUSTER_LINE.light}" stroke-width="1"',
            [_cluster(cluster, boxes[cluster.id]) for cluster in clusters],
        ),
        group(
            f'fill="{EDGE_LINE.light}" stroke="{EDGE_LINE.light}" stroke-width="{LINK_WIDTH}"',
            [link_shape(link, routes[link.id], words.get(link.id, ())) for link in links],
        ),
        group(
            f'class="dbr-name" {SMALL}',
            [_cluster_label(cluster, boxes[cluster.id]) for cluster in clusters]
            + [again_word(link, routes[link.id]) for link in links if link.back],
        ),
        *(_card(card, boxes[card.id]) for card in cards),
        group(
            f'class="dbr-g" fill="{BACKWARD.light}" font-size="11"{BOLD}',
            [
                flow_texts(link, routes[link.id], geometry.width, link.id in horizontal)
                for link in flowing
            ],
        ),
    ]
    room = MARK_ROOM if any(card.side for card in cards) else 0
    width, height = geometry.width + 2 * room, geometry.height + 2 * room
    corner = -GRAPH_PAD - room
    start = (
        f'<svg class="dbr-svg" xmlns="http://www.w3.org/2000/svg" viewBox="{corner:g} {corner:g} {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{escaped(label)}" translate="no" '
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
    return f'<rect {rect_attributes(*box)} rx="8"{look}{_born(cluster)}/>'


def _cluster_label(cluster: Cluster, box: Box) -> str:
    x, y, _, _ = box
    look = ""
    if cluster.rolled or cluster.made:
        look = f' fill="{(MADE_LINE if cluster.made else OP_LINE).light}"{BOLD}'
    return text_element(at_point(x + CARD_PAD, y + 15) + look + _born(cluster), cluster.label)


def _born(cluster: Cluster) -> str:
    """A graph that a backward pass makes is not there before."""
    return f' data-b="{cluster.born}"' if cluster.made else ""


# ---- cards ----


def _card(card: Card, box: Box) -> str:
    """A card's shapes, then its rows from top to bottom: title, values, node, where that comes from, gradients."""
    x, y, width, _ = box
    left, right = f'x="{x + CARD_PAD:.1f}"', f'x="{x + width - CARD_PAD:.1f}"{END}'
    line, base = KINDS[card.kind].line, y + CARD_PAD / 2 + 12
    at = f' y="{base:.1f}"'
    small = text_element(right + at, card.corner) if card.corner else ""
    parts = [text_element(f'{left}{at} font-size="{TITLE_SIZE}"{BOLD}', card.title)]
    if card.arguments:
        base += ROW_HEIGHT
        small += text_element(f'{left} y="{base:.1f}"', card.arguments)
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
        small += text_element(left + at, card.function)
        if card.keeps:
            small += _states(right + at, card.keeps)
    if card.origin:
        base += ROW_HEIGHT
        small += text_element(f'{left} y="{base:.1f}"', card.origin)
    if small:
        parts.append(f"<g {SMALL}>{small}</g>")
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
            text_element(f'{left} y="{first + ROW_HEIGHT * i:.1f}"', n)
            for i, n in enumerate(card.notes)
        ]
        parts.append(f"<g {SMALL}>{''.join(notes)}</g>")
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
    look = f'rx="{_radius(card)}" fill="{kind.fill.light}" stroke="{line.light}"{dash}'
    shapes += f"<rect {rect_attributes(*box)} {look}/>"
    if card.output:
        inner = rect_attributes(x + 3, y + 3, width - 6, height - 6)
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
    bar = f"M{point_list([(start, y)])}C{point_list(upper)}L{point_list([(edge, bottom - radius)])}C{point_list(lower)}"
    only = f"only {card.side_name or card.side}"
    tab_width = round(len(only) * TAB_CHAR_WIDTH + TAB_PAD)
    tab = x + 12 if card.side == "A" else x + width - 12 - tab_width
    words = f'{at_point(tab + tab_width / 2, y + 0.5)} text-anchor="middle" font-size="10"{BOLD}'
    return (
        f'<path d="{bar}" fill="none" stroke="{colour}" stroke-width="5"/>'
        f'<rect {rect_attributes(tab, y - 10, tab_width, TAB_HEIGHT)} rx="7" fill="{colour}"/>'
        + text_element(f'{words} fill="{PAPER.light}"', only)
    )


# ---- texts that change ----


def _states(position: str, states: list[State]) -> str:
    """One text for each state; all but the last are off."""
    texts, last = [], len(states) - 1
    for at, state in enumerate(states):
        when = _NOT_YET if state.text.endswith("not yet") else ""
        when += f' data-f="{state.since}"' if state.since or last else ""
        if at < last:
            when += f' data-u="{states[at + 1].since}" display="none"'
        texts.append(text_element(position + when, state.text))
    return "".join(texts)


_NOT_YET = f' fill="{SMALL_PRINT_INK.light}" font-style="italic"'
