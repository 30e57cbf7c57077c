"""Exercises of lesson 01, Your first graph: predict a graph, find its leaves, build one to size, make a leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from definebyrun.recorder.walk import walk

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]


# ---- 01.1: nodes and edges of (u * v + u).sum() ----


def check_counts(answer: Any) -> None:
    """The answer is a pair: the number of nodes and of edges in the graph of `(u * v + u).sum()`."""
    u, v = (torch.ones(2, requires_grad=True) for _ in range(2))
    trace = walk((u * v + u).sum())
    expect(
        isinstance(answer, (tuple, list))
        and len(answer) == 2
        and all(isinstance(n, int) for n in answer),
        f"The answer is a pair of whole numbers, (nodes, edges); this is {answer!r}.",
    )
    nodes, edges = answer
    made, real = len([n for n in trace.nodes if n.leaf is None]), len(trace.nodes)
    expect(
        nodes != made,
        f"{nodes} counts the operations only.",
        "A leaf that asks for a gradient has a node too: its AccumulateGrad.",
    )
    expect(
        nodes <= real,
        f"{nodes} nodes are too many.",
        "u is used twice, but it is one leaf: both uses lead to the same AccumulateGrad.",
    )
    expect(
        nodes == real,
        f"{nodes} nodes are not enough.",
        "Go through the operators one by one, then add the leaves.",
    )
    expect(
        edges >= len(trace.edges),
        f"{nodes} nodes is right, but {edges} edges are not enough.",
        "Count edges by operation: one for each input that asks for a gradient. u is an input twice.",
    )
    expect(
        edges == len(trace.edges),
        f"{nodes} nodes is right, but {edges} edges are too many.",
        "sum has one input.",
    )


# ---- 01.2: the leaves of a graph ----


def check_leaves(leaves: Callable[[torch.Tensor], Any]) -> None:
    """`leaves(tensor)` returns the leaf tensors that the graph of `tensor` reaches, each once, in any order."""
    a, b = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    c = torch.tensor(5.0)
    deep = a * c
    for _ in range(3):
        deep = deep + b
    found = leaves(deep)
    expect(
        isinstance(found, (list, tuple)),
        f"leaves returns a list of tensors; yours returned {found!r:.60}.",
    )
    expect(
        all(isinstance(part, torch.Tensor) for part in found),
        "Your list holds something that is no tensor.",
        "An AccumulateGrad node knows its leaf: that is its attribute variable.",
    )
    expect(
        not _has(found, c),
        "c asks for no gradient, so no edge leads to it; your list has it.",
        "Follow edges only.",
    )
    expect(
        _has(found, a),
        "A leaf far from the end is missing: the graph of a * c + b + b + b reaches a.",
        "next_functions gives one level. Keep a list of nodes that you still have to visit.",
    )
    expect(_has(found, b), "The leaf b is missing from the graph of a * c + b + b + b.")
    expect(
        len(found) == 2,
        f"The graph of a * c + b + b + b has 2 leaves; your list has {len(found)} entries.",
        "A leaf that is used several times is still one leaf: remember which nodes you have seen.",
    )
    one, other = (torch.tensor(2.0, requires_grad=True) for _ in range(2))
    found = leaves((one * 3) * 2 + (other * 3) * 2)
    expect(
        _has(found, one) and _has(found, other) and len(found) == 2,
        f"Two leaves that hold the same number are two leaves; you found {len(found)}.",
        "Compare nodes, or tensors with `is`. `in` compares tensors by their numbers.",
    )
    expect(
        len(leaves(a * a)) == 1,
        "a * a has one leaf, reached by two edges; you found another number.",
    )
    long = a
    for _ in range(3000):
        long = long * 1.0
    expect(len(leaves(long)) == 1, "On a chain of 3,000 operations your function loses the leaf.")


def _has(tensors: Any, wanted: torch.Tensor) -> bool:
    return any(tensor is wanted for tensor in tensors)


def _walk_leaves(
    tensor: torch.Tensor,
    once: bool = True,
    levels: int = 10**9,
    nodes: bool = False,
    by_value: bool = False,
) -> list[Any]:
    """The solution with its usual mistakes as switches."""
    waiting, seen, found = [(tensor.grad_fn, 0)], set(), []
    while waiting:
        node, level = waiting.pop()
        if node is None or (once and node in seen) or level > levels:
            continue
        seen.add(node)
        if hasattr(node, "variable") and not (by_value and node.variable in found):
            found.append(node if nodes else node.variable)
        waiting += [(target, level + 1) for target, _ in node.next_functions]
    return found


def _recursive(tensor: torch.Tensor) -> list[torch.Tensor]:
    found: dict[int, torch.Tensor] = {}

    def visit(node: Any) -> None:
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        for target, _ in node.next_functions:
            if target is not None:
                visit(target)

    visit(tensor.grad_fn)
    return list(found.values())


# ---- 01.3: a graph with exactly n nodes ----


def check_size(graph_of_size: Callable[[int], Any]) -> None:
    """`graph_of_size(n)` returns a tensor whose graph has exactly n nodes, for every n from 2 on."""
    for n in (2, 3, 7, 50):
        made = graph_of_size(n)
        expect(
            isinstance(made, torch.Tensor),
            f"graph_of_size({n}) returned {made!r:.60}, not a tensor.",
        )
        expect(
            made.requires_grad,
            f"The tensor for n = {n} has no graph: none of its inputs asked for a gradient.",
            "Begin with a leaf made with requires_grad=True.",
        )
        nodes = len(walk(made).nodes)
        expect(
            nodes != n + 1,
            f"For n = {n} your graph has {nodes} nodes: one too many.",
            "The leaf is a node as well: its AccumulateGrad counts.",
        )
        expect(
            nodes == n,
            f"For n = {n} your graph has {nodes} nodes.",
            "Each operation on the result so far adds one node. How many operations leave room for the leaf?",
        )


def _chain(operations: int, asks: bool = True) -> torch.Tensor:
    y = torch.tensor(1.0, requires_grad=asks)
    for _ in range(operations):
        y = y * 2
    return y


# ---- 01.4: small random weights that an optimizer takes ----


def check_weights(make_weights: Callable[[int], Any]) -> None:
    """`make_weights(n)` returns n random numbers scaled by 0.01, as a leaf that asks for a gradient."""
    with torch.random.fork_rng(devices=[]):
        w, again = make_weights(1000), make_weights(1000)
    expect(isinstance(w, torch.Tensor), f"make_weights(1000) returned {w!r:.60}, not a tensor.")
    expect(
        tuple(w.shape) == (1000,), f"make_weights(1000) has shape {tuple(w.shape)}, not (1000,)."
    )
    expect(
        w.requires_grad,
        "Your weights ask for no gradient, so nothing would be learned.",
        "requires_grad is False.",
    )
    expect(
        w.is_leaf,
        f"Your weights are the result of an operation ({w.grad_fn and w.grad_fn.name()}), not a leaf.",
        "Scale first, ask for the gradient after that.",
    )
    mean, spread = float(w.detach().mean()), float(w.detach().std())
    expect(
        0.008 < spread < 0.012,
        f"The spread of your weights is {spread:.3g}; it should be near 0.01.",
        "torch.randn has a spread of 1; multiply by 0.01.",
    )
    expect(
        abs(mean) < 0.002,
        f"The mean of your weights is {mean:.3g}; it should be near 0.",
        "torch.rand gives numbers from 0 to 1; torch.randn has mean 0.",
    )
    expect(
        not torch.equal(w, again),
        "Two calls give the same numbers, so two layers would begin alike.",
        "Leave the seed to the caller.",
    )


def _off_centre(n: int) -> torch.Tensor:
    return (torch.rand(n) * 0.0346).requires_grad_()


def _seeded(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(n, generator=generator) * 0.01).requires_grad_()


EXERCISES = (
    Exercise(
        "01.1",
        "5 nodes: sum, add, mul and one AccumulateGrad each for u and v. 5 edges: one for each input that asks.",
        check_counts,
        (
            Wrong("operations only", (3, 5), "counts the operations only"),
            Wrong("u counted twice", (6, 5), "nodes are too many"),
            Wrong("one edge to u", (5, 4), "edges are not enough"),
        ),
    ),
    Exercise(
        "01.2",
        "Every leaf once, at any depth, without recursion.",
        check_leaves,
        (
            Wrong(
                "one level",
                lambda t: _walk_leaves(t, levels=1),
                "A leaf far from the end is missing",
            ),
            Wrong("not once", lambda t: _walk_leaves(t, once=False), "your list has 4 entries"),
            Wrong(
                "nodes, not tensors",
                lambda t: _walk_leaves(t, nodes=True),
                "something that is no tensor",
            ),
            Wrong(
                "leaves compared by value",
                lambda t: _walk_leaves(t, by_value=True),
                "hold the same number",
            ),
            Wrong("recursion", _recursive, "RecursionError"),
        ),
    ),
    Exercise(
        "01.3",
        "n − 1 operations and one leaf.",
        check_size,
        (
            Wrong("leaf forgotten", lambda n: _chain(n), "one too many"),
            Wrong("no leaf that asks", lambda n: _chain(n - 1, asks=False), "has no graph"),
            Wrong("two too few", lambda n: _chain(max(n - 2, 1)), "your graph has"),
        ),
    ),
    Exercise(
        "01.4",
        "A leaf of small random numbers: an optimizer takes it, and backward fills its .grad.",
        check_weights,
        (
            Wrong(
                "scaled after asking",
                lambda n: torch.randn(n, requires_grad=True) * 0.01,
                "not a leaf",
            ),
            Wrong("does not ask", lambda n: torch.randn(n) * 0.01, "ask for no gradient"),
            Wrong("not centred", _off_centre, "mean of your weights"),
            Wrong("same numbers each time", _seeded, "same numbers"),
            Wrong(
                "not scaled", lambda n: torch.randn(n, requires_grad=True), "spread of your weights"
            ),
        ),
    ),
)
