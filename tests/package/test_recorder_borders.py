"""The recorder at its borders: memory that several tensors share, writes that no call shows, tensors without any."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import definebyrun as dbr


def inputs_of(tape: dbr.Tape, name: str) -> list[tuple[str | None, object]]:
    """What the last operation of a name read: names and numbers."""
    op = [op for op in tape.ops if op.name == name][-1]
    return [(tape.tensors[i].name, tape.tensors[i].value.tolist()) for i in op.inputs]


def test_a_write_by_way_of_one_of_several_tensors_on_a_memory_changes_all_of_them() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        a, b, c = w.detach(), w.detach(), w.data
        torch.stack([w, a, b])
        c.mul_(3)  # has a version counter of its own
        torch.stack([w, a, b])
    three = [3.0, 3.0]
    assert inputs_of(tape, "stack") == [("w", three), ("a", three), ("b", three)]


def test_memory_that_was_empty_has_numbers_after_a_write_that_no_call_shows() -> None:
    with dbr.record() as tape:
        x = torch.empty(3)
        with torch._C.DisableTorchFunction():
            x.fill_(2.0)
        _ = x + 1
    assert tape.tensors[0].value.data is None
    assert inputs_of(tape, "add") == [("x", [2.0, 2.0, 2.0])]


def test_a_fake_tensor_is_not_asked_for_numbers() -> None:
    mode = FakeTensorMode(shape_env=ShapeEnv())
    with mode, dbr.record() as tape:
        _ = torch.ones(2) * 2
    assert [tensor.value.data for tensor in tape.tensors] == [None, None]
    assert mode.shape_env is not None
    assert mode.shape_env.pending_fresh_unbacked_symbols == []
