"""Lesson 16's claims on seeds that it does not use, its many networks against PyTorch's modules, its stored numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from definebyrun_course.measured import stored
from definebyrun_course.pieces.digits import digits_split
from definebyrun_course.pieces.many_nets import KINDS, draw, losses, signals, train
from experiments import starts
from tests.course.answers import default_dtype
from tests.course.lesson_code import cells

SEEDS = range(300, 306)
DATA = digits_split(torch.float32)


class Alone(nn.Module):
    """One network of the stack, made of PyTorch's modules."""

    def __init__(self, layers: Any, which: int, kind: str) -> None:
        super().__init__()
        self.kind, self.linears = kind, nn.ModuleList()
        for W, b in layers:
            linear = nn.Linear(*W.shape[1:])
            linear.weight.data, linear.bias.data = (
                W[which].detach().T.clone(),
                b[which, 0].detach().clone(),
            )
            self.linears.append(linear)
        self.norms = nn.ModuleList(nn.BatchNorm1d(W.shape[2], affine=False) for W, _ in layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        for linear, norm in zip(self.linears, self.norms, strict=False):
            z = linear(x)
            z = F.layer_norm(z, z.shape[-1:]) if self.kind == "layer norm" else z
            z = norm(z) if self.kind == "batch norm" else z
            around = self.kind == "residual" and z.shape == x.shape
            x = x + z.relu() if around else z.relu()
        return self.linears[-1](x)


@pytest.mark.parametrize("adam", [False, True], ids=["SGD", "Adam"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_many_trains_as_it_would_alone(kind: str, adam: bool) -> None:
    x, y = torch.randn(200, 64, generator=torch.Generator().manual_seed(0)), DATA.y_train[:200]
    layers = draw("torch", [64, 12, 12, 10], seeds=[7, 8])
    model, rate = Alone(layers, 1, kind), 0.01 if adam else 0.2
    optimizer = (torch.optim.Adam if adam else torch.optim.SGD)(model.parameters(), lr=rate)
    dice = torch.Generator().manual_seed(10_008)
    for _ in range(15):
        rows = torch.randint(len(y), (32,), generator=dice)
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    train(layers, torch.tensor([0.0, rate]), x, y, [7, 8], steps=15, kind=kind, adam=adam)
    with torch.no_grad():
        ours = signals(layers, x.expand(2, -1, -1), kind)[-1][1]
        torch.testing.assert_close(ours, model(x), atol=1e-2, rtol=1e-2)
        assert (ours - signals(layers, x.expand(2, -1, -1), kind)[-1][0]).abs().max() > 0.1


def test_the_starts_have_the_gains_that_they_are_named_for() -> None:
    for start, gain in ((2.0, 2.0), ("torch", 1 / 3), ("orthogonal", 2.0)):
        [(W, b)] = draw(start, [200, 100], seeds=range(4))
        assert W.var().item() * 200 == pytest.approx(gain, rel=0.05)
        assert bool(b.any()) is (start == "torch")
    [(W, _)] = draw("orthogonal", [30, 20], seeds=[0])
    torch.testing.assert_close(W[0].T @ W[0], 2 * torch.eye(20), atol=1e-5, rtol=0)


def outputs(start: str | float) -> list[Tensor]:
    with torch.no_grad():
        x = DATA.x_train.expand(len(SEEDS), -1, -1)
        return signals(draw(start, [64] * 20 + [10], SEEDS), x)


def test_dead_units_come_with_depth_and_not_with_the_gain() -> None:
    kaiming, small = outputs(2.0), outputs(1 / 3)
    for z, other in zip(kaiming[:12], small[:12], strict=True):
        assert ((z > 0) != (other > 0)).float().mean() < 1e-4, "the same units are on"
    stuck = [((z > 0).all(1) | (z <= 0).all(1)).float().mean().item() for z in kaiming[:-1]]
    assert stuck[0] < 0.05 < 0.2 < stuck[9] < 0.45 < stuck[18], "more with depth"
    biased = outputs("torch")[9] > 0
    assert (biased.all(1) | (~biased).all(1)).float().mean() > 0.9, "with torch's biases nearly all"


def test_torchs_start_looks_level_and_has_lost_the_images() -> None:
    z = outputs("torch")[11]
    assert 0.05 < z.std(dim=(1, 2)).median() < 0.12, "all numbers: the biases"
    assert z.std(dim=1).mean() < 1e-4, "over examples: nothing is left"


def test_the_look_tells_the_two_starts_apart() -> None:
    code = cells("16", "cell-02", "cell-03", "deep", "looking", "repair-function")
    for depth, seed in ((8, 1), (8, 2), (12, 3)):
        with default_dtype(torch.float64):  # as in the lesson
            model = code["deep"](depth, seed)
            last = list(code["watch"](model, code["x"])[1].values())[-2]
            loss, rows = code["watch"](code["kaiming"](model), code["x"])
        assert last[0] < 0.01
        assert last[1] + last[2] > 0.9
        assert loss < 15
        assert all(0.2 < spread < 5 for spread, _, _ in rows.values())


def test_a_first_layer_at_zero_learns_where_the_derivative_at_0_is_1() -> None:
    x, y = DATA.x_train, DATA.y_train
    found = {}
    for name, activation in (("relu", torch.relu), ("clamp", lambda z: z.clamp(min=0))):
        torch.manual_seed(3)
        first, last = nn.Linear(64, 32), nn.Linear(32, 10)
        for p in first.parameters():
            nn.init.zeros_(p)
        optimizer = torch.optim.SGD([*first.parameters(), *last.parameters()], lr=0.1)
        for _ in range(60):
            loss = F.cross_entropy(last(activation(first(x))), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found[name] = loss.item()
    assert found["clamp"] < 1.5 < 2.2 < found["relu"], found


def test_a_deep_network_with_torchs_start_does_not_leave_ln_10() -> None:
    sizes, rates = [64] * 8 + [10], torch.full((6,), 0.1)
    final = {}
    for start in ("torch", 2.0):
        layers = draw(start, sizes, SEEDS)
        train(layers, rates, DATA.x_train, DATA.y_train, list(SEEDS), steps=200, batch=64)
        with torch.no_grad():
            x, y = DATA.x_train.expand(6, -1, -1), DATA.y_train.expand(6, -1)
            final[start] = losses(layers, x, y)
    assert (final["torch"] - np.log(10)).abs().max() < 0.02
    assert final[2.0].median() < 1


def median(found: dict[str, Any]) -> float:
    return float(np.median(found["losses"]))


def factor(found: dict[str, Any], base: dict[str, Any]) -> tuple[float, float]:
    """The interval of the paired ratio of two losses, 95 % for eight comparisons, on 24 seeds."""
    difference = np.log(found["losses"]) - np.log(base["losses"])
    half = stats.t.ppf(1 - 0.025 / 8, 23) * difference.std(ddof=1) / 24**0.5
    return float(np.exp(difference.mean() - half)), float(np.exp(difference.mean() + half))


def test_stored_numbers_are_of_24_seeds_tuned_on_others() -> None:
    numbers = stored("starts")
    assert set(numbers["seeds"]["tuning"]).isdisjoint(numbers["seeds"]["reported"])
    for table in (numbers["gains"], *numbers["rivals"].values()):
        for found in (found for row in table.values() for found in row.values()):
            assert len(found["losses"]) == len(numbers["seeds"]["reported"]) == 24


def test_the_gain_matters_more_the_deeper_a_network_is() -> None:
    gains = stored("starts")["gains"]
    assert median(gains["2"]["0.333"]) < 2 * median(gains["2"]["6"]), "2 layers: hardly"
    assert factor(gains["6"]["0.333"], gains["6"]["2"])[0] > 5, "6 layers: several times"
    assert median(gains["12"]["0.333"]) == pytest.approx(np.log(10), abs=0.01), "12: does not start"
    best = {
        depth: min(by_gain, key=lambda g: median(by_gain[g])) for depth, by_gain in gains.items()
    }
    assert {best["6"], best["12"], best["20"]} <= {"2", "2.5"}, "near the derived gain"
    low, high = factor(gains["12"]["2.5"], gains["12"]["2"])
    assert low < 1 < high, "2 and 2.5 cannot be told apart"


def test_rivals_that_beat_kaiming_and_adam_that_does_not_repair_torchs_start() -> None:
    rivals = stored("starts")["rivals"]
    sgd, adam = rivals["SGD"]["12"], rivals["Adam"]["12"]
    for name in ("orthogonal", "torch, batch norm", "torch, residual"):
        assert factor(sgd[name], sgd["Kaiming"])[1] < 0.95, name
    for name in ("torch", "Xavier", "torch, layer norm", "Kaiming, last layer 0.1"):
        assert factor(sgd[name], sgd["Kaiming"])[0] > 1.05, name
    assert factor(adam["torch"], adam["Kaiming"])[0] > 3
    assert median(adam["torch"]) < 1.5 < 2 < median(sgd["torch"]), "Adam helps, and does not repair"


def test_a_part_of_the_experiment_again() -> None:
    """Six seeds that are not reported, at the stored rates: near the derived gain, and half of it twice as deep."""
    gains = stored("starts")["gains"]
    for depth, gain, low, high in ((6, 2.0, 0.02, 0.4), (12, 1.0, 0.9, 2.2)):
        rate = gains[str(depth)][f"{gain:.3g}"]["rate"]
        rates = torch.full((len(SEEDS),), rate)
        found = starts.measured(gain, "plain", depth, rates, list(SEEDS), adam=False)
        assert low < found.median() < high, (depth, gain)
