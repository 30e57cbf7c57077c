"""Cards and links go in, DOT comes out: sizes, classes, names and clusters; what Graphviz needs to lay them out.

Every card has a size of our own (`fixedsize`), counted in characters of a monospace font, so that the layout
is the same on machines with different fonts and no label is cut. Classes carry the vocabulary of the drawings;
the colours here are those of the light theme, for whoever renders this DOT without our style.
"""

from __future__ import annotations

import graphviz

from .cards import Card, Link

__all__ = ["ALONE", "BADGED", "FILL", "LINE", "PAD", "ROW", "card_size", "to_dot"]

CHAR, ROW, PAD, SMALL = 7.3, 16.0, 10.0, 0.87
"""Points: the width of a character, the height of a row, the room around the text; small print relative to that."""
BADGED = ("leaf", "parameter", "constant")
"""Kinds that a card names in its upper right corner."""
FILL = {
    "leaf": "#fdf3d8",
    "parameter": "#fde6d0",
    "constant": "#f1f1ef",
    "op": "#e4eefb",
    "older": "#e4eefb",
    "inner": "#eef3f9",
}
LINE = {
    "leaf": "#9a6b00",
    "parameter": "#b04a00",
    "constant": "#77776f",
    "op": "#1d5fa8",
    "older": "#1d5fa8",
    "inner": "#6c8fb5",
}


ALONE = {"A": "#0b7a63", "B": "#9a3a78"}
"""In a comparison: what only one of the runs did."""


def card_size(card: Card) -> tuple[float, float]:
    """Width and height of a card in points, wide enough for the longest text that any of its states shows."""
    badge = len(card.kind) + 2 if card.kind in BADGED else 0
    mark = max((len(state.text) for state in card.keeps), default=-2) + 2
    texts = [len(state.text) for row in card.rows() for state in row]
    longest = max(
        len(card.title) * 1.04 + badge * SMALL, (len(card.function) + mark) * SMALL, *texts, 9
    )
    return round(longest * CHAR + 2 * PAD, 1), (1 + len(card.rows())) * ROW + PAD


def to_dot(cards: list[Card], links: list[Link], labels: bool = True) -> str:
    """The picture as DOT, data flowing from top to bottom; without labels it is only what a layout needs."""
    nodes = (
        _NODE if labels else {**_NODE, "label": ""}
    )  # as a default: given to each, it is forgotten
    dot = graphviz.Digraph("definebyrun", graph_attr=_GRAPH, node_attr=nodes, edge_attr=_EDGE)
    for card in cards:
        width, height = card_size(card)
        rows = [card.title, *(row[-1].text for row in card.rows())]
        side = _alone(card.side) if labels else {}
        dot.node(
            card.id,
            label="".join(graphviz.escape(row) + "\\l" for row in rows) if labels else None,
            id=card.id,
            **{"class": " ".join(["card", card.kind, *_class(card.side)])},
            width=f"{width / 72:.3f}",
            height=f"{height / 72:.3f}",
            style="filled,rounded" if card.kind in ("leaf", "parameter") else "filled",
            fillcolor=FILL.get(card.kind, "#ffffff"),
            **{"color": LINE.get(card.kind, "#77776f"), **side},
        )
    for link in links:
        style = {} if link.edge is not None else {"style": "dashed", "color": "#77776f"}
        kind = "edge" if link.edge is not None else "data"
        names = " ".join([kind, *_class(link.side)])
        side = _alone(link.side) if labels else {}
        dot.edge(link.tail, link.head, id=link.id, **{"class": names, **style, **side})
    return dot.source


def _class(side: str) -> list[str]:
    return [f"only-{side}"] if side else []


def _alone(side: str) -> dict[str, str]:
    """How DOT shows what only one run did: a word beside it, and a thick line."""
    return {"xlabel": f"only {side}", "color": ALONE[side], "penwidth": "2.5"} if side else {}


_GRAPH = {
    "rankdir": "TB",
    "nodesep": "0.3",
    "ranksep": "0.45",
    "bgcolor": "transparent",
    "outputorder": "edgesfirst",
}
_NODE = {
    "shape": "box",
    "fixedsize": "true",
    "fontname": "monospace",
    "fontsize": "12",
    "margin": "0",
}
_EDGE = {"arrowsize": "0.7", "color": "#33527a", "penwidth": "1.2"}
