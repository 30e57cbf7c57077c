"""Cards and links go in, groups come out: a card together with the leaves that nothing but it uses, laid out as one.

A third of a large graph is parameters and buffers that have one use each. In a layout of single cards they stand
beside what was computed just before, so modules that ran one after the other come to stand side by side, and the
picture grows wide. Here they stand to the left and right of the card that uses them, and what is computed runs down
the middle. Graphviz is given one node for all of them, and for their cluster where nothing else lies in it: clusters
are what a layout takes most of its time for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..cards.clusters import Cluster
from ..cards.model import Card, Link
from .geometry import Box, Geometry, Point, Route

__all__ = ["FLOW", "LeafGroup", "Sizes", "group_leaves", "spaced", "without_clusters"]

Sizes = dict[str, tuple[float, float]]
"""By card: width and height in points."""
LEAVES = ("leaf", "parameter", "constant")
APART, DOWN, ACROSS = 14.0, 34.0, 34.0
"""Points between two leaves, from a leaf down to the card under it, and from a leaf to the card beside it, at least."""
FLOW = 6.7
"""Points that a character takes of a gradient beside its arrow."""
TOP, AROUND = 27.0, 9.0
"""Points that a cluster keeps free: above, where its name stands, and on its other sides."""
HEAD, WING = 7.0, 2.5
"""The length of an arrow's head, and half its width."""


class Side:
    """What stands on one side of a card: ways, from top to bottom, and the room that they take."""

    def __init__(self, ways: list[list[Link]], sizes: Sizes) -> None:
        self.ways = ways
        self.gap = self.wide = self.reach = self.height = 0.0
        self.links = [link for way in ways for link in way]
        if ways:
            texts = [f.text for way in ways for f in way[-1].flows]
            lines = [FLOW * len(line) + 2 * HEAD for text in texts for line in text.split("\n")]
            self.gap = max([ACROSS, *lines])  # what is written above the arrows
            self.wide = max([sizes[link.tail][0] for link in self.links])
            self.reach = self.gap + self.wide
            highs = [sizes[link.tail][1] for link in self.links]
            between = DOWN * (len(highs) - len(ways)) + APART * (len(ways) - 1)
            self.height = sum(highs) + between


@dataclass
class LeafGroup:
    """A card, what stands above it, to its left and to its right, and the links that lead to it and on from it.

    A way is the links that lead from a leaf down to the card. There is one above where nothing else is read; the
    sides have theirs from top to bottom. `beside` it, to the right of all, stand groups of the same cluster that have
    no link to anything else; `cluster` is that cluster where it holds nothing more.
    """

    card: str
    above: list[Link]
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
    def level(self) -> list[Link]:
        """Those of its links that run from the side to a card."""
        own = [way[-1] for way in self.left.ways + self.right.ways]
        return own + [link for other in self.beside for link in other.level]

    @cached_property
    def size(self) -> tuple[float, float]:
        """Width and height. The card is in the middle, where Graphviz has its ports."""
        width, height = self.sizes[self.card]
        others = [other.size for other in self.beside]
        right = self.right.reach + sum([ACROSS + wide for wide, _ in others])
        above = [self.sizes[link.tail] for link in self.above]
        width = max([width + 2 * max(self.left.reach, right), *[wide for wide, _ in above]])
        height = max(height, self.left.height, self.right.height)
        height = max([height + sum([high + DOWN for _, high in above]), *[h for _, h in others]])
        if self.cluster is not None:
            width = max(width, FLOW * len(self.cluster.label)) + 2 * AROUND
            height += TOP + AROUND
        return width, height

    def open(self, found: Geometry) -> None:
        """Put its cards and links where the node that stood for all of them lies."""
        left, top, width, height = found.boxes[self.card]
        middle, bottom = left + width / 2, top + height
        ceiling, floor = top, bottom
        if self.cluster is not None:
            found.boxes[self.cluster.id] = found.boxes[self.card]
            ceiling, floor = top + TOP, bottom - AROUND
        wide, high = self.sizes[self.card]
        upper = floor - high if self.above else (ceiling + floor - high) / 2
        own = found.boxes[self.card] = middle - wide / 2, upper, wide, high
        for side, right in ((self.left, False), (self.right, True)):
            if side.ways:
                self._stand(side, own, right, found)
        self._stack(self.above, [*self._column(self.above, middle, ceiling), own], found)
        start = middle + wide / 2 + self.right.reach
        for other in self.beside:
            broad, tall = other.size
            place = start + ACROSS, (ceiling + floor - tall) / 2, broad, tall
            found.boxes[other.card] = place
            other.open(found)
            start += ACROSS + broad
        for link in self.inputs:
            line = found.lines[link.id]
            line.curves += " " + _down((middle, top), (middle, upper - HEAD)).partition("C")[2]
            line.head = _head((middle, upper), (0, 1))
        for link in self.outputs:
            line = found.lines[link.id]
            line.curves = (
                f"{_down((middle, upper + high), (middle, bottom))} {line.curves.partition('C')[2]}"
            )

    def _stand(self, side: Side, own: Box, right: bool, found: Geometry) -> None:
        """Put the leaves of one side where they belong, with their links."""
        x, y, wide, high = own
        toward, edge = (-1, x + wide) if right else (1, x)
        middle = edge - toward * (side.gap + side.wide / 2)
        at = y + (high - side.height) / 2
        for place, way in enumerate(side.ways):
            spots = self._column(way, middle, at)
            self._stack(way[:-1], spots, found)
            left, top, width, height = found.boxes[way[-1].tail] = spots[-1]
            at = top + height + APART
            start = left if right else left + width, top + height / 2
            tip = edge, y + high * (place + 1) / (len(side.ways) + 1)
            line = _over(start, (edge - toward * HEAD, tip[1]))
            found.lines[way[-1].id] = Route(line, _head(tip, (toward, 0)))

    def _column(self, way: list[Link], middle: float, top: float) -> list[Box]:
        """Where the cards of a way stand, one below the other."""
        spots = []
        for link in way:
            width, height = self.sizes[link.tail]
            spots.append((middle - width / 2, top, width, height))
            top += height + DOWN
        return spots

    def _stack(self, way: list[Link], spots: list[Box], found: Geometry) -> None:
        """Put cards one below the other, with the links from each to the next."""
        for link, one, two in zip(way, spots, spots[1:], strict=False):
            middle, end = one[0] + one[2] / 2, two[1]
            line = _down((middle, one[1] + one[3]), (middle, end - HEAD))
            found.boxes[link.tail] = one
            found.lines[link.id] = Route(line, _head((middle, end), (0, 1)))


def group_leaves(
    cards: Sequence[Card], links: Sequence[Link], clusters: Sequence[Cluster], sizes: Sizes
) -> dict[str, LeafGroup]:
    """The groups by card. A card that reads more than one result has none: each of them needs its own way to it."""
    cluster = _around(clusters)
    kinds = {card.id: card.kind for card in cards}
    into: dict[str, list[Link]] = {}
    uses: dict[str, list[Link]] = {}
    for link in links:
        into.setdefault(link.head, []).append(link)
        uses.setdefault(link.tail, []).append(link)

    def way(link: Link) -> list[Link]:
        """The links from a leaf down to the card that this one leads to; none where anything else hangs on the way."""
        found = [link]
        while True:
            here = found[0].tail
            if len(uses[here]) > 1 or found[0].back or cluster.get(here) != cluster.get(link.head):
                return []
            before = into.get(here, ())
            if not before:
                return found if kinds[here] in LEAVES else []
            if len(before) > 1 or kinds[here] != "inner":
                return []
            found.insert(0, before[0])

    found: dict[str, LeafGroup] = {}
    taken: set[str] = set()
    for card in sorted(cards, key=lambda card: card.kind == "inner"):  # these belong to others
        if card.kind in LEAVES or card.id in taken:
            continue
        ways, inputs = [], []
        for link in into.get(card.id, ()):
            inside = way(link)
            (ways if inside else inputs).append(inside or link)
        if ways and len(inputs) < 2 and not any(link.back for link in inputs):
            above = ways.pop() if len(ways) == 1 and not inputs else []
            half = (len(ways) + 1) // 2
            left, right = Side(ways[:half], sizes), Side(ways[half:], sizes)
            outputs = uses.get(card.id, [])
            group = found[card.id] = LeafGroup(card.id, above, left, right, inputs, outputs, sizes)
            taken.update(link.tail for link in group.links)
    _gather(found, clusters, taken)
    return found


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
            if group.beside:  # which take the place of the right side
                group.left = Side(group.left.ways + group.right.ways, group.sizes)
                group.right = Side([], group.sizes)


def without_clusters(clusters: Sequence[Cluster], groups: dict[str, LeafGroup]) -> list[Cluster]:
    """The clusters that groups do not stand for; a group lies in the one around its own."""
    stood = {group.cluster.id: name for name, group in groups.items() if group.cluster is not None}
    inside: dict[str | None, list[str]] = {}
    for cluster in clusters:
        if cluster.id in stood:
            inside.setdefault(cluster.outer, []).append(stood[cluster.id])
    return [
        replace(cluster, cards=[*cluster.cards, *inside.get(cluster.id, ())])
        for cluster in clusters
        if cluster.id not in stood
    ]


def spaced(
    cards: Sequence[Card],
    links: Sequence[Link],
    clusters: Sequence[Cluster],
    groups: Collection[str],
) -> set[str]:
    """The links that enter a cluster where leaves stand above the card that they lead to, and that are in no group.

    What they come from belongs above these leaves: beside them it would push the cluster to the side.
    """
    cluster = _around(clusters)
    outer = {each.id: each.outer for each in clusters}
    leaves = {card.id for card in cards if card.kind in LEAVES}
    topped = {
        k.head for k in links if k.tail in leaves and cluster.get(k.tail) == cluster.get(k.head)
    }

    def enters(link: Link) -> bool:
        around = cluster.get(link.tail)
        while around is not None and around != cluster.get(link.head):
            around = outer[around]
        return around is None and link.head in cluster

    heads = topped - set(groups)
    return {link.id for link in links if link.head in heads and not link.back and enters(link)}


def _around(clusters: Sequence[Cluster]) -> dict[str, str]:
    """By card: the cluster that it lies in directly."""
    return {name: cluster.id for cluster in clusters for name in cluster.cards}


def _down(start: Point, end: Point) -> str:
    """A curve that leaves and arrives straight down."""
    (ax, ay), (bx, by) = start, end
    half = (ay + by) / 2
    return f"M{ax:.1f},{ay:.1f}C{ax:.1f},{half:.1f} {bx:.1f},{half:.1f} {bx:.1f},{by:.1f}"


def _over(start: Point, end: Point) -> str:
    """A curve that leaves and arrives level."""
    (ax, ay), (bx, by) = start, end
    half = (ax + bx) / 2
    return f"M{ax:.1f},{ay:.1f}C{half:.1f},{ay:.1f} {half:.1f},{by:.1f} {bx:.1f},{by:.1f}"


def _head(tip: Point, way: tuple[int, int]) -> str:
    """The head of an arrow that points right (1, 0), left (-1, 0) or down (0, 1)."""
    (x, y), (dx, dy) = tip, way
    bx, by = x - HEAD * dx, y - HEAD * dy
    wx, wy = WING * dy, WING * abs(dx)
    return f"{bx - wx:.1f},{by - wy:.1f} {x:.1f},{y:.1f} {bx + wx:.1f},{by + wy:.1f}"
