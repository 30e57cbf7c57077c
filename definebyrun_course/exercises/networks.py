"""Small networks for the checks of exercises, with numbers drawn from a seed: the global random state is left alone."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from ..grading import Drawn

__all__ = ["linear", "mlp"]


def linear(draw: Drawn, inputs: int, outputs: int, dtype: torch.dtype = torch.float64) -> nn.Linear:
    """A linear layer with numbers that are drawn, of a size that keeps activations near 1.

    >>> tuple(linear(Drawn(0), 3, 2).weight.shape)
    (2, 3)
    """
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(draw.normal(outputs, inputs) / max(inputs, 1) ** 0.5)
        layer.bias.copy_(draw.normal(outputs) / 2)
    return layer


def mlp(draw: Drawn, *sizes: int, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Linear layers of these sizes with tanh between them.

    >>> [type(module).__name__ for module in mlp(Drawn(0), 2, 3, 1)]
    ['Linear', 'Tanh', 'Linear']
    """
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        parts += [linear(draw, inputs, outputs, dtype), nn.Tanh()]
    return nn.Sequential(*parts[:-1])
