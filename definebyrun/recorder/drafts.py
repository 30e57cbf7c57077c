"""The records of a run while it is recorded: open for changes, numbered as they come, sealed when the recording ends.

`draft` of a record makes an object with the same slots that is not frozen yet. A type checker sees the classes
below instead: they name the fields that a recording fills, as `trace` declares them (a test holds the two equal), and
leave out those of folded traces and of comparisons.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from ..trace import Node, Op, Saved, Stack, Step, TensorVersion
from ..trace.records import During, Phase, TensorKind
from ..trace.value import Value

__all__ = ["FunctionForward", "NodeDraft", "OpDraft", "Stack", "StepDraft", "TensorDraft"]

if TYPE_CHECKING:

    @dataclass
    class TensorDraft:
        """A `TensorVersion`: its name is known at the end, its node may be found later than it."""

        index: int
        name: str | None
        kind: TensorKind
        value: Value
        _: KW_ONLY
        op: int | None = None
        node: int | None = None
        output_nr: int = 0
        origin: int | None = None
        since: int = 0
        owners: tuple[int, ...] = ()

    @dataclass
    class OpDraft:
        """An `Op`: drafted before the call, numbered and completed when it has returned something.

        It holds tuples of numbers, not lists: the garbage collector stops tracking those.
        """

        index: int
        name: str
        _: KW_ONLY
        line: int | None
        code: str
        scope: str
        inputs: tuple[int, ...]
        outputs: tuple[int, ...]
        inplace: bool = False
        grad_enabled: bool = True
        opaque: bool = False
        factory: bool = False
        stack: Stack = ()
        args: tuple[int | str, ...] = ()
        within: int | None = None
        during: During = ""
        call: int | None = None
        generation: int = 1
        pass_nr: int | None = None
        beside: int = 0
        named: tuple[tuple[int, str], ...] = ()

    @dataclass
    class NodeDraft:
        """A `Node`: what it saves, what it has received and when it ran become known one after the other."""

        index: int
        name: str
        _: KW_ONLY
        op: int | None = None
        order: int | None = None
        grad: Value | None = None
        leaf: int | None = None
        saved: tuple[Saved, ...] = ()
        generation: int = 1
        pass_nr: int | None = None
        within: int | None = None
        made: int | None = None
        value: Value | None = None
        until: int | None = None
        slots: int = 0

    @dataclass
    class StepDraft:
        """A `Step`, which is whole from the start."""

        index: int
        phase: Phase
        _: KW_ONLY
        op: int | None = None
        node: int | None = None
        stack: Stack = ()
        received: tuple[Value | None, ...] = ()
        passed: tuple[tuple[int, Value], ...] = ()
        before: Value | None = None
        after: Value | None = None
        pass_nr: int = 0
        freed: bool = False
        given: tuple[int, ...] = ()
        arrived: tuple[int, ...] = ()
        returned: tuple[int, ...] = ()

else:
    TensorDraft, OpDraft = TensorVersion.draft, Op.draft
    NodeDraft, StepDraft = Node.draft, Step.draft


@dataclass(slots=True)
class FunctionForward:
    """The forward of a custom `Function` that was seen from inside; its result is still to be found."""

    call: int
    name: str
    inputs: list[int]
    stack: Stack
