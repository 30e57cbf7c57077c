"""Models of common practice that were written before anybody saw them drawn: no rule of folding was made for them."""

from __future__ import annotations

from copy import deepcopy
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn, rand, randn, tensor

from .entry import Entry
from .unseen_densities import (
    Bootstrap,
    Codebook,
    Critics,
    Dynamics,
    Mixture,
    Planar,
    TwoTowers,
    World,
    bootstrap,
    contest,
    fit_mixture,
    imagine,
    likelihood,
    match,
    reconstruct,
)
from .unseen_language import (
    SelectiveScan,
    SmallLanguageModel,
    continue_text,
    fine_tune,
    fine_tuned,
)

__all__ = ["UNSEEN"]


# ---- graphs and pictures ----


class MessageLayer(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.message = nn.Sequential(nn.Linear(2 * width + 2, width), nn.ReLU())
        self.update = nn.GRUCell(width, width)

    def forward(self, h: Tensor, edge: Tensor, source: Tensor, target: Tensor) -> Tensor:
        m = self.message(torch.cat([h[source], h[target], edge], -1))
        received = torch.zeros_like(h).index_add(0, target, m)
        return self.update(received, h)


class GraphNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 6)
        self.layers = nn.ModuleList(MessageLayer() for _ in range(2))
        self.readout = nn.Linear(6, 2)

    def forward(
        self, nodes: Tensor, edges: Tensor, source: Tensor, target: Tensor, graph: Tensor
    ) -> Tensor:
        h = self.embed(nodes)
        for layer in self.layers:
            h = layer(h, edges, source, target)
        pooled = torch.zeros(2, 6).index_add(0, graph, h)
        return self.readout(pooled)


class AnchorHead(nn.Module):
    """Two levels of features; at each place three anchors, a class and a box for each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.lateral, self.top = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 1)
        self.classify, self.regress = (
            nn.Conv2d(8, 3 * 2, 3, padding=1),
            nn.Conv2d(8, 3 * 4, 3, padding=1),
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.stem(image)
        coarse = self.top(self.down(fine))
        fine = self.lateral(fine) + F.interpolate(coarse, scale_factor=2)
        scores, boxes = [], []
        for level in (fine, coarse):
            scores.append(self.classify(level).permute(0, 2, 3, 1).reshape(len(image), -1, 2))
            boxes.append(self.regress(level).permute(0, 2, 3, 1).reshape(len(image), -1, 4))
        return torch.cat(scores, 1), torch.cat(boxes, 1)


def detect(model: AnchorHead, image: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    scores, boxes = model(image)
    positive = labels > 0
    p = scores.sigmoid()
    wanted = F.one_hot(labels.clamp(min=0), 2).float()
    ce = F.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
    focal = ((1 - (p * wanted + (1 - p) * (1 - wanted))) ** 2 * ce).sum() / positive.sum()
    box = F.smooth_l1_loss(boxes[positive], targets[positive])
    loss = focal + box
    loss.backward()
    return loss


class TimedBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm, self.conv1 = nn.GroupNorm(2, before), nn.Conv2d(before, after, 3, padding=1)
        self.time, self.conv2 = nn.Linear(8, after), nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm(x))) + self.time(F.silu(t))[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(h))


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 8))
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.down1, self.down2 = TimedBlock(4, 4), TimedBlock(4, 8)
        self.middle = TimedBlock(8, 8)
        self.up2, self.up1 = TimedBlock(16, 4), TimedBlock(8, 4)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        rates = torch.exp(-log(1000.0) * torch.arange(4) / 4)
        angles = t[:, None] * rates
        t = self.embed(torch.cat([angles.sin(), angles.cos()], -1))
        a = self.down1(self.first(x), t)
        b = self.down2(F.avg_pool2d(a, 2), t)
        h = self.middle(F.avg_pool2d(b, 2), t)
        h = self.up2(torch.cat([F.interpolate(h, scale_factor=2), b], 1), t)
        h = self.up1(torch.cat([F.interpolate(h, scale_factor=2), a], 1), t)
        return self.last(h)


def denoise(model: Denoiser, image: Tensor, t: Tensor) -> Tensor:
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 100), 0)[t][:, None, None, None]
    noise = torch.randn_like(image)
    noisy = kept.sqrt() * image + (1 - kept).sqrt() * noise
    loss = F.mse_loss(model(noisy, t.float()), noise)
    loss.backward()
    return loss


class Radiance(nn.Module):
    """Colour and density along rays, and the picture that they add up to."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3 * 8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.density, self.colour = nn.Linear(16, 1), nn.Linear(16, 3)

    def forward(self, origin: Tensor, direction: Tensor) -> Tensor:
        depth = torch.linspace(1, 4, 6)
        points = origin[:, None] + depth[:, None] * direction[:, None]
        waves = points[..., None] * 2.0 ** torch.arange(4)
        h = self.trunk(torch.cat([waves.sin(), waves.cos()], -1).flatten(2))
        alpha = 1 - torch.exp(-F.relu(self.density(h)).squeeze(-1) * 0.6)
        left = torch.cumprod(torch.cat([torch.ones(len(alpha), 1), 1 - alpha + 1e-10], 1), 1)[
            :, :-1
        ]
        return ((alpha * left)[..., None] * self.colour(h).sigmoid()).sum(1)


# ---- reinforcement ----


class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
        self.policy, self.value = nn.Linear(8, 2), nn.Linear(8, 1)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        h = self.shared(state)
        return self.policy(h), self.value(h).squeeze(-1)


def play_and_learn(model: ActorCritic, state: Tensor, push: Tensor) -> Tensor:
    """Six steps in a world, then one update by the advantage of what was done."""
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    log_probs, values, rewards, entropies = [], [], [], []
    for _ in range(6):
        logits, value = model(state)
        policy = torch.distributions.Categorical(logits=logits)
        action = policy.sample()
        with torch.no_grad():
            state = 0.9 * state + push[action]
            reward = 1 - state.abs().mean(-1)
        log_probs.append(policy.log_prob(action))
        values.append(value)
        rewards.append(reward)
        entropies.append(policy.entropy())
    returns, later = [], torch.zeros(len(state))
    for reward in reversed(rewards):
        later = reward + 0.99 * later
        returns.insert(0, later)
    gain = torch.stack(returns) - torch.stack(values)
    actor = -(torch.stack(log_probs) * gain.detach()).mean()
    loss = actor + 0.5 * gain.pow(2).mean() - 0.01 * torch.stack(entropies).mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return loss


def learn_values(
    model: nn.Module, state: Tensor, action: Tensor, reward: Tensor, after: Tensor, done: Tensor
) -> Tensor:
    """One update of a Q-network by double Q-learning, and of its slow copy."""
    slow = deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    q = model(state).gather(1, action[:, None]).squeeze(1)
    with torch.no_grad():
        best = model(after).argmax(1, keepdim=True)
        goal = reward + 0.99 * slow(after).gather(1, best).squeeze(1) * (1 - done)
    loss = F.smooth_l1_loss(q, goal)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for old, new in zip(slow.parameters(), model.parameters(), strict=True):
            old.lerp_(new, 0.005)
    return loss


def targets() -> tuple[Tensor, Tensor, Tensor]:
    labels = tensor([1, 0, -1, 1]).repeat(1, 60)[:, : 3 * (16 + 4)]
    return rand(1, 3, 8, 8), labels, rand(1, 60, 4)


def transitions() -> tuple[Tensor, ...]:
    return rand(5, 4), tensor([0, 1, 1, 0, 1]), rand(5), rand(5, 4), tensor([0.0, 0, 1, 0, 0])


UNSEEN = {
    "cached_language": Entry(
        SmallLanguageModel, lambda: (tensor([[1, 5, 2, 7]]), tensor([[3, 9, 4]])), continue_text
    ),
    "selective_scan": Entry(SelectiveScan, lambda: (randn(2, 7, 6),)),
    "fine_tuning": Entry(fine_tuned, lambda: (randn(2, 5, 8), randn(2, 5, 8)), fine_tune),
    "graph_network": Entry(
        GraphNetwork,
        lambda: (
            rand(6, 3),
            rand(7, 2),
            tensor([0, 1, 2, 3, 4, 5, 0]),
            tensor([1, 2, 0, 4, 5, 3, 2]),
            tensor([0, 0, 0, 1, 1, 1]),
        ),
    ),
    "anchors": Entry(AnchorHead, targets, detect),
    "diffusion": Entry(Denoiser, lambda: (rand(2, 1, 8, 8), tensor([10, 70])), denoise),
    "radiance": Entry(Radiance, lambda: (rand(4, 3), rand(4, 3))),
    "actor_critic": Entry(ActorCritic, lambda: (rand(3, 4), randn(2, 4)), play_and_learn),
    "q_learning": Entry(
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)),
        transitions,
        learn_values,
    ),
    "world_model": Entry(World, lambda: (rand(5, 2, 5), rand(5, 2, 2), rand(5, 2)), imagine),
    "two_towers": Entry(
        TwoTowers,
        lambda: (rand(3, 3, 12, 12), tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 0]])),
        match,
    ),
    "planar_flow": Entry(
        lambda: nn.ModuleList(Planar() for _ in range(5)), lambda: (randn(6, 2),), likelihood
    ),
    "neural_ode": Entry(Dynamics, lambda: (randn(4, 3),)),
    "mixture": Entry(Mixture, lambda: (rand(5, 2), rand(5)), fit_mixture),
    "codebook": Entry(Codebook, lambda: (rand(2, 1, 8, 8),), reconstruct),
    "critic_penalty": Entry(Critics, lambda: (rand(5, 4), rand(5, 3), rand(5, 1)), contest),
    "bootstrap": Entry(Bootstrap, lambda: (rand(5, 6),), bootstrap),
}
"""By name, as in `ZOO`."""
