"""A trace goes in; the modules that run one operation each come out, as the layers that these operations are."""

from __future__ import annotations

from collections import Counter

from ..trace import ModuleCall, Op, Trace, cached
from ..trace.records import FUNCTION
from .gradient_rows import cut_middle

__all__ = ["layer_of", "layer_words"]

MAX_PATH_CHARS = 22
"""The most characters of a path in small print: more is cut from its middle."""


def layer_of(trace: Trace, op: Op) -> str:
    """The module that runs this operation and no other: `net.2 Dropout`; empty where there is none."""
    layers: dict[int, str] = cached(trace, _layers)
    return layers.get(op.index, "")


def _layers(trace: Trace) -> dict[int, str]:
    held: Counter[int] = Counter()
    for op in trace.ops:
        call = None if _is_bookkeeping(trace, op) else op.call
        while call is not None:
            held[call] += 1
            call = trace.calls[call].outer
    found: dict[int, str] = {}
    for op in trace.ops:
        call = None if op.module or op.factory or _is_bookkeeping(trace, op) else op.call
        if call is not None and held[call] == 1:
            module = trace.calls[call]
            if module.path and module.kind != FUNCTION:
                found[op.index] = layer_words(module)
    return found


def layer_words(module: ModuleCall) -> str:
    """A module's path and class in few characters."""
    return f"{cut_middle(module.path, MAX_PATH_CHARS)} {module.kind}"


def _is_bookkeeping(trace: Trace, op: Op) -> bool:
    """Whether an operation changes nothing but buffers of modules: batch norm counts its batches so."""
    changes = op.inplace and not trace.nodes_of(op.index)
    return changes and all(trace.tensors[i].owners for i in op.outputs)
