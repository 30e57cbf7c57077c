"""What runs in the NumPy engine goes in, the `Trace` that the package draws comes out: forward, backward, gradients.

The engine tells its watchers of every operation and every node. Nodes are numbered by the same walk along
`next_functions` as PyTorch's own. What an engine's node keeps are the arrays that its rules hold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from definebyrun.recorder.source import Sources
from definebyrun.recorder.walk import NodeIndex
from definebyrun.tape import Tape
from definebyrun.trace import (
    Edge,
    Node,
    Op,
    Saved,
    Step,
    TensorKind,
    TensorVersion,
    Trace,
)
from definebyrun.trace.value import Value

__all__ = ["Recording"]


def value_of(array: Any) -> Value:
    """An array as it is now.

    >>> value_of(np.array([1.0, -2.0]))
    Value(shape=(2,), dtype='float64', data=(1.0, -2.0), low=None, high=None)
    """
    array = np.asarray(array)
    return Value(array.shape, str(array.dtype), tuple(array.ravel().tolist()))


@dataclass
class _Parts:
    """What becomes the trace."""

    tensors: list[TensorVersion] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    flows: dict[int, Value] = field(default_factory=dict)


class Recording:
    """Watches an engine while it is entered; `tape()` gives what ran, to be drawn and played.

    `watchers` is the engine's list of those that it tells: `engine.WATCHERS`.

    >>> from definebyrun_course.pieces.engine import WATCHERS, Tensor
    >>> a = Tensor(3.0, requires_grad=True)
    >>> with Recording(WATCHERS) as run:
    ...     square = a * a
    ...     square.backward()
    >>> [edge.grad.item() for edge in run.tape().edges]
    [3.0, 3.0]
    """

    def __init__(self, watchers: list[Callable[..., None]]) -> None:
        self._watchers = watchers

    def __enter__(self) -> Recording:
        self._frame = sys._getframe(1)
        self._sources = Sources(self._frame)
        self._parts, self._graph = _Parts(), NodeIndex()
        self._known: dict[int, int] = {}  # the number of each tensor by its identity
        self._held: list[Any] = []  # and the tensors, so that no identity is used twice
        self._storages: dict[int, int] = {}
        self._edges: dict[int, list[int]] = {}  # the edges that leave a node
        self._grads: dict[int, Value | None] = {}
        self._run, self._order = -1, 0
        self._watchers.append(self._told)
        return self

    def __exit__(self, *error: object) -> None:
        self._watchers.remove(self._told)
        names: dict[int, str] = {}
        for name, thing in self._frame.f_locals.items():
            if id(thing) in self._known and name[0] != "_":
                names.setdefault(self._known[id(thing)], name)
        parts = self._parts
        parts.tensors = [replace(t, name=names.get(t.index)) for t in parts.tensors]
        del self._frame

    def tape(self) -> Tape:
        """The run as a `Tape`, with all its pictures."""
        parts = self._parts
        edges = tuple(
            Edge(i, *ends, grad=parts.flows.get(i)) for i, ends in enumerate(self._graph.edges)
        )
        return Tape(
            Trace(
                tensors=tuple(parts.tensors),
                ops=tuple(parts.ops),
                nodes=tuple(parts.nodes),
                edges=edges,
                steps=tuple(parts.steps),
                sources=tuple(self._sources.pieces),
            )
        )

    def _told(self, phase: str, *what: Any) -> None:
        {"forward": self._forward, "start": self._start, "backward": self._backward}[phase](*what)

    def _location(self) -> tuple[tuple[int, int], ...]:
        return (self._sources.location(self._frame),)

    # ---- forward ----

    def _forward(self, name: str, inputs: list[Any], options: dict[str, Any], output: Any) -> None:
        parts, place = self._parts, self._location()
        edges = output.grad_fn.next_functions if output.grad_fn else [(None, 0)] * len(inputs)
        given = []
        for tensor, (target, _) in zip(inputs, edges, strict=True):
            given.append(self._number(tensor))
            self._nodes_of([target], None)  # a leaf's node has its number before the operation's
        index = len(parts.ops)
        self._nodes_of([output.grad_fn], index)
        made = self._enter(output, "result" if output.grad_fn else "constant", index)
        words = tuple(f"{option}={value!r}" for option, value in options.items())
        parts.ops.append(
            Op(
                index=index,
                name=name,
                line=place[0][1],
                code=self._sources.text(place[0]),
                scope="",
                inputs=tuple(given),
                outputs=(made,),
                stack=place,
                args=(*given, *words),
            )
        )
        parts.steps.append(Step(len(parts.steps), "forward", op=index, stack=place))

    def _number(self, tensor: Any) -> int:
        """The number of a tensor; one that was not seen before is a leaf, or older than the recording."""
        if id(tensor) not in self._known:
            self._nodes_of([tensor.grad_fn], None)
            kind = "result" if tensor.grad_fn else "leaf" if tensor.requires_grad else "constant"
            self._enter(tensor, kind, None)
        return self._known[id(tensor)]

    def _enter(self, tensor: Any, kind: TensorKind, op: int | None) -> int:
        index = self._known[id(tensor)] = len(self._parts.tensors)
        self._held.append(tensor)
        node = None if tensor.grad_fn is None else self._graph.index[tensor.grad_fn]
        self._parts.tensors.append(
            TensorVersion(index, None, kind, value_of(tensor.data), op=op, node=node)
        )
        return index

    def _nodes_of(self, roots: list[Any], op: int | None) -> None:
        """Number the nodes that are new; those of leaves are no operation's."""
        known = len(self._graph.edges)
        found = self._graph.add(root for root in roots if root is not None)
        for edge, (source, *_) in enumerate(self._graph.edges[known:], known):
            self._edges.setdefault(source, []).append(edge)
        for node in found:
            number, leaf = self._graph.index[node], getattr(node, "variable", None)
            if leaf is None:
                self._parts.nodes.append(Node(number, node.name(), op=op, saved=self._saved(node)))
                continue
            at = self._number(leaf)
            self._parts.tensors[at] = replace(self._parts.tensors[at], node=number)
            self._parts.nodes.append(Node(number, node.name(), leaf=at))
            self._grads[number] = None if leaf.grad is None else value_of(leaf.grad)

    def _saved(self, node: Any) -> tuple[Saved, ...]:
        """The arrays that a node's rules hold in their closures, each once."""
        found = {}
        for rule in filter(None, node.rules or ()):
            names = rule.__code__.co_freevars
            for name, cell in zip(names, rule.__closure__ or (), strict=True):
                array = cell.cell_contents
                if isinstance(array, np.ndarray) and array.size:
                    storage = array.__array_interface__["data"][0]
                    number = self._storages.setdefault(storage, len(self._storages))
                    found[name] = Saved(name, number, array.nbytes)
                    self._held.append(array)
        return tuple(found.values())

    # ---- backward ----

    def _start(self, tensor: Any) -> None:
        """A backward pass begins; a tensor that is older than the recording brings its graph with it."""
        self._number(tensor)
        self._run, self._order = self._run + 1, 0

    def _backward(self, node: Any, grad: Any, passed: list[Any], retain_graph: bool) -> None:
        parts, number = self._parts, self._graph.index[node]
        received, sent = value_of(grad), []
        for edge, (_, part) in zip(self._edges.get(number, ()), passed, strict=True):
            parts.flows[edge] = value_of(part)
            sent.append((edge, parts.flows[edge]))
        parts.nodes[number] = replace(parts.nodes[number], order=self._order, grad=received)
        self._order += 1
        leaf = getattr(node, "variable", None)
        before, after = self._grads.get(number), None
        if leaf is not None:
            after = self._grads[number] = value_of(leaf.grad)
        parts.steps.append(
            Step(
                index=len(parts.steps),
                phase="backward",
                node=number,
                stack=self._location(),
                received=(received,),
                passed=tuple(sent),
                before=before,
                after=after,
                pass_nr=self._run,
                freed=not retain_graph,
            )
        )
