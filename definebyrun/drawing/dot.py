"""Cards and links go in, DOT comes out: the picture as text, for Graphviz or any program that reads it.

Every card has the size that it has in our own pictures (`fixedsize`). Classes carry the vocabulary of the drawings;
the colours are those of the light theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import graphviz

from ..cards.clusters import Cluster
from ..cards.model import Card, Link, back_label, times_label
from .layout import CLUSTER, EDGE, GRAPH, NODE, RIGHT
from .leaf_groups import spaced_links
from .metrics import card_size
from .palette import (
    CLUSTER_FILL,
    CLUSTER_LINE,
    DATA_LINE,
    EDGE_LINE,
    KINDS,
    MADE_FILL,
    MADE_LINE,
    ONLY,
    OP_LINE,
)

__all__ = ["to_dot"]


def to_dot(
    cards: list[Card],
    links: list[Link],
    clusters: Sequence[Cluster] = (),
    large: bool = False,
    right: bool = False,
) -> str:
    """The picture as DOT, data flowing from top to bottom, or to the `right`.

    In a `large` one modules stand below each other.
    """
    apart = spaced_links(cards, links, clusters, ()) if large and not right else set()
    lines = [_node(card) for card in cards]
    lines += _nested(clusters)
    lines += [_edge(link, " minlen=2" if link.id in apart else "") for link in links]
    lines += [f"\t{c.after} -> {c.id} [id=i{c.id} style=invis]\n" for c in cards if c.after]
    return _head(right) + "".join(lines) + "}\n"


@cache
def _head(right: bool) -> str:
    """The first lines of the DOT: what holds for all nodes and edges."""
    graph = {
        **GRAPH,
        **(RIGHT if right else {}),
        "bgcolor": "transparent",
        "outputorder": "edgesfirst",
    }
    node = {**NODE, "fontname": "monospace", "fontsize": "12", "margin": "0"}
    edge = {**EDGE, "color": EDGE_LINE.light}
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
    kind = KINDS[card.kind]
    line, fill = ONLY.get(card.side, kind.line).light, kind.fill.light
    style = '"filled,rounded"' if kind.rounded else "filled"
    return (
        f'\t{card.id} [label={label} class="{names}" color="{line}" fillcolor="{fill}" '
        f"{room} style={style} width={width / 72:.3f}{_alone(card.side_name or card.side)}]\n"
    )


def _edge(link: Link, more: str = "") -> str:
    line = ONLY.get(link.side, EDGE_LINE if link.edge is not None else DATA_LINE)
    names = " ".join(["edge" if link.edge is not None else "data", *_class(link.side)])
    kind = f'class="{names}"' + ("" if line is EDGE_LINE else f' color="{line.light}"')
    beginning = " ".join(filter(None, (link.tail_word, times_label(link))))
    if (beginning or link.head_word) and not link.back:
        kind += " fontsize=10"
        kind += f" taillabel={_quoted(graphviz.escape(beginning))}" if beginning else ""
        kind += f" headlabel={_quoted(graphviz.escape(link.head_word))}" if link.head_word else ""
    if link.back:
        look = f'label="{back_label(link)}" {kind} constraint=false fontsize=10 id={link.id} style=dashed'
    else:
        look = f"{kind} id={link.id}" + ("" if link.edge is not None else " style=dashed")
        look += _alone(link.side_name or link.side)
    look += more
    return f"\t{link.tail} -> {link.head} [{look}]\n"


def _nested(clusters: Sequence[Cluster]) -> list[str]:
    """Clusters as Graphviz's clusters, within each other."""
    lines: dict[str | None, list[str]] = {None: []}
    depth: dict[str | None, str] = {None: ""}
    for cluster in clusters:
        inside = depth[cluster.id] = depth[cluster.outer] + "\t"
        line, fill, style = CLUSTER_LINE, CLUSTER_FILL, "rounded"
        if cluster.rolled:
            line, style = OP_LINE, '"filled,rounded"'
        elif cluster.made:
            line, fill, style = MADE_LINE, MADE_FILL, '"rounded,dotted"'
        label = _quoted(graphviz.escape(cluster.label))
        lines[cluster.id] = [
            f"{inside}subgraph cluster_{cluster.id} {{\n",
            f'{inside}\tcolor="{line.light}" fillcolor="{fill.light}" fontname=monospace fontsize=11 id={cluster.id} '
            f"label={label} {CLUSTER} style={style}\n",
            *(f"{inside}\t{card}\n" for card in cluster.cards),
        ]
    for cluster in reversed(clusters):
        lines[cluster.outer] += [*lines[cluster.id], f"{depth[cluster.id]}}}\n"]
    return lines[None]


def _class(side: str) -> list[str]:
    return [f"only-{side}"] if side else []


def _alone(name: str) -> str:
    """How DOT shows what only one run did: a word beside it, and a thick line."""
    words = _quoted(graphviz.escape(f"only {name}"))
    return f" penwidth=2.5 xlabel={words}" if name else ""
