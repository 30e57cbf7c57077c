"""What an answer costs: operations and matrix products that it runs, tensors that it saves for a backward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from ..grading import Mistake, expect

__all__ = ["Work", "by_hand"]

PRODUCTS = ("mm", "mv", "addmm", "addmv", "bmm", "baddbmm", "dot", "vdot", "linalg_vecdot")
BY_HAND = "Write each derivative down as a formula, and compute that formula."


class Work(TorchDispatchMode):
    """A region that counts the operations in it, and notes how many elements their largest result has."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.counts[func.overloadpacket.__name__] += 1
        if isinstance(result, torch.Tensor):
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

    @property
    def products(self) -> int:
        """How many products of matrices and vectors there were."""
        return self.count(*PRODUCTS)


@contextmanager
def by_hand(what: str) -> Iterator[Work]:
    """A region in which nothing is saved for a backward pass; what it costs is counted.

    Where something is saved, somebody has asked autograd: a `Mistake` says so of `what`. Forward mode and finite
    differences save nothing, but they need more products than a formula does.
    """
    saved: list[None] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
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
