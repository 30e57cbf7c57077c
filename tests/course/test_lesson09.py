"""What lesson 09 says of changed models holds for more of them than it shows; its text speaks of numbers it prints."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.functional import cross_entropy

from definebyrun_course.exercises.graphs import nodes_of
from tests.course.lesson_code import cells
from tools import chapters

LESSON = chapters.find("09")
TEXT = LESSON.chapter.read_text("utf-8")


@pytest.fixture
def untold() -> Callable[..., list[str]]:
    return cells("09", "untold")["untold"]


def printed_by(name: str) -> str:
    """What the cell of this name has printed, as it is stored."""
    book = nbformat.read(LESSON.notebook, as_version=4)
    [cell] = [cell for cell in book.cells if cell.id == name]
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(2, 3, 3),
        lambda: nn.LSTM(2, 3),
        lambda: nn.TransformerEncoderLayer(4, 2),
        lambda: nn.Sequential(nn.Embedding(3, 4), nn.LayerNorm(4)),
    ],
    ids=["convolution", "LSTM", "transformer layer", "embedding and norm"],
)
def test_converting_and_loading_keep_parameters_and_assigning_does_not(
    make: Callable[[], nn.Module], untold: Callable[..., list[str]]
) -> None:
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.double().float()
    model.load_state_dict(make().state_dict())
    assert untold(model, optimizer) == []
    model.load_state_dict(make().state_dict(), assign=True)
    assert len(untold(model, optimizer)) == len(list(model.parameters()))


def test_a_plain_dictionary_is_not_marked_by_assigning() -> None:
    state = nn.Linear(3, 2).state_dict()
    nn.Linear(3, 2).load_state_dict(dict(state), assign=True)
    model = nn.Linear(3, 2)
    own = model.weight
    model.load_state_dict(state)
    assert model.weight is own


def test_untold_knows_a_tied_parameter_and_passes_over_frozen_ones(
    untold: Callable[..., list[str]],
) -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False), nn.Linear(5, 2))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model[:2].parameters(), lr=0.1)
    assert untold(model, optimizer) == ["2.weight", "2.bias"]
    model[2].requires_grad_(False)
    assert untold(model, optimizer) == []


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_reloading_its_own_state_brings_an_optimizer_to_the_models_dtype(kind: Any) -> None:
    model = nn.Linear(3, 2)
    optimizer = kind(model.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 3, dtype=model.weight.dtype)).sum().backward()
        optimizer.step()

    step()
    model.double()
    optimizer.load_state_dict(optimizer.state_dict())
    step()
    state = optimizer.state[model.weight]
    assert {v.dtype for k, v in state.items() if k != "step"} == {torch.float64}


def test_running_statistics_are_written_in_training_mode_alone_and_without_a_graph_too() -> None:
    x = torch.randn(10, 3) + 5
    for training in (True, False):
        norm = nn.BatchNorm1d(3).requires_grad_(False).train(training)
        with torch.no_grad():
            norm(x)
        assert bool(norm.running_mean.any()) == training


def test_fitting_takes_what_fits_through_both_prefixes() -> None:
    fitting = cells("09", "fitting")["fitting"]
    state = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)).state_dict()
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5))
    for prefix in ("", "module.", "_orig_mod.", "_orig_mod.module."):
        wrapped = {prefix + name: value for name, value in state.items()}
        assert set(fitting(wrapped, model)) == {"0.weight", "0.bias"}, prefix


def test_an_error_of_load_state_dict_comes_after_what_fits_was_copied() -> None:
    state = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)).state_dict()
    for order in (state, dict(reversed(state.items()))):
        model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5))
        with pytest.raises(RuntimeError, match="size mismatch"):
            model.load_state_dict(order, strict=False)
        assert torch.equal(model[0].weight, state["0.weight"])


def test_a_tied_weight_gets_the_sum_of_both_uses() -> None:
    table = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    tokens = torch.tensor([1, 4])

    def loss(embed: Tensor, out: Tensor) -> Tensor:
        return cross_entropy(embed[tokens] @ out.T, tokens)

    one, two = (table.detach().clone().requires_grad_() for _ in range(2))
    loss(one, two).backward()
    loss(table, table).backward()
    torch.testing.assert_close(table.grad, one.grad + two.grad)
    nodes = nodes_of(loss(table, table))
    leaf = get_gradient_edge(table).node
    used = sum(target is leaf for node in nodes for target, _ in node.next_functions)
    assert used == 2, "one leaf, two edges"


@pytest.mark.parametrize("seed", range(5))
def test_widening_keeps_the_function_for_any_width(seed: int) -> None:
    torch.manual_seed(seed)
    before, width, after, extra = (int(n) for n in torch.randint(1, 9, (4,)))
    first, second = nn.Linear(before, width), nn.Linear(width, after)
    wide, narrow = cells("09", "widen", "packages")["widen"](first, second, extra)
    x = torch.randn(7, before)
    torch.testing.assert_close(narrow(wide(x).relu()), second(first(x).relu()))
    assert wide.out_features == width + extra


@pytest.mark.parametrize("gradient", [1.0, 1e-3, 1e-8, 1e-10])
def test_adams_first_step_is_the_rate_times_g_over_g_plus_eps(gradient: float) -> None:
    p = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.Adam([p], lr=0.01)
    p.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer.step()
    assert -p.item() == pytest.approx(0.01 * gradient / (gradient + 1e-8))


def test_parameters_without_gradient_are_passed_over_weight_decay_and_all() -> None:
    for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
        p = nn.Parameter(torch.ones(2))
        kind([p], lr=0.1, weight_decay=0.5).step()
        assert p.tolist() == [1, 1], kind


def test_the_program_of_the_diagnosis_gives_the_numbers_that_stand_below_it() -> None:
    part = TEXT.split("*Diagnosis.*")[1]
    program = re.findall(r"```python\n(def fine_tune.*?)```", part, re.S)[0]
    [table] = re.findall(r"```text\n(four batches.*?)```", part, re.S)
    names: dict[str, Any] = {"torch": torch, "nn": nn}
    exec(program, names)
    for column, thaw in enumerate((9, 2)):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh())
        head = nn.Linear(3, 1)
        batches = [(torch.randn(8, 4) + 1, torch.randn(8, 1)) for _ in range(4)]
        before = copy.deepcopy([body.state_dict(), head.state_dict()])
        names["fine_tune"](body, head, batches, thaw, 0.1)
        mean = (body.state_dict()["1.running_mean"] - before[0]["1.running_mean"]).abs().max()
        moved = (head.weight - before[1]["weight"]).abs().max()
        assert torch.equal(body[0].weight, before[0]["0.weight"])
        told = re.findall(r"moved by (\d\.\d\d)", table)
        assert [told[column], told[2 + column]] == [f"{mean:.2f}", f"{moved:.2f}"]


def test_the_text_speaks_of_the_numbers_that_are_printed() -> None:
    assert re.findall(r"\d\.\d{4}", printed_by("not-told"))[1:4] == ["1.9981"] * 3
    assert "head moved" in printed_by("not-told-unfrozen")
    assert printed_by("twins").split()[-4:] == ["0.0", "16", "0.1", "32"]
    assert printed_by("three-ties").split()[-1] == "0.10"
    first, after = map(float, re.findall(r"0\.\d{3}", printed_by("frozen-body")))
    assert after < first, "the old head reads the old digits worse"
