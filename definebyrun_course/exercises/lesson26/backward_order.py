"""Exercise `backward_order`: the order in which PyTorch's engine runs the nodes of a graph."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any

from ...grading import Drawn, Exercise, Mistake, Right, Wrong, counted, drawn, expect, forms, tried
from .backward_order_graphs import (
    CASES,
    CYCLES,
    Node,
    chain,
    diamonds,
    diamonds_in_a_ring,
    graph,
    random_cycles,
    random_graph,
)

__all__ = ["EXERCISE", "Node", "engine_order"]

CYCLE = "ValueError(text, numbers): the numbers of one cycle, each leading to the next, the last to the first."
READY = "A node is ready when all that use its output have run; of the ready ones, the one recorded last is next."


def check_backward_order(backward_order: Callable[[Node], Any]) -> None:
    """`backward_order(root)` lists nodes as the engine runs them."""
    for words, edges in CASES:
        _judge(backward_order, words, graph(edges))
    for words, edges in CYCLES:
        _judge_cycle(backward_order, words, edges)
    _judge_cycle(
        backward_order, "forty diamonds, the last before the first", diamonds_in_a_ring(40)
    )
    _judge(backward_order, "forty diamonds, one behind the other", diamonds(40))
    _judge(backward_order, "a chain of 20,000 nodes", chain(20_000))
    draw = drawn()
    for _ in range(3):
        _judge(backward_order, f"a graph of nine nodes ({draw})", random_graph(draw, 9))
        _judge_cycle(backward_order, f"a graph with cycles ({draw})", random_cycles(draw, 7))


def _judge(backward_order: Callable[..., Any], words: str, root: Node) -> None:
    want = engine_order(root)
    for node in want:
        node.reads = 0
    try:
        found = forms.sequence(backward_order(root), "The order of the nodes")
    except ValueError as error:
        raise Mistake(
            f"For {words} your function raises {forms.said(error)}, and there is no cycle.",
            "What is the difference between a node that is met twice and a node that leads back to itself?",
        ) from error
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
        f"For {words}, {counted(len(want), 'node')}, .inputs was read {reads} times.",
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
        _judge_named(error, words, edges)
        return
    except RecursionError as error:
        raise Mistake(
            f"For {words} your function goes round and round.", "Who is being visited just now?"
        ) from error
    raise Mistake(
        f"For {words} there is no order, and {forms.said(found)} comes back; a ValueError is asked for.",
        "What is left over when no node is ready any more?",
    )


def _judge_named(error: ValueError, words: str, edges: dict[int, list[int]]) -> None:
    told = error.args[-1] if error.args else None
    if not isinstance(told, (list, tuple)) or not told:
        raise Mistake(
            f"For {words} the ValueError does not name the nodes of the cycle.", CYCLE
        ) from error
    numbers = forms.wholes(told, "The cycle")
    named = f"For {words} the ValueError names {forms.said(numbers)}"
    for a, b in zip(numbers, [*numbers[1:], numbers[0]], strict=True):
        expect(
            b in edges.get(a, []),
            f"{named}, which is no cycle of {forms.said(edges, 100)}: {a} does not lead to {b}.",
            CYCLE,
        )
    shortest = shortest_of(edges)
    expect(
        len(numbers) == shortest,
        f"{named}, and goes over {counted(len(numbers), 'node')}; a shortest cycle has {shortest}.",
        "How many steps does each node need to come back to itself?",
    )


def shortest_of(edges: dict[int, list[int]]) -> int:
    """How many nodes a shortest cycle has; endless where there is none. From every node, one step after the other."""
    ends, length = {n: {n} for n in edges}, 0
    while length == 0 or not any(n in each for n, each in ends.items()):
        ends = {n: {t for e in each for t in edges.get(e, [])} for n, each in ends.items()}
        length += 1
    return length


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
    if len(found) < len(targets):
        raise ValueError("a cycle", shortest_cycle(targets))
    return found


def shortest_cycle(targets: dict[Node, list[Node]]) -> list[int]:
    ways = [way_back(start, targets) for start in targets]
    return [node.number for node in min(filter(None, ways), key=len)]


def way_back(start: Node, targets: dict[Node, list[Node]]) -> list[Node]:
    """Breadth first, from a node until it is met again; empty when it is not."""
    paths, seen = [[start]], {start}
    for path in paths:
        for target in targets[path[-1]]:
            if target is start:
                return path
            if target not in seen:
                seen.add(target)
                paths.append([*path, target])
    return []


def with_walks(root: Node) -> list[Node]:
    """A sorted list of the ready ones gives the order; walks from all nodes, each a step longer, find the cycle."""
    targets = {root: root.inputs}
    known = [root]
    for node in known:
        for target in targets[node]:
            if target not in targets:
                targets[target] = target.inputs
                known.append(target)
    users = Counter(target for each in targets.values() for target in each)
    found, ready = [], [node for node in known if not users[node]]
    while ready:
        ready.sort(key=lambda node: node.number)
        node = ready.pop()
        found.append(node)
        for target in targets[node]:
            users[target] -= 1
            if users[target] < 1:
                ready.append(target)
    walks = [[node] for node in known if users[node]]
    while walks:
        longer = {}
        for walk in walks:
            for target in targets[walk[-1]]:
                if target is walk[0]:
                    raise ValueError("a cycle", [node.number for node in walk])
                longer[walk[0], target] = [*walk, target]
        walks = [*longer.values()]
    return found


# ---- wrong answers ----


def _from_the_first(root: Node) -> list[Node]:
    try:
        return with_a_heap(root)
    except ValueError:
        targets, waiting = {}, [root]
        for node in waiting:
            targets[node] = node.inputs
            waiting += [target for target in targets[node] if target not in waiting]
        cycle = next(filter(None, (way_back(start, targets) for start in targets)))
        raise ValueError("cycle", [node.number for node in cycle]) from None


def _first_met(root: Node, whole: bool = False) -> list[Node]:
    """A depth-first walk stops at the first node that it is on already."""
    on_path: list[Node] = []
    done: set[Node] = set()

    def visit(node: Node) -> None:
        if node in on_path:
            numbers = [each.number for each in on_path]
            raise ValueError("cycle", numbers if whole else numbers[on_path.index(node) :])
        if node not in done:
            on_path.append(node)
            for target in node._inputs:
                visit(target)
            done.add(on_path.pop())

    visit(root)
    return with_a_heap(root)


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
            if mistake == "itself left out":
                targets[node] = [target for target in targets[node] if target is not node]
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
        raise ValueError(
            "cycle", numbers if mistake == "all that is left" else shortest_cycle(targets)
        )
    return found


def _diamond_is_a_cycle(root: Node) -> list[Node]:
    seen: set[Node] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node in seen:
            raise ValueError("cycle", [node.number])
        seen.add(node)
        waiting += node.inputs
    return with_a_heap(root)


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
            return [len(numbers), all(b in edges.get(a, []) for a, b in steps)]

    draw = Drawn(0)
    wide = [graph(edges) for _, edges in CASES] + [
        random_graph(draw, size) for size in range(3, 14) for _ in range(6)
    ]
    wide += [diamonds(10), chain(3000)]
    cycles = [edges for _, edges in CYCLES] + [
        {5: [4, 3], 4: [2], 3: [2], 2: [1, 3], 1: []},
        {2: [1], 1: [0], 0: [2]},
        diamonds_in_a_ring(12),
        *(random_cycles(draw, size) for size in range(2, 14) for _ in range(4)),
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
        Wrong("sorted by number", lambda r: _walk(r, "by number"), "needs: 4, 3, 2."),
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
            "by another Node(4) runs before Node(2)",
        ),
        Wrong("an empty list", lambda r: [], "Node(1) is missing: 0 nodes of 1"),
        Wrong(
            "a cycle is cut short",
            lambda r: _walk(r, "a cycle is short"),
            "to itself there is no order, and [] comes",
        ),
        Wrong(
            "a node that leads to itself not seen",
            lambda r: _walk(r, "itself left out"),
            "to itself there is no order, and [Node(1)] comes",
        ),
        Wrong(
            "no cycle named",
            lambda r: _walk(r, "no cycle named"),
            "leads to itself the ValueError does not name",
        ),
        Wrong(
            "all that is left named",
            lambda r: _walk(r, "all that is left"),
            "names [2, 1], which is no cycle of {2: [2, 1], 1: []}",
        ),
        Wrong(
            "the way to the cycle named, too",
            lambda r: _first_met(r, whole=True),
            "names [3, 2, 1], which is no cycle of {3: [2], 2: [1], 1: [2]}: 1 does not lead to 3",
        ),
        Wrong(
            "the first cycle that is met",
            _first_met,
            "two whose first leads to itself the ValueError names [2, 1], and goes over 2 nodes",
        ),
        Wrong(
            "searched from the first node only",
            _from_the_first,
            "two whose second leads to itself the ValueError names [2, 1], and goes over 2 nodes",
        ),
        Wrong(
            "a diamond taken for a cycle",
            _diamond_is_a_cycle,
            "used twice by one your function raises ValueError",
        ),
        Wrong("edges read again and again", lambda r: _walk(r, "reads again"), ".inputs was read"),
        Wrong(
            "numbers for nodes", lambda r: [n.number for n in with_a_heap(r)], "an entry is no node"
        ),
    ),
    right=(Right("a heap", with_a_heap), Right("a sorted list, and walks", with_walks)),
    oracle=oracle,
)
