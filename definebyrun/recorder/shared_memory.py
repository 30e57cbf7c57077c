"""What is known of a storage: which tensors lie on it, what they show of it, whether anything stands in it, who has it.

Storages go by their address. What is known of one goes when it is freed.
"""

from __future__ import annotations

from typing import Any

from .storages import Storages

__all__ = ["SharedMemory"]


class SharedMemory:
    """The tensors on each storage, by their `id`s, and the versions that show a part of it."""

    def __init__(self, storages: Storages) -> None:
        # the id of the only tensor on a storage, or the ids
        self._tensors: dict[int, int | set[int]] = storages.table()
        # what is shown of a storage, and the newest version that shows that
        self._views: dict[int, dict[Any, int]] = storages.table()
        self.unwritten: dict[int, None] = storages.table()
        """The storages in which nothing has been written yet."""
        self.handed_out: dict[int, None] = storages.table()
        """The storages whose memory others have too."""

    def add(self, address: int, key: int, view: Any, version: int) -> None:
        """A version of the tensor with this `id` shows this part of a storage."""
        self._views.setdefault(address, {})[view] = version
        there = self._tensors.setdefault(address, key)
        if isinstance(there, set):
            there.add(key)
        elif there != key:
            self._tensors[address] = {there, key}

    def drop(self, address: int, key: int) -> None:
        """The tensor with this `id` has gone."""
        there = self._tensors.get(address)
        if isinstance(there, set):
            there.discard(key)
        elif there == key:
            del self._tensors[address]

    def tensors(self, address: int) -> set[int]:
        """The `id`s of the tensors on a storage."""
        there = self._tensors.get(address, set())
        return {there} if isinstance(there, int) else there

    def version(self, address: int, view: Any) -> int | None:
        """The newest version that shows this part of a storage."""
        views = self._views.get(address)
        return None if views is None else views.get(view)
