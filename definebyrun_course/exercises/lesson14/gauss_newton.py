"""Exercise `gauss_newton`: a vector multiplied with a Jacobian and with its transpose, neither of them built."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, func
from torch.autograd import forward_ad, grad
from torch.utils.flop_counter import FlopCounterMode

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    apart,
    drawn,
    expect,
    expect_digits,
    forms,
    near,
    shown,
    tried,
)

__all__ = ["EXERCISE"]

Map = Callable[[Tensor], Tensor]
Product = Callable[[Map, Tensor, Tensor], Any]
MAX_CALLS = 3
MAX_WORK = 10
"""Multiplications and additions, in those of one call of `f`; a row for each output would take 80."""
SIDES = "First the column J v, by forward mode; then that column as the row of a backward pass."


def smooth(draw: Drawn, n: int, m: int, dtype: torch.dtype = torch.float64) -> Map:
    """A function from n to m numbers whose Jacobian is full and not symmetric."""
    into, out = draw.normal(5, n).to(dtype), draw.normal(m, 5).to(dtype)
    return lambda x: out @ torch.tanh(into @ x) + out.sum() * x.square().sum()


def reference(f: Map, x: Tensor, v: Tensor) -> Tensor:
    """The product, by the whole Jacobian."""
    jacobian = func.jacrev(f)(x)
    return jacobian.T @ (jacobian @ v)


def cases() -> list[tuple[str, Map, Tensor, Tensor]]:
    draw, single = Drawn(2), torch.float32
    two = torch.tensor([2.0, 1.0], dtype=torch.float64)
    found: list[tuple[str, Map, Tensor, Tensor]] = [
        ("f(x) = [3 x, x], one number", lambda x: torch.cat([3 * x, x]), two[:1], torch.tensor([0.5]).double()),
        ("f(x) = [x0 x1, x1², x0]", lambda x: torch.stack([x[0] * x[1], x[1] ** 2, x[0]]), two,
         torch.tensor([1.0, -1.0]).double()),
    ]  # fmt: skip
    for n, m in ((3, 1), (1, 4), (2, 5)):
        found.append((f"a smooth f, {n} → {m}", smooth(draw, n, m), draw.normal(n), draw.normal(n)))
    f = smooth(draw, 3, 2, single)
    x, v = draw.normal(3).to(single), draw.normal(3).to(single)
    return [*found, ("a smooth f, 3 → 2, in float32", f, x, v)]


def check_gauss_newton(gauss_newton: Product) -> None:
    """`gauss_newton(f, x, v)` is `J.T @ (J @ v)`, at the price of some calls of `f`."""
    for words, f, x, v in cases():
        _judge(gauss_newton, words, f, x, v)
    draw = drawn()
    n, m = draw.whole(2, 4), draw.whole(5, 7)
    _judge(
        gauss_newton, f"a smooth f, {n} → {m} ({draw})",
        smooth(draw, n, m), draw.normal(n), draw.normal(n))  # fmt: skip
    _costs_little(gauss_newton)


def _judge(gauss_newton: Product, words: str, f: Map, x: Tensor, v: Tensor) -> None:
    where, calls = f"for {words}", []

    def counted(x: Tensor) -> Tensor:
        calls.append(None)
        return f(x)

    found = forms.tensor(gauss_newton(counted, x, v), "gauss_newton", tuple(x.shape)).detach()
    want = reference(f, x, v)
    jacobian = func.jacrev(f)(x)
    known = [
        (jacobian.T.sum(1), "the sum of the rows of J"),
        (jacobian.T @ jacobian.sum(1), "J transposed times the sum of its columns"),
        (v * jacobian.square().sum(0), "v times the diagonal of the product"),
    ]
    if not near(found, want, atol=0):
        for value, what in known:
            expect(not near(found, value), f"Yours is {what}: {shown(found)}, {where}.", SIDES)
    texts = apart(found, want)
    expect(near(found, want), f"The product is {texts[1]}; yours is {texts[0]}, {where}.", SIDES)
    expect_digits("The product", found, want, x.dtype, where)
    expect(
        len(calls) <= MAX_CALLS,
        f"f was called more often than it may, {where}.",
        "One run of f for each of the two products is enough.",
    )


def _costs_little(gauss_newton: Product) -> None:
    draw = Drawn(5)
    n, m = 80, 80
    into, out = draw.normal(90, n), draw.normal(m, 90)
    x, v = draw.normal(n), draw.normal(n)

    def f(x: Tensor) -> Tensor:
        return out @ torch.tanh(into @ x / n)

    with FlopCounterMode(display=False) as one:
        f(x)
    with FlopCounterMode(display=False) as counter:
        gauss_newton(f, x, v)
    expect(
        counter.get_total_flops() <= MAX_WORK * one.get_total_flops(),
        "The product is right, and its work grows with the number of inputs or outputs.",
        "A whole Jacobian is one pass for each row or each column. How many passes are needed for two products?",
    )


# ---- right answers, found in other ways ----


def _two_passes_backward(f: Map, x: Tensor, v: Tensor) -> Tensor:
    """Without forward mode: u J is linear in u, and its derivative by u is J."""
    leaf = x.clone().requires_grad_()
    y = f(leaf)
    u = torch.zeros_like(y, requires_grad=True)
    (row,) = grad(y, leaf, u, create_graph=True)
    (column,) = grad(row, u, v)
    return grad(y, leaf, column)[0]


def _dual(f: Map, x: Tensor, v: Tensor) -> Tensor:
    """A dual number goes forward; a graph of its own leads back."""
    with forward_ad.dual_level():
        column = forward_ad.unpack_dual(f(forward_ad.make_dual(x, v))).tangent
    leaf = x.clone().requires_grad_()
    return grad(f(leaf), leaf, column)[0]


# ---- wrong answers ----


def _product(f: Map, x: Tensor, v: Tensor, column: Callable[..., Tensor] | None = None) -> Tensor:
    """The solution; `column` goes from J v to what is pulled back."""
    _, pushed = func.jvp(f, (x,), (v,))
    _, pull = func.vjp(f, x)
    return pull(pushed if column is None else column(pushed))[0]


def _whole(f: Map, x: Tensor, v: Tensor) -> Tensor:
    jacobian = func.jacfwd(f)(x)
    return jacobian.T @ (jacobian @ v)


def _differences(f: Map, x: Tensor, v: Tensor, h: float = 1e-6) -> Tensor:
    y, pull = func.vjp(f, x)
    return pull((f(x + h * v) - y) / h)[0]


def _ones(f: Map, x: Tensor, v: Tensor) -> Tensor:
    return _product(f, x, torch.ones_like(v))


def _diagonal(f: Map, x: Tensor, v: Tensor) -> Tensor:
    return v * func.jacrev(f)(x).square().sum(0)


def _again(f: Map, x: Tensor, v: Tensor) -> Tensor:
    f(x)
    f(v)
    return _product(f, x, v)


def _hessian(f: Map, x: Tensor, v: Tensor) -> Tensor:
    """The Hessian of half the squared length: it has a term more."""
    return func.jvp(func.grad(lambda x: f(x).square().sum() / 2), (x,), (v,))[1]


def oracle(gauss_newton: Product) -> Any:
    """Products, calls and work, for functions of many kinds."""
    found = []
    for _, f, x, v in cases():
        for scale in (1.0, 1e-3, 1e3):
            calls: list[None] = []

            def counted(x: Tensor, f: Map = f, calls: list[None] = calls) -> Tensor:
                calls.append(None)
                return f(x)

            result = tried(lambda x, v, f=counted: gauss_newton(f, x, v).detach(), x, scale * v)
            want = reference(f, x, scale * v)
            close = False
            try:
                expect_digits("", gauss_newton(f, x, scale * v).detach(), want, x.dtype, "")
                close = True
            except Exception:
                pass
            found.append([result, len(calls) <= MAX_CALLS, close])
    try:
        _costs_little(gauss_newton)
        found.append(True)
    except Exception:
        found.append(False)
    return found


EXERCISE = Exercise(
    "gauss_newton",
    "A column, then a row: two passes, whatever the sizes.",
    check_gauss_newton,
    (
        Wrong("J v alone", lambda f, x, v: func.jvp(f, (x,), (v,))[1], "the shape (1,) here; yours returned (2,)"),
        Wrong("the sum of the rows", partial(_product, column=torch.ones_like), "sum of the rows of J"),
        Wrong("v forgotten", _ones, "the sum of its columns"),
        Wrong("the diagonal", _diagonal, "the diagonal of the product"),
        Wrong("the Hessian", _hessian, "The product is [0, -6]; yours is [-2, -6]"),
        Wrong("the whole Jacobian", _whole, "its work grows"),
        Wrong("a difference", _differences, "yours is [-9"),
        Wrong("two calls more", _again, "called more often"),
        Wrong("the tuple of vjp", lambda f, x, v: func.vjp(f, x)[1](func.jvp(f, (x,), (v,))[1]), "returns a tensor"),
        Wrong("the length of J v", partial(_product, column=lambda c: c / c.norm()), "yours is [3.162]"),
    ),
    right=(
        Right("two passes backward", _two_passes_backward),
        Right("a dual number", _dual),
    ),
    oracle=oracle,
)  # fmt: skip
