"""Networks that people build from layers: images, graphs, mixtures, encoders of several kinds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn, rand, tensor

from .entry import Entry

__all__ = ["NETWORKS"]


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(6, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(x)))


class Residual(nn.Module):
    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(x + self.second_norm(self.second(y)))


class DeepResidual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.stages = nn.Sequential(*[nn.Sequential(Residual(), Residual()) for _ in range(3)])
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stages(F.relu(self.norm(self.stem(x))))
        return self.head(h.mean((2, 3)))


def double_conv(into: int, out: int) -> nn.Sequential:
    first, second = nn.Conv2d(into, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.deep, self.bottom = double_conv(1, 4), double_conv(4, 8), double_conv(8, 8)
        self.up, self.up_again = nn.ConvTranspose2d(8, 8, 2, 2), nn.ConvTranspose2d(8, 4, 2, 2)
        self.right, self.last, self.head = double_conv(16, 8), double_conv(8, 4), nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.left(x)
        far = self.deep(F.max_pool2d(near, 2))
        y = self.up(self.bottom(F.max_pool2d(far, 2)))
        y = self.up_again(self.right(torch.cat([y, far], 1)))
        return self.head(self.last(torch.cat([y, near], 1)))


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(2 + 2 * i, 2, 3, padding=1) for i in range(5))
        self.head = nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.layers:
            features.append(F.relu(layer(torch.cat(features, 1))))
        return self.head(torch.cat(features, 1))


class Experts(nn.Module):
    def __init__(self, size: int = 6, number: int = 4) -> None:
        super().__init__()
        self.gate = nn.Linear(size, number)
        parts = ((nn.Linear(size, 8), nn.ReLU(), nn.Linear(8, size)) for _ in range(number))
        self.experts = nn.ModuleList(nn.Sequential(*part) for part in parts)

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.gate(x).softmax(-1).topk(2, -1)
        y = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            rows, place = (chosen == i).nonzero(as_tuple=True)
            if len(rows):
                y = y.index_add(0, rows, weights[rows, place, None] * expert(x[rows]))
        return y


class Twins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return F.pairwise_distance(self.encoder(one), self.encoder(other))


class Triplet(Twins):
    def forward(self, anchor: Tensor, near: Tensor, far: Tensor) -> Tensor:
        parts = self.encoder(anchor), self.encoder(near), self.encoder(far)
        return F.triplet_margin_loss(*parts)


class Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.mean, self.log_variance = (
            nn.Linear(10, 6),
            nn.Linear(6, 2),
            nn.Linear(6, 2),
        )
        self.decoder = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 10))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        rebuilt = torch.sigmoid(self.decoder(z))
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        return F.binary_cross_entropy(rebuilt, x, reduction="sum") + divergence


class Messages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.message = nn.Embedding(7, 4), nn.Linear(4, 4)

    def forward(self, nodes: Tensor, start: Tensor, end: Tensor) -> Tensor:
        h = self.table(nodes)
        h = h.index_add(0, end, self.message(h[start]))
        return h.gather(1, h.argmax(1, keepdim=True))


class Coupling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
        self.scale = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        change = torch.zeros(len(x))
        for shift, scale in zip(self.shift, self.scale, strict=True):
            s = torch.tanh(scale(a))
            a, b = b * s.exp() + shift(a), a
            change = change + s.sum(1)
        return (torch.cat([a, b], 1) ** 2).sum(1) / 2 - change


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, stride=2) for _ in range(3))
        self.boxes, self.classes = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        boxes, classes = [], []
        for layer in self.body:
            x = F.relu(layer(x))
            boxes.append(self.boxes(x).flatten(2))
            classes.append(self.classes(x).flatten(2))
        return torch.cat(boxes, 2).sigmoid(), torch.cat(classes, 2).softmax(1)


class LowRank(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(8, 8).requires_grad_(False)
        self.down, self.up = nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x)) * 0.5


class Hyper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4 * 2 + 2))

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        made = self.maker(task)
        return F.linear(x, made[:8].view(2, 4), made[8:])


def tell_apart(model: Triplet, anchor: Tensor, near: Tensor, far: Tensor) -> None:
    model(anchor, near, far).backward()


NETWORKS = {
    "perceptron": Entry(Perceptron, lambda: (rand(2, 6),)),
    "residual": Entry(Residual, lambda: (rand(2, 4, 6, 6),)),
    "deep_residual": Entry(DeepResidual, lambda: (rand(2, 3, 8, 8),)),
    "unet": Entry(UNet, lambda: (rand(1, 1, 8, 8),)),
    "dense": Entry(Dense, lambda: (rand(1, 2, 6, 6),)),
    "experts": Entry(Experts, lambda: (rand(5, 6),)),
    "twins": Entry(Twins, lambda: (rand(2, 6), rand(2, 6))),
    "triplet": Entry(Triplet, lambda: (rand(2, 6), rand(2, 6), rand(2, 6)), tell_apart),
    "variational": Entry(Variational, lambda: (rand(2, 10),)),
    "messages": Entry(Messages, lambda: (torch.arange(5), tensor([0, 1, 2]), tensor([1, 2, 3]))),
    "coupling": Entry(Coupling, lambda: (rand(3, 4),)),
    "detector": Entry(Detector, lambda: (rand(1, 4, 16, 16),)),
    "low_rank": Entry(LowRank, lambda: (rand(2, 8),)),
    "hyper": Entry(Hyper, lambda: (rand(5, 4), rand(3))),
}
