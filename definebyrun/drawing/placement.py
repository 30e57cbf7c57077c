"""Cards, links and clusters go in; where each of them stands and how each link runs comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..cards.clusters import Cluster
from ..cards.model import Card, Link
from .geometry import Geometry, read_geometry
from .layout import layout_dot, run_dot
from .leaf_groups import group_leaves, open_groups
from .metrics import card_size

__all__ = ["Placement", "place"]


@dataclass(frozen=True)
class Placement:
    """The geometry, and the ids of the links that run level from a leaf to the card beside it."""

    geometry: Geometry
    horizontal: frozenset[str]


def place(
    cards: Sequence[Card],
    links: Sequence[Link],
    clusters: Sequence[Cluster] = (),
    large: bool = False,
    close: bool = False,
) -> Placement:
    """Lay out; a `large` graph has its leaves beside what uses them, in a `close` one cards of one rank stand closer.

    Raises `layout.LayoutError` without an engine.
    """
    sizes = {card.id: card_size(card) for card in cards}
    groups = group_leaves(cards, links, clusters, sizes) if large else {}
    dot = layout_dot(cards, links, clusters, sizes, groups, large, close)
    geometry = open_groups(groups, read_geometry(run_dot(dot, "json0")))
    horizontal = frozenset(link.id for group in groups.values() for link in group.horizontal)
    return Placement(geometry, horizontal)
