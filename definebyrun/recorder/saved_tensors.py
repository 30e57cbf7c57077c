"""New nodes go in; what each of them saves for its backward comes out, by the storage that it keeps alive.

What hooks on saved tensors have put in a tensor's place counts too; no such hook is run.
"""

from __future__ import annotations

from typing import Any

import torch

from ..trace import Saved
from ._torch import address_of, saved_tensor_hooks
from .drafts import OpDraft, StepDraft
from .engine import running_node
from .nodes import Nodes
from .recomputation import Recomputations
from .saved_tensor_hooks import kept_behind_hooks
from .storages import Storages
from .torch_calls import saved_tensors, storage_of
from .versions import Versions

__all__ = ["MAX_HELD_BYTES", "SavedTensors"]

MAX_HELD_BYTES = 4096
"""A storage of more bytes is held no longer than the run itself holds it."""


class SavedTensors:
    """Reads what new nodes save, when the operation that made them has been entered."""

    def __init__(
        self, nodes: Nodes, versions: Versions, storages: Storages, ops: list[OpDraft]
    ) -> None:
        self._nodes, self._versions, self._storages, self._ops = nodes, versions, storages, ops
        self._ordinals: dict[int, int] = storages.table()
        self._next_ordinal = 0  # no length of a table: entries go
        self._held: list[torch.UntypedStorage] = []
        self._recomputations = Recomputations()

    def read(self) -> None:
        """Note what the new nodes save."""
        if not self._nodes.unread:
            return
        unread = self._nodes.take_unread()
        if saved_tensor_hooks(True) is not None:
            self._read_behind_hooks(unread)
            return
        for number, node in unread:
            self._note(number, saved_tensors(node))

    def _read_behind_hooks(self, unread: list[tuple[int, Any]]) -> None:
        """The same while hooks on saved tensors are on, those of a checkpoint among them."""
        for number, node in unread:
            found, checkpoint = kept_behind_hooks(node)
            self._note(number, found)
            if checkpoint is not None:
                self._recomputations.add(number, checkpoint)
            if found and self._nodes.drafts[number].made is None:
                running = running_node()
                own = None if running is None else self._nodes.graph.index.get(running)
                self._recomputations.pair(number, own)

    def _note(self, number: int, found: list[tuple[str, torch.Tensor]]) -> None:
        saved = []
        maker = self._nodes.drafts[number].op
        op = None if maker is None else self._ops[maker]
        for name, tensor in found:
            storage = storage_of(tensor)
            if storage is not None:
                address, nbytes = address_of(storage), storage.nbytes()
                ordinal = self._ordinals.get(address)
                if ordinal is None:
                    ordinal = self._ordinals[address] = self._next_ordinal
                    self._next_ordinal += 1
                    if nbytes > MAX_HELD_BYTES:
                        self._storages.watch(storage)
                    else:
                        self._held.append(storage)
                version = self._versions.version_on(address, tensor)
                given = None
                if op is not None and version not in op.inputs and version not in op.outputs:
                    given = self._given_on(address, op)
                saved.append(Saved(name, ordinal, nbytes, version, given))
        self._nodes.drafts[number].saved = tuple(saved)

    def _given_on(self, address: int, op: OpDraft) -> int | None:
        """The input of an operation that lies on a storage; None unless there is just one."""
        found = {i for i in op.inputs if self._versions.address_on(i) == address}
        return found.pop() if len(found) == 1 else None

    def changed_since(self, node: int) -> tuple[str, int] | None:
        """The first of what a node has saved that an operation has changed since, and that operation."""
        draft = self._nodes.drafts[node]
        addresses = {ordinal: address for address, ordinal in self._ordinals.items()}
        later = [op for op in self._ops[0 if draft.op is None else draft.op + 1 :] if op.inplace]
        for saved in draft.saved:
            address = addresses.get(saved.storage)
            for op in later:
                written = map(self._versions.address_on, op.outputs)
                if saved.tensor in op.inputs or (address is not None and address in written):
                    return saved.name, op.index
        return None

    def finish(self, steps: list[StepDraft]) -> None:
        """Say of nodes that a checkpoint's recomputation made until when they keep what they save."""
        self._recomputations.finish(self._nodes.drafts, steps)
