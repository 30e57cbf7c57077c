"""Lesson 17: what does early stopping gain, for which patience, when other digits judge than those that stop?

The test set stays closed: for each of the seeds 200 to 223 the other 1,437 digits are dealt out anew, 861 to train, 288
to stop by, 288 to judge. The plain network, one mean, rate 0.003, runs for 40 epochs; what is stored is the loss on
both sets and the number of right answers of the judges after each epoch, so that every rule can be tried afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from experiments._digits import LABELS, PIXELS, fit, measured, one_mean
from experiments._surroundings import one_thread

__all__ = ["run", "watched"]

SEEDS, EPOCHS, RATE = list(range(200, 224)), 40, 3e-3


def watched(seed: int, epochs: int = EPOCHS) -> dict[str, list[float]]:
    """Losses after each epoch on the three sets, and the judges' right answers."""
    rest, _ = train_test_split(np.arange(1797), test_size=360, stratify=LABELS, random_state=0)
    others, judge = train_test_split(rest, test_size=288, stratify=LABELS[rest], random_state=seed)
    train, val = train_test_split(others, test_size=288, stratify=LABELS[others], random_state=seed)
    x, x_val, x_judge = one_mean(PIXELS[train], PIXELS[val], PIXELS[judge])
    kept: dict[str, list[float]] = {"train": [], "val": [], "judge": [], "hits": []}

    def look(model: Any) -> None:
        kept["train"].append(measured(model, x, LABELS[train])[0])
        kept["val"].append(round(measured(model, x_val, LABELS[val])[0], 4))
        loss, wrong = measured(model, x_judge, LABELS[judge])
        kept["judge"].append(round(loss, 4))
        kept["hits"].append(len(judge) - len(wrong))

    fit(seed, False, x, LABELS[train], epochs, RATE, look)
    return kept


def run() -> dict[str, Any]:
    """Rows are seeds, columns epochs; of the training loss, the mean over seeds."""
    with one_thread(torch.float64):
        found = [watched(seed) for seed in SEEDS]
    curves = {key: [one[key] for one in found] for key in ("val", "judge", "hits")}
    return {
        "seeds": SEEDS,
        "train": np.mean([one["train"] for one in found], axis=0).tolist(),
        **curves,
    }
