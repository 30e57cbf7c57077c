"""Storages go in; tables by their address come out, whose entries go when the storage is freed.

An address is PyTorch's `StorageImpl`: once that is freed, another storage may have it.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import ref

import torch

from ._torch import address_of

__all__ = ["Storages"]


class Storages:
    """Gives tables by address, and forgets in all of them what was known of a storage that is freed."""

    def __init__(self) -> None:
        self._watched: dict[int, ref[torch.UntypedStorage]] = {}
        self._tables: list[dict[int, Any]] = [self._watched]

    def table(self) -> dict[int, Any]:
        """A new table by address."""
        self._tables.append({})
        return self._tables[-1]

    def watch(self, storage: torch.UntypedStorage) -> None:
        """Hold a storage no longer than the run does. Another one must be held by whoever writes it into a table."""
        address = address_of(storage)
        if address not in self._watched:
            self._watched[address] = ref(storage, partial(self._storage_freed, address))

    def release(self) -> None:
        """Stop watching: the callbacks lead to the tables."""
        self._watched.clear()

    def _storage_freed(self, address: int, _: object) -> None:
        for table in self._tables:
            table.pop(address, None)
