"""What lesson 17 claims beyond its own outputs: its stored numbers are those of its loop, and they say what it says.

The lesson's own cells are run, not copies of them. The seeds are others than the lesson's and the experiments'.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from definebyrun_course.measured import stored
from experiments import candidates, stopping, writers
from experiments._digits import fit
from experiments._surroundings import one_thread
from tests.course.answers import published
from tests.course.lesson_code import cells
from tools import ROOT

DATA = ("imports", "load-digits", "split-digits", "standardise-digits")
STATISTICS = ("imports", "paired", "binomial", "test-table")
SEEDS = (300, 301)
BATCH_NORM, PLAIN = "one mean, batch norm", "one mean"


@pytest.fixture(scope="module")
def lesson() -> Iterator[dict[str, Any]]:
    with one_thread(torch.float64):
        parts = "helpers", "mlp-class", "overfit", "train-loop", "evaluate", "fit", "gallery-faults"
        yield cells("17", *DATA, *parts)


def half_width(d: np.ndarray, comparisons: int = 1) -> float:
    """Of the interval of a mean, by Student's t for 24 values."""
    t = {1: 2.069, 4: 2.700, 6: 2.853}[comparisons]
    assert len(d) == 24
    return float(t * d.std(ddof=1) / math.sqrt(len(d)))


@pytest.mark.parametrize("norm", [False, True])
def test_the_experiments_loop_is_the_lessons(lesson: dict[str, Any], norm: bool) -> None:
    torch.manual_seed(7)
    theirs = lesson["MLP"](norm=norm)
    lesson["fit"](theirs, lesson["x_train"], lesson["y_train"], 2, seed=7)
    ours = fit(7, norm, lesson["x_train"].numpy(), lesson["y_train"].numpy(), 2, 3e-3)
    pairs = zip(theirs.parameters(), ours.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_batch_convicts_a_second_softmax_for_other_digits_too(
    lesson: dict[str, Any], seed: int
) -> None:
    rows = torch.randperm(1149, generator=torch.Generator().manual_seed(seed))[:4]
    x, y = lesson["x_train"][rows], lesson["y_train"][rows]
    torch.manual_seed(seed)
    assert lesson["overfit"](lesson["MLP"](), x, y) < 1e-3
    twice = lesson["overfit"](nn.Sequential(lesson["MLP"](), nn.Softmax(dim=1)), x, y)
    assert twice > math.log((math.e + 9) / math.e) - 1e-6


def test_the_nine_curves_are_of_the_same_kinds_for_another_seed(lesson: dict[str, Any]) -> None:
    last = {}
    for letter, (_, recipe) in lesson["recipes"].items():
        rows = lesson["faulty"](**recipe, seed=SEEDS[0])
        last[letter] = rows[-3:].mean(axis=0)
    train, val = ({letter: end[i] for letter, end in last.items()} for i in (0, 1))
    assert train["A"] > val["A"] + 0.3
    assert train["B"] < 0.1 < val["B"] < 0.25
    assert abs(train["C"] - math.log(10)) < 0.1
    assert train["D"] < 0.1
    assert val["D"] > math.log(10)
    assert val["E"] > train["E"] + 0.15
    assert 1.5 < train["F"] < math.log(10)
    assert abs(train["F"] - val["F"]) < 0.05
    assert val["G"] < 0.1
    assert val["H"] > 0.6
    assert 0.15 < train["I"] < 1.5


def test_no_patience_makes_the_network_better_and_a_small_one_makes_it_worse(
    lesson: dict[str, Any],
) -> None:
    stops = cells("17", "imports", "paired")["stops"]
    runs = stored("stopping")
    by, judged, hits = (np.array(runs[key]) for key in ("val", "judge", "hits"))
    seeds = np.arange(24)
    gains = {}
    for patience in (1, 3, 5, 8, 12):
        kept = np.array([stops(run, patience)[0] for run in by])
        gains[patience] = (
            (hits[seeds, kept] - hits[:, -1]) / 288,
            judged[seeds, kept] - judged[:, -1],
        )
    assert gains[1][0].mean() + half_width(gains[1][0], 6) < -0.01
    assert gains[3][0].mean() + half_width(gains[3][0], 6) < 0
    for patience in (5, 8, 12):
        share, loss = gains[patience]
        assert abs(share.mean()) < half_width(share, 6) < 0.004
        assert abs(loss.mean()) < half_width(loss, 6) < 0.009
    again = stopping.watched(200, 2)
    assert np.allclose(again["judge"], judged[0, :2], atol=1e-3)


def test_batch_norm_is_ahead_on_validation_and_on_test_and_by_pixel_is_behind() -> None:
    networks = stored("candidates")["networks"]
    loss, test_loss = (
        {name: np.array(found[key]) for name, found in networks.items()}
        for key in ("val_loss", "test_loss")
    )
    for losses in (loss, test_loss):
        d = losses[BATCH_NORM] - losses[PLAIN]
        assert d.mean() + half_width(d, 4) < -0.02
        assert (d < 0).sum() >= 23
    d = loss["scaled by pixel"] - loss[PLAIN]
    assert d.mean() - half_width(d, 4) > 0
    wrong = {name: np.array([len(p) for p in found["wrong"]]) for name, found in networks.items()}
    d = (wrong[PLAIN] - wrong[BATCH_NORM]) / 360
    assert d.mean() - half_width(d, 4) > 0.004
    for name, found in networks.items():
        assert found["tuning"].index(min(found["tuning"])) in (1, 2), (
            f"{name}: the best rate is inside"
        )


def test_batch_norm_is_ahead_for_another_seed_too() -> None:
    networks = stored("candidates")["networks"]
    with one_thread(torch.float64):
        plain, norm = (
            candidates.validated(name, networks[name]["rate"], SEEDS[0])[0]
            for name in (PLAIN, BATCH_NORM)
        )
    assert norm < plain - 0.01


def test_the_stored_test_results_are_what_training_gives() -> None:
    found = stored("candidates")["networks"][BATCH_NORM]
    with one_thread(torch.float64):
        loss, wrong = candidates.tested(BATCH_NORM, found["rate"], 200)
    assert loss == pytest.approx(found["test_loss"][0], abs=0.01)
    assert len(set(wrong) ^ set(found["wrong"][0])) <= 2  # another processor rounds otherwise


def test_the_support_vectors_lead_over_seeds_and_over_digits() -> None:
    """By a bootstrap over the test digits, wide enough for six comparisons; for batch norm it decides nothing."""
    found = stored("candidates")
    wrong = found["networks"][BATCH_NORM]["wrong"]
    rival = found["rivals"]["support vectors"]["wrong"]
    assert len(rival) < min(len(places) for places in wrong)
    drawn = np.random.default_rng(0).integers(360, size=(4000, 360))

    def lead(*others: list[list[int]]) -> np.ndarray:
        read = [np.bincount(np.concatenate(o).astype(int), minlength=360) / len(o) for o in others]
        return np.quantile((read[1] - read[0])[drawn].mean(axis=1), [0.004, 0.996])

    assert lead([rival], wrong)[0] > 0
    low, high = lead(wrong, found["networks"][PLAIN]["wrong"])
    assert low < 0 < high


def test_five_blocks_are_read_worse_than_random_folds_each_by_a_factor_of_its_own() -> None:
    found = stored("writers")
    apart, met = (np.array(found[key]) / found["rows"] for key in ("held_out", "random_folds"))
    factors = apart.mean(axis=0) / met.mean(axis=0)
    assert 2 < apart.mean() / met.mean() < 3.5
    assert factors.min() < 2
    assert factors.max() > 4
    assert met.mean(axis=0).argmax() == 4, "the last block is harder with its writers in training"
    with one_thread(torch.float64):
        block = writers.BLOCKS[1]
        wrong = writers.wrong(300, np.setdiff1d(np.arange(1797), block), block)
    assert len(wrong) > 2 * 360 * met[:, 1].mean()


def test_wilsons_interval_covers_a_share_near_one() -> None:
    """Drawn 20,000 times: it holds the true share in about 95 of 100."""
    wilson = cells("17", *STATISTICS[:1], "binomial")["wilson"]
    hits = np.random.default_rng(0).binomial(360, 0.98, 20_000)
    ends = np.array([wilson(count) for count in range(361)])[hits]
    assert 0.93 < ((ends[:, 0] < 0.98) & (ends[:, 1] > 0.98)).mean() < 0.98


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 7, 16, 64, 100])
def test_accumulated_pieces_give_the_gradient_of_the_whole_batch(
    dtype: torch.dtype, size: int
) -> None:
    (accumulate,) = published("accumulate")
    for seed in range(3):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)
        x, y = torch.randn(64, 5, dtype=dtype), torch.randint(3, (64,))
        whole = copy.deepcopy(model)
        nn.functional.cross_entropy(whole(x), y).backward()
        accumulate(model, x, y, size)
        for one, other in zip(model.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(
    "sentence",
    [
        "on the test set it is level",
        "Nearly three times as many mistakes",
        "is half luck, how low it gets is not",
        "the textbook's scaling gains nothing over no scaling",
    ],
)
def test_what_more_seeds_have_refuted_is_said_nowhere(sentence: str) -> None:
    for chapter in (ROOT / "chapters").glob("*.md"):
        assert sentence not in " ".join(chapter.read_text("utf8").split()), chapter.name
