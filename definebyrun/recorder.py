"""A run goes in, a `Trace` comes out: forward operations, backward nodes and gradients, in execution order.

Forward operations are seen by a `TorchFunctionMode`, modules and optimizers by their global hooks, backward nodes
by hooks on the nodes themselves. Nothing is cloned, re-run or replaced: the learner's own graph is what is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode

from .calls import (
    GETTERS,
    QUIET,
    arguments_of,
    is_getter,
    name_of,
    place_of,
    storage_of,
    tensors_in,
    version_of,
)
from .naming import Names, user_frames
from .snapshot import snapshot
from .source import Sources
from .trace import Edge, Node, Op, Saved, Step, Tensor, Trace, Value
from .walk import Graph, kind_of, node_of

__all__ = ["Recorder"]

Stack = tuple[tuple[int, int], ...]


@dataclass
class _Op:
    """An operation while it is being recorded; `trace.Op` is its frozen form."""

    name: str
    inputs: list[int]
    stack: Stack = ()
    scope: str = ""
    outputs: list[int] = field(default_factory=list)
    inplace: bool = False
    grad_enabled: bool = True
    opaque: bool = False
    factory: bool = False
    args: list[int | str] = field(default_factory=list)


@dataclass
class _Tensor:
    """A version of a tensor while it is being recorded; `trace.Tensor` is its frozen form."""

    object: torch.Tensor
    kind: str
    value: Value
    op: int | None
    node: int | None
    output_nr: int
    origin: int | None


class Recorder(TorchFunctionMode):
    """Records what runs while it is entered; `trace()` gives the result once it is left."""

    def __init__(self) -> None:
        super().__init__()
        self._names, self._graph = Names(), Graph()
        self._tensors: list[_Tensor] = []
        self._ops: list[_Op] = []
        self._nodes: list[Node] = []
        self._steps: list[Step] = []
        self._edge_grads: dict[int, Value] = {}
        self._edge_at: dict[tuple[int, int], int] = {}
        self._current: dict[int, int] = {}
        """By `id` of a tensor object: its newest version. The objects are held, so an id stays theirs."""
        self._versions: dict[int, int] = {}
        self._stale: set[int] = set()
        self._sharing: dict[int, set[int]] = {}
        self._places: dict[Any, int] = {}
        self._storages: dict[int, int] = {}
        self._unread: list[tuple[int, Any]] = []
        self._held: list[Any] = []
        self._handles: list[Any] = []
        self._scopes: list[str] = []
        self._call: Stack = ()
        self._runs: dict[int, list[int]] = {}
        self._before: dict[int, Value | None] = {}
        self._optimizer: tuple[Any, ...] | None = None
        self._frame: FrameType | None = None
        self._result: Trace | None = None

    def __enter__(self) -> Recorder:
        frames = user_frames()
        self._frame = frames[0] if frames else None
        self._sources = Sources(self._frame)
        self._names.look(frames[:1])
        self._handles = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
            register_optimizer_step_pre_hook(self._before_optimizer),
            register_optimizer_step_post_hook(self._after_optimizer),
        ]
        with torch.enable_grad():
            self._first = (torch.zeros((), requires_grad=True) + 0).grad_fn._sequence_nr()
        super().__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        super().__exit__(kind, error, trace)
        for handle in self._handles:
            handle.remove()
        self._look()
        if self._frame is not None:
            self._find_results(self._frame)
            self._names.look([self._frame], globals_too=True)
        self._result = self._freeze(None if error is None else f"{type(error).__name__}: {error}")
        self.__dict__ = {"_result": self._result, "inner": getattr(self, "inner", None)}

    @property
    def done(self) -> bool:
        """Whether the recording has ended."""
        return self._result is not None

    def trace(self) -> Trace:
        """The finished recording; `RuntimeError` while it is still going on."""
        if self._result is None:
            raise RuntimeError(
                "the recording is still going on: use the tape after its `with` block has ended"
            )
        return self._result

    # ---- forward: one torch call after the other  ----

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name, getter = name_of(func), is_getter(func)
        if self._optimizer or name in QUIET or (getter and name not in GETTERS):
            return func(*args, **kwargs)
        stack = self._look()
        if getter and name == "grad":
            return self._read_grad(func, args, kwargs)
        given = list(tensors_in((args, kwargs)))
        inputs = [self._tensor(tensor) for tensor in given]
        versions = [version_of(tensor) for tensor in given]
        enabled = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        outer, self._call = self._call, stack
        try:
            output = func(*args, **kwargs)
        finally:
            self._call = outer
        numbers = dict(zip(map(id, given), inputs, strict=True))
        call = [
            numbers[id(a)] if isinstance(a, torch.Tensor) else a for a in arguments_of(args, kwargs)
        ]
        self._record(
            _Op(name, inputs, stack, grad_enabled=enabled, args=call), given, versions, output
        )
        return output

    def _record(self, op: _Op, given: list[torch.Tensor], versions: list[int], output: Any) -> None:
        """Add an operation if it made or changed any tensor."""
        changed = [
            t for t, version in zip(given, versions, strict=True) if version_of(t) != version
        ]
        new = [t for t in tensors_in(output) if self._versions.get(id(t)) != version_of(t)]
        results = list({id(t): t for t in [*new, *changed]}.values())
        if not results:
            return
        op.scope = self._scopes[-1] if self._scopes else ""
        op.inplace, op.factory = bool(changed), not given
        for tensor in changed:
            self._mark_stale(tensor)
        self._add(op, results)

    def _add(self, op: _Op, results: list[torch.Tensor]) -> int:
        number = len(self._ops)
        self._ops.append(op)
        self._discover(results, number)
        op.outputs = [self._new(tensor, number) for tensor in results]
        self._read_saved()
        self._steps.append(Step(len(self._steps), "forward", op=number, stack=op.stack))
        return number

    def _read_grad(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """`w.grad` computes nothing: it names the tensor that autograd has put there."""
        grad = func(*args, **kwargs)
        owner = self._names.of(args[0])
        if isinstance(grad, torch.Tensor) and owner is not None:
            self._names.give(grad, f"{owner}.grad")
        return grad

    def _look(self) -> Stack:
        """Read the learner's frames for names; give the places in the code where they are."""
        frames = user_frames(self._frame)
        self._names.look(frames)
        return tuple(self._sources.place(frame) for frame in frames)

    # ---- tensors  ----

    def _tensor(self, tensor: torch.Tensor) -> int:
        """The index of a tensor that is used now, which may be the first that is seen of it."""
        key, edge = id(tensor), node_of(tensor)
        known = self._current.get(key)
        if known is None:
            if edge is None or tensor.is_leaf or edge[0] in self._graph:
                return self._new(tensor, None)
            return self._unseen(tensor, edge[0], [])
        record = self._tensors[known]
        fresh = self._versions[key] == version_of(tensor) and key not in self._stale
        if fresh and (record.node is None) == (edge is None):
            return known
        if fresh and tensor.is_leaf:
            return self._change_kind(known, tensor)
        if edge is not None and not tensor.is_leaf and edge[0] not in self._graph:
            if isinstance(edge[0], torch.autograd.function.BackwardCFunction):
                return self._unseen(tensor, edge[0], [known])
            self._discover([tensor], record.op)
        index = self._new(tensor, record.op)
        self._read_saved()
        return index

    def _change_kind(self, index: int, tensor: torch.Tensor) -> int:
        """`requires_grad_()` on a leaf: the same tensor asks for a gradient from here on, or no longer."""
        record, edge = self._tensors[index], node_of(tensor)
        record.kind, record.node = kind_of(tensor), None
        if edge is not None:
            self._discover([tensor], None)
            record.node = self._graph.index[edge[0]]
            self._nodes[record.node] = replace(self._nodes[record.node], leaf=index)
        return index

    def _unseen(self, tensor: torch.Tensor, node: Any, inner: list[int]) -> int:
        """A result whose operation no call has shown: older than the recording, or a custom `Function`."""
        if node._sequence_nr() < self._first:
            self._discover([tensor], None)
            return self._new(tensor, None)
        name = node.name().rstrip("0123456789").removesuffix("Backward")
        op = self._add(_Op(name, inner, opaque=True), [tensor])
        return self._ops[op].outputs[0]

    def _new(self, tensor: torch.Tensor, op: int | None) -> int:
        """Number a version of a tensor that an operation has made, or that is seen for the first time."""
        index, key, edge = len(self._tensors), id(tensor), node_of(tensor)
        if edge is not None and edge[0] not in self._graph:
            self._discover([tensor], op)
        node, output_nr = (self._graph.index[edge[0]], edge[1]) if edge is not None else (None, 0)
        made = (
            op is not None
            and not self._ops[op].factory
            and not (tensor.is_leaf and edge is not None)
        )
        kind = "result" if made or not tensor.is_leaf else kind_of(tensor)
        earlier = self._current.get(key)
        origin = None
        if earlier is not None and kind != "result" and self._tensors[earlier].kind != "result":
            origin = self._tensors[earlier].origin
            origin = earlier if origin is None else origin
        self._tensors.append(_Tensor(tensor, kind, snapshot(tensor), op, node, output_nr, origin))
        self._current[key], self._versions[key] = index, version_of(tensor)
        self._stale.discard(key)
        self._places[place_of(tensor)] = index
        storage = storage_of(tensor)
        if storage is not None:
            self._sharing.setdefault(storage._cdata, set()).add(key)
        if node is not None and kind != "result" and self._nodes[node].leaf is None:
            self._nodes[node] = replace(self._nodes[node], leaf=index)
        return index

    def _mark_stale(self, tensor: torch.Tensor) -> None:
        """An in-place change reaches every tensor on the same memory, with or without a version counter."""
        storage = storage_of(tensor)
        if storage is not None:
            self._stale |= self._sharing.get(storage._cdata, set()) - {id(tensor)}

    def _find_results(self, frame: FrameType) -> None:
        """Results that the run left in variables, but that no call has shown: custom `Function`s at the end."""
        for thing in list(frame.f_locals.values()):
            if isinstance(thing, torch.Tensor) and not thing.is_leaf:
                edge = node_of(thing)
                if edge and edge[0] not in self._graph and edge[0]._sequence_nr() >= self._first:
                    self._tensor(thing)

    # ---- nodes  ----

    def _discover(self, tensors: list[torch.Tensor], op: int | None) -> None:
        """Find the nodes that these tensors hang from; new ones belong to this operation."""
        roots = [edge[0] for edge in map(node_of, tensors) if edge is not None]
        roots += [t._base.grad_fn for t in tensors if t._is_view() and t._base.grad_fn is not None]
        first = len(self._graph.edges)
        for node in self._graph.add(roots):
            number, leaf = self._graph.index[node], getattr(node, "variable", None)
            older = node._sequence_nr() < self._first
            self._nodes.append(Node(number, node.name(), None if leaf is not None or older else op))
            self._watch(node, number, leaf)
            self._unread.append((number, node))
            if (
                leaf is not None
                and id(leaf) not in self._current
                and not any(leaf is t for t in tensors)
            ):
                self._new(leaf, None)
        for index in range(first, len(self._graph.edges)):
            source, _, _, slot = self._graph.edges[index]
            self._edge_at[source, slot] = index

    def _read_saved(self) -> None:
        """Note what the new nodes keep; nothing is read where saved-tensor hooks stand between."""
        unread, self._unread = self._unread, []
        if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
            return
        for number, node in unread:
            kept = []
            for name, tensor in _saved_by(node):
                storage = storage_of(tensor)
                if storage is not None:
                    self._held.append(storage)
                    ordinal = self._storages.setdefault(storage._cdata, len(self._storages))
                    kept.append(
                        Saved(name, ordinal, storage.nbytes(), self._places.get(place_of(tensor)))
                    )
            self._nodes[number] = replace(self._nodes[number], saved=tuple(kept))

    # ---- backward: one node after the other  ----

    def _watch(self, node: Any, number: int, leaf: torch.Tensor | None) -> None:
        if leaf is not None:

            def before(grad_outputs: tuple[torch.Tensor | None, ...]) -> None:
                self._before[number] = _maybe(leaf.grad)

            self._handles.append(node.register_prehook(before))

        def after(grad_inputs: tuple[Any, ...], grad_outputs: tuple[Any, ...]) -> None:
            self._ran(number, leaf, grad_inputs, grad_outputs)

        self._handles.append(node.register_hook(after))

    def _ran(
        self,
        number: int,
        leaf: torch.Tensor | None,
        grad_inputs: tuple[Any, ...],
        grad_outputs: tuple[Any, ...],
    ) -> None:
        """A node has run: note what arrived, what it passed on, and what that did to a leaf's `.grad`."""
        run = self._runs.setdefault(torch._C._current_graph_task_id(), [len(self._runs), 0])
        received = tuple(_maybe(grad) for grad in grad_outputs)
        passed = []
        for slot, grad in enumerate(grad_inputs):
            edge = self._edge_at.get((number, slot))
            if grad is not None and edge is not None:
                self._edge_grads[edge] = value = snapshot(grad)
                passed.append((edge, value))
        grad = next((value for value in received if value is not None), None)
        self._nodes[number] = replace(self._nodes[number], order=run[1], grad=grad)
        run[1] += 1
        self._steps.append(
            Step(
                index=len(self._steps),
                phase="backward",
                node=number,
                stack=self._call,
                received=received,
                passed=tuple(passed),
                before=self._before.pop(number, None),
                after=None if leaf is None else _maybe(leaf.grad),
                run=run[0],
                freed=not torch._C._autograd._get_current_graph_task_keep_graph(),
            )
        )

    # ---- modules and optimizers  ----

    def _enter_module(self, module: torch.nn.Module, args: Any) -> None:
        if self._names.of(module) is None:
            self._look()
            self._names.give_module(module, type(module).__name__)
        self._scopes.append(self._names.of(module) or "")

    def _leave_module(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        self._scopes.pop()

    def _before_optimizer(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        stack = self._look()
        given = [p for group in optimizer.param_groups for p in group["params"]]
        with torch._C.DisableTorchFunction():
            inputs = [self._tensor(p) for p in given]
        op = _Op(f"{type(optimizer).__name__}.step", inputs, stack, grad_enabled=False)
        self._optimizer = (op, given, [version_of(p) for p in given])

    def _after_optimizer(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self._optimizer is not None:
            op, given, versions = self._optimizer
            self._optimizer = None
            with torch._C.DisableTorchFunction():
                self._record(op, given, versions, None)

    # ---- the end  ----

    def _freeze(self, error: str | None) -> Trace:
        tensors = (
            Tensor(
                i, self._names.of(t.object), t.kind, t.value, t.op, t.node, t.output_nr, t.origin
            )
            for i, t in enumerate(self._tensors)
        )
        ops = (
            Op(
                index=i,
                name=op.name,
                line=op.stack[0][1] if op.stack else None,
                code=self._sources.text(op.stack[0]) if op.stack else "",
                scope=op.scope,
                inputs=tuple(op.inputs),
                outputs=tuple(op.outputs),
                inplace=op.inplace,
                grad_enabled=op.grad_enabled,
                opaque=op.opaque,
                factory=op.factory,
                stack=op.stack,
                args=tuple(op.args or op.inputs),
            )
            for i, op in enumerate(self._ops)
        )
        edges = (
            Edge(i, *edge, self._edge_grads.get(i)) for i, edge in enumerate(self._graph.edges)
        )
        return Trace(
            tensors=tuple(tensors),
            ops=tuple(ops),
            nodes=tuple(self._nodes),
            edges=tuple(edges),
            steps=tuple(self._steps),
            sources=tuple(self._sources.pieces),
            error=error,
        )


def _maybe(tensor: torch.Tensor | None) -> Value | None:
    return None if tensor is None else snapshot(tensor)


def _saved_by(node: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors that a node keeps, with the names under which PyTorch shows them."""
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        return [
            (f"saved_tensors[{i}]", t) for i, t in enumerate(node.saved_tensors) if t is not None
        ]
    names = (name for name in dir(type(node)) if name.startswith("_saved_"))
    return [
        (name.removeprefix("_saved_"), t) for name in names for t in tensors_in(getattr(node, name))
    ]
