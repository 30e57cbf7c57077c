"""Lesson 18: two runs that begin one bit apart: does the distance stay, grow, or jump?

A network of lesson 17 and a copy of it in which one weight is moved to the next floating-point number, its smallest
possible change. Both get the same batches for eight epochs, 144 steps. Three settings (plain with rate 0.003 and with
0.03, batch normalisation with 0.003), float32 and float64, seeds 200 to 223. Stored is the distance of the parameters
relative to their size after some of the steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from definebyrun_course.pieces.digits import digits_split
from definebyrun_course.pieces.splits import Split
from experiments._digits import BATCH, mlp
from experiments._surroundings import one_thread

__all__ = ["SETTINGS", "apart", "run"]

SEEDS = list(range(200, 224))
SETTINGS = {
    "plain, lr 0.003": (False, 3e-3),
    "plain, lr 0.03": (False, 3e-2),
    "batch norm, lr 0.003": (True, 3e-3),
}
AFTER = [1, 2, 4, 8, 16, 24, 36, 48, 60, 72, 84, 96, 108, 120, 132, 144]


def apart(
    data: Split,
    dtype: torch.dtype,
    norm: bool,
    rate: float,
    seed: int,
    after: Sequence[int] = AFTER,
) -> list[float]:
    """The relative distance of two networks after some steps; one weight of the second began one bit off."""
    twins = [mlp(seed, norm).to(dtype)]
    twins.append(copy.deepcopy(twins[0]))
    first = next(twins[1].parameters()).data
    first[0, 20] = first[0, 20].nextafter(first.new_tensor(math.inf))
    optimizers = [torch.optim.AdamW(twin.parameters(), rate, fused=True) for twin in twins]
    shuffle, distance = torch.Generator().manual_seed(seed), []
    x, y, step = data.x_train.to(dtype), data.y_train, 0
    while step < max(after):
        for rows in torch.randperm(len(y), generator=shuffle).split(BATCH):
            for twin, optimizer in zip(twins, optimizers, strict=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(twin(x[rows]), y[rows]).backward()
                optimizer.step()
            step += 1
            if step in after:
                one, other = (nn.utils.parameters_to_vector(twin.parameters()) for twin in twins)
                distance.append(((one - other).norm() / one.norm()).item())
    return distance


def run() -> dict[str, Any]:
    """For each setting and dtype: rows are seeds, columns the steps in `after`."""
    found: dict[str, Any] = {"seeds": SEEDS, "after": AFTER}
    with one_thread(torch.float64):
        data = digits_split()
        for name, (norm, rate) in SETTINGS.items():
            for dtype in (torch.float32, torch.float64):
                runs = [apart(data, dtype, norm, rate, seed) for seed in SEEDS]
                kind = str(dtype).removeprefix("torch.")
                found[f"{name}, {kind}"] = [[float(f"{d:.2e}") for d in one] for one in runs]
    return found
