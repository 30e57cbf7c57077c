"""Programs around a model: training, adversaries, gradients of gradients, hand-made operations, runs that stop."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn, rand, tensor
from torch.utils.checkpoint import checkpoint

from .entry import Entry
from .networks import DeepResidual, Perceptron

__all__ = ["PROGRAMS"]


def train(model: nn.Module, x: Tensor, steps: int = 3) -> Tensor:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    target = torch.tensor([0, 2])
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
    return loss


def train_clipped(model: nn.Module, x: Tensor) -> Tensor:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(2):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return loss


def accumulate(model: nn.Module, one: Tensor, two: Tensor, three: Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in (one, two, three):
        (model(batch).square().mean() / 3).backward()
    optimizer.step()


class Adversaries(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
        self.judge = nn.Sequential(nn.Linear(2, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1))


def contest(model: Adversaries, noise: Tensor, real: Tensor) -> Tensor:
    yes, no, loss_of = torch.ones(3, 1), torch.zeros(3, 1), F.binary_cross_entropy_with_logits
    fake = model.maker(noise)
    judged = loss_of(model.judge(real), yes) + loss_of(model.judge(fake.detach()), no)
    judged.backward()
    model.judge.zero_grad()
    fooled = loss_of(model.judge(fake), yes)
    fooled.backward()
    return fooled


def adapt(model: nn.Linear, x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor) -> Tensor:
    w, b = model.weight, model.bias
    inner = F.mse_loss(F.linear(x, w, b), y)
    slope_w, slope_b = torch.autograd.grad(inner, [w, b], create_graph=True)
    loss = F.mse_loss(F.linear(new_x, w - 0.1 * slope_w, b - 0.1 * slope_b), new_y)
    loss.backward()
    return loss


def penalty(model: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    score = model(x)
    (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    loss = score.mean() + ((slope.norm(dim=1) - 1) ** 2).mean()
    loss.backward()
    return loss


class Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low = low
        return x.clamp(min=low)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad * (x > ctx.low), None


def clipped(model: nn.Module, x: Tensor) -> Tensor:
    loss = Clip.apply(model(x), 0.0).pow(2).sum()
    loss.backward()
    return loss


def in_place(w: Tensor, x: Tensor) -> None:
    y = x @ w
    y[:, 0] = 0
    y.view(-1, 2, 3)[:, 1].mul_(2)
    y.add_(1).relu_()
    y.sum().backward()


def indexed(model: nn.Module, x: Tensor) -> None:
    y = model(x)
    _, order = y.sort(-1)
    best, where = y.topk(2, -1)
    middle = y.quantile(0.5, dim=-1, keepdim=True)
    again = (y.gather(-1, order) - middle).mean()
    (again + best.sum() + y[torch.arange(len(y)), y.argmax(-1)].sum() + where.sum()).backward()


class Recomputed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 1)
        self.middle = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.middle, self.first(x), use_reentrant=False))


def follow(model: nn.Module, one: Tensor, other: Tensor) -> None:
    """A student that learns from its own moving average."""
    teacher = deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.no_grad():
        goal = teacher(other)
    F.mse_loss(model(one), goal).backward()
    optimizer.step()
    with torch.no_grad():
        for slow, fast in zip(teacher.parameters(), model.parameters(), strict=True):
            slow.mul_(0.99).add_(fast, alpha=0.01)


class Player(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.actor, self.critic = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(8, 1)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.body(state))
        return self.actor(h), self.critic(h)


def improve(model: Player, state: Tensor, action: Tensor, before: Tensor, gain: Tensor) -> None:
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        logits, value = model(state)
        policy = torch.distributions.Categorical(logits=logits)
        ratio = (policy.log_prob(action) - before).exp()
        bound = torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
        loss = -bound.mean() + F.mse_loss(value[:, 0], gain) - 0.01 * policy.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()


def stopped_forward(model: nn.Sequential, x: Tensor) -> None:
    with suppress(RuntimeError):
        model(x).sum().backward()


def stopped_backward(w: Tensor, x: Tensor) -> None:
    y = (w * x).exp()
    y.add_(1)
    with suppress(RuntimeError):
        y.sum().backward()


def weight() -> Tensor:
    return rand(4, 6, requires_grad=True)


def judge() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))


PROGRAMS = {
    "training": Entry(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)),
        lambda: (rand(2, 6),),
        train,
    ),
    "training_clipped": Entry(DeepResidual, lambda: (rand(2, 3, 8, 8),), train_clipped),
    "accumulated": Entry(Perceptron, lambda: (rand(2, 6), rand(2, 6), rand(2, 6)), accumulate),
    "adversaries": Entry(Adversaries, lambda: (rand(3, 3), rand(3, 2)), contest),
    "adapting": Entry(
        lambda: nn.Linear(4, 1), lambda: (rand(5, 4), rand(5, 1), rand(5, 4), rand(5, 1)), adapt
    ),
    "penalty": Entry(judge, lambda: (rand(2, 3),), penalty),
    "custom_function": Entry(lambda: nn.Linear(4, 4), lambda: (rand(2, 4),), clipped),
    "in_place": Entry(weight, lambda: (rand(3, 4),), in_place),
    "indexed": Entry(lambda: nn.Linear(5, 5), lambda: (rand(3, 5),), indexed),
    "recomputed": Entry(Recomputed, lambda: (rand(2, 4),)),
    "following": Entry(Perceptron, lambda: (rand(2, 6), rand(2, 6)), follow),
    "improving": Entry(Player, lambda: (rand(3, 4), tensor([0, 1, 1]), rand(3), rand(3)), improve),
    "stopped_forward": Entry(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(9, 2)),
        lambda: (rand(1, 1, 6, 6),),
        stopped_forward,
    ),
    "stopped_backward": Entry(weight, lambda: (rand(4, 6),), stopped_backward),
}
