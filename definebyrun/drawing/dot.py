"""Cards and links go in, DOT comes out: sizes, classes, names and clusters; what Graphviz needs to lay them out.

Every card has a size of our own (`fixedsize`), counted in characters of a monospace font, so that the layout
is the same on machines with different fonts and no label is cut. Classes carry the vocabulary of the drawings;
the colours here are those of the light theme, for whoever renders this DOT without our style.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

import graphviz

from ..cards.clusters import Cluster
from ..cards.model import Card, Link
from .leaf_groups import LeafGroup, Sizes, spaced, without_clusters

__all__ = [
    "AGAIN",
    "ALONE",
    "BADGED",
    "FILL",
    "LINE",
    "PAD",
    "ROW",
    "badge_of",
    "card_size",
    "to_dot",
    "to_lay_out",
]

CHAR, ROW, PAD, SMALL = 7.3, 16.0, 10.0, 0.87
"""Points: the width of a character, the height of a row, the room around the text; small print relative to that."""
AGAIN = "next time"
"""The word on an arrow that leads from one repetition to the next."""
BADGED = ("leaf", "parameter", "constant")
"""Kinds that a card names in its upper right corner."""
FILL = {
    "leaf": "#fdf3d8",
    "parameter": "#fde6d0",
    "constant": "#f1f1ef",
    "op": "#e4eefb",
    "older": "#e4eefb",
    "inner": "#eef3f9",
    "made": "#f1ebfb",
}
LINE = {
    "leaf": "#9a6b00",
    "parameter": "#b04a00",
    "constant": "#77776f",
    "op": "#1d5fa8",
    "older": "#1d5fa8",
    "inner": "#6c8fb5",
    "made": "#6a3fb0",
}


def badge_of(card: Card) -> str:
    """The word in the upper right corner of a card: the kind of a leaf, the class of a folded module."""
    return card.kind if card.kind in BADGED else card.badge


ALONE = {"A": "#0b7a63", "B": "#9a3a78"}
"""In a comparison: what only one of the runs did."""


def card_size(card: Card) -> tuple[float, float]:
    """Width and height of a card in points, wide enough for the longest text that any of its states shows."""
    badge, rows = badge_of(card), card.rows()
    head = len(card.title) * 1.04 + (len(badge) + 2) * SMALL * bool(badge)
    mark = 2 + max([len(state.text) for state in card.keeps]) if card.keeps else 0
    texts = [len(state.text) for row in rows for state in row]
    longest = max(head, (len(card.function) + mark) * SMALL, *texts, 9)
    return round(longest * CHAR + 2 * PAD, 1), (1 + len(rows)) * ROW + PAD


def to_dot(
    cards: list[Card], links: list[Link], clusters: Sequence[Cluster] = (), large: bool = False
) -> str:
    """The picture as DOT, data flowing from top to bottom; in a `large` one modules stand below each other."""
    apart = spaced(cards, links, clusters, ()) if large else set()
    lines = [_node(card) for card in cards]
    lines += _clusters(clusters, labels=True)
    lines += [_edge(link, " minlen=2" if link.id in apart else "") for link in links]
    return _head(labels=True) + "".join(lines) + "}\n"


def to_lay_out(
    cards: list[Card],
    links: list[Link],
    clusters: Sequence[Cluster],
    sizes: Sizes,
    groups: dict[str, LeafGroup],
    large: bool,
) -> str:
    """What a layout needs of the same, as DOT: no text, and one node for each group."""
    apart = spaced(cards, links, clusters, groups) if large else set()
    own = [link for group in groups.values() for link in group.links]
    within, inside = {link.id for link in own}, {link.tail for link in own}
    inside.update(other.card for group in groups.values() for other in group.beside)
    lines = []
    for name in (card.id for card in cards if card.id not in inside):
        width, height = groups[name].size if name in groups else sizes[name]
        lines.append(f"\t{name} [height={height / 72:.3f} id={name} width={width / 72:.3f}]\n")
    lines += _clusters(without_clusters(clusters, groups), labels=False, without=inside)
    for link in links:
        if link.id not in within:
            look = f"label={_room(len(AGAIN))} constraint=false " if link.back else ""
            look += "arrowhead=none headport=n " if link.head in groups else ""
            look += "tailport=s " if link.tail in groups else ""
            look += "minlen=2 " if link.id in apart else ""
            lines.append(f"\t{link.tail} -> {link.head} [{look}id={link.id}]\n")
    return _head(labels=False) + "".join(lines) + "}\n"


@cache
def _head(labels: bool) -> str:
    """The first lines of the DOT: what holds for all nodes and edges."""
    nodes = (
        _NODE if labels else {**_NODE, "label": ""}
    )  # as a default: given to each, it is forgotten
    dot = graphviz.Digraph("definebyrun", graph_attr=_GRAPH, node_attr=nodes, edge_attr=_EDGE)
    return dot.source.removesuffix("}\n")


def _node(card: Card) -> str:
    """A line of DOT; written out, because ids and numbers need no quoting and there are many of them."""
    width, height = card_size(card)
    room = f"height={height / 72:.3f} id={card.id}"
    rows = [card.title, *(row[-1].text for row in card.rows())]
    names = " ".join(["card", card.kind, *_class(card.side)])
    label = graphviz.quoting.quote("".join(graphviz.escape(row) + "\\l" for row in rows))
    colour, fill = LINE.get(card.kind, "#77776f"), FILL.get(card.kind, "#ffffff")
    style = '"filled,rounded"' if card.kind in ("leaf", "parameter") else "filled"
    return (
        f'\t{card.id} [label={label} class="{names}" color="{ALONE.get(card.side, colour)}" fillcolor="{fill}" '
        f"{room} style={style} width={width / 72:.3f}{_alone(card.side)}]\n"
    )


def _edge(link: Link, more: str = "") -> str:
    colour = ALONE.get(link.side, "" if link.edge is not None else "#77776f")
    names = " ".join(["edge" if link.edge is not None else "data", *_class(link.side)])
    kind = f'class="{names}"' + (f' color="{colour}"' if colour else "")
    if link.back:
        look = f'label="{AGAIN}" {kind} constraint=false fontsize=10 id={link.id} style=dashed'
    else:
        look = f"{kind} id={link.id}" + ("" if link.edge is not None else " style=dashed")
        look += _alone(link.side)
    look += more
    return f"\t{link.tail} -> {link.head} [{look}]\n"


def _clusters(
    clusters: Sequence[Cluster], labels: bool, without: Collection[str] = ()
) -> list[str]:
    """Clusters as clusters, inner ones first; for a layout a label is only the room that it needs."""
    lines: dict[str | None, list[str]] = {None: []}
    depth: dict[str | None, str] = {None: ""}
    for cluster in clusters:
        inside = depth[cluster.id] = depth[cluster.outer] + "\t"
        style = ("filled,rounded" if cluster.rolled else "rounded") + (
            ",dotted" if cluster.made else ""
        )
        style = f'"{style}"' if "," in style else style
        line = LINE["made" if cluster.made else "inner"]
        text = graphviz.quoting.quote(graphviz.escape(cluster.label)) if labels else ""
        lines[cluster.id] = [
            f"{inside}subgraph cluster_{cluster.id} {{\n",
            f'{inside}\tcolor="{line}" fillcolor="#f6f9fd" fontname=monospace fontsize=11 id={cluster.id} '
            f"label={text or _room(len(cluster.label))} labeljust=l margin=9 style={style}\n",
            *(f"{inside}\t{card}\n" for card in cluster.cards if card not in without),
        ]
    for cluster in reversed(clusters):
        lines[cluster.outer] += [*lines[cluster.id], f"{depth[cluster.id]}}}\n"]
    return lines[None]


def _room(characters: int) -> str:
    """A label that takes the room of our own small print. Without text, so that no font is looked up.

    Its colour makes Graphviz draw it, which shows where it lies.
    """
    width = round(characters * CHAR * SMALL) + 8
    return (
        '<<TABLE BGCOLOR="white" BORDER="0" CELLPADDING="0" CELLSPACING="0" FIXEDSIZE="TRUE" '
        f'WIDTH="{width}" HEIGHT="12"><TR><TD></TD></TR></TABLE>>'
    )


def _class(side: str) -> list[str]:
    return [f"only-{side}"] if side else []


def _alone(side: str) -> str:
    """How DOT shows what only one run did: a word beside it, and a thick line."""
    return f' penwidth=2.5 xlabel="only {side}"' if side else ""


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
