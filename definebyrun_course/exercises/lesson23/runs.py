"""Runs of an optimizer and a scheduler, for exercise `resume`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler

__all__ = ["MAKERS", "Path", "go", "put_back", "start", "velocities"]

Path = list[tuple[float, float]]
MAKERS: dict[str, Callable[[Optimizer], Any]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 4, 0.5),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 1.0, 40),
}


def start(name: str, groups: int = 1) -> tuple[Optimizer, Any]:
    """A new optimizer with momentum and so many groups, and a scheduler on it."""
    parts = [
        {"params": [nn.Parameter(torch.ones(1, dtype=torch.float64))], "lr": rate}
        for rate in (1.0, 0.3)[:groups]
    ]
    optimizer = SGD(parts, lr=1.0, momentum=0.9)
    return optimizer, MAKERS[name](optimizer)


def go(optimizer: Optimizer, scheduler: Any, steps: int) -> Path:
    """So many steps with falling gradients; rate and move of each group's weight in each."""
    path = []
    for step in range(steps):
        before = [(group["lr"], group["params"][0].item()) for group in optimizer.param_groups]
        for nth, group in enumerate(optimizer.param_groups, start=1):
            group["params"][0].grad = torch.full((1,), nth / (step + 1), dtype=torch.float64)
        optimizer.step()
        scheduler.step()
        for (rate, place), group in zip(before, optimizer.param_groups, strict=True):
            path.append((float(rate), place - group["params"][0].item()))
    return path


def velocities(optimizer: Optimizer) -> list[float]:
    """The momentum of each weight; nan where there is none."""
    found = [
        optimizer.state.get(group["params"][0], {}).get("momentum_buffer")
        for group in optimizer.param_groups
    ]
    return [math.nan if buffer is None else float(buffer) for buffer in found]


def put_back(unpack: Any, saved: Any, optimizer: Optimizer, scheduler: Any) -> None:
    """Call `unpack` without PyTorch's warnings about the order of steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unpack(saved, optimizer, scheduler)
