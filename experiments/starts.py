"""How much the start of a deep ReLU network matters: gains by depth, and the rivals that make it matter less.

Task: the training digits of lesson 17, networks of 64 → 48 → … → 48 → 10, plain SGD or Adam, 200 steps with batches of
32. Judged is the loss on 512 training digits, the mean of five looks in the last 50 steps: whether a network *starts*,
not how well it generalises. A loss above 5, or one that is not a number, counts as 5. Each candidate gets the same
rates, eight for SGD and seven for Adam, tuned by the median over seeds 1000–1007; what is reported are seeds 0–23 at
that rate. Seeds are paired: candidates of one seed see the same batches, and gains scale the same drawn numbers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from definebyrun_course.pieces.digits import digits_split
from definebyrun_course.pieces.many_nets import Layers, draw, losses, signals, train

__all__ = ["run"]

WIDTH, STEPS, CAP = 48, 200, 5.0
DEPTHS = (2, 6, 12, 20)
GAINS = (1 / 3, 2 / 3, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
SGD_RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
ADAM_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
TUNING, REPORTED = range(1000, 1008), range(24)
RIVALS: dict[str, tuple[str | float, str]] = {
    "torch": ("torch", "plain"),
    "Xavier": (1.0, "plain"),
    "Kaiming": (2.0, "plain"),
    "orthogonal": ("orthogonal", "plain"),
    "by data": ("by data", "plain"),
    "Kaiming, last layer 0.1": ("small last", "plain"),
    "torch, layer norm": ("torch", "layer norm"),
    "torch, batch norm": ("torch", "batch norm"),
    "torch, residual": ("torch", "residual"),
}


def sizes(depth: int) -> list[int]:
    return [64, *[WIDTH] * (depth - 1), 10]


def started(start: str | float, depth: int, seeds: list[int], x: Tensor) -> Layers:
    """Networks by the name of their start."""
    if start == "small last":
        layers = draw(2.0, sizes(depth), seeds)
        layers[-1][0].data *= 0.1
        return layers
    if start != "by data":
        return draw(start, sizes(depth), seeds)
    layers = draw("torch", sizes(depth), seeds)
    sample = x[:256].expand(len(seeds), -1, -1)
    with torch.no_grad():
        for nth, (W, b) in enumerate(layers):
            spread = signals(layers[: nth + 1], sample)[-1].std(dim=(1, 2))
            W /= spread[:, None, None]
            b /= spread[:, None, None]
    return layers


def measured(
    start: str | float, kind: str, depth: int, rates: Tensor, seeds: list[int], adam: bool
) -> Tensor:
    """The loss of each network, averaged over the last five looks."""
    data = digits_split(torch.float32)
    x, y = data.x_train, data.y_train
    layers = started(start, depth, seeds, x)
    held = x[:512].expand(len(seeds), -1, -1), y[:512].expand(len(seeds), -1)
    looks: list[Tensor] = []

    def look(step: int) -> None:
        if step > STEPS - 50 and step % 10 == 0:
            with torch.no_grad():
                looks.append(losses(layers, *held, kind).nan_to_num(CAP).clamp(max=CAP))

    train(layers, rates, x, y, seeds, STEPS, kind=kind, adam=adam, each_step=look)
    return torch.stack(looks).mean(dim=0)


def candidate(start: str | float, kind: str, depth: int, adam: bool = False) -> dict[str, Any]:
    """Tune the rate on some seeds, report others: medians by rate, the rate, losses."""
    grid = ADAM_RATES if adam else SGD_RATES
    seeds = [seed for _ in grid for seed in TUNING]
    rates = torch.tensor([rate for rate in grid for _ in TUNING])
    by_rate = measured(start, kind, depth, rates, seeds, adam).reshape(len(grid), -1).median(1)
    best = grid[int(by_rate.values.argmin())]
    final = measured(start, kind, depth, torch.full((24,), best), list(REPORTED), adam)
    return {"medians": by_rate.values.tolist(), "rate": best, "losses": final.tolist()}


def ratios(depth: int) -> dict[str, list[float]]:
    """Rate times gradient over weight at the first step of Kaiming's start; root mean squares, medians over layers."""
    data = digits_split(torch.float32)
    layers = draw(2.0, sizes(depth), list(TUNING))
    rows = torch.arange(32).expand(len(TUNING), -1)
    weights = [W for W, _ in layers]
    grads = torch.autograd.grad(
        losses(layers, data.x_train[rows], data.y_train[rows]).sum(), weights
    )
    each = [
        g.square().mean((1, 2)).sqrt() / W.square().mean((1, 2)).sqrt()
        for g, W in zip(grads, weights, strict=True)
    ]
    one = torch.stack(each).median().item()
    return {"rates": list(SGD_RATES), "ratios": [rate * one for rate in SGD_RATES]}


def run() -> dict[str, Any]:
    gains = {
        str(depth): {f"{gain:.3g}": candidate(gain, "plain", depth) for gain in GAINS}
        for depth in DEPTHS
    }
    rivals = {
        optimizer: {
            str(depth): {
                name: candidate(*how, depth, adam=optimizer == "Adam")
                for name, how in RIVALS.items()
            }
            for depth in (6, 12)
        }
        for optimizer in ("SGD", "Adam")
    }
    return {
        "task": {"width": WIDTH, "steps": STEPS, "batch": 32, "chance": math.log(10)},
        "seeds": {"tuning": list(TUNING), "reported": list(REPORTED)},
        "gains": gains,
        "rivals": rivals,
        "ratios": {str(depth): ratios(depth) for depth in DEPTHS},
    }
