"""A torch tensor goes in, a plain `Value` of this moment comes out; autograd and modes do not notice.

Small tensors are kept whole, large ones as their range. What torch cannot read out (meta tensors, wrapped
tensors inside `torch.func` transforms) keeps its shape and dtype only.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch

from .trace import Numbers, Value

__all__ = ["KEEP", "snapshot"]

KEEP = 4096
"""Tensors of at most this many elements are kept whole; of larger ones only the range is kept."""

FEW = 16
"""So few elements are read one by one; more are copied as bytes, where their memory can be."""

CODES = {torch.float32: "f", torch.float64: "d", torch.int64: "q", torch.int32: "i"}
PLAIN = (torch.Tensor, torch.nn.Parameter)


def snapshot(tensor: torch.Tensor) -> Value:
    """The tensor's content now.

    >>> snapshot(torch.tensor([1.0, -2.0, 3.0]))
    Value(shape=(3,), dtype='float32', data=(1.0, -2.0, 3.0), low=-2.0, high=3.0)
    """
    shape, dtype = tuple(tensor.shape), _name(tensor.dtype)
    readable = tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_quantized
    if not readable or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return Value(shape, dtype)
    with torch._C.DisableTorchFunction():
        plain = tensor.detach()
        count = plain.numel()
        data = None
        if count <= KEEP:
            data = _bytes(plain) if count > FEW and type(tensor) in PLAIN else None
            data = tuple(plain.reshape(-1).tolist()) if data is None else data
        if count == 0 or plain.is_complex():
            return Value(shape, dtype, data)
        if count == 1 and data is not None:
            return Value(shape, dtype, data, float(data[0]), float(data[0]))
        try:
            low, high = plain.aminmax()
        except NotImplementedError:  # float8 and the wider unsigned integers
            low, high = (plain.float() if plain.is_floating_point() else plain.long()).aminmax()
        return Value(shape, dtype, data, float(low), float(high))


@cache
def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _bytes(plain: torch.Tensor) -> Numbers | None:
    """The content as bytes; None where it does not lie in this machine's memory in a form that `array` reads."""
    code = CODES.get(plain.dtype)
    if code is None or plain.is_neg():
        return None
    near = plain.cpu().contiguous()
    place = near.data_ptr()
    return Numbers(code, ctypes.string_at(place, near.nbytes)) if place else None
