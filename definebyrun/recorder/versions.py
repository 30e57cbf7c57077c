"""Live tensors go in, the numbers of their versions come out: one more whenever a tensor's content has changed.

Which tensor it is, is known by its `id`; whether it was written to, by PyTorch's version counter, and by what the
recording knows of other tensors on the same storage. Small tensors and parameters are held, so that an `id` stays
theirs. Large ones are not: the run lets go of their memory as it would anyway, and what is known by their `id` and
their storage goes with it.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import ref

import torch
from torch.nn import Parameter

from ..trace import TensorVersion
from ..trace.frozen import sealed
from ..trace.records import TensorKind
from ._torch import address_of
from .drafts import TensorDraft
from .names import Names
from .snapshot import shape_only
from .snapshot import unguarded_snapshot as snapshot
from .storages import Storages
from .torch_calls import is_large, shape_of, storage_of, version_of, view_key

__all__ = ["Versions"]


class Versions:
    """Numbers the versions of tensors, and knows which of them a tensor is now."""

    def __init__(self, names: Names, storages: Storages) -> None:
        self.drafts: list[TensorDraft] = []
        self._names, self._storages = names, storages
        self._tensors: list[torch.Tensor | ref[torch.Tensor]] = []  # by version
        self._latest: dict[int, int] = {}  # by id of a tensor: its newest version
        self._counters: dict[int, int] = {}  # by id of a tensor: its version counter then
        self._stale: set[int] = set()  # ids of tensors whose memory was written by way of another
        self.touched: list[int] = []  # the newest versions of those, since leaves were taken
        self._used: set[int] = set()  # versions that an operation has read
        # by storage: the id of the tensor on it, or the ids
        self._sharing: dict[int, int | set[int]] = storages.table()
        # by storage, and what is shown of it: the newest version that shows that
        self._views: dict[int, dict[Any, int]] = storages.table()
        # storages in which nothing has been written yet
        self._uninitialized: dict[int, None] = storages.table()

    # ---- which version a tensor is ----

    def use_unchanged(self, tensor: torch.Tensor) -> int | None:
        """The number of a tensor that is used now, if it is what it was when last seen, requires_grad included."""
        key = id(tensor)
        known = self._latest.get(key)
        if known is None or key in self._stale or self._counters.get(key) != version_of(tensor):
            return None
        draft = self.drafts[known]
        if (draft.node is not None) != tensor.requires_grad:
            return None
        if draft.op is None or draft.kind != "result":
            self.use(known, tensor)
        else:
            self._used.add(known)
        return known

    def use(self, version: int, tensor: torch.Tensor) -> None:
        """Note that an operation has read a version. A leaf without a name is searched for, once."""
        if version not in self._used:
            self._used.add(version)
            if self.drafts[version].op is None or self.drafts[version].kind != "result":
                self._names.first_use(tensor)

    def is_used(self, version: int) -> bool:
        """Whether an operation has read a version."""
        return version in self._used

    def latest(self, tensor: torch.Tensor) -> int | None:
        """The newest version of a tensor that has been entered, whatever has become of it since."""
        return self._latest.get(id(tensor))

    def address_on(self, version: int) -> int | None:
        """The address of the storage that a version's tensor has now; None when the tensor is gone, or has none."""
        tensor = self.tensor_of(version)
        storage = None if tensor is None else storage_of(tensor)
        return None if storage is None else address_of(storage)

    def first(self, leaf: torch.Tensor) -> int | None:
        """The first version of a leaf; in-place changes have made others of it."""
        known = self._latest.get(id(leaf))
        return None if known is None else self._first_of(known)

    def is_new(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor, or its version by PyTorch's counter, has not been entered yet."""
        return self._counters.get(id(tensor)) != version_of(tensor)

    def is_fresh(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor still has the content with which it was entered."""
        key = id(tensor)
        return self._counters.get(key) == version_of(tensor) and key not in self._stale

    def tensor_of(self, version: int) -> torch.Tensor | None:
        """The tensor of a version; None when the run has let go of it."""
        held = self._tensors[version]
        return held() if isinstance(held, ref) else held

    def version_on(self, address: int, tensor: torch.Tensor) -> int | None:
        """The newest version that shows the same part of a storage as this tensor, in the same form."""
        views = self._views.get(address)
        return None if views is None else views.get(view_key(tensor, shape_of(tensor)))

    # ---- what has changed ----

    def forget(self, tensor: torch.Tensor) -> None:
        """Forget that this tensor was entered, so that the call around it enters it as its own result."""
        self._counters.pop(id(tensor), None)

    def written(self, address: int, by: torch.Tensor) -> None:
        """A storage was written to by way of one tensor: all others on it are stale, whatever their counters say."""
        self._uninitialized.pop(address, None)
        sharing = self._sharing.get(address, set())
        others = ({sharing} if isinstance(sharing, int) else sharing) - {id(by)}
        self._stale |= others
        self.touched += sorted(map(self._latest.__getitem__, others))

    def replaced(self, tensor: torch.Tensor) -> None:
        """`w.data = …` puts other memory under a tensor, which no version counter tells."""
        self._stale.add(id(tensor))

    def uninitialized(self, results: list[torch.Tensor]) -> None:
        """`torch.empty` and its like: what stands in the memory of these tensors means nothing yet."""
        for storage in map(storage_of, results):
            if storage is not None:
                self._uninitialized[address_of(storage)] = None

    def initialized(self, tensor: torch.Tensor) -> None:
        """Something has been written into a tensor's memory."""
        storage = storage_of(tensor)
        if storage is not None:
            self._uninitialized.pop(address_of(storage), None)

    def take_touched_leaves(self) -> list[torch.Tensor]:
        """The leaves that have become stale since the last call: `w.data.mul_(2)` changes the leaf w."""
        touched, self.touched = dict.fromkeys(self.touched), []
        leaves = [v for v in touched if self.drafts[v].kind in ("leaf", "parameter")]
        tensors = map(self.tensor_of, leaves)
        return [each for each in tensors if each is not None and id(each) in self._stale]

    # ---- entering ----

    def enter(
        self,
        tensor: torch.Tensor,
        kind: TensorKind,
        op: int | None,
        node: int | None = None,
        output_nr: int = 0,
        since: int = 0,
    ) -> int:
        """Number a version of a tensor that an operation has made, or that is seen for the first time."""
        index, key = len(self.drafts), id(tensor)
        earlier, origin = self._latest.get(key), None
        if earlier is not None and kind != "result" and self.drafts[earlier].kind != "result":
            origin = self._first_of(earlier)
        storage = storage_of(tensor)
        address = None if storage is None else address_of(storage)
        readable = address not in self._uninitialized
        value = snapshot(tensor) if readable else shape_only(tensor)
        held: torch.Tensor | ref[torch.Tensor] = tensor
        # what nothing has been written to is known by its address alone
        if address is not None and readable and is_large(tensor):
            if earlier is None:
                self._names.forget(key)
            held = ref(tensor, partial(self._tensor_died, index, key, address))
            self._storages.watch(storage)
        self._tensors.append(held)
        self.drafts.append(
            TensorDraft(
                index,
                None,
                kind,
                value,
                op=op,
                node=node,
                output_nr=output_nr,
                origin=origin,
                since=since,
            )
        )
        self._latest[key], self._counters[key] = index, version_of(tensor)
        self._stale.discard(key)
        if address is not None:
            self._views.setdefault(address, {})[view_key(tensor, value.shape)] = index
            sharing = self._sharing.setdefault(address, key)
            if isinstance(sharing, set):
                sharing.add(key)
            elif sharing != key:
                self._sharing[address] = {sharing, key}
        return index

    def _tensor_died(self, index: int, key: int, address: int, _: object) -> None:
        """A large tensor has died: its `id` may be another one's from now on."""
        self.drafts[index].name = self._names.left(key)
        if self._latest.get(key) == index:
            del self._latest[key]
            self._counters.pop(key, None)
            self._stale.discard(key)
        sharing = self._sharing.get(address)
        if isinstance(sharing, set):
            sharing.discard(key)
        elif sharing == key:
            del self._sharing[address]

    def _first_of(self, version: int) -> int:
        origin = self.drafts[version].origin
        return version if origin is None else origin

    # ---- the end ----

    def settle_names(self) -> None:
        """Find the names of all tensors that are still there, while the frames are."""
        leaves: list[torch.Tensor] = []
        results: list[torch.Tensor] = []
        for version in self._latest.values():
            tensor, kind = self.tensor_of(version), self.drafts[version].kind
            if tensor is not None:
                leaf = kind in ("leaf", "parameter") or type(tensor) is Parameter
                (leaves if leaf else results).append(tensor)
        self._names.settle(leaves, results)

    def note_owners(self, owners: dict[int, tuple[int, ...]]) -> None:
        """Say of leaves which modules hold them, by the `id`s of their tensors; also of what was made of a buffer."""
        leaves: set[int] = set()
        for draft in self.drafts if owners else ():
            tensor = self.tensor_of(draft.index)
            if tensor is not None and id(tensor) in owners:
                if draft.kind != "result":
                    leaves.add(id(tensor))
                if id(tensor) in leaves and (draft.kind != "result" or draft.node is None):
                    draft.owners = owners[id(tensor)]

    def freeze(self) -> tuple[TensorVersion, ...]:
        """All versions, with the names that their tensors have now."""
        for draft in self.drafts:  # a leaf's node may have become known with a later version
            if draft.origin is not None and draft.node is not None:
                first = self.drafts[draft.origin]
                if first.node is None and first.kind == draft.kind:
                    first.node = draft.node
        for draft in self.drafts:
            tensor = self.tensor_of(draft.index)
            if tensor is not None:
                draft.name = self._names.of(tensor)
        self._tensors.clear()  # callbacks of weak references lead here
        return sealed(self.drafts, TensorVersion)
