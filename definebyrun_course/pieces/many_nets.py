"""Many small networks at once: each weight is a stack with one matrix for each network, and one step trains them all.

Weights, a rate for each network and batches go in, losses come out. The networks have nothing to do with each other:
the loss that is differentiated is a sum over them, so each gets the gradient that it would get alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from .stacked_steps import StackedSteps

__all__ = ["KINDS", "draw", "losses", "signals", "train"]

KINDS = ("plain", "layer norm", "batch norm", "residual")
"""What stands around each hidden layer: nothing, a normalisation before ReLU, or a sum that goes past it."""
Layers = list[tuple[Tensor, Tensor]]
"""Pairs of weights (networks, inputs, outputs) and biases (networks, 1, outputs)."""


def draw(start: str | float, sizes: Sequence[int], seeds: Sequence[int]) -> Layers:
    """Weights and biases of one network for each seed.

    `start` is a gain, the variance of a weight times its inputs, or "torch" for what `nn.Linear` does: uniform within
    one over the root of the inputs, biases too; or "orthogonal" for orthogonal matrices times the root of 2.

    >>> [(W, b)] = draw(2.0, [3, 4], seeds=[0, 1])
    >>> W.shape, b.shape
    (torch.Size([2, 3, 4]), torch.Size([2, 1, 4]))
    """
    dice = [torch.Generator().manual_seed(seed) for seed in seeds]
    layers: Layers = []
    for inputs, outputs in pairwise(sizes):
        shape = inputs, outputs
        b = torch.zeros(len(seeds), 1, outputs)
        if start == "torch":
            bound = inputs**-0.5
            W = torch.stack([torch.rand(shape, generator=one) for one in dice]) * 2 * bound - bound
            b = torch.stack([torch.rand((1, outputs), generator=one) for one in dice])
            b = b * 2 * bound - bound
        else:
            W = torch.stack([torch.randn(shape, generator=one) for one in dice])
            orthogonal = start == "orthogonal"
            W = _orthogonal(W) * 2**0.5 if orthogonal else W * (float(start) / inputs) ** 0.5
        layers.append((W.requires_grad_(), b.requires_grad_()))
    return layers


def _orthogonal(W: Tensor) -> Tensor:
    """The nearest thing to an orthogonal matrix in each of a stack: its rows or its columns are."""
    tall = W if W.shape[1] >= W.shape[2] else W.transpose(1, 2)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
    return (q if W.shape[1] >= W.shape[2] else q.transpose(1, 2)).contiguous()


def signals(layers: Layers, x: Tensor, kind: str = "plain") -> list[Tensor]:
    """What each linear layer gives, the logits last; `x` is (networks, batch, inputs)."""
    found = []
    for nth, (W, b) in enumerate(layers):
        z = torch.baddbmm(b, x, W)
        found.append(z)
        if nth == len(layers) - 1:
            return found
        if kind == "layer norm":
            z = F.layer_norm(z, z.shape[-1:])
        if kind == "batch norm":
            z = (z - z.mean(dim=1, keepdim=True)) / (
                z.var(1, keepdim=True, correction=0) + 1e-5
            ).sqrt()
        h = torch.relu(z)
        x = x + h if kind == "residual" and h.shape == x.shape else h
    return found


def losses(layers: Layers, x: Tensor, y: Tensor, kind: str = "plain") -> Tensor:
    """The mean cross-entropy of each network; `y` is (networks, batch)."""
    logits = signals(layers, x, kind)[-1]
    each = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    return each.reshape(y.shape).mean(dim=1)


def train(
    layers: Layers,
    rates: Tensor,
    x: Tensor,
    y: Tensor,
    seeds: Sequence[int],
    steps: int,
    batch: int = 32,
    kind: str = "plain",
    adam: bool = False,
    each_step: Callable[[int], object] | None = None,
) -> None:
    """Train each network in place with its own rate; networks of one seed see the same batches.

    >>> x, y = torch.eye(3), torch.arange(3)
    >>> layers = draw(2.0, [3, 8, 3], seeds=[0, 1])
    >>> train(layers, torch.tensor([0.5, 0.0]), x, y, seeds=[0, 1], steps=50)
    >>> trained, as_drawn = losses(layers, x.expand(2, 3, 3), y.expand(2, 3)).tolist()
    >>> trained < 0.3 < 1 < as_drawn
    True
    """
    dice = {seed: torch.Generator().manual_seed(10_000 + seed) for seed in seeds}
    rate = rates.reshape(-1, 1, 1)
    leaves = [part for pair in layers for part in pair]
    optimizer = StackedSteps(leaves, momentum=0.0, adam=adam)
    for step in range(1, steps + 1):
        drawn = {s: torch.randint(len(y), (batch,), generator=one) for s, one in dice.items()}
        rows = torch.stack([drawn[seed] for seed in seeds])
        grads = torch.autograd.grad(losses(layers, x[rows], y[rows], kind).sum(), leaves)
        optimizer.step(grads, rate)
        if each_step:
            each_step(step)
