"""A torch tensor goes in, a plain `Value` of this moment comes out; autograd and modes do not notice.

Small tensors are kept whole, large ones as their range, the largest as their shape and dtype. Of tensors whose elements
torch cannot give (meta tensors, wrapped tensors inside `torch.func` transforms) shape and dtype are kept as well.
"""

from __future__ import annotations

import ctypes
from functools import cache, lru_cache
from typing import Any

import torch

from ..trace.value import Numbers, Value, numpy_bounds
from ._torch import (
    DisableTorchDispatch,
    DisableTorchFunction,
    dispatch_mode_count,
    has_own_dispatch,
    is_fake,
    is_functorch_wrapped,
    without_dispatch_modes,
)
from .torch_calls import shape_of

__all__ = ["MAX_KEPT_ELEMENTS", "is_same", "shape_only", "snapshot", "unguarded_snapshot"]

MAX_KEPT_ELEMENTS = 4096
"""Tensors of at most this many elements are kept whole; of larger ones only the range is kept."""

MAX_RANGED_ELEMENTS = 2**17
"""Of tensors with more elements than this not even the range is read, so that large models stay quick to record."""

MAX_LISTED_ELEMENTS = 16
"""At most this many elements are read one by one; more are copied as bytes, if they are in this machine's memory."""

TYPE_CODES = {torch.float32: "f", torch.float64: "d", torch.int64: "q", torch.int32: "i"}
"""How Python's `array` calls the dtypes whose bytes are copied."""
PLAIN_CLASSES = (torch.Tensor, torch.nn.Parameter)
"""Classes that are no subclass with a `__torch_dispatch__` of its own."""


def snapshot(tensor: torch.Tensor) -> Value:
    """The tensor's content now.

    >>> snapshot(torch.tensor([1.0, -2.0, 3.0]))
    Value(shape=(3,), dtype='float32', data=(1.0, -2.0, 3.0), low=None, high=None)
    """
    with DisableTorchFunction():
        return unguarded_snapshot(tensor)


def unguarded_snapshot(tensor: torch.Tensor) -> Value:
    """The same for callers inside `DisableTorchFunction` already, as the recorder is."""
    plain = type(tensor) in PLAIN_CLASSES
    shape: tuple[int, ...] = ()
    dtype = _name(tensor.dtype)
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
        if not plain and has_own_dispatch(type(tensor)):  # the class would see the calls made here
            if not tensor.data_ptr():  # its numbers lie in tensors of its own
                return Value(shape, dtype)
            with DisableTorchDispatch():
                tensor = tensor.detach().as_subclass(torch.Tensor)
        if not dispatch_mode_count():
            return _content(tensor, shape, dtype, count, several)
        with without_dispatch_modes():  # a mode of the run would see the calls made here
            return _content(tensor, shape, dtype, count, several)
    except (RuntimeError, TypeError):  # fake, masked and nested tensors
        return Value(shape, dtype)


def shape_only(tensor: torch.Tensor) -> Value:
    """The value of a tensor in whose memory nothing has been written yet."""
    return Value(shape_of(tensor), _name(tensor.dtype))


def is_same(a: Value | None, b: Value | None) -> bool:
    """Whether two snapshots show the same content, nan for nan.

    >>> a, b = (snapshot(torch.tensor([float("nan"), 1.0])) for _ in range(2))
    >>> a == b, is_same(a, b)
    (False, True)
    """
    return a == b or repr(a) == repr(b)


def _in_memory(
    tensor: torch.Tensor, shape: tuple[int, ...], dtype: str, count: int
) -> Value | None:
    """The bytes of a contiguous CPU tensor, copied without any operation; None for another device, layout or dtype."""
    if not (tensor.is_cpu and tensor.is_contiguous()):
        return None
    code = TYPE_CODES.get(tensor.dtype)
    address = 0 if code is None or tensor.is_neg() else tensor.data_ptr()
    if code is None or not address:
        return None
    memory = _bytes_type(tensor.nbytes).from_address(address)
    if count <= MAX_KEPT_ELEMENTS:
        return Value(shape, dtype, Numbers(code, memory.raw))
    bounds = numpy_bounds(memory, code)
    return None if bounds is None else _ranged(shape, dtype, *bounds)


def _content(
    tensor: torch.Tensor, shape: tuple[int, ...], dtype: str, count: int, several: bool
) -> Value:
    """The same by operations on the tensor; `several` elements are copied as bytes once they are on the CPU."""
    if len(shape) < 2 and count <= MAX_LISTED_ELEMENTS:
        found: Any = tensor.tolist()
        return Value(shape, dtype, tuple(found) if shape else (found,))
    bare = tensor.detach()
    if count <= MAX_KEPT_ELEMENTS:
        near = _in_memory(bare.cpu().contiguous(), shape, dtype, count) if several else None
        return near or Value(shape, dtype, tuple(bare.reshape(-1).tolist()))
    if bare.is_complex():
        return Value(shape, dtype)
    bare = bare if bare.is_contiguous() else _in_memory_order(bare)
    near = _in_memory(bare, shape, dtype, count) if several else None
    return near or _ranged(shape, dtype, *_range(bare))


def _ranged(shape: tuple[int, ...], dtype: str, low: float, high: float) -> Value:
    """A value of which the range is kept. Which of 0.0 and -0.0 is found depends on the processor: the sign goes."""
    return Value(shape, dtype, None, low + 0.0, high + 0.0)


def _range(bare: torch.Tensor) -> tuple[float, float]:
    try:
        low, high = bare.aminmax()
    except NotImplementedError:  # float8 and the wider unsigned integers
        low, high = (bare.float() if bare.is_floating_point() else bare.long()).aminmax()
    return float(low.item()), float(high.item())


def _in_memory_order(bare: torch.Tensor) -> torch.Tensor:
    """The dimensions sorted by stride: a transposed matrix is contiguous then, and needs no copy."""
    return bare.permute(sorted(range(bare.dim()), key=bare.stride, reverse=True))


@cache
def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@lru_cache(maxsize=256)
def _bytes_type(nbytes: int) -> type[ctypes.Array[ctypes.c_char]]:
    return ctypes.c_char * nbytes
