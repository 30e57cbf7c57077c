"""Averages of the weights, beside the last weights and a rate that falls to zero, with and without noise that stays.

The digits of lesson 17, SGD with momentum 0.9, batch 32, 1,200 steps. In the noisy task every batch gets fresh noise
of standard deviation 1.5 on its pixels, and so do, once, the validation and the test set: no network can learn that
noise away. Candidates: the last weights at a constant rate, exponential averages of the same run (decay per step),
the mean over its second half, and a rate that falls to zero along a line. The rate of each is chosen by validation
loss on seeds 100-107, from the same six; reported are 24 test losses and accuracies, seeds 0-23.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from definebyrun_course.pieces.digits import digits_split

from . import _many as many

__all__ = ["run", "train"]

STEPS, NOISE = 1200, 1.5
RATES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2]
DECAYS = [0.9, 0.97, 0.99, 0.997]

Scores = dict[str, tuple[Tensor, Tensor, Tensor]]


def noisy(x: Tensor, noise: float, seed: int) -> Tensor:
    """`x` with one fixed draw of noise."""
    return x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def train(seeds: list[int], lr: Tensor, noise: float, falling: bool) -> Scores:
    """By name of the weights: each network's validation loss, test loss and test accuracy."""
    data = digits_split(torch.float32)
    parameters, optimizer = many.start(seeds), many.Sgd(lr)
    generators = [torch.Generator().manual_seed(2000 + seed) for seed in seeds]
    copies = {f"EMA {decay}": [p.detach().clone() for p in parameters] for decay in DECAYS}
    half = [torch.zeros_like(p) for p in parameters]
    for step in range(STEPS):
        rows = many.draws(generators, len(data.y_train))
        x = data.x_train[rows]
        if noise:
            x = x + noise * torch.stack([torch.randn(x.shape[1:], generator=g) for g in generators])
        for p in parameters:
            p.grad = None
        many.losses(many.forward(parameters, x), data.y_train[rows]).sum().backward()
        optimizer.step(parameters, factor=1 - step / STEPS if falling else 1.0)
        with torch.no_grad():
            for decay, copy in zip(DECAYS, copies.values(), strict=True):
                for mean, p in zip(copy, parameters, strict=True):
                    mean.lerp_(p, 1 - decay)
            if step >= STEPS // 2:
                for mean, p in zip(half, parameters, strict=True):
                    mean += (p - mean) / (step - STEPS // 2 + 1)
    choose, test = noisy(data.x_val, noise, 5), noisy(data.x_test, noise, 6)
    return {
        name: _scores(weights, choose, data.y_val, test, data.y_test)
        for name, weights in {"last": parameters, "second half": half, **copies}.items()
    }


@torch.no_grad()
def _scores(
    weights: list[Tensor], choose: Tensor, labels: Tensor, test: Tensor, answers: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    logits = many.forward(weights, test)
    right = (logits.argmax(2) == answers).float().mean(1)
    by = many.losses(many.forward(weights, choose), labels).nan_to_num(99.0)
    return by, many.losses(logits, answers), right


def run() -> dict[str, Any]:
    """For each task and candidate: the chosen rate, the tuning losses, and 24 test losses and accuracies."""
    found = [{"noise": noise, **each} for noise in (0.0, NOISE) for each in _task(noise)]
    return {"seeds": many.REPORTED, "tuned on": many.TUNED, "rates": RATES, "candidates": found}


def _task(noise: float) -> list[dict[str, Any]]:
    lrs, found = [lr for lr in RATES for _ in many.TUNED], []
    runs: dict[tuple[bool, float], Scores] = {}
    for falling in (False, True):
        tried = train(many.TUNED * len(RATES), many.column(lrs), noise, falling)
        for name, (loss, _, _) in tried.items():
            if falling and name != "last":
                continue
            means = loss.view(len(RATES), -1).mean(1)
            lr = RATES[int(means.argmin())]
            if (falling, lr) not in runs:
                rate = many.column([lr] * len(many.REPORTED))
                runs[falling, lr] = train(many.REPORTED, rate, noise, falling)
            _, test, right = runs[falling, lr][name]
            scores = {"loss": test.tolist(), "accuracy": right.tolist()}
            how = "rate to zero" if falling else name
            found.append({"how": how, "lr": lr, "tuning": means.tolist(), **scores})
    return found
