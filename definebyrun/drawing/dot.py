"""Cards and links go in, DOT comes out: the picture as text, for Graphviz or any program that reads it.

Every card has the size that it has in our own pictures (`fixedsize`). Classes carry the vocabulary of the drawings;
the colours are those of the light theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import graphviz

from ..cards.clusters import Cluster
from ..cards.model import AGAIN, Card, Link
from .layout import CLUSTER, EDGE, GRAPH, NODE
from .leaf_groups import spaced_links
from .metrics import card_size

__all__ = ["ALONE", "FILL", "LINE", "to_dot"]

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


ALONE = {"A": "#0b7a63", "B": "#9a3a78"}
"""In a comparison: what only one of the runs did."""


def to_dot(
    cards: list[Card], links: list[Link], clusters: Sequence[Cluster] = (), large: bool = False
) -> str:
    """The picture as DOT, data flowing from top to bottom; in a `large` one modules stand below each other."""
    apart = spaced_links(cards, links, clusters, ()) if large else set()
    lines = [_node(card) for card in cards]
    lines += _nested(clusters)
    lines += [_edge(link, " minlen=2" if link.id in apart else "") for link in links]
    return _head() + "".join(lines) + "}\n"


@cache
def _head() -> str:
    """The first lines of the DOT: what holds for all nodes and edges."""
    graph = {**GRAPH, "bgcolor": "transparent", "outputorder": "edgesfirst"}
    node = {**NODE, "fontname": "monospace", "fontsize": "12", "margin": "0"}
    edge = {**EDGE, "color": "#33527a"}
    dot = graphviz.Digraph("definebyrun", graph_attr=graph, node_attr=node, edge_attr=edge)
    source: str = dot.source
    return source.removesuffix("}\n")


def _quoted(text: str) -> str:
    """A label in quotes, in which nothing is an escape of Graphviz's."""
    quoted: str = graphviz.quoting.quote(text)
    return quoted


def _node(card: Card) -> str:
    """A line of DOT; written out, because ids and numbers need no quoting and there are many of them."""
    width, height = card_size(card)
    room = f"height={height / 72:.3f} id={card.id}"
    rows = [card.title, *(row[-1].text for row in card.rows())]
    names = " ".join(["card", card.kind, *_class(card.side)])
    label = _quoted("".join(graphviz.escape(row) + "\\l" for row in rows))
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


def _nested(clusters: Sequence[Cluster]) -> list[str]:
    """Clusters as Graphviz's clusters, within each other."""
    lines: dict[str | None, list[str]] = {None: []}
    depth: dict[str | None, str] = {None: ""}
    for cluster in clusters:
        inside = depth[cluster.id] = depth[cluster.outer] + "\t"
        style = ("filled,rounded" if cluster.rolled else "rounded") + (
            ",dotted" if cluster.made else ""
        )
        style = f'"{style}"' if "," in style else style
        line = LINE["made" if cluster.made else "inner"]
        label = _quoted(graphviz.escape(cluster.label))
        lines[cluster.id] = [
            f"{inside}subgraph cluster_{cluster.id} {{\n",
            f'{inside}\tcolor="{line}" fillcolor="#f6f9fd" fontname=monospace fontsize=11 id={cluster.id} '
            f"label={label} {CLUSTER} style={style}\n",
            *(f"{inside}\t{card}\n" for card in cluster.cards),
        ]
    for cluster in reversed(clusters):
        lines[cluster.outer] += [*lines[cluster.id], f"{depth[cluster.id]}}}\n"]
    return lines[None]


def _class(side: str) -> list[str]:
    return [f"only-{side}"] if side else []


def _alone(side: str) -> str:
    """How DOT shows what only one run did: a word beside it, and a thick line."""
    return f' penwidth=2.5 xlabel="only {side}"' if side else ""
