"""The data of a recorded run, frozen and free of torch: what every other room takes and gives.

A `Trace` lists tensors, forward operations, backward nodes, the edges between them and the steps in the order
in which they ran. Everything refers to everything else by index, so a trace can be compared, saved and read.

Two traces compared are one trace with two names in `sides`. There `side` says of a tensor, operation, node, edge,
block or step which run it belongs to, "A" or "B"; it is empty for what both runs did, and then `other` is the same part
as B had it, where that differs from A.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from . import serialize
from .frozen import frozen
from .steps import shown_from
from .validate import validate
from .value import Value

__all__ = [
    "Block",
    "Edge",
    "Grad",
    "ModuleCall",
    "Node",
    "Op",
    "Saved",
    "Source",
    "Step",
    "TensorVersion",
    "Trace",
    "cached",
]

FORMAT, VERSION = "definebyrun trace", 3
"""What a saved trace calls itself; the version goes up when older readers would misread a file."""


@frozen
class TensorVersion:
    """One version of one tensor: an in-place change makes a new `Tensor` of the same name.

    `kind` is `parameter`, `leaf` (asks for a gradient), `constant` (asks for none) or `result`. `op` is the
    operation that made it (None: it was there before), `node` its `grad_fn`, or for a leaf its `AccumulateGrad`;
    `output_nr` says which output of that node it is. `origin` is the first version of a leaf changed in place.
    `since` counts the steps before it was there, for a leaf's `.grad` that the run reads.
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
    since: int = 0
    times: int = 1
    block: int | None = None
    side: str = ""
    other: TensorVersion | None = None

    @property
    def requires_grad(self) -> bool:
        """Whether autograd follows this tensor."""
        return self.node is not None


@frozen
class Op:
    """One forward operation. `line` and `code` are the source line that ran it, `scope` the module path.

    `inputs` and `outputs` are indices into `Trace.tensors`; `stack` the lines of the learner's code that led
    here, innermost first, as (index into `Trace.sources`, line). `args` is the call as written: indices for
    tensors, text for everything else. An `opaque` operation was not seen, only found; a `factory` makes a leaf.
    `during` is `backward` for an operation of a hook or a custom backward, `recompute` for one of a checkpoint that
    is computed again, and empty otherwise; `within` is the node that was running then.
    `call` is the innermost module call that it ran in, an index into `Trace.calls`.
    `generation` is 2 or more, and `run` the number of that backward run, when a backward pass that is recorded itself
    (`create_graph=True`) ran the operation; see `Node`.

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
    within: int | None = None
    during: str = ""
    call: int | None = None
    holds: int = 1
    times: int = 1
    module: str = ""
    parameters: int = 0
    block: int | None = None
    side: str = ""
    other: Op | None = None
    generation: int = 1
    run: int | None = None


@frozen
class Saved:
    """A tensor that a node keeps for its backward: its attribute name, its storage and that storage's bytes.

    `tensor` is its index in `Trace.tensors` when the run has seen it, `storage` an ordinal that two saved
    tensors share when they share memory.
    """

    name: str
    storage: int
    nbytes: int
    tensor: int | None = None


@frozen
class Node:
    """One backward function, `name` as PyTorch's `grad_fn.name()` gives it.

    `op` is the operation that made it (None: an `AccumulateGrad`, or older than the recording), `order` its
    place in the last backward run that reached it (None: not reached), `grad` what arrived at its first output
    in that run, `leaf` the tensor that an `AccumulateGrad` fills.

    `generation` is 1 for a node that the forward made. A backward pass with `create_graph=True` makes nodes too: theirs
    is one more than the highest of the nodes that ran in that pass, `run` is that pass (as in `Step.run`), and `within`
    the node that was running; None where gradients met, which PyTorch adds between two nodes. No call in Python made
    these nodes, but for those of operations that have a `generation` themselves. `made` is the step that made them, and
    `value` the tensor that hangs from them: its numbers where it was at hand, else its shape. `op` is then the call of
    `grad` that ran the pass, None for `backward`.

    `until` is of a node that a checkpoint's recomputation made: the step that ran the node for which that was, after
    which nothing of what it saved is kept.

    In a folded trace it stands for `holds * times` nodes (those of leaves not counted) and for `edges` edges
    between them; `saved` is then what all of them keep, each storage once; `block` the repeated block
    of a node that has no operation.
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
    side: str = ""
    other: Node | None = None
    generation: int = 1
    run: int | None = None
    within: int | None = None
    made: int | None = None
    value: Value | None = None
    block: int | None = None
    until: int | None = None


@frozen
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
    side: str = ""
    other: Edge | None = None


@frozen
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
    side: str = ""
    other: Step | None = None
    kept: int | None = None


@frozen
class ModuleCall:
    """One call of a module: its path and class, and the call inside which it was made."""

    index: int
    path: str
    kind: str
    outer: int | None = None


@frozen
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
    side: str = ""
    other: Block | None = None


@frozen
class Grad:
    """What a leaf's `.grad` held from a step on, when something else than its node put it there.

    `tensor` is the leaf (its first version), `since` the first step, counted from 1, that came after: 0 for what was
    there before the recording, one more than there are steps for what came last. `value` is None for no gradient.
    """

    tensor: int
    since: int
    value: Value | None = None
    side: str = ""


@frozen
class Source:
    """A piece of the learner's code: the body of the recorded block, or a function that it called."""

    title: str
    first: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """A whole run as data. `root` is the index of the tensor that `draw` started from, if that made it.

    `sides` are the names of the two runs that a comparison is made of, else it is empty.
    """

    tensors: tuple[TensorVersion, ...] = ()
    ops: tuple[Op, ...] = ()
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    steps: tuple[Step, ...] = ()
    sources: tuple[Source, ...] = ()
    grads: tuple[Grad, ...] = ()
    calls: tuple[ModuleCall, ...] = ()
    blocks: tuple[Block, ...] = ()
    root: int | None = None
    error: str | None = None
    sides: tuple[str, ...] = ()

    # What follows from the data is worked out when somebody asks for it: a recording that is not looked at costs less.

    @cached_property
    def _nodes_by_op(self) -> dict[int | None, list[int]]:
        nodes: dict[int | None, list[int]] = {}
        for node in self.nodes:
            nodes.setdefault(node.op, []).append(node.index)
        return nodes

    @cached_property
    def _nodes_by_step(self) -> dict[int, list[int]]:
        nodes: dict[int, list[int]] = {}
        for node in self.nodes:
            if node.made is not None:
                nodes.setdefault(node.made, []).append(node.index)
        return nodes

    @cached_property
    def _edges_by_source(self) -> dict[int, list[Edge]]:
        edges: dict[int, list[Edge]] = {}
        for edge in self.edges:
            edges.setdefault(edge.source, []).append(edge)
        return edges

    @cached_property
    def _arrivals(self) -> dict[int, list[tuple[Step, Edge, Value]]]:
        arrivals: dict[int, list[tuple[Step, Edge, Value]]] = {}
        for step in self.steps:
            for index, value in step.passed:
                edge = self.edges[index]
                if not edge.again:
                    arrivals.setdefault(edge.target, []).append((step, edge, value))
        return arrivals

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(step.phase for step in self.steps)

    @cached_property
    def _places(self) -> dict[int, int]:
        counts: Counter[str] = Counter()
        places: dict[int, int] = {}
        for step in self.steps:
            counts[step.phase] += 1
            places[step.index] = counts[step.phase]
        return places

    @cached_property
    def _step_by_op(self) -> dict[int | None, Step]:
        return {step.op: step for step in self.steps}

    @cached_property
    def _later_by_leaf(self) -> dict[int, list[TensorVersion]]:
        later: dict[int, list[TensorVersion]] = {}
        for tensor in self.tensors:
            if tensor.origin is not None:
                later.setdefault(tensor.origin, []).append(tensor)
        return later

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def _grads_by_leaf(self) -> dict[int, list[tuple[int, Value | None]]]:
        leaf_of = {n.index: self.first_version(n.leaf) for n in self.nodes if n.leaf is not None}
        changes = [(change.since, change.tensor, change.value) for change in self.grads]
        for step in self.steps:
            if step.node in leaf_of:
                changes.append((shown_from(step.index), leaf_of[step.node], step.after))
        found: dict[int, list[tuple[int, Value | None]]] = {}
        for since, leaf, value in sorted(changes, key=lambda change: change[0]):
            found.setdefault(leaf, []).append((since, value))
        return found

    def first_version(self, tensor: int) -> int:
        """The index of a leaf's first version."""
        origin = self.tensors[tensor].origin
        return tensor if origin is None else origin

    def leaf_versions(self, leaf: int) -> tuple[TensorVersion, ...]:
        """A leaf's versions, given the index of the first: itself, and what in-place changes have made of it."""
        return (self.tensors[leaf], *self._later_by_leaf.get(leaf, ()))

    def grad_history(self, leaf: int) -> list[tuple[int, Value | None]]:
        """What a leaf's `.grad` held, as pairs: the step from which (0: from the start), the value or None."""
        return self._grads_by_leaf.get(leaf, [])

    @property
    def leaves(self) -> tuple[TensorVersion, ...]:
        """The tensors that no recorded operation computed, first versions only."""
        return tuple(t for t in self.tensors if t.kind != "result" and t.origin is None)

    def nodes_of(self, op: int) -> tuple[int, ...]:
        """The indices of the backward nodes that an operation made; empty when it made none."""
        return tuple(self._nodes_by_op.get(op, ()))

    def nodes_made_in(self, step: int) -> tuple[int, ...]:
        """The indices of the nodes that no call made, but a backward pass, in the step of this index."""
        return tuple(self._nodes_by_step.get(step, ()))

    def step_of(self, op: int) -> Step:
        """The step in which an operation ran."""
        return self._step_by_op[op]

    def ordinal_of(self, step: Step) -> int:
        """Which step of its phase it is, counted from 1."""
        return self._places[step.index]

    def count_steps(self, phase: str) -> int:
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
        """The trace as JSON: keys in a fixed order, first the format and its version.

        It is strict JSON: `nan`, `inf` and `-inf` are strings, a complex number is `[real, imaginary]`.
        """
        return serialize.dump(FORMAT, VERSION, self)

    @classmethod
    def from_json(cls, text: str) -> Trace:
        """The trace that `json` wrote, equal to it in every part; `ValueError` for any other text.

        >>> trace = Trace(tensors=(TensorVersion(0, "x", "constant", Value((1,), "float32", (float("inf"),))),))
        >>> Trace.from_json(trace.json()) == trace
        True
        """
        trace = serialize.load(FORMAT, VERSION, cls, text)
        validate(trace)
        return trace


def cached(trace: Trace, work: Callable[[Trace], Any]) -> Any:
    """What `work` makes of a trace, worked out once and kept beside it: a trace never changes."""
    kept = trace.__dict__.setdefault("_beside", {})
    if work not in kept:
        kept[work] = work(trace)
    return kept[work]
