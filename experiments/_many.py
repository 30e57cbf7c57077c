"""Many small networks trained at once: one batched product in place of a loop over seeds, rates and limits.

A network is 64 pixels → 32 ReLU → 10 logits, float32, started as `definebyrun_course.pieces.digits.network` starts
it. The first axis of every tensor counts networks. Here too: what all experiments need to choose rates and to report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from definebyrun_course.pieces.digits import network

__all__ = [
    "REPORTED",
    "TUNED",
    "Adam",
    "Sgd",
    "column",
    "draws",
    "forward",
    "losses",
    "norms",
    "start",
]

TUNED = list(range(100, 108))
"""The seeds on which rates, limits and decays are chosen."""
REPORTED = list(range(24))
"""The seeds that are reported."""


def start(seeds: list[int]) -> list[Tensor]:
    """The four parameters of one network for each seed, stacked: weights as (networks, inputs, outputs)."""
    nets = [network(seed, dtype=torch.float32) for seed in seeds]
    parameters = []
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        stacked = torch.stack([net.get_parameter(name).detach() for net in nets])
        stacked = stacked.mT.contiguous() if stacked.ndim == 3 else stacked[:, None]
        parameters.append(stacked.requires_grad_())
    return parameters


def column(values: Sequence[float]) -> Tensor:
    """One number for each network, as (networks, 1, 1)."""
    return torch.tensor(values)[:, None, None]


def draws(generators: list[torch.Generator], rows: int, batch: int = 32) -> Tensor:
    """Row numbers below `rows`, (networks, batch), from a generator for each network."""
    return torch.stack([torch.randint(0, rows, (batch,), generator=g) for g in generators])


def forward(parameters: list[Tensor], x: Tensor) -> Tensor:
    """Logits of shape (networks, rows, 10); `x` is (networks, rows, 64), or (rows, 64) for all alike."""
    first, bias, last, last_bias = parameters
    return (x @ first + bias).relu() @ last + last_bias


def losses(logits: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Each network's mean cross-entropy; with `weight`, (10,), the mean that PyTorch takes, over the weights."""
    y = y.expand(logits.shape[:2])
    each = cross_entropy(logits.transpose(1, 2), y, weight=weight, reduction="none")
    return each.mean(1) if weight is None else each.sum(1) / weight[y].sum(1)


def norms(grads: list[Tensor]) -> Tensor:
    """One norm over all parameters of each network, (networks, 1, 1)."""
    return torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0).sqrt()[:, None, None]


@dataclass
class Sgd:
    """SGD with momentum 0.9 as `torch.optim.SGD` has it; a rate of its own for each network, (networks, 1, 1)."""

    lr: Tensor
    buffers: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def step(
        self, parameters: list[Tensor], factor: float = 1.0, keep: Tensor | None = None
    ) -> None:
        """One step on `.grad`; networks whose `keep` is 0 are left as they are, their momentum too."""
        grads = [p.grad for p in parameters]
        self.buffers = self.buffers or [torch.zeros_like(p) for p in parameters]
        stays = torch.ones_like(self.lr) if keep is None else keep
        for p, g, buffer in zip(parameters, grads, self.buffers, strict=True):
            assert g is not None
            new = buffer * 0.9 + g
            buffer.copy_(torch.where(stays > 0, new, buffer))
            p -= torch.where(stays > 0, self.lr * factor * buffer, 0.0)


@dataclass
class Adam:
    """Adam as `torch.optim.Adam` and `AdamW` have it; rates and decays of shape (networks, 1, 1)."""

    lr: Tensor
    decay: Tensor | float = 0.0
    decoupled: bool = True
    steps: Tensor | None = None
    means: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def step(
        self, parameters: list[Tensor], factor: float = 1.0, keep: Tensor | None = None
    ) -> None:
        """One step on `.grad`; networks whose `keep` is 0 are left as they are, their running means too."""
        if self.steps is None:
            self.steps = torch.zeros_like(self.lr)
            self.means = [torch.zeros_like(p) for p in parameters]
            self.squares = [torch.zeros_like(p) for p in parameters]
        stays = torch.ones_like(self.lr) if keep is None else keep
        self.steps = self.steps + stays
        steps = self.steps.clamp(min=1)
        for p, m, v in zip(parameters, self.means, self.squares, strict=True):
            assert p.grad is not None
            g = p.grad if self.decoupled else p.grad + self.decay * p
            m.copy_(torch.where(stays > 0, 0.9 * m + 0.1 * g, m))
            v.copy_(torch.where(stays > 0, 0.999 * v + 0.001 * g * g, v))
            root = (v / (1 - 0.999**steps)).sqrt() + 1e-8
            moved = self.lr * factor * (m / (1 - 0.9**steps)) / root
            if self.decoupled:
                moved = moved + self.lr * factor * self.decay * p
            p -= torch.where(stays > 0, moved, 0.0)
