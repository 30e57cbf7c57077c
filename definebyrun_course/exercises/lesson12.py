"""Exercises of lesson 12, Gradient checking: measure a gradient, compare, choose a step, convict, aim, tell kinks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES", "suspects"]


def _numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in float64 that leave the learner's own random state as it is."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# 12: a gradient without autograd


def check_numeric(numeric_gradient: Callable[..., Any]) -> None:
    """`numeric_gradient(f, x, h)` gives the central differences of a scalar function, shaped like x."""
    for x in (_numbers(3), _numbers(2, 3).T, _numbers(())):
        kept = x.clone()
        found = numeric_gradient(lambda x: (x**3).sum(), x, 0.01)
        expect(
            isinstance(found, Tensor) and found.shape == x.shape,
            f"For x of shape {tuple(x.shape)} the result is not a tensor of that shape.",
            "One number for each entry of x, in its place.",
        )
        expect(
            torch.equal(x, kept),
            "Your function changed x.",
            "Make new tensors, x + d and x - d, or put every entry back exactly.",
        )
        off = found - 3 * x**2
        expect(
            not torch.allclose(off, 0.03 * x + 1e-4, atol=1e-6),
            "That is a forward difference: its error grows with the step itself, not with its square.",
            "One evaluation at x + h, one at x - h.",
        )
        worst = off.abs().max().item()
        expect(
            torch.allclose(off, torch.full_like(x, 1e-4), atol=1e-7),
            f"The sum of cubes is off by {worst:.2g} with h = 0.01; central differences by 0.0001.",
            "The two points are 2h apart.",
        )


def _numeric(f: Any, x: Tensor, h: float, way: str = "central") -> Tensor:
    """The solution with its usual mistakes as switches."""
    out = torch.zeros(x.numel(), dtype=x.dtype)
    for nth in range(x.numel()):
        d = torch.zeros(x.numel(), dtype=x.dtype)
        d[nth] = h
        d = d.reshape(x.shape)
        if way == "in place":
            x += d
        back, over = (x, h) if way == "forward" else (x - d, 2 * h)
        out[nth] = (f(x + d) - f(back)).item() / over
    return out if way == "flat" else out.reshape(x.shape)


# 12: the worst entry


def check_worst(worst_error: Callable[..., Any]) -> None:
    """`worst_error(a, n, floor)` is the largest relative error with a floor."""
    t = torch.tensor
    cases = [
        (t([1.0, 2.0]), t([1.0, 4.0]), 0.0, 0.5, "for 2 beside 4"),
        (
            t([4.0]),
            t([2.0]),
            0.0,
            0.5,
            "for 4 beside 2: divide by the larger of both, not by one of them",
        ),
        (t([-1.0]), t([1.0]), 0.0, 2.0, "for -1 beside 1: sizes, not signed numbers"),
        (t([0.0, 1e-9]), t([1e-9, 1e-9]), 1e-6, 1e-3, "for 0 beside 1e-9 with a floor of 1e-6"),
        (
            torch.ones(1000),
            torch.cat([torch.ones(999), t([2.0])]),
            0.0,
            0.5,
            "for one of 1000 entries",
        ),
        (t([0.0, 3.0]), t([0.0, 3.0]), 0.0, 0.0, "for equal entries, two zeros among them"),
        (t([[1.0, math.nan]]), t([[1.0, 2.0]]), 1e-6, math.inf, "for a nan beside 2"),
        (t([math.nan, 1.0]), t([1.0, 1.0]), 0.0, math.inf, "for a nan beside 1"),
    ]
    for a, n, floor, right, what in cases:
        found = worst_error(a, n, floor)
        expect(
            isinstance(found, float),
            f"The answer should be a Python float; yours is {type(found).__name__}.",
        )
        expect(
            found == right or math.isclose(found, right, rel_tol=1e-5),
            f"{found:.3g} {what}; it should be {right:.3g}.",
            "max(|a|, |n|, floor) below, |a - n| above, entry by entry; then the special cases.",
        )


def _worst(a: Tensor, n: Tensor, floor: float, nan: float = math.inf) -> float:
    size = torch.maximum(a.abs(), n.abs()).clamp(min=floor)
    error = torch.where(a == n, torch.zeros_like(a), (a - n).abs() / size)
    return error.nan_to_num(nan=nan, posinf=math.inf).max().item()


# 12: a step


def check_step(best_step: Callable[..., Any]) -> None:
    """`best_step(x, dtype)` is near the bottom of the V."""
    for dtype in (torch.float64, torch.float32):
        root = torch.finfo(dtype).eps ** (1 / 3)
        for x in (1.0, -1000.0, 1e-8, 0.0, 1e6):
            h, right = float(best_step(x, dtype)), root * max(1.0, abs(x))
            where = f"at x = {x:g} in {dtype}"
            expect(
                h > 0 and math.isfinite(h), f"The step is {h:g} {where}.", "abs(x), and x may be 0."
            )
            expect(
                h > right / 20 or abs(x) <= 1,
                f"{h:.1g} is too small {where}: x + h is hardly another number.",
                "The spacing of numbers grows with x. So must the step.",
            )
            expect(
                right / 20 < h < right * 20,
                f"{h:.1g} is not near the bottom of the V {where}.",
                "h² = eps / h, for the eps of this dtype: torch.finfo(dtype).eps.",
            )


# 12: three suspects


def _suspect(forward: Callable[[Tensor], Tensor], backward: Callable[..., Tensor]) -> Any:
    class Op(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return backward(g, *ctx.saved_tensors)

    return Op.apply


def _centre_back(g: Tensor, x: Tensor) -> Tensor:
    return g - g.sum(1, keepdim=True) / x.shape[0]


suspects = {
    "cube": _suspect(lambda x: x**3, lambda g, x: 3 * x**2 * g),
    "centre": _suspect(lambda x: x - x.mean(1, keepdim=True), _centre_back),
    "logistic": _suspect(torch.sigmoid, lambda g, x: g * x.sigmoid() * (1 - x.sigmoid())),
}
"""Three operations on a matrix, one with a wrong backward."""


def check_convict(name: Any, x: Any) -> None:
    """The name of the wrong one, and an input at which it is wrong."""
    expect(name in suspects, f"There is no suspect {name!r}.", f"They are {', '.join(suspects)}.")
    expect(
        name == "centre",
        f"{name} is innocent at every input.",
        "Change the shape of x, not only its numbers.",
    )
    expect(isinstance(x, Tensor) and x.ndim == 2, "The second part has to be a matrix.")
    g = _numbers(*x.shape)
    wrong, right = _centre_back(g, x), g - g.mean(1, keepdim=True)
    expect(
        not torch.allclose(wrong, right),
        f"The name is right. With x of shape {tuple(x.shape)} its gradient is right too: that proves nothing.",
        "Rows and columns.",
    )


# 12: along a direction


class _OffBy(torch.autograd.Function):
    """The sum of sin, with a gradient that is off by what it is told."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, off: Tensor) -> Tensor:
        ctx.save_for_backward(x, off)
        return x.sin().sum()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        x, off = ctx.saved_tensors
        return g * (x.cos() + off), None


def check_along(right_along: Callable[..., Any]) -> None:
    """`right_along(f, x, k)` says whether the gradient of a scalar function is right, with 2k + 1 evaluations."""
    x, calls = _numbers(4, 25), []

    def run(off: Tensor, k: int, seed: int = 0) -> Any:
        def f(x: Tensor) -> Tensor:
            calls.append(1)
            return _OffBy.apply(x, off)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            calls.clear()
            return right_along(f, x.clone(), k)

    none = torch.zeros_like(x)
    verdict = run(none, 3)
    expect(isinstance(verdict, bool), f"The answer is True or False; yours is {verdict!r}.")
    expect(verdict, "A right gradient was called wrong.", "Which step, and which tolerance?")
    expect(
        len(calls) <= 7,
        f"{len(calls)} evaluations for 3 directions are too many.",
        "Two a direction.",
    )
    one = none.clone()
    one[2, 7] = 1.0
    expect(not run(one, 3), "One wrong entry among 100 went unseen.", "Does d reach all of them?")
    pair = none.clone()
    pair[0, 0], pair[3, 3] = 1.0, -1.0
    expect(
        not any(run(pair, 1, seed) for seed in range(12)),
        "Two wrong entries with opposite errors went unseen in some directions: they cancel there.",
        "Directions of ±1, or of ones, have that hole. Which distribution has none?",
    )
    expect(not run(x.cos(), 1), "A gradient that is twice too large went unseen.")
    expect(
        not run(none * math.nan, 1),
        "A gradient of nan was called right.",
        "nan > tolerance is False.",
    )


def _along(f: Any, x: Tensor, k: int, draw: str = "gauss") -> bool:
    x = x.detach().requires_grad_()
    [g] = torch.autograd.grad(f(x), x)
    for _ in range(k):
        d = torch.randn_like(g)
        d = d.sign() if draw == "signs" else d
        d = d / d.norm()
        n = (f(x + 1e-5 * d) - f(x - 1e-5 * d)).item() / 2e-5
        a = (g * d).sum().item()
        if abs(a - n) > 1e-6 * max(abs(a), abs(n)) + 1e-9:  # False for nan
            return False
    return True


# ---- 12.6: smooth, kink or jump ------------------------

_POINTS = [
    ("sin at 1", math.sin, 1.0, "smooth"),
    ("relu at 0", lambda x: max(x, 0.0), 0.0, "kink"),
    ("relu at 0.001", lambda x: max(x, 0.0), 1e-3, "smooth"),
    ("abs at 0", abs, 0.0, "kink"),
    ("x > 0 at 0", lambda x: float(x > 0), 0.0, "jump"),
    ("sign at 0", lambda x: float((x > 0) - (x < 0)), 0.0, "jump"),
    ("100 x² at 0.5", lambda x: 100 * x * x, 0.5, "smooth"),
    ("x + |x - 2| / 10 at 2", lambda x: x + abs(x - 2) / 10, 2.0, "kink"),
    ("x + |x - 2| / 1000 at 2", lambda x: x + abs(x - 2) / 1000, 2.0, "kink"),
]


def check_kind(kind: Callable[..., Any]) -> None:
    """`kind(f, x)` is "smooth", "kink" or "jump"."""
    for name, f, x, right in _POINTS:
        found = kind(f, x)
        expect(
            found == right,
            f"{name} is {right}; you say {found!r}.",
            "Look at two steps: what shrinks with the step, and what does not?",
        )


def _kind(f: Any, x: float, ratio: bool = True, first: float = 1e-5) -> str:
    steps = (first, first / 10)
    bends = [abs(f(x + h) - 2 * f(x) + f(x - h)) / h for h in steps]
    rises = [max(abs(f(x + h) - f(x)), abs(f(x - h) - f(x))) for h in steps]
    if ratio and rises[1] > 1e-3 and rises[1] > 0.5 * rises[0]:
        return "jump"
    return "kink" if bends[1] > 1e-3 and (bends[1] > 0.5 * bends[0] or not ratio) else "smooth"


def _kind_of_one_step(f: Any, x: float) -> str:
    """One step and two limits: a jump is seen, a weak kink is taken for curvature."""
    up, down = f(x + 1e-5) - f(x), f(x - 1e-5) - f(x)
    if max(abs(up), abs(down)) > 0.1:
        return "jump"
    return "kink" if abs(up + down) / 1e-5 > 1e-2 else "smooth"


EXERCISES = (
    Exercise(
        "12.1",
        "Two evaluations an entry, and no gradient code.",
        check_numeric,
        (
            Wrong("forward", lambda f, x, h: _numeric(f, x, h, "forward"), "forward difference"),
            Wrong("flat", lambda f, x, h: _numeric(f, x, h, "flat"), "tensor of that shape"),
            Wrong("in place", lambda f, x, h: _numeric(f, x, h, "in place"), "changed x"),
        ),
    ),
    Exercise(
        "12.2",
        "The larger of both below, and a floor.",
        check_worst,
        (
            Wrong("nan is fine", lambda a, n, f: _worst(a, n, f, nan=0.0), "for a nan"),
            Wrong("absolute", lambda a, n, f: (a - n).abs().max().item(), "2 for 2 beside 4"),
            Wrong("a norm", lambda a, n, f: ((a - n).norm() / n.norm()).item(), "0.485"),
        ),
    ),
    Exercise(
        "12.3",
        "The cube root of eps, on the scale of x.",
        check_step,
        (
            Wrong("one for all", lambda x, dtype: 1e-5, "too small"),
            Wrong(
                "relative only",
                lambda x, dtype: torch.finfo(dtype).eps ** (1 / 3) * abs(x),
                "not near",
            ),
            Wrong(
                "square root",
                lambda x, dtype: torch.finfo(dtype).eps ** 0.5 * max(1, abs(x)),
                "not near the",
            ),
        ),
    ),
    Exercise(
        "12.4",
        "Right for square matrices, and only there.",
        check_convict,
        (
            Wrong("an innocent", ("cube", torch.ones(2, 3)), "innocent"),
            Wrong("a square", ("centre", torch.ones(3, 3)), "proves nothing"),
        ),
    ),
    Exercise(
        "12.5",
        "Two evaluations a direction, and no error cancels.",
        check_along,
        (
            Wrong("signs", lambda f, x, k: _along(f, x, k, "signs"), "opposite errors"),
            Wrong("nan", _along, "of nan"),
            Wrong("always", lambda f, x, k: True, "went unseen"),
        ),
    ),
    Exercise(
        "12.6",
        "Two steps, and what shrinks.",
        check_kind,
        (
            Wrong("one step", lambda f, x: _kind(f, x, ratio=False), "x > 0 at 0 is jump"),
            Wrong("one step, two limits", _kind_of_one_step, "x + |x - 2| / 1000 at 2 is kink"),
            Wrong("too wide", lambda f, x: _kind(f, x, first=0.02), "relu at 0.001 is smooth"),
            Wrong("never", lambda f, x: "smooth", "relu at 0 is kink"),
        ),
    ),
)
