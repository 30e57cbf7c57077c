"""A `Trace`: the records of a run in lists, and what follows from them by looking them up.

It lists tensors, forward operations, backward nodes, the edges between them and the steps in the order in which they
ran. Every record refers to others by index, so a trace can be compared, saved and read. How its JSON grows from version
to version is said in `serialize.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, TypeVar

from . import serialize
from .consistency import check_consistency
from .records import (
    SKIPPABLE,
    Block,
    Edge,
    Grad,
    ModuleCall,
    Node,
    Op,
    Source,
    Step,
    TensorVersion,
)
from .references import LISTS
from .steps import shown_from
from .stop import Stop
from .validate import validate
from .value import Value

__all__ = ["Trace", "cached"]

T = TypeVar("T")
FORMAT, VERSION = "definebyrun trace", 3
"""What a saved trace calls itself; the version goes up when older readers would misread a file."""


@dataclass(frozen=True)
class Trace:
    """A whole run as data. `root` is the index of the tensor that `draw` started from; None for a recorded run.

    `error` is the exception that ended the run, as `type: message`; `stops` holds the call that raised last, if the run
    did nothing more after it: that one, or one whose exception the program has caught. Two traces compared are one
    trace, and `sides` are the names of the two runs; it is empty for a single run.
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
    stops: tuple[Stop, ...] = field(default=(), metadata=SKIPPABLE)

    # What follows from the data is computed when somebody asks for it: a recording that is not looked at costs less.

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
        """What a leaf's `.grad` held, as pairs: the step from which on (0: from the start), and the value or None."""
        return self._grads_by_leaf.get(leaf, [])

    @property
    def leaves(self) -> tuple[TensorVersion, ...]:
        """The tensors that no recorded operation computed, first versions only."""
        return tuple(t for t in self.tensors if t.kind != "result" and t.origin is None)

    def nodes_of(self, op: int) -> tuple[int, ...]:
        """The indices of the backward nodes that an operation made; empty when it made none."""
        return tuple(self._nodes_by_op.get(op, ()))

    def nodes_made_in(self, step: int) -> tuple[int, ...]:
        """The indices of the nodes that a recorded backward pass made in the step of this index, not a call."""
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
        """Every gradient that was passed to a node: the step, the edge and the gradient, in the order of the run."""
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
        """The trace that `json` wrote, equal to it in every part; `ValueError` in one sentence for any other text.

        >>> trace = Trace(tensors=(TensorVersion(0, "x", "constant", Value((1,), "float32", (float("inf"),))),))
        >>> Trace.from_json(trace.json()) == trace
        True
        """
        trace = serialize.load(FORMAT, VERSION, cls, text)
        lists = {name: getattr(trace, name) for name in LISTS}
        validate(lists, trace.root, trace.sides)
        check_consistency(lists, trace.root, trace.sides)
        return trace


def cached(trace: Trace, work: Callable[[Trace], T]) -> T:
    """What `work` makes of a trace, worked out once and kept beside it: a trace never changes.

    `work` is a function or a class at the top of a module: it is the key, so a lambda would be a new one every time.
    """
    results: dict[Callable[[Trace], Any], Any] = trace.__dict__.setdefault("_cached", {})
    if work not in results:
        results[work] = work(trace)
    result: T = results[work]
    return result
