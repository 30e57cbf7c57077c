"""Exercise `numeric`: a gradient by central differences."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...grading import Exercise, Right, Wrong, apart, drawn, expect, forms, near, shown, tried

__all__ = ["EXERCISE"]

Scalar = Callable[[Tensor], Tensor]
GROWS = ": its error grows with the step itself, not with its square"
EACH = "One entry moves, all others stay: f at x with h added there, minus f at x with h taken away there."


def cubes(x: Tensor) -> Tensor:
    """The sum of cubes: a central difference is 3x² + h² exactly, an autograd gradient 3x²."""
    return (x**3).sum()


def product(x: Tensor) -> Tensor:
    """All entries multiplied: linear in each of them, so that a difference is exact if the others stay."""
    return x.prod().reshape(1)


def form(x: Tensor) -> Tensor:
    """Takes a 2 × 3 matrix only."""
    return (x @ torch.tensor([1.0, -2.0, 0.5], dtype=x.dtype)).square().sum().reshape(1, 1)


def right_gradient(f: Scalar, x: Tensor, h: float) -> Tensor:
    """In float64."""
    x = x.detach().double().contiguous()
    if f is cubes:
        return 3 * x**2 + h**2
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(f(leaf), leaf)[0]


NAMES = {cubes: "(x**3).sum()", product: "x.prod()", form: "((x @ v)**2).sum()"}


def cases(dtype: torch.dtype) -> list[tuple[Scalar, Tensor, float]]:
    """From the smallest up; then transposed, expanded and asking for gradients."""
    t = partial(torch.tensor, dtype=dtype)
    tall = t([[1.0, -0.5], [0.5, 2.0], [-1.0, 1.5]])
    leaf = t([0.5, -1.0]).requires_grad_()
    return [
        (cubes, t(2.0), 0.5),
        (cubes, t([1.0]), 0.25),
        (cubes, t([1.0, -0.5, 2.0]), 0.5),
        (product, t([3.0, -2.0]), 0.5),
        (product, t([[1.0, 2.0], [3.0, 4.0]]), 0.25),
        (cubes, t([]), 0.5),
        (form, tall.T, 0.5),
        (cubes, tall.T, 0.125),
        (cubes, t([1.5]).expand(3), 0.25),
        (cubes, leaf, 0.5),
        (product, (leaf * 2).requires_grad_(), 0.5),
    ]


def check_numeric(numeric_gradient: Callable[..., Any]) -> None:
    """`numeric_gradient(f, x, h)` gives the central differences of a scalar function, shaped like x."""
    for dtype in (torch.float64, torch.float32):
        for f, x, h in cases(dtype):
            _ask(numeric_gradient, f, x, h)
    draw = drawn()
    shape = (draw.whole(1, 3), draw.whole(1, 3))
    _ask(numeric_gradient, cubes, draw.normal(*shape).T, draw.whole(1, 9) / 10, f" ({draw})")


def _ask(numeric_gradient: Any, f: Scalar, x: Tensor, h: float, seed: str = "") -> None:
    where = f"for f = {NAMES[f]}, x = {shown(x)}, h = {h:g}{seed}"
    found = forms.tensor(numeric_gradient(f, x, h), "numeric_gradient")
    expect(
        found.shape == x.shape,
        f"The result has the shape {tuple(found.shape)}, not {tuple(x.shape)}, {where}.",
        "One number for each entry of x, in its place.",
    )
    right = right_gradient(f, x, h)
    rtol = 1e-9 if x.dtype == torch.float64 and found.dtype == torch.float64 else 1e-4
    if not near(found, right, rtol=rtol):
        _say_which(found, right, f, x, h, where)
    expect(
        found.dtype == x.dtype,
        f"x is {x.dtype}, and the result is {found.dtype}, {where}.",
        "What makes a tensor like another one?",
    )


def _say_which(found: Tensor, right: Tensor, f: Scalar, x: Tensor, h: float, where: str) -> None:
    base = x.detach().double().contiguous()

    def differences(sign: float) -> Tensor:
        steps = sign * h * torch.eye(x.numel(), dtype=torch.float64).reshape(-1, *x.shape)
        rises = [(f(base + d) - f(base)).item() / (sign * h) for d in steps]
        return torch.tensor(rises, dtype=torch.float64).reshape(x.shape)

    leaf = base.clone().requires_grad_()
    exact = torch.autograd.grad(f(leaf), leaf)[0]
    known = [
        (differences(1.0), f"a forward difference{GROWS}", "One value at x + h, one at x - h."),
        (differences(-1.0), f"a backward difference{GROWS}", "One value at x + h, one at x - h."),
        (2 * right, "twice the central difference", "The two points are 2h apart."),
        (2 * h * right, "the difference of the two values, not divided",
         "A slope is a difference divided by a distance."),
        (-right, "the central difference with the other sign", "Which value is taken from which?"),
        (exact, "the exact derivative: the step h had no part in it", "f is run at points that are h away from x."),
        (right.sum().expand(x.shape), "the slope along all entries together, at each place", EACH),
    ]  # fmt: skip
    for value, words, hint in known:
        expect(not near(found, value, rtol=1e-6), f"That is {words}, {where}.", hint)
    texts = apart(found, right)
    expect(False, f"The central differences are {texts[1]}; yours are {texts[0]}, {where}.", EACH)


# ---- right answers, found in other ways ----


def on_a_copy(f: Scalar, x: Tensor, h: float) -> Tensor:
    """Writes into a copy, and puts each entry back."""
    with torch.no_grad():
        moved = x.detach().clone(memory_format=torch.contiguous_format)
        flat, gradient = moved.view(-1), torch.empty(x.shape, dtype=x.dtype)
        for n in range(flat.numel()):
            middle = flat[n].item()
            flat[n] = middle + h
            up = float(f(moved))
            flat[n] = middle - h
            gradient.view(-1)[n] = (up - float(f(moved))) / (2 * h)
            flat[n] = middle
    return gradient


def by_identity(f: Scalar, x: Tensor, h: float) -> Tensor:
    """All steps at once: the rows of a matrix."""
    x = x.detach()
    steps = h * torch.eye(x.numel(), dtype=x.dtype).reshape(x.numel(), *x.shape)
    slopes = [(f(x + d).squeeze() - f(x - d).squeeze()) / (2 * h) for d in steps]
    return torch.stack(slopes).reshape(x.shape) if slopes else torch.zeros_like(x)


# ---- wrong answers ----


def _numeric(f: Scalar, x: Tensor, h: float, way: str = "central") -> Tensor:
    """The solution with its usual mistakes as switches."""
    x = x if way in ("in place", "not detached") else x.detach()
    out = torch.zeros(x.numel(), dtype=torch.float32 if way == "float32" else x.dtype)
    step = 1e-4 if way == "own step" else h
    for nth in range(x.numel()):
        d = torch.zeros(x.numel(), dtype=x.dtype)
        d[nth] = step
        d = d.reshape(x.shape) if way != "all" else torch.full_like(x, step)
        back = x if way == "forward" else x - d
        front = x if way == "backward" else x + d
        over = {"forward": step, "backward": step, "h": step, "not divided": 1.0}.get(way, 2 * step)
        if way == "in place":
            with torch.no_grad():
                x += d
            out[nth] = (f(x) - f(x - 2 * d)).item() / over
        else:
            out[nth] = (f(front) - f(back)).item() / over
    return out if way == "flat" else out.reshape(x.shape)


def _flat_writes(f: Scalar, x: Tensor, h: float) -> Tensor:
    """Writes into what flatten gives: a copy, if x is transposed."""
    x = x.detach().clone()
    gradient = torch.zeros(x.shape, dtype=x.dtype)
    for n in range(x.numel()):
        flat = x.flatten()
        flat[n] += h
        up = f(x).item()
        flat[n] -= 2 * h
        gradient.view(-1)[n] = (up - f(x).item()) / (2 * h)
        flat[n] += h
    return gradient


def _by_autograd(f: Scalar, x: Tensor, h: float) -> Tensor:
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(f(leaf), leaf)[0]


def _flag_off(f: Scalar, x: Tensor, h: float) -> Tensor:
    if x.is_leaf:
        x.requires_grad_(False)
    return _numeric(f, x, h)


def _nearly_back(f: Scalar, x: Tensor, h: float) -> Tensor:
    """Takes away what it has added: the last digit need not come back."""
    gradient = _numeric(f, x, h)
    with torch.no_grad():
        if x.is_leaf and 0 not in x.stride():
            x += 0.1
            x -= 0.1
    return gradient


WRONG = {
    "forward": (partial(_numeric, way="forward"), "a forward difference"),
    "backward": (partial(_numeric, way="backward"), "a backward difference"),
    "divided by h": (partial(_numeric, way="h"), "twice the central difference"),
    "not divided": (partial(_numeric, way="not divided"), "the difference of the two values, not divided"),
    "the other sign": (lambda f, x, h: -_numeric(f, x, h), "with the other sign"),
    "a step of its own": (partial(_numeric, way="own step"), "the step h had no part"),
    "by autograd": (_by_autograd, "the step h had no part"),
    "all entries at once": (partial(_numeric, way="all"), "along all entries together"),
    "flat": (partial(_numeric, way="flat"), "the shape (1,), not ()"),
    "float32": (partial(_numeric, way="float32"), "the result is torch.float32"),
    "writes into flatten": (_flat_writes, "yours are [[0, 0, 0], [0, 0, 0]]"),
    "in place": (partial(_numeric, way="in place"), "x is not what it was"),
    "nearly put back": (_nearly_back, "x is not what it was"),
    "x asks no more": (_flag_off, "x, its requires_grad"),
    "a Python list": (lambda f, x, h: _numeric(f, x, h).tolist(), "numeric_gradient returns a tensor"),
}  # fmt: skip


def oracle(numeric_gradient: Callable[..., Any]) -> Any:
    """The differences, their shape and dtype for many x, and x afterwards."""
    wide = [case for dtype in (torch.float32, torch.float64) for case in cases(dtype)]
    base = torch.arange(1.0, 22.0, dtype=torch.float64).sin()
    wide += [
        (cubes, base[:n] * scale, h)
        for n in (1, 2, 3, 7)
        for scale in (1.0, 50.0)
        for h in (0.5, 0.01)
    ]
    wide += [
        (cubes, base.reshape(7, 3)[::2, 1:], 0.5),
        (product, base[:7] * 2, 0.5),
        (cubes, torch.full((2,), 0.1).double(), 0.1),
    ]

    def told(f: Scalar, x: Tensor, h: float) -> Any:
        kept = x.detach().clone()
        gradient = numeric_gradient(f, x, h)
        return [gradient, str(gradient.dtype), x.requires_grad, torch.equal(x, kept)]

    return [
        tried(partial(told, f), x.detach().requires_grad_(x.requires_grad), h) for f, x, h in wide
    ]


EXERCISE = Exercise(
    "numeric",
    "Two evaluations an entry, and no gradient code.",
    check_numeric,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("on a copy", on_a_copy), Right("along the rows of an identity", by_identity)),
    oracle=oracle,
)
