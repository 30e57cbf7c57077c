"""Answers to exercise `half`, right and wrong: ways to keep what a graph saves in 16 bits."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, autograd, nn

__all__ = [
    "BF16",
    "F32",
    "Packed",
    "all_held",
    "by_key",
    "exists",
    "forgetful",
    "nothing",
    "numbered",
    "packing",
    "unpacked_by_a_function",
    "view",
    "whole_model",
]

hooks = autograd.graph.saved_tensors_hooks
F32, BF16 = torch.float32, torch.bfloat16


def exists(t: Tensor) -> bool:
    base = t if t._base is None else t._base
    return base.is_leaf and base.requires_grad


def view(t: Tensor) -> Any:
    return t._version, t.storage_offset(), t.shape, t.stride()


def packing(
    model: Any,
    x: Tensor,
    skips: Callable[[Tensor], bool] = lambda t: t.dtype != F32 or exists(t),
    part: Callable[[Tensor], Any] = view,
    wrap: Callable[[Tensor, torch.dtype | None], Any] = lambda t, dtype: (t, dtype),
    unwrap: Callable[[Any], tuple[Tensor, torch.dtype | None]] = lambda packed: packed,
    smaller: Callable[[Tensor], Tensor] = lambda t: t.bfloat16(),
    back: Callable[[Tensor, torch.dtype], Tensor] = lambda t, dtype: t.to(dtype),
) -> Any:
    """The solution with its usual mistakes as switches."""
    copies: Any = weakref.WeakKeyDictionary()

    def pack(t: Tensor) -> Any:
        if skips(t):
            return wrap(t, None)
        known = copies.setdefault(t.untyped_storage(), {})
        key = part(t)
        if key not in known:
            known[key] = smaller(t)
        return wrap(known[key], t.dtype)

    def unpack(packed: Any) -> Tensor:
        t, dtype = unwrap(packed)
        return t if dtype is None else back(t, dtype)

    with hooks(pack, unpack):
        return model(x)


def by_key(model: Any, x: Tensor, key: Callable[[Tensor], Any]) -> Any:
    """One table for all copies, with no weak keys."""
    copies: dict[Any, Tensor] = {}

    def pack(t: Tensor) -> Tensor:
        if t.dtype != F32 or exists(t):
            return t
        return copies.setdefault(key(t), t.bfloat16())

    with hooks(pack, lambda t: t.float() if t.dtype == BF16 and x.dtype == F32 else t):
        return model(x)


def all_held(model: Any, x: Tensor) -> Any:
    held: list[Tensor] = []  # so that no address is used twice
    return by_key(model, x, lambda t: held.append(t) or (t.data_ptr(), *view(t)))


def whole_model(model: Any, x: Tensor) -> Any:
    if not isinstance(model, nn.Module):
        return model(x)
    return copy.deepcopy(model).bfloat16()(x.bfloat16()).float()


def nothing(model: Any, x: Tensor) -> Any:
    with hooks(lambda t: t, lambda t: t):
        return model(x)


def forgetful(model: Any, x: Tensor) -> None:
    packing(model, x)


@dataclass
class Packed:
    tensor: Tensor
    dtype: torch.dtype | None

    def parts(self) -> tuple[Tensor, torch.dtype | None]:
        return self.tensor, self.dtype


def numbered(model: Any, x: Tensor) -> Any:
    """pack returns a number, the key of a table."""
    table: dict[int, tuple[Tensor, torch.dtype | None]] = {}

    def wrap(t: Tensor, dtype: torch.dtype | None) -> int:
        table[len(table)] = t, dtype
        return len(table) - 1

    return packing(model, x, wrap=wrap, unwrap=table.__getitem__)


def unpacked_by_a_function(model: Any, x: Tensor) -> Any:
    """pack returns the function that gives the tensor back."""
    copies: Any = weakref.WeakKeyDictionary()

    def pack(t: Tensor) -> Any:
        root = t if t._base is None else t._base
        if t.dtype is not F32 or (root.requires_grad and root.grad_fn is None):
            return lambda: t
        key = str((t._version, t.storage_offset(), *t.size(), *t.stride()))
        made = copies.setdefault(t.untyped_storage(), {})
        if key not in made:
            made[key] = t.detach().to(BF16)
        return partial(made[key].to, F32)

    with hooks(pack, lambda give: give()):
        return model(x)
