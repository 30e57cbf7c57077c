"""The models that the bench measures, small enough for one core: each gives a module, its input and a way to run it.

Nothing is downloaded and nothing trained: a model is what its weights are after `torch.manual_seed`, and ResNet-18 has
its real sizes. Chains are plain functions without a module; drawing tools that only take modules get them wrapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["MODELS", "RECORDED", "Case", "chain"]


@dataclass(frozen=True)
class Case:
    """One model with one input; `run` is what the learner's code calls, `module` what tools get that draw modules."""

    run: Callable[[Tensor], Tensor]
    module: nn.Module
    x: Tensor

    def forward(self) -> Tensor:
        """The plain forward pass, down to a scalar."""
        return self.run(self.x).sum()

    def forget(self) -> None:
        """Take all gradients away, so that every pass does the same work."""
        self.module.zero_grad(set_to_none=True)
        self.x.grad = None


class Residual(nn.Module):
    """`blocks` times: a layer, a relu, and the input added."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return x


class Recurrent(nn.Module):
    """One layer and a tanh, `steps` times over: the weights are shared."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.cell = steps, nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.steps):
            x = torch.tanh(self.cell(x))
        return x


class Block(nn.Module):
    """The basic block of ResNet-18 (He et al., 2015): two 3×3 convolutions and a way around them."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        self.relu = nn.ReLU()
        self.around = nn.Sequential()
        if stride != 1 or given != made:
            self.around = nn.Sequential(
                nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(inner)) + self.around(x))


def resnet18() -> nn.Module:
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    sizes = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    body = [nn.Sequential(Block(a, b, s), Block(b, b, 1)) for a, b, s in sizes]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *body, *head)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, nhead=4, dim_feedforward=64, batch_first=True)
    return nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)


def chain(x: Tensor, length: int) -> Tensor:
    """`length` multiplications in a row."""
    for _ in range(length):
        x = x * 0.999
    return x


class Wrapped(nn.Module):
    """A plain function as a module, for drawing tools that take nothing else."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def tanh_loop(w: Tensor, length: int) -> Tensor:
    """`length` times a multiplication and a tanh, of two numbers each: operations as small as they can be."""
    h = w
    for _ in range(length):
        h = torch.tanh(h * w)
    return h


def _case(module: nn.Module, *shape: int) -> Case:
    return Case(module, module, torch.randn(shape))


def _plain(run: Callable[[Tensor], Tensor], *shape: int) -> Case:
    return Case(run, Wrapped(run), torch.randn(shape, requires_grad=True))


def _chain(length: int) -> Case:
    return _plain(lambda x: chain(x, length), 4, 32)


MODELS: dict[str, Callable[[], Case]] = {
    "MLP, 2 layers": lambda: _case(
        nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10)), 4, 32
    ),
    "residual MLP, 50 blocks": lambda: _case(Residual(50), 4, 32),
    "transformer encoder, 2 layers": lambda: _case(encoder(), 4, 16, 32),
    "ResNet-18, one image of 224×224": lambda: _case(resnet18(), 1, 3, 224, 224),
    "RNN, 200 steps": lambda: _case(Recurrent(200), 4, 32),
    "RNN, 1,000 steps": lambda: _case(Recurrent(1000), 4, 32),
    "chain of 2,000 operations": lambda: _chain(2000),
    "chain of 20,000 operations": lambda: _chain(20000),
}
RECORDED: dict[str, Callable[[], Case]] = {
    "loop of 1,000 tanh(h * w)": lambda: _plain(lambda w: tanh_loop(w, 1000), 2),
    "ResNet-18, training step, 8 images of 64×64": lambda: _case(resnet18(), 8, 3, 64, 64),
    "ResNet-18, training step, one image of 224×224": lambda: _case(resnet18(), 1, 3, 224, 224),
}
"""Recorded only, and not drawn."""
