"""Tensors, operations and nodes are entered here as a run makes them; `freeze` gives them out as a `Trace`.

Operations, steps and calls get their numbers here, nodes in `nodes`, versions of tensors in `versions`. Nothing here
registers a hook or changes the run.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.autograd.function import BackwardCFunction

from ..trace import Edge, ModuleCall, Node, Op, Step, Trace
from ..trace.frozen import altered, sealed
from ..trace.records import FUNCTION, TensorKind
from ..trace.value import Value
from ._torch import address_of
from .drafts import FunctionForward, OpDraft, Stack, StepDraft
from .leaf_grads import LeafGrads
from .names import Names
from .nodes import Nodes
from .owners import first_calls, owners_by_tensor
from .saved_tensors import SavedTensors
from .source import Sources
from .storages import Storages
from .torch_calls import UNINITIALIZED, storage_of
from .versions import Versions
from .walk import NodeOutput, gradient_edge, is_leaf, leaf_kind, tensor_kind

__all__ = ["Ledger"]

UNSEEN_WRITE = "unseen write"
"""The name of an operation that stands for a change which no call has shown."""


def _is_no_module(call: ModuleCall) -> bool:
    return not call.path or call.kind == FUNCTION


class Ledger:
    """Numbers operations, steps and calls, and says of each tensor which version it is and which node it comes from."""

    def __init__(self) -> None:
        self.names, self.nodes = Names(), Nodes()
        self.ops: list[OpDraft] = []
        self.steps: list[StepDraft] = []
        storages = Storages()
        self.versions = Versions(self.names, storages)
        self.leaf_grads = LeafGrads(self.versions, storages)
        self.saved = SavedTensors(self.nodes, self.versions, storages, self.ops)
        self._storages = storages
        self._calls: list[ModuleCall] = []
        self._forwards: list[FunctionForward] = []
        self._edge_grads: dict[int, Value] = {}

    # ---- operations and calls ----

    def add(self, op: OpDraft, results: list[torch.Tensor]) -> None:
        """Enter an operation with the tensors that it made or changed, and its step."""
        op.index = number = len(self.ops)
        self.ops.append(op)
        edges = [gradient_edge(tensor) for tensor in results]
        self.discover(results, number, edges)
        if op.name in UNINITIALIZED:
            self.versions.uninitialized(results)
        pairs = zip(results, edges, strict=True)
        op.outputs = tuple([self._enter(tensor, number, edge) for tensor, edge in pairs])
        if self.versions.touched:
            for leaf in self.versions.take_touched_leaves():
                self._enter(leaf, number, gradient_edge(leaf))
        self.saved.read()
        self.steps.append(StepDraft(len(self.steps), "forward", op=number, stack=op.stack))

    def open_call(self, kind: str, outer: int | None, path: str = "") -> int:
        """Enter a call of a module, whose path is chosen at the end, of a custom `Function`'s forward, or of a
        library's function, whose path is its name; the number of the call."""
        number = len(self._calls)
        self._calls.append(ModuleCall(number, path, kind, outer))
        return number

    def open_forward(self, name: str, inputs: list[int], stack: Stack, outer: int | None) -> int:
        """Enter the running forward of a custom `Function`, whose result is still to be found; its call's number."""
        call = self.open_call(name, outer)
        self._forwards.append(FunctionForward(call, name, inputs, stack))
        return call

    # ---- backward passes ----

    def ran(self, step: StepDraft, number: int, order: int) -> None:
        """Enter the step in which a node ran, as the pass's node of that order, and what it passed along its edges."""
        node = self.nodes.drafts[number]
        node.order, node.grad = order, step.received[0] if step.received else None
        self._edge_grads.update(step.passed)
        self.steps.append(step)

    # ---- changes that no operation returns ----

    def read_again(self) -> None:
        """At the end: enter what leaves, buffers and their `.grad`s hold now, where no call has shown it."""
        changed = self.versions.changed_unseen()
        if changed:
            self._enter_unseen(changed)
        self.leaf_grads.note_all(len(self.steps) + 1)

    def _enter_unseen(self, tensors: list[torch.Tensor]) -> None:
        """Enter a change that no call has shown: NumPy, say, has written into the memory of these tensors."""
        known = tuple([i for i in map(self.versions.latest, tensors) if i is not None])
        op = OpDraft(-1, UNSEEN_WRITE, line=None, code="", scope="", inputs=known, outputs=())
        op.inplace = op.opaque = True
        for tensor in tensors:
            self.changed(tensor)
        self.add(op, tensors)

    def hand_out(self, tensor: torch.Tensor) -> None:
        """Others can write into a tensor's memory from now on."""
        self.versions.hand_out(tensor)
        storage = storage_of(tensor)
        if storage is not None:
            self.leaf_grads.hand_out(address_of(storage))

    def changed(self, tensor: torch.Tensor) -> None:
        """An in-place change reaches every tensor on the same memory, with or without a version counter."""
        storage = storage_of(tensor)
        if storage is not None:
            address = address_of(storage)
            self.versions.written(address, tensor)
            owner = self.leaf_grads.owner(address)
            if owner is not None:
                self.note_grad(owner)

    def data_replaced(self, tensor: torch.Tensor) -> None:
        """`tensor.data = …` has put other memory under a tensor, which may be a leaf's `.grad`."""
        self.versions.replaced(tensor)
        leaf = self.leaf_grads.leaf_of_read(tensor)
        if leaf is not None:
            self.note_grad(leaf)

    def note_exposed_grads(self) -> None:
        """Note what others have written into `.grad`s that they can write into, before the next step."""
        self.leaf_grads.note_exposed(len(self.steps) + 1)

    def note_grad(self, leaf: torch.Tensor) -> None:
        """Something else than its own node may have changed a leaf's `.grad`: note what it holds now."""
        self.leaf_grads.note(leaf, len(self.steps) + 1)

    # ---- tensors ----

    def tensor(self, tensor: torch.Tensor) -> int:
        """The number of a tensor that is used now, which may be the first that is seen of it."""
        known = self.versions.use_unchanged(tensor)
        if known is None:
            if self.versions.is_exposed(tensor) and self.versions.has_changed_unseen(tensor):
                self._enter_unseen([tensor])
            known = self._renumber(tensor)
            self.versions.use(known, tensor)
        return known

    def _renumber(self, tensor: torch.Tensor) -> int:
        """The number of a tensor that is new here, or that has changed since it was last seen."""
        versions, edge = self.versions, gradient_edge(tensor)
        known = versions.latest(tensor)
        if known is None:
            if edge is None or is_leaf(tensor) or edge[0] in self.nodes.graph:
                return self._enter(tensor, None, edge)
            return self._enter_result(tensor, edge, ())
        version = versions.drafts[known]
        if versions.is_fresh(tensor):
            if (version.node is None) == (edge is None):
                return known
            if is_leaf(tensor) and not versions.is_used(known):
                return self._change_kind(known, tensor, edge)
        if edge is not None and not is_leaf(tensor) and edge[0] not in self.nodes.graph:
            if isinstance(edge[0], BackwardCFunction):
                return self._enter_result(tensor, edge, (known,))
            self.discover([tensor], version.op, [edge])
        if versions.is_new(tensor):
            versions.initialized(tensor)
        index = self._enter(tensor, version.op, edge)
        self.saved.read()
        return index

    def _change_kind(self, index: int, tensor: torch.Tensor, edge: NodeOutput | None) -> int:
        """`requires_grad_()` on a leaf that nothing has used yet: its version changes its kind, there is no new one."""
        version = self.versions.drafts[index]
        version.kind, version.node = tensor_kind(tensor), None
        if edge is not None:
            self.discover([tensor], None, [edge])
            version.node = self.nodes.graph.index[edge[0]]
            self.nodes.drafts[version.node].leaf = index
        return index

    def _enter_result(self, tensor: torch.Tensor, edge: NodeOutput, inner: tuple[int, ...]) -> int:
        """Enter a result whose operation no call has shown: older than the recording, or a custom `Function`'s.

        `inner` is the version that the forward of that has given it.
        """
        if self.nodes.is_older(edge[0]):
            self.discover([tensor], None, [edge])
            return self._enter(tensor, None, edge)
        name = edge[0].name().rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")
        op = OpDraft(-1, name, line=None, code="", scope="", inputs=inner, outputs=(), opaque=True)
        forward = next((f for f in reversed(self._forwards) if f.name == name), None)
        if forward is not None:
            self._forwards.remove(forward)
            op.call, op.stack, op.args = forward.call, forward.stack, tuple(forward.inputs)
            op.inputs = tuple(dict.fromkeys([*forward.inputs, *inner]))
        self.add(op, [tensor])
        return op.outputs[0]

    def _enter(self, tensor: torch.Tensor, op: int | None, edge: NodeOutput | None) -> int:
        """Enter a version of a tensor that an operation has made, or that is seen for the first time."""
        leaf, node, output_nr = edge is None or is_leaf(tensor), None, 0
        if edge is not None:
            node, output_nr = self.nodes.graph.index.get(edge[0]), edge[1]
            if node is None:
                if leaf:
                    node = self.nodes.add_leaf(tensor, edge[0])
                else:
                    self.discover([tensor], op, [edge])
                    node = self.nodes.graph.index[edge[0]]
        as_leaf = leaf and (op is None or edge is not None or self.ops[op].factory)
        kind: TensorKind = leaf_kind(tensor) if as_leaf else "result"
        since = len(self.steps) if id(tensor) in self.leaf_grads.read else 0
        index = self.versions.enter(tensor, kind, op, node, output_nr, since)
        if node is not None and as_leaf:
            draft = self.nodes.drafts[node]
            if draft.leaf is None:
                draft.leaf = index
            if self.versions.drafts[index].origin is None:
                self.leaf_grads.enter(tensor, index)
        return index

    # ---- nodes ----

    def discover(
        self, tensors: list[torch.Tensor], op: int | None, edges: Iterable[NodeOutput | None]
    ) -> None:
        """Number the nodes behind these tensors, and enter the leaves to which new ones lead."""
        for found in self.nodes.discover(tensors, op, edges):
            if found.leaf is not None:
                self._register_leaf(found.leaf, found.number)

    def _register_leaf(self, leaf: torch.Tensor, node: int) -> None:
        """Enter the leaf behind an `AccumulateGrad`, or attach the node to its version."""
        known = self.versions.latest(leaf)
        if known is None:
            known = self._enter(leaf, None, gradient_edge(leaf))
        version = self.versions.drafts[known]
        if version.node is None:
            version.node, version.kind = node, tensor_kind(leaf)
        draft = self.nodes.drafts[node]
        if draft.leaf is None:
            draft.leaf = known

    # ---- the end ----

    def freeze(self, sources: Sources, error: str | None) -> Trace:
        """Everything as plain data."""
        calls = _named_calls(self._calls, self.names)
        for op in self.ops:
            if op.stack:
                op.line, op.code = op.stack[0][1], sources.text(op.stack[0])
            op.args = op.args or op.inputs
            around = op.call
            # the forward of a `Function` has no path, and a library's function is no module
            while around is not None and _is_no_module(calls[around]):
                around = calls[around].outer
            op.scope = "" if around is None else calls[around].path
        self.saved.finish(self.steps)
        self.versions.note_owners(owners_by_tensor(self.names.calls))
        tensors = self.versions.freeze()
        self._storages.release()
        self.leaf_grads.release()
        grads = self._edge_grads
        return Trace(
            tensors=tensors,
            ops=sealed(self.ops, Op),
            nodes=sealed(self.nodes.drafts, Node),
            edges=tuple(
                [Edge(i, *e, grad=grads.get(i)) for i, e in enumerate(self.nodes.graph.edges)]
            ),
            steps=sealed(self.steps, Step),
            sources=tuple(sources.pieces),
            grads=tuple(self.leaf_grads.changes),
            calls=calls,
            error=error,
        )


def _named_calls(calls: list[ModuleCall], names: Names) -> tuple[ModuleCall, ...]:
    """The calls, with the paths of their modules."""
    paths, first = dict(names.paths()), first_calls(names.calls)
    found = []
    for call in calls:
        number = call.index
        same = first.get(number, number)
        path = paths.get(number, call.path)
        found.append(altered(call, path=path, first=None if same == number else same))
    return tuple(found)
