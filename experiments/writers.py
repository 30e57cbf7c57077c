"""Lesson 17: what does holding out other people's digits cost, and are those digits only harder?

The file's order seems to go by writer. Its 1,797 rows are cut into five blocks, and each block is held out once, which
keeps most of its writers out of the training digits. The control asks about the same rows with their writers on both
sides: five random folds, stratified by class, of the same size. Same network (one mean, batch normalisation, rate
0.003, 20 epochs), seeds 200 to 223, and the folds are dealt anew for each seed. Stored are the wrong answers in each
block, both ways.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy import ndarray
from sklearn.model_selection import StratifiedKFold

from experiments._digits import LABELS, PIXELS, fit, measured, one_mean
from experiments._surroundings import one_thread

__all__ = ["BLOCKS", "run", "wrong_in_blocks", "wrong_in_folds"]

SEEDS, EPOCHS, RATE = list(range(200, 224)), 20, 3e-3
BLOCKS = np.array_split(np.arange(1797), 5)


def wrong(seed: int, teach: ndarray, ask: ndarray) -> ndarray:
    """Which of the rows `ask` are read wrong by a network that learned from the rows `teach`."""
    x, x_ask = one_mean(PIXELS[teach], PIXELS[ask])
    return ask[measured(fit(seed, True, x, LABELS[teach], EPOCHS, RATE), x_ask, LABELS[ask])[1]]


def wrong_in_blocks(seed: int) -> list[int]:
    """Wrong answers in each block, held out as a whole."""
    every = np.arange(1797)
    return [len(wrong(seed, np.setdiff1d(every, block), block)) for block in BLOCKS]


def wrong_in_folds(seed: int) -> list[int]:
    """Wrong answers in each block, its rows held out in random folds."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed).split(PIXELS, LABELS)
    found = np.concatenate([wrong(seed, teach, ask) for teach, ask in folds])
    return [int(np.isin(found, block).sum()) for block in BLOCKS]


def run() -> dict[str, Any]:
    """Rows are seeds, columns the five blocks."""
    with one_thread(torch.float64):
        return {
            "seeds": SEEDS,
            "rows": [len(block) for block in BLOCKS],
            "held_out": [wrong_in_blocks(seed) for seed in SEEDS],
            "random_folds": [wrong_in_folds(seed) for seed in SEEDS],
        }
