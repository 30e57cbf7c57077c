"""An optimizer's step goes in as it begins and as it ends; one operation comes out, however many calls it makes.

What a closure does that the optimizer calls (`optimizer.step(closure)`) is the user's code and recorded as such.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from threading import get_ident
from types import FrameType
from typing import Any

import torch

from ._torch import DisableTorchFunction, address_of, jit_tracer
from .call_site import CALL_SITE_NAME
from .call_stack import CallStack
from .drafts import OpDraft
from .ledger import Ledger
from .operations import Operations
from .silent_writes import silently_written
from .torch_calls import (
    changed_since,
    function_name,
    is_setter,
    storage_of,
    tensors_in,
    versions_of,
)
from .user_frames import is_library

__all__ = ["OptimizerSteps"]


class OptimizerSteps:
    """Enters the steps of optimizers; `begin` and `end` are PyTorch's global hooks around them."""

    def __init__(self, ledger: Ledger, stack: CallStack, operations: Operations) -> None:
        self._ledger, self._stack, self._operations = ledger, stack, operations
        self.running: _RunningStep | None = None
        self._thread = get_ident()

    def begin(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Before a step: draft its operation, which reads all parameters."""
        if get_ident() != self._thread or jit_tracer() is not None:
            return
        with DisableTorchFunction():
            stack = self._stack.read()
            given = [p for group in optimizer.param_groups for p in group["params"]]
            inputs = tuple(self._ledger.tensor(p) for p in given)
            name = f"{type(optimizer).__name__}.step"
            op = OpDraft(
                -1,
                name,
                line=None,
                code="",
                scope="",
                inputs=inputs,
                outputs=(),
                grad_enabled=False,
                stack=stack,
            )
            self.running = _RunningStep(optimizer, op, given, sys._getframe(1))

    def end(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """After a step: enter its operation, with the parameters that it has changed."""
        if get_ident() != self._thread or jit_tracer() is not None:
            return
        running, self.running = self.running, None
        if running is not None and running.optimizer is optimizer:
            with DisableTorchFunction():
                versions = self._ledger.versions
                changed = changed_since(running.parameters, running.versions)
                seen = set(map(id, changed))
                unseen = [p for p in running.parameters if id(p) not in seen and p.grad is not None]
                changed += [
                    p
                    for p in unseen
                    if versions.has_changed_unseen(p)
                    or (running.may_have_written(p) and versions.may_differ(p))
                ]
                for address in running.written:
                    leaf = self._ledger.leaf_grads.owner(address)
                    if leaf is not None:
                        self._ledger.note_grad(leaf)
                self._operations.enter(running.op, changed, None)

    def note_write(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A call that is part of a step: it may write past the version counters."""
        if self.running is not None:
            with DisableTorchFunction():
                self.running.note_write(func, args, kwargs)

    def hides_call(self) -> bool:
        """Whether the torch call that is made now is part of a step, and no operation of its own."""
        running = self.running
        if running is None:
            return False
        own = running.makes_call()
        if running.has_raised:  # no hook said so
            self.end(running.optimizer, None, None)
        return own


class _RunningStep:
    """A running `optimizer.step()`: the operation that it will be, its parameters, the frame that runs it."""

    def __init__(
        self, optimizer: Any, op: OpDraft, parameters: list[torch.Tensor], frame: FrameType
    ) -> None:
        self.optimizer, self.op, self.parameters, self._frame = optimizer, op, parameters, frame
        self.versions = versions_of(parameters)
        self.written: set[int] = set()
        """Addresses of storages into which a call may have written past the version counters of parameters."""
        self._own = _codes(type(optimizer))
        self.has_raised = False

    def makes_call(self) -> bool:
        """Whether the call that is being made now is the optimizer's own; sets `has_raised` outside of the step."""
        frame: FrameType | None = sys._getframe(1)
        in_closure = False
        while frame is not None and frame is not self._frame:
            code = frame.f_code
            own = id(code) in self._own or code.co_name == CALL_SITE_NAME
            in_closure |= not own and not is_library(code.co_filename)
            frame = frame.f_back
        self.has_raised = frame is None
        return not self.has_raised and not in_closure

    def note_write(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Note what a call of the step may have written into: `p.data` has a version counter of its own."""
        written = silently_written(func, args, kwargs)
        if args and (is_setter(func) or function_name(func).endswith("_")):
            written += tensors_in(args[0])
        storages = [each for each in map(storage_of, written) if each is not None]
        self.written.update(map(address_of, storages))

    def may_have_written(self, parameter: torch.Tensor) -> bool:
        """Whether a call of the step may have written into a parameter."""
        storage = storage_of(parameter)
        return storage is not None and address_of(storage) in self.written


def _codes(kind: type) -> set[int]:
    """The ids of the code of an optimizer's methods; to compare the code itself takes long."""
    methods = [
        inspect.unwrap(part)
        for base in kind.__mro__
        for part in vars(base).values()
        if callable(part)
    ]
    return {id(method.__code__) for method in methods if hasattr(method, "__code__")}
