"""Exercise `meta_gradient`: the gradient through a step of gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, func
from torch.autograd import functional, grad

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
    has_digits,
    near,
    shown,
    tried,
)

__all__ = ["EXERCISE"]

Loss = Callable[[Tensor], Tensor]


def curved(w: Tensor) -> Tensor:
    """Its Hessian is full: each entry depends on every other one."""
    return (w.sin() * w).sum() + w.sum() ** 3 / 3


def flat(w: Tensor) -> Tensor:
    """Linear: its Hessian is zero."""
    return (w * torch.arange(1.0, len(w) + 1, dtype=w.dtype)).sum()


def far(w: Tensor) -> Tensor:
    """A steep loss with its minimum at 2, 3, 4 …"""
    return ((w - torch.arange(2.0, len(w) + 2, dtype=w.dtype)) ** 4).sum() / 4


def cubic(w: Tensor) -> Tensor:
    return (w**3).sum() / 3


NAMES = {
    curved: "sum(w sin w) + (sum w)³ / 3", flat: "w[0] + 2 w[1] + …", far: "sum((w - [2, 3, …])⁴) / 4",
    cubic: "sum(w³) / 3",
}  # fmt: skip


def right_gradient(inner: Loss, outer: Loss, w: Tensor, lr: float) -> Tensor:
    """By the formula, with the whole Hessian."""
    after = func.grad(outer)(w - lr * func.grad(inner)(w))
    return after - lr * func.hessian(inner)(w) @ after


def cases() -> list[tuple[Loss, Loss, Tensor, float]]:
    """From the smallest up."""
    t = partial(torch.tensor, dtype=torch.float64)
    return [
        (cubic, far, t([0.75]), 0.25),
        (cubic, far, t([0.75]), 0.0),
        (curved, cubic, t([0.5]), 0.1),
        (flat, far, t([1.0, -0.5]), 0.1),
        (curved, far, t([0.3, -0.8]), 0.1),
        (curved, far, t([0.3, -0.8, 0.5]), 0.0),
        (curved, far, t([0.3, -0.8, 0.5]), 0.05),
        (far, curved, t([0.3, -0.8, 0.5, 0.1, -0.2, 0.4, 0.7])[::2], 0.02),
    ]


def check_meta(meta_gradient: Callable[..., Any]) -> None:
    """`meta_gradient(inner, outer, w, lr)` holds the Hessian of the inner loss."""
    for dtype in (torch.float64, torch.float32):
        for inner, outer, w, lr in cases():
            _ask(meta_gradient, inner, outer, w.to(dtype), lr)
    draw = drawn()
    for n in (1, 3, 5):
        _ask(meta_gradient, curved, far, draw.normal(n) / 2, draw.whole(1, 10) / 100, f" ({draw})")


def _ask(
    meta_gradient: Any, inner: Loss, outer: Loss, w: Tensor, lr: float, seed: str = ""
) -> None:
    where = f"for inner = {NAMES[inner]}, outer = {NAMES[outer]}, w = {shown(w)}, lr = {lr:g}{seed}"
    found = forms.tensor(meta_gradient(inner, outer, w, lr), "meta_gradient")
    expect(
        found.shape == w.shape,
        f"The gradient has the shape {tuple(found.shape)} {where}.",
        "A gradient has the shape of what it belongs to, here of w.",
    )
    right = right_gradient(inner, outer, w, lr)
    if near(found, right):
        expect_digits("The gradient", found, right, w.dtype, where)
        return
    for value, words, hint in _known(inner, outer, w, lr):
        expect(not near(found, value), f"That is {words}, {where}.", hint)
    texts = apart(found, right)
    expect(
        False,
        f"The gradient is {texts[1]}; yours is {texts[0]}, {where}.",
        "Write w' = w - lr * g(w) as a function of w, and take the gradient of outer(w') by w.",
    )


def _known(inner: Loss, outer: Loss, w: Tensor, lr: float) -> list[tuple[Tensor, str, str]]:
    """What the usual mistakes give."""
    slope, hessian, one = (
        func.grad(inner)(w),
        func.hessian(inner)(w),
        torch.eye(len(w), dtype=w.dtype),
    )
    after, before = func.grad(outer)(w - lr * slope), func.grad(outer)(w)
    uphill = func.grad(outer)(w + lr * slope)
    return [
        (after, "the gradient of outer after the step, with the step taken as a constant",
         "The step depends on w as well: keep the graph of g."),
        (before, "the gradient of outer at w, without the step", "Where does outer look: at w, or beside it?"),
        ((one - lr * hessian) @ before, "the right matrix times the gradient of outer at the old w",
         "The gradient of outer is taken where the step has led."),
        ((one + lr * hessian) @ uphill, "the gradient through a step up the slope", "Descent subtracts."),
        ((one - hessian) @ after, "what comes without lr beside the Hessian", "lr is a factor of the whole step."),
        (-lr * hessian @ after, "the way through g alone", "w - lr * g depends on w twice: directly, and through g."),
        ((one - lr * hessian.diag().diag()) @ after, "what comes with the Hessian's diagonal alone",
         "Each entry of g depends on every entry of w."),
        (w - lr * slope, "w after the step", "What is asked for is a gradient of outer."),
        (slope, "the gradient of inner", "What is asked for is a gradient of outer."),
        (slope + right_gradient(inner, outer, w, lr), "the gradient of inner and the right one, added",
         "backward() adds to what is in .grad; autograd.grad gives each gradient for itself."),
    ]  # fmt: skip


# ---- right answers, found in other ways ----


def by_func(inner: Loss, outer: Loss, w: Tensor, lr: float) -> Tensor:
    return func.grad(lambda w: outer(w - lr * func.grad(inner)(w)))(w)


def by_product(inner: Loss, outer: Loss, w: Tensor, lr: float) -> Tensor:
    """A Hessian-vector product instead of a graph through the step."""
    w = w.clone().requires_grad_()
    g = grad(inner(w), w)[0]
    stepped = (w - lr * g).detach().requires_grad_()
    v = grad(outer(stepped), stepped)[0]
    return v - lr * functional.hvp(inner, w.detach(), v)[1]


# ---- wrong answers ----


def _meta(inner: Loss, outer: Loss, w: Tensor, lr: float, graph: bool = True, sign: int = -1,
          flag: bool = False, at: str = "step", by: str = "w") -> Tensor:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    w = w.requires_grad_() if flag else w.detach().requires_grad_()
    (g,) = grad(inner(w), w, create_graph=graph)
    stepped = w + sign * lr * g
    return grad(outer(stepped), {"w": w, "step": stepped}[by])[0]


def _formula(inner: Loss, outer: Loss, w: Tensor, lr: float, at: str = "step", rate: bool = True,
             direct: bool = True, diagonal: bool = False) -> Tensor:  # fmt: skip
    step = lr * func.grad(inner)(w)
    v = func.grad(outer)(w - step if at == "step" else w)
    hessian = func.hessian(inner)(w)
    product = hessian.diag() * v if diagonal else hessian @ v
    return (v if direct else 0 * v) - (lr if rate else 1) * product


def _backward(inner: Loss, outer: Loss, w: Tensor, lr: float) -> Any:
    """As two calls of backward() leave it in w.grad."""
    w = w.detach().requires_grad_()
    w.grad = grad(inner(w), w, create_graph=True)[0]
    return w.grad + grad(outer(w - lr * w.grad), w)[0]


def _in_place(inner: Loss, outer: Loss, w: Tensor, lr: float) -> Tensor:
    gradient = by_func(inner, outer, w, lr)
    w -= lr * func.grad(inner)(w)
    return gradient


def _single(inner: Loss, outer: Loss, w: Tensor, lr: float) -> Tensor:
    return _meta(inner, outer, w.float(), lr).to(w.dtype)


WRONG = {
    "in float32": (_single, "digits of float32 alone"),
    "the step is a constant": (partial(_meta, graph=False), "taken as a constant"),
    "by the new w": (partial(_meta, by="step"), "taken as a constant"),
    "no step": (lambda inner, outer, w, lr: func.grad(outer)(w), "without the step"),
    "a step uphill": (partial(_meta, sign=1), "a step up the slope"),
    "at the old w": (partial(_formula, at="w"), "at the old w"),
    "no lr at the Hessian": (partial(_formula, rate=False), "without lr beside"),
    "through g alone": (partial(_formula, direct=False), "the way through g alone"),
    "the diagonal": (partial(_formula, diagonal=True), "diagonal alone"),
    "the new w": (lambda inner, outer, w, lr: w - lr * func.grad(inner)(w), "w after the step"),
    "the gradient of inner": (lambda inner, outer, w, lr: func.grad(inner)(w), "the gradient of inner, for"),
    "added in .grad": (_backward, "the right one, added"),
    "w asks for gradients": (partial(_meta, flag=True), "w, its requires_grad"),
    "w moved": (_in_place, "w is not what it was"),
    "a number": (lambda *given: by_func(*given).norm(), "has the shape ()"),
}  # fmt: skip


def oracle(meta_gradient: Callable[..., Any]) -> Any:
    """The gradients for many losses and sizes, and w afterwards."""
    wide = [
        (a, b, w.to(dtype), lr)
        for a, b, w, lr in cases()
        for dtype in (torch.float32, torch.float64)
    ]
    wide += [
        (curved, far, Drawn(n).normal(2, n)[0] / 3, lr)
        for n in (1, 2, 3, 7)
        for lr in (0.0, 0.03, -0.1)
    ]

    def told(inner: Loss, outer: Loss, w: Tensor, lr: float) -> Any:
        found = meta_gradient(inner, outer, w, lr)
        return [found, has_digits(found, right_gradient(inner, outer, w, lr), w.dtype)]

    return [tried(partial(told, inner, outer), w, lr) for inner, outer, w, lr in wide]


EXERCISE = Exercise(
    "meta_gradient",
    "The step depends on w, so the Hessian of inner is in the gradient.",
    check_meta,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("with func", by_func), Right("by a Hessian-vector product", by_product)),
    oracle=oracle,
)
