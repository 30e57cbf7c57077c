"""Steps of SGD and Adam for many networks at once, each with its own rate: stacked parameters are moved in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["StackedSteps"]


class StackedSteps:
    """SGD with momentum as `torch.optim.SGD` has it, or Adam as `torch.optim.Adam`.

    The parameters are stacks, one entry for each network in front; a rate is a tensor that can be multiplied with each
    of them.

    >>> p = torch.zeros(2, 3)
    >>> steps = StackedSteps([p], momentum=0.0)
    >>> steps.step([torch.ones(2, 3)], torch.tensor([[1.0], [0.5]]))
    >>> p.tolist()
    [[-1.0, -1.0, -1.0], [-0.5, -0.5, -0.5]]
    """

    def __init__(
        self, parameters: Sequence[Tensor], momentum: float = 0.9, adam: bool = False
    ) -> None:
        self._parameters, self._momentum, self._adam, self._taken = parameters, momentum, adam, 0
        self._first = [torch.zeros_like(p) for p in parameters]
        self._second = [torch.zeros_like(p) for p in parameters] if adam else []

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor], rate: Tensor) -> None:
        """Move all parameters in place, by one gradient for each."""
        self._taken += 1
        for nth, (p, grad) in enumerate(zip(self._parameters, grads, strict=True)):
            first = self._first[nth]
            if self._adam:
                first.mul_(0.9).add_(grad, alpha=0.1)
                self._second[nth].mul_(0.999).addcmul_(grad, grad, value=0.001)
                size = (self._second[nth] / (1 - 0.999**self._taken)).sqrt_().add_(1e-8)
                p -= rate / (1 - 0.9**self._taken) * first / size
            else:
                first.mul_(self._momentum).add_(grad)
                p -= rate * first
