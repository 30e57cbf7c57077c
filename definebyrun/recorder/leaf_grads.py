"""What leaves hold in their `.grad`, as far as it is known: changes that no node made are listed."""

from __future__ import annotations

from functools import partial
from weakref import ref

import torch

from ..trace import Grad
from ..trace.value import Value
from ._torch import address_of
from .snapshot import is_same
from .snapshot import unguarded_snapshot as snapshot
from .storages import Storages
from .torch_calls import is_large, storage_of
from .versions import Versions

__all__ = ["LeafGrads"]


class LeafGrads:
    """Remembers the content of each leaf's `.grad`, by the leaf's first version, and which storage it lies in."""

    def __init__(self, versions: Versions, storages: Storages) -> None:
        self.changes: list[Grad] = []
        self._versions = versions
        self._now: dict[int, Value | None] = {}
        self._owners: dict[int, torch.Tensor] = storages.table()
        self._leaves: dict[int, torch.Tensor] = {}  # by first version
        self.exposed: dict[int, None] = storages.table()
        """Addresses of storages of `.grad`s into which others can write."""
        # by id: tensors that the run has read as a `.grad`; of large ones a reference
        self.read: dict[int, torch.Tensor | ref[torch.Tensor]] = {}

    def note_read(self, grad: torch.Tensor) -> None:
        """The run reads a leaf's `.grad`: that tensor is there from now on, not from the start."""
        key, known = id(grad), self.read
        known[key] = ref(grad, partial(known.pop, key)) if is_large(grad) else grad

    def leaf_of_read(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The leaf whose `.grad` a tensor is, if the run has read it there."""
        if id(tensor) not in self.read:
            return None
        return next((leaf for leaf in self._owners.values() if leaf.grad is tensor), None)

    def hand_out(self, address: int) -> None:
        """Others can write into the storage at this address from now on, which may be that of a `.grad`."""
        if address in self._owners:
            self.exposed[address] = None

    def note_exposed(self, since: int) -> None:
        """Note what others have written into the `.grad`s that they can write into, before step `since`."""
        for address in list(self.exposed):
            leaf = self._owners.get(address)
            if leaf is not None:
                self.note(leaf, since)

    def note_all(self, since: int) -> None:
        """Note for every leaf whose `.grad` is not what it is known to be what it holds from step `since` on."""
        for leaf in self._leaves.values():
            self.note(leaf, since)

    def owner(self, address: int) -> torch.Tensor | None:
        """The leaf whose `.grad` lies in the storage at this address."""
        return self._owners.get(address)

    def enter(self, leaf: torch.Tensor, version: int) -> None:
        """A leaf is seen for the first time: note what it held before the recording."""
        self._leaves[version] = leaf
        grad = leaf.grad
        if grad is not None:
            value = snapshot(grad)
            self.changes.append(Grad(version, 0, value))
            self.hold(leaf, grad, value)

    def note(self, leaf: torch.Tensor, since: int) -> None:
        """Something else than its node may have changed a leaf's `.grad`: note what it holds from step `since` on."""
        first = self._versions.first(leaf)
        if first is None:
            return
        grad = leaf.grad
        value = None if grad is None else snapshot(grad)
        if not is_same(value, self._now.get(first)):
            self.changes.append(Grad(first, since, value))
        self.hold(leaf, grad, value)

    def hold(self, leaf: torch.Tensor, grad: torch.Tensor | None, value: Value | None) -> None:
        """Remember what a leaf holds in its `.grad`, and where that lies."""
        first = self._versions.first(leaf)
        if first is not None:
            self._now[first] = value
            storage = None if grad is None else storage_of(grad)
            if storage is not None:
                self._owners[address_of(storage)] = leaf

    def held(self, leaf: torch.Tensor) -> Value | None:
        """What a leaf is known to hold in its `.grad`."""
        first = self._versions.first(leaf)
        return None if first is None else self._now.get(first)

    def release(self) -> None:
        """Let go of the gradients that the run has read: callbacks of weak references lead here."""
        self.read.clear()
