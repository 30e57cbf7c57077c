"""Two traces go in, what is the same in both comes out: pairs of tensors, operations, nodes, edges and steps.

Operations that computed the same from the same leaves are paired first, in whatever order they ran (compilers call this
value numbering). Of the rest, the longest common subsequence is paired: by location in the code, module, name and
literal arguments; then once more without the literals, which may be data too (`x * rate`). The location is the whole
stack, so a recursion is paired level by level. Nodes follow their operations; nodes without one are found from the
root, slot by slot, and from the leaves. The numbers in tensors play no part. Every pass is linear, but for the longest
common subsequence.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..trace import Edge, Op, TensorVersion, Trace
from .code_locations import LocationsInA
from .sequences import Matching, longest_common_subsequence, pair_by_key

__all__ = ["Alignment", "align"]


@dataclass
class Alignment:
    """What is the same in two traces."""

    tensors: Matching = field(default_factory=Matching)
    ops: Matching = field(default_factory=Matching)
    nodes: Matching = field(default_factory=Matching)
    edges: Matching = field(default_factory=Matching)
    steps: Matching = field(default_factory=Matching)


def align(a: Trace, b: Trace) -> Alignment:
    """Pair the parts of two traces."""
    found = Alignment()
    _pair_ops(a, b, found)
    _pair_nodes(a, b, found)
    _pair_edges(a, b, found)
    _pair_steps(a, b, found)
    return found


# ---- operations and tensors ----


def _pair_ops(a: Trace, b: Trace, found: Alignment) -> None:
    in_a = LocationsInA(a.sources, b.sources)
    stacks_b = [tuple(map(in_a, op.stack)) for op in b.ops]
    lines_a = [(op.stack, op.name, op.scope) for op in a.ops]
    lines_b = [(stack, op.name, op.scope) for op, stack in zip(b.ops, stacks_b, strict=True)]
    numbers: dict[Any, int] = {}
    calls_a, calls_b = _call_numbers(a, lines_a, numbers), _call_numbers(b, lines_b, numbers)
    for pair in pair_by_key(_named_leaves(a), _named_leaves(b)):
        found.tensors.add(*pair)
    pairing = _OpPairing(a, b, found, calls_a, calls_b)
    known: dict[Any, int] = {}
    computed_a, computed_b = _value_numbers(a, calls_a, known), _value_numbers(b, calls_b, known)
    pairing.add(pair_by_key(computed_a, computed_b))
    for of_a, of_b in ((calls_a, calls_b), (lines_a, lines_b)):
        left_a = [op.index for op in a.ops if op.index not in found.ops.to_b]
        left_b = [op.index for op in b.ops if op.index not in found.ops.to_a]
        pairs = longest_common_subsequence([of_a[i] for i in left_a], [of_b[j] for j in left_b])
        pairing.add((left_a[i], left_b[j]) for i, j in pairs)


def _call_numbers(
    trace: Trace, lines: Sequence[Hashable], numbers: dict[Any, int]
) -> Sequence[int]:
    """By operation: a number that is equal for the same call on the same line with the same literal arguments."""
    return [
        numbers.setdefault((line, _literals(op)), len(numbers))
        for op, line in zip(trace.ops, lines, strict=True)
    ]


class _OpPairing:
    """Pairs operations, and with them the tensors that they made and those that only they read."""

    def __init__(
        self, a: Trace, b: Trace, found: Alignment, calls_a: Sequence[int], calls_b: Sequence[int]
    ) -> None:
        self._a, self._b, self._found = a, b, found
        self._calls_a, self._calls_b = calls_a, calls_b
        self._made_a, self._made_b = _tensors_by_op(a), _tensors_by_op(b)

    def add(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Pair these operations, where neither is paired yet, and their tensors."""
        new = [pair for pair in pairs if self._found.ops.add(*pair)]
        for i, j in new:
            self._pair_results(i, j)
        for i, j in new:
            for s, t in zip(self._a.ops[i].inputs, self._b.ops[j].inputs, strict=False):
                self._pair_inputs(s, t)

    def _pair_results(self, i: int, j: int) -> None:
        for pair in zip(self._made_a[i], self._made_b[j], strict=False):
            self._found.tensors.add(*pair)

    def _pair_inputs(self, s: int, t: int) -> None:
        """Leaves of other names, and what a factory made for this operation."""
        one, other = self._a.tensors[s], self._b.tensors[t]
        if one.op is None or other.op is None:
            if one.op == other.op and one.kind == other.kind:
                self._found.tensors.add(s, t)
            return
        same = self._a.ops[one.op].factory and self._calls_a[one.op] == self._calls_b[other.op]
        if same and self._found.ops.add(one.op, other.op):
            self._pair_results(one.op, other.op)


def _literals(op: Op) -> Hashable:
    """The arguments that are no tensors; what a factory makes is data, so its arguments do not count."""
    return () if op.factory else tuple(p for p in enumerate(op.args) if isinstance(p[1], str))


def _tensors_by_op(trace: Trace) -> list[list[int]]:
    """The tensors of each operation: its outputs, then versions that in-place changes of a leaf were dated to it."""
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


def _value_numbers(
    trace: Trace, calls: Sequence[int], known: dict[Any, int]
) -> Iterator[tuple[int, int]]:
    """Each operation on tensors after a number for what it computed: equal for equal calls on equal leaves."""
    content: dict[int, int] = {}
    count: Counter[Any] = Counter()

    def of(tensor: TensorVersion) -> int:
        if tensor.index not in content:  # a leaf, or a version that is no operation's output
            key = (tensor.kind, tensor.name, tensor.op is None)
            count[key] += 1
            content[tensor.index] = known.setdefault((key, count[key]), len(known))
        return content[tensor.index]

    for op in trace.ops:
        expression = (calls[op.index], *(of(trace.tensors[i]) for i in op.inputs))
        for position, output in enumerate(op.outputs):
            content[output] = known.setdefault((expression, position), len(known))
        if op.inputs:
            yield known.setdefault(expression, len(known)), op.index


# ---- nodes, edges, steps ----


def _pair_nodes(a: Trace, b: Trace, found: Alignment) -> None:
    for i, j in found.ops.to_b.items():
        _pair_node(a, b, a.main_node(i), b.main_node(j), found)
        left_a = [(a.nodes[n].name, n) for n in a.nodes_of(i) if n not in found.nodes.to_b]
        left_b = [(b.nodes[n].name, n) for n in b.nodes_of(j) if n not in found.nodes.to_a]
        for pair in pair_by_key(left_a, left_b):
            _pair_node(a, b, *pair, found)
    for i, j in list(found.tensors.to_b.items()):
        _pair_node(a, b, a.tensors[i].node, b.tensors[j].node, found)
    _pair_targets(a, b, found)
    _pair_sources(a, b, found)
    results_a, results_b = _loose_results(a), _loose_results(b)
    for i, j in found.nodes.to_b.items():
        for pair in pair_by_key(results_a.get(i, ()), results_b.get(j, ())):
            found.tensors.add(*pair)


def _pair_node(a: Trace, b: Trace, i: int | None, j: int | None, found: Alignment) -> bool:
    """Pair two nodes of one name whose operations, or leaves, are a pair too, or which have neither."""
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


def _pair_targets(a: Trace, b: Trace, found: Alignment) -> None:
    """From the roots of two drawn graphs, and from every pair of nodes: the targets of edges at the same slot."""
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


def _pair_sources(a: Trace, b: Trace, found: Alignment) -> None:
    """Nodes without an operation whose edges lead to the same nodes, from the leaves up."""
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


def _loose_results(trace: Trace) -> dict[int, list[tuple[int, int]]]:
    """By node: the results whose `grad_fn` it is and that no operation made, each with the number of its output."""
    found: dict[int, list[tuple[int, int]]] = {}
    for tensor in trace.tensors:
        if tensor.op is None and tensor.kind == "result" and tensor.node is not None:
            found.setdefault(tensor.node, []).append((tensor.output_nr, tensor.index))
    return found


def _pair_edges(a: Trace, b: Trace, found: Alignment) -> None:
    at_slot = {(edge.source, edge.slot): edge for edge in b.edges}
    for edge in a.edges:
        other = at_slot.get((found.nodes.to_b.get(edge.source, -1), edge.slot))
        if other is None or edge.input_nr != other.input_nr:
            continue
        if found.nodes.has(edge.target, other.target):
            found.edges.add(edge.index, other.index)


def _pair_steps(a: Trace, b: Trace, found: Alignment) -> None:
    """An operation's step with that of its pair; a node's with its pair's in the backward pass of the same number."""

    def keyed(
        trace: Trace, ops: dict[int, int] | None, nodes: dict[int, int] | None
    ) -> Iterator[Any]:
        for step in trace.steps:
            part, to = (step.op, ops) if step.phase == "forward" else (step.node, nodes)
            number = part if to is None or part is None else to.get(part)
            if number is not None:
                yield (step.phase, number, step.pass_nr), step.index

    for pair in pair_by_key(keyed(a, found.ops.to_b, found.nodes.to_b), keyed(b, None, None)):
        found.steps.add(*pair)
