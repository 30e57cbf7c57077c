"""What lesson 18 calls equal is equal, for more seeds and stops than the lesson shows; its stored numbers hold too.

The lesson's own cells are run, not copies of them.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from definebyrun_course.measured import stored
from definebyrun_course.pieces.digits import digits_split
from definebyrun_course.pieces.noisy import Noisy, reseed
from experiments._surroundings import one_thread
from experiments.one_bit import apart
from tests.course.lesson_code import cells

RUN = ("packages", "helpers", "one-step", "run-start", "run-checkpoint", "mid-epoch")


@pytest.fixture(scope="module")
def lesson() -> Iterator[dict[str, Any]]:
    with one_thread(torch.float64):
        yield cells("18", *RUN)


def equal(one: Any, other: Any) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("seed", "stop"), [(0, 0), (1, 1), (7, 2)])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    lesson: dict[str, Any], seed: int, stop: int
) -> None:
    def epoch(model: Any, loader: Any, optimizer: Any) -> None:
        for x, y in loader:
            lesson["step"](model, optimizer, x, y)

    run, file = lesson["start"](seed), io.BytesIO()
    for done in range(3):
        if done == stop:
            torch.save(lesson["checkpoint"](*run), file)
        epoch(*run)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    model, loader, optimizer = resumed = lesson["start"](seed + 1)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    loader.generator.set_state(saved["shuffle"])
    torch.set_rng_state(saved["dropout"])
    for _ in range(stop, 3):
        epoch(*resumed)
    assert equal(model, run[0])


@pytest.mark.parametrize("stops", [(1,), (17,), (3, 8)])
def test_a_run_resumes_in_the_middle_of_an_epoch_also_twice(
    lesson: dict[str, Any], stops: tuple[int, ...]
) -> None:
    half_an_epoch, start = lesson["half_an_epoch"], lesson["start"]
    half_an_epoch(straight := start(3))
    kept = None
    for i, stop in enumerate((*stops, None)):
        run = start(3 + i)
        if kept:
            run[0].load_state_dict(kept["model"])
            run[2].load_state_dict(kept["optimizer"])
        kept = half_an_epoch(run, kept, stop)
    assert equal(straight[0], run[0])


def test_the_data_set_of_noise_is_the_packages() -> None:
    theirs, ours = cells("18", "packages", "noisy")["NoisyInView"](5, seed=3), Noisy(5, seed=3)
    assert [theirs[i] for i in range(5)] == [ours[i] for i in range(len(ours))]


@pytest.mark.skipif(sys.platform != "linux", reason="functions of a test travel by fork only")
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_repeat_a_generator_they_were_given_and_not_numpys_global_one() -> None:
    def drawn(**more: Any) -> list[float]:
        own = torch.Generator().manual_seed(5)
        return [float(x) for x in DataLoader(Noisy(6), None, num_workers=2, generator=own, **more)]

    fork = {"multiprocessing_context": "fork"}
    assert len(set(drawn(**fork))) == 3
    cured = drawn(worker_init_fn=reseed, **fork)
    assert len(set(cured)) == 6
    in_view = cells("18", "packages", "reseed")["reseed_in_view"]
    assert drawn(worker_init_fn=in_view, **fork) == cured
    numbers = DataLoader(
        range(6), None, num_workers=2, collate_fn=lambda _: np.random.rand(), **fork
    )
    assert len(set(numbers)) == 6


def test_one_bit_stays_grows_or_jumps_for_all_stored_seeds_and_another() -> None:
    bits = stored("one_bit")
    after = bits["after"]
    runs = {key: np.array(rows) for key, rows in bits.items() if "lr" in key}
    assert runs["plain, lr 0.003, float32"][:, -1].max() < 1e-3
    assert runs["plain, lr 0.003, float64"][:, -1].max() < 1e-12
    large = runs["plain, lr 0.03, float64"]
    assert np.median(large[:, -1]) > 10 * np.median(large[:, after.index(60)])
    assert (large[:, -1] > 10 * large[:, after.index(60)]).mean() > 0.5
    for kind in ("float32", "float64"):
        still = runs[f"plain, lr 0.003, {kind}"]
        assert (still[:, -1] <= 10 * still[:, after.index(60)]).all()
    assert np.median(runs["batch norm, lr 0.003, float32"][:, 0]) > 1e-5
    with one_thread(torch.float64):
        data = digits_split()
        small = apart(data, torch.float32, False, 3e-3, 300, [60])
        jumps = [apart(data, torch.float32, True, 3e-3, seed, [4])[0] for seed in range(300, 305)]
    assert small[0] < 1e-4
    assert np.median(jumps) > 1e-4
