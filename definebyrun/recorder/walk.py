"""A tensor goes in, the backward graph that hangs from it now comes out, without any recording.

The walk follows `grad_fn` and `next_functions` with a list of its own, so a chain of any length is no
recursion. `NodeIndex` is the growing numbering that the recorder shares: a node keeps its number once it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from ..trace import Edge, Node, TensorVersion, Trace
from ..trace.records import TensorKind
from ._torch import (
    DisableTorchFunction,
    dispatch_mode_count,
    has_own_dispatch,
    unseen_leaf_node,
)
from .deep_graphs import warn_if_deep
from .names import Names
from .roots import roots_of
from .snapshot import snapshot
from .user_frames import user_frames

__all__ = [
    "ACCUMULATE",
    "NodeIndex",
    "NodeOutput",
    "gradient_edge",
    "is_leaf",
    "leaf_kind",
    "leaf_of_node",
    "tensor_kind",
    "walk",
]

ACCUMULATE = "torch::autograd::AccumulateGrad"
"""The name of the nodes that add what arrives to a leaf's `.grad`."""

NodeOutput = tuple[Any, int]
"""A node, and which of its outputs: what a gradient arrives at."""


def gradient_edge(tensor: torch.Tensor) -> NodeOutput | None:
    """The node that a tensor's gradient arrives at, with the output number; None where `requires_grad` is False.

    None also for the few tensors whose node PyTorch cannot name: sparse and nested leaves, parameters of lazy modules
    before their first call, tensors inside the forward of a custom `Function`, and views that an in-place change of
    their base has made unusable.
    """
    try:
        if not tensor.requires_grad:
            return None
        if not tensor.is_leaf:
            return tensor.grad_fn, tensor.output_nr
        with DisableTorchFunction():
            if dispatch_mode_count() or has_own_dispatch(type(tensor)):
                return unseen_leaf_node(tensor), 0
            if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
                # as `get_gradient_edge` does it, which also checks what is checked above
                node = tensor.view_as(tensor).grad_fn.next_functions[0][0]  # type: ignore[union-attr]
                return None if node is None else (node, 0)
            with torch.inference_mode(False):
                return torch.autograd.graph.get_gradient_edge(tensor).node, 0
    except (RuntimeError, ValueError, AssertionError, AttributeError):
        return None


def is_leaf(tensor: torch.Tensor) -> bool:
    """`tensor.is_leaf`; True for a view that raises, since an in-place change of its base has made it unusable."""
    try:
        return tensor.is_leaf
    except RuntimeError:
        return True


def leaf_of_node(node: Any) -> torch.Tensor | None:
    """The leaf that an `AccumulateGrad` fills; None for every other node."""
    return node.variable if node.name() == ACCUMULATE else None


def tensor_kind(tensor: torch.Tensor) -> TensorKind:
    """`parameter`, `leaf`, `constant` or `result`, as `TensorVersion.kind` means them."""
    return "result" if tensor.requires_grad and not is_leaf(tensor) else leaf_kind(tensor)


def leaf_kind(tensor: torch.Tensor) -> TensorKind:
    """The same for a tensor that is known to be a leaf."""
    if type(tensor) is not torch.Tensor and isinstance(tensor, torch.nn.Parameter):
        return "parameter" if tensor.requires_grad else "constant"
    return "leaf" if tensor.requires_grad else "constant"


class NodeIndex:
    """Numbers nodes in the order in which they are found, and keeps them alive so that numbers stay theirs."""

    def __init__(self) -> None:
        self.index: dict[Any, int] = {}
        self.edges: list[tuple[int, int, int, int]] = []
        self.edge_at: dict[tuple[int, int], int] = {}  # by node and slot in its `next_functions`

    def __contains__(self, node: Any) -> bool:
        return node in self.index

    def add(self, roots: Iterable[Any]) -> dict[Any, tuple[NodeOutput, ...]]:
        """Number every node that can be reached from these and is new; give these in order, with `next_functions`."""
        index = self.index
        new: dict[Any, tuple[NodeOutput, ...]] = {}
        waiting = list(roots)[::-1]
        while waiting:
            node = waiting.pop()
            if node not in index:
                index[node] = len(index)
                new[node] = following = node.next_functions
                for target, _ in reversed(following):
                    if target is not None:
                        waiting.append(target)
        for node, following in new.items():
            number = index[node]
            for slot, (target, input_nr) in enumerate(following):
                if target is not None:
                    self.edge_at[number, slot] = len(self.edges)
                    self.edges.append((number, index[target], input_nr, slot))
        return new


def _starts(roots: Sequence[tuple[torch.Tensor, str]]) -> list[NodeOutput]:
    """Where the graph of each tensor begins, of those that have one; `ValueError` where none has."""
    edges = [gradient_edge(tensor) for tensor, _ in roots]
    starts = [edge for edge in edges if edge is not None]
    if not starts and any(tensor.requires_grad for tensor, _ in roots):
        raise ValueError(
            "PyTorch shows no node for this tensor (a sparse leaf, say, or a lazy parameter before its first call): "
            "draw a result that was computed from it"
        )
    if not starts:
        which = "this tensor has" if len(roots) == 1 else "these tensors have"
        raise ValueError(
            f"{which} no graph: requires_grad is False, so autograd recorded nothing for it"
        )
    return starts


def walk(given: Any, called: Mapping[str, torch.Tensor] | None = None) -> Trace:
    """The backward graph of one or several tensors as a `Trace` with nodes and edges, no steps.

    `called` are names that the user gives to tensors. Raises `TypeError` for anything but tensors and containers of
    tensors, `ValueError` where none of them has a graph; warns of a deep one.
    """
    roots = roots_of(given)
    starts = _starts(roots)
    graph, names = NodeIndex(), Names()
    found = graph.add([node for node, _ in starts])
    warn_if_deep(len(graph.index), graph.edges, stacklevel=3)
    leaves = [leaf for leaf in map(leaf_of_node, found) if leaf is not None]
    by_keys = [(key, tensor) for tensor, key in roots if key]
    for key, tensor in [*(called or {}).items(), *by_keys]:
        names.give(tensor, key)
    results = [tensor for tensor, _ in roots]
    names.settle(leaves, results, user_frames()[0])
    tensors: list[TensorVersion] = []
    nodes: list[Node] = []
    for node in found:
        leaf = leaf_of_node(node)
        if leaf is not None:
            index, number = len(tensors), graph.index[node]
            tensors.append(
                TensorVersion(index, names.of(leaf), tensor_kind(leaf), snapshot(leaf), node=number)
            )
            nodes.append(Node(number, node.name(), leaf=index))
        else:
            nodes.append(Node(graph.index[node], node.name()))
    for tensor in results:
        names.give(tensor, "")
    for result in names.tensors():
        edge = None if is_leaf(result) else gradient_edge(result)
        if edge is not None and edge[0] in graph:
            index, name = len(tensors), names.of(result) or None
            tensors.append(
                TensorVersion(
                    index,
                    name,
                    "result",
                    snapshot(result),
                    node=graph.index[edge[0]],
                    output_nr=edge[1],
                )
            )
    root = next(t.index for t in tensors if (t.node, t.output_nr) == (0, starts[0][1]))
    edges = tuple(Edge(i, *edge) for i, edge in enumerate(graph.edges))
    return Trace(tensors=tuple(tensors), nodes=tuple(nodes), edges=edges, root=root)
