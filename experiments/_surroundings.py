"""What an experiment runs in: one thread, as the lessons do, and a default dtype where it asks for another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread(dtype: torch.dtype | None = None) -> Iterator[None]:
    """A region that computes on one thread, with this default dtype if one is given; both are put back."""
    threads, before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(dtype or before)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(before)
