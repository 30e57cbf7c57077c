"""Exercise `order`: an order of the scalars of a graph, without recursion."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms
from ...pieces.scalar_engine import Scalar
from ..mistakes import then
from .scalars import DEEP, DIAMONDS, Graph, cases, chain, diamonds, random_graph, unchanged

__all__ = ["EXERCISE"]

Order = Callable[[Scalar], Any]
MAX_NAMED = 4
"""So many names stand in a verdict at most."""


def check_order(order: Order) -> None:
    """`order(end)` lists each scalar once, after everything that was computed from it, at any depth."""
    for graph in (*cases(), diamonds(DIAMONDS), chain(DEEP)):
        _judge(order, graph)
    draw = drawn()
    for size in (6, 30):
        _judge(order, random_graph(draw, size))


def _judge(order: Order, graph: Graph) -> None:
    code = graph.code
    with unchanged(graph):
        found = forms.sequence(order(graph.end), "The result of order")
    known = {id(scalar): name for name, scalar in graph.named.items()}
    strange = [part for part in found if id(part) not in known]
    expect(
        not strange,
        f"For {code} your list holds {forms.said(strange[:1])[1:-1]}, which is no scalar of the graph.",
        "The scalars themselves are asked for: not their numbers, and not the pairs with a slope.",
    )
    names = [known[id(part)] for part in found]
    double = [name for name, times in Counter(names).items() if times > 1]
    expect(
        not double,
        f"For {code} the list has {_some(double)} more than once.",
        "Each scalar is put into the list once, when everything that was computed from it is there.",
    )
    missing = sorted(set(graph.named) - set(names))
    expect(
        not missing,
        f"For {code} the list lacks {_some(missing)}.",
        "The end belongs to the list, and every scalar that an edge leads to, the leaves and constants too.",
    )
    place = {name: number for number, name in enumerate(names)}
    for name, scalar in graph.named.items():
        for source, _ in scalar.kept_edges:
            before, after = known[id(source)], name
            expect(
                place[before] > place[after],
                f"For {code} your list has {before} before {after}, which was computed from it.",
                "Its place is behind everything that uses it. When do you know that nothing more will?",
            )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:MAX_NAMED])
    return shown if len(names) <= MAX_NAMED else f"{shown} and others"


# ---- answers ----


def counted(end: Scalar, kept: Callable[[Scalar], Any] = lambda s: s) -> list[Any]:
    """The solution with its usual mistakes as switches."""
    waiting, to_visit = Counter(), [end]
    while to_visit:
        for source, _ in to_visit.pop().edges:
            if source not in waiting:
                to_visit.append(source)
            waiting[source] += 1
    found, ready = [], [end]
    while ready:
        node = ready.pop()
        found.append(kept(node))
        for source, _ in node.edges:
            waiting[source] -= 1
            if waiting[source] == 0:
                ready.append(source)
    return found


def _breadth_first(end: Scalar) -> list[Scalar]:
    found, seen, queue = [], {end}, deque([end])
    while queue:
        node = queue.popleft()
        found.append(node)
        for source, _ in node.edges:
            if source not in seen:
                seen.add(source)
                queue.append(source)
    return found


def _depth_first(end: Scalar) -> list[Scalar]:
    found, waiting = {}, [end]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found[node] = None
            waiting += [source for source, _ in node.edges]
    return list(found)


def _every_path(end: Scalar) -> list[Scalar]:
    """Each scalar stands where the walk met it last; all paths are gone."""
    found, waiting = [], [end]
    while waiting:
        node = waiting.pop(0)
        found.append(node)
        waiting += [source for source, _ in node.edges]
    last = {node: place for place, node in enumerate(found)}
    return sorted(last, key=last.__getitem__)


def _at_each_use(end: Scalar) -> list[Scalar]:
    """A scalar is put in once for each edge to it; the walk goes on once."""
    found, seen, waiting = [], set(), [end]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if node not in seen:
            seen.add(node)
            waiting += [source for source, _ in node.edges]
    return found


def _recursive(end: Scalar) -> list[Scalar]:
    found: dict[Scalar, None] = {}

    def visit(node: Scalar) -> None:
        if node not in found:
            for source, _ in node.edges:
                visit(source)
            found[node] = None

    visit(end)
    return list(found)[::-1]


def _with_an_end_mark(end: Scalar) -> tuple[Scalar, ...]:
    """Depth first with a mark for the way back, then the other way round."""
    done, seen, stack = [], set(), [(end, False)]
    while stack:
        node, back = stack.pop()
        if back:
            done.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((source, False) for source, _ in node.edges)
    return tuple(reversed(done))


def _by_level(end: Scalar) -> list[Scalar]:
    """Sorted by the longest path from a leaf, which is found from the leaves up; with lists instead of sets."""
    order = _with_an_end_mark(end)
    level: dict[int, int] = {}
    for node in reversed(order):
        level[id(node)] = 1 + max((level[id(source)] for source, _ in node.edges), default=0)
    found: list[Scalar] = []
    for node in sorted(order, key=lambda node: -level[id(node)]):
        found.insert(len(found), node)
    return found


def ordered(order: Order) -> Any:
    """The oracle: whether the order is one, for what it fails, and whether it went on from each scalar once."""
    graphs = [*cases(), diamonds(8), chain(DEEP)]
    graphs += [random_graph(Drawn(seed), size) for seed, size in enumerate((3, 5, 8, 20, 40))]
    found: list[Any] = []
    for graph in graphs:
        try:
            _judge(order, graph)
            found.append(graph.reads <= 4 * len(graph.named))
        except Exception as error:
            found.append(str(error))
    return found


EXERCISE = Exercise(
    "order",
    "Each scalar once, after all that were computed from it, at any depth.",
    check_order,
    (
        Wrong("breadth first", _breadth_first, "v + v * v, where v = u * 3 your list has v before"),
        Wrong("depth first", _depth_first, "v * v + v, where v = u * 3 your list has v before"),
        Wrong("recursion", _recursive, "RecursionError"),
        Wrong("without the end", lambda end: counted(end)[1:], "a scalar alone the list lacks u"),
        Wrong(
            "without the leaves",
            lambda end: [s for s in counted(end) if s.edges or s is end],
            "v = u * 3 the list lacks 3, u",
        ),
        Wrong("the wrong way round", lambda end: counted(end)[::-1], "u before v, which"),
        Wrong("every path", _every_path, "yours had asked for edges"),
        Wrong("each use once more", _at_each_use, "more than once"),
        Wrong("numbers", lambda end: counted(end, kept=lambda s: s.data), "your list holds 2.0"),
        Wrong("pairs", lambda end: counted(end, kept=lambda s: (s, 1.0)), "your list holds (<"),
        Wrong(
            "edges emptied",
            then(counted, lambda end: [setattr(s, "edges", ()) for s in counted(end)]),
            "the edges of v was 2 long",
        ),
        Wrong("a set", lambda end: set(counted(end)), "is a sequence"),
    ),
    right=(
        Right("depth first with an end mark, a tuple", _with_an_end_mark),
        Right("by level", _by_level),
        Right("a generator", lambda end: (scalar for scalar in counted(end))),
    ),
    oracle=ordered,
)
