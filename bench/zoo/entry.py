"""What an entry of the zoo is: a model, its inputs, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Entry", "backward_from", "forward_and_backward"]


def forward_and_backward(model: nn.Module, *inputs: Tensor) -> Tensor:
    """Call the model, sum up what it gives, run backward."""
    return backward_from(partial(model, *inputs))


def backward_from(call: Callable[[], Any]) -> Tensor:
    """Sum up what a call gives, and run backward."""
    out = call()
    loss: Tensor = sum(part.sum() for part in out) if isinstance(out, tuple) else out.sum()
    loss.backward()
    return loss


@dataclass(frozen=True)
class Entry:
    """How to build a model and its inputs, and what is run: `use(model, *inputs)`."""

    build: Callable[[], Any]
    inputs: Callable[[], tuple[Tensor, ...]]
    use: Callable[..., Any] = forward_and_backward

    def made(self) -> tuple[Any, tuple[Tensor, ...]]:
        """The model and its inputs, the same every time."""
        torch.manual_seed(0)
        return self.build(), self.inputs()
