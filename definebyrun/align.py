"""Two traces go in, what is the same in both comes out: pairs of tensors, operations, nodes, edges and steps.

First those operations are paired that computed the same from the same leaves, in whatever order; then, of the rest,
the longest common sequence by place in the code, module, name and literal arguments; then the same without the
literals, which may be data too (`x * rate`). The place is the whole way through the code, so a recursion is paired
level by level. Nodes follow their operations; nodes without one are found from the root, along slots, and from the
leaves. Values play no part. Every pass is linear but for the longest common sequence, which handles a row of
comparisons as one whole number (Crochemore and others, "A fast and practical bit-vector algorithm for the longest
common subsequence problem", 2001).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from .trace import Edge, Op, Source, Tensor, Trace

__all__ = ["Alignment", "Pairs", "align", "common", "in_turn", "same_pieces"]

SPAN = 20_000
"""Of longer unlike sequences the longest common one is sought span by span: memory is SPAN²/8 bytes at most."""
ALIKE = 0.6
"""Lines of an edited piece of code are taken for the same line from this likeness on."""


class Pairs:
    """A map from numbers in A to numbers in B, one to one; `to_a` is the way back."""

    def __init__(self) -> None:
        self.to_b: dict[int, int] = {}
        self.to_a: dict[int, int] = {}

    def add(self, a: int | None, b: int | None) -> bool:
        """Pair two numbers when neither is paired yet; say whether that was so."""
        if a is None or b is None or a in self.to_b or b in self.to_a:
            return False
        self.to_b[a], self.to_a[b] = b, a
        return True

    def has(self, a: int, b: int) -> bool:
        """Whether these two are a pair."""
        return self.to_b.get(a) == b


@dataclass
class Alignment:
    """What is the same in two traces."""

    tensors: Pairs = field(default_factory=Pairs)
    ops: Pairs = field(default_factory=Pairs)
    nodes: Pairs = field(default_factory=Pairs)
    edges: Pairs = field(default_factory=Pairs)
    steps: Pairs = field(default_factory=Pairs)


def align(a: Trace, b: Trace) -> Alignment:
    """Pair the parts of two traces."""
    found = Alignment()
    _pair_ops(a, b, found)
    _pair_nodes(a, b, found)
    _pair_edges(a, b, found)
    _pair_steps(a, b, found)
    return found


# ---- sequences ----


def common(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The longest common sequence of two, as pairs of places; where there is a choice, the earliest places.

    >>> common("abcd", "xbcbcd")
    [(1, 1), (2, 2), (3, 5)]
    """
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    pairs = [(i, i) for i in range(start)]
    for first in range(start, min(len(a), len(b)), SPAN):
        inside = _common(a[first : first + SPAN], b[first : first + SPAN])
        pairs += [(first + i, first + j) for i, j in inside]
    return pairs


def _common(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Bit j of a row is 0 where the common sequence of the ends of `a` and `b` grows by taking in b[-1 - j]."""
    where: dict[Hashable, int] = {}
    for bit, item in enumerate(reversed(b)):
        where[item] = where.get(item, 0) | 1 << bit
    full = (1 << len(b)) - 1
    rows = [full]
    for item in reversed(a):
        row = rows[-1]
        taken = row & where.get(item, 0)
        rows.append(((row + taken) | (row - taken)) & full)

    def length(i: int, j: int) -> int:
        left = len(b) - j
        return left - (rows[len(a) - i] & ((1 << left) - 1)).bit_count()

    i = j = 0
    left = length(0, 0)
    while left:
        if a[i] == b[j]:
            yield i, j
            i, j, left = i + 1, j + 1, left - 1
        elif length(i + 1, j) == left:
            i += 1
        else:
            j += 1


def in_turn(
    a: Iterable[tuple[Any, int]], b: Iterable[tuple[Any, int]]
) -> Iterator[tuple[int, int]]:
    """Numbers with equal keys: the first with the first, the second with the second, and so on."""
    waiting: dict[Any, deque[int]] = {}
    for key, number in a:
        waiting.setdefault(key, deque()).append(number)
    for key, number in b:
        if waiting.get(key):
            yield waiting[key].popleft(), number


# ---- places in the code ----


def same_pieces(a: Sequence[Source], b: Sequence[Source]) -> list[tuple[int, int]]:
    """Pieces of code that are the same in both runs: by title and text, then by title."""
    found = Pairs()
    for key in (lambda piece: (piece.title, piece.lines), lambda piece: piece.title):
        keyed = [
            [(key(piece), i) for i, piece in enumerate(pieces) if i not in done]
            for pieces, done in ((a, found.to_b), (b, found.to_a))
        ]
        for pair in in_turn(*keyed):
            found.add(*pair)
    return sorted(found.to_b.items())


def _same_lines(a: tuple[str, ...], b: tuple[str, ...]) -> dict[int, int]:
    """The lines of an edited piece of code, as a map from those in `b` to those in `a`."""
    found: dict[int, int] = {}
    for what, i, i_end, j, j_end in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if what == "equal" or (what == "replace" and i_end - i == j_end - j):
            found.update(zip(range(j, j_end), range(i, i_end), strict=True))
        elif what == "replace":
            for line in range(j, j_end):
                alike = [SequenceMatcher(None, a[k], b[line]).ratio() for k in range(i, i_end)]
                if alike and max(alike) >= ALIKE:
                    found[line] = i = i + alike.index(max(alike))
                    i += 1
    return found


class _Places:
    """Says for a place in B's code which place in A's code it is; a place that A has not stays its own."""

    def __init__(self, a: Trace, b: Trace) -> None:
        self._known: dict[tuple[int, int], tuple[Hashable, ...]] = {}
        self._shift: dict[int, tuple[int, int]] = {}
        for i, j in same_pieces(a.sources, b.sources):
            one, other = a.sources[i], b.sources[j]
            if one.lines == other.lines:
                self._shift[j] = (i, one.first - other.first)
                continue
            for line, to in _same_lines(one.lines, other.lines).items():
                self._known[j, other.first + line] = (i, one.first + to)

    def __call__(self, place: tuple[int, int]) -> tuple[Hashable, ...]:
        piece, line = place
        if piece in self._shift:
            to, by = self._shift[piece]
            return to, line + by
        return self._known.get(place, ("B", *place))


# ---- operations and tensors ----


def _pair_ops(a: Trace, b: Trace, found: Alignment) -> None:
    places = _Places(a, b)
    stacks_b = [tuple(map(places, op.stack)) for op in b.ops]
    lines_a = [(op.stack, op.name, op.scope) for op in a.ops]
    lines_b = [(stack, op.name, op.scope) for op, stack in zip(b.ops, stacks_b, strict=True)]
    numbers: dict[Any, int] = {}
    keys_a, keys_b = (
        [
            numbers.setdefault((line, _literals(op)), len(numbers))
            for op, line in zip(trace.ops, lines, strict=True)
        ]
        for trace, lines in ((a, lines_a), (b, lines_b))
    )
    made_a, made_b = _made(a), _made(b)
    for pair in in_turn(_named_leaves(a), _named_leaves(b)):
        found.tensors.add(*pair)

    def settle(pairs: Iterable[tuple[int, int]]) -> None:
        """Pair operations, what they made, and what only they read: factories, leaves of other names."""
        fresh = [pair for pair in pairs if found.ops.add(*pair)]
        for i, j in fresh:
            for pair in zip(made_a[i], made_b[j], strict=False):
                found.tensors.add(*pair)
        for i, j in fresh:
            for s, t in zip(a.ops[i].inputs, b.ops[j].inputs, strict=False):
                one, other = a.tensors[s], b.tensors[t]
                if one.op is None or other.op is None:
                    if one.op == other.op and one.kind == other.kind:
                        found.tensors.add(s, t)
                    continue
                same = a.ops[one.op].factory and keys_a[one.op] == keys_b[other.op]
                if same and found.ops.add(one.op, other.op):
                    for pair in zip(made_a[one.op], made_b[other.op], strict=False):
                        found.tensors.add(*pair)

    known: dict[Any, int] = {}
    settle(in_turn(_computed(a, keys_a, known), _computed(b, keys_b, known)))
    for of_a, of_b in ((keys_a, keys_b), (lines_a, lines_b)):
        rest_a = [op.index for op in a.ops if op.index not in found.ops.to_b]
        rest_b = [op.index for op in b.ops if op.index not in found.ops.to_a]
        pairs = common([of_a[i] for i in rest_a], [of_b[j] for j in rest_b])
        settle((rest_a[i], rest_b[j]) for i, j in pairs)


def _literals(op: Op) -> Hashable:
    """The arguments that are no tensors; what a factory makes is data, so its arguments do not count."""
    return () if op.factory else tuple(p for p in enumerate(op.args) if isinstance(p[1], str))


def _made(trace: Trace) -> list[list[int]]:
    """The tensors of each operation: its outputs, then further versions that were dated back to it."""
    made = [list(op.outputs) for op in trace.ops]
    for tensor in trace.tensors:
        if tensor.op is not None and tensor.index not in trace.ops[tensor.op].outputs:
            made[tensor.op].append(tensor.index)
    return made


def _named_leaves(trace: Trace) -> Iterator[tuple[Hashable, int]]:
    """Tensors that were there before the run, by name (parameters: their path), else in order."""
    for tensor in trace.tensors:
        if tensor.op is None:
            yield (tensor.kind, tensor.name), tensor.index


def _computed(trace: Trace, keys: list[int], known: dict[Any, int]) -> Iterator[tuple[int, int]]:
    """Each operation on tensors, with a number for what it computed: equal for equal expressions of equal leaves."""
    content: dict[int, int] = {}
    count: Counter[Any] = Counter()

    def of(tensor: Tensor) -> int:
        if tensor.index not in content:  # a leaf, or a version that is nobody's output
            key = (tensor.kind, tensor.name, tensor.op is None)
            count[key] += 1
            content[tensor.index] = known.setdefault((key, count[key]), len(known))
        return content[tensor.index]

    for op in trace.ops:
        expression = (keys[op.index], *(of(trace.tensors[i]) for i in op.inputs))
        for place, output in enumerate(op.outputs):
            content[output] = known.setdefault((expression, place), len(known))
        if op.inputs:
            yield known.setdefault(expression, len(known)), op.index


# ---- nodes, edges, steps ----


def _pair_nodes(a: Trace, b: Trace, found: Alignment) -> None:
    for i, j in found.ops.to_b.items():
        _pair_node(a, b, a.main_node(i), b.main_node(j), found)
        rest_a = [(a.nodes[n].name, n) for n in a.nodes_of(i) if n not in found.nodes.to_b]
        rest_b = [(b.nodes[n].name, n) for n in b.nodes_of(j) if n not in found.nodes.to_a]
        for pair in in_turn(rest_a, rest_b):
            _pair_node(a, b, *pair, found)
    for i, j in list(found.tensors.to_b.items()):
        _pair_node(a, b, a.tensors[i].node, b.tensors[j].node, found)
    _walk_down(a, b, found)
    _walk_up(a, b, found)
    hanging_a, hanging_b = _hanging(a), _hanging(b)
    for i, j in found.nodes.to_b.items():
        for pair in in_turn(hanging_a.get(i, ()), hanging_b.get(j, ())):
            found.tensors.add(*pair)


def _pair_node(a: Trace, b: Trace, i: int | None, j: int | None, found: Alignment) -> bool:
    """Pair two nodes if they are of one name and one origin: a pair of operations, a pair of leaves, or older."""
    if i is None or j is None:
        return False
    one, other = a.nodes[i], b.nodes[j]
    for p, q, pairs in ((one.op, other.op, found.ops), (one.leaf, other.leaf, found.tensors)):
        if (p is None) != (q is None):
            return False
        if p is not None and q is not None and not pairs.has(p, q):
            open_leaves = pairs is found.tensors and p not in pairs.to_b and q not in pairs.to_a
            if not open_leaves or a.tensors[p].kind != b.tensors[q].kind:
                return False
    if one.name != other.name or not found.nodes.add(i, j):
        return False
    found.tensors.add(one.leaf, other.leaf)
    return True


def _walk_down(a: Trace, b: Trace, found: Alignment) -> None:
    """From the roots of two drawn graphs and from every pair of nodes: what hangs at the same slot."""
    if a.root is not None and b.root is not None:
        _pair_node(a, b, a.tensors[a.root].node, b.tensors[b.root].node, found)
    waiting = deque(found.nodes.to_b.items())
    while waiting:
        i, j = waiting.popleft()
        slots = {edge.slot: edge for edge in b.edges_of([j])}
        for edge in a.edges_of([i]):
            same = slots.get(edge.slot)
            if same is not None and _pair_node(a, b, edge.target, same.target, found):
                waiting.append((edge.target, same.target))


def _walk_up(a: Trace, b: Trace, found: Alignment) -> None:
    """Nodes without an operation that lead to the same nodes, from the leaves up."""
    waiting: dict[Any, deque[int]] = {}
    for node in b.nodes:
        if node.op is None and node.leaf is None and node.index not in found.nodes.to_a:
            key = (node.name, _targets(b.edges_of([node.index])))
            waiting.setdefault(key, deque()).append(node.index)
    if not waiting:
        return
    for index in _leaves_first(a):
        edges = a.edges_of([index])
        if edges and index not in found.nodes.to_b:
            key = (a.nodes[index].name, _targets(edges, found.nodes.to_b))
            if waiting.get(key) and _pair_node(a, b, index, waiting[key][0], found):
                waiting[key].popleft()


def _targets(edges: list[Edge], to: dict[int, int] | None = None) -> Hashable:
    """Where edges lead; in the numbers of the other trace where `to` is given."""
    return tuple(
        (edge.slot, edge.target if to is None else to.get(edge.target, "none"), edge.input_nr)
        for edge in edges
    )


def _leaves_first(trace: Trace) -> Iterator[int]:
    """All nodes, each after those that its edges lead to."""
    open_edges = Counter(edge.source for edge in trace.edges)
    sources: dict[int, list[int]] = {}
    for edge in trace.edges:
        sources.setdefault(edge.target, []).append(edge.source)
    waiting = deque(node.index for node in trace.nodes if not open_edges[node.index])
    while waiting:
        index = waiting.popleft()
        yield index
        for source in sources.get(index, ()):
            open_edges[source] -= 1
            if not open_edges[source]:
                waiting.append(source)


def _hanging(trace: Trace) -> dict[int, list[tuple[int, int]]]:
    """By node: the results without an operation that hang from it, each with the number of its output."""
    hanging: dict[int, list[tuple[int, int]]] = {}
    for tensor in trace.tensors:
        if tensor.op is None and tensor.kind == "result" and tensor.node is not None:
            hanging.setdefault(tensor.node, []).append((tensor.output_nr, tensor.index))
    return hanging


def _pair_edges(a: Trace, b: Trace, found: Alignment) -> None:
    places = {(e.source, e.slot): e for e in b.edges}
    for edge in a.edges:
        other = places.get((found.nodes.to_b.get(edge.source, -1), edge.slot))
        if other is None or edge.input_nr != other.input_nr:
            continue
        if found.nodes.has(edge.target, other.target):
            found.edges.add(edge.index, other.index)


def _pair_steps(a: Trace, b: Trace, found: Alignment) -> None:
    """An operation's step with that of its pair; a node's with its pair's in the backward run of the same number."""

    def keyed(
        trace: Trace, ops: dict[int, int] | None, nodes: dict[int, int] | None
    ) -> Iterator[Any]:
        for step in trace.steps:
            part, to = (step.op, ops) if step.phase == "forward" else (step.node, nodes)
            number = part if to is None or part is None else to.get(part)
            if number is not None:
                yield (step.phase, number, step.run), step.index

    for pair in in_turn(keyed(a, found.ops.to_b, found.nodes.to_b), keyed(b, None, None)):
        found.steps.add(*pair)
