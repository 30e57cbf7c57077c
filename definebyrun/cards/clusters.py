"""A trace, its cards and links go in, clusters come out: which cards a module or a repeated block holds together.

Clusters lie within each other as the calls of modules do. A module gets one where that helps: when it holds more than
one operation, not all of them, and not the same ones as the cluster around it. A repeated block always gets one, and so
does the graph that a backward pass has made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..comparison.word_diff import word_diff
from ..text.labels import maker_of_pass
from ..trace import Block, Op, TensorVersion, Trace
from .model import Card, Link

__all__ = ["Cluster", "build_clusters"]

Key = tuple[str, int]
"""A module call, a repeated block or a recorded backward pass: its kind and its index."""


@dataclass(slots=True)
class Cluster:
    """A cluster: its label, the ids of the cards that lie in it directly, the id of the cluster around it.

    `made` says that a backward pass has made what is in it, from step `born` on.
    """

    id: str
    label: str
    outer: str | None = None
    cards: list[str] = field(default_factory=list)
    rolled: bool = False
    made: bool = False
    born: int = 0


def build_clusters(trace: Trace, cards: list[Card], links: list[Link]) -> list[Cluster]:
    """The clusters of a drawing, outer ones before those within them."""
    if not trace.calls and not trace.blocks and not any(card.run is not None for card in cards):
        return []
    paths = _Paths(trace)
    ways = _ways(trace, cards, links, paths)
    ops: dict[Key, set[int]] = {}
    for card in cards:
        if card.op is not None:
            for key in ways[card.id]:
                ops.setdefault(key, set()).add(card.op)
    everything = len({card.op for card in cards if card.op is not None})
    clusters: dict[Key, Cluster] = {}

    def into(way: tuple[Key, ...], card: Card) -> Cluster | None:
        """The innermost cluster on a way, made for this card if nothing came that way before."""
        around: Key | None = None
        for key in way:
            held = len(ops.get(key, ()))
            more = held > 1 and held < everything
            if key[0] != "call" or (more and (around is None or held < len(ops[around]))):
                if key not in clusters:
                    outer = None if around is None else clusters[around].id
                    label = paths.label(key, card)
                    cluster = Cluster(f"f{len(clusters)}", label, outer, rolled=key[0] == "block")
                    cluster.made, cluster.born = key[0] == "run", card.born
                    clusters[key] = cluster
                around = key
        return None if around is None else clusters[around]

    innermost: dict[tuple[Key, ...], Cluster | None] = {}
    for card in cards:
        way = ways[card.id]
        if way not in innermost:
            innermost[way] = into(way, card)
        cluster = innermost[way]
        if cluster is not None:
            cluster.cards.append(card.id)
            cluster.born = min(cluster.born, card.born)
    return list(clusters.values())


class _Paths:
    """By operation: the calls and blocks around it, outermost first."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._chains: list[tuple[int, ...]] = []
        for call in trace.calls:
            outer = () if call.outer is None else self._chains[call.outer]
            self._chains.append((*outer, call.index))
        self._blocks = [self._around(block.index) for block in trace.blocks]
        self._depth = [0 if b.call is None else len(self._chains[b.call]) for b in trace.blocks]

    def of(self, op: Op) -> tuple[Key, ...]:
        path: list[Key] = [("call", call) for call in self._calls(op)]
        repeated = op.other.block if op.block is None and op.other is not None else op.block
        for place, block in enumerate(() if repeated is None else self._blocks[repeated]):
            path.insert(self._depth[block] + place, ("block", block))
        return tuple(path)

    def of_block(self, block: int | None) -> tuple[Key, ...]:
        return tuple(("block", b) for b in (() if block is None else self._blocks[block]))

    def of_made(self, trace: Trace, card: Card) -> tuple[Key, ...]:
        """The graph that a backward pass makes lies in no module, but in a repeated block if the pass does."""
        op = None if card.node is None else trace.nodes[card.node].op
        blocks = () if op is None else tuple(k for k in self.of(trace.ops[op]) if k[0] == "block")
        return (*blocks, ("run", card.run or 0))

    def of_leaf(self, leaf: TensorVersion, way: tuple[Key, ...]) -> tuple[Key, ...]:
        """As much of the way to its users as holds for a leaf: all repetitions share it, or each has its own."""
        own = () if leaf.block is None else self._blocks[leaf.block]
        inside = [place for place, key in enumerate(way) if key[0] == "block" and key[1] in own]
        shared = [place for place, key in enumerate(way) if key[0] == "block" and key[1] not in own]
        if leaf.kind != "parameter" and "." not in (leaf.name or ""):
            return way[: inside[-1] + 1] if inside else ()
        return way[: shared[0]] if shared else way

    def label(self, key: Key, card: Card) -> str:
        if key[0] == "run":
            return f"generation {card.generation}: made by {maker_of_pass(self.trace, key[1])}"
        if key[0] == "call":
            call = self.trace.calls[key[1]]
            return f"{call.path} ({call.kind})" if call.path else call.kind
        block = self.trace.blocks[key[1]]
        said = (
            _repeats(block)
            if block.other is None
            else word_diff(_repeats(block), _repeats(block.other))
        )
        return f"{said}, the last one shown" + (f", only {block.side}" if block.side else "")

    def _around(self, block: int | None) -> list[int]:
        chain: list[int] = []
        while block is not None:
            chain.append(block)
            block = self.trace.blocks[block].outer
        return chain[::-1]

    def _calls(self, op: Op) -> tuple[int, ...]:
        if op.call is None:
            return ()
        return self._chains[op.call][:-1] if op.module else self._chains[op.call]


def _repeats(block: Block) -> str:
    return f"{block.label} × {block.times:,}".strip()


def _shared(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    if a == b:
        return a
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    return a[:same]


def _ways(
    trace: Trace, cards: list[Card], links: list[Link], paths: _Paths
) -> dict[str, tuple[Key, ...]]:
    """By card: the calls and blocks around it. A leaf lies where all that use it lie, an input outside."""
    ways: dict[str, tuple[Key, ...]] = {}
    for card in cards:
        if card.run is not None:
            ways[card.id] = paths.of_made(trace, card)
        elif card.op is not None:
            ways[card.id] = paths.of(trace.ops[card.op])
        elif card.node is not None and trace.nodes[card.node].block is not None:
            ways[card.id] = paths.of_block(trace.nodes[card.node].block)
    uses: dict[str, tuple[Key, ...]] = {}
    solid = {link.tail for link in links if link.edge is not None}
    for link in links:
        # where gradients flow a leaf is used; an optimizer only changes it
        if link.tail in solid and link.edge is None:
            continue
        if link.head in ways and link.tail not in ways:
            uses[link.tail] = _shared(uses.get(link.tail, ways[link.head]), ways[link.head])  # type: ignore[arg-type]
    leaves = {
        f"t{t.index}" if t.node is None else f"n{t.node}": t
        for t in trace.tensors
        if t.kind != "result" and t.origin is None
    }
    for card in cards:
        if card.id in ways:
            continue
        leaf = leaves.get(card.id.partition("u")[0])
        way = uses.get(card.id, ())
        ways[card.id] = () if leaf is None else paths.of_leaf(leaf, way)
    return ways
