"""Exercise `backward_order`: the order in which PyTorch's engine runs the nodes of a graph."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from ...grading import Drawn, Exercise, Mistake, Right, Wrong, counted, drawn, expect, forms, tried

__all__ = ["EXERCISE", "Node", "engine_order"]

READY = "A node is ready when all that use its output have run; of the ready ones, the one recorded last is next."


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


def graph(edges: dict[int, list[int]]) -> Node:
    """The first node of a graph that is given by numbers."""
    nodes = {
        number: Node(number) for number in (*edges, *(n for each in edges.values() for n in each))
    }
    for number, inputs in edges.items():
        nodes[number].leads_to(*(nodes[n] for n in inputs))
    return nodes[next(iter(edges))]


CASES: tuple[tuple[str, dict[int, list[int]]], ...] = (
    ("one node", {1: []}),
    ("two nodes", {2: [1]}),
    ("a node that is used twice by one", {2: [1, 1]}),
    ("a diamond", {4: [2, 3], 2: [1], 3: [1]}),
    ("a node that is used early and late", {4: [1, 3], 3: [2], 2: [1]}),
    ("two branches", {5: [2, 4], 4: [1], 2: [0]}),
    ("two branches, recorded in turns", {6: [5, 4], 5: [3], 4: [2], 3: [1], 2: [0]}),
    ("a branch that was recorded before the other", {6: [2, 5], 2: [1], 5: [4], 4: [3]}),
    ("a short and a long way", {9: [8, 3], 8: [7], 7: [6], 6: [3], 3: [2]}),
    ("numbers that are not in the order of the edges", {3: [9, 1], 9: [4], 1: [4], 4: [2]}),
)
CYCLES: tuple[tuple[str, dict[int, list[int]]], ...] = (
    ("a node that leads to itself", {1: [1]}),
    ("a cycle of two", {3: [2], 2: [1], 1: [2]}),
    ("a cycle behind a diamond", {9: [7, 8], 7: [6], 8: [6], 6: [5], 5: [4, 1], 4: [6], 1: []}),
)


def check_backward_order(backward_order: Callable[[Node], Any]) -> None:
    """`backward_order(root)` lists nodes as the engine runs them."""
    for words, edges in CASES:
        _judge(backward_order, words, graph(edges))
    for words, edges in CYCLES:
        _judge_cycle(backward_order, words, edges)
    _judge(backward_order, "forty diamonds, one behind the other", diamonds(40))
    _judge(backward_order, "a chain of 20,000 nodes", chain(20_000))
    draw = drawn()
    for _ in range(3):
        _judge(backward_order, f"a graph of nine nodes ({draw})", random_graph(draw, 9))


def diamonds(count: int) -> Node:
    """A diamond behind a diamond: 2 to the power of `count` paths."""
    last = Node(0)
    for i in range(count):
        left, right = Node(3 * i + 1, [last]), Node(3 * i + 2, [last])
        last = Node(3 * i + 3, [left, right])
    return last


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


def _judge(backward_order: Callable[..., Any], words: str, root: Node) -> None:
    want = engine_order(root)
    for node in want:
        node.reads = 0
    found = forms.sequence(backward_order(root), "The order of the nodes")
    expect(
        all(isinstance(node, Node) for node in found),
        f"For {words} an entry is no node of the graph.",
        "A list of the nodes themselves.",
    )
    times = Counter(map(id, found))
    twice = next((node for node in found if times[id(node)] > 1), None)
    expect(
        twice is None,
        f"For {words} {twice} is listed {twice and times[id(twice)]} times.",
        "A node runs once, with the sum of all that has come to it.",
    )
    missing = next((node for node in want if id(node) not in times), None)
    expect(
        missing is None,
        f"For {words} {missing} is missing: {counted(len(found), 'node')} of {len(want)} are listed.",
        "Every node that can be reached from the first one.",
    )
    place = {id(node): i for i, node in enumerate(found)}
    expect(
        len(place) == len(want),
        f"For {words} {len(place) - len(want)} nodes are listed that cannot be reached.",
        "Start at the first one.",
    )
    for node in want:
        late = next((n for n in node._inputs if place[id(n)] < place[id(node)]), None)
        expect(
            late is None,
            f"For {words} {late} runs before {node}, whose gradient it needs: {_told(found)}.",
            "A node runs when all that hand a gradient to it have run.",
        )
    expect(
        found == want,
        f"For {words} your order is {_told(found)}: possible, and not the engine's.",
        READY,
    )
    reads = sum(node.reads for node in want)
    expect(
        reads <= 3 * len(want),
        f"For {words}, {len(want)} nodes, .inputs was read {reads} times.",
        "Two reads for each node are enough: one to count who uses it, one to hand on.",
    )


def _told(found: list[Any]) -> str:
    return ", ".join(str(node.number) for node in found[:10]) + (", …" if len(found) > 10 else "")


def _judge_cycle(
    backward_order: Callable[..., Any], words: str, edges: dict[int, list[int]]
) -> None:
    root = graph(edges)
    try:
        found = backward_order(root)
    except ValueError as error:
        told = error.args[-1] if error.args else None
        hint = "ValueError(text, numbers): the numbers of one cycle, each leading to the next, the last to the first."
        if isinstance(told, str) or not isinstance(told, (list, tuple)) or not told:
            raise Mistake(
                f"For {words} the ValueError does not name the nodes of the cycle.", hint
            ) from error
        numbers = forms.wholes(told, "The cycle")
        steps = zip(numbers, [*numbers[1:], numbers[0]], strict=True)
        expect(
            all(b in edges.get(a, []) for a, b in steps) and len(set(numbers)) == len(numbers),
            f"For {words} the ValueError names {numbers}, which is no cycle of {edges}.",
            hint,
        )
        return
    except RecursionError as error:
        raise Mistake(
            f"For {words} your function goes round and round.", "Who is being visited just now?"
        ) from error
    raise Mistake(
        f"For {words} there is no order, and {_told(list(found or []))} comes back; a ValueError is asked for.",
        "What is left over when no node is ready any more?",
    )


def engine_order(root: Node) -> list[Node]:
    """The order by the words of the statement; endless for a cycle."""
    users, waiting, seen = Counter[int](), [root], {id(root)}
    while waiting:
        for node in waiting.pop()._inputs:
            users[id(node)] += 1
            if id(node) not in seen:
                seen.add(id(node))
                waiting.append(node)
    ready, found = [root], []
    while ready:
        node = max(ready, key=lambda node: node.number)
        ready.remove(node)
        found.append(node)
        for target in node._inputs:
            users[id(target)] -= 1
            if not users[id(target)]:
                ready.append(target)
    return found


# ---- right answers ----


def with_a_heap(root: Node) -> list[Node]:
    targets: dict[Node, list[Node]] = {}
    users: Counter[Node] = Counter()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node not in targets:
            targets[node] = node.inputs
            users.update(targets[node])
            waiting += targets[node]
    found: list[Node] = []
    ready = [] if users[root] else [(-root.number, root)]
    while ready:
        node = heapq.heappop(ready)[1]
        found.append(node)
        for target in targets[node]:
            users[target] -= 1
            if users[target] == 0:
                heapq.heappush(ready, (-target.number, target))
    left = set(targets) - set(found)
    if left:
        raise ValueError("a cycle", cycle_in(left, targets))
    return found


def cycle_in(left: set[Node], targets: dict[Node, list[Node]]) -> list[int]:
    """Against the edges, from one that waits to one that it waits for, until one comes again."""
    users = {target: node for node in left for target in targets[node] if target in left}
    path = [next(iter(left))]
    while users[path[-1]] not in path:
        path.append(users[path[-1]])
    begin = path.index(users[path[-1]])
    return [node.number for node in path[begin:]][::-1]


def with_a_walk(root: Node) -> list[Node]:
    """A depth-first walk without recursion finds cycles; a sorted list of the ready ones gives the order."""
    users: dict[int, int] = {}
    on_path: dict[int, Node] = {id(root): root}
    done: dict[int, list[Node]] = {}
    inside = root.inputs
    stack = [(root, inside, iter(inside))]
    while stack:
        node, inside, rest = stack[-1]
        for target in rest:
            users[id(target)] = users.get(id(target), 0) + 1
            if id(target) in on_path:
                numbers = [n.number for n in on_path.values()]
                raise ValueError("a cycle", numbers[numbers.index(target.number) :])
            if id(target) not in done:
                on_path[id(target)] = target
                below = target.inputs
                stack.append((target, below, iter(below)))
                break
        else:
            done[id(node)] = inside
            del on_path[id(node)]
            stack.pop()
    found, ready = [], [root]
    while ready:
        ready.sort(key=lambda node: node.number)
        node = ready.pop()
        found.append(node)
        for target in done[id(node)]:
            users[id(target)] -= 1
            if users[id(target)] < 1:
                ready.append(target)
    return found


# ---- wrong answers ----


def _cycle_of(root: Node) -> None:
    with_a_walk(root)


def _recursive(root: Node) -> list[Node]:
    """The usual topological sort of small engines: depth first, reversed."""
    seen: set[Node] = set()
    found: list[Node] = []

    def visit(node: Node) -> None:
        if node not in seen:
            seen.add(node)
            for target in node.inputs:
                visit(target)
            found.append(node)

    visit(root)
    return found[::-1]


def _not_left_out(root: Node) -> list[Node]:
    """Notes whom it has seen, and goes on all the same."""
    seen: set[Node] = set()
    found: list[Node] = []

    def traverse(node: Node) -> None:
        if node not in seen:
            seen.add(node)
        for target in node.inputs:
            traverse(target)
        found.append(node)

    traverse(root)
    return found[::-1]


def _walk(root: Node, mistake: str) -> list[Node]:
    targets: dict[Node, list[Node]] = {}
    users: Counter[Node] = Counter()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node not in targets:
            targets[node] = node.inputs
            users.update(set(targets[node]) if mistake == "edges counted once" else targets[node])
            waiting += targets[node]
    if mistake == "by number":
        return sorted(targets, key=lambda node: -node.number)
    if mistake == "breadth first":
        found, queue = [root], [root]
        for node in queue:
            queue += [t for t in targets[node] if t not in queue]
        return queue
    if mistake == "reads again":
        for node in targets:
            for _ in range(4):
                node.inputs  # noqa: B018
    found, ready = [], [] if users[root] else [root]
    while ready:
        if mistake == "first come":
            node = ready.pop(0)
        elif mistake == "last come":
            node = ready.pop()
        else:
            node = (min if mistake == "oldest first" else max)(ready, key=lambda node: node.number)
            ready.remove(node)
        found.append(node)
        for target in targets[node]:
            users[target] -= 1
            if users[target] == 0:
                ready.append(target)
    if len(found) < len(targets) and mistake != "a cycle is short":
        if mistake == "no cycle named":
            raise ValueError("there is a cycle")
        numbers = [node.number for node in targets if node not in found]
        raise ValueError("cycle", numbers if mistake == "all that is left" else [])
    return found


def _diamond_is_a_cycle(root: Node) -> list[Node]:
    seen: set[Node] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node in seen:
            raise ValueError("does not name the nodes", [node.number])
        seen.add(node)
        waiting += node.inputs
    return with_a_walk(root)


def oracle(backward_order: Callable[..., Any]) -> Any:
    """The order of many graphs, the cycle of those that have one, and how often edges were read."""

    def told(root: Node) -> Any:
        found = backward_order(root)
        reads = sum(node.reads for node in engine_order(root))
        return [[node.number for node in found], reads <= 3 * len(found)]

    def names_a_cycle(edges: dict[int, list[int]]) -> Any:
        try:
            return backward_order(graph(edges))
        except ValueError as error:
            numbers = list(error.args[-1])
            steps = zip(numbers, [*numbers[1:], *numbers[:1]], strict=True)
            return [bool(numbers), all(b in edges.get(a, []) for a, b in steps)]

    draw = Drawn(0)
    wide = [graph(edges) for _, edges in CASES] + [
        random_graph(draw, size) for size in range(3, 14) for _ in range(6)
    ]
    wide += [diamonds(10), chain(3000)]
    cycles = [edges for _, edges in CYCLES] + [
        {5: [4, 3], 4: [2], 3: [2], 2: [1, 3], 1: []},
        {2: [1], 1: [0], 0: [2]},
    ]
    return [tried(lambda r=r: told(r)) for r in wide] + [
        tried(lambda e=e: names_a_cycle(e)) for e in cycles
    ]


EXERCISE = Exercise(
    "backward_order",
    "Every node once, after all that use it, and in the engine's own order.",
    check_backward_order,
    (
        Wrong("depth first, reversed", _recursive, "For two branches your order is 5, 4, 1, 2, 0"),
        Wrong(
            "seen and walked again",
            _not_left_out,
            "For a node that is used twice by one Node(1) is listed",
        ),
        Wrong("sorted by number", lambda r: _walk(r, "by number"), "needs: 9, 4, 3"),
        Wrong(
            "breadth first",
            lambda r: _walk(r, "breadth first"),
            "For a node that is used twice by one Node(1) is listed",
        ),
        Wrong(
            "first come, first served",
            lambda r: _walk(r, "first come"),
            "For a diamond your order is 4, 2, 3, 1",
        ),
        Wrong(
            "the latest to become ready",
            lambda r: _walk(r, "last come"),
            "For two branches your order is 5, 4, 1, 2, 0",
        ),
        Wrong(
            "the oldest first",
            lambda r: _walk(r, "oldest first"),
            "For a diamond your order is 4, 2, 3, 1",
        ),
        Wrong(
            "an edge counted once",
            lambda r: _walk(r, "edges counted once"),
            "leads to itself the ValueError does not name",
        ),
        Wrong("an empty list", lambda r: [], "Node(1) is missing: 0 nodes of 1"),
        Wrong(
            "a cycle is cut short",
            lambda r: _walk(r, "a cycle is short"),
            "to itself there is no order",
        ),
        Wrong(
            "no cycle named",
            lambda r: _walk(r, "no cycle named"),
            "leads to itself the ValueError does not name",
        ),
        Wrong(
            "all that is left named", lambda r: _walk(r, "all that is left"), "which is no cycle of"
        ),
        Wrong(
            "a diamond taken for a cycle", _diamond_is_a_cycle, "Your code stopped with ValueError"
        ),
        Wrong("edges read again and again", lambda r: _walk(r, "reads again"), ".inputs was read"),
        Wrong(
            "numbers for nodes", lambda r: [n.number for n in with_a_walk(r)], "an entry is no node"
        ),
    ),
    right=(Right("a heap", with_a_heap), Right("a walk, then a sorted list", with_a_walk)),
    oracle=oracle,
)
