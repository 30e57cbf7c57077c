"""A node whose saved tensors went through hooks goes in, what it keeps all the same comes out; no hook is run.

A hook on saved tensors puts something in a tensor's place. Tensors in it (a smaller copy, say, or a pair of a copy and
its dtype) are what the node keeps. When it is the mark of a checkpoint, the node keeps alive what the checkpoint needs
to compute again: its inputs. Anything else, such as the name of a file, is nothing that the graph keeps in memory.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from .torch_calls import saved_tensors, tensors_in

__all__ = ["kept_behind_hooks"]

CHECKPOINT_INPUT = "checkpoint input"
Kept = list[tuple[str, torch.Tensor]]


def kept_behind_hooks(node: Any) -> tuple[Kept, Any]:
    """The tensors that a node keeps behind hooks, with their names; and the checkpoint that it belongs to, or None.

    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.half(), lambda t: t.float()):
    ...     y = x.exp()
    >>> [(name, tensor.dtype) for name, tensor in kept_behind_hooks(y.grad_fn)[0]]
    [('result', torch.float16)]
    """
    kept: Kept = []
    checkpoint = None
    for attribute in _attributes(type(node)):
        try:
            raw = getattr(node, attribute)
        except RuntimeError:  # already freed
            continue
        for one in raw if isinstance(raw, (tuple, list)) else (raw,):
            data = getattr(one, "data", None)
            if type(data).__name__ == "_Holder":
                checkpoint = checkpoint or _checkpoint(one)
            kept += [(attribute.removeprefix("_raw_saved_"), t) for t in tensors_in(data)]
    kept += [(CHECKPOINT_INPUT, tensor) for tensor in _inputs(checkpoint)]
    return kept, checkpoint


def _checkpoint(saved: Any) -> Any:
    """The frame that a checkpoint's hook closes over."""
    closed = getattr(getattr(saved, "unpack_hook", None), "__closure__", None) or ()
    frames = (cell.cell_contents for cell in closed)
    return next((f for f in frames if type(f).__name__ == "_CheckpointFrame"), None)


def _inputs(checkpoint: Any) -> list[torch.Tensor]:
    """What a checkpoint keeps to compute again from; before PyTorch 2.12 a node of its own keeps it."""
    saver = getattr(checkpoint, "input_saver", None)
    if saver is not None:
        return [tensor for _, tensor in saved_tensors(saver.grad_fn)]
    inputs = (getattr(saved, "data", None) for saved in getattr(checkpoint, "saved_args", ()))
    return [each for each in inputs if isinstance(each, torch.Tensor)]


@cache
def _attributes(kind: type) -> tuple[str, ...]:
    return tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))
