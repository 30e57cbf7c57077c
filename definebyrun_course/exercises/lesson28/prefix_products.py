"""Exercise `prefix_products`: all prefix products of a list of matrices, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, near, shown, tried
from ..measures import by_hand
from ..mistakes import then

__all__ = ["EXERCISE"]

ALL = "A[k] is a factor of Y[k] and of every Y after it: what comes back from the later ones comes through Y[k + 1]."
ORDER = (
    "Y[i] = Y[i - 1] A[i]: for G = dL/dY[i], one gradient has G "
    "on its right, the other on its left, and something transposed."
)


def products(A: Tensor) -> Tensor:
    found = [A[0]]
    for factor in A[1:]:
        found.append(found[-1] @ factor)
    return torch.stack(found)


def check_prefix_products(prefixes: Callable[..., Any], gradients: Callable[..., Any]) -> None:
    """`prefixes(A)` gives Y and a cache, `gradients(G, cache)` the gradient of A, with 3 N products in all."""
    cases: list[tuple[str, Tensor]] = []
    for n, d in ((1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (5, 3)):
        for dtype in (torch.float64, torch.float32):
            cases.append(
                (f"N = {n}, matrices of {d} x {d}", Drawn(n + d).normal(n, d, d).to(dtype))
            )
    singular = Drawn(3).normal(4, 2, 2)
    singular[1, 0] = 0.0
    singular[2] = 0.0
    cases.append(("matrices of which one is 0 and one singular", singular))
    draw = drawn()
    cases.append((f"matrices {draw}", draw.normal(draw.whole(3, 7), 3, 3)))
    for words, A in cases:
        _judge(prefixes, gradients, words, A)
    _judge_cost(prefixes, gradients)


def _judge(prefixes: Any, gradients: Any, words: str, A: Tensor) -> None:
    asking = A.clone().requires_grad_()
    want = products(asking)
    with by_hand("Y"):
        Y, cache = forms.sequence(prefixes(A), "Y and the cache", 2)
    Y = forms.tensor(Y, "prefixes", tuple(A.shape))
    rtol = 1e-9 if A.dtype == torch.float64 else 1e-3
    i = next((i for i in range(len(A)) if not near(Y[i], want[i], rtol, 1e-6)), None)
    expect(
        i is None,
        f"For {words} Y[{i}] is {shown(Y[i or 0])}; it should be {shown(want[i or 0])}.",
        "A[0] A[1] … A[i], in this order.",
    )
    _expect_dtype("Y", Y, A, words)
    for name, G in (
        ("any", torch.linspace(-1, 2, A.numel(), dtype=A.dtype).reshape(A.shape)),
        ("the first", torch.zeros_like(A)),
    ):
        if name == "the first":
            G[0] = 1.0
        (right,) = torch.autograd.grad(want, asking, G, retain_graph=True)
        with by_hand("The gradient"):
            found = forms.tensor(gradients(G, cache), "gradients", tuple(A.shape))
        k = next(
            (
                k
                for k in range(len(A))
                if not near(found[k], right[k], rtol, 1e-5 if rtol > 1e-6 else 1e-10)
            ),
            None,
        )
        expect(
            k is None,
            f"For {words} and an upstream on {name if name != 'any' else 'all Y'} the gradient "
            f"of A[{k}] is {shown(found[k or 0])}; it should be {shown(right[k or 0])}.",
            ORDER if len(A) < 3 else ALL,
        )
        _expect_dtype("the gradient", found, A, words)


def _expect_dtype(name: str, found: Tensor, A: Tensor, words: str) -> None:
    expect(
        found.dtype == A.dtype,
        f"For {words} {name} is in {found.dtype}, and A in {A.dtype}.",
        "What is made of A has its dtype.",
    )


def _judge_cost(prefixes: Any, gradients: Any) -> None:
    n = 24
    A = Drawn(1).normal(n, 3, 3) / 2
    with by_hand("Y") as work:
        _, cache = prefixes(A)
        gradients(torch.ones_like(A), cache)
    expect(
        work.products <= 3 * n,
        f"For {n} matrices there were {work.products} products; 3 N are enough.",
        "What comes back to Y[i] is used twice: for A[i], and for Y[i - 1].",
    )
    expect(
        work.largest <= 2 * A.numel(),
        f"For {n} matrices of 3 x 3 a tensor of {work.largest:,} numbers was made.",
        "No table of all pairs is needed.",
    )


# ---- right answers ----


def prefixes(A: Tensor) -> Any:
    Y = [A[0]]
    for i in range(1, len(A)):
        Y.append(Y[-1] @ A[i])
    return torch.stack(Y), (A.clone(), Y)


def gradients(G: Tensor, cache: Any) -> Tensor:
    A, Y = cache
    found, back = torch.empty_like(A), torch.zeros_like(A[0])
    for i in reversed(range(len(A))):
        back = back + G[i]
        found[i] = Y[i - 1].T @ back if i else back
        back = back @ A[i].T
    return found


def recursive(A: Tensor) -> Any:
    """Written into one tensor; the cache holds functions that go back."""
    Y, backs = A.clone(), []

    def back_of(before: Tensor, factor: Tensor) -> Any:
        return lambda g: (before.T @ g, g @ factor.T)

    for i, factor in enumerate(A[1:], start=1):
        backs.append(back_of(Y[i - 1].clone(), factor.clone()))
        torch.matmul(Y[i - 1], factor, out=Y[i])
    return Y, backs


def along_the_tape(G: Tensor, backs: Any) -> Tensor:
    found, g = [], G[-1]
    for back, more in zip(reversed(backs), G.flip(0)[1:], strict=True):
        mine, g = back(g)
        found.append(mine)
        g = g + more
    return torch.stack([*found, g.clone()]).flip(0)


# ---- wrong answers ----


def _prefixes(A: Tensor, mistake: str = "") -> Any:
    Y = [A[0]]
    for i in range(1, len(A)):
        Y.append(A[i] @ Y[-1] if mistake == "other order" else Y[-1] @ A[i])
    return torch.stack(Y), (A.clone(), Y)


def _gradients(G: Tensor, cache: Any, mistake: str = "") -> Tensor:
    A, Y = cache
    found, back = torch.empty_like(A), torch.zeros_like(A[0])
    N = len(A)
    if mistake == "N squared":
        found.zero_()
        for k in range(N):
            for i in range(k, N):
                left = Y[k - 1].T if k else torch.eye(A.shape[1], dtype=A.dtype)
                right = G[i]
                for j in range(i, k, -1):
                    right = right @ A[j].T
                found[k] += left @ right
        return found
    if mistake == "by inverses":
        for k in range(N):
            total = sum(G[i] @ (torch.linalg.inv(Y[k]) @ Y[i]).T for i in range(k, N))
            found[k] = (Y[k - 1].T if k else torch.eye(A.shape[1], dtype=A.dtype)) @ total  # type: ignore[operator]
        return found
    for i in reversed(range(N)):
        back = (
            G[i]
            if mistake == "own only" or (mistake == "last only" and i == N - 1)
            else back
            if mistake == "last only"
            else back + G[i]
        )
        left = Y[i - 1] if mistake == "not transposed" else Y[i - 1].T
        left = Y[i].T if mistake == "one too far" else left
        found[i] = (back @ left if mistake == "sides exchanged" else left @ back) if i else back
        back = back @ (A[i] if mistake == "A not transposed" else A[i].T)
    return found


def _by_autograd(A: Tensor) -> Any:
    asking = A.clone().requires_grad_()
    Y = products(asking)
    return Y.detach(), (Y, asking)


def _table(G: Tensor, cache: Any) -> Tensor:
    A, _ = cache
    N, d = A.shape[:2]
    table = torch.zeros(N, N, d, d, dtype=A.dtype)
    return gradients(G, cache) + table.sum((0, 1))


def _diagonals(G: Tensor, cache: Any) -> Tensor:
    """Round j brings the gradient of A[k] what comes from Y[k + j], for all k in one batched product."""
    A, Y = cache
    found, part = G.clone(), G
    for j in range(1, len(A)):
        part = part[1:] @ A[1 : len(part)].mT
        found[: len(A) - j] += part
    lefts = torch.stack([torch.eye(A.shape[1], dtype=A.dtype), *Y[:-1]])
    return lefts.mT @ found


def _in_float64(G: Tensor, cache: Any) -> Tensor:
    A, Y = cache
    return gradients(G.double(), (A.double(), [y.double() for y in Y]))


def _with(front: str = "", back: str = "") -> tuple[Any, Any]:
    return partial(_prefixes, mistake=front), partial(_gradients, mistake=back)


def oracle(prefixes: Callable[..., Any], gradients: Callable[..., Any]) -> Any:
    """Y and gradients of many lists of matrices, and the number of products."""

    def told(n: int, d: int, dtype: torch.dtype) -> Any:
        A = Drawn(7 * n + d).normal(n, d, d).to(dtype) / 2
        if n > 3:
            A[1] = 0
        kept = A.clone()
        with by_hand("It") as work:
            Y, cache = prefixes(A)
            G = torch.linspace(1, -3, A.numel(), dtype=dtype).reshape(A.shape)
            kept_G = G.clone()
            found = gradients(G, cache)
        return [
            work.largest <= 2 * A.numel() or n < 3,
            torch.equal(G, kept_G),
            torch.round(Y.double(), decimals=3) + 0.0,
            torch.round(found.double(), decimals=2) + 0.0,
            str(found.dtype),
            work.products <= 3 * n,
            torch.equal(A, kept),
        ]

    sizes = [
        (n, d, t)
        for n in (1, 2, 3, 4, 7)
        for d in (1, 2, 3)
        for t in (torch.float64, torch.float32)
    ]
    return [tried(told, *each) for each in sizes]


EXERCISE = Exercise(
    "prefix_products",
    "Every later product sends something back, and one pass collects it all.",
    check_prefix_products,
    (
        Wrong("the other order", None, "is [[-2.827,", _with("other order")),
        Wrong("the last product only", None, "is [[0.3497]];", _with("", "last only")),
        Wrong("its own product only", None, "is [[-1]];", _with("", "own only")),
        Wrong("Y not transposed", None, "is [[-0.7813,", _with("", "not transposed")),
        Wrong("A not transposed", None, "is [[-1.772,", _with("", "A not transposed")),
        Wrong("sides exchanged", None, "is [[-0.8809,", _with("", "sides exchanged")),
        Wrong("one too far", None, "is [[0.2809]];", _with("", "one too far")),
        Wrong("N squared products", None, "matrices there", _with("", "N squared")),
        Wrong("N squared, in batches", None, "matrices there", (_prefixes, _diagonals)),
        Wrong("by inverses", None, "Your code", _with("", "by inverses")),
        Wrong(
            "autograd inside",
            None,
            "is asked",
            (_by_autograd, lambda G, c: torch.autograd.grad(*c, G, retain_graph=True)[0]),
        ),
        Wrong("a table of all pairs", None, "a tensor", (_prefixes, _table)),
        Wrong("float64 comes back", None, "gradient is in", (_prefixes, _in_float64)),
        Wrong("Y in float64", None, "Y is in", (lambda A: _prefixes(A.double()), _gradients)),
        Wrong(
            "the upstream overwritten",
            None,
            "Your function",
            (_prefixes, then(_gradients, lambda G, _: G.zero_())),
        ),
    ),
    right=(
        Right("one pass back", answers=(prefixes, gradients)),
        Right("a tape of functions", answers=(recursive, along_the_tape)),
    ),
    oracle=oracle,
)
