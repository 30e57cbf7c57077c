"""Many small networks trained at once: as many seeds and learning rates as a claim needs, in the time of a few.

A network of this course is so small that PyTorch spends its time on calls, not on numbers. So networks of one shape
are stacked: each weight gets two dimensions more, `(candidates, seeds)`, and one batched matrix product serves all of
them. They never meet: the sum of their losses has, for each, the gradient of its own loss. Candidates with the same
seed start equal and see the same batches, so they are compared in pairs.

Rates go in as a table, one row per candidate and one column per step; measurements come out. Lesson 22 uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from .digits import network
from .stacked_steps import StackedSteps

__all__ = ["Batches", "Stack", "losses", "rates_table", "train_stack"]

Batches = Callable[[int], tuple[Tensor, Tensor]]
"""From the number of a step to `x` of shape (seeds, batch, inputs) and `y` of shape (seeds, batch)."""
Rule = Callable[[int], Tensor]
"""From the number of a step to rates of shape (candidates, 1) or (candidates, seeds)."""


class Start(Protocol):
    """Makes the network of one seed: alternating `nn.Linear` and ReLU, as `pieces.digits.network` does."""

    def __call__(self, seed: int) -> nn.Sequential: ...


class Stack:
    """`candidates` copies of each seed's network: ReLU between its linear layers, logits at the end.

    `weights` and `biases` have one tensor per layer, of shapes (candidates, seeds, inputs, outputs) and
    (candidates, seeds, 1, outputs).

    >>> stack = Stack(range(3), candidates=2)
    >>> stack(torch.zeros(3, 5, 64, dtype=torch.float64)).shape  # (candidates, seeds, rows, classes)
    torch.Size([2, 3, 5, 10])
    """

    def __init__(self, seeds: Sequence[int], candidates: int = 1, start: Start = network) -> None:
        nets = [start(seed) for seed in seeds]
        columns = zip(*(self._layers(net) for net in nets), strict=True)

        def repeated(rows: list[Tensor]) -> Tensor:
            one = torch.stack([row.detach() for row in rows])
            return one.expand(candidates, *one.shape).clone().requires_grad_()

        self.weights, self.biases = [], []
        for column in columns:
            self.weights.append(repeated([layer.weight.T for layer in column]))
            self.biases.append(repeated([layer.bias[None] for layer in column]))

    @staticmethod
    def _layers(net: nn.Sequential) -> list[nn.Linear]:
        return [layer for layer in net if isinstance(layer, nn.Linear)]

    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]

    def __call__(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for nth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            x = x.relu() if nth < last else x
        return x


def losses(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of each network: (candidates, seeds) from (candidates, seeds, rows, classes)."""
    own = y.expand(logits.shape[:-1])
    picked = logits.gather(-1, own.unsqueeze(-1)).squeeze(-1)
    return (logits.logsumexp(-1) - picked).mean(-1)


def rates_table(rates: Sequence[float], factor: Callable[[int], float], steps: int) -> Tensor:
    """One schedule from several peaks: rows `rate * factor(step)`, of shape (rates, steps)."""
    shape = torch.tensor([factor(step) for step in range(steps)])
    return torch.tensor(list(rates))[:, None] * shape


def train_stack(
    stack: Stack,
    batches: Batches,
    rates: Tensor | Rule,
    steps: int,
    momentum: float = 0.9,
    adam: bool = False,
    each_step: Callable[[int], object] | None = None,
) -> None:
    """Train all networks for `steps` steps with SGD and momentum, or with Adam as `torch.optim.Adam` has it.

    `rates` is a table of shape (candidates, steps) or a function that gives a column of it. `each_step` is called
    after every step with the number of steps done; there it may measure what it likes.
    """
    parameters = stack.parameters()
    optimizer = StackedSteps(parameters, momentum, adam)
    for step in range(steps):
        x, y = batches(step)
        grads = torch.autograd.grad(losses(stack(x), y).sum(), parameters)
        column = rates(step) if callable(rates) else rates[:, step, None]
        optimizer.step(grads, column[..., None, None].to(x.dtype))
        if each_step:
            each_step(step + 1)
