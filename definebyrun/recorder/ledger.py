"""Live tensors and nodes go in, numbered and dated; `freeze` gives them out as a `Trace` of plain data.

The recorder enters what it sees here: which tensor is which version of which, what operation made it, which nodes
are new and to whom they belong, what they keep. The ledger watches nothing; it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import count, islice
from threading import get_ident
from typing import Any
from weakref import ref

import torch

from ..trace.frozen import sealed
from ..trace.model import Edge, Grad, ModuleCall, Node, Op, Saved, Step, TensorVersion, Trace
from ..trace.value import Value
from ._torch import (
    address_of,
    first_output_metadata,
    is_view,
    next_sequence_nr,
    saved_tensor_hooks,
    sequence_nr,
    view_base,
)
from .drafts import FunctionForward, draft_op
from .engine import running_node
from .names import Names
from .recomputation import Recomputations
from .saved_tensor_hooks import kept_behind_hooks
from .snapshot import shape_only
from .snapshot import unseen_snapshot as snapshot
from .source import Sources
from .torch_calls import (
    MAX_HELD_SIZE,
    UNINITIALIZED,
    is_large,
    saved_tensors,
    shape_of,
    storage_of,
    version_of,
    view_key,
)
from .walk import (
    ACCUMULATE,
    NodeIndex,
    gradient_edge,
    is_leaf,
    leaf_kind,
    leaf_of_node,
    tensor_kind,
)

__all__ = ["Ledger"]

Way = tuple[Any, int]
Watch = Callable[[Any, int, torch.Tensor | None], None]


class Ledger:
    """Numbers tensors, operations and nodes as they turn up. `watch` is told of every new node.

    Nodes, parameters and small tensors are held while the recording lasts, so an `id` and a number stay theirs. Large
    tensors are not: the run lets go of their memory as it would anyway, and with it goes what is known by their `id`.
    """

    def __init__(self, watch: Watch) -> None:
        self.names, self.graph, self.watch = Names(), NodeIndex(), watch
        self.ops: list[Op] = []  # these four are drafts, until the end
        self.nodes: list[Node] = []
        self.steps: list[Step] = []
        self._versions: list[TensorVersion] = []
        self._objects: list[torch.Tensor | ref[torch.Tensor]] = []  # by version: the tensor
        self._memories: dict[int, ref[Any]] = {}  # large storages that nobody holds for us
        self._used: set[int] = set()
        self.grads: list[Grad] = []
        self.calls: list[ModuleCall] = []
        self.forwards: list[FunctionForward] = []
        # Nodes that a backward pass has made, until the call of `grad` that ran it is entered.
        self.unclaimed: list[int] = []
        self.edge_grads: dict[int, Value] = {}
        self._current: dict[int, int] = {}  # by id of a tensor: its newest version here
        self._counter: dict[int, int] = {}  # by id of a tensor: PyTorch's version counter then
        self._stale: set[int] = set()  # ids of tensors whose memory was changed through another
        self._touched: list[int] = []  # the versions that this has made stale just now
        self._sharing: dict[int, int | set[int]] = {}  # by storage: id of the tensor on it, or ids
        # by storage, and place in it: the newest version that shows it
        self._places: dict[int, dict[Any, int]] = {}
        self._storages: dict[int, int] = {}
        self._ordinals = count()
        self._unfilled: set[int] = set()  # storages in which nothing has been written yet
        self._grad_now: dict[int, Value | None] = {}  # by leaf: what its `.grad` is known to hold
        self._owners: dict[int, torch.Tensor] = {}  # by storage of a `.grad`: the leaf
        # by id: tensors that the run has read as a `.grad`; of large ones a reference
        self._read_grads: dict[int, torch.Tensor | ref[torch.Tensor]] = {}
        self._unread: list[tuple[int, Any]] = []
        self._held: list[Any] = []
        self._thread = get_ident()
        self._recomputed = Recomputations()
        self._first = next_sequence_nr()  # of the next node that this thread makes

    # ---- operations ----

    def add(self, op: Op, results: list[torch.Tensor]) -> None:
        """Enter an operation with the tensors that it made or changed, and its step."""
        op.index = number = len(self.ops)
        self.ops.append(op)
        call = op.call
        while call is not None and not self.calls[call].path:
            call = self.calls[call].outer
        op.scope = "" if call is None else self.calls[call].path
        edges = [gradient_edge(tensor) for tensor in results]
        self._discover(results, number, edges)
        if op.name in UNINITIALIZED:
            self._unfilled.update(address_of(s) for s in map(storage_of, results) if s is not None)
        pairs = zip(results, edges, strict=True)
        op.outputs = tuple([self._enter(tensor, number, edge) for tensor, edge in pairs])
        if self._touched:
            touched, self._touched = self._touched, []
            for index in touched:  # `w.data.mul_(2)` changes the leaf w in this very step
                tensor = self._object(index)
                known = self._versions[index].kind in ("leaf", "parameter")
                if known and tensor is not None and id(tensor) in self._stale:
                    self._enter(tensor, number, gradient_edge(tensor))
        self._read_saved()
        self.steps.append(Step.draft(len(self.steps), "forward", op=number, stack=op.stack))

    def is_new(self, tensor: torch.Tensor) -> bool:
        """Whether this version of a tensor has not been entered yet."""
        return self._counter.get(id(tensor)) != version_of(tensor)

    def unsee(self, tensor: torch.Tensor) -> None:
        """A call gives a tensor that code inside it has shown already: it is this call's result too."""
        self._counter.pop(id(tensor), None)

    def changed(self, tensor: torch.Tensor) -> None:
        """An in-place change reaches every tensor on the same memory, with or without a version counter."""
        storage = storage_of(tensor)
        if storage is None:
            return
        self._unfilled.discard(address_of(storage))
        sharing = self._sharing.get(address_of(storage), set())
        others = ({sharing} if isinstance(sharing, int) else sharing) - {id(tensor)}
        self._stale |= others
        self._touched += sorted(map(self._current.__getitem__, others))
        owner = self._owners.get(address_of(storage))
        if owner is not None:
            self.note_grad(owner)

    def replaced(self, tensor: torch.Tensor) -> None:
        """`w.data = …` puts other memory under a tensor, which no version counter tells."""
        self._stale.add(id(tensor))

    # ---- what leaves hold in `.grad` ----

    def read_grad(self, grad: torch.Tensor) -> None:
        """The run reads a leaf's `.grad`: that tensor is there from now on, not from the start."""
        key, known = id(grad), self._read_grads
        known[key] = ref(grad, partial(known.pop, key)) if is_large(grad) else grad

    def note_grad(self, leaf: torch.Tensor) -> None:
        """Something else than its own node may have changed a leaf's `.grad`: note what it holds now."""
        known = self._current.get(id(leaf))
        if known is None:
            return
        first, grad = self._first_of(known), leaf.grad
        value = None if grad is None else snapshot(grad)
        if value != self._grad_now.get(first):
            self.grads.append(Grad(first, len(self.steps) + 1, value))
        self.hold_grad(leaf, grad, value)

    def hold_grad(self, leaf: torch.Tensor, grad: torch.Tensor | None, value: Value | None) -> None:
        """Remember what a leaf holds in its `.grad`, and where that lies."""
        known = self._current.get(id(leaf))
        if known is not None:
            self._grad_now[self._first_of(known)] = value
            storage = None if grad is None else storage_of(grad)
            if storage is not None:
                self._owners[address_of(storage)] = leaf

    def held_grad(self, leaf: torch.Tensor) -> Value | None:
        """What a leaf is known to hold in its `.grad`."""
        known = self._current.get(id(leaf))
        return None if known is None else self._grad_now.get(self._first_of(known))

    def _first_of(self, index: int) -> int:
        origin = self._versions[index].origin
        return index if origin is None else origin

    # ---- tensors ----

    def tensor(self, tensor: torch.Tensor) -> int:
        """The number of a tensor that is used now, which may be the first that is seen of it."""
        known = self._current.get(id(tensor))
        if known is None or not self._unchanged(known, tensor):
            known = self._meet_again(known, tensor)
        self._used.add(known)
        return known

    def _meet_again(self, known: int | None, tensor: torch.Tensor) -> int:
        """The number of a tensor that is new here, or that has changed since it was last seen."""
        edge = gradient_edge(tensor)
        if known is None:
            if edge is None or is_leaf(tensor) or edge[0] in self.graph:
                return self._enter(tensor, None, edge)
            return self._unseen(tensor, edge, [])
        version = self._versions[known]
        fresh = self._is_fresh(tensor)
        if fresh and (version.node is None) == (edge is None):
            return known
        if fresh and is_leaf(tensor) and known not in self._used:
            return self._change_kind(known, tensor)
        if edge is not None and not is_leaf(tensor) and edge[0] not in self.graph:
            if isinstance(edge[0], torch.autograd.function.BackwardCFunction):
                return self._unseen(tensor, edge, [known])
            self._discover([tensor], version.op, [edge])
        if self.is_new(tensor):
            self._fill(tensor)
        index = self._enter(tensor, version.op, edge)
        self._read_saved()
        return index

    def _fill(self, tensor: torch.Tensor) -> None:
        storage = storage_of(tensor)
        if storage is not None:
            self._unfilled.discard(address_of(storage))

    def _unchanged(self, known: int, tensor: torch.Tensor) -> bool:
        """Whether a tensor is still what it was when it was last seen: the same numbers, asking or not as then."""
        asked = self._versions[known].node is not None
        return asked == tensor.requires_grad and self._is_fresh(tensor)

    def _is_fresh(self, tensor: torch.Tensor) -> bool:
        return not self.is_new(tensor) and id(tensor) not in self._stale

    def find_results(self, variables: list[Any]) -> None:
        """Enter results that are in variables but that no call has shown: custom `Function`s at the end."""
        for thing in variables:
            if isinstance(thing, torch.Tensor) and not is_leaf(thing):
                edge = gradient_edge(thing)
                if edge and edge[0] not in self.graph and not self._older(edge[0]):
                    self.tensor(thing)

    def _change_kind(self, index: int, tensor: torch.Tensor) -> int:
        """`requires_grad_()` on a leaf that nothing has used yet: the same tensor asks for a gradient, or no longer."""
        version, edge = self._versions[index], gradient_edge(tensor)
        version.kind, version.node = tensor_kind(tensor), None
        if edge is not None:
            self._discover([tensor], None, [edge])
            version.node = self.graph.index[edge[0]]
            self.nodes[version.node].leaf = index
        return index

    def _unseen(self, tensor: torch.Tensor, edge: Way, inner: list[int]) -> int:
        """A result whose operation no call has shown: older than the recording, or a custom `Function`."""
        if self._older(edge[0]):
            self._discover([tensor], None, [edge])
            return self._enter(tensor, None, edge)
        name = edge[0].name().rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")
        op = draft_op(name, tuple(inner))
        op.opaque = True
        forward = next((f for f in reversed(self.forwards) if f.name == name), None)
        if forward is not None:
            self.forwards.remove(forward)
            op.call, op.stack, op.args = forward.call, forward.stack, tuple(forward.inputs)
            op.inputs = tuple(dict.fromkeys([*forward.inputs, *inner]))
        self.add(op, [tensor])
        return op.outputs[0]

    def _enter(self, tensor: torch.Tensor, op: int | None, edge: Way | None) -> int:
        """Number a version of a tensor that an operation has made, or that is seen for the first time."""
        index, key = len(self._versions), id(tensor)
        leaf, node, output_nr = edge is None or is_leaf(tensor), None, 0
        if edge is not None:
            node, output_nr = self.graph.index.get(edge[0]), edge[1]
            if node is None:
                node = self._leaf_found(tensor, edge[0]) if leaf else self._found(tensor, op, edge)
        as_leaf = leaf and (op is None or edge is not None or self.ops[op].factory)
        kind = leaf_kind(tensor) if as_leaf else "result"
        earlier, origin = self._current.get(key), None
        if earlier is not None and kind != "result" and self._versions[earlier].kind != "result":
            origin = self._first_of(earlier)
        storage = storage_of(tensor)
        memory = None if storage is None else address_of(storage)
        value = shape_only(tensor) if memory in self._unfilled else snapshot(tensor)
        since = len(self.steps) if key in self._read_grads else 0
        held: Any = tensor
        # what nothing has been written to is known by its address alone
        if memory is not None and memory not in self._unfilled and is_large(tensor):
            if earlier is None:
                self.names.forget(key)
            held = ref(tensor, partial(self._gone, index, key, memory))
            self._let_go(storage)
        self._objects.append(held)
        self._versions.append(
            TensorVersion.draft(index, None, kind, value, op, node, output_nr, origin, since)
        )
        self._current[key], self._counter[key] = index, version_of(tensor)
        self._stale.discard(key)
        if memory is not None:
            self._places.setdefault(memory, {})[view_key(tensor, value.shape)] = index
            sharing = self._sharing.setdefault(memory, key)
            if isinstance(sharing, set):
                sharing.add(key)
            elif sharing != key:
                self._sharing[memory] = {sharing, key}
        if node is not None and as_leaf:
            if self.nodes[node].leaf is None:
                self.nodes[node].leaf = index
            grad = tensor.grad
            if origin is None and grad is not None:
                value = snapshot(grad)
                self.grads.append(Grad(index, 0, value))
                self.hold_grad(tensor, grad, value)
        return index

    # ---- tensors that go ----

    def _object(self, index: int) -> torch.Tensor | None:
        """The tensor of a version; None when the run has let go of it."""
        held = self._objects[index]
        return held() if isinstance(held, ref) else held

    def _let_go(self, storage: Any) -> None:
        """Hold a storage no longer than the run does; what is known by its address goes with it."""
        memory = address_of(storage)
        if memory not in self._memories:
            self._memories[memory] = ref(storage, partial(self._freed, memory))

    def _gone(self, index: int, key: int, memory: int, _: object) -> None:
        """A tensor's `id` may be another one's from now on."""
        self._versions[index].name = self.names.left(key)
        if self._current.get(key) == index:
            del self._current[key]
            self._counter.pop(key, None)
            self._stale.discard(key)
        sharing = self._sharing.get(memory)
        if isinstance(sharing, set):
            sharing.discard(key)
        elif sharing == key:
            del self._sharing[memory]

    def _freed(self, memory: int, _: object) -> None:
        """A storage's address may be another one's from now on."""
        for known in (self._memories, self._places, self._storages, self._sharing, self._owners):
            known.pop(memory, None)
        self._unfilled.discard(memory)

    # ---- nodes ----

    def _older(self, node: Any) -> bool:
        """Whether a node was there before the recording; an `AccumulateGrad` never counts as older."""
        return sequence_nr(node) < self._first

    def _leaf_found(self, leaf: torch.Tensor, node: Any) -> int:
        """The number of a leaf's node that is new; nothing lies behind it."""
        number = self.graph.index[node] = len(self.graph.index)
        self.nodes.append(Node.draft(number, node.name()))
        self.watch(node, number, leaf)
        return number

    def _found(self, tensor: torch.Tensor, op: int | None, edge: Way) -> int:
        """The number of a tensor's node that is new."""
        self._discover([tensor], op, [edge])
        return self.graph.index[edge[0]]

    def _discover(
        self, tensors: list[torch.Tensor], op: int | None, edges: Iterable[Way | None]
    ) -> None:
        """Find the nodes that these tensors hang from by these edges; new ones belong to this operation."""
        roots = [edge[0] for edge in edges if edge is not None]
        for tensor in tensors:
            base = view_base(tensor) if is_view(tensor) else None
            edge = None if base is None or is_leaf(base) else gradient_edge(base)
            if edge is not None:
                roots.append(edge[0])
        own = set(map(id, tensors))
        for node in self.graph.add(roots) if roots else ():
            number, name = self.graph.index[node], node.name()
            leaf = node.variable if name == ACCUMULATE else None
            maker = None if leaf is not None or self._older(node) else op
            self.nodes.append(Node.draft(number, name, maker))
            self.watch(node, number, leaf)
            if maker is not None:  # of older nodes it is not read: a learner's hooks may be there
                self._unread.append((number, node))
            if leaf is not None and id(leaf) not in own:
                self._meet(leaf, number)

    def _meet(self, leaf: torch.Tensor, node: int) -> None:
        """An edge leads to this leaf: enter it, or tell its entry which node it has."""
        known = self._current.get(id(leaf))
        if known is None:
            known = self._enter(leaf, None, gradient_edge(leaf))
        if self._versions[known].node is None:
            self._versions[known].node = node
            self._versions[known].kind = tensor_kind(leaf)
        if self.nodes[node].leaf is None:
            self.nodes[node].leaf = known

    def _read_saved(self) -> None:
        """Note what the new nodes keep, also behind hooks on saved tensors; no such hook is run."""
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        hooked = saved_tensor_hooks(True) is not None
        for number, node in unread:
            found, checkpoint = kept_behind_hooks(node) if hooked else (saved_tensors(node), None)
            kept = []
            for name, tensor in found:
                storage = storage_of(tensor)
                if storage is not None:
                    memory, nbytes = address_of(storage), storage.nbytes()
                    ordinal = self._storages.get(memory)
                    if ordinal is None:
                        ordinal = self._storages[memory] = next(self._ordinals)
                        if nbytes > MAX_HELD_SIZE:
                            self._let_go(storage)
                        else:
                            self._held.append(storage)
                    places = self._places.get(memory)
                    shape = shape_of(tensor)
                    known = None if places is None else places.get(view_key(tensor, shape))
                    kept.append(Saved(name, ordinal, nbytes, known))
            self.nodes[number].saved = tuple(kept)
            if checkpoint is not None:
                self._recomputed.put_away(number, checkpoint)
            if hooked and found and self.nodes[number].made is None:
                running = running_node()
                own = None if running is None else self.graph.index.get(running)
                self._recomputed.pair(number, own)

    # ---- nodes that a backward pass makes ----

    def see_functions(
        self, grads: tuple[torch.Tensor | None, ...], run: int, within: int | None
    ) -> None:
        """Custom `Function`s that a backward pass has called leave nodes too, and no call has shown them."""
        for grad in grads:
            edge = None if grad is None else gradient_edge(grad)
            unseen = edge is not None and edge[0] not in self.graph
            if unseen and isinstance(edge[0], torch.autograd.function.BackwardCFunction):
                op = self._versions[self.tensor(grad)].op
                if op is not None:
                    entry = self.ops[op]
                    entry.run, entry.within, entry.during = run, within, "backward"

    def see_made(
        self, grads: tuple[torch.Tensor | None, ...], run: int, within: int | None, step: int
    ) -> None:
        """Enter the nodes behind gradients that a recorded backward pass has just computed: no call made them."""
        first, tensors = len(self.nodes), [grad for grad in grads if grad is not None]
        self._discover(tensors, None, map(gradient_edge, tensors))
        self._note_made(first, tensors, run, within, step)

    def claim(self, op: int, first: int, run: int) -> None:
        """The call of `grad` that ran a pass has the nodes of that pass, also those from `first` on, found late."""
        claimed, self.unclaimed = self.unclaimed, []
        if op < len(self.ops):
            run = self.nodes[claimed[0]].run if claimed else run
            tensors = [self._object(i) for i in self.ops[op].outputs]
            self._note_made(
                first,
                [tensor for tensor in tensors if tensor is not None],
                run,
                None,
                len(self.steps) - 1,
            )
            for number in claimed + self.unclaimed:
                self.nodes[number].op = op

    def _note_made(
        self,
        first: int,
        tensors: list[torch.Tensor],
        run: int | None,
        within: int | None,
        step: int,
    ) -> None:
        """Say of the nodes from `first` on where they come from, what they keep, and which tensor hangs from them."""
        new = list(islice(reversed(self.graph.index), len(self.nodes) - first))[::-1]
        found = []
        for number, node in enumerate(new, first):
            older = self._older(node) and get_ident() == self._thread  # other threads count anew
            if leaf_of_node(node) is None and not older:
                live = self.nodes[number]
                live.run, live.within, live.made, live.value = run, within, step, _shape_of(node)
                found.append((number, node))
        if not found:
            return
        self.unclaimed += [number for number, _ in found]
        self._unread = found
        if saved_tensor_hooks(True) is None:
            tensors = [*(t for _, node in found for _, t in saved_tensors(node)), *tensors]
        for tensor in tensors:
            edge = gradient_edge(tensor)
            number = -1 if edge is None or edge[1] else self.graph.index.get(edge[0], -1)
            if number >= 0 and self.nodes[number].made is not None:
                self.nodes[number].value = snapshot(tensor)
        self._read_saved()

    def _generations(self) -> dict[int | None, int]:
        """By backward run that was recorded itself: one more than the highest generation of the nodes that ran."""
        made = [
            node.run if node.run is not None or node.op is None else self.ops[node.op].run
            for node in self.nodes
        ]
        runs = {run for run in (*made, *(op.run for op in self.ops)) if run is not None}
        found: dict[int | None, int] = {}
        ran: dict[int, list[int]] = {run: [] for run in sorted(runs)}
        for step in self.steps:
            if step.run in ran and step.node is not None:
                ran[step.run].append(step.node)
        for run, nodes in ran.items():  # a pass runs nodes of passes before it only
            found[run] = 1 + max((found.get(made[node], 1) for node in nodes), default=1)
        return found

    # ---- the end ----

    def freeze(self, sources: Sources, error: str | None) -> Trace:
        """Everything as plain data."""
        for version in self._versions:  # a leaf's node may have become known with a later version
            if version.origin is not None and version.node is not None:
                first = self._versions[version.origin]
                if first.node is None and first.kind == version.kind:
                    first.node = version.node
        for version in self._versions:
            tensor = self._object(version.index)
            if tensor is not None:
                version.name = self.names.of(tensor)
        self._complete(self._generations(), sources)
        self._recomputed.end(self.nodes, self.steps)
        self._objects.clear()  # what waits for their end leads here
        self._memories.clear()
        self._read_grads.clear()
        grads = self.edge_grads
        return Trace(
            tensors=sealed(self._versions, TensorVersion),
            ops=sealed(self.ops, Op),
            nodes=sealed(self.nodes, Node),
            edges=tuple([Edge(i, *e, grads.get(i)) for i, e in enumerate(self.graph.edges)]),
            steps=sealed(self.steps, Step),
            sources=tuple(sources.pieces),
            grads=tuple(self.grads),
            calls=tuple(self.calls),
            error=error,
        )

    def _complete(self, born: dict[int | None, int], sources: Sources) -> None:
        """Say of operations where their code is, and of all that a recorded pass has made which generation it is."""
        for op in self.ops:
            if op.stack:
                op.line, op.code = op.stack[0][1], sources.text(op.stack[0])
            op.args = op.args or op.inputs
            op.generation = born.get(op.run, 1)
        for node in self.nodes if born else ():
            if node.leaf is None:
                if node.run is None and node.op is not None:
                    op = self.ops[node.op]
                    node.run, node.within = op.run, op.within if op.run is not None else None
                node.generation = born.get(node.run, 1)


def _shape_of(node: Any) -> Value | None:
    """What hangs from a node, as far as the node knows it: PyTorch keeps the shape and dtype of its first output."""
    try:
        about = first_output_metadata(node)
        return Value(tuple(map(int, about.shape)), str(about.dtype).removeprefix("torch."))
    except (AttributeError, IndexError, TypeError, RuntimeError):  # nested tensors have no shape
        return None
