"""A tape shows every change of a tensor, also one of which PyTorch's version counter says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import definebyrun as dbr

UNSEEN = "unseen write"


def names(tape: dbr.Tape) -> list[str]:
    return [op.name for op in tape.ops]


def versions(tape: dbr.Tape, name: str) -> list[Any]:
    return [each.value.tolist() for each in tape.tensors if each.name == name]


def seen_in_every_form(tape: dbr.Tape) -> None:
    """The forms can all be made, and a saved tape is the same."""
    assert dbr.load(tape.json()).text() == tape.text()
    for each in (tape, tape.fold(0), tape.fold(repeats=True)):
        assert each.html()
        assert each.svg()
    assert dbr.compare(tape, tape).text()


def test_batch_norm_in_training_changes_its_running_statistics() -> None:
    norm = nn.BatchNorm1d(2, momentum=0.5)
    with dbr.record() as tape:
        x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
        y = norm(x)
        y = norm(y)
        norm.eval()
        y = norm(y)
    means = versions(tape, "norm.running_mean")
    assert [means[0], means[1]] == [[0.0, 0.0], [1.0, 2.0]]
    assert means[-1] == pytest.approx(norm.running_mean.tolist())
    first, second, last = (op for op in tape.ops if op.name == "batch_norm")
    assert (first.beside, second.beside, last.beside) == (2, 2, 0)
    assert [tape.tensors[i].name for i in first.outputs[1:]] == [
        *("norm.running_mean", "norm.running_var")
    ]
    assert first.outputs[1] in second.inputs
    assert second.outputs[1] in last.inputs
    assert "(norm.running_mean, norm.running_var in place)" in tape.text()
    assert "It also changes norm.running_mean and norm.running_var in place" in tape.html()
    seen_in_every_form(tape)


def test_batch_norm_without_training_changes_nothing() -> None:
    norm = nn.BatchNorm1d(2).eval()
    with dbr.record() as tape:
        norm(torch.ones(3, 2))
    assert not any(op.inplace for op in tape.ops)


def test_an_observer_changes_its_range() -> None:
    low, high = torch.zeros(1), torch.zeros(1)
    on, scale, zero = torch.ones(1, dtype=torch.long), torch.ones(1), torch.zeros(1).int()
    x = torch.tensor([-1.0, 3.0])
    with dbr.record() as tape:
        torch.fused_moving_avg_obs_fake_quant(x, on, on, low, high, scale, zero, 0.5, 0, 255, 0)
    assert versions(tape, "high") == [[0.0], high.tolist()]
    assert high.tolist() != [0.0]


def test_a_custom_operator_changes_what_its_schema_says() -> None:
    with torch.library._scoped_library("definebyrun_test", "FRAGMENT") as library:
        library.define("fill(Tensor(a!) x) -> ()")
        library.impl("fill", lambda x: x.numpy().fill(7), "CPU")
        x = torch.zeros(2)
        with dbr.record() as tape:
            torch.ops.definebyrun_test.fill(x)
    assert versions(tape, "x") == [[0.0, 0.0], [7.0, 7.0]]


FUSED: list[Callable[..., torch.optim.Optimizer]] = [
    *(torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad),
]


@pytest.mark.parametrize("kind", FUSED)
@pytest.mark.parametrize("size", [2, 200_000])
def test_the_step_of_a_fused_optimizer_changes_the_parameters(
    kind: Callable[..., torch.optim.Optimizer], size: int
) -> None:
    w = torch.ones(size, requires_grad=True)
    optimizer = kind([w], lr=0.1, fused=True)
    with dbr.record() as tape:
        (w * w).sum().backward()
        optimizer.step()
    step = tape.ops[-1]
    assert step.name.endswith(".step")
    if size == 2:
        assert tape.tensors[step.outputs[0]].value.tolist() == w.tolist() != [1.0, 1.0]


class ByData(torch.optim.Optimizer):
    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})

    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=-0.5)


class ByMemory(ByData):
    def step(self) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            p.detach().numpy()[:] = 0


@pytest.mark.parametrize("kind", [ByData, ByMemory])
def test_an_optimizer_may_write_past_the_version_counter(kind: Any) -> None:
    w = torch.ones(2, requires_grad=True)
    optimizer = kind([w])
    with dbr.record() as tape:
        (w * w).sum().backward()
        optimizer.step()
    assert names(tape)[-1] == f"{kind.__name__}.step"
    assert versions(tape, "w")[-1] == w.tolist() == [0.0, 0.0]


def test_setting_data_is_an_operation() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        (w * w).sum().backward()
        w.data = w.data - 0.5 * w.grad
    assert tape.ops[-1].name == "set_data"
    assert tape.tensors[tape.ops[-1].outputs[0]].value.tolist() == w.tolist() == [0.0, 0.0]
    seen_in_every_form(tape)


def test_vector_to_parameters_changes_the_parameters() -> None:
    model = nn.Linear(1, 1)
    with dbr.record() as tape:
        nn.utils.vector_to_parameters(torch.tensor([5.0, 6.0]), model.parameters())
    assert [op.name for op in tape.ops if op.inplace] == ["set_data", "set_data"]
    assert versions(tape, "model.weight")[-1] == [[5.0]]


def test_setting_the_data_of_a_gradient_changes_it() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        (w * w).sum().backward()
        w.grad.data = torch.zeros(2)
        w * 1
    assert "w: leaf [1, 1], grad [0, 0]" in tape.text()


def test_data_that_stays_the_same_is_no_operation() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        w.data = w.data.clone()
        w * 2
    assert "set_data" not in names(tape)


def by_numpy(x: torch.Tensor) -> Any:
    return x.numpy()


def by_array(x: torch.Tensor) -> Any:
    return np.asarray(x)


def by_dlpack(x: torch.Tensor) -> Any:
    return np.from_dlpack(x)


@pytest.mark.parametrize("hand_out", [by_numpy, by_array])
def test_what_numpy_writes_is_seen_at_the_next_use_and_at_the_end(hand_out: Any) -> None:
    with dbr.record() as tape:
        x = torch.ones(2)
        memory = hand_out(x)
        first = x * 2
        memory[:] = 7
        second = x * 2
        memory[:] = 8
    assert names(tape) == ["ones", "mul", UNSEEN, "mul", UNSEEN]
    assert versions(tape, "x") == [[1.0, 1.0], [7.0, 7.0], [8.0, 8.0]]
    assert (first.tolist(), second.tolist()) == ([2.0, 2.0], [14.0, 14.0])
    assert "(changed without a call that was seen)" in tape.text()
    assert "x has changed without a call that was seen" in tape.html()
    seen_in_every_form(tape)


@pytest.mark.parametrize("share", [torch.from_numpy, torch.as_tensor, torch.from_dlpack])
@pytest.mark.parametrize("inside", [True, False])
def test_memory_that_came_from_numpy_is_compared_at_each_use(share: Any, inside: bool) -> None:
    memory = np.ones(2)
    before = share(memory)
    with dbr.record() as tape:
        x = share(memory) if inside else before
        x * 2
        memory[:] = 7
        x * 2
    assert [each.value.tolist() for each in tape.tensors][-1] == [14.0, 14.0]
    assert names(tape)[-3:] == ["mul", UNSEEN, "mul"]


def test_what_is_written_into_a_storage_is_seen() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        w * w
        w.untyped_storage().copy_(torch.zeros(2).untyped_storage())
        w * w
    assert versions(tape, "w") == [[1.0, 1.0], [0.0, 0.0]]
    assert [op.name for op in tape.ops if op.inplace] == [UNSEEN]


def test_what_a_gradient_is_overwritten_with_is_seen() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        (w * w).sum().backward()
        w.grad.numpy()[:] = 3
        w * 1
        w.grad.numpy()[:] = 4
    assert [(each.since, each.value.tolist()) for each in tape.grads] == [
        *((6, [3.0, 3.0]), (7, [4.0, 4.0]))
    ]


def test_a_result_that_is_overwritten_keeps_its_node() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        h = w * 2
        h.detach().numpy()[:] = 5
        (h * h).sum().backward()
    assert versions(tape, "h") == [[2.0, 2.0], [5.0, 5.0]]
    assert len({each.node for each in tape.tensors if each.name == "h"}) == 1
    assert w.grad.tolist() == [20.0, 20.0]
    seen_in_every_form(tape)


def test_a_leaf_that_was_written_by_no_call_at_all_is_read_again_at_the_end() -> None:
    w = torch.ones(2, requires_grad=True)
    memory = w.detach().numpy()  # before the recording
    with dbr.record() as tape:
        w * w
        memory[:] = 3
    assert names(tape) == ["mul", UNSEEN]
    assert versions(tape, "w") == [[1.0, 1.0], [3.0, 3.0]]


def test_nan_that_stays_is_no_change() -> None:
    memory = np.full(2, np.nan)
    x = torch.from_numpy(memory)
    with dbr.record() as tape:
        x * 2
        x * 2
    assert names(tape) == ["mul", "mul"]


def test_a_change_by_way_of_a_view_is_no_unseen_one() -> None:
    with dbr.record() as tape:
        x = torch.zeros(4)
        x[0].add_(1)
        x.numpy()
    assert UNSEEN not in names(tape)
