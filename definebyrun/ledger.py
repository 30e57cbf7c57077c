"""Live tensors and nodes go in, numbered and dated; `freeze` gives them out as a `Trace` of plain data.

The recorder enters what it sees here: which tensor is which version of which, what operation made it, which nodes
are new and to whom they belong, what they keep. The ledger watches nothing; it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from .calls import place_of, saved_by, storage_of, version_of
from .naming import Names
from .snapshot import snapshot
from .source import Sources
from .trace import Call, Edge, Node, Op, Saved, Step, Tensor, Trace, Value
from .walk import Graph, kind_of, node_of

__all__ = ["Entry", "Ledger", "Stack"]

Stack = tuple[tuple[int, int], ...]
Watch = Callable[[Any, int, torch.Tensor | None], None]


@dataclass
class Entry:
    """An operation while it is being recorded; `trace.Op` is its frozen form."""

    name: str
    inputs: list[int]
    stack: Stack = ()
    scope: str = ""
    call: int | None = None
    outputs: list[int] = field(default_factory=list)
    inplace: bool = False
    grad_enabled: bool = True
    opaque: bool = False
    factory: bool = False
    args: list[int | str] = field(default_factory=list)


@dataclass
class _Version:
    """A version of a tensor while it is being recorded; `trace.Tensor` is its frozen form."""

    object: torch.Tensor
    kind: str
    value: Value
    op: int | None
    node: int | None
    output_nr: int
    origin: int | None


class Ledger:
    """Numbers tensors, operations and nodes as they turn up. `watch` is told of every new node.

    Tensors and nodes are held while the recording lasts, so an `id` and a number stay theirs.
    """

    def __init__(self, watch: Watch) -> None:
        self.names, self.graph, self._watch = Names(), Graph(), watch
        self.ops: list[Entry] = []
        self.nodes: list[Node] = []
        self.steps: list[Step] = []
        self.calls: list[Call] = []
        self.edge_grads: dict[int, Value] = {}
        self._versions: list[_Version] = []
        self._current: dict[int, int] = {}  # by id of a tensor: its newest version here
        self._counter: dict[int, int] = {}  # by id of a tensor: PyTorch's version counter then
        self._stale: set[int] = set()  # ids of tensors whose memory was changed through another
        self._sharing: dict[int, set[int]] = {}  # by storage: ids of the tensors on it
        self._places: dict[Any, int] = {}  # by place in memory: the newest version that shows it
        self._storages: dict[int, int] = {}
        self._edge_at: dict[tuple[int, int], int] = {}
        self._unread: list[tuple[int, Any]] = []
        self._held: list[Any] = []
        with torch.enable_grad():
            self._first = (torch.zeros((), requires_grad=True) + 0).grad_fn._sequence_nr()

    # ---- operations ----

    def add(self, op: Entry, results: list[torch.Tensor]) -> None:
        """Enter an operation with the tensors that it made or changed, and its step."""
        number = len(self.ops)
        self.ops.append(op)
        self._discover(results, number)
        op.outputs = [self._enter(tensor, number) for tensor in results]
        self._read_saved()
        self.steps.append(Step(len(self.steps), "forward", op=number, stack=op.stack))

    def is_new(self, tensor: torch.Tensor) -> bool:
        """Whether this version of a tensor has not been entered yet."""
        return self._counter.get(id(tensor)) != version_of(tensor)

    def changed(self, tensor: torch.Tensor) -> None:
        """An in-place change reaches every tensor on the same memory, with or without a version counter."""
        storage = storage_of(tensor)
        if storage is not None:
            self._stale |= self._sharing.get(storage._cdata, set()) - {id(tensor)}

    def edge_at(self, node: int, slot: int) -> int | None:
        """The number of the edge at one place of a node's `next_functions`."""
        return self._edge_at.get((node, slot))

    # ---- tensors ----

    def tensor(self, tensor: torch.Tensor) -> int:
        """The number of a tensor that is used now, which may be the first that is seen of it."""
        key, edge = id(tensor), node_of(tensor)
        known = self._current.get(key)
        if known is None:
            if edge is None or tensor.is_leaf or edge[0] in self.graph:
                return self._enter(tensor, None)
            return self._unseen(tensor, edge[0], [])
        version = self._versions[known]
        fresh = not self.is_new(tensor) and key not in self._stale
        if fresh and (version.node is None) == (edge is None):
            return known
        if fresh and tensor.is_leaf:
            return self._change_kind(known, tensor)
        if edge is not None and not tensor.is_leaf and edge[0] not in self.graph:
            if isinstance(edge[0], torch.autograd.function.BackwardCFunction):
                return self._unseen(tensor, edge[0], [known])
            self._discover([tensor], version.op)
        index = self._enter(tensor, version.op)
        self._read_saved()
        return index

    def find_results(self, variables: list[Any]) -> None:
        """Enter results that are in variables but that no call has shown: custom `Function`s at the end."""
        for thing in variables:
            if isinstance(thing, torch.Tensor) and not thing.is_leaf:
                edge = node_of(thing)
                if edge and edge[0] not in self.graph and not self._older(edge[0]):
                    self.tensor(thing)

    def _change_kind(self, index: int, tensor: torch.Tensor) -> int:
        """`requires_grad_()` on a leaf: the same tensor asks for a gradient from here on, or no longer."""
        version, edge = self._versions[index], node_of(tensor)
        version.kind, version.node = kind_of(tensor), None
        if edge is not None:
            self._discover([tensor], None)
            version.node = self.graph.index[edge[0]]
            self.nodes[version.node] = replace(self.nodes[version.node], leaf=index)
        return index

    def _unseen(self, tensor: torch.Tensor, node: Any, inner: list[int]) -> int:
        """A result whose operation no call has shown: older than the recording, or a custom `Function`."""
        if self._older(node):
            self._discover([tensor], None)
            return self._enter(tensor, None)
        name = node.name().rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")
        op = Entry(name, inner, opaque=True)
        self.add(op, [tensor])
        return op.outputs[0]

    def _enter(self, tensor: torch.Tensor, op: int | None) -> int:
        """Number a version of a tensor that an operation has made, or that is seen for the first time."""
        index, key, edge = len(self._versions), id(tensor), node_of(tensor)
        if edge is not None and edge[0] not in self.graph:
            self._discover([tensor], op)
        node, output_nr = (self.graph.index[edge[0]], edge[1]) if edge is not None else (None, 0)
        asks_as_leaf = tensor.is_leaf and edge is not None
        made = op is not None and not self.ops[op].factory and not asks_as_leaf
        kind = "result" if made or not tensor.is_leaf else kind_of(tensor)
        earlier, origin = self._current.get(key), None
        if earlier is not None and kind != "result" and self._versions[earlier].kind != "result":
            origin = self._versions[earlier].origin
            origin = earlier if origin is None else origin
        value = snapshot(tensor)
        self._versions.append(_Version(tensor, kind, value, op, node, output_nr, origin))
        self._current[key], self._counter[key] = index, version_of(tensor)
        self._stale.discard(key)
        self._places[place_of(tensor)] = index
        storage = storage_of(tensor)
        if storage is not None:
            self._sharing.setdefault(storage._cdata, set()).add(key)
        if node is not None and kind != "result" and self.nodes[node].leaf is None:
            self.nodes[node] = replace(self.nodes[node], leaf=index)
        return index

    # ---- nodes ----

    def _older(self, node: Any) -> bool:
        """Whether a node was there before the recording; an `AccumulateGrad` never counts as older."""
        return node._sequence_nr() < self._first

    def _discover(self, tensors: list[torch.Tensor], op: int | None) -> None:
        """Find the nodes that these tensors hang from; new ones belong to this operation."""
        roots = [edge[0] for edge in map(node_of, tensors) if edge is not None]
        bases = [tensor._base for tensor in tensors if tensor._is_view()]
        roots += [base.grad_fn for base in bases if base.grad_fn is not None]
        first = len(self.graph.edges)
        for node in self.graph.add(roots):
            number, leaf = self.graph.index[node], getattr(node, "variable", None)
            maker = None if leaf is not None or self._older(node) else op
            self.nodes.append(Node(number, node.name(), maker))
            self._watch(node, number, leaf)
            self._unread.append((number, node))
            if leaf is not None and not any(leaf is tensor for tensor in tensors):
                self._meet(leaf, number)
        for index in range(first, len(self.graph.edges)):
            source, _, _, slot = self.graph.edges[index]
            self._edge_at[source, slot] = index

    def _meet(self, leaf: torch.Tensor, node: int) -> None:
        """An edge leads to this leaf: enter it, or tell its entry which node it has."""
        known = self._current.get(id(leaf))
        if known is None:
            known = self._enter(leaf, None)
        if self._versions[known].node is None:
            self._versions[known].node = node
            self._versions[known].kind = kind_of(leaf)
        if self.nodes[node].leaf is None:
            self.nodes[node] = replace(self.nodes[node], leaf=known)

    def _read_saved(self) -> None:
        """Note what the new nodes keep; nothing is read where saved-tensor hooks stand between."""
        unread, self._unread = self._unread, []
        if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
            return
        for number, node in unread:
            kept = []
            for name, tensor in saved_by(node):
                storage = storage_of(tensor)
                if storage is not None:
                    self._held.append(storage)
                    ordinal = self._storages.setdefault(storage._cdata, len(self._storages))
                    known = self._places.get(place_of(tensor))
                    kept.append(Saved(name, ordinal, storage.nbytes(), known))
            self.nodes[number] = replace(self.nodes[number], saved=tuple(kept))

    # ---- the end ----

    def freeze(self, sources: Sources, error: str | None) -> Trace:
        """Everything as plain data."""
        for version in self._versions:  # a leaf's node may have become known with a later version
            if version.origin is not None and version.node is not None:
                first = self._versions[version.origin]
                if first.node is None:
                    first.node, first.kind = version.node, version.kind
        return Trace(
            tensors=tuple(self._frozen_tensor(i, t) for i, t in enumerate(self._versions)),
            ops=tuple(_frozen_op(i, op, sources) for i, op in enumerate(self.ops)),
            nodes=tuple(self.nodes),
            edges=tuple(
                Edge(i, *e, self.edge_grads.get(i)) for i, e in enumerate(self.graph.edges)
            ),
            steps=tuple(self.steps),
            sources=tuple(sources.pieces),
            calls=tuple(self.calls),
            error=error,
        )

    def _frozen_tensor(self, index: int, version: _Version) -> Tensor:
        name = self.names.of(version.object)
        return Tensor(
            index,
            name,
            version.kind,
            version.value,
            version.op,
            version.node,
            version.output_nr,
            version.origin,
        )


def _frozen_op(index: int, op: Entry, sources: Sources) -> Op:
    place = op.stack[0] if op.stack else None
    return Op(
        index=index,
        name=op.name,
        line=None if place is None else place[1],
        code=sources.text(place),
        scope=op.scope,
        inputs=tuple(op.inputs),
        outputs=tuple(op.outputs),
        inplace=op.inplace,
        grad_enabled=op.grad_enabled,
        opaque=op.opaque,
        factory=op.factory,
        stack=op.stack,
        args=tuple(op.args or op.inputs),
        call=op.call,
    )
