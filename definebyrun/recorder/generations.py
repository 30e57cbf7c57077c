"""Nodes that a backward pass makes (`create_graph=True`) are entered here: no call in Python has made them.

They are found as the `grad_fn` of gradients that a node of the pass has just computed. Their generation is one more
than the highest of the nodes that ran in that pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from threading import get_ident
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction

from ..trace.value import Value
from ._torch import first_output_metadata, saved_tensor_hooks
from .ledger import Ledger
from .snapshot import unguarded_snapshot as snapshot
from .torch_calls import saved_tensors
from .walk import gradient_edge, leaf_of_node

__all__ = ["Generations"]


class Generations:
    """Enters the nodes that passes make, and numbers the generations when the recording ends."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._thread = ledger, get_ident()
        # nodes made by a pass, until the call of `grad` that ran it is entered: then they are that operation's
        self._without_op: list[int] = []

    # ---- while a pass runs ----

    def enter_functions(
        self, grads: Sequence[torch.Tensor | None], pass_number: int, within: int | None
    ) -> None:
        """Enter the calls of custom `Function`s that have given these gradients: no torch call has shown them."""
        ledger = self._ledger
        for grad in grads:
            edge = None if grad is None else gradient_edge(grad)
            if grad is None or edge is None or edge[0] in ledger.nodes.graph:
                continue
            if isinstance(edge[0], BackwardCFunction):
                op = ledger.versions.drafts[ledger.tensor(grad)].op
                if op is not None:
                    draft = ledger.ops[op]
                    draft.pass_nr, draft.within, draft.during = pass_number, within, "backward"

    def enter_nodes(
        self,
        grads: Sequence[torch.Tensor | None],
        pass_number: int,
        within: int | None,
        step: int,
    ) -> None:
        """Enter the nodes behind gradients that a node has just computed in this step; `within` is that node."""
        first, tensors = (
            len(self._ledger.nodes.drafts),
            [grad for grad in grads if grad is not None],
        )
        self._ledger.discover(tensors, None, map(gradient_edge, tensors))
        self._describe(first, tensors, pass_number, within, step)

    # ---- calls of `grad` ----

    def begin_grad(self) -> list[int]:
        """A call of `grad` begins, perhaps inside a pass: gives the nodes of that pass, for `end_grad`."""
        outer, self._without_op = self._without_op, []
        return outer

    def end_grad(self, outer: list[int]) -> None:
        """The call has ended, and its nodes have their operation."""
        self._without_op = outer

    def assign_nodes(self, op: int, first: int, pass_number: int) -> None:
        """The nodes of a pass belong to the call of `grad` that ran it, also those from `first` on, found late."""
        ledger, earlier = self._ledger, self._without_op
        self._without_op = []
        if op < len(ledger.ops):
            made_in = ledger.nodes.drafts[earlier[0]].pass_nr if earlier else pass_number
            found = map(ledger.versions.tensor_of, ledger.ops[op].outputs)
            tensors = [tensor for tensor in found if tensor is not None]
            self._describe(first, tensors, made_in, None, len(ledger.steps) - 1)
            for number in earlier + self._without_op:
                ledger.nodes.drafts[number].op = op

    # ---- both ----

    def _describe(
        self,
        first: int,
        tensors: list[torch.Tensor],
        pass_number: int | None,
        within: int | None,
        step: int,
    ) -> None:
        """Say of the nodes from `first` on which pass and node made them, what they save, and what they gave out."""
        nodes = self._ledger.nodes
        new = list(islice(reversed(nodes.graph.index), len(nodes.drafts) - first))[::-1]
        found = [(n, node) for n, node in enumerate(new, first) if self._is_made_by_pass(node)]
        if not found:
            return
        for number, node in found:
            draft = nodes.drafts[number]
            draft.pass_nr, draft.within, draft.made = pass_number, within, step
            draft.value = _first_output(node)
            self._without_op.append(number)
            nodes.read_later(number, node)
        if saved_tensor_hooks(True) is None:
            tensors = [*(t for _, node in found for _, t in saved_tensors(node)), *tensors]
        for tensor in tensors:
            edge = gradient_edge(tensor)
            source = None if edge is None or edge[1] else nodes.graph.index.get(edge[0])
            if source is not None and nodes.drafts[source].made is not None:
                nodes.drafts[source].value = snapshot(tensor)
        self._ledger.saved.read()

    def _is_made_by_pass(self, node: Any) -> bool:
        """Whether a node that a pass has shown was made by it; each thread numbers its nodes for itself."""
        older = self._ledger.nodes.is_older(node) and get_ident() == self._thread
        return leaf_of_node(node) is None and not older

    # ---- the end ----

    def number(self) -> None:
        """Give each operation and node that a pass has made its generation."""
        ledger, by_pass = self._ledger, self._by_pass()
        if not by_pass:
            return
        for op in ledger.ops:
            if op.pass_nr is not None:
                op.generation = by_pass.get(op.pass_nr, 1)
        for node in ledger.nodes.drafts:
            if node.leaf is None:
                if node.pass_nr is None and node.op is not None:
                    op = ledger.ops[node.op]
                    node.pass_nr, node.within = (
                        op.pass_nr,
                        op.within if op.pass_nr is not None else None,
                    )
                if node.pass_nr is not None:
                    node.generation = by_pass.get(node.pass_nr, 1)

    def _by_pass(self) -> dict[int, int]:
        """By pass with `create_graph`: one more than the highest generation of the nodes that ran in it."""
        ledger = self._ledger
        made = [
            node.pass_nr
            if node.pass_nr is not None or node.op is None
            else ledger.ops[node.op].pass_nr
            for node in ledger.nodes.drafts
        ]
        passes = {each for each in (*made, *(op.pass_nr for op in ledger.ops)) if each is not None}
        ran: dict[int, list[int]] = {each: [] for each in sorted(passes)}
        for step in ledger.steps:
            if step.pass_nr in ran and step.node is not None:
                ran[step.pass_nr].append(step.node)
        found: dict[int, int] = {}
        for number, nodes in ran.items():  # a pass runs nodes of earlier passes only
            makers = [made[node] for node in nodes]
            known = [1 if maker is None else found.get(maker, 1) for maker in makers]
            found[number] = 1 + max(known, default=1)
        return found


def _first_output(node: Any) -> Value | None:
    """The tensor whose `grad_fn` a node is, as far as the node knows it: the shape and dtype of its first output."""
    try:
        about = first_output_metadata(node)
        return Value(tuple(map(int, about.shape)), str(about.dtype).removeprefix("torch."))
    except (AttributeError, IndexError, TypeError, RuntimeError):  # nested tensors have no shape
        return None
