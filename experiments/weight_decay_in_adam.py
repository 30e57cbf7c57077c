"""AdamW against Adam with the L2 penalty in the gradient, and against no decay, each at its best rate and decay.

The digits: 150 or 600 of them to train, drawn for each seed, 1,000 steps of batch 32, the rate falling to zero along
a line. Rate and decay are chosen together by the loss on lesson 17's 288 validation digits, on seeds 100-107, from
grids of equal size (without decay: its rates alone). Reported on seeds 0-23: loss and accuracy on the digits that
are in neither set, opened once for each candidate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from definebyrun_course.pieces.digits import digits_split

from . import _many as many

__all__ = ["run", "train"]

STEPS = 1000
RATES = [0.001, 0.003, 0.01, 0.03, 0.1]
DECAYS = {
    "none": [0.0],
    "AdamW": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0],
    "Adam, L2": [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03],
}
ROWS = (150, 600)
TOGETHER = 15
"""Points of the grid that are trained at once: more would not fit a small machine."""


def train(
    seeds: list[int], lr: Tensor, decay: Tensor, decoupled: bool, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Validation loss, test loss and test accuracy of each network."""
    data = digits_split(torch.float32)
    x, y = torch.cat([data.x_train, data.x_test]), torch.cat([data.y_train, data.y_test])
    generators = [torch.Generator().manual_seed(1000 + seed) for seed in seeds]
    orders = torch.stack([torch.randperm(len(y), generator=g) for g in generators])
    parameters, optimizer = many.start(seeds), many.Adam(lr, decay, decoupled)
    for step in range(STEPS):
        mine = orders.gather(1, many.draws(generators, rows))
        for p in parameters:
            p.grad = None
        many.losses(many.forward(parameters, x[mine]), y[mine]).sum().backward()
        optimizer.step(parameters, factor=1 - step / STEPS)
    with torch.no_grad():
        left = orders[:, rows:]
        logits = many.forward(parameters, x[left])
        right = (logits.argmax(2) == y[left]).float().mean(1)
        chosen_by = many.losses(many.forward(parameters, data.x_val), data.y_val)
        return chosen_by.nan_to_num(99.0), many.losses(logits, y[left]), right


def run() -> dict[str, Any]:
    """For each size and candidate: the chosen pair, the whole grid, and 24 test losses and accuracies."""
    found = [{"rows": rows, "how": how, **_candidate(how, rows)} for rows in ROWS for how in DECAYS]
    return {"seeds": many.REPORTED, "tuned on": many.TUNED, "rates": RATES, "candidates": found}


def _candidate(how: str, rows: int) -> dict[str, Any]:
    grid = [(lr, decay) for lr in RATES for decay in DECAYS[how]]
    means: list[float] = []
    for first in range(0, len(grid), TOGETHER):
        part = grid[first : first + TOGETHER]
        lrs, decays = zip(*[pair for pair in part for _ in many.TUNED], strict=True)
        seeds = many.TUNED * len(part)
        loss, _, _ = train(seeds, many.column(lrs), many.column(decays), how != "Adam, L2", rows)
        means += loss.view(len(part), -1).mean(1).tolist()
    lr, decay = grid[means.index(min(means))]
    rate, shrink = (many.column([value] * len(many.REPORTED)) for value in (lr, decay))
    _, loss, right = train(many.REPORTED, rate, shrink, how != "Adam, L2", rows)
    grids = {"decays": DECAYS[how], "grid": [round(value, 4) for value in means]}
    return {"lr": lr, "decay": decay, **grids, "loss": loss.tolist(), "accuracy": right.tolist()}
