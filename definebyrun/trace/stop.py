"""Where a run stopped: the record of the call that raised, and of what is known of the reason."""

from __future__ import annotations

from dataclasses import KW_ONLY

from .frozen import Record, frozen
from .records import Side, Stack
from .value import Value

__all__ = ["Stop"]


@frozen
class Stop(Record):
    """The call that raised, after which the run did nothing more; a run that went to its end has none.

    `error` is the exception as `type: message`. `name` is what raised: a torch function, the path of a module, or
    nothing, where it was a line of the program. `inputs` are the tensors that it was given; `args`, `line`, `code`,
    `stack` and `call` are those of `Op`.

    In a backward pass: `node` is the node that was to run, as far as that is known, and `received` what had arrived at
    its outputs. `saved` is the name of the tensor that it had saved and `changed_by` the operation that changed that.
    """

    error: str
    name: str = ""
    _: KW_ONLY
    line: int | None = None
    code: str = ""
    stack: Stack = ()
    inputs: tuple[int, ...] = ()
    args: tuple[int | str, ...] = ()
    call: int | None = None
    node: int | None = None
    received: tuple[Value | None, ...] = ()
    saved: str = ""
    changed_by: int | None = None
    side: Side = ""
    other: Stop | None = None
