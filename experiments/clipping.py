"""What clipping buys where one batch in a hundred holds a broken image, and what it costs where none does.

The digits of lesson 17, batch 32, 360 steps. In the broken task a batch has, from step 30 on, with probability 0.01
one image that is noise of standard deviation 30. Asked is the validation loss, the mean over the ends of the last six
epochs of 12 steps. Candidates: no clipping, the norm clipped, each element clipped, the step left out when the norm
is larger than the limit; under SGD with momentum 0.9 and under Adam. Rate and limit of each are chosen on seeds
100-107 from grids of the same size of rates; reported are seeds 0-23, the same batches for all candidates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from definebyrun_course.pieces.digits import digits_split

from . import _many as many

__all__ = ["run", "train"]

STEPS, CHANCE, NOISE, FIRST = 360, 0.01, 30.0, 30
RATES = {"SGD": [0.003, 0.01, 0.03, 0.1, 0.3], "Adam": [0.0003, 0.001, 0.003, 0.01, 0.03]}
LIMITS = {
    "none": [0.0],
    "norm": [0.1, 0.3, 1.0, 3.0],
    "value": [0.003, 0.01, 0.03, 0.1],
    "skip": [3.0, 10.0, 30.0],
}
SWEEP = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0]
WORST = 99.0
"""Stands for a loss that is not a number."""


def train(
    seeds: list[int], lr: Tensor, how: str, limit: Tensor, broken: bool, method: str
) -> tuple[Tensor, Tensor]:
    """Each network's validation loss, (networks,), and the gradient norms before clipping, (steps, networks)."""
    data = digits_split(torch.float32)
    parameters = many.start(seeds)
    optimizer = (many.Sgd if method == "SGD" else many.Adam)(lr)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    seen, found = [], []
    for step in range(STEPS):
        rows = many.draws(generators, len(data.y_train))
        chance = torch.cat([torch.rand(1, generator=g) for g in generators])
        x = data.x_train[rows].clone()
        if broken and step >= FIRST:
            for i in (chance < CHANCE).nonzero().flatten().tolist():
                x[i, 0] = NOISE * torch.randn(64, generator=generators[i])
        for p in parameters:
            p.grad = None
        many.losses(many.forward(parameters, x), data.y_train[rows]).sum().backward()
        norm = many.norms([p.grad for p in parameters if p.grad is not None])
        seen.append(norm.flatten())
        _clip(parameters, how, limit, norm)
        optimizer.step(parameters, keep=(norm <= limit).float() if how == "skip" else None)
        if step >= STEPS - 72 and step % 12 == 11:
            found.append(many.losses(many.forward(parameters, data.x_val), data.y_val).detach())
    return torch.stack(found).mean(0).nan_to_num(WORST), torch.stack(seen)


def _clip(parameters: list[Tensor], how: str, limit: Tensor, norm: Tensor) -> None:
    """Change `.grad` in place, as `clip_grad_norm_` or `clip_grad_value_` does."""
    for p in parameters:
        assert p.grad is not None
        if how == "norm":
            p.grad *= (limit / (norm + 1e-6)).clamp(max=1.0)
        elif how == "value":
            p.grad.copy_(torch.maximum(torch.minimum(p.grad, limit), -limit))


def run() -> dict[str, Any]:
    """Chosen rates and limits, 24 losses for each candidate, norms, and a sweep of the limit at one rate."""
    candidates = [
        {"method": method, "broken": broken, "how": how, **_candidate(method, broken, how)}
        for method in RATES
        for broken in (False, True)
        for how in LIMITS
    ]
    sweep, fixed = {}, many.column([0.03] * len(many.REPORTED))
    for limit in SWEEP:
        limits = many.column([limit] * len(many.REPORTED))
        loss, _ = train(many.REPORTED, fixed, "norm", limits, True, "SGD")
        sweep[str(limit)] = loss.tolist()
    return {
        "seeds": many.REPORTED,
        "tuned on": many.TUNED,
        "candidates": candidates,
        "sweep": sweep,
    }


def _candidate(method: str, broken: bool, how: str) -> dict[str, Any]:
    grid = [(lr, limit) for lr in RATES[method] for limit in LIMITS[how]]
    lrs, limits = zip(*[pair for pair in grid for _ in many.TUNED], strict=True)
    seeds = many.TUNED * len(grid)
    loss, _ = train(seeds, many.column(lrs), how, many.column(limits), broken, method)
    lr, limit = grid[int(loss.view(len(grid), -1).mean(1).argmin())]
    rate, clip = (many.column([value] * len(many.REPORTED)) for value in (lr, limit))
    loss, seen = train(many.REPORTED, rate, how, clip, broken, method)
    shares = torch.quantile(seen.flatten(), torch.tensor([0.5, 0.9, 0.99, 1.0])).tolist()
    return {"lr": lr, "limit": limit, "loss": loss.tolist(), "norms": shares}
