"""A trace, its cards and links go in, clusters come out: which cards a module or a repeated block holds together.

Clusters lie within each other as the calls of modules do. A module gets one where that helps: when it holds more than
one operation, not all of them, and not the same ones as the cluster around it. A repeated block always gets one, and so
does the graph that a backward pass has made.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..comparison.word_diff import SIDES, short_names, word_diff
from ..text.labels import maker_of_pass
from ..trace import Block, Op, TensorVersion, Trace
from ..trace.records import FUNCTION
from .model import STOP, Card, Link
from .stopped import call_of_stop

__all__ = ["Cluster", "build_clusters"]

Key = tuple[str, int]
"""A module call, a repeated block, a recorded pass or an operation: `call`, `block`, `run` or `op`, and its index."""
Path = tuple[Key, ...]
"""What is around a card, outermost first."""


@dataclass(slots=True)
class Cluster:
    """A cluster: its label, the ids of the cards that lie in it directly, the id of the cluster around it.

    `rolled` says that it is a repeated block, `made` that a backward pass has made what is in it, from step `born` on.
    """

    id: str
    label: str
    outer: str | None = None
    cards: list[str] = field(default_factory=list)
    rolled: bool = False
    made: bool = False
    born: int = 0


def build_clusters(
    trace: Trace,
    cards: list[Card],
    links: list[Link],
    least_outside: int = 1,
    frame_operations: bool = True,
) -> list[Cluster]:
    """The clusters of a drawing, outer ones before those within them.

    A module that leaves fewer than `least_outside` operations outside gets none, and with `frame_operations` an
    operation of several cards gets one.
    """
    surroundings = _Surroundings(trace)
    paths = _paths_by_card(trace, cards, links, surroundings)
    worth = _Worth(cards, paths, least_outside, frame_operations)
    clusters: dict[Key, Cluster] = {}

    def innermost(path: Path, card: Card) -> Cluster | None:
        """The innermost cluster on a path; those that are not there yet are made."""
        around: Key | None = None
        for key in path:
            if not worth.a_cluster(key, around):
                continue
            if key not in clusters:
                outer = None if around is None else clusters[around].id
                label = surroundings.label(key, card)
                cluster = Cluster(f"f{len(clusters)}", label, outer, rolled=key[0] == "block")
                cluster.made, cluster.born = key[0] == "run", card.born
                clusters[key] = cluster
            around = key
        return None if around is None else clusters[around]

    known: dict[Path, Cluster | None] = {}
    for card in cards:
        path = paths[card.id]
        if path not in known:
            known[path] = innermost(path, card)
        cluster = known[path]
        if cluster is not None:
            cluster.cards.append(card.id)
            cluster.born = min(cluster.born, card.born)
    return list(clusters.values())


class _Worth:
    """Whether a module call gets a cluster, by the operations that lie in it, an operation by its cards."""

    def __init__(
        self, cards: list[Card], paths: dict[str, Path], least_outside: int, frame_operations: bool
    ) -> None:
        self._cards_of = Counter(card.op for card in cards if frame_operations)
        self._least_outside = least_outside
        self._ops: dict[Key, set[int]] = {}
        for card in cards:
            if card.op is not None:
                for key in paths[card.id]:
                    self._ops.setdefault(key, set()).add(card.op)
        self._everything = len({card.op for card in cards if card.op is not None})

    def a_cluster(self, key: Key, around: Key | None) -> bool:
        """Blocks and passes always; a call with more than one operation, not all, and fewer than what is around it.

        An operation gets one when it has several cards.
        """
        if key[0] == "op":
            return self._cards_of[key[1]] > 1
        if key[0] != "call":
            return True
        held = len(self._ops.get(key, ()))
        within = held + 1 if around is None else len(self._ops.get(around, ()))
        return 1 < held < within and held <= self._everything - self._least_outside


class _Surroundings:
    """What is around an operation, a leaf, a node: the calls and blocks, outermost first."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._chains: list[tuple[int, ...]] = []
        for call in trace.calls:
            outer = () if call.outer is None else self._chains[call.outer]
            self._chains.append((*outer, call.index))
        self._blocks = [self._nested(block.index) for block in trace.blocks]
        self._depth = [0 if b.call is None else len(self._chains[b.call]) for b in trace.blocks]

    def of(self, op: Op) -> Path:
        """Around an operation: its calls, and each block within the call that holds all of its repetitions."""
        path: list[Key] = [("call", call) for call in self._calls(op)]
        repeated = op.other.block if op.block is None and op.other is not None else op.block
        for number, block in enumerate(() if repeated is None else self._blocks[repeated]):
            path.insert(self._depth[block] + number, ("block", block))
        return tuple(path)

    def of_call(self, call: int | None) -> Path:
        """A module call and those around it."""
        return () if call is None else tuple(("call", each) for each in self._chains[call])

    def of_block(self, block: int) -> Path:
        """A block itself, and the blocks around it."""
        return tuple(("block", each) for each in self._blocks[block])

    def of_made(self, card: Card) -> Path:
        """The graph that a backward pass makes lies in no module, but in a repeated block if the pass does."""
        op = None if card.node is None else self._trace.nodes[card.node].op
        path = () if op is None else self.of(self._trace.ops[op])
        return (*(key for key in path if key[0] == "block"), ("run", card.run or 0))

    def of_leaf(self, leaf: TensorVersion, path: Path) -> Path:
        """As much of the path to a leaf's users as holds for it: all repetitions share it, or each has its own.

        An input lies in the blocks that make it anew, a parameter in its modules too, and so does what these make.
        """
        path = path[:-1] if path and path[-1][0] == "op" else path
        own = () if leaf.block is None else self._blocks[leaf.block]
        inside = [number for number, key in enumerate(path) if key[0] == "block" and key[1] in own]
        shared = [
            number for number, key in enumerate(path) if key[0] == "block" and key[1] not in own
        ]
        if leaf.op is not None and self._trace.ops[leaf.op].factory:
            path = _common_start(self.of(self._trace.ops[leaf.op]), path)
        elif leaf.kind != "parameter" and "." not in (leaf.name or ""):
            return path[: inside[-1] + 1] if inside else ()
        return path[: shared[0]] if shared else path

    def label(self, key: Key, card: Card) -> str:
        """What a cluster is called."""
        if key[0] == "run":
            return f"generation {card.generation}: made by {maker_of_pass(self._trace, key[1])}"
        if key[0] == "call":
            call = self._trace.calls[key[1]]
            named = call.path and call.kind != FUNCTION
            return f"{call.path} ({call.kind})" if named else call.path or call.kind
        if key[0] == "op":
            return self._op_label(self._trace.ops[key[1]])
        block = self._trace.blocks[key[1]]
        repeats, names = _repeats(block), short_names(self._trace.sides)
        if block.other is not None:
            repeats = word_diff(repeats, _repeats(block.other), names)
        only = f", only {names[SIDES.index(block.side)]}" if block.side else ""
        return f"{repeats}, the last one shown{only}"

    def _op_label(self, op: Op) -> str:
        """An operation as the code names it."""
        names = [self._trace.tensors[i].name for i in op.results]
        left = ", ".join(name or "_" for name in names)
        return f"{left} = {op.name}" if any(names) else op.name

    def _nested(self, block: int | None) -> list[int]:
        """A block and those around it, outermost first."""
        chain: list[int] = []
        while block is not None:
            chain.append(block)
            block = self._trace.blocks[block].outer
        return chain[::-1]

    def _calls(self, op: Op) -> tuple[int, ...]:
        """The calls around an operation; one that stands for a folded call does not lie in that."""
        if op.call is None:
            return ()
        return self._chains[op.call][:-1] if op.module else self._chains[op.call]


def _repeats(block: Block) -> str:
    return f"{block.label} × {block.times:,}".strip()


def _common_start(a: Path, b: Path) -> Path:
    if a == b:
        return a
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    return a[:same]


def _paths_by_card(
    trace: Trace, cards: list[Card], links: list[Link], surroundings: _Surroundings
) -> dict[str, Path]:
    """By card: the calls and blocks around it. A leaf lies where all that use it lie, an input outside."""
    paths: dict[str, Path] = {}
    for card in cards:
        block = None if card.node is None else trace.nodes[card.node].block
        if card.run is not None:
            paths[card.id] = surroundings.of_made(card)
        elif card.op is not None:
            paths[card.id] = (*surroundings.of(trace.ops[card.op]), ("op", card.op))
        elif block is not None:
            paths[card.id] = surroundings.of_block(block)
        elif card.kind == STOP:
            paths[card.id] = surroundings.of_call(call_of_stop(trace, card))
    users: dict[str, Path] = {}
    solid = {link.tail for link in links if link.edge is not None}
    for link in links:
        # where gradients flow a leaf is used; an optimizer only changes it
        if link.tail in solid and link.edge is None:
            continue
        if link.head in paths and link.tail not in paths:
            path = paths[link.head]
            users[link.tail] = _common_start(users.get(link.tail, path), path)
    leaves = {
        f"t{t.index}" if t.node is None else f"n{t.node}": t
        for t in trace.tensors
        if t.kind != "result" and t.origin is None
    }
    for card in cards:
        if card.id not in paths:
            leaf = leaves.get(card.id.partition("u")[0])
            path = users.get(card.id, ())
            paths[card.id] = () if leaf is None else surroundings.of_leaf(leaf, path)
    return paths
