"""Exercise `gradients`: derivatives of a scalar that leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...grading import Drawn, Exercise, Right, Wrong, apart, drawn, expect, forms, near, plain
from ...pieces.scalar_engine import Scalar, backward, count_uses
from .scalars import DEEP, DIAMONDS, Graph, cases, chain, diamonds, random_graph, unchanged

__all__ = ["EXERCISE"]

Gradients = Callable[[Scalar, list[Scalar]], Any]


def check_gradients(gradients: Gradients) -> None:
    """`gradients(end, inputs)` gives derivatives and changes no `.grad`."""
    for graph in cases():
        _judge(gradients, graph)
        _judge(gradients, graph, " the second time")
    for graph in (diamonds(DIAMONDS), chain(DEEP)):
        _judge(gradients, graph, names=["x0", "x1", [*graph.named][-1]])
    draw = drawn()
    for size in (6, 30):
        _judge(gradients, random_graph(draw, size))


def _judge(
    gradients: Gradients, graph: Graph, when: str = "", names: list[str] | None = None
) -> None:
    apart_from_it = Scalar(1.0)
    apart_from_it.grad = 3.0
    names = names or [*graph.named]
    inputs = [*(graph.named[name] for name in names), apart_from_it]
    with unchanged(graph, [apart_from_it]):
        found = gradients(graph.end, inputs)
    found = forms.sequence(found, f"For {graph.code} the list of derivatives", len(inputs))
    wanted = graph.derivatives()
    for name, got in zip([*names, "a scalar apart"], found, strict=True):
        right = wanted.get(name, 0.0)
        if not isinstance(got, (int, float, np.number)):
            forms.number(got, f"For {graph.code} the derivative for {name}")
        mine, theirs = apart(got, right)
        expect(
            near(got, right),
            f"For {graph.code} the derivative for {name}{when} is {mine}; a small step of it gives {theirs}.",
            _hint(graph, name),
        )


def _hint(graph: Graph, name: str) -> str:
    if name == "a scalar apart":
        return "What the end does not depend on has the derivative 0."
    if graph.named[name] is graph.end:
        return "The end changes as much as itself."
    if graph.named[name].kept_edges:
        return (
            "Inputs may be results on the way: what has arrived there, in all, is their derivative."
        )
    return "What comes in along all edges is added; only then is it sent on."


# ---- answers ----


def derived(
    end: Scalar,
    inputs: list[Scalar],
    keep: bool = True,
    trace: bool = False,
    missing: Any = 0.0,
    add: Callable[[float, float], float] = lambda before, more: before + more,
    start: float = 1.0,
    waits: bool = True,
) -> list[Any]:
    """The solution with its usual mistakes as switches."""
    waiting, arrived, ready = count_uses(end), {end: start}, [end]
    while ready:
        node = ready.pop()
        grad = arrived[node] if keep or not node.edges else arrived.pop(node)
        if trace and not node.edges:
            node.grad += grad
        for source, slope in node.edges:
            arrived[source] = add(arrived.get(source, 0.0), grad * slope)
            waiting[source] -= 1
            if waiting[source] == 0 or not waits:
                ready.append(source)
    return [arrived.get(scalar, missing) for scalar in inputs]


def _wiped(end: Scalar, inputs: list[Scalar]) -> list[float]:
    found = derived(end, inputs)
    for scalar in (end, *count_uses(end)):
        scalar.grad = 0.0
    return found


def _by_backward(end: Scalar, inputs: list[Scalar]) -> list[float]:
    """Puts every .grad back; but `backward` fills those of leaves only."""
    scalars = {end, *count_uses(end), *inputs}
    before = {scalar: scalar.grad for scalar in scalars}
    for scalar in scalars:
        scalar.grad = 0.0
    backward(end)
    found = [scalar.grad for scalar in inputs]
    for scalar in scalars:
        scalar.grad = before[scalar]
    return found


def _every_path(end: Scalar, inputs: list[Scalar]) -> list[float]:
    found, paths = dict.fromkeys(inputs, 0.0), [(end, 1.0)]
    while paths:
        node, product = paths.pop()
        if node in found:
            found[node] += product
        paths += [(source, product * slope) for source, slope in node.edges]
    return [found[scalar] for scalar in inputs]


def _recursive(end: Scalar, inputs: list[Scalar]) -> list[float]:
    order: dict[Scalar, None] = {}

    def visit(node: Scalar) -> None:
        if node not in order:
            for source, _ in node.edges:
                visit(source)
            order[node] = None

    visit(end)
    found = {end: 1.0}
    for node in reversed(order):
        for source, slope in node.edges:
            found[source] = found.get(source, 0.0) + found.get(node, 0.0) * slope
    return [found.get(scalar, 0.0) for scalar in inputs]


def _along_an_order(end: Scalar, inputs: list[Scalar]) -> Any:
    """Asks each scalar what its users send, along an order from a stack with end marks."""
    order, seen, stack = [], set(), [(end, False)]
    while stack:
        node, back = stack.pop()
        if back:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack += [(node, True), *((source, False) for source, _ in node.edges)]
    sent: dict[int, list[float]] = {id(end): [1.0]}
    for node in order[::-1]:
        total = sum(sent[id(node)])
        for source, slope in node.edges:
            sent.setdefault(id(source), []).append(total * slope)
    return np.array([sum(sent.get(id(scalar), [0.0])) for scalar in inputs])


def _forward(end: Scalar, inputs: list[Scalar]) -> tuple[float, ...]:
    """Forward mode: one pass for each input, from the leaves to the end."""
    waiting, ready, order = count_uses(end), [end], []
    while ready:
        order.append(ready.pop())
        for source, _ in order[-1].edges:
            waiting[source] -= 1
            if not waiting[source]:
                ready.append(source)
    edges = [(node, node.edges) for node in reversed(order)]
    found = []
    for scalar in inputs:
        rate: dict[Scalar, float] = {}
        for node, sources in edges:
            own = 1.0 if node is scalar else 0.0
            rate[node] = own + sum(rate[source] * slope for source, slope in sources)
        found.append(rate[end])
    return tuple(found)


def told(gradients: Gradients) -> Any:
    """The oracle: the derivatives, whether each scalar was gone on from a few times only, and what has changed."""
    graphs = [*cases(), diamonds(8), chain(DEEP)]
    graphs += [random_graph(Drawn(seed), size) for seed, size in enumerate((3, 5, 8, 20))]
    found: list[Any] = []
    for graph in graphs:
        inputs = [*graph.scalars[:3], graph.end, graph.scalars[len(graph.named) // 2], Scalar(2.0)]
        for asked in (inputs, [], inputs[:1] * 2):
            graph.reads = 0
            try:
                with unchanged(graph):
                    numbers = [float(number) for number in gradients(graph.end, asked)]
                found.append([plain(numbers), graph.reads <= 4 * len(graph.named)])
            except Exception as error:
                found.append(str(error))
    return found


EXERCISE = Exercise(
    "gradients",
    "Derivatives of any scalars in the graph, and no .grad changed: what torch.autograd.grad does.",
    check_gradients,
    (
        Wrong(
            "leaves a trace", lambda e, i: derived(e, i, trace=True), "the .grad of u was 0 before"
        ),
        Wrong(".grad wiped", _wiped, "the .grad of 3 was 5 before"),
        Wrong("by backward", _by_backward, "For v = u * 3 the derivative for v is 0"),
        Wrong(
            "leaves only",
            lambda e, i: derived(e, i, keep=False),
            "For v = u * 3 the derivative for v is 0",
        ),
        Wrong(
            "None for none",
            lambda e, i: derived(e, i, missing=None),
            "for a scalar apart is a number; this is None",
        ),
        Wrong(
            "the last edge counts",
            lambda e, i: derived(e, i, add=lambda b, m: m),
            "v + v, where v = u * 3 the derivative for u is 3",
        ),
        Wrong(
            "sent on too early",
            lambda e, i: derived(e, i, waits=False),
            "v + v, where v = u * 3 the derivative for u is 12",
        ),
        Wrong(
            "begins with the end's number",
            lambda e, i: derived(e, i, start=e.data),
            "a scalar alone the derivative for u is 2",
        ),
        Wrong("every path", _every_path, "yours had asked for edges"),
        Wrong("recursion", _recursive, "RecursionError"),
        Wrong(
            "a dictionary", lambda e, i: dict(zip(i, derived(e, i), strict=True)), "is a sequence"
        ),
        Wrong(
            "the leaves' alone",
            lambda e, i: [g for s, g in zip(i, derived(e, i), strict=True) if not s.edges],
            "has 4 entries; yours has 3",
        ),
        Wrong(
            "sorted", lambda e, i: sorted(derived(e, i)), "a scalar alone the derivative for u is 0"
        ),
    ),
    right=(
        Right("along an order, an array", _along_an_order),
        Right("forward mode, a tuple", _forward),
    ),
    oracle=told,
)
