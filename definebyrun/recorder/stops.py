"""Calls that raise go in; the last of them, where nothing ran after it, comes out as the place where the run stopped.

Kept are numbers and words: no exception, no frame, no tensor. An exception that the program catches, to go on with
something else, is forgotten with the next step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch

from ..trace import Stop, Trace
from ..trace.value import Value
from .call_site import CALL_SITE_NAME
from .call_stack import CallStack
from .custom_functions import CustomFunctions
from .drafts import Stack
from .ledger import Ledger
from .node_hooks import NodeHooks
from .operations import TorchCall
from .snapshot import snapshot
from .source import Sources
from .stopped_node import NodesOfPass, stopped_node
from .torch_calls import arguments_of, function_name, is_setter, tensors_in
from .user_frames import is_library
from .walk import gradient_edge

__all__ = ["Stops", "error_text"]

CHANGED_IN_PLACE = "modified by an inplace operation"
"""What PyTorch says of a saved tensor that is no longer what was saved."""
ENGINE_FUNCTION = "_engine_run_backward"
"""The function of `torch.autograd` that calls the engine: no code in Python has raised where it is the last frame."""
MAX_CAUSES = 20
"""So many exceptions that led to another are looked at."""


def error_text(error: BaseException) -> str:
    """An exception as `type: message`, in characters that a file can hold."""
    words = f"{type(error).__name__}: {error}"
    # the name of a file may be no text, as `os.fsdecode` gives it
    return words.encode("utf8", "backslashreplace").decode()


@dataclass(slots=True)
class _Raised:
    """What is known of a call that has raised, and how many steps there were then."""

    error: str
    steps: int
    name: str
    stack: Stack
    inputs: tuple[int, ...] = ()
    args: tuple[int | str, ...] = ()
    call: int | None = None
    module: int | None = None
    node: int | None = None
    received: tuple[Value | None, ...] = ()
    saved: str = ""
    changed_by: int | None = None


class Stops:
    """Notes what raises, the innermost call of those through which one exception passes."""

    def __init__(
        self,
        ledger: Ledger,
        stack: CallStack,
        sources: Sources,
        hooks: NodeHooks,
        functions: CustomFunctions,
    ) -> None:
        self._ledger, self._stack, self._sources = ledger, stack, sources
        self._hooks, self._functions = hooks, functions
        self._last: _Raised | None = None

    # ---- what raises ----

    def note_call(self, call: TorchCall, error: BaseException) -> None:
        """A torch call has raised that was drafted."""
        op = call.op
        if op is None:
            self.note_unread(call.func, call.args, call.kwargs, error)
        elif (raised := self._new(error, op.name, op.stack)) is not None:
            raised.inputs, raised.args = op.inputs, op.args
            raised.call, raised.node = self._functions.innermost_call(), op.within

    def note_unread(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException
    ) -> None:
        """A torch call has raised that is no operation, as `x.item()` and `w.grad = …` are none."""
        name = function_name(func) + (" =" if is_setter(func) else "")
        raised = self._new(error, name, self._stack.read())
        if raised is not None:
            known: list[int | str] = []
            for each in arguments_of(args, kwargs):
                part = each if isinstance(each, str) else self._known(each)
                if part is not None:
                    known.append(part)
            raised.args = tuple(known)
            raised.inputs = tuple([each for each in raised.args if isinstance(each, int)])
            raised.call = self._functions.innermost_call()

    def note_module(self, number: int, given: Any, error: BaseException) -> None:
        """The call of a module has raised, and no torch call inside it."""
        raised = self._new(error, "", self._stack.read())
        if raised is not None:
            raised.call = raised.module = number
            raised.inputs = raised.args = self._all_known(tensors_in(given))

    def note_pass(
        self,
        first: int,
        begun: Mapping[int, tuple[Value | None, ...]],
        error: BaseException,
        args: tuple[Any, ...],
    ) -> None:
        """A backward pass has raised. Passes from number `first` on are it, or ran inside it; the nodes that have
        `begun`, with what they received, have not ended. `args` are what the engine was given: roots, their gradients,
        …, the inputs asked for.
        """
        inner = self._lines(error)
        name = "grad" if len(args) > 4 and args[4] and args[2:] else "backward"
        raised = self._new(error, name, (*inner, *self._stack.read()))
        if raised is None:
            raised = self._last
        assert raised is not None
        if raised.node is None:
            raised.node = self._node_of_pass(first, begun, error, args)
        raised.inputs = raised.inputs or self._all_known(tensors_in(args[0]))
        raised.args = raised.args or raised.inputs
        if raised.node is not None:
            raised.received = begun.get(raised.node) or self._received(raised.node, args)
            if CHANGED_IN_PLACE in raised.error:
                changed = self._ledger.saved.changed_since(raised.node)
                raised.saved, raised.changed_by = changed or ("", None)

    def end(self, error: BaseException | None) -> None:
        """The recording ends, by an exception or without one: is the last call that raised where it stopped?"""
        last = self._last
        went_on = last is not None and last.steps != len(self._ledger.steps)
        if error is None:
            self._last = None if went_on else last
            return
        if last is None or went_on or last.error not in _causes(error):
            self._last = _Raised(error_text(error), 0, "", self._lines(error))

    # ---- what is known of it ----

    def _new(self, error: BaseException, name: str, stack: Stack) -> _Raised | None:
        """A note of an exception; None for one that has been noted where it was raised."""
        words, steps = error_text(error), len(self._ledger.steps)
        last = self._last
        if last is not None and (last.error, last.steps) == (words, steps):
            return None
        self._last = _Raised(words, steps, name, stack)
        return self._last

    def _known(self, tensor: torch.Tensor) -> int | None:
        return self._ledger.versions.latest(tensor)

    def _all_known(self, tensors: Iterable[torch.Tensor]) -> tuple[int, ...]:
        return tuple([i for i in map(self._known, tensors) if i is not None])

    def _lines(self, error: BaseException) -> Stack:
        """The lines of the user's code that an exception has come through, innermost first."""
        found: list[tuple[int, int]] = []
        traceback = error.__traceback__
        while traceback is not None:
            code = traceback.tb_frame.f_code
            if not is_library(code.co_filename) and code.co_name != CALL_SITE_NAME:
                line = self._sources.location_at(traceback.tb_frame, traceback.tb_lineno)
                found.append(line)
            traceback = traceback.tb_next
        return tuple(found[::-1])

    def _node_of_pass(
        self, first: int, begun: Iterable[int], error: BaseException, args: tuple[Any, ...]
    ) -> int | None:
        """The node that was running or was to run; None where a hook has raised, which may be before or after one."""
        running = list(begun)
        if running:
            return running[-1]
        if _last_frame(error).f_code.co_name != ENGINE_FUNCTION:
            return None
        nodes = self._ledger.nodes.graph
        roots = [
            nodes.index.get(edge[0]) for edge in map(gradient_edge, tensors_in(args[0])) if edge
        ]
        wanted = tensors_in(args[4]) if len(args) > 4 else []
        targets = [nodes.index.get(edge[0]) for edge in map(gradient_edge, wanted) if edge]
        return stopped_node(
            nodes,
            NodesOfPass(
                [root for root in roots if root is not None],
                self._hooks.passes.nodes_since(first),
                [target for target in targets if target is not None],
            ),
        )

    def _received(self, node: int, args: tuple[Any, ...]) -> tuple[Value | None, ...]:
        """What had arrived at a node: what others have sent it, or the gradient that the pass began with."""
        values = self._hooks.sent_to(node)
        index = self._ledger.nodes.graph.index
        for root, grad in zip(tensors_in(args[0]), args[1], strict=False):
            edge = gradient_edge(root)
            if edge is not None and index.get(edge[0]) == node and isinstance(grad, torch.Tensor):
                values.setdefault(edge[1], snapshot(grad))
        return tuple([values.get(nr) for nr in range(1 + max(values, default=-1))])

    # ---- the end ----

    def freeze(self, trace: Trace) -> tuple[Stop, ...]:
        """Where the run stopped, if it did, as plain data; the paths of modules are those of the finished trace."""
        raised = self._last
        if raised is None:
            return ()
        name = raised.name
        if raised.module is not None:
            module = trace.calls[raised.module]
            name = module.path or module.kind
        return (
            Stop(
                raised.error,
                name,
                line=raised.stack[0][1] if raised.stack else None,
                code=self._sources.text(raised.stack[0]) if raised.stack else "",
                stack=raised.stack,
                inputs=raised.inputs,
                args=raised.args,
                call=raised.call,
                node=raised.node,
                received=raised.received,
                saved=raised.saved,
                changed_by=raised.changed_by,
            ),
        )


def _causes(error: BaseException) -> list[str]:
    """An exception in words, and those from which it was raised."""
    words: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(words) < MAX_CAUSES:
        words.append(error_text(cause))
        cause = cause.__cause__
    return words


def _last_frame(error: BaseException) -> FrameType:
    """The frame in which an exception was raised."""
    traceback = error.__traceback__
    assert traceback is not None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame
