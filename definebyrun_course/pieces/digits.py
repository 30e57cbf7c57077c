"""Lesson 17's task for other lessons: the handwritten digits, split and standardised as there, a network, a loop.

What comes out is tensors and rows of numbers. No scheduler, no early stopping and no test score: the lessons do that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .splits import Split

__all__ = ["Row", "digits_split", "evaluate", "network", "train"]


class Row(NamedTuple):
    """What `train` measures after an epoch: mean cross-entropy on both sets, and the share of right answers."""

    train_loss: float
    val_loss: float
    val_accuracy: float


def digits_split(dtype: torch.dtype = torch.float64) -> Split:
    """1,149 digits to train, 288 to choose, 360 to test, on the training set's one mean and one spread.

    The rows are those of lesson 17. Needs scikit-learn, which brings the digits along.

    >>> data = digits_split()
    >>> data.x_train.shape, data.x_val.shape, data.x_test.shape
    (torch.Size([1149, 64]), torch.Size([288, 64]), torch.Size([360, 64]))
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels, labels = digits.data, digits.target

    def split(rows: np.ndarray, size: int) -> list[np.ndarray]:
        return train_test_split(rows, test_size=size, stratify=labels[rows], random_state=0)

    rest, test = split(np.arange(len(labels)), 360)
    train, val = split(rest, 288)
    mean, std = pixels[train].mean(), pixels[train].std()
    parts: list[Tensor] = []
    for rows in (train, val, test):
        parts += [
            torch.tensor((pixels[rows] - mean) / std, dtype=dtype),
            torch.tensor(labels[rows]),
        ]
    return Split(*parts)


def network(seed: int, hidden: int = 32, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """64 pixels → `hidden` units with ReLU → 10 logits; the seed decides the start and is this network's own.

    >>> sum(p.numel() for p in network(0).parameters())
    2410
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(64, hidden, dtype=dtype), nn.ReLU(), nn.Linear(hidden, 10, dtype=dtype)
        return nn.Sequential(*layers)


@torch.no_grad()
def evaluate(model: nn.Module, data: Split) -> Row:
    """Loss on the training and validation set and accuracy on the validation set, without a graph."""
    training, choosing = model(data.x_train), model(data.x_val)
    loss = nn.functional.cross_entropy
    right = (choosing.argmax(dim=1) == data.y_val).double().mean()
    return Row(loss(training, data.y_train).item(), loss(choosing, data.y_val).item(), right.item())


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Split,
    epochs: int,
    seed: int = 0,
    batch: int = 32,
    each_step: Callable[[], object] | None = None,
    each_epoch: Callable[[Row], object] | None = None,
) -> list[Row]:
    """Train, shuffled by `seed`; one `Row` an epoch.

    `each_step` is called after every step of the optimizer, `each_epoch` after every epoch with what was measured.
    """
    shuffle = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(epochs):
        for chosen in torch.randperm(len(data.y_train), generator=shuffle).split(batch):
            optimizer.zero_grad()
            logits = model(data.x_train[chosen])
            nn.functional.cross_entropy(logits, data.y_train[chosen]).backward()
            optimizer.step()
            if each_step:
                each_step()
        rows.append(evaluate(model, data))
        if each_epoch:
            each_epoch(rows[-1])
    return rows
