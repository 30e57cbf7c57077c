"""Language models that were written before anybody saw them drawn."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "SelectiveScan",
    "SmallLanguageModel",
    "continue_text",
    "fine_tune",
    "fine_tuned",
]


class CachedAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        return self.out(y.transpose(1, 2).flatten(2)), (k, v)


class DecoderBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attend = nn.LayerNorm(8), CachedAttention()
        self.norm2 = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, now = self.attend(self.norm1(x), past)
        x = x + y
        return x + self.mlp(self.norm2(x)), now


class SmallLanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, 8), nn.Embedding(16, 8)
        self.blocks = nn.ModuleList(DecoderBlock() for _ in range(3))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 11, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor, past: list[tuple[Tensor, Tensor]] | None = None):
        start = 0 if past is None else past[0][0].shape[2]
        x = self.tokens(ids) + self.positions(torch.arange(start, start + ids.shape[1]))
        cache = []
        for block, before in zip(self.blocks, past or [None] * 3, strict=True):
            x, now = block(x, before)
            cache.append(now)
        return self.head(self.norm(x)), cache


def continue_text(model: SmallLanguageModel, prompt: Tensor, answer: Tensor) -> Tensor:
    """Read a prompt, then an answer token by token with what was cached; the loss of the answer."""
    logits, cache = model(prompt)
    loss = F.cross_entropy(logits[:, -1], answer[:, 0])
    for t in range(answer.shape[1] - 1):
        logits, cache = model(answer[:, t : t + 1], cache)
        loss = loss + F.cross_entropy(logits[:, -1], answer[:, t + 1])
    loss.backward()
    return loss


class SelectiveScan(nn.Module):
    """A state-space layer whose step size and input and output maps depend on what it reads."""

    def __init__(self, width: int = 6, state: int = 4) -> None:
        super().__init__()
        self.in_proj, self.conv = (
            nn.Linear(width, 2 * width),
            nn.Conv1d(width, width, 3, padding=2, groups=width),
        )
        self.x_proj, self.dt_proj = nn.Linear(width, 2 + 2 * state), nn.Linear(2, width)
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(width, 1))
        self.D, self.out_proj = nn.Parameter(torch.ones(width)), nn.Linear(width, width)
        self.state = state

    def forward(self, u: Tensor) -> Tensor:
        x, gate = self.in_proj(u).chunk(2, -1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., : u.shape[1]].transpose(1, 2))
        dt, B, C = self.x_proj(x).split([2, self.state, self.state], -1)
        dt, A = F.softplus(self.dt_proj(dt)), -torch.exp(self.A_log)
        decay = torch.exp(dt.unsqueeze(-1) * A)
        drive = (dt * x).unsqueeze(-1) * B.unsqueeze(2)
        h, ys = torch.zeros(len(u), *A.shape), []
        for t in range(u.shape[1]):
            h = decay[:, t] * h + drive[:, t]
            ys.append((h @ C[:, t].unsqueeze(-1)).squeeze(-1))
        y = torch.stack(ys, 1) + self.D * x
        return self.out_proj(y * F.silu(gate))


class LowRankLinear(nn.Module):
    def __init__(self, base: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(rank, base.in_features) * 0.01)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + F.linear(F.linear(x, self.A), self.B) * 2.0


def fine_tuned() -> nn.Module:
    model = nn.Sequential(*(DecoderBlock() for _ in range(2)))
    model.requires_grad_(False)
    for block in model:
        block.attend.qkv = LowRankLinear(block.attend.qkv)
    return model


def fine_tune(model: nn.Sequential, x: Tensor, target: Tensor) -> Tensor:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    for _ in range(2):
        h = x
        for block in model:
            h, _ = block(h, None)
        loss = F.mse_loss(h, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss
