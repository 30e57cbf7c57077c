"""Programs of exercise `leaf_grads`: code, result, and the leaves by name. Nothing in them is broadcast."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ...grading import Drawn

__all__ = ["Program", "leaf_of", "programs", "random_program"]

Leaves = dict[str, Tensor]
Program = tuple[str, Tensor, Leaves]
DEEP = 5_000


def leaf_of(*numbers: float) -> Tensor:
    made = torch.tensor(
        numbers if len(numbers) > 1 else numbers[0], dtype=torch.get_default_dtype()
    )
    return made.requires_grad_()


def programs() -> Iterator[Program]:
    a, b, c = leaf_of(3.1), leaf_of(5.3), torch.tensor(0.7, dtype=torch.get_default_dtype())
    yield "a * b", a * b, {"a": a, "b": b}
    yield "a * a", a * a, {"a": a}
    yield "c * a, where c asks for nothing", c * a, {"a": a}
    yield "a + b + a", a + b + a, {"a": a, "b": b}
    v = a * b
    yield "(v.exp() * 1e-6 + v) * v, where v = a * b", (v.exp() * 1e-6 + v) * v, {"a": a, "b": b}
    u, w = leaf_of(-3.1, 4.2, 0.3), leaf_of(1.3, 2.1, -0.4)
    yield "((w * u + w).relu() * u).sum()", ((w * u + w).relu() * u).sum(), {"w": w, "u": u}
    m = torch.tensor([[0.3, -0.8, 1.1], [0.9, 0.2, -0.4]], dtype=u.dtype, requires_grad=True)
    p = leaf_of(0.6, -1.7)
    yield "((m @ u).tanh() * p).sum()", ((m @ u).tanh() * p).sum(), {"m": m, "u": u, "p": p}
    a.grad = torch.full_like(a, 7.0)
    yield "a.sin() * b, where a has a .grad already", a.sin() * b, {"a": a, "b": b}
    long = b
    for _ in range(DEEP):
        long = long + 1.0
    yield f"b + 1 + 1 + …, {DEEP:,} times", long, {"b": b}


def random_program(draw: Drawn) -> Program:
    dtype = torch.get_default_dtype()
    pool: list[tuple[Tensor, Leaves]] = []
    for name in "pqr":
        leaf = draw.uniform(3, low=0.5, high=1.5, dtype=dtype).requires_grad_()
        pool.append((leaf, {name: leaf}))
    for _ in range(draw.whole(4, 12)):
        (one, of_one), (two, of_two) = (pool[draw.whole(0, len(pool) - 1)] for _ in range(2))
        made = (one * two).sin() if draw.whole(0, 1) else one + two
        pool.append((made, {**of_one, **of_two}))
    end, leaves = pool[-1]
    return f"a random program ({draw})", (end * end).sum(), leaves
