"""Exercise `size`: a graph with exactly n nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...grading import Exercise, Right, Wrong, counted, drawn, expect, forms
from ..graphs import is_leaf_node, nodes_of

__all__ = ["EXERCISE"]

SIZES = (2, 3, 4, 7, 50)
DEEP = 5_000


def check_size(graph_of_size: Callable[[int], Any]) -> None:
    """`graph_of_size(n)` returns a tensor whose graph has exactly n nodes, for every n from 2 on."""
    for n in (*SIZES, DEEP):
        _judge(graph_of_size, n, "")
    draw = drawn()
    for _ in range(3):
        _judge(graph_of_size, draw.whole(8, 300), f" ({draw})")


def _judge(graph_of_size: Callable[[int], Any], n: int, source: str) -> None:
    made = forms.tensor(graph_of_size(n), "graph_of_size")
    expect(
        made.requires_grad,
        f"The tensor for n = {n} has no graph: nothing that it was made of asks for a gradient{source}.",
        "Begin with a leaf made with requires_grad=True.",
    )
    graph = nodes_of(made)
    leaves = sum(map(is_leaf_node, graph))
    expect(
        len(graph) == n,
        f"For n = {n} your graph has {counted(len(graph), 'node')}: {len(graph) - leaves} of operations, "
        f"{leaves} of leaves{source}.",
        "A leaf that asks is a node as well, however often it is used; a number or a tensor that does not ask is none.",
    )


# ---- answers ----


def _chain(operations: int, asks: bool = True) -> Tensor:
    y = torch.tensor(1.0, requires_grad=asks)
    for _ in range(operations):
        y = y * 2
    return y


def _doublings(n: int) -> Tensor:
    """Each result is used twice, which adds an edge and no node."""
    y = torch.nn.Parameter(torch.ones(3))
    for _ in range(1, n):
        y = y + y
    return y


def _many_leaves(n: int) -> Tensor:
    """k leaves and the k − 1 additions between them are 2 k − 1 nodes; one operation more where n is even."""
    parts = [torch.ones(2, requires_grad=True) for _ in range((n + 1) // 2)]
    y = parts[0]
    for part in parts[1:]:
        y = y + part
    return y if n % 2 else y.sin()


def _new_leaf_each_time(n: int) -> Tensor:
    y = torch.ones((), requires_grad=True)
    for _ in range(n - 1):
        y = y * torch.ones((), requires_grad=True)
    return y


def _cut(n: int) -> Tensor:
    y = torch.ones((), requires_grad=True)
    for _ in range(n - 1):
        y = (y * 2).detach().requires_grad_()
    return y


def _recursive(n: int) -> Tensor:
    return torch.ones((), requires_grad=True) if n == 1 else _recursive(n - 1) * 2


def _from_the_leaf(n: int) -> Tensor:
    x = torch.ones((), requires_grad=True)
    for _ in range(n - 1):
        y = x * 2
    return y


def _fitted(n: int) -> Tensor:
    return _chain(n - 1 if n in (*SIZES, DEEP) else 4)


def sizes(graph_of_size: Callable[[int], Any]) -> Any:
    """The oracle: how many nodes there are, and of which the gradient is asked for."""
    found: list[Any] = []
    for n in (*range(2, 12), 31, DEEP):
        try:
            made = graph_of_size(n)
            found.append([len(nodes_of(made)), made.requires_grad])
        except Exception as error:
            found.append(type(error).__name__)
    return found


EXERCISE = Exercise(
    "size",
    "n nodes, the leaf's among them.",
    check_size,
    (
        Wrong("leaf forgotten", lambda n: _chain(n), "has 3 nodes: 2 of operations"),
        Wrong("no leaf that asks", lambda n: _chain(n - 1, asks=False), "has no graph"),
        Wrong("one too few", lambda n: _chain(max(n - 2, 1)), "For n = 3 your graph has 2 nodes"),
        Wrong("a new leaf each time", _new_leaf_each_time, "1 of operations, 2 of leaves"),
        Wrong("cut each time", _cut, "has 1 node:"),
        Wrong("recursion", _recursive, "RecursionError"),
        Wrong("two nodes a round", lambda n: _chain(2 * (n // 2)), "has 3 nodes: 2 of operations"),
        Wrong("always from the leaf", _from_the_leaf, "For n = 3 your graph has 2 nodes"),
        Wrong("a number", lambda n: float(n), "yours returned 2.0"),
        Wrong("fits the fixed cases", _fitted, "drawn with seed"),
    ),
    right=(
        Right("each result used twice", _doublings),
        Right("many leaves", _many_leaves),
    ),
    oracle=sizes,
)
