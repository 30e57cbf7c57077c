"""What an answer costs: operations and matrix products, tensors saved for a backward pass, bytes that it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..grading import Mistake, expect

__all__ = ["Held", "Work", "by_hand"]

PRODUCTS = ("mm", "mv", "addmm", "addmv", "bmm", "baddbmm", "dot", "vdot", "linalg_vecdot")
BATCHED = ("bmm", "baddbmm")
BY_HAND = "Write each derivative down as a formula, and compute that formula."


class Work(TorchDispatchMode):
    """A region that counts the operations in it, and notes how many elements their largest result has.

    `products` are those of matrices and vectors; a batched one counts as often as it has matrices.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.largest = self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.counts[name] += 1
        if name in PRODUCTS:
            self.products += len(result) if name in BATCHED else 1
        if isinstance(result, Tensor):
            self.largest = max(self.largest, result.numel())
        return result

    def count(self, *names: str) -> int:
        """How many operations had one of these names; all of them without a name.

        >>> with Work() as work:
        ...     _ = torch.ones(2, 2) @ torch.ones(2, 2) + 1
        >>> work.count("mm"), work.count()
        (1, 4)
        """
        return sum(self.counts[name] for name in names) if names else self.counts.total()


class Held(TorchDispatchMode):
    """A region that notes how many bytes live of what is made in it: now, and at most. It may be entered again.

    Views and results written in place make nothing new; what NumPy and Python hold is not seen.

    >>> with Held() as held:
    ...     x = torch.zeros(4, dtype=torch.float64)
    ...     x += torch.ones_like(x)
    >>> held.nbytes, held.peak_nbytes
    (32, 64)
    """

    def __init__(self) -> None:
        super().__init__()
        self._pieces: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self.peak_nbytes = 0

    @property
    def nbytes(self) -> int:
        """How many bytes live now."""
        return sum(self._pieces.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages([args, kwargs])}
        for storage in _storages(result):
            if storage._cdata not in given:
                self._pieces[storage] = storage.nbytes()
        self.peak_nbytes = max(self.peak_nbytes, self.nbytes)
        return result


def _storages(things: Any) -> list[Any]:
    return [each.untyped_storage() for each in tree_leaves(things) if isinstance(each, Tensor)]


@contextmanager
def by_hand(what: str) -> Iterator[Work]:
    """A region in which nothing is saved for a backward pass; what it costs is counted.

    Where something is saved, somebody has asked autograd: a `Mistake` says so of `what`. Forward mode and finite
    differences save nothing, but they need more products than a formula does.
    """
    saved: list[None] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(None)
        return tensor

    told = f"{what} is asked for by hand, and autograd was used"
    try:
        with saved_tensors_hooks(pack, lambda tensor: tensor), Work() as work:
            yield work
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        raise Mistake(f"{told}, through torch.func.", BY_HAND) from error
    expect(not saved, f"{told}: tensors were saved for a backward pass.", BY_HAND)
