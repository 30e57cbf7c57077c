"""Exercise `along`: a gradient checked along random directions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...grading import Drawn, Exercise, Right, Wrong, counted, drawn, expect, forms, tried
from ..mistakes import then
from .watched import Watched, opposite

__all__ = ["EXERCISE"]

SHAPES = ((1,), (), (2,), (2, 3), (4, 25), (20, 60))
MANY = 100
"""From so many entries on, two directions of signs are hardly ever the same."""
WAYS = (1, 3, 5, 5, 5, 5)
TOLERANCE = "Which tolerance is asked for, and which step can see it?"
PLACES = {(3, 3): "", (3, 0): " in one column", (0, 3): " in one row"}
"""Where the second of two wrong entries is, and what that is called."""
HIDING = 12
"""So many seeds are tried where an error hides from one direction in two."""


def check_along(right_along: Callable[..., Any]) -> None:
    """`right_along(f, x, k)` says whether the gradient of a scalar function is right, with 2k + 1 evaluations."""
    draw = Drawn(4)
    for shape in SHAPES:
        for seed, k in enumerate(WAYS):
            _right_gradient(right_along, Watched(), draw.normal(*shape), k, seed)
    _right_gradient(right_along, Watched(flat=True), draw.normal(3), 2)
    _right_gradient(right_along, Watched(off=1e-9), draw.normal(3), 3)
    x = draw.normal(3) + 1
    many = x.repeat(40).reshape(4, 30)
    one = torch.zeros_like(many)
    one[2, 7] = 1.0
    wrong = [
        (torch.full_like(x, float("nan")), x, 1, "a gradient of nan", "nan > tolerance is False."),
        (x.cos(), x, 1, "a gradient that is twice what it should be",
         "Which of the two numbers do you compare with which?"),
        (-2 * x.cos(), x, 1, "a gradient with the wrong sign", "Sizes alone do not tell."),
        (x.cos() * 1e-3, x, 3, "a gradient that is wrong by a thousandth", TOLERANCE),
        (x.cos() * 1e-5, x, 3, "a gradient that is wrong by a part in 100,000", TOLERANCE),
        (one, many, 3, "one wrong entry among 120", "Does each direction reach all entries?"),
        (torch.tensor([1.25e-6]).double(), torch.tensor([math.pi / 3]).double(), 1,
         "a gradient of 0.5 that is wrong by 0.00000125", f"{TOLERANCE} What is an error compared with?"),
    ]  # fmt: skip
    for off, point, k, words, hint in wrong:
        said = _answer(right_along, Watched(off), point, k)
        expect(
            not said, f"Not seen: {words}, with x of shape {tuple(point.shape)} and k = {k}.", hint
        )
    _what_hides(right_along, many)
    fresh = drawn()
    x = fresh.normal(fresh.whole(2, 4), fresh.whole(1, 4))
    _right_gradient(right_along, Watched(), x, fresh.whole(1, 4), fresh.seed, f" ({fresh})")
    off = fresh.normal(*x.shape) / 100
    said = _answer(right_along, Watched(off), x, 2, fresh.seed)
    expect(
        not said,
        f"Not seen: a gradient that is wrong by a hundredth in every entry ({fresh}).",
        "Look at the tolerance.",
    )


def _what_hides(right_along: Any, x: Tensor) -> None:
    """What some directions do not see."""
    for place, words in PLACES.items():
        unseen = sum(_answer(right_along, opposite(x, place), x, 1, seed) for seed in range(HIDING))
        expect(
            not unseen,
            f"Two wrong entries with opposite errors{words} were not seen along {unseen} of {HIDING} directions: "
            "they cancel there.",
            "Directions of ±1, of ones, or the same in every row have that hole. Which have none?",
        )
    unseen = sum(_answer(right_along, Watched(bent=x), x, 24, seed) for seed in range(HIDING))
    expect(
        not unseen,
        f"A gradient that is wrong along one direction in two was called right in {unseen} of {HIDING} runs "
        "with k = 24.",
        "How many of the k directions have to agree?",
    )


def _answer(right_along: Any, f: Watched, x: Tensor, k: int, seed: int = 0) -> bool:
    torch.manual_seed(seed)
    np.random.seed(seed)
    found = right_along(f, x, k)
    if isinstance(found, Tensor) and found.dtype == torch.bool and found.numel() == 1:
        found = found.item()
    missing = " Is a `return` missing?" if found is None else ""
    expect(
        isinstance(found, (bool, np.bool_)),
        f"The answer is True or False; yours is {forms.said(found)}.{missing}",
        "True for a right gradient, False for a wrong one.",
    )
    return bool(found)


def _right_gradient(
    right_along: Any, f: Watched, x: Tensor, k: int, seed: int = 0, said_drawn: str = ""
) -> None:
    where = f"with x of shape {tuple(x.shape)} and k = {k}{said_drawn}"
    said = _answer(right_along, f, x, k, seed)
    ways = f.directions(x)
    if said or k == 1:  # who has seen a mistake may stop early
        expect(
            len(f.points) <= 2 * k + 1,
            f"f was evaluated {len(f.points)} times, {where}; {2 * k} are allowed besides autograd's one.",
            "Two for each direction.",
        )
        expect(
            len(ways) >= 2 * k,
            f"f was evaluated {counted(len(ways), 'time')} beside x, {where}: not two for each of {k} directions.",
            "A central difference has a point on either side.",
        )
    if not said:
        _called_wrong(right_along, f, x, k, where)
    one_entry = all(int((way != 0).sum()) == 1 for way in ways)  # two may meet by chance
    if x.numel() >= MANY and k > 1 and not one_entry:
        pairs = [(a, b) for n, a in enumerate(ways) for b in ways[:n]]
        alike = sum(float(a @ b) > 0.999 for a, b in pairs)
        expect(
            not alike,
            f"Two of {k} directions are the same, {where}.",
            "Each direction is drawn anew.",
        )


def _called_wrong(right_along: Any, f: Watched, x: Tensor, k: int, where: str) -> None:
    kind = "wrong by a part in 1,000,000,000, less than what counts," if f.off else "right"
    if f.flat:
        kind = "right, and zero everywhere,"
    upside_down = not f.flat and _answer(right_along, Watched(x.cos() / 3 + 0.1), x, k)
    expect(
        not upside_down,
        f"A right gradient gets False, and a wrong one gets True, {where}.",
        "Is the comparison the right way round?",
    )
    step = max(float((point - x).norm()) for point in f.points)
    expect(
        False,
        f"A gradient that is {kind} was called wrong, {where}; your points are {step:.0e} away from x.",
        "Which errors does that step have, and which does the tolerance allow? What is the distance of the two points?",
    )


# ---- right answers, found in other ways ----


def by_numpy(f: Any, x: Tensor, k: int) -> Any:
    """Directions from NumPy; the verdict is that of the worst."""
    leaf = x.clone().requires_grad_()
    f(leaf).backward()
    errors = []
    for _ in range(k):
        d = torch.from_numpy(np.random.standard_normal(tuple(x.shape)).reshape(x.shape))
        d = d / (d.square().sum().sqrt() + 1e-300)
        h = 3e-6
        slope = (float(f(x + h * d)) - float(f(x - h * d))) / (2 * h)
        claim = float((leaf.grad * d).sum())
        errors.append(abs(claim - slope) / (max(abs(claim), abs(slope)) + 1e-3))
    return np.all(np.array(errors) < 1e-6)


def along_a_matrix(f: Any, x: Tensor, k: int) -> bool:
    """All directions drawn at once, kept with their own lengths."""
    leaf = x.detach().requires_grad_()
    gradient = torch.autograd.grad(f(leaf), leaf)[0].flatten()
    ways = torch.randn(k, x.numel(), dtype=x.dtype)
    ways = ways / ways.norm(dim=1, keepdim=True)
    with torch.no_grad():
        rises = [f(x + 1e-5 * w.view(x.shape)) - f(x - 1e-5 * w.view(x.shape)) for w in ways]
    slopes = torch.stack(rises).flatten() / 2e-5
    return torch.allclose(ways @ gradient, slopes, rtol=1e-6, atol=1e-9)


# ---- wrong answers ----


def _along(f: Any, x: Tensor, k: int, draw: str = "gauss", rtol: float = 1e-6, atol: float = 1e-9, h: float = 1e-5,
           nan: bool = True, once: bool = False, twice: int = 1, over: float = 2.0, sizes: bool = False,
           forward: bool = False, last: bool = False) -> bool:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    x = x.detach().requires_grad_()
    [g] = torch.autograd.grad(f(x), x)
    same = torch.randn_like(g)
    for nth in range(1 if once else k * twice):
        d = torch.randn_like(g)
        if draw == "entry":
            d = torch.zeros(g.numel(), dtype=g.dtype)
            d[int(torch.randint(g.numel(), ()))] = 1.0
            d = d.reshape(g.shape)
        d = {"signs": d.sign(), "ones": torch.ones_like(d), "same": same}.get(draw, d)
        if draw == "rows" and g.ndim:
            d = torch.randn(g.shape[-1:], dtype=g.dtype).expand(g.shape)
        d = d / d.norm()
        n = (f(x + h * d) - f(x if forward else x - h * d)).item() / (h if forward else over * h)
        a = (g * d).sum().item()
        apart = abs(abs(a) - abs(n)) if sizes else abs(a - n)
        limit = rtol * max(abs(a), abs(n)) + atol
        if (not last or nth == k - 1) and ((not apart <= limit) if nan else apart > limit):
            return False
    return True


def _any_agrees(f: Any, x: Tensor, k: int) -> bool:
    """Right as soon as one direction agrees."""
    x = x.detach().requires_grad_()
    [g] = torch.autograd.grad(f(x), x)
    agree = []
    for _ in range(k):
        d = torch.randn_like(g)
        d = d / d.norm()
        n = (f(x + 1e-5 * d) - f(x - 1e-5 * d)).item() / 2e-5
        agree.append(abs((g * d).sum().item() - n) <= 1e-6 * abs(n) + 1e-9)
    return any(agree)


def _with_itself(f: Any, x: Tensor, k: int) -> bool:
    """Asks autograd for both numbers."""
    leaf = x.detach().requires_grad_()
    [g] = torch.autograd.grad(f(leaf), leaf)
    for _ in range(k):
        d = torch.randn_like(x)
        d = d / d.norm()
        beside = [(x + s * d).requires_grad_() for s in (1e-9, -1e-9)]
        other = sum(torch.autograd.grad(f(point), point)[0] for point in beside) / 2
        if not torch.allclose((g * d).sum(), (other * d).sum(), rtol=1e-6, atol=1e-6):
            return False
    return True


WRONG = {
    "signs": (partial(_along, draw="signs"), "with opposite errors were not seen"),
    "ones": (partial(_along, draw="ones"), "Two of 3 directions are the same"),
    "the same direction again": (partial(_along, draw="same"), "Two of 3 directions are the same"),
    "one entry at a time": (partial(_along, draw="entry"), "Not seen: one wrong entry among 120"),
    "nan": (partial(_along, nan=False), "Not seen: a gradient of nan"),
    "sizes only": (partial(_along, sizes=True), "Not seen: a gradient with the wrong sign"),
    "a tolerance of a hundredth": (partial(_along, rtol=1e-2), "Not seen: a gradient that is wrong by a thousandth"),
    "a tolerance of a ten-thousandth": (partial(_along, rtol=1e-4), "wrong by a part in 100,000"),
    "a floor of 1 for the size": (partial(_along, rtol=1e-6, atol=1e-6), "a gradient of 0.5 that is wrong"),
    "a large absolute tolerance": (partial(_along, atol=1e-3), "Not seen: a gradient that is wrong by a thousandth"),
    "a large step": (partial(_along, h=1e-2), "your points are 1e-02 away"),
    "a large step and tolerance": (partial(_along, h=1e-2, rtol=1e-4, atol=1e-4), "wrong by a part in 100,000"),
    "the same in each row": (partial(_along, draw="rows"), "opposite errors in one column"),
    "the last direction only": (partial(_along, last=True), "wrong along one direction in two"),
    "any direction": (_any_agrees, "wrong along one direction in two"),
    "a tiny step": (partial(_along, h=1e-13), "your points are 1e-13 away"),
    "not divided by 2": (partial(_along, over=1.0), "your points are 1e-05 away"),
    "a forward difference": (partial(_along, forward=True, rtol=1e-4), "evaluated 1 time beside x"),
    "one direction whatever k": (partial(_along, once=True), "not two for each of 3 directions"),
    "twice as many": (partial(_along, twice=2), "2 are allowed besides"),
    "always": (then(lambda f, x, k: True, lambda *_: None), "f was evaluated 0 times beside x"),
    "the other way round": (lambda f, x, k: not _along(f, x, k), "A right gradient gets False"),
    "autograd with itself": (_with_itself, "Not seen: a gradient that is twice"),
    "x overwritten": (then(_along, lambda f, x, k: x.zero_()), "x is not what it was"),
    "a number": (lambda f, x, k: 1.0, "The answer is True or False"),
}  # fmt: skip


def oracle(right_along: Callable[..., Any]) -> Any:
    """The answers for gradients that are right or wrong in many ways, how often f was evaluated, and x afterwards."""

    def told(f: Watched, x: Tensor, k: int) -> Any:
        said = [_answer(right_along, f, x, k, seed) for seed in range(2)]
        right = not bool(torch.as_tensor(f.off).any())
        return [said, len(f.points) if right else len(f.points) > 0, x]

    many, draw, found = Drawn(1).normal(4, 25), Drawn(0), []

    def ways() -> Any:
        f = Watched()
        right_along(f, many, 3)
        apart = [
            float(a @ b) < 0.999
            for n, a in enumerate(f.directions(many))
            for b in f.directions(many)[:n]
        ]
        hidden = [opposite(many, place) for place in PLACES]
        unseen = [_answer(right_along, f, many, 1, seed) for f in hidden for seed in range(HIDING)]
        unseen += [_answer(right_along, Watched(bent=many), many, 24, s) for s in range(HIDING)]
        off = torch.zeros_like(many)
        off[0, 0] = 1.0
        one = _answer(right_along, Watched(off), many, 3)
        return [all(apart), any(unseen), one]

    for shape in (*SHAPES, (7,), (0,)):
        for k in (1, 4):
            x = draw.normal(*shape) * 0.3
            for off in (
                0.0,
                x.cos(),
                -2 * x.cos(),
                x.cos() * 1e-5,
                float("nan"),
                draw.normal(*shape) / 50,
            ):
                found.append(tried(told, Watched(off), x.clone(), k))
    return [*found, tried(told, Watched(flat=True), draw.normal(3), 2), tried(ways)]


EXERCISE = Exercise(
    "along",
    "Two evaluations a direction, and no error cancels.",
    check_along,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(
        Right("with NumPy's directions", by_numpy),
        Right("all directions at once", along_a_matrix),
    ),
    oracle=oracle,
)
