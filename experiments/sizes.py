"""Lesson 17: how many validation digits go wrong after 50, 100, 200, 400 and all 1,149 training digits?

Each of the seeds 200 to 223 draws its own digits, its own start and its own order. The number of steps is 216 for every
size, or a small part would also be a short training. Plain network, one mean (that of all training digits), rate 0.003.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from experiments._digits import BATCH, LABELS, PIXELS, fit, measured, one_mean
from experiments._surroundings import one_thread
from experiments.candidates import rows

__all__ = ["run", "wrong_after"]

SEEDS, SIZES, STEPS, RATE = list(range(200, 224)), [50, 100, 200, 400, 1149], 216, 3e-3


def wrong_after(size: int, seed: int) -> int:
    """Of the 288 validation digits, how many are read wrong by a network that has seen `size` digits."""
    train, val, _ = rows()
    x, x_val = one_mean(PIXELS[train], PIXELS[val])
    part = np.random.default_rng(seed).permutation(len(train))[:size]
    epochs = STEPS // math.ceil(size / BATCH)
    model = fit(seed, False, x[part], LABELS[train[part]], epochs, RATE)
    return len(measured(model, x_val, LABELS[val])[1])


def run() -> dict[str, Any]:
    """Rows are seeds, columns sizes."""
    with one_thread(torch.float64):
        found = [[wrong_after(size, seed) for size in SIZES] for seed in SEEDS]
        return {"seeds": SEEDS, "sizes": SIZES, "wrong": found}
