"""More models that were written before anybody saw them drawn: densities, dynamics, representations."""

from __future__ import annotations

from copy import deepcopy
from math import log, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Bootstrap",
    "Codebook",
    "Critics",
    "Dynamics",
    "Mixture",
    "Planar",
    "TwoTowers",
    "World",
    "bootstrap",
    "contest",
    "fit_mixture",
    "imagine",
    "likelihood",
    "match",
    "reconstruct",
]


class World(nn.Module):
    """A recurrent model of a world: a state that is carried, one that is drawn, what is seen and what is earned."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(5, 8), nn.ELU())
        self.carry = nn.GRUCell(3 + 2, 8)
        self.prior, self.posterior = nn.Linear(8, 6), nn.Linear(16, 6)
        self.decode, self.reward = nn.Linear(11, 5), nn.Linear(11, 1)

    def step(self, h: Tensor, z: Tensor, action: Tensor, seen: Tensor):
        h = self.carry(torch.cat([z, action], -1), h)
        prior = self.prior(h).chunk(2, -1)
        mean, scale = self.posterior(torch.cat([h, self.encode(seen)], -1)).chunk(2, -1)
        scale = F.softplus(scale) + 0.1
        z = mean + scale * torch.randn_like(scale)
        return h, z, prior, (mean, scale)


def imagine(model: World, seen: Tensor, actions: Tensor, rewards: Tensor) -> Tensor:
    h, z, loss = torch.zeros(seen.shape[1], 8), torch.zeros(seen.shape[1], 3), 0.0
    for t in range(len(seen)):
        h, z, (mean, scale), (own_mean, own_scale) = model.step(h, z, actions[t], seen[t])
        prior = torch.distributions.Normal(mean, F.softplus(scale) + 0.1)
        posterior = torch.distributions.Normal(own_mean, own_scale)
        both = torch.cat([h, z], -1)
        loss = loss + F.mse_loss(model.decode(both), seen[t])
        loss = loss + F.mse_loss(model.reward(both).squeeze(-1), rewards[t])
        loss = loss + torch.distributions.kl_divergence(posterior, prior).sum(-1).mean()
    loss.backward()
    return loss


class TwoTowers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2),
            nn.ReLU(),
            nn.Conv2d(4, 8, 3, 2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.words = nn.Embedding(12, 8)
        self.read = nn.TransformerEncoderLayer(
            8, 2, 16, dropout=0.0, batch_first=True, norm_first=True
        )
        self.image_proj, self.text_proj = nn.Linear(8, 6, bias=False), nn.Linear(8, 6, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        image = F.normalize(self.image_proj(self.look(images)), dim=-1)
        text = F.normalize(self.text_proj(self.read(self.words(texts)).mean(1)), dim=-1)
        return self.logit_scale.exp() * image @ text.t()


def match(model: TwoTowers, images: Tensor, texts: Tensor) -> Tensor:
    logits = model(images, texts)
    same = torch.arange(len(logits))
    loss = (F.cross_entropy(logits, same) + F.cross_entropy(logits.t(), same)) / 2
    loss.backward()
    return loss


class Planar(nn.Module):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.w, self.u = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))
        self.b = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        inner = torch.tanh(z @ self.w + self.b)
        slope = (1 - inner**2)[:, None] * self.w
        return z + self.u * inner[:, None], torch.log((1 + slope @ self.u).abs() + 1e-6)


def likelihood(flow: nn.ModuleList, z: Tensor) -> Tensor:
    log_p = -0.5 * (z**2 + log(2 * pi)).sum(-1)
    for layer in flow:
        z, log_det = layer(z)
        log_p = log_p - log_det
    target = -((z.norm(dim=-1) - 2) ** 2) / 0.3
    loss = (log_p - target).mean()
    loss.backward()
    return loss


class Dynamics(nn.Module):
    """A differential equation, solved in eight steps by the method of Runge and Kutta."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        dt = 1 / 8
        for _ in range(8):
            k1 = self.field(x)
            k2 = self.field(x + dt / 2 * k1)
            k3 = self.field(x + dt / 2 * k2)
            k4 = self.field(x + dt * k3)
            x = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 8), nn.Tanh())
        self.weights, self.means, self.scales = nn.Linear(8, 3), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        return self.weights(h).log_softmax(-1), self.means(h), self.scales(h).exp()


def fit_mixture(model: Mixture, x: Tensor, y: Tensor) -> Tensor:
    log_weights, means, scales = model(x)
    of_each = torch.distributions.Normal(means, scales).log_prob(y[:, None])
    loss = -torch.logsumexp(log_weights + of_each, -1).mean()
    loss.backward()
    return loss


class Codebook(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 4, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
        )
        self.codes = nn.Embedding(6, 4)
        self.decoder = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 1, 4, 2, 1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x).permute(0, 2, 3, 1)
        flat = z.reshape(-1, 4)
        distance = (
            flat.pow(2).sum(1, keepdim=True)
            - 2 * flat @ self.codes.weight.t()
            + self.codes.weight.pow(2).sum(1)
        )
        q = self.codes(distance.argmin(1)).view_as(z)
        commitment = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        q = z + (q - z).detach()
        return self.decoder(q.permute(0, 3, 1, 2)), commitment


def reconstruct(model: Codebook, x: Tensor) -> Tensor:
    again, commitment = model(x)
    loss = F.mse_loss(again, x) + commitment
    loss.backward()
    return loss


class Critics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)
        )
        self.critic = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))


def contest(model: Critics, real: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """One step of the critic with a penalty on its gradient, then one of the generator."""
    of_critic = torch.optim.Adam(model.critic.parameters(), betas=(0.0, 0.9))
    of_generator = torch.optim.Adam(model.generator.parameters(), betas=(0.0, 0.9))
    fake = model.generator(noise)
    between = (share * real + (1 - share) * fake.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(model.critic(between).sum(), between, create_graph=True)
    penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
    loss = model.critic(fake.detach()).mean() - model.critic(real).mean() + 10 * penalty
    of_critic.zero_grad()
    loss.backward()
    of_critic.step()
    fooled = -model.critic(fake).mean()
    of_generator.zero_grad()
    fooled.backward()
    of_generator.step()
    return fooled


class Bootstrap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
        self.target = deepcopy(self.online).requires_grad_(False)
        self.predictor = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        p1, p2 = self.predictor(self.online(one)), self.predictor(self.online(two))
        with torch.no_grad():
            t1, t2 = self.target(one), self.target(two)
        return 4 - 2 * (F.cosine_similarity(p1, t2).mean() + F.cosine_similarity(p2, t1).mean())


def bootstrap(model: Bootstrap, x: Tensor) -> Tensor:
    """Two steps: two views of the same data, and a target that follows slowly."""
    optimizer = torch.optim.SGD(
        [*model.online.parameters(), *model.predictor.parameters()], lr=0.05
    )
    for _ in range(2):
        one, two = x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)
        loss = model(one, two)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(
                model.target.parameters(), model.online.parameters(), strict=True
            ):
                slow.mul_(0.99).add_(fast, alpha=0.01)
    return loss
