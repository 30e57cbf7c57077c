"""Live tensors go in, the numbers of their versions come out: one more whenever a tensor's content has changed.

Which tensor it is, is known by its `id`; whether it was written to, by PyTorch's version counter, and by what the
recording knows of other tensors on the same storage. Small tensors and parameters are held, so that an `id` stays
theirs. Large ones are not: the run lets go of their memory as it would anyway, and what is known by their `id` and
their storage goes with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from weakref import ref

import torch
from torch.nn import Parameter

from ..trace import TensorVersion
from ..trace.frozen import sealed
from ..trace.records import TensorKind
from ._torch import address_of
from .drafts import TensorDraft
from .names import Names
from .shared_memory import SharedMemory
from .snapshot import is_same, shape_only
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
        self._memory = SharedMemory(storages)
        self._exposed: set[int] = set()  # ids of small tensors whose memory others have too
        self._leaves: dict[int, None] = {}  # ids of small tensors that no operation made

    # ---- which version a tensor is ----

    def use_unchanged(self, tensor: torch.Tensor) -> int | None:
        """The number of a tensor that is used now, if it is what it was when last seen, requires_grad included."""
        key = id(tensor)
        known = self._latest.get(key)
        if known is None or self._counters.get(key) != version_of(tensor):
            return None
        if key in self._stale or key in self._exposed:
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
        storage = storage_of(tensor) if (tensor := self.tensor_of(version)) is not None else None
        return None if storage is None else address_of(storage)

    def first(self, leaf: torch.Tensor) -> int | None:
        """The first version of a leaf; in-place changes have made others of it."""
        known = self._latest.get(id(leaf))
        return None if known is None else _first_of(self.drafts, known)

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
        return self._memory.version(address, view_key(tensor, shape_of(tensor)))

    def without_known_node(self) -> list[torch.Tensor]:
        """The results that ask for a gradient while no node is known: the forward of a custom `Function` made them."""
        return [each for each, draft in self.live() if draft.node is None and each.requires_grad]

    # ---- content that no call has changed ----

    def hand_out(self, tensor: torch.Tensor) -> None:
        """Others can write into a tensor's memory from now on: compare the small tensors on it at each use."""
        if (storage := storage_of(tensor)) is not None:
            address = address_of(storage)
            self._storages.watch(storage)
            self._memory.handed_out[address] = None
            self._memory.unwritten.pop(address, None)
            there = self._memory.tensors(address)
            self._exposed |= {
                k for k in there if not isinstance(self._tensors[self._latest[k]], ref)
            }

    def may_differ(self, tensor: torch.Tensor) -> bool:
        """Whether a known tensor has another content than when last seen; True where that was not kept."""
        value = self.drafts[self._latest[id(tensor)]].value
        now = snapshot(tensor)
        return now.data is None or not is_same(value, now)

    def has_changed_unseen(self, tensor: torch.Tensor) -> bool:
        """Whether a known tensor has another content than when last seen, where both can be read."""
        known = self._latest.get(id(tensor))
        if known is None or id(tensor) in self._stale:
            return False
        value, storage = self.drafts[known].value, storage_of(tensor)
        if storage is None or address_of(storage) in self._memory.unwritten:
            return False
        now = snapshot(tensor)
        return (now.data is not None or now.low is not None) and not is_same(value, now)

    def is_exposed(self, tensor: torch.Tensor) -> bool:
        """Whether others can write into a tensor's memory."""
        return id(tensor) in self._exposed

    def changed_unseen(self) -> list[torch.Tensor]:
        """The small leaves, buffers and exposed tensors that have changed although no call has shown it."""
        watched = self._leaves.keys() | self._exposed
        live = [each for each, _ in self.live() if id(each) in watched]
        return list(filter(self.has_changed_unseen, live))

    # ---- what has changed ----

    def forget(self, tensor: torch.Tensor) -> None:
        """Forget that this tensor was entered, so that the call around it enters it as its own result."""
        self._counters.pop(id(tensor), None)

    def written(self, address: int, by: torch.Tensor) -> None:
        """A storage was written to by way of one tensor: all others on it are stale, whatever their counters say."""
        self._memory.unwritten.pop(address, None)
        others = self._memory.tensors(address) - {id(by)}
        self._stale |= others
        self.touched += sorted(map(self._latest.__getitem__, others))

    def replaced(self, tensor: torch.Tensor) -> None:
        """`w.data = …` puts other memory under a tensor, which no version counter tells."""
        self._stale.add(id(tensor))

    def uninitialized(self, results: list[torch.Tensor]) -> None:
        """`torch.empty` and its like: what stands in the memory of these tensors means nothing yet."""
        for storage in map(storage_of, results):
            if storage is not None:
                self._memory.unwritten[address_of(storage)] = None

    def initialized(self, tensor: torch.Tensor) -> None:
        """Something has been written into a tensor's memory."""
        if (storage := storage_of(tensor)) is not None:
            self._memory.unwritten.pop(address_of(storage), None)

    def take_touched_leaves(self) -> list[torch.Tensor]:
        """The leaves that have become stale since the last call: `w.data.mul_(2)` changes the leaf w."""
        touched, self.touched = dict.fromkeys(self.touched), []
        leaves = (v for v in touched if self.drafts[v].kind in ("leaf", "parameter"))
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
            origin = _first_of(self.drafts, earlier)
        storage = storage_of(tensor)
        address = None if storage is None else address_of(storage)
        memory, is_held = self._memory, True
        readable = address not in memory.unwritten
        value = snapshot(tensor) if readable else shape_only(tensor)
        held: torch.Tensor | ref[torch.Tensor] = tensor
        # what nothing has been written to is known by its address alone
        if address is not None and readable and is_large(tensor):
            if earlier is None:
                self._names.forget(key)
            held = ref(tensor, partial(self._tensor_died, index, key, address))
            self._storages.watch(storage)
            is_held = False
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
        if is_held and kind != "result":
            self._leaves[key] = None
        if address is not None:
            if is_held and (address in memory.handed_out or not storage.resizable()):
                self._exposed.add(key)  # memory that NumPy has cannot be resized
            memory.add(address, key, view_key(tensor, value.shape), index)
        return index

    def _tensor_died(self, index: int, key: int, address: int, _: object) -> None:
        """A large tensor has died: its `id` may be another one's from now on."""
        self.drafts[index].name = self._names.left(key)
        if self._latest.get(key) == index:
            del self._latest[key]
            self._counters.pop(key, None)
            self._stale.discard(key)
        self._memory.drop(address, key)

    # ---- the end ----

    def settle_names(self) -> None:
        """Find the names of all tensors that are still there, while the frames are."""
        self._names.settle(*_leaves_and_results(self.live()))

    def live(self) -> Iterator[tuple[torch.Tensor, TensorDraft]]:
        """The tensors that are still there, each with its newest version."""
        for version in self._latest.values():
            if (tensor := self.tensor_of(version)) is not None:
                yield tensor, self.drafts[version]

    def note_owners(self, owners: dict[int, tuple[int, ...]]) -> None:
        """Say of leaves which modules hold them, by the `id`s of their tensors; also of what was made of a buffer."""
        leaves: set[int] = set()
        for draft in self.drafts if owners else ():
            key = id(self.tensor_of(draft.index))
            if key in owners and (draft.kind != "result" or (key in leaves and draft.node is None)):
                leaves.add(key)
                draft.owners = owners[key]

    def freeze(self) -> tuple[TensorVersion, ...]:
        """All versions, with the names that their tensors have now."""
        _share_nodes(self.drafts)
        for draft in self.drafts:
            if (tensor := self.tensor_of(draft.index)) is not None:
                draft.name = self._names.of(tensor)
        self._tensors.clear()  # callbacks of weak references lead here
        return sealed(self.drafts, TensorVersion)


def _first_of(drafts: list[TensorDraft], version: int) -> int:
    origin = drafts[version].origin
    return version if origin is None else origin


def _leaves_and_results(
    live: Iterable[tuple[torch.Tensor, TensorDraft]],
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The parameters and all that ask for gradients, and the others."""
    leaves: list[torch.Tensor] = []
    results: list[torch.Tensor] = []
    for tensor, draft in live:
        leaf = draft.kind in ("leaf", "parameter") or type(tensor) is Parameter
        (leaves if leaf else results).append(tensor)
    return leaves, results


def _share_nodes(drafts: list[TensorDraft]) -> None:
    """Give the first version of a leaf its node, which may have become known with a later one."""
    for draft in drafts:
        if draft.origin is not None and draft.node is not None:
            first = drafts[draft.origin]
            if first.node is None and first.kind == draft.kind:
                first.node = draft.node
