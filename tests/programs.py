"""The runs and programs that several tests share, and the labels by which two graphs are compared.

Small runs come as tapes (`small`, `network`). `EVERYDAY` are programs of what people use, each of which returns a
tensor that is the same in every run; `OPS` are the operations on 2 × 2 tensors of which random programs are made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import definebyrun as dbr

__all__ = ["EVERYDAY", "OPS", "Cube", "labels", "network", "recorded", "small"]


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return grad * 3 * x * x


def recorded(program: Callable[[], Any]) -> dbr.Tape:
    """The program's run in a frame of its own, where no list holds its inputs."""
    with dbr.record() as tape:
        program()
    return tape


def small() -> dbr.Tape:
    x = torch.tensor([1.0, -2.0, 3.0])
    w = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
    b = torch.tensor(1.0, requires_grad=True)
    with dbr.record() as tape:
        y = x * w
        h = torch.relu(y + b)
        loss = (h * y).sum()
        loss.backward()
    return tape


def network() -> dbr.Tape:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with dbr.record() as tape:
        logits = model(torch.ones(5, 3))
        loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1, 0]))
        loss.backward()
    return tape


def folded() -> dbr.Tape:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    with dbr.record() as tape:
        model(torch.ones(1, 2)).sum().backward()
    return tape.fold(modules=0)


def different() -> dbr.Tape:
    def run(x: torch.Tensor) -> dbr.Tape:
        with dbr.record() as tape:
            y = x * 2 if x > 0 else x.exp()
            y.backward()
        return tape

    return dbr.compare(*(run(torch.tensor(x, requires_grad=True)) for x in (3.0, -3.0)))


def labels(root: Any, name_of: Any, edges_of: Any) -> Counter[str]:
    """Every reachable node as a label that holds its whole subgraph: equal counters mean equal graphs."""
    done: dict[Any, str] = {}
    waiting = [root]
    while waiting:
        node = waiting[-1]
        missing = [
            target for target, _ in edges_of(node) if target is not None and target not in done
        ]
        if missing:
            waiting += missing
            continue
        waiting.pop()
        inside = ",".join(
            "-" if t is None else f"{hash(done[t]):x}:{nr}" for t, nr in edges_of(node)
        )
        done[node] = f"{name_of(node)}({inside})"
    return Counter(done.values())


# ---- random programs ----

OPS = (
    lambda a, b: a + b,
    lambda a, b: a * b,
    lambda a, b: a - 0.5 * b,
    lambda a, b: a @ b,
    lambda a, b: torch.relu(a),
    lambda a, b: torch.tanh(a),
    lambda a, b: a.T,
    lambda a, b: a.detach() * b,
    lambda a, b: torch.cat([a, b]).unbind(0)[1].expand(2, 2),
    lambda a, b: torch.where(a > 0, a, b),
    lambda a, b: torch.softmax(a, dim=0),
    lambda a, b: a.view(4).view(2, 2) if a.is_contiguous() else a.reshape(2, 2),
    lambda a, b: a.clone().mul_(b),
    lambda a, b: a.max(dim=0).values.expand(2, 2),
    lambda a, b: torch.einsum("ij,jk->ik", a, b),
    lambda a, b: nn.functional.linear(a, b),
)


# ---- what people use ----


def lazy_layer() -> torch.Tensor:
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    model(torch.ones(3, 2, 2)).sum().backward()
    return model[1].weight.grad


def sparse_leaf() -> torch.Tensor:
    a = torch.eye(3).to_sparse().requires_grad_()
    b = torch.ones(3, 3, requires_grad=True)
    torch.sparse.mm(a, b).sum().backward()
    return b.grad


def parametrized() -> torch.Tensor:
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    layer(torch.ones(2, 3)).sum().backward()
    return layer.parametrizations.weight.original.grad


def module_hooks() -> torch.Tensor:
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda module, args, output: output * 2)
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: None)
    layer(torch.ones(1, 2, requires_grad=True)).sum().backward()
    return layer.weight.grad


def transforms() -> torch.Tensor:
    return torch.vmap(torch.func.grad(lambda x: (x * x).sum()))(torch.arange(6.0).reshape(3, 2))


def lstm() -> torch.Tensor:
    cell = nn.LSTM(3, 4)
    cell(torch.ones(5, 2, 3))[0].sum().backward()
    return cell.weight_ih_l0.grad


def attention() -> torch.Tensor:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    layer(torch.ones(2, 3, 8)).sum().backward()
    return layer.self_attn.in_proj_weight.grad


def mixed_precision() -> torch.Tensor:
    layer = nn.Linear(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = layer(torch.ones(2, 4)).sum()
    loss.backward()
    return layer.weight.grad


def hessian() -> torch.Tensor:
    return torch.autograd.functional.hessian(lambda x: (x**3).sum(), torch.arange(3.0))


def reentrant_checkpoint() -> torch.Tensor:
    w = torch.ones(2, requires_grad=True)
    checkpoint(lambda x: (x * x).exp(), w, use_reentrant=True).sum().backward()
    return w.grad


EVERYDAY = [
    lazy_layer,
    sparse_leaf,
    parametrized,
    module_hooks,
    transforms,
    lstm,
    attention,
    mixed_precision,
    hessian,
    reentrant_checkpoint,
]
