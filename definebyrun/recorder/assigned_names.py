"""The frame of a call goes in, the names of the variables that its result is about to be assigned to come out.

After `logits = torch.tanh(h); return logits` no frame holds the name `logits` any more when the next operation runs.
The instruction behind the call has it.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any
from weakref import ref

import torch

from .user_frames import calling_frame, is_library

__all__ = ["AssignedNames", "assignment_targets"]

Targets = str | tuple[str, ...]
RETURNED = "return"
"""Instead of a variable: the function returns the result. No variable can have this name, nor the next."""
PASSED_ON = "pass"
"""Instead of a variable: the call came from here, but it is the call of another frame that PyTorch passes on."""
# fmt: off
RESULTS = frozenset((
    "CALL", "PRECALL", "CALL_KW", "CALL_FUNCTION_EX", "BINARY_OP", "BINARY_SUBSCR", "BINARY_SLICE", "COMPARE_OP",
    "UNARY_NEGATIVE", "UNARY_INVERT", "LOAD_ATTR",
))
"""Instructions whose result is that of the code that they run. An unpacking is none: `a, b = map(torch.exp, xs)`."""
CALLING_BACK = frozenset((
    "sum", "max", "min", "next", "map", "filter", "zip", "sorted", "list", "tuple", "set", "dict", "any", "all",
))
# fmt: on


class AssignedNames:
    """Remembers by tensor the variable that it was assigned to last, and keeps no tensor alive."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[ref[torch.Tensor], str]] = {}  # by id of a tensor
        # by id of a code and instruction: the code, so that its id stays its own, and the variables
        self._targets: dict[tuple[int, int], tuple[CodeType, Targets]] = {}

    def note(self, frame: FrameType, output: Any) -> None:
        """A call from this frame gives this result. At every operation, so it is quick."""
        code = frame.f_code
        known = self._targets.get((id(code), frame.f_lasti))
        targets = self._read(frame) if known is None else known[1]
        if targets is RETURNED or targets is PASSED_ON:
            targets = self._follow(frame)
        if not targets:
            return
        if type(targets) is str:
            if issubclass(type(output), torch.Tensor):
                self._names[id(output)] = ref(output), targets
        elif issubclass(type(output), tuple) or type(output) is list:
            for part, name in zip(output, targets, strict=False):
                if issubclass(type(part), torch.Tensor):
                    self._names[id(part)] = ref(part), name

    def of(self, tensor: torch.Tensor) -> str | None:
        """The variable that a tensor was assigned to last."""
        found = self._names.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def left(self, key: int) -> str | None:
        """The variable of a tensor that has just gone, by the `id` that it had."""
        found = self._names.get(key)
        return None if found is None else found[1]

    def forget(self, key: int) -> None:
        """An `id` is a new tensor's: what is known by it, if anything, was that of another one."""
        found = self._names.get(key)
        if found is not None and found[0]() is None:
            del self._names[key]

    def _follow(self, frame: FrameType) -> Targets:
        """The variables to which a result is assigned where the functions that return it at once have been called."""
        caller: FrameType | None = frame
        while caller is not None:
            known = self._targets.get((id(caller.f_code), caller.f_lasti))
            targets = self._read(caller) if known is None else known[1]
            if targets is PASSED_ON:
                caller = calling_frame(caller)
            elif targets is RETURNED:
                caller = caller.f_back
            else:
                return targets
        return ()

    def _read(self, frame: FrameType) -> Targets:
        """The variables of an instruction, if that is in the user's code."""
        code, at = frame.f_code, frame.f_lasti
        if calling_frame(frame) is not frame:
            targets: Targets = PASSED_ON
        else:
            targets = () if is_library(code.co_filename) else assignment_targets(code, at)
        self._targets[id(code), at] = code, targets
        return targets


def assignment_targets(code: CodeType, at: int) -> Targets:
    """The variable to which the result of the instruction at an offset is assigned; a tuple where it is unpacked.

    The tuple is empty where the result goes into an attribute, a list or a further computation, and where it need not
    be the result: `total = sum(tensors)` adds several times.

    >>> def f(x):
    ...     low, high = x.aminmax()
    ...     total = -(low + high)
    ...     return total * 2
    >>> calls = [each for each in dis.get_instructions(f) if each.opname in ("CALL", "BINARY_OP", "UNARY_NEGATIVE")]
    >>> [assignment_targets(f.__code__, call.offset) for call in calls]
    [('low', 'high'), (), 'total', 'return']
    """
    while dis.opname[code.co_code[at]] == "CACHE":  # Python 3.11: at the end of an instruction
        at -= 2
    following = _instructions(code, at)
    now, _ = next(following)
    if now not in RESULTS or _may_call_back(code, at):
        return ()
    name, argument = next(following, ("", 0))
    while name == "COPY" or (name == "CALL" and now == "PRECALL"):  # `a = b = f(x)`; Python 3.11
        now, (name, argument) = name, next(following, ("", 0))
    if name == "RETURN_VALUE":
        return RETURNED
    if name != "UNPACK_SEQUENCE":
        stored = _stored(code, name, argument)
        return stored[0] if stored else ()
    found: tuple[str, ...] = ()
    for name, inner in following:
        stored = _stored(code, name, inner)
        found += stored
        if not stored or len(found) >= argument:
            break
    return found[:argument] if len(found) >= argument else ()


def _instructions(code: CodeType, start: int) -> Iterator[tuple[str, int]]:
    """The instructions from an offset on. `dis` would read the whole code, which is slow where it is long."""
    units, high = code.co_code, 0
    for at in range(start, len(units), 2):
        name, argument = dis.opname[units[at]], units[at + 1] | high
        high = argument << 8 if name == "EXTENDED_ARG" else 0
        if name not in ("EXTENDED_ARG", "CACHE"):
            yield name, argument


def _may_call_back(code: CodeType, at: int) -> bool:
    """Whether the statement up to an offset names a function of Python's that calls others and keeps what they give."""
    units = code.co_code
    for unit in range(at, -1, -2):
        name, argument = dis.opname[units[unit]], units[unit + 1]
        if name.startswith("STORE_") or name in ("POP_TOP", "RESUME"):
            break
        if unit and dis.opname[units[unit - 2]] == "EXTENDED_ARG":
            argument |= units[unit - 1] << 8
        if name == "LOAD_GLOBAL":
            argument >>= 1
        if name in ("LOAD_GLOBAL", "LOAD_NAME") and code.co_names[argument] in CALLING_BACK:
            return True
    return "reduce" in code.co_names


def _stored(code: CodeType, name: str, argument: int) -> tuple[str, ...]:
    """The variables that an instruction assigns to, the first first."""
    local = code.co_varnames
    if name == "STORE_FAST":
        return (local[argument],)
    if name == "STORE_FAST_STORE_FAST":  # these two are new in Python 3.13
        return local[argument >> 4], local[argument & 15]
    if name == "STORE_FAST_LOAD_FAST":
        return (local[argument >> 4],)
    if name in ("STORE_NAME", "STORE_GLOBAL"):
        return (code.co_names[argument],)
    if name == "STORE_DEREF":
        cells = [cell for cell in code.co_cellvars if cell not in local]
        return ((*local, *cells, *code.co_freevars)[argument],)
    return ()
