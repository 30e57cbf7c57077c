"""What a recording enters for an operation before it is known what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..trace import Op

__all__ = ["FunctionForward", "Stack", "draft_op"]

Stack = tuple[tuple[int, int], ...]


def draft_op(
    name: str, inputs: tuple[int, ...], stack: Stack = (), args: tuple[int | str, ...] = ()
) -> Any:
    """A draft of an `Op`, to be numbered, completed and sealed by the ledger.

    It holds tuples of numbers, not lists: the garbage collector lets go of them, and goes through what it keeps often.
    """
    return Op.draft(
        -1,
        name,
        line=None,
        code="",
        scope="",
        inputs=inputs,
        outputs=(),
        stack=stack,
        args=args,
    )


@dataclass(slots=True)
class FunctionForward:
    """The forward of a custom `Function`, seen from inside; its result is still to be found."""

    call: int
    name: str
    inputs: list[int]
    stack: Stack
