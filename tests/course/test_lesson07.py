"""What lesson 07 says about lifetimes and memory holds beyond its own examples: the meter, the leaks, the disk."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from tools import chapters


@pytest.fixture(scope="module")
def lesson() -> dict[str, Any]:
    """The meter and the disk, with the imports of the lesson."""
    code = [c.source for c in chapters.notebook(chapters.find("07")).cells if c.id == "cell-03"]
    names: dict[str, Any] = {}
    exec("import weakref\nimport torch\n" + code[0], names)
    for name in ("meter", "on-disk"):
        (source,) = (c.source for c in chapters.notebook(chapters.find("07")).cells if c.id == name)
        exec(source, names)
    return names


def test_the_meter_counts_what_is_made_inside_and_not_what_was_there(
    lesson: dict[str, Any],
) -> None:
    x = torch.ones(100)
    with lesson["Meter"]() as meter:
        view = x[10:].t()
        assert meter.live == 0, "a view makes no memory"
        y = x * 2
        z = y[:10].clone()
        assert meter.live == 440
        del y
        assert meter.live == 40
        del z, view
    assert (meter.live, meter.peak()) == (0, 440)


def test_the_meter_stops_a_program_beyond_its_budget(lesson: dict[str, Any]) -> None:
    with lesson["Meter"](budget=1000) as meter:
        kept = torch.ones(200)
        with pytest.raises(MemoryError, match="800 bytes are wanted, 800 of 1,000 are in use"):
            torch.ones(200)
        assert meter.live == kept.nbytes


@pytest.mark.parametrize("seed", range(3))
def test_the_disk_gives_back_what_it_was_given(
    lesson: dict[str, Any], seed: int, tmp_path: Path
) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Sigmoid())
    x = torch.randn(4, 5)
    wanted = torch.autograd.grad(net(x).square().sum(), [*net.parameters()])
    with lesson["to_disk"](tmp_path):
        loss = net(x).square().sum()
    assert list(tmp_path.iterdir())
    found = torch.autograd.grad(loss, [*net.parameters()])
    assert all(map(torch.equal, found, wanted))
    assert not list(tmp_path.iterdir()), "a file goes when its node lets go of it"


def test_a_graph_that_never_ran_lets_go_of_its_files_when_it_dies(
    lesson: dict[str, Any], tmp_path: Path
) -> None:
    with lesson["to_disk"](tmp_path):
        y = torch.rand(3, requires_grad=True).exp()
    assert len(list(tmp_path.iterdir())) == 1
    del y
    gc.collect()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_checkpoint_changes_no_bit_of_a_gradient(count: int) -> None:
    net = nn.Sequential(*[nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(5)])
    x = torch.randn(4, 6)
    plain = torch.autograd.grad(net(x).sum(), [*net.parameters()])
    again = checkpoint_sequential(net, count, x, use_reentrant=False)
    assert all(map(torch.equal, plain, torch.autograd.grad(again.sum(), [*net.parameters()])))


def hidden_of(net: nn.Sequential, x: Tensor) -> tuple[Tensor, weakref.ref[Any]]:
    hidden = net[1](net[0](x))
    return net[2](hidden), weakref.ref(hidden.untyped_storage())


def test_backward_frees_what_was_saved_and_retain_graph_does_not() -> None:
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.ones(2, 3)
    for retain in (False, True):
        y, seen = hidden_of(net, x)
        y.sum().backward(retain_graph=retain)
        assert (seen() is not None) is retain


def test_ipython_holds_the_traceback_of_a_failed_cell() -> None:
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    before = getattr(sys, "last_traceback", None)
    try:
        sys.last_traceback = None
        shell.run_cell("1 / 0")
        assert sys.last_traceback is not None
    finally:
        sys.last_traceback = before
        shell.reset()


def test_adam_needs_sixteen_bytes_a_parameter_in_float32() -> None:
    layer = nn.Linear(100, 100)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    weights = sum(p.nbytes for p in layer.parameters())
    state = sum(v.nbytes for s in optimizer.state.values() for v in s.values() if v.dim())
    assert (
        weights + weights + state == 4 * weights == 16 * sum(p.numel() for p in layer.parameters())
    )


def test_autocast_keeps_copies_of_weights_in_16_bits_and_sums_of_shortcuts_in_32() -> None:
    layer, kept = nn.Linear(8, 8), list[Tensor]()

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    x = torch.ones(2, 8, requires_grad=True)
    with (
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        out = x + layer(x)
    assert out.dtype == torch.float32
    assert [t.dtype for t in kept if t.shape == (8, 8)] == [torch.bfloat16]


def test_save_on_cpu_keeps_the_same_memory_on_a_cpu() -> None:
    with torch.autograd.graph.save_on_cpu():
        e = torch.ones(3, requires_grad=True).exp()
    assert e.grad_fn._saved_result.data_ptr() == e.data_ptr()


def test_the_numbers_that_the_diagnosis_shows_are_those_of_its_program(
    lesson: dict[str, Any],
) -> None:
    """200 rows of 8 numbers, 64 hidden units: as printed under 07.2."""
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 1))
    batches = [(torch.randn(200, 8), torch.randn(200, 1)) for _ in range(4)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(batches[0][0]).sum().backward()  # every parameter has a .grad before the count begins
    printed, alive = chapters.find("07").chapter.read_text(encoding="utf-8"), []
    with lesson["Meter"]() as meter:
        value: Any = 0.0
        smooth, predictions = [], []
        for x, y in batches:
            prediction = model(x)
            loss = (prediction - y).square().mean()
            optimizer.zero_grad(set_to_none=False)
            loss.backward(retain_graph=True)
            optimizer.step()
            value = 0.9 * value + 0.1 * loss
            smooth.append(value)
            predictions.append(prediction)
            alive.append(meter.live)
    assert "  ".join(f"{n:,}" for n in alive[1:]) in printed
    assert f"{alive[0]:,}" in printed
