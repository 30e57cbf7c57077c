"""Cards and links go in, groups come out: a card together with the leaves that nothing but it uses, laid out as one.

A third of a large graph is parameters and buffers that have one use each. In a layout of single cards they stand
beside what was computed just before, so modules that ran one after the other come to stand side by side, and the
picture grows wide. Here they stand to the left and right of the card that uses them, and what is computed runs down
the middle. Graphviz is given one node for all of them, and for their cluster where nothing else lies in it: clusters
are what a layout takes most of its time for.

A group, its lengths in points. Graphviz sees the outline alone; its links end at the middle of the top and the bottom:

    ┌─────────────────────────────┬────────────────────────────────────┐
    │                             │        ┌────────┐                  │
    │ ┌───────┐              ┌────┴────┐   │ weight │                  │   scale → y, shift → y: two chains on the left,
    │ │ scale ├──────34─────▶│         │   └───┬────┘                  │   14 apart
    │ └───────┘              │         │       34                      │   weight → t → y: one on the right, 34 down and
    │    14                  │  y = …  │   ┌───▼────┐                  │   then 34 to the card, or as much more as the
    │ ┌───────┐              │         │◀34┤   t    │   34   ┌───────┐ │   longest gradient above an arrow takes
    │ │ shift ├──────34─────▶│         │   └────────┘        │ count │ │   count: a group of the same cluster that is
    │ └───────┘              └────┬────┘                     └───────┘ │   linked to nothing else, beside it
    └─────────────────────────────┴────────────────────────────────────┘

The card stands in the middle: what the wider side takes is kept free on the other side too. A card that reads nothing
but one chain has it above: 34 from card to card, straight down.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..cards.clusters import Cluster
from ..cards.model import LEAF_KINDS, Card, Link
from .geometry import HEAD_LENGTH, Box, Geometry, Point, Route

__all__ = [
    "GRADIENT_CHAR_WIDTH",
    "LeafGroup",
    "Sizes",
    "group_leaves",
    "open_groups",
    "spaced_links",
    "without_clusters",
]

Sizes = dict[str, tuple[float, float]]
"""By card: width and height in points."""
Chain = list[Link]
"""The links from a leaf down to the card of its group: one, or more where `inner` cards stand between."""

LEAF_GAP, CHAIN_GAP, SIDE_GAP = 14.0, 34.0, 34.0
"""Points between two leaves of a side, between two cards of a chain, and at least between a side and the card."""
GRADIENT_CHAR_WIDTH = 6.7
"""Points that a character of a gradient takes beside its arrow."""
CLUSTER_TOP, CLUSTER_MARGIN = 27.0, 9.0
"""Points that a cluster keeps free: above, where its label stands, and on its other sides."""


class Side:
    """What stands on one side of a card: chains from top to bottom, and the points that they take.

    `gap` is how far the cards stand from the card of the group, `width` that of the widest, `reach` both together.
    """

    def __init__(self, chains: list[Chain], sizes: Sizes) -> None:
        self.chains = chains
        self.gap = self.width = self.reach = self.height = 0.0
        self.links = [link for chain in chains for link in chain]
        if chains:
            texts = [flow.text for chain in chains for flow in chain[-1].flows]
            above_arrows = [
                GRADIENT_CHAR_WIDTH * len(line) + 2 * HEAD_LENGTH
                for text in texts
                for line in text.split("\n")
            ]
            self.gap = max([SIDE_GAP, *above_arrows])
            self.width = max([sizes[link.tail][0] for link in self.links])
            self.reach = self.gap + self.width
            heights = [sizes[link.tail][1] for link in self.links]
            within_chains = CHAIN_GAP * (len(heights) - len(chains))
            self.height = sum(heights) + within_chains + LEAF_GAP * (len(chains) - 1)


@dataclass
class LeafGroup:
    """A card, what stands above it, to its left and to its right, and the links that lead to it and on from it.

    `above` is the only chain where the card reads nothing else; the sides have theirs from top to bottom. `beside`,
    to the right of all, are groups of the same cluster that have no link to anything else; `cluster` is that cluster
    where it holds nothing more.
    """

    card: str
    above: Chain
    left: Side
    right: Side
    inputs: list[Link]
    outputs: list[Link]
    sizes: Sizes
    beside: list[LeafGroup] = field(default_factory=list)
    cluster: Cluster | None = None

    @property
    def links(self) -> list[Link]:
        """The links that lie within."""
        own = [*self.above, *self.left.links, *self.right.links]
        return own + [link for other in self.beside for link in other.links]

    @property
    def horizontal(self) -> list[Link]:
        """Those of its links that run from a side to a card."""
        own = [chain[-1] for chain in self.left.chains + self.right.chains]
        return own + [link for other in self.beside for link in other.horizontal]

    @cached_property
    def size(self) -> tuple[float, float]:
        """Width and height. The card is in the middle, where Graphviz has its ports."""
        width, height = self.sizes[self.card]
        others = [other.size for other in self.beside]
        right = self.right.reach + sum([SIDE_GAP + wide for wide, _ in others])
        above = [self.sizes[link.tail] for link in self.above]
        width = max([width + 2 * max(self.left.reach, right), *[wide for wide, _ in above]])
        height = max(height, self.left.height, self.right.height)
        height = max(
            [height + sum([high + CHAIN_GAP for _, high in above]), *[high for _, high in others]]
        )
        if self.cluster is not None:
            label = GRADIENT_CHAR_WIDTH * len(self.cluster.label)
            width = max(width, label) + 2 * CLUSTER_MARGIN
            height += CLUSTER_TOP + CLUSTER_MARGIN
        return width, height

    def place(self, into: Geometry) -> None:
        """Add the boxes and routes within the group to a geometry that has one box for all of it."""
        left, top, width, height = into.boxes[self.card]
        middle, bottom = left + width / 2, top + height
        ceiling, floor = top, bottom
        if self.cluster is not None:
            into.boxes[self.cluster.id] = into.boxes[self.card]
            ceiling, floor = top + CLUSTER_TOP, bottom - CLUSTER_MARGIN
        wide, high = self.sizes[self.card]
        card_top = floor - high if self.above else (ceiling + floor - high) / 2
        own = into.boxes[self.card] = middle - wide / 2, card_top, wide, high
        for side, on_right in ((self.left, False), (self.right, True)):
            self._place_side(side, own, on_right, into)
        self._link_down(self.above, [*self._column(self.above, middle, ceiling), own], into)
        start = middle + wide / 2 + self.right.reach
        for other in self.beside:
            other_wide, other_high = other.size
            box = start + SIDE_GAP, (ceiling + floor - other_high) / 2, other_wide, other_high
            into.boxes[other.card] = box
            other.place(into)
            start += SIDE_GAP + other_wide
        for link in self.inputs:  # Graphviz's route ends at the outline: on to the card
            route = into.routes[link.id]
            down = _down((middle, top), (middle, card_top - HEAD_LENGTH))
            route.points = route.points + down[1:]
            route.tip = middle, card_top
        for link in self.outputs:
            route = into.routes[link.id]
            route.points = _down((middle, card_top + high), (middle, bottom)) + route.points[1:]

    def _place_side(self, side: Side, own: Box, on_right: bool, into: Geometry) -> None:
        """Place the cards of one side, and route their links to the card, whose box is `own`."""
        x, y, wide, high = own
        toward, edge = (-1, x + wide) if on_right else (1, x)
        middle = edge - toward * (side.gap + side.width / 2)
        top = y + (high - side.height) / 2
        for number, chain in enumerate(side.chains, 1):
            column = self._column(chain, middle, top)
            self._link_down(chain[:-1], column, into)
            left, last_top, width, height = into.boxes[chain[-1].tail] = column[-1]
            top = last_top + height + LEAF_GAP
            start = left if on_right else left + width, last_top + height / 2
            tip = edge, y + high * number / (len(side.chains) + 1)
            points = _across(start, (edge - toward * HEAD_LENGTH, tip[1]))
            into.routes[chain[-1].id] = Route(points, tip)

    def _column(self, chain: Chain, middle: float, top: float) -> list[Box]:
        """The boxes of the cards of a chain, one below the other."""
        boxes = []
        for link in chain:
            width, height = self.sizes[link.tail]
            boxes.append((middle - width / 2, top, width, height))
            top += height + CHAIN_GAP
        return boxes

    def _link_down(self, chain: Chain, column: list[Box], into: Geometry) -> None:
        """Give the cards of a chain their boxes, and each link a route from its box down to the next."""
        for link, box, (_, end, _, _) in zip(chain, column, column[1:], strict=False):
            left, top, width, height = into.boxes[link.tail] = box
            middle = left + width / 2
            points = _down((middle, top + height), (middle, end - HEAD_LENGTH))
            into.routes[link.id] = Route(points, (middle, end))


def open_groups(groups: dict[str, LeafGroup], laid_out: Geometry) -> Geometry:
    """The geometry of all cards and links, from one that has a single box for each group."""
    routes = {n: Route(r.points, r.tip, r.label) for n, r in laid_out.routes.items()}
    opened = Geometry(laid_out.width, laid_out.height, dict(laid_out.boxes), routes)
    for group in groups.values():
        group.place(opened)
    return opened


def group_leaves(
    cards: Sequence[Card], links: Sequence[Link], clusters: Sequence[Cluster], sizes: Sizes
) -> dict[str, LeafGroup]:
    """The groups by card. A card that reads more than one result has none: each of them needs a route of its own."""
    chain_up = _ChainFinder(cards, links, clusters)
    found: dict[str, LeafGroup] = {}
    taken: set[str] = set()
    for card in sorted(cards, key=lambda card: card.kind == "inner"):  # these belong to others
        if card.kind in LEAF_KINDS or card.id in taken:
            continue
        chains: list[Chain] = []
        inputs: list[Link] = []
        for link in chain_up.into.get(card.id, ()):
            chain = chain_up(link)
            if chain:
                chains.append(chain)
            else:
                inputs.append(link)
        if chains and len(inputs) < 2 and not any(link.back for link in inputs):
            above = chains.pop() if len(chains) == 1 and not inputs else []
            half = (len(chains) + 1) // 2
            left, right = Side(chains[:half], sizes), Side(chains[half:], sizes)
            outputs = chain_up.uses.get(card.id, [])
            group = found[card.id] = LeafGroup(card.id, above, left, right, inputs, outputs, sizes)
            taken.update(link.tail for link in group.links)
    _gather(found, clusters, taken)
    return found


class _ChainFinder:
    """From a link to the chain that ends with it: the links from a leaf down; empty where anything else hangs on it."""

    def __init__(
        self, cards: Sequence[Card], links: Sequence[Link], clusters: Sequence[Cluster]
    ) -> None:
        self.kinds = {card.id: card.kind for card in cards}
        self.cluster = _cluster_of(clusters)
        self.into: dict[str, list[Link]] = {}
        self.uses: dict[str, list[Link]] = {}
        for link in links:
            self.into.setdefault(link.head, []).append(link)
            self.uses.setdefault(link.tail, []).append(link)

    def __call__(self, link: Link) -> Chain:
        chain, cluster = [link], self.cluster.get(link.head)
        while True:
            here = chain[0].tail
            if len(self.uses[here]) > 1 or chain[0].back or self.cluster.get(here) != cluster:
                return []
            before = self.into.get(here, ())
            if not before:
                return chain if self.kinds[here] in LEAF_KINDS else []
            if len(before) > 1 or self.kinds[here] != "inner":
                return []
            chain.insert(0, before[0])


def _gather(found: dict[str, LeafGroup], clusters: Sequence[Cluster], taken: set[str]) -> None:
    """Let a group stand for its whole cluster, where all else in that is groups without a link to anything."""
    outer = {cluster.outer for cluster in clusters}
    for cluster in clusters:
        names = [name for name in cluster.cards if name not in taken]
        if cluster.id in outer or not all(name in found for name in names):
            continue
        linked = [name for name in names if found[name].inputs or found[name].outputs]
        if len(linked) == 1:
            group = found[linked[0]]
            group.cluster = cluster
            group.beside = [found.pop(name) for name in names if name != group.card]
            if group.beside:  # which stand where the right side would
                group.left = Side(group.left.chains + group.right.chains, group.sizes)
                group.right = Side([], group.sizes)


def without_clusters(clusters: Sequence[Cluster], groups: dict[str, LeafGroup]) -> list[Cluster]:
    """The clusters that groups do not stand for; a group lies in the one around its own."""
    by_cluster = {
        group.cluster.id: name for name, group in groups.items() if group.cluster is not None
    }
    inside: dict[str | None, list[str]] = {}
    for cluster in clusters:
        if cluster.id in by_cluster:
            inside.setdefault(cluster.outer, []).append(by_cluster[cluster.id])
    return [
        replace(cluster, cards=[*cluster.cards, *inside.get(cluster.id, ())])
        for cluster in clusters
        if cluster.id not in by_cluster
    ]


def spaced_links(
    cards: Sequence[Card],
    links: Sequence[Link],
    clusters: Sequence[Cluster],
    groups: Collection[str],
) -> set[str]:
    """The links into a cluster whose head has leaves drawn above it and is in no group: they get `minlen=2`.

    Their tails belong one rank above these leaves: on the same rank they would push the cluster to the side.
    """
    cluster = _cluster_of(clusters)
    outer = {each.id: each.outer for each in clusters}
    leaves = {card.id for card in cards if card.kind in LEAF_KINDS}
    topped = {
        link.head
        for link in links
        if link.tail in leaves and cluster.get(link.tail) == cluster.get(link.head)
    }

    def enters(link: Link) -> bool:
        around = cluster.get(link.tail)
        while around is not None and around != cluster.get(link.head):
            around = outer[around]
        return around is None and link.head in cluster

    heads = topped - set(groups)
    return {link.id for link in links if link.head in heads and not link.back and enters(link)}


def _cluster_of(clusters: Sequence[Cluster]) -> dict[str, str]:
    """By card: the cluster that it lies in directly."""
    return {name: cluster.id for cluster in clusters for name in cluster.cards}


def _down(start: Point, end: Point) -> list[Point]:
    """A curve that leaves and arrives straight down: its controls are half way down, above and below its ends."""
    (ax, ay), (bx, by) = start, end
    half = (ay + by) / 2
    return [start, (ax, half), (bx, half), end]


def _across(start: Point, end: Point) -> list[Point]:
    """A curve that leaves and arrives level: its controls are half way across, on the level of its ends."""
    (ax, ay), (bx, by) = start, end
    half = (ax + bx) / 2
    return [start, (half, ay), (half, by), end]
