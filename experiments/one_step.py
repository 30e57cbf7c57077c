"""How many right gradients does one step of a central difference convict, on the digits network with ReLU?

Asked: the network of lesson 17 (64, 128, 64, 10; float64, as PyTorch starts it) and its mean cross-entropy, on 4, 64
and all 1,149 digits. For 24 starts, 64 weights of the first layer each are measured with one step, from 1e-2 to 1e-7.
Autograd's gradient is right there (the ladder of `slopes` judges the same weights, too), so every weight beyond a
limit is convicted wrongly. Stored is the share for each start: a reader can draw the dots and take any interval.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from definebyrun_course.pieces.digits import digits_split
from definebyrun_course.pieces.slopes import judge

SEEDS = tuple(range(100, 124))
WEIGHTS, STEPS, BATCHES = 64, tuple(10.0**-k for k in range(2, 8)), (4, 64, 1149)
LIMITS = (1e-2, 1e-5)


class FirstLayer:
    """The loss of one network on one batch, as a function of single weights of the first layer."""

    def __init__(self, seed: int, batch: int) -> None:
        data, draw = digits_split(), torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
            self.net = nn.Sequential(*layers).double()
        rows = torch.randperm(len(data.y_train), generator=draw)[:batch]
        self.x, self.y = data.x_train[rows], data.y_train[rows]
        live = (data.x_train.std(0) > 0.1).nonzero().flatten()  # corners of the images never change
        self.units = torch.randint(128, (WEIGHTS,), generator=draw)
        self.pixels = live[torch.randint(len(live), (WEIGHTS,), generator=draw)]
        loss = nn.functional.cross_entropy(self.net(self.x), self.y)
        [grad] = torch.autograd.grad(loss, self.net[0].weight)
        self.loss, self.claims = loss.item(), grad[self.units, self.pixels]
        with torch.no_grad():
            self.z = self.net[0](self.x)
            self.second = self.net[2](self.z.relu())

    @torch.no_grad()
    def losses(self, step: float, which: Tensor) -> Tensor:
        """One loss for each of `which` weights, that weight alone moved by `step`: one hidden unit changes."""
        units, pixels = self.units[which], self.pixels[which]
        before = self.z[:, units]  # (batch, weights)
        moved = (before + step * self.x[:, pixels]).relu() - before.relu()
        into = self.net[2].weight[:, units].T  # (weights, 64)
        logits = self.net[4]((self.second + moved.T[:, :, None] * into[:, None, :]).relu())
        chosen = logits.log_softmax(2)[:, torch.arange(len(self.y)), self.y]
        return -chosen.mean(1)

    def errors(self, step: float) -> Tensor:
        """The relative error of each claim against a central difference with this step; equal numbers have none."""
        every = torch.arange(WEIGHTS)
        n = (self.losses(step, every) - self.losses(-step, every)) / (2 * step)
        size = torch.maximum(n.abs(), self.claims.abs())
        return torch.where(n == self.claims, 0.0, (n - self.claims).abs() / size)


def verdicts(layer: FirstLayer, weights: int = WEIGHTS) -> dict[str, int]:
    """What the ladder says of the first so many of the same weights."""
    found: dict[str, int] = {}
    for k in range(weights):
        which = torch.tensor([k])
        base = layer.losses(0.0, which).item()
        rise = lambda t, w=which, b=base: layer.losses(t, w).item() - b  # noqa: E731
        zero = 1e-8 * layer.loss
        status = judge(
            layer.claims[k].item(), rise, 0.0123, 2.3e-16 * layer.loss, 1e-5, zero
        ).status
        found[status] = found.get(status, 0) + 1
    return found


def one(seed: int) -> dict[str, Any]:
    """Shares convicted at each batch, limit and step, and the ladder's verdicts on all digits, for one start."""
    shares = {}
    for batch in BATCHES:
        layer = FirstLayer(seed, batch)
        errors = torch.stack([layer.errors(step) for step in STEPS])  # (steps, weights)
        shares[batch] = [(errors > limit).double().mean(1).tolist() for limit in LIMITS]
    return {"shares": shares, "ladder": verdicts(layer)}


def run() -> dict[str, Any]:
    """All starts; `shares[batch][limit][step]` holds one number for each start."""
    runs = [one(seed) for seed in SEEDS]
    shares = {
        batch: [
            [[run["shares"][batch][i][k] for run in runs] for k in range(len(STEPS))]
            for i in range(len(LIMITS))
        ]
        for batch in BATCHES
    }
    ladder: dict[str, int] = {}
    for each in runs:
        for status, count in each["ladder"].items():
            ladder[status] = ladder.get(status, 0) + count
    return {
        "seeds": SEEDS,
        "weights": WEIGHTS,
        "steps": STEPS,
        "batches": BATCHES,
        "limits": LIMITS,
        "shares": shares,
        "ladder": ladder,
    }
