"""Tensors go in with their gradient edges; the nodes behind them come out, numbered, with the operation that made them.

New nodes are listed twice: in `found` until hooks are registered on them, in `unread` until it is read what they save.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from ._torch import is_view, next_sequence_nr, sequence_nr, view_base
from .drafts import NodeDraft
from .walk import ACCUMULATE, NodeIndex, NodeOutput, gradient_edge, is_leaf

__all__ = ["FoundNode", "Nodes"]


class FoundNode(NamedTuple):
    """A new node: itself, its number, and the leaf that it fills if it is an `AccumulateGrad`."""

    node: Any
    number: int
    leaf: torch.Tensor | None


class Nodes:
    """Numbers nodes as they are found, and holds them while the recording lasts, so that their numbers stay theirs."""

    def __init__(self) -> None:
        self.graph = NodeIndex()
        self.drafts: list[NodeDraft] = []
        self.found: list[FoundNode] = []  # nodes without hooks so far
        self.unread: list[tuple[int, Any]] = []  # nodes whose saved tensors are still to be read
        self._first_sequence_nr = next_sequence_nr()

    def is_older(self, node: Any) -> bool:
        """Whether a node was there before the recording; an `AccumulateGrad` never counts as older."""
        return sequence_nr(node) < self._first_sequence_nr

    def discover(
        self, tensors: list[torch.Tensor], op: int | None, edges: Iterable[NodeOutput | None]
    ) -> list[FoundNode]:
        """Number the nodes behind these tensors, whose gradient edges are given; new ones belong to this operation.

        Gives the new ones that fill a leaf which is none of the tensors.
        """
        roots = [edge[0] for edge in edges if edge is not None]
        for tensor in tensors:
            base = view_base(tensor) if is_view(tensor) else None
            edge = None if base is None or is_leaf(base) else gradient_edge(base)
            if edge is not None:
                roots.append(edge[0])
        others: list[FoundNode] = []
        own = set(map(id, tensors))
        if not roots:
            return others
        for node, following in self.graph.add(roots).items():
            number, name = self.graph.index[node], node.name()
            leaf = node.variable if name == ACCUMULATE else None
            maker = None if leaf is not None or self.is_older(node) else op
            self.drafts.append(NodeDraft(number, name, op=maker, slots=len(following)))
            found = FoundNode(node, number, leaf)
            self.found.append(found)
            if maker is not None:  # older nodes are left alone: hooks may be on what they save
                self.unread.append((number, node))
            if leaf is not None and id(leaf) not in own:
                others.append(found)
        return others

    def add_leaf(self, leaf: torch.Tensor, node: Any) -> int:
        """Number a leaf's new `AccumulateGrad`; no edge leads on from there."""
        number = self.graph.index[node] = len(self.graph.index)
        self.drafts.append(NodeDraft(number, node.name()))
        self.found.append(FoundNode(node, number, leaf))
        return number

    def take_found(self) -> list[FoundNode]:
        """The nodes that have been found since the last call."""
        found, self.found = self.found, []
        return found

    def read_later(self, number: int, node: Any) -> None:
        """Have it read what a node saves that no operation of the recording made."""
        self.unread.append((number, node))

    def take_unread(self) -> list[tuple[int, Any]]:
        """The nodes that have been listed in `unread` since the last call."""
        unread, self.unread = self.unread, []
        return unread
