"""A torch tensor goes in, a plain `Value` of this moment comes out; autograd and modes do not notice.

Small tensors are kept whole, large ones as their range, the largest as their shape and dtype. So is what torch cannot
read out: meta tensors, wrapped tensors inside `torch.func` transforms.
"""

from __future__ import annotations

import ctypes
from functools import cache, lru_cache

import torch

from ..trace.value import Numbers, Value, numpy_bounds
from ._torch import (
    DisableTorchFunction,
    dispatch_mode_count,
    is_fake,
    is_functorch_wrapped,
    without_dispatch_modes,
)
from .torch_calls import shape_of

__all__ = ["MAX_KEPT_ELEMENTS", "shape_only", "snapshot", "unseen_snapshot"]

MAX_KEPT_ELEMENTS = 4096
"""Tensors of at most this many elements are kept whole; of larger ones only the range is kept."""

MAX_RANGED_ELEMENTS = 2**17
"""Of tensors with more elements than this not even the range is read, so that large models stay quick to record."""

MAX_LISTED_ELEMENTS = 16
"""So few elements are read one by one; more are read where they lie, if they are in this machine's memory."""

CODES = {torch.float32: "f", torch.float64: "d", torch.int64: "q", torch.int32: "i"}
PLAIN = (torch.Tensor, torch.nn.Parameter)


def snapshot(tensor: torch.Tensor) -> Value:
    """The tensor's content now.

    >>> snapshot(torch.tensor([1.0, -2.0, 3.0]))
    Value(shape=(3,), dtype='float32', data=(1.0, -2.0, 3.0), low=None, high=None)
    """
    with DisableTorchFunction():
        return unseen_snapshot(tensor)


def unseen_snapshot(tensor: torch.Tensor) -> Value:
    """The same for who has switched torch functions off already, as the recorder has."""
    plain = type(tensor) in PLAIN
    shape, dtype = (), _name(tensor.dtype)
    try:
        shape = tuple(tensor.shape) if plain else shape_of(tensor)
        count = tensor.numel()
        if count > MAX_RANGED_ELEMENTS:
            return Value(shape, dtype)
        several = plain and count > MAX_LISTED_ELEMENTS
        if several:
            found = _in_memory(tensor, shape, dtype, count)
            if found is not None:
                return found
        fake = not plain and is_fake(tensor)
        if tensor.layout is not torch.strided or fake or is_functorch_wrapped(tensor):
            return Value(shape, dtype)
        if tensor.is_meta or tensor.is_quantized:
            return Value(shape, dtype)
        if count == 0:
            return Value(shape, dtype, ())
        if not dispatch_mode_count():
            return _content(tensor, shape, dtype, count, several)
        with without_dispatch_modes():  # a mode of the learner's would see what is done here
            return _content(tensor, shape, dtype, count, several)
    except (RuntimeError, TypeError):  # fake, masked and nested tensors
        return Value(shape, dtype)


def shape_only(tensor: torch.Tensor) -> Value:
    """What is known of a tensor in which nothing has been written yet."""
    return Value(shape_of(tensor), _name(tensor.dtype))


def _in_memory(
    tensor: torch.Tensor, shape: tuple[int, ...], dtype: str, count: int
) -> Value | None:
    """What stands in this machine's memory, read there without any operation; None where that cannot be."""
    if not (tensor.is_cpu and tensor.is_contiguous()):
        return None
    code = CODES.get(tensor.dtype)
    place = 0 if code is None or tensor.is_neg() else tensor.data_ptr()
    if not place:
        return None
    memory = _memory(tensor.nbytes).from_address(place)
    if count <= MAX_KEPT_ELEMENTS:
        return Value(shape, dtype, Numbers(code, memory.raw))
    bounds = numpy_bounds(memory, code)
    return None if bounds is None else _ranged(shape, dtype, *bounds)


def _content(
    tensor: torch.Tensor, shape: tuple[int, ...], dtype: str, count: int, several: bool
) -> Value:
    if len(shape) < 2 and count <= MAX_LISTED_ELEMENTS:
        found = tensor.tolist()
        return Value(shape, dtype, tuple(found) if shape else (found,))
    bare = tensor.detach()
    if count <= MAX_KEPT_ELEMENTS:
        near = _in_memory(bare.cpu().contiguous(), shape, dtype, count) if several else None
        return near or Value(shape, dtype, tuple(bare.reshape(-1).tolist()))
    if bare.is_complex():
        return Value(shape, dtype)
    bare = bare if bare.is_contiguous() else _as_it_lies(bare)
    near = _in_memory(bare, shape, dtype, count) if several else None
    return near or _ranged(shape, dtype, *_range(bare))


def _ranged(shape: tuple[int, ...], dtype: str, low: float, high: float) -> Value:
    """A range. Its zeros have no sign: which of 0.0 and -0.0 is found depends on the order, and on the processor."""
    return Value(shape, dtype, None, low + 0.0, high + 0.0)


def _range(bare: torch.Tensor) -> tuple[float, float]:
    try:
        low, high = bare.aminmax()
    except NotImplementedError:  # float8 and the wider unsigned integers
        low, high = (bare.float() if bare.is_floating_point() else bare.long()).aminmax()
    return float(low.item()), float(high.item())


def _as_it_lies(bare: torch.Tensor) -> torch.Tensor:
    """The same elements in the order in which they lie in memory: a transposed matrix needs no copy then."""
    return bare.permute(sorted(range(bare.dim()), key=bare.stride, reverse=True))


@cache
def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@lru_cache(maxsize=256)
def _memory(nbytes: int) -> type[ctypes.Array[ctypes.c_char]]:
    return ctypes.c_char * nbytes
