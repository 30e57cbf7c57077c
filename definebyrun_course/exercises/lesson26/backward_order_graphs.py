"""The graphs on which `backward_order` is judged, from one node up: some have an order, some have cycles."""

from __future__ import annotations

from collections.abc import Iterable

from ...grading import Drawn

__all__ = [
    "CASES",
    "CYCLES",
    "Node",
    "chain",
    "diamonds",
    "diamonds_in_a_ring",
    "graph",
    "random_cycles",
    "random_graph",
]

Edges = dict[int, list[int]]
"""The numbers that each number leads to; the first key is the first node."""


class Node:
    """A node of a backward graph: when it was recorded, and the nodes that its gradient is handed on to."""

    def __init__(self, number: int, inputs: Iterable[Node] = ()) -> None:
        self.number, self._inputs, self.reads = number, list(inputs), 0

    def __repr__(self) -> str:
        return f"Node({self.number})"

    @property
    def inputs(self) -> list[Node]:
        """The nodes that come after this one in the backward pass; None of them is left out, one may come twice."""
        self.reads += 1
        return list(self._inputs)

    def leads_to(self, *nodes: Node) -> None:
        self._inputs += nodes


def graph(edges: Edges) -> Node:
    """The first node of a graph that is given by numbers."""
    nodes = {
        number: Node(number) for number in (*edges, *(n for each in edges.values() for n in each))
    }
    for number, inputs in edges.items():
        nodes[number].leads_to(*(nodes[n] for n in inputs))
    return nodes[next(iter(edges))]


CASES: tuple[tuple[str, Edges], ...] = (
    ("one node", {1: []}),
    ("two nodes", {2: [1]}),
    ("a node that is used twice by one", {2: [1, 1]}),
    ("a node that is used twice by one, and by another", {3: [4, 4, 2], 2: [4]}),
    ("a diamond", {4: [2, 3], 2: [1], 3: [1]}),
    ("a node that is used early and late", {4: [1, 3], 3: [2], 2: [1]}),
    ("two branches", {5: [2, 4], 4: [1], 2: [0]}),
    ("two branches, recorded in turns", {6: [5, 4], 5: [3], 4: [2], 3: [1], 2: [0]}),
    ("a branch that was recorded before the other", {6: [2, 5], 2: [1], 5: [4], 4: [3]}),
    ("a short and a long way", {9: [8, 3], 8: [7], 7: [6], 6: [3], 3: [2]}),
    ("numbers that are not in the order of the edges", {3: [9, 1], 9: [4], 1: [4], 4: [2]}),
)
CYCLES: tuple[tuple[str, Edges], ...] = (
    ("a node that leads to itself", {1: [1]}),
    ("a node that leads to itself and to another", {2: [2, 1], 1: []}),
    ("a cycle of two", {3: [2], 2: [1], 1: [2]}),
    ("a cycle of two whose first leads to itself", {2: [1, 2], 1: [2]}),
    ("a cycle of two whose second leads to itself", {2: [1], 1: [2, 1]}),
    ("a long way back and a short one", {4: [3, 1], 3: [2], 2: [4], 1: [4]}),
    ("a short way back and a long one", {4: [1, 3], 3: [2], 2: [4], 1: [4]}),
    ("a cycle of three that leads to one of two", {5: [4], 4: [3], 3: [5, 2], 2: [1], 1: [2]}),
    ("a cycle of six with a short cut", {6: [5], 5: [4], 4: [3], 3: [2, 5], 2: [1], 1: [6]}),
    ("a cycle behind a diamond", {9: [7, 8], 7: [6], 8: [6], 6: [5], 5: [4, 1], 4: [6], 1: []}),
)


def diamonds(count: int) -> Node:
    """A diamond behind a diamond: 2 to the power of `count` paths."""
    last = Node(0)
    for i in range(count):
        left, right = Node(3 * i + 1, [last]), Node(3 * i + 2, [last])
        last = Node(3 * i + 3, [left, right])
    return last


def diamonds_in_a_ring(count: int) -> Edges:
    """The diamonds of `diamonds`, and an edge from the last node to the first: 2 to the power of `count` cycles."""
    edges = {3 * i: [3 * i - 2, 3 * i - 1] for i in range(count, 0, -1)}
    edges |= {3 * i + side: [3 * i] for i in range(count) for side in (1, 2)}
    return edges | {0: [3 * count]}


def chain(length: int) -> Node:
    last = Node(0)
    for number in range(1, length):
        last = Node(number, [last])
    return last


def random_graph(draw: Drawn, size: int) -> Node:
    """Each node leads to one or two that were recorded before it; a part of the numbers is exchanged."""
    nodes = [Node(0)]
    for number in range(1, size):
        targets = [nodes[draw.whole(0, number - 1)] for _ in range(draw.whole(1, 2))]
        nodes.append(Node(number, targets))
    nodes[-1].leads_to(nodes[size // 2])
    for _ in range(2):
        i, j = draw.whole(1, size - 2), draw.whole(1, size - 2)
        nodes[i].number, nodes[j].number = nodes[j].number, nodes[i].number
    return nodes[-1]


def random_cycles(draw: Drawn, size: int) -> Edges:
    """A chain with short cuts forward, and two ways back."""
    edges = {n: [n - 1, draw.whole(0, n - 1)] for n in range(size - 1, 0, -1)} | {0: []}
    for _ in range(2):
        n = draw.whole(0, size - 2)
        edges[n].append(draw.whole(n, size - 1))
    return edges
