"""Every private name of PyTorch that this package uses, each with the reason; the other files import them from here.

This is the file to read when the next PyTorch comes out: `make torch VERSION=…` shows what of it has moved. All
names exist in 2.10 to 2.14, the range that is supported, unless a line says otherwise. What is asked for every
operation is an alias, not a function around one: a call in Python costs more than the question.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from operator import attrgetter, methodcaller
from types import ModuleType
from typing import Any, cast

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode_stack,
    _pop_mode,
    _push_mode,
)
from torch.utils._python_dispatch import _disable_current_modes

__all__ = [
    "BUFFERS",
    "CAPTURING_CONTEXTS",
    "CAPTURING_MODULE",
    "MODULES",
    "PARAMETERS",
    "DisableTorchDispatch",
    "DisableTorchFunction",
    "address_of",
    "autograd_node_now",
    "checkpoint_inputs",
    "checkpoint_of",
    "compiler_is_loaded",
    "declared_arguments",
    "dispatch_mode_count",
    "engine_run_backward",
    "first_output_metadata",
    "forward_class",
    "frame_evaluation_callback",
    "function_modes",
    "graph_is_kept",
    "graph_task_id",
    "has_own_dispatch",
    "is_fake",
    "is_functorch_wrapped",
    "is_operator",
    "is_view",
    "jit_tracer",
    "next_sequence_nr",
    "packed_by_hook",
    "pop_function_mode",
    "post_accumulate_hooks",
    "push_function_mode",
    "raw_saved_attributes",
    "registered_parts",
    "remove_function_mode",
    "replace_engine_run_backward",
    "saved_attributes",
    "saved_tensor_hooks",
    "sequence_nr",
    "unseen_leaf_node",
    "version_counter",
    "view_base",
    "without_dispatch_modes",
    "without_jit_trace",
]

# ---- modes ----

# Keeps the recorder's own calls from function modes and from `__torch_function__` of subclasses.
# `DisableTorchFunctionSubclass`, which PyTorch's notes on extending show, leaves the modes on.
DisableTorchFunction: Callable[[], AbstractContextManager[None]] = torch._C.DisableTorchFunction

# Whether the recorder is on the stack of function modes already, and which modes lie above it: no public way to ask.
function_modes = cast("Callable[[], list[TorchFunctionMode]]", _get_current_function_mode_stack)
# PyTorch takes a function mode off the stack while one of its own calls runs; for the length of a backward pass it is
# put back. `with mode:` would call the mode's `__enter__` again.
push_function_mode = cast("Callable[[TorchFunctionMode], None]", _push_mode)
pop_function_mode = cast("Callable[[], TorchFunctionMode]", _pop_mode)


def remove_function_mode(mode: TorchFunctionMode) -> None:
    """Take a mode off this thread's stack wherever it lies: recordings may end in another order than they began.

    `mode.__exit__` takes off whatever is on top.
    """
    if mode not in function_modes():
        return
    above = []
    while (top := pop_function_mode()) is not mode:
        above.append(top)
    for each in reversed(above):
        push_function_mode(each)


# A snapshot is read out with `tolist` and `detach`: the run's own dispatch modes must not see these calls.
dispatch_mode_count: Callable[[], int] = torch._C._len_torch_dispatch_stack
without_dispatch_modes = cast("Callable[[], AbstractContextManager[Any]]", _disable_current_modes)
# A tensor inside `torch.func.grad` or `vmap` has no numbers to read; `torch.func` has no public question for that.
is_functorch_wrapped: Callable[[torch.Tensor], bool] = (
    torch._C._functorch.is_functorch_wrapped_tensor
)


# Without any `__torch_dispatch__`, of a mode or of a tensor's class.
DisableTorchDispatch: Callable[[], AbstractContextManager[None]] = torch._C._DisableTorchDispatch


@cache
def has_own_dispatch(kind: type[torch.Tensor]) -> bool:
    """Whether a class of tensors has a `__torch_dispatch__`, which sees the calls that are made on them."""
    return kind.__torch_dispatch__ != torch.Tensor.__torch_dispatch__


class _LeafNode(torch.autograd.Function):
    """Its own node leads to those of its inputs, and no operation runs that a `__torch_dispatch__` could see."""

    @staticmethod
    def forward(ctx: Any, leaf: torch.Tensor, found: list[Any]) -> None:
        found.append(ctx.next_functions[0][0])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> None:
        raise NotImplementedError("it has no result")


def unseen_leaf_node(leaf: torch.Tensor) -> Any:
    """The `AccumulateGrad` of a leaf, found without an operation, which takes longer than by way of a view."""
    found: list[Any] = []
    with torch.inference_mode(False), torch.enable_grad():
        _LeafNode.apply(leaf, found)  # type: ignore[no-untyped-call]  # torch's is without types
    return found[0]


def is_fake(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a `FakeTensor`; one that is asked for numbers leaves a mark on the tracing that it is for."""
    return isinstance(tensor, FakeTensor)


# ---- `torch.jit.trace` ----

# The tracer of `torch.jit.trace` in this thread, or None: it captures every call on tensors, the recorder's too, which
# at worst ends the process. `torch.jit.is_tracing` asks the same with three calls in Python.
jit_tracer: Callable[[], Any] = torch._C._get_tracing_state
_set_jit_tracer: Callable[[Any], None] = torch._C._set_tracing_state  # type: ignore[attr-defined]  # not in its stub


@contextmanager
def without_jit_trace() -> Iterator[None]:
    """A region in which what `torch.jit.trace` captures leaves out the calls of this thread."""
    tracer = jit_tracer()
    _set_jit_tracer(None)
    try:
        yield
    finally:
        _set_jit_tracer(tracer)


# ---- operators ----


def is_operator(func: Any) -> bool:
    """Whether a function is one of `torch.ops`, which has schemas: `torch.ops.aten.add`, or `.add.Tensor` of it."""
    return isinstance(func, (torch._ops.OpOverload, torch._ops.OpOverloadPacket))


def declared_arguments(func: Any) -> list[tuple[str, bool]]:
    """The arguments that an operator's schema declares, in order, each with whether the operator may write into it.

    For a function such as `torch.batch_norm` it is that of the operator of this name; empty where there is none.
    """
    overload = func
    if not isinstance(func, torch._ops.OpOverload):
        packet = func if is_operator(func) else getattr(torch.ops.aten, func.__name__, None)
        if packet is None:
            return []
        overload = getattr(packet, packet.overloads()[0])
    return [
        (each.name, each.alias_info is not None and each.alias_info.is_write)
        for each in overload._schema.arguments
    ]


# ---- backward passes ----

# The number of the graph task (the backward pass) that runs in this thread, -1 outside of one. It tells nested and
# concurrent passes apart.
graph_task_id: Callable[[], int] = torch._C._current_graph_task_id
# The node whose backward runs in this thread: which node a hook or a recomputed operation belongs to.
autograd_node_now: Callable[[], Any] = torch._C._current_autograd_node
# Whether the running pass was asked for `retain_graph`; if not, each node frees its saved tensors when it has run.
graph_is_kept: Callable[[], bool] = torch._C._autograd._get_current_graph_task_keep_graph
# The sequence number of the next node that this thread makes: nodes with smaller ones are older than the recording.
next_sequence_nr: Callable[[], int] = torch._C._autograd._get_sequence_nr


def engine_run_backward() -> Callable[..., Any]:
    """The function through which `backward` and `grad` alike start the autograd engine.

    Called as `f(tensors, grad_tensors, keep_graph, create_graph, inputs, …)`; `torch.autograd` looks it up in its own
    namespace at each call.
    """
    return torch.autograd._engine_run_backward  # type: ignore[attr-defined]  # not in its stub


def replace_engine_run_backward(run_backward: Callable[..., Any]) -> None:
    """Let `backward` and `grad` start the engine through another function: no public hook surrounds a whole pass."""
    torch.autograd._engine_run_backward = run_backward  # type: ignore[attr-defined]  # as above


# ---- tensors and storages ----

# How often a tensor's memory was written in place; inference tensors raise `RuntimeError`.
version_counter: Callable[[torch.Tensor], int] = attrgetter("_version")
# An in-place change of a view gives its base another `grad_fn`, which is found by way of the view only.
is_view: Callable[[torch.Tensor], bool] = methodcaller("_is_view")
view_base: Callable[[torch.Tensor], torch.Tensor | None] = attrgetter("_base")
# The address of the `StorageImpl`, the same for all tensors on one memory. `data_ptr()` is 0 for every empty storage
# and raises for some kinds.
address_of: Callable[[torch.UntypedStorage], int] = attrgetter("_cdata")

# A leaf's post-accumulate-grad hooks, or None: they may change or drop its `.grad`, and there is no other way to ask.
post_accumulate_hooks: Callable[[torch.Tensor], Any] = attrgetter("_post_accumulate_grad_hooks")


# Where a module's dictionary has what it registered: the public methods can be the user's own.
MODULES, PARAMETERS, BUFFERS = "_modules", "_parameters", "_buffers"


def registered_parts(stored: dict[str, Any], which: str) -> list[tuple[str, Any]]:
    """The modules, parameters or buffers in a module's dictionary, by name.

    Every module is gone through when a recording first sees it: `named_parameters` takes several times as long, and
    the user's classes may have their own.
    """
    found = stored.get(which)
    if not found:
        return []
    if type(found) is dict or type(found) is OrderedDict:
        return [pair for pair in dict.items(found) if pair[1] is not None]
    if type(found).__module__ == "torch.jit._script":  # of a scripted module; the parts are in C++
        return list(found.items())
    return []


# ---- nodes ----

# Nodes of one thread are numbered in the order in which they were made; an `AccumulateGrad` has the highest number.
sequence_nr: Callable[[Any], int] = methodcaller("_sequence_nr")


def first_output_metadata(node: Any) -> Any:
    """Shape and dtype of a node's first output, as the engine will check gradients; raises `IndexError` without one.

    A node that a backward pass made has no tensor in Python's hands.
    """
    return node._input_metadata[0]


def forward_class(context: Any) -> type[torch.autograd.Function] | None:
    """The custom `Function` whose forward was given this context; its class in Python is another one, of the node.

    The frame of `Function.apply` named the class before PyTorch 2.14, which calls the forward from native code.
    """
    return getattr(type(context), "_forward_cls", None)


# ---- saved tensors ----

# What `saved_tensors_hooks` puts on top, or None. The argument: also while something is traced.
saved_tensor_hooks: Callable[[bool], Any] = torch._C._autograd._top_saved_tensors_default_hooks


@cache
def saved_attributes(kind: type) -> tuple[tuple[str, str], ...]:
    """The attributes of a node's class that hold saved tensors, each with the name that PyTorch shows for it.

    `_saved_x` holds a tensor, or several, exactly when `_raw_saved_x` exists too; other saved values (sizes, flags)
    have no raw form.
    """
    there = set(dir(kind))
    saved = [name for name in dir(kind) if name.startswith("_saved_") and f"_raw{name}" in there]
    return tuple([(name, name.removeprefix("_saved_")) for name in saved])


@cache
def raw_saved_attributes(kind: type) -> tuple[tuple[str, str], ...]:
    """The attributes that give a node's `SavedTensor` objects, each with its name; reading one runs no hook."""
    raw = [name for name in dir(kind) if name.startswith("_raw_saved_")]
    return tuple([(name, name.removeprefix("_raw_saved_")) for name in raw])


def packed_by_hook(saved: Any) -> Any:
    """What a pack hook has given for a saved tensor. Before PyTorch 2.10 a `SavedTensor` does not show it."""
    return getattr(saved, "data", None)


def checkpoint_of(saved: Any) -> Any:
    """The checkpoint in which a tensor was saved, or None.

    `torch.utils.checkpoint` packs a `_Holder` for each tensor, and its unpack hook closes over the `_CheckpointFrame`.
    """
    if type(packed_by_hook(saved)).__name__ != "_Holder":
        return None
    cells = getattr(getattr(saved, "unpack_hook", None), "__closure__", None) or ()
    frames = (cell.cell_contents for cell in cells)
    return next((each for each in frames if type(each).__name__ == "_CheckpointFrame"), None)


def checkpoint_inputs(checkpoint: Any) -> tuple[Any, Sequence[Any]]:
    """The node that saves a checkpoint's inputs, before PyTorch 2.12, else None; and the inputs themselves, since 2.12.

    With pytorch/pytorch#174327 a checkpoint saves them itself, and no longer by way of a custom `Function`.
    """
    saver = getattr(checkpoint, "input_saver", None)
    if saver is not None:
        return saver.grad_fn, ()
    return None, [packed_by_hook(saved) for saved in getattr(checkpoint, "saved_args", ())]


# ---- the compiler ----

# Whether this code is being compiled: a recording that begins in there would be traced itself.
frame_evaluation_callback: Callable[[], Any] = torch._C._dynamo.eval_frame.get_eval_frame_callback

# The contexts in which `torch.cond` and its like capture their branches, and the backward of these. Some versions
# lack one of them.
CAPTURING_MODULE: ModuleType = torch._higher_order_ops.utils
CAPTURING_CONTEXTS = ("_set_compilation_env", "suspend_functionalization")


def compiler_is_loaded(modules: Mapping[str, ModuleType] = sys.modules) -> bool:
    """Whether the compiler has been imported, which takes seconds and is left to who first asks for it."""
    return "torch._dynamo" in modules
