"""Whether an answer is still the stub: dots, something that holds dots, or a function with an empty body."""

from __future__ import annotations

import dis
from types import CodeType
from typing import Any

__all__ = ["is_stub"]

IDLE_OPCODES = {
    "COPY_FREE_VARS",
    "LOAD_CONST",
    "LOAD_CONST_IMMORTAL",
    "NOP",
    "RESUME",
    "RETURN_CONST",
    "RETURN_VALUE",
}
MAX_DEPTH = 20


def is_stub(answer: Any, depth: int = 0) -> bool:
    """Whether an answer is still the stub.

    >>> is_stub(...), is_stub([1, ...]), is_stub(3)
    (True, True, False)
    >>> def empty(x): ...
    >>> is_stub(empty), is_stub(lambda x: x + 1)
    (True, False)
    """
    if answer is Ellipsis:
        return True
    if depth > MAX_DEPTH:  # a deep tree, or a list that holds itself
        return False
    if type(answer) in (list, tuple, set):
        return any(is_stub(part, depth + 1) for part in answer)
    if type(answer) is dict:
        return any(is_stub(part, depth + 1) for part in answer.values())
    if isinstance(answer, type):
        # a static method holds its function
        parts = [getattr(part, "__func__", part) for part in vars(answer).values()]
        own = [part for part in parts if isinstance(getattr(part, "__code__", None), CodeType)]
        return bool(own) and all(is_stub(part, depth + 1) for part in own)
    code = getattr(answer, "__code__", None)
    return isinstance(code, CodeType) and _is_idle(code)


def _is_idle(code: CodeType) -> bool:
    """Whether a function does nothing and returns None or the dots."""
    steps = list(dis.get_instructions(code))
    if not all(step.opname in IDLE_OPCODES for step in steps):
        return False
    constants = [
        step.argval for step in steps if step.opname.startswith(("LOAD_CONST", "RETURN_CONST"))
    ]
    return not constants or constants[-1] is None or constants[-1] is Ellipsis
