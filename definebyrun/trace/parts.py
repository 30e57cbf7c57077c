"""The parts of a trace as properties of what holds one: a `Tape` is a `TraceParts` that has pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .records import Block, Edge, Grad, ModuleCall, Node, Op, Source, Step, TensorVersion
from .stop import Stop
from .trace import Trace

__all__ = ["TraceParts"]


class TraceParts(ABC):
    """What has a trace, and so has each of its parts."""

    @property
    @abstractmethod
    def trace(self) -> Trace:
        """The data alone."""

    @property
    def tensors(self) -> tuple[TensorVersion, ...]:
        """Every version of every tensor; all other parts refer to these by index."""
        return self.trace.tensors

    @property
    def leaves(self) -> tuple[TensorVersion, ...]:
        """The tensors that no recorded operation computed, in their first version."""
        return self.trace.leaves

    @property
    def ops(self) -> tuple[Op, ...]:
        """The forward operations, in the order in which they ran."""
        return self.trace.ops

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The backward nodes: PyTorch's `grad_fn` objects, and an `AccumulateGrad` for each leaf."""
        return self.trace.nodes

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges of the backward graph: one for each entry of a node's `next_functions`."""
        return self.trace.edges

    @property
    def steps(self) -> tuple[Step, ...]:
        """What happened, in order: an operation ran, or a node ran. A graph of `draw` has none."""
        return self.trace.steps

    @property
    def grads(self) -> tuple[Grad, ...]:
        """What leaves held in `.grad`, where something else than their own node put it there."""
        return self.trace.grads

    @property
    def calls(self) -> tuple[ModuleCall, ...]:
        """The calls of modules, with the call around each."""
        return self.trace.calls

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Of a folded run: the repetitions that were rolled up."""
        return self.trace.blocks

    @property
    def sources(self) -> tuple[Source, ...]:
        """The pieces of code that ran."""
        return self.trace.sources

    @property
    def root(self) -> int | None:
        """The index of the tensor that `draw` started from, the first of several; None for a recorded run."""
        return self.trace.root

    @property
    def error(self) -> str | None:
        """The exception that ended the recording, as `type: message`; None when it ran to its end."""
        return self.trace.error

    @property
    def stops(self) -> tuple[Stop, ...]:
        """Where the run stopped: the call that raised, if nothing ran after it; of a comparison, of each run."""
        return self.trace.stops

    @property
    def sides(self) -> tuple[str, ...]:
        """The names of the two runs of a comparison; empty for a single run."""
        return self.trace.sides
