"""`torch.jit.trace` in a recording, and a recording in what is traced: neither captures the other's calls."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

import definebyrun as dbr


@pytest.fixture(autouse=True)
def warnings_raise() -> Any:
    """A call of the recorder's on a tensor that is traced warns, at least."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.filterwarnings("error", category=torch.jit.TracerWarning, module="definebyrun")
        yield


def kinds(traced: Any) -> list[str]:
    return [node.kind() for node in traced.inlined_graph.nodes()]


@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 2), lambda: nn.Sequential(nn.Linear(2, 2))])
def test_a_model_that_is_traced_in_a_recording_is_the_same_model(make: Any) -> None:
    model, x = make(), torch.ones(1, 2)
    plain = torch.jit.trace(model, x)
    with dbr.record() as tape:
        traced = torch.jit.trace(model, x)
        y = model(x)
    assert kinds(traced) == kinds(plain)
    assert torch.equal(traced(x), y)
    assert tape.ops[-1].name == "linear"
    assert tape.tensors[tape.ops[-1].outputs[0]].value.tolist() == y.tolist()


class Recorded(nn.Module):
    """A module whose forward is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.tapes: list[dbr.Tape] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with dbr.record() as tape:
            y: torch.Tensor = self.linear(x)
        self.tapes.append(tape)
        return y


def test_a_recording_in_a_forward_that_is_traced_sees_no_call() -> None:
    model, x = Recorded(), torch.ones(1, 2)
    plain = kinds(torch.jit.trace(model.linear, x))
    traced = torch.jit.trace(model, x, check_trace=False)
    assert sorted(set(kinds(traced))) == sorted(set(plain))
    assert all(op.opaque for op in model.tapes[-1].ops)  # found by what variables hold
    model(x)
    assert [op.name for op in model.tapes[-1].ops] == ["linear"]


class Trained(nn.Module):
    """A module whose forward has a step of training in it."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
        self.optimizer = torch.optim.SGD([self.w], lr=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        loss = (x * self.w).sum()
        loss.backward()
        self.optimizer.step()
        return loss


def test_a_backward_pass_and_a_step_that_are_traced_are_not_recorded() -> None:
    plain, recorded, x = Trained(), Trained(), torch.ones(2)
    wanted = torch.jit.trace(plain, x, check_trace=False)
    with dbr.record() as tape:
        (recorded.w * 2).sum()  # its `AccumulateGrad` has hooks from here on
        traced = torch.jit.trace(recorded, x, check_trace=False)
        (recorded.w * 2).sum().backward()
    assert kinds(traced) == kinds(wanted)
    assert torch.equal(plain.w, recorded.w)
    assert [op.name for op in tape.ops if op.name in ("mul", "sum")] == ["mul", "sum"] * 2
