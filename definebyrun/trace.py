"""The data of a recorded run, frozen and free of torch: what every other room takes and gives.

A `Trace` lists tensors, forward operations, backward nodes, the edges between them and the steps in the order
in which they ran. Everything refers to everything else by index, so a trace can be compared, saved and read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = [
    "Block",
    "Call",
    "Edge",
    "Node",
    "Op",
    "Saved",
    "Source",
    "Step",
    "Tensor",
    "Trace",
    "Value",
    "total",
]

Number = bool | int | float | complex


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor's content at one moment: all of it when it is small, its range when it is large.

    `data` is the content in row-major order, or None beyond `snapshot.KEEP` elements; `low` and `high` are
    the smallest and largest element where that is known.

    >>> Value((2, 2), "float32", (1.0, 2.0, 3.0, 4.0)).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """

    shape: tuple[int, ...]
    dtype: str
    data: tuple[Number, ...] | None = None
    low: float | None = None
    high: float | None = None

    def tolist(self) -> Any:
        """The content as nested lists, as `torch.Tensor.tolist` gives it; `ValueError` when it was not kept."""
        if self.data is None:
            raise ValueError(
                f"only the range of this {'×'.join(map(str, self.shape))} tensor was kept, not its content"
            )
        flat: list[Any] = list(self.data)
        if not self.shape:
            return flat[0]
        for size in reversed(self.shape[1:]):
            flat = [flat[i : i + size] for i in range(0, len(flat), size)] if size else []
        return flat

    def item(self) -> Number:
        """The content of a one-element value, as `torch.Tensor.item` gives it; `ValueError` for any other."""
        if self.data is None or len(self.data) != 1:
            raise ValueError(
                f"only a value with one element has an item; this one has the shape {self.shape}"
            )
        return self.data[0]


def total(parts: Sequence[Value]) -> Value:
    """The sum of several values of one shape; only its shape where a part's content was not kept.

    >>> total([Value((2,), "float32", (1.0, 5.0)), Value((2,), "float32", (2.0, 0.5))]).tolist()
    [3.0, 5.5]
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if any(part.data is None or part.shape != first.shape for part in parts):
        return Value(first.shape, first.dtype)
    data = tuple(sum(numbers) for numbers in zip(*(part.data or () for part in parts), strict=True))
    if not data or any(isinstance(number, complex) for number in data):
        return Value(first.shape, first.dtype, data)
    return Value(first.shape, first.dtype, data, float(min(data)), float(max(data)))


@dataclass(frozen=True, slots=True)
class Tensor:
    """One version of one tensor: an in-place change makes a new `Tensor` of the same name.

    `kind` is `parameter`, `leaf` (asks for a gradient), `constant` (asks for none) or `result`. `op` is the
    operation that made it (None: it was there before), `node` its `grad_fn`, or for a leaf its `AccumulateGrad`;
    `output_nr` says which output of that node it is. `origin` is the first version of a leaf changed in place.
    `block` is the repeated block that a leaf is made anew for, of which it then stands for all `times`.
    """

    index: int
    name: str | None
    kind: str
    value: Value
    op: int | None = None
    node: int | None = None
    output_nr: int = 0
    origin: int | None = None
    times: int = 1
    block: int | None = None

    @property
    def requires_grad(self) -> bool:
        """Whether autograd follows this tensor."""
        return self.node is not None


@dataclass(frozen=True, slots=True)
class Op:
    """One forward operation. `line` and `code` are the source line that ran it, `scope` the module path.

    `inputs` and `outputs` are indices into `Trace.tensors`; `stack` the lines of the learner's code that led
    here, innermost first, as (index into `Trace.sources`, line). `args` is the call as written: indices for
    tensors, text for everything else. An `opaque` operation was not seen, only found; a `factory` makes a leaf.
    `call` is the innermost module call that it ran in, an index into `Trace.calls`.

    In a folded trace an operation stands for `holds` operations that ran `times` times: `holds * times` in all.
    `module` is then the class of the module that it is, `parameters` how many leaves with a gradient lie in it
    each time; `block` the repeated block that it is shown in.
    """

    index: int
    name: str
    line: int | None
    code: str
    scope: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    inplace: bool = False
    grad_enabled: bool = True
    opaque: bool = False
    factory: bool = False
    stack: tuple[tuple[int, int], ...] = ()
    args: tuple[int | str, ...] = ()
    call: int | None = None
    holds: int = 1
    times: int = 1
    module: str = ""
    parameters: int = 0
    block: int | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """A tensor that a node keeps for its backward: its attribute name, its storage and that storage's bytes.

    `tensor` is its index in `Trace.tensors` when the run has seen it, `storage` an ordinal that two saved
    tensors share when they share memory.
    """

    name: str
    storage: int
    nbytes: int
    tensor: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One backward function, `name` as PyTorch's `grad_fn.name()` gives it.

    `op` is the operation that made it (None: an `AccumulateGrad`, or older than the recording), `order` its
    place in the last backward run that reached it (None: not reached), `grad` what arrived at its first output
    in that run, `leaf` the tensor that an `AccumulateGrad` fills.

    In a folded trace it stands for `holds * times` nodes (those of leaves not counted) and for `edges` edges
    between them; `saved` is then what all of them keep, each storage once.
    """

    index: int
    name: str
    op: int | None = None
    order: int | None = None
    grad: Value | None = None
    leaf: int | None = None
    saved: tuple[Saved, ...] = ()
    holds: int = 1
    times: int = 1
    edges: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """One entry of `source`'s `next_functions`: gradients flow from `source` to input `input_nr` of `target`.

    `slot` is the entry's place in `next_functions`, `grad` what flowed in the last backward run, if any did.

    In a folded trace it stands for `times` edges of a repeated block; `grad` is the sum of theirs where `summed` says
    so, else that of the repetition shown. `again` marks an edge whose gradient arrives at another repetition than the
    one that is shown: it is no part of the gradient that is shown there.
    """

    index: int
    source: int
    target: int
    input_nr: int
    slot: int
    grad: Value | None = None
    times: int = 1
    again: bool = False
    summed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: an operation ran (`forward`) or a node ran (`backward`).

    Backward only: `received` holds what arrived at each output of the node (its `grad_outputs`), `passed` pairs of
    edge index and gradient, `before` and `after` a leaf's `.grad` around its accumulation, `run` the number of the
    backward run, `freed` whether the node let go of its saved tensors.

    `kept` is what the graph kept alive after it, in bytes, in a folded trace, from which it cannot be counted.
    """

    index: int
    phase: str
    op: int | None = None
    node: int | None = None
    stack: tuple[tuple[int, int], ...] = ()
    received: tuple[Value | None, ...] = ()
    passed: tuple[tuple[int, Value], ...] = ()
    before: Value | None = None
    after: Value | None = None
    run: int = 0
    freed: bool = False
    kept: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module: its path and class, and the call inside which it was made."""

    index: int
    path: str
    kind: str
    outer: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Operations that ran `times` times in a row (within each time of `outer`) and are shown once.

    Values are those of the last time; gradients those of the last time that one arrived. `label` names the modules
    where every time had its own: `layers.0 … layers.11`. `call` is the innermost module call around all of them.
    """

    index: int
    times: int
    label: str = ""
    outer: int | None = None
    call: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A piece of the learner's code: the body of the recorded block, or a function that it called."""

    title: str
    first: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """A whole run as data. `root` is the index of the tensor that `draw` started from, if that made it."""

    tensors: tuple[Tensor, ...] = ()
    ops: tuple[Op, ...] = ()
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    steps: tuple[Step, ...] = ()
    sources: tuple[Source, ...] = ()
    calls: tuple[Call, ...] = ()
    blocks: tuple[Block, ...] = ()
    root: int | None = None
    error: str | None = None
    _nodes_by_op: dict[int | None, list[int]] = field(init=False, repr=False, compare=False)
    _edges_by_source: dict[int, list[Edge]] = field(init=False, repr=False, compare=False)
    _step_by_op: dict[int | None, Step] = field(init=False, repr=False, compare=False)
    _arrivals: dict[int, list[tuple[Step, Edge, Value]]] = field(
        init=False, repr=False, compare=False
    )
    _counts: dict[str, int] = field(init=False, repr=False, compare=False)
    _places: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        nodes: dict[int | None, list[int]] = {}
        for node in self.nodes:
            nodes.setdefault(node.op, []).append(node.index)
        edges: dict[int, list[Edge]] = {}
        for edge in self.edges:
            edges.setdefault(edge.source, []).append(edge)
        arrivals: dict[int, list[tuple[Step, Edge, Value]]] = {}
        counts: dict[str, int] = {}
        places: list[int] = []
        for step in self.steps:
            counts[step.phase] = counts.get(step.phase, 0) + 1
            places.append(counts[step.phase])
            for index, value in step.passed:
                edge = self.edges[index]
                if not edge.again:
                    arrivals.setdefault(edge.target, []).append((step, edge, value))
        object.__setattr__(self, "_arrivals", arrivals)
        object.__setattr__(self, "_counts", counts)
        object.__setattr__(self, "_places", places)
        object.__setattr__(self, "_nodes_by_op", nodes)
        object.__setattr__(self, "_edges_by_source", edges)
        object.__setattr__(self, "_step_by_op", {step.op: step for step in self.steps})

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """The tensors that no recorded operation computed, first versions only."""
        return tuple(t for t in self.tensors if t.kind != "result" and t.origin is None)

    def nodes_of(self, op: int) -> tuple[int, ...]:
        """The indices of the backward nodes that an operation made; empty when it made none."""
        return tuple(self._nodes_by_op.get(op, ()))

    def step_of(self, op: int) -> Step:
        """The step in which an operation ran."""
        return self._step_by_op[op]

    def place_of(self, step: Step) -> int:
        """Which step of its phase it is, counted from 1."""
        return self._places[step.index]

    def count(self, phase: str) -> int:
        """How many steps a phase has."""
        return self._counts.get(phase, 0)

    def arrivals_at(self, node: int) -> list[tuple[Step, Edge, Value]]:
        """Every gradient that travelled to a node: the step, the edge and the gradient, in the order of the run."""
        return self._arrivals.get(node, [])

    def main_node(self, op: int) -> int | None:
        """The node that is the `grad_fn` of an operation's first differentiable output; None without one."""
        made = set(self.nodes_of(op))
        for index in self.ops[op].outputs:
            node = self.tensors[index].node
            if node in made:
                return node
        return min(made, default=None)

    def edges_of(self, nodes: Iterable[int]) -> list[Edge]:
        """The edges that leave any of these nodes, in order."""
        return [edge for node in nodes for edge in self._edges_by_source.get(node, ())]

    def json(self) -> str:
        """The trace as JSON: keys in a fixed order, complex numbers as `[real, imaginary]`."""
        parts = {
            name: [asdict(part) for part in getattr(self, name)]
            for name in ("tensors", "ops", "nodes", "edges", "steps", "sources", "calls", "blocks")
        }
        return json.dumps({**parts, "root": self.root, "error": self.error}, default=_plain)


def _plain(number: complex) -> list[float]:
    return [number.real, number.imag]
