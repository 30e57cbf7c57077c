"""A node whose saved tensors went through pack hooks goes in, the tensors that it keeps all the same come out.

No hook is run. A pack hook gives something in a tensor's place. Tensors in it (a smaller copy, say, or a pair of a copy
and its dtype) are what the node keeps. When a checkpoint has packed it, the node keeps alive what the checkpoint needs
to compute again: its inputs. Anything else, such as the name of a file, keeps no tensor in memory.
"""

from __future__ import annotations

from typing import Any

import torch

from ._torch import checkpoint_inputs, checkpoint_of, packed_by_hook, raw_saved_attributes
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
    for attribute, name in raw_saved_attributes(node.__class__):
        try:
            raw = getattr(node, attribute)
        except RuntimeError:  # already freed
            continue
        for one in raw if isinstance(raw, (tuple, list)) else (raw,):
            checkpoint = checkpoint or checkpoint_of(one)
            kept += [(name, tensor) for tensor in tensors_in(packed_by_hook(one))]
    kept += [(CHECKPOINT_INPUT, tensor) for tensor in _inputs(checkpoint)]
    return kept, checkpoint


def _inputs(checkpoint: Any) -> list[torch.Tensor]:
    """The tensors that a checkpoint keeps as inputs of its recomputation."""
    saver, inputs = checkpoint_inputs(checkpoint)
    if saver is not None:
        return [tensor for _, tensor in saved_tensors(saver)]
    return [each for each in inputs if isinstance(each, torch.Tensor)]
