"""Lesson 18's data set of noise and its cure, in a module that worker processes can import on every system."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

__all__ = ["Noisy", "reseed"]


class Noisy(Dataset[float]):
    """Items that are noise, from a NumPy generator that the data set holds: each worker process gets a copy of it.

    >>> from torch.utils.data import DataLoader
    >>> [round(float(item), 2) for item in DataLoader(Noisy(2), None)]
    [0.64, 0.27]
    """

    def __init__(self, length: int, seed: int = 0) -> None:
        self.length, self.generator = length, np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> float:
        return float(self.generator.random())


def reseed(worker: int) -> None:
    """Give the worker's copy of the data set a generator of its own: a `worker_init_fn`."""
    info = get_worker_info()
    assert info is not None, "reseed runs in a worker"
    info.dataset.generator = np.random.default_rng(torch.initial_seed())
