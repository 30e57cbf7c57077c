"""Graphs for exercises `order` and `gradients`: their scalars count how often they are asked for their edges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ...grading import Drawn, Mistake
from ...pieces.scalar_engine import Scalar

__all__ = ["DEEP", "DIAMONDS", "Graph", "cases", "chain", "diamonds", "random_graph", "unchanged"]

DEEP, DIAMONDS = 5_000, 30
MAX_READS = 60
"""So often each scalar may be asked for its edges."""


class Graph:
    """The scalars of a graph by name, `end` among them, and a count of the times that one was asked for its edges."""

    def __init__(self, code: str) -> None:
        self.code, self.reads, self.named = code, 0, dict[str, Watched]()

    def add(self, name: str, data: float, *edges: tuple[str, float]) -> None:
        """One scalar more; the last one is the end."""
        made = Watched(self, data, *((self.named[source], slope) for source, slope in edges))
        self.named[name] = made

    @property
    def scalars(self) -> list[Watched]:
        return [*self.named.values()]

    @property
    def end(self) -> Watched:
        return self.scalars[-1]

    def name_of(self, scalar: Any) -> str:
        found = (name for name, known in self.named.items() if known is scalar)
        return next(found, "a scalar apart")

    def read(self) -> None:
        self.reads += 1
        most = MAX_READS * len(self.named)
        if self.reads > most:
            raise Mistake(
                f"For {self.code}, which has {len(self.named)} scalars, yours had asked for edges {most:,} times, "
                "and went on.",
                "Many paths may lead to one scalar. Go on from each scalar once.",
            )

    def derivatives(self) -> dict[str, float]:
        """The derivative of the end with respect to each scalar; sources stand before what is computed from them."""
        found = dict.fromkeys(self.named, 0.0)
        names = {id(scalar): name for name, scalar in self.named.items()}
        found[names[id(self.end)]] = 1.0
        for name, scalar in reversed(self.named.items()):
            for source, slope in scalar.kept_edges:
                found[names[id(source)]] += found[name] * slope
        return found


class Watched(Scalar):
    """A scalar whose graph counts when it is asked for its edges."""

    def __init__(self, graph: Graph, data: float, *edges: tuple[Scalar, float]) -> None:
        self._graph = graph
        super().__init__(data, *edges)

    @property
    def edges(self) -> tuple[tuple[Scalar, float], ...]:  # type: ignore[override]
        self._graph.read()
        return self.kept_edges

    @edges.setter
    def edges(self, edges: tuple[tuple[Scalar, float], ...]) -> None:
        self.kept_edges = edges


def chain(length: int) -> Graph:
    """A deep graph with a single path."""
    graph = Graph(f"a chain of {length:,} scalars")
    graph.add("x0", 1.5)
    for number in range(1, length):
        graph.add(f"x{number}", 1.5, (f"x{number - 1}", 1.0))
    return graph


def diamonds(times: int) -> Graph:
    """A graph with 2^times paths, no two of them from one scalar to another equally long."""
    graph = Graph(f"{times} times x = y + x, with y = x / 2")
    graph.add("x0", 1.5)
    for number in range(times):
        before, half = f"x{number}", f"y{number + 1}"
        graph.add(half, 1.5, (before, 0.5))
        graph.add(f"x{number + 1}", 1.5, (half, 1.0), (before, 1.0))
    return graph


def random_graph(draw: Drawn, size: int) -> Graph:
    """Leaves, then scalars with one or two edges each; the end leads to all of them."""
    graph, used = Graph(f"a random graph ({draw})"), set[str]()
    for number in range(size):
        names = [*graph.named]
        count = 0 if number < 3 else draw.whole(1, 2)
        sources = [names[draw.whole(0, len(names) - 1)] for _ in range(count)]
        used.update(sources)
        slopes = [round(0.5 + draw.whole(0, 90) / 100, 2) for _ in sources]
        graph.add(f"n{number}", 1.0, *zip(sources, slopes, strict=True))
    ends = [name for name in graph.named if name not in used]
    graph.add("end", 1.0, *((name, 1.5) for name in ends))
    return graph


def _small(code: str, *scalars: tuple[Any, ...]) -> Graph:
    graph = Graph(code)
    for name, data, *edges in scalars:
        graph.add(name, data, *edges)
    return graph


def _named() -> Iterator[Graph]:
    u, three = ("u", 2.0), ("3", 3.0)
    v = ("v", 6.0, ("u", 3.0), ("3", 2.0))
    yield _small("a scalar alone", u)
    yield _small("v = u * 3", u, three, v)
    yield _small("v + v, where v = u * 3", u, three, v, ("v + v", 12.0, ("v", 1.0), ("v", 1.0)))
    square = ("v * v", 36.0, ("v", 6.0), ("v", 6.0))
    yield _small(
        "v + v * v, where v = u * 3",
        u,
        three,
        v,
        square,
        ("v + v * v", 42.0, ("v", 1.0), ("v * v", 1.0)),
    )
    yield _small(
        "v * v + v, where v = u * 3",
        u,
        three,
        v,
        square,
        ("v * v + v", 42.0, ("v * v", 1.0), ("v", 1.0)),
    )
    late = ("u * (v * v + v)", 84.0, ("u", 42.0), ("v * v + v", 2.0))
    yield _small(
        "u * (v * v + v), where v = u * 3",
        u,
        three,
        v,
        square,
        ("v * v + v", 42.0, ("v * v", 1.0), ("v", 1.0)),
        late,
    )


def cases() -> list[Graph]:
    """Graphs from the smallest up, with some .grad already."""
    graphs = [*_named(), random_graph(Drawn(1), 12), random_graph(Drawn(2), 60)]
    for graph in graphs:
        for number, scalar in enumerate(graph.scalars):
            scalar.grad = 5.0 * (number % 2)
    return graphs


@contextmanager
def unchanged(graph: Graph, more: Iterable[Scalar] = ()) -> Iterator[None]:
    """A region that may change no scalar: not its number, not its edges, not its .grad."""
    scalars = [*graph.scalars, *more]
    before = [_content(scalar) for scalar in scalars]
    yield
    for scalar, was in zip(scalars, before, strict=True):
        now = _content(scalar)
        for what in (what for what in now if now[what] != was[what]):
            raise Mistake(
                f"For {graph.code} the {what} of {graph.name_of(scalar)} was {_said(was[what])} before the call, "
                f"and is {_said(now[what])} now.",
                "Keep what you need in a list or a dictionary of your own.",
            )


def _content(scalar: Scalar) -> dict[str, Any]:
    edges = scalar.kept_edges if isinstance(scalar, Watched) else scalar.edges
    return {
        "number": scalar.data,
        "edges": [(id(s), slope) for s, slope in edges],
        ".grad": scalar.grad,
    }


def _said(content: Any) -> str:
    return f"{content:g}" if isinstance(content, (int, float)) else f"{len(content)} long"
