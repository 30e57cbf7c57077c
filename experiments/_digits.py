"""Lesson 17's network and loop, for experiments that train it some hundred times; a test holds them to the lesson's.

A batched network for all seeds at once was tried: in float64 on one thread it is no faster than one after another.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from numpy import ndarray
from sklearn.datasets import load_digits
from torch import Tensor, nn

__all__ = [
    "LABELS",
    "PIXELS",
    "by_pixel",
    "fit",
    "measured",
    "mlp",
    "one_mean",
    "raw",
]

_digits = load_digits()
PIXELS, LABELS = _digits.data, _digits.target
BATCH = 64


def raw(train: ndarray, *others: ndarray) -> list[ndarray]:
    """No scaling at all."""
    return [train, *others]


def by_pixel(train: ndarray, *others: ndarray) -> list[ndarray]:
    """Each pixel on the training set's own scale; constant pixels stay 0."""
    mean, std = train.mean(axis=0), train.std(axis=0)
    std[std == 0] = 1
    return [(x - mean) / std for x in (train, *others)]


def one_mean(train: ndarray, *others: ndarray) -> list[ndarray]:
    """One mean and one spread for all pixels, the training set's."""
    mean, std = train.mean(), train.std()
    return [(x - mean) / std for x in (train, *others)]


def mlp(seed: int, norm: bool) -> nn.Sequential:
    """64 → 128 → 64 → 10 with ReLU; `norm` adds batch normalisation after each hidden layer."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    inputs = 64
    for width in (128, 64):
        layers += [nn.Linear(inputs, width)]
        layers += [nn.BatchNorm1d(width)] if norm else []
        layers += [nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


def fit(
    seed: int,
    norm: bool,
    x: ndarray,
    y: ndarray,
    epochs: int,
    rate: float,
    each_epoch: Callable[[nn.Module], object] = lambda model: None,
) -> nn.Module:
    """Train with AdamW, and give the model in evaluation mode; `each_epoch` gets it so after each epoch."""
    inputs, labels = torch.tensor(x), torch.tensor(y)
    model, shuffle = mlp(seed, norm), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=True)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(labels), generator=shuffle).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
        each_epoch(model.eval())
    return model.eval()


@torch.no_grad()
def measured(model: nn.Module, x: ndarray, y: ndarray) -> tuple[float, list[int]]:
    """The mean cross-entropy, and the places of the digits that are read wrong."""
    logits, labels = model(torch.tensor(x)), torch.tensor(y)
    wrong: Tensor = (logits.argmax(1) != labels).nonzero().flatten()
    return nn.functional.cross_entropy(logits, labels).item(), wrong.tolist()
