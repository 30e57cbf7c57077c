"""Operations, nodes and versions of tensors while a run is being recorded; each gives its frozen form of `trace`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .frozen import altered
from .source import Sources
from .trace import Node, Op, Saved, Tensor
from .values import Value

__all__ = ["Entry", "Forward", "Live", "Stack", "Version"]

Stack = tuple[tuple[int, int], ...]
Born = dict[int | None, int]
"""By backward run that was recorded itself: the generation of what it made."""


@dataclass(slots=True)
class Entry:
    """An operation.

    Tuples of numbers, not lists: the garbage collector lets go of them, and goes through what it keeps many times.
    """

    name: str
    inputs: tuple[int, ...]
    stack: Stack = ()
    scope: str = ""
    call: int | None = None
    outputs: tuple[int, ...] = ()
    inplace: bool = False
    grad_enabled: bool = True
    opaque: bool = False
    factory: bool = False
    args: tuple[int | str, ...] = ()
    within: int | None = None
    during: str = ""
    run: int | None = None

    def frozen(self, index: int, sources: Sources, born: Born) -> Op:
        """The operation as part of a trace."""
        place = self.stack[0] if self.stack else None
        return Op(
            index=index,
            name=self.name,
            line=None if place is None else place[1],
            code=sources.text(place),
            scope=self.scope,
            inputs=self.inputs,
            outputs=self.outputs,
            inplace=self.inplace,
            grad_enabled=self.grad_enabled,
            opaque=self.opaque,
            factory=self.factory,
            stack=self.stack,
            args=self.args or self.inputs,
            within=self.within,
            during=self.during,
            call=self.call,
            generation=born.get(self.run, 1),
            run=self.run,
        )


@dataclass(slots=True)
class Forward:
    """The forward of a custom `Function`, seen from inside; its result is still to be found."""

    call: int
    name: str
    inputs: list[int]
    stack: Stack


@dataclass(slots=True)
class Live:
    """A node."""

    name: str
    op: int | None
    leaf: int | None = None
    order: int | None = None
    grad: Value | None = None
    saved: tuple[tuple[str, int, int, int | None], ...] = ()  # what `Saved` will hold
    run: int | None = None
    within: int | None = None
    made: int | None = None
    value: Value | None = None
    until: int | None = None

    def frozen(self, index: int, op: Entry | None, born: Born) -> Node:
        """The node as part of a trace; `op` is the operation that it belongs to."""
        saved = tuple([Saved(*kept) for kept in self.saved])
        plain = Node(index, self.name, self.op, self.order, self.grad, self.leaf, saved)
        if self.until is not None:
            plain = altered(plain, until=self.until)
        if not born or self.leaf is not None:
            return plain
        run, within = self.run, self.within
        if run is None and op is not None:
            run, within = op.run, op.within
        return altered(
            plain,
            generation=born.get(run, 1),
            run=run,
            within=within if run is not None else None,
            made=self.made,
            value=self.value,
        )


@dataclass(slots=True)
class Version:
    """A version of a tensor."""

    object: torch.Tensor
    kind: str
    value: Value
    op: int | None
    node: int | None
    output_nr: int
    origin: int | None
    since: int
    used: bool = False

    def frozen(self, index: int, name: str | None) -> Tensor:
        """The version as part of a trace."""
        return Tensor(
            index,
            name,
            self.kind,
            self.value,
            self.op,
            self.node,
            self.output_nr,
            self.origin,
            self.since,
        )
