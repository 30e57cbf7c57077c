"""What a recording keeps until it ends has a bound: what dropped graphs saved, small tensors, a few kB an operation."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import torch

import definebyrun as dbr
from definebyrun.recorder.snapshot import MAX_KEPT_ELEMENTS
from definebyrun.recorder.torch_calls import MAX_HELD_ELEMENTS

MAX_BYTES_AN_OPERATION = 7_000
"""What the docs call about 5 kB, with its backward, and with room for other versions of Python and PyTorch."""


def test_of_graphs_that_are_dropped_large_tensors_stay_exactly_as_memory_says() -> None:
    size = MAX_HELD_ELEMENTS + 1
    w = torch.ones(size, requires_grad=True)
    made = []
    with dbr.record() as tape:
        for _ in range(5):  # validation without `no_grad`
            x = torch.ones(size)
            scaled = x * w
            y = scaled.tanh()
            made += [weakref.ref(each.untyped_storage()) for each in (x, scaled, y)]
            y.mean().item()
            del x, scaled, y
        gc.collect()
        kept = sum(each() is not None for each in made) * 4 * size
    assert kept == tape.memory()[-1] == 2 * 5 * 4 * size
    assert not any(each() for each in made)


def test_of_graphs_that_a_backward_pass_frees_no_large_tensor_stays() -> None:
    size = MAX_HELD_ELEMENTS + 1
    w = torch.ones(size, requires_grad=True)
    made = []
    with dbr.record() as tape:
        for _ in range(5):
            y = (torch.ones(size) * w).tanh()
            made.append(weakref.ref(y.untyped_storage()))
            y.mean().backward()
            del y
        gc.collect()
        assert not any(each() for each in made)
    assert tape.memory()[-1] == 0


def test_an_operation_on_small_tensors_takes_a_few_kilobytes() -> None:
    w = torch.ones(2, requires_grad=True)
    tracemalloc.start()
    try:
        with dbr.record() as tape:
            h = w
            for _ in range(300):
                h = torch.tanh(h * w)
            h.sum().backward()
            kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / len(tape.ops) < MAX_BYTES_AN_OPERATION


def test_of_a_tensor_a_copy_of_at_most_64_kib_is_kept() -> None:
    with dbr.record() as tape:
        torch.ones(MAX_KEPT_ELEMENTS, dtype=torch.float64)
        torch.ones(MAX_KEPT_ELEMENTS + 1, dtype=torch.float64)
    small, large = (tensor.value.data for tensor in tape.tensors)
    assert small is not None
    assert (len(small), large) == (4096, None)
