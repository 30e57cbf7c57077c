"""A torch tensor goes in, a plain `Value` of this moment comes out; autograd and modes do not notice.

Small tensors are kept whole, large ones as their range. What torch cannot read out (meta tensors, wrapped
tensors inside `torch.func` transforms) keeps its shape and dtype only.
"""

from __future__ import annotations

import torch

from .trace import Value

__all__ = ["KEEP", "snapshot"]

KEEP = 4096
"""Tensors of at most this many elements are kept whole; of larger ones only the range is kept."""


def snapshot(tensor: torch.Tensor) -> Value:
    """The tensor's content now.

    >>> snapshot(torch.tensor([1.0, -2.0, 3.0]))
    Value(shape=(3,), dtype='float32', data=(1.0, -2.0, 3.0), low=-2.0, high=3.0)
    """
    shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    readable = tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_quantized
    if not readable or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return Value(shape, dtype)
    with torch._C.DisableTorchFunction(), torch.no_grad():
        plain = tensor.detach()
        data = tuple(plain.reshape(-1).tolist()) if plain.numel() <= KEEP else None
        if plain.numel() == 0 or plain.is_complex():
            return Value(shape, dtype, data)
        try:
            low, high = plain.aminmax()
        except NotImplementedError:  # float8 and the wider unsigned integers
            low, high = (plain.float() if plain.is_floating_point() else plain.long()).aminmax()
        return Value(shape, dtype, data, float(low), float(high))
