"""Models of sequences: recurrent cells, attention, language models."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn, rand, tensor

from .entry import Entry

__all__ = ["SEQUENCES"]


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(6, 6)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        h, c = self.cell(x, (h, c))
        return h


class Gates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.of_input, self.of_state = nn.Linear(6, 24), nn.Linear(6, 24)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        i, f, g, o = (self.of_input(x) + self.of_state(h)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c)


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(x)
        return self.head(out[:, -1])


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.gru, self.head = nn.Embedding(9, 4), nn.GRU(4, 6), nn.Linear(6, 2)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(self.table(ids), lengths, enforce_sorted=False)
        out, h = self.gru(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(out)
        return self.head(h[-1]) + padded.mean(0)[:, :2]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(3, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[1], 5)
        for t in range(len(x)):
            h = self.cell(x[t], h)
        return self.head(h)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.attend(x, x, x)
        return out


class HandAttention(nn.Module):
    def __init__(self, size: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(size, size) for _ in range(4))
        self.heads = heads

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        mask = torch.ones(scores.shape[-2:]).tril().bool()
        y = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v
        return self.out(y.transpose(1, 2).flatten(2))


class Language(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 8)
        layer = (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(layers))
        self.layers, self.head = nn.ModuleList(layer), nn.Linear(8, 9)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.table(ids)
        for layer in self.layers:
            h = layer(h)
        return self.head(h)


class Translator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        return self.head(self.layer(target, source))


class Waves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.ModuleList(nn.Conv1d(3, 3, 2, dilation=2**i) for i in range(4))
        self.gates = nn.ModuleList(nn.Conv1d(3, 3, 2, dilation=2**i) for i in range(4))
        self.skips = nn.ModuleList(nn.Conv1d(3, 2, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(1, 2, 1)
        for filter_, gate, skip in zip(self.filters, self.gates, self.skips, strict=True):
            h = torch.tanh(filter_(x)) * torch.sigmoid(gate(x))
            total = total + skip(h)[..., -1:]
            x = x[..., -h.shape[-1] :] + h
        return total


class Sentence(nn.Module):
    """A sum over the leaves of a tree, by one small network at each fork."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.join = nn.Embedding(5, 3), nn.Linear(6, 3)

    def fork(self, part: object) -> Tensor:
        if isinstance(part, tuple):
            return torch.tanh(self.join(torch.cat([self.fork(part[0]), self.fork(part[1])])))
        return self.words(torch.tensor(part))

    def forward(self, x: Tensor) -> Tensor:
        return self.fork(((0, 1), ((2, 3), 4))) * x


def language_loss(model: nn.Module, ids: Tensor) -> Tensor:
    logits = model(ids[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    return loss


SEQUENCES = {
    "cell": Entry(Cell, lambda: (rand(2, 6), rand(2, 6), rand(2, 6))),
    "gates": Entry(Gates, lambda: (rand(2, 6), rand(2, 6), rand(2, 6))),
    "reader": Entry(Reader, lambda: (rand(2, 4, 3),)),
    "packed": Entry(Packed, lambda: (tensor([[1, 4], [2, 5], [3, 0]]), tensor([3, 2]))),
    "recurrent": Entry(Recurrent, lambda: (rand(12, 2, 3),)),
    "attention": Entry(Attention, lambda: (rand(2, 4, 8),)),
    "hand_attention": Entry(HandAttention, lambda: (rand(2, 4, 8),)),
    "encoder": Entry(
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), lambda: (rand(2, 4, 8),)
    ),
    "language": Entry(lambda: Language(8), lambda: (tensor([[1, 2, 3, 4]]),), language_loss),
    "translator": Entry(Translator, lambda: (rand(1, 3, 8), rand(1, 4, 8))),
    "waves": Entry(Waves, lambda: (rand(1, 3, 20),)),
    "sentence": Entry(Sentence, lambda: (rand(3),)),
}
