"""Lesson 19 holds: what the stored experiments say, with intervals; their code against PyTorch; a part rerun."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from definebyrun_course.measured import stored
from definebyrun_course.pieces.digits import digits_split, network
from experiments import _many as many
from experiments import averaged_weights, class_weights, clipping, weight_decay_in_adam
from experiments._surroundings import one_thread

T_23 = 2.069
WIDER = 1.5
"""For the number of comparisons: Student's t at 1 - 0.05 / 24 is 1.5 times that at 1 - 0.05 / 2."""


def difference(one: list[float], two: list[float]) -> tuple[float, float]:
    """Mean of 24 paired differences, and half of their 95 % interval, widened for a table of twelve."""
    gaps = np.subtract(one, two)
    assert gaps.shape == (24,)
    return float(gaps.mean()), WIDER * T_23 * float(gaps.std(ddof=1)) / math.sqrt(24)


def is_below(one: list[float], two: list[float]) -> bool:
    mean, half = difference(one, two)
    return mean + half < 0


@pytest.mark.parametrize(
    "name", ["clipping", "weight_decay_in_adam", "averaged_weights", "class_weights"]
)
def test_rates_were_chosen_on_other_seeds_than_those_reported(name: str) -> None:
    measured = stored(name)
    assert len(measured["seeds"]) == 24
    assert not set(measured["seeds"]) & set(measured["tuned on"])


def test_clipping_costs_nothing_without_broken_images_and_keeps_the_rate_with_them() -> None:
    rows = {(c["method"], c["broken"], c["how"]): c for c in stored("clipping")["candidates"]}
    clean = rows["SGD", False, "none"]["loss"]
    for how in ("norm", "skip"):
        assert rows["SGD", False, how]["loss"] == clean, "the limit was never reached"
        mean, half = difference(rows["SGD", True, how]["loss"], clean)
        assert abs(mean) < half, "level with the clean task"
        assert is_below(rows["SGD", True, how]["loss"], rows["SGD", True, "none"]["loss"])
    assert rows["SGD", True, "none"]["lr"] < rows["SGD", True, "norm"]["lr"]
    assert is_below(rows["SGD", True, "value"]["loss"], clean), "clipping by value is the best"
    assert is_below(rows["Adam", True, "norm"]["loss"], rows["Adam", True, "none"]["loss"])


def test_the_sweep_of_the_limit_is_flat_in_the_middle_only() -> None:
    middle = {float(k): float(np.median(v)) for k, v in stored("clipping")["sweep"].items()}
    flat = [middle[limit] for limit in (0.3, 1.0, 3.0)]
    assert max(flat) < 1.03 * min(flat)
    assert middle[0.03] > 5 * flat[0]
    assert middle[0.1] > 1.5 * flat[0]
    assert middle[100.0] > 1.15 * flat[0]


def test_the_chosen_rates_and_decays_do_not_lie_at_the_edge_of_their_grids() -> None:
    measured = stored("weight_decay_in_adam")
    for c in measured["candidates"]:
        if c["how"] != "none":
            assert min(measured["rates"]) < c["lr"] < max(measured["rates"])
            assert min(c["decays"]) < c["decay"] < max(c["decays"])
    for name in ("averaged_weights", "class_weights"):
        measured = stored(name)
        assert all(
            min(measured["rates"]) < c["lr"] < max(measured["rates"])
            for c in measured["candidates"]
        )


def test_decay_helps_and_which_of_the_two_is_ahead_depends_on_the_task() -> None:
    rows = {(c["rows"], c["how"]): c["loss"] for c in stored("weight_decay_in_adam")["candidates"]}
    for size in (150, 600):
        for how in ("AdamW", "Adam, L2"):
            assert is_below(rows[size, how], rows[size, "none"])
    assert is_below(rows[600, "AdamW"], rows[600, "Adam, L2"])
    mean, half = difference(rows[150, "AdamW"], rows[150, "Adam, L2"])
    assert 0 < mean < half, "behind, and not by more than a widened interval"


def test_averages_help_where_noise_stays_and_a_falling_rate_helps_as_much() -> None:
    rows = {(c["noise"], c["how"]): c for c in stored("averaged_weights")["candidates"]}
    for how in ("EMA 0.9", "EMA 0.97", "EMA 0.99", "EMA 0.997", "second half", "rate to zero"):
        assert is_below(rows[1.5, how]["loss"], rows[1.5, "last"]["loss"])
        assert abs(difference(rows[0.0, how]["loss"], rows[0.0, "last"]["loss"])[0]) < 0.004
    mean, half = difference(
        rows[1.5, "EMA 0.99"]["accuracy"], rows[1.5, "rate to zero"]["accuracy"]
    )
    assert abs(mean) < half < 0.01


def test_shifted_logits_find_more_of_a_rare_class_than_weights_or_a_sampler() -> None:
    rows = {c["how"]: c for c in stored("class_weights")["candidates"]}
    for how in ("nothing", "class weights", "sampler"):
        assert is_below(rows[how]["eights"], rows["shifted logits"]["eights"])
    assert is_below(rows["sampler"]["others"], rows["nothing"]["others"]), (
        "it costs the others most"
    )
    assert difference(rows["shifted logits"]["others"], rows["nothing"]["others"])[0] > -0.005


@pytest.mark.parametrize("method", ["SGD", "AdamW", "Adam"])
def test_many_networks_at_once_are_what_torch_trains_one_by_one(method: str) -> None:
    seeds, rates, data = [3, 8], [0.01, 0.03], digits_split(torch.float32)
    parameters, column = many.start(seeds), many.column(rates)
    ours = many.Sgd(column) if method == "SGD" else many.Adam(column, 0.1, method == "AdamW")
    nets, theirs = [network(seed, dtype=torch.float32) for seed in seeds], []
    for net, lr in zip(nets, rates, strict=True):
        options = {"momentum": 0.9} if method == "SGD" else {"weight_decay": 0.1}
        theirs.append(getattr(torch.optim, method)(net.parameters(), lr=lr, **options))
    for step in range(5):
        x, y = data.x_train[32 * step : 32 * step + 32], data.y_train[32 * step : 32 * step + 32]
        for p in parameters:
            p.grad = None
        many.losses(many.forward(parameters, x), y).sum().backward()
        ours.step(parameters)
        for net, optimizer in zip(nets, theirs, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    for i, net in enumerate(nets):
        assert torch.allclose(parameters[0][i], net[0].weight.T, atol=1e-5)
        assert torch.allclose(parameters[3][i, 0], net[2].bias, atol=1e-5)


def test_the_weighted_loss_and_the_norms_of_many_are_those_of_torch() -> None:
    torch.manual_seed(0)
    logits, y, weight = torch.randn(2, 6, 10), torch.randint(0, 10, (2, 6)), torch.rand(10)
    wanted = [
        F.cross_entropy(z, labels, weight=weight) for z, labels in zip(logits, y, strict=True)
    ]
    assert torch.allclose(many.losses(logits, y, weight), torch.stack(wanted))
    grads = [torch.randn(2, 3, 4), torch.randn(2, 1, 4)]
    wanted = [nn.utils.get_total_norm([g[i] for g in grads]) for i in range(2)]
    assert torch.allclose(many.norms(grads).flatten(), torch.stack(wanted))


def test_a_part_of_each_experiment_gives_the_stored_numbers_again() -> None:
    """Two seeds each; the last digits may differ between processors."""
    seeds = [0, 1]

    def same(found: Tensor, kept: list[float]) -> bool:
        return bool(torch.allclose(found, torch.tensor(kept[:2]), rtol=0.05, atol=0.01))

    with one_thread():
        row = next(
            c for c in stored("clipping")["candidates"] if c["broken"] and c["how"] == "norm"
        )
        rate, limit = many.column([row["lr"]] * 2), many.column([row["limit"]] * 2)
        assert same(clipping.train(seeds, rate, "norm", limit, True, "SGD")[0], row["loss"])
        row = next(c for c in stored("weight_decay_in_adam")["candidates"] if c["how"] == "AdamW")
        rate, decay = many.column([row["lr"]] * 2), many.column([row["decay"]] * 2)
        assert same(weight_decay_in_adam.train(seeds, rate, decay, True, 150)[1], row["loss"])
        rows = {c["how"]: c for c in stored("averaged_weights")["candidates"] if not c["noise"]}
        rate = many.column([rows["last"]["lr"]] * 2)
        scores = averaged_weights.train(seeds, rate, 0.0, False)
        assert same(scores["last"][1], rows["last"]["loss"])
        row = stored("class_weights")["candidates"][1]
        found = class_weights.train(seeds, many.column([row["lr"]] * 2), "weight")[False]
        assert same(found[2], row["others"])


def test_one_region_around_the_loop_trains_on_old_weights() -> None:
    net = nn.Linear(4, 2)
    x = torch.ones(1, 4)
    with torch.autocast("cpu", torch.bfloat16):
        before = net(x)
        with torch.no_grad():
            net.weight += 1
        assert torch.equal(net(x), before), "the cast copy is kept"
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(net(x), before)
