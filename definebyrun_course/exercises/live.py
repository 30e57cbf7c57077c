"""The memory of all results of a region that is still held: what a forward pass keeps, however it is kept."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Live", "Piece", "kept_bytes"]


@dataclass(frozen=True)
class Piece:
    """A piece of memory: which element type it was made for, its bytes, and whether it was made from a parameter."""

    dtype: torch.dtype
    bytes: int
    of_a_parameter: bool


class Live(TorchDispatchMode):
    """A region that notes the memory of each operation's results by weak references.

    Parameters are told by their memory, so that a view of one is one too.
    """

    def __init__(self, parameters: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._parameters = {p.untyped_storage().data_ptr() for p in parameters}
        self._pieces: weakref.WeakKeyDictionary[Any, Piece] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sources = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs or {}))}
        alone = len(sources) == 1 and sources <= self._parameters
        for made in _tensors(result):
            storage = made.untyped_storage()
            if storage not in self._pieces:
                self._pieces[storage] = Piece(made.dtype, storage.nbytes(), alone)
        return result

    def held(self, *known: Tensor) -> list[Piece]:
        """The pieces that somebody still holds, but for those of these tensors and of the parameters."""
        not_counted = {t.untyped_storage().data_ptr() for t in known} | self._parameters
        return [p for s, p in self._pieces.items() if s.data_ptr() not in not_counted]


def kept_bytes(function: Callable[..., Tensor], *given: Any) -> tuple[int, int]:
    """What a call keeps for its backward pass: bytes that hooks on saved tensors see, and bytes that are held beside.

    The latter are attributes of ctx, closures, copies; the result and the tensors that are given are not counted there.

    >>> kept_bytes(torch.exp, torch.zeros(4, requires_grad=True))
    (16, 0)
    """
    saved: dict[int, int] = {}
    known = [each for each in given if isinstance(each, Tensor)]

    def pack(t: Tensor) -> Tensor:
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        known.append(t)
        return t

    with Live() as live, saved_tensors_hooks(pack, lambda t: t):
        y = function(*given)
    return sum(saved.values()), sum(piece.bytes for piece in live.held(y, *known))


def _tensors(things: Any) -> list[Tensor]:
    found, waiting = [], [things]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, Tensor):
            found.append(thing)
        elif isinstance(thing, (list, tuple)):
            waiting += thing
        elif isinstance(thing, dict):
            waiting += thing.values()
    return found
