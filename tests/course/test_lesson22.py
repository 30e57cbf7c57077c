"""What lesson 22 says of rates holds on seeds that the lesson and its stored experiments do not use, with margins.

Seeds 400 and on are this file's own. Where the stored experiments took minutes, a part of them is run again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from definebyrun_course.measured import stored
from definebyrun_course.pieces.digits import digits_split, network
from definebyrun_course.pieces.schedules import cosine
from definebyrun_course.pieces.stack import Stack, losses, rates_table, train_stack
from experiments import decay, rates
from tests.course.lesson_code import cells
from tools import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

SEEDS = range(400, 424)
STAYS = ("digits, fresh noise", "letters, each once")


def paired(one: Any, other: Any, comparisons: int = 1) -> tuple[float, float]:
    apart = np.asarray(one) - np.asarray(other)
    quantile = stats.t.ppf(1 - 0.05 / 2 / comparisons, len(apart) - 1)
    return float(apart.mean()), float(quantile * apart.std(ddof=1) / math.sqrt(len(apart)))


# ---- the stack ----


@pytest.mark.parametrize("adam", [False, True])
def test_a_stack_trains_each_network_as_it_is_trained_alone(adam: bool) -> None:
    """Two rates, three seeds, batches of their own: the same weights as PyTorch's optimizers give one by one."""
    data, steps, peaks = digits_split(), 6, (0.05, 0.2)
    dice = torch.Generator().manual_seed(0)
    picked = torch.randint(len(data.y_train), (steps, 3, 8), generator=dice)
    stack = Stack(range(3), candidates=2)
    table = rates_table(peaks, cosine(steps), steps)

    def batches(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        return data.x_train[picked[step]], data.y_train[picked[step]]

    train_stack(stack, batches, table, steps, adam=adam)
    for nth, peak in enumerate(peaks):
        for seed in range(3):
            model = network(seed)
            optimizer: torch.optim.Optimizer = (
                torch.optim.Adam(model.parameters(), lr=peak)
                if adam
                else torch.optim.SGD(model.parameters(), lr=peak, momentum=0.9)
            )
            for step in range(steps):
                optimizer.param_groups[0]["lr"] = table[nth, step].item()
                rows = picked[step, seed]
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(
                    model(data.x_train[rows]), data.y_train[rows]
                ).backward()
                optimizer.step()
            assert torch.allclose(stack.weights[0][nth, seed], model[0].weight.T, atol=1e-7)
            assert torch.allclose(stack.biases[1][nth, seed, 0], model[2].bias, atol=1e-7)


def test_sharpness_by_products_is_the_largest_eigenvalue() -> None:
    """Two small networks; PyTorch's whole Hessian of each beside the products with all of them at once."""

    def small(seed: int) -> torch.nn.Sequential:
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 3)).double()  # fmt: skip

    stack = Stack(range(2), start=small)
    x = torch.randn(2, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = torch.randint(0, 3, (2, 20), generator=torch.Generator().manual_seed(2))
    found = rates.sharpness_of(stack, x, y, rounds=200)[0]
    for seed in range(2):
        parts = [p[0, seed].detach() for p in stack.parameters()]
        sizes = [p.numel() for p in parts]

        def loss(flat: torch.Tensor, parts: Any = parts, sizes: Any = sizes, seed: int = seed) -> Any:  # fmt: skip
            w1, w2, b1, b2 = (f.view_as(p) for f, p in zip(flat.split(sizes), parts, strict=True))
            logits = (x[seed] @ w1 + b1).relu() @ w2 + b2
            return torch.nn.functional.cross_entropy(logits, y[seed])

        hessian = torch.autograd.functional.hessian(loss, torch.cat([p.flatten() for p in parts]))
        assert found[seed].item() == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-4)  # fmt: skip


# ---- a range test, and what it is held against ----


def test_a_tenth_of_the_lowest_point_lies_where_the_full_search_is_flat(float64: None) -> None:
    lesson = cells("22", "imports", "range-test")
    lesson["data"] = digits_split()
    tests = [lesson["range_test"](seed) for seed in range(400, 406)]
    tenth = np.median([rates[np.argmin(smooth)] for rates, smooth in tests]) / 10
    assert 0.012 < tenth < 0.05
    tuned = stored("decay")["results"]["digits; short"]
    near = [loss for rate, loss in zip(tuned["grid"], tuned["tuned"]["constant"]["val_loss"], strict=True)
            if 0.012 <= rate <= 0.05]  # fmt: skip
    assert max(near) < 1.1 * min(tuned["tuned"]["constant"]["val_loss"])


# ---- two kinds of noise ----


@pytest.mark.parametrize("task", list(decay.TASKS))
def test_the_stored_comparison_is_whole_and_tuned_alike(task: str) -> None:
    found = stored("decay")
    assert set(found["seeds"]).isdisjoint(found["tuning_seeds"])
    for budget in decay.BUDGETS:
        result = found["results"][f"{task}; {budget}"]
        for name, test in result["test"].items():
            assert len(test["loss"]) == len(test["accuracy"]) == 32
            tuned = result["tuned"][name]
            best = int(np.argmin(tuned["val_loss"]))
            assert 0 < best < len(result["grid"]) - 1, "the best rate lies inside the grid"
            assert test["rate"] == tuned["best"] == result["grid"][best]


def test_a_part_run_again_gives_what_is_stored() -> None:
    """Two seeds of one line; the rates are calm, so another processor's last digits do not grow."""
    stored_test = stored("decay")["results"]["digits; short"]["test"]
    rows = [stored_test[name]["rate"] * torch.tensor([decay.SCHEDULES[name](360)(s) for s in range(360)])
            for name in ("constant", "linear")]  # fmt: skip
    got = decay.measure(decay.TASKS["digits"](), torch.stack(rows), range(2), on="test")
    for nth, name in enumerate(("constant", "linear")):
        assert got.loss[nth].tolist() == pytest.approx(stored_test[name]["loss"][:2], abs=0.005)


@pytest.mark.parametrize("task", STAYS)
@pytest.mark.parametrize("budget", ["short", "long"])
def test_where_noise_stays_the_stored_decay_wins_at_a_higher_rate(task: str, budget: str) -> None:
    test = stored("decay")["results"][f"{task}; {budget}"]["test"]
    for name in ("cosine", "linear", "stable, then down", "averaged"):
        mean, half = paired(test[name]["loss"], test["constant"]["loss"], 32)
        assert mean + half < -0.02, name
    mean, half = paired(test["cosine"]["accuracy"], test["constant"]["accuracy"], 8)
    assert mean - half > 0.01
    assert test["cosine"]["rate"] >= 2 * test["constant"]["rate"]


@pytest.mark.parametrize("task", ["digits", "letters, 1,149"])
def test_where_noise_can_be_learned_away_the_long_budget_has_nothing_to_gain(task: str) -> None:
    """What could have been seen: a gain of 0.002 in the loss."""
    test = stored("decay")["results"][f"{task}; long"]["test"]
    for name in ("cosine", "linear", "stable, then down", "averaged"):
        mean, half = paired(test[name]["loss"], test["constant"]["loss"], 8)
        assert mean > -0.003
        assert half < 0.002


def test_decay_wins_again_on_letters_seen_once_with_other_seeds() -> None:
    """The short budget, both at the rates that were chosen: the cosine is ahead by more than 0.02."""
    task, steps = decay.letters_task(once=True, steps=360), 360
    task = task._replace(test=(task.test[0][:1000], task.test[1][:1000]))
    tuned = stored("decay")["results"]["letters, each once; short"]["test"]
    table = torch.stack(
        [
            torch.full((steps,), tuned["constant"]["rate"]),
            tuned["cosine"]["rate"] * torch.tensor([cosine(steps)(s) for s in range(steps)]),
        ]
    )
    got = decay.measure(task, table, SEEDS, on="test")
    mean, half = paired(got.loss[1], got.loss[0])
    assert mean + half < -0.02
    assert got.averaged[0][0].mean() < got.loss[0].mean() - 0.04, "averaging the constant run"


# ---- collapse, floor, plateau, warm-up, sharpness ----


def test_the_collapse_learns_nothing_after_its_third_epoch_on_other_seeds() -> None:
    """At the rate 0.2, ten epochs: level in training loss with a jumping constant, far above the cosine."""
    task = decay.TASKS["digits"]()
    shapes = [rates.COLLAPSE[name] for name in ("constant", "× 0.1 each epoch", "cosine")]
    got = decay.measure(task, rates.table([(0.2, f) for f in shapes], 360), SEEDS, "test", points=10)  # fmt: skip
    curve = got.curve[1].mean(0)
    assert abs(curve[3] - curve[9]) < 0.002
    assert curve[9] > 5 * got.curve[2, :, 9].mean()
    mean, half = paired(got.training[1], got.training[0])
    assert mean - half < 0.03, "not clearly worse than a constant rate that jumps"


def test_the_collapse_at_its_best_rate_is_worse_than_a_good_constant_rate() -> None:
    runs = stored("rates")["collapse"]
    mean, half = paired(runs["× 0.1 each epoch"]["loss"], runs["constant"]["loss"], 3)
    assert mean - half > 0.04
    again, _ = paired(runs["× 0.1 at epochs 5 and 8"]["loss"], runs["cosine"]["loss"])
    assert abs(again) < 0.01


def test_a_constant_rate_has_no_floor_where_noise_can_be_learned_away() -> None:
    found = stored("rates")["floor"]
    middle = np.median(np.array(found["loss"]), axis=1)  # (rates, epochs)
    assert (np.diff(middle, axis=1) < 0).all()
    assert (middle[:, -1] < [0.001, 0.01]).all()
    tenth = found["epochs"].index(10)
    assert middle[1, tenth] > 10 * middle[0, tenth], "the law of the floor says: twice"


def test_the_rule_rescues_half_way_and_is_judged_on_what_did_not_steer_it() -> None:
    found = stored("rates")["plateau"]
    mean, half = paired(found["rule, halves"]["accuracy"], found["constant"]["accuracy"], 4)
    assert mean - half > 0.05
    mean, half = paired(found["rule, halves"]["loss"], found["constant, best rate"]["loss"], 4)
    assert mean - half > 0.1
    mean, half = paired(found["rule, tenths"]["accuracy"], found["rule, halves"]["accuracy"], 4)
    assert mean + half < 0
    assert abs(paired(found["rule, halves"]["loss"], found["cosine"]["loss"])[0]) < 0.05


def test_warm_up_keeps_units_alive_and_widens_the_range_of_adam() -> None:
    task = decay.TASKS["digits"]()
    settings = [(0.1, 0), (0.1, 36), (0.3, 0), (0.3, 36)]
    _, accuracy, dead = rates.one_warm_up(task, "Adam", settings, SEEDS, "val")
    cold, warm = dead.mean(1)[0].item(), dead.mean(1)[1].item()
    assert cold > 0.5
    assert warm < 0.25
    assert accuracy[3].mean() > accuracy[2].mean() + 0.3
    for kind in ("Adam", "SGD"):
        told = stored("rates")["warm_up"][kind]["test_loss"]
        mean, half = paired(told[2], told[0], 2)
        assert -0.015 < mean - half < mean + half < 0, f"{kind}: a little, at the best rates"


def test_the_rate_decides_how_sharp_a_place_training_stays_in() -> None:
    found = stored("rates")["sharpness"]
    for nth, rate in enumerate(found["rates"]):
        values = np.median(np.array(found["sharpness"][nth]), axis=0)
        assert values[0] < 2, "flat at the start"
        assert values[-1] < 2 / rate, "below the limit at the end"
        assert values.max() > 3 * values[0], "it grows"
    again = rates.sharpness(decay.TASKS["digits"](), range(400, 402), steps=10)
    assert np.median(np.array(again["sharpness"][3])[:, 1]) > 4 > 2 / 1.0, (
        "0 to 5 steps at 1.0: past the limit"
    )


# ---- the exact parts ----


def test_the_cut_pays_when_it_comes_as_soon_as_the_floor_is_reached() -> None:
    expected = cells("22", "imports", "exact")["expected"]
    low = 1.1 * 0.03 / (2 - 0.03)

    def reached(way: list[float]) -> int:
        return int(np.flatnonzero(expected(way) < low)[0]) + 1

    ways = {at: [0.3] * at + [0.03] * (300 - at) for at in (0, 20, 100)}
    assert [reached(ways[at]) for at in (0, 20, 100)] == [143, 97, 177]
    assert not (expected(ways[100])[100:] < expected(ways[0])[100:]).any()


def test_losses_of_a_stack_are_cross_entropies() -> None:
    logits, y = torch.randn(2, 3, 5, 4), torch.randint(0, 4, (3, 5))
    for candidate in range(2):
        for seed in range(3):
            own = torch.nn.functional.cross_entropy(logits[candidate, seed], y[seed])
            assert losses(logits, y)[candidate, seed].item() == pytest.approx(own.item(), rel=1e-5)


def test_sentences_that_more_seeds_have_refuted_are_gone() -> None:
    told = " ".join(
        " ".join(path.read_text("utf8").split()) for path in (ROOT / "chapters").glob("*.md")
    )
    for sentence in (
        "training* loss is the worst of all",
        "it works as the theory says",
        "Decay is no bonus",
        "decay the cure",
        "the noise that it never gets rid of",
        "gives the same numbers. In `Adam`",
    ):
        assert sentence not in told, sentence
