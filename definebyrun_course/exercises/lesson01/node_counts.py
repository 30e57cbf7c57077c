"""Exercise `node_counts`: how many nodes and edges the graph of `(u * v + u).sum()` has."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...grading import Exercise, Right, Wrong, expect, forms
from ..graphs import edges_of, is_leaf_node, nodes_of

__all__ = ["EXERCISE"]


def check_counts(counts: Any) -> None:
    """The answer is a pair: the number of nodes and of edges in the graph of `(u * v + u).sum()`."""
    u, v = (torch.ones(2, requires_grad=True) for _ in range(2))
    graph = nodes_of((u * v + u).sum())
    all_nodes, all_edges = len(graph), edges_of(graph)
    leaves = sum(map(is_leaf_node, graph))
    nodes, edges = forms.wholes(counts, "The answer", 2)
    expect(
        nodes != all_nodes - leaves,
        f"{nodes} nodes are those of the operations alone.",
        "A leaf that asks for a gradient has a node too: its AccumulateGrad.",
    )
    expect(
        nodes != leaves,
        f"{nodes} nodes are those of the leaves alone.",
        "Each operation leaves a node: which are they, in (u * v + u).sum()?",
    )
    expect(
        nodes != all_nodes + 1,
        f"With {nodes} nodes u has one for each of its uses.",
        "u is used twice, but it is one leaf: both uses lead to the same AccumulateGrad.",
    )
    expect(
        (nodes, edges) != (all_nodes, all_edges - 1),
        f"With {edges} edges the graph would be a tree: one for each node but the first.",
        "Count edges by operation, one for each input that asks for a gradient. u is an input twice.",
    )
    expect(
        (nodes, edges) != (all_nodes, all_edges - leaves),
        f"{edges} edges: an edge to a leaf counts as well.",
        "Go through the operations; which inputs of each ask for a gradient?",
    )
    expect(
        (nodes, edges) == (all_nodes, all_edges),
        f"{nodes} nodes and {edges} edges: that is not this graph.",
        "Write down the operations from the outside to the inside, then the leaves: these are the nodes. "
        "Then draw, from each operation, an arrow to what each of its inputs came from.",
    )


EXERCISE = Exercise(
    "node_counts",
    "5 nodes: sum, add, mul and one AccumulateGrad each for u and v. 5 edges: one for each input that asks.",
    check_counts,
    (
        Wrong("operations only", (3, 5), "the operations alone"),
        Wrong("leaves only", (2, 4), "the leaves alone"),
        Wrong("u counted twice", (6, 5), "one for each of its uses"),
        Wrong("a tree", (5, 4), "would be a tree"),
        Wrong("no edges to leaves", (5, 3), "an edge to a leaf counts"),
        Wrong("an edge for the result", (5, 6), "5 nodes and 6 edges"),
        Wrong("three numbers", (5, 5, 5), "yours has 3"),
        Wrong("a truth value", (True, 5), "Entry 1 is a whole number"),
        Wrong("one number", 5, "is a sequence"),
    ),
    right=(
        Right("a list", [5, 5]),
        Right("an array", np.array([5, 5])),
        Right("a tensor", torch.tensor([5, 5])),
        Right("numbers of NumPy and floats", (np.int64(5), 5.0)),
    ),
)
