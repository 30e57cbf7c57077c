"""Exercise `energy`: points that push each other away, and a root that saw a zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd
from torch.nn import functional

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, near, shown, tried
from ..graphs import passed
from ..mistakes import then

__all__ = ["EXERCISE"]

Energy = Callable[[Tensor], Any]
SMALL: tuple[list[list[float]], ...] = (
    [[0.5, 1.0]],
    [[0.0], [2.0]],
    [[1.0, 2.0], [1.0, 2.0]],
    [[0.0, 0.0, 1.0], [1.0, 2.0, 0.0]],
    [[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]],
    [[0.0, 0.0], [0.3, -0.4], [9.0, 9.0], [0.3, -0.4]],
    [[0.0], [1e-3], [-2.0]],
)
"""From one point up; some points meet, some are near, and each pair of sizes is another."""
TRAP = (
    "A distance of 0 is the root of 0, whose slope is infinite, and 0 times infinity is nan. "
    "What does the root see for such a pair?"
)
PAIRS = "exp(-d) for each pair of two points, counted as (i, j) and as (j, i); two points at one place have d = 0."


def check_energy(energy: Energy) -> None:
    """`energy(points)` is the sum over all pairs, with a gradient that is finite and true."""
    for dtype in (torch.float32, torch.float64):
        for rows in SMALL:
            points = torch.tensor(rows, dtype=dtype)
            _judge(energy, points, f"the points {shown(points)}")
    draw = drawn()
    count = draw.whole(4, 7)
    points = draw.normal(count, draw.whole(2, 3))
    points[-1] = points[0]
    _judge(energy, points, f"{count} points ({draw}), two of them at one place")


def _true(points: Tensor) -> tuple[Tensor, Tensor]:
    """The energy and its gradient, pair by pair, in float64."""
    total, slopes = 0.0, torch.zeros_like(points, dtype=torch.float64)
    rows = points.detach().double()
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            if i != j:
                distance = (one - other).norm()
                total += float(torch.exp(-distance))
                if distance > 0:
                    slopes[i] -= 2 * torch.exp(-distance) * (one - other) / distance
    return torch.tensor(total, dtype=points.dtype), slopes.to(points.dtype)


def _judge(energy: Energy, points: Tensor, what: str) -> None:
    want, slopes = _true(points)
    points = points.clone().requires_grad_()
    found = forms.tensor(energy(points), "energy", ())
    expect(near(found, want), f"For {what} the energy is {shown(found)}.", PAIRS)
    expect(
        found.requires_grad or len(points) == 1,
        f"For {what}, which ask for gradients, the energy asks for none.",
        "Compute with points itself.",
    )
    if not found.requires_grad:
        return
    [grad] = passed(lambda: autograd.grad(3 * found, points, allow_unused=True), what, TRAP)
    expect(
        grad is not None or len(points) == 1,
        f"For {what} no gradient comes back to points.",
        "Compute with points itself.",
    )
    if grad is None:
        return
    expect(
        bool(grad.isfinite().all()),
        f"For {what} the energy is right, and the gradient holds {shown(grad[~grad.isfinite()][:1])[1:-1]}.",
        TRAP,
    )
    expect(
        near(grad, 3 * slopes, atol=1e-5),
        f"For {what} the gradient of three times the energy is {shown(grad)}.",
        "Each pair pushes along the line between its points, by exp(-d); points at one place give each other 0.",
    )


# ---- answers ----


def _other(points: Tensor) -> Tensor:
    """True for two points that are not one and the same."""
    return ~torch.eye(len(points), dtype=torch.bool)


def _inner_where(points: Tensor) -> Tensor:
    """The solution."""
    squares = (points[:, None] - points[None]).square().sum(-1)
    apart = squares > 0
    inside = torch.where(apart, squares, torch.ones_like(squares))
    distance = torch.where(apart, inside.sqrt(), torch.zeros_like(squares))
    return torch.where(_other(points), torch.exp(-distance), torch.zeros_like(squares)).sum()


def _by_norm(points: Tensor) -> Tensor:
    distance = torch.linalg.vector_norm(points[:, None] - points[None], dim=-1)
    return torch.exp(-distance).sum() - len(points)


def _by_cdist(points: Tensor) -> Tensor:
    exact = "donot_use_mm_for_euclid_dist"
    return torch.exp(-torch.cdist(points, points, compute_mode=exact))[_other(points)].sum()


def _pair_by_pair(points: Tensor) -> Tensor:
    total = points.sum() * 0
    for i, one in enumerate(points):
        for other in points[:i]:
            square = ((one - other) ** 2).sum()
            total = total + (2 * torch.exp(-(square**0.5)) if square > 0 else 2.0)
    return total


def _as_given(points: Tensor) -> Tensor:
    distance = (points[:, None] - points[None]).square().sum(-1).sqrt()
    return torch.where(_other(points), torch.exp(-distance), 0.0).sum()


def _diagonal_alone(points: Tensor) -> Tensor:
    """Finite as long as no two points meet."""
    squares = (points[:, None] - points[None]).square().sum(-1)
    return torch.exp(-squares[_other(points)].sqrt()).sum()


def _small_number(points: Tensor) -> Tensor:
    squares = (points[:, None] - points[None]).square().sum(-1)
    return torch.exp(-(squares + 1e-6).sqrt())[_other(points)].sum()


def _met_left_out(points: Tensor) -> Tensor:
    squares = (points[:, None] - points[None]).square().sum(-1)
    return torch.exp(-squares[squares > 0].sqrt()).sum()


def _squared(points: Tensor) -> Tensor:
    squares = (points[:, None] - points[None]).square().sum(-1)
    return torch.exp(-squares)[_other(points)].sum()


def _clamped(points: Tensor) -> Tensor:
    squares = (points[:, None] - points[None]).square().sum(-1).clamp(min=1e-4)
    return torch.exp(-squares.sqrt())[_other(points)].sum()


def _repaired_after(points: Tensor) -> Tensor:
    return _as_given(points).nan_to_num()


def _hooked(points: Tensor) -> Tensor:
    points.register_hook(torch.nan_to_num)
    return _as_given(points)


def _forgetful(points: Tensor) -> None:
    _inner_where(points)


def _one_side(points: Tensor) -> Tensor:
    """Only the first of the two points of a pair is moved."""
    distance = torch.linalg.vector_norm(points[:, None] - points.detach()[None], dim=-1)
    return torch.exp(-distance)[_other(points)].sum()


def oracle(energy: Energy) -> Any:
    """The energy and its gradient for points of many numbers, dimensions and sizes."""
    draw = Drawn(0)
    shapes = ((1, 1), (1, 3), (2, 1), (2, 2), (3, 7), (7, 2), (3, 3))
    inputs = [draw.normal(*shape) for shape in shapes]
    inputs += [draw.normal(4, 2) * scale for scale in (1e-2, 30.0)]
    inputs += [draw.normal(3, 4).T, draw.normal(3, 2).float(), torch.zeros(3, 2)]
    inputs += [torch.tensor(rows, dtype=torch.float64) for rows in SMALL]

    def told(points: Tensor) -> Any:
        found = energy(points)
        if not found.requires_grad:
            return [found, torch.zeros_like(points)]
        [grad] = autograd.grad(found, points, allow_unused=True)
        return [found, torch.zeros_like(points) if grad is None else grad]

    return [tried(told, points.clone().requires_grad_()) for points in inputs]


EXERCISE = Exercise(
    "energy",
    "The root never saw a zero.",
    check_energy,
    (
        Wrong("as given", _as_given, "[[0.5, 1]] the energy is right, and the"),
        Wrong("the diagonal left out", _diagonal_alone, "[[1, 2], [1, 2]] the energy is right"),
        Wrong("repaired afterwards", _repaired_after, "[[0.5, 1]] the energy is right, and the"),
        Wrong("a hook on points", _hooked, "points, its hooks"),
        Wrong(
            "a small number under the root", _small_number, "[[1, 2], [1, 2]] the energy is 1.998"
        ),
        Wrong("a clamp", _clamped, "[[1, 2], [1, 2]] the energy is 1.98"),
        Wrong("points that meet left out", _met_left_out, "[[1, 2], [1, 2]] the energy is 0"),
        Wrong("without the root", _squared, "[[0], [2]] the energy is 0.03663"),
        Wrong("each pair once", lambda p: _inner_where(p) / 2, "[[0], [2]] the energy is 0.1353"),
        Wrong(
            "each point with itself",
            lambda p: _inner_where(p) + len(p),
            "[[0.5, 1]] the energy is 1.",
        ),
        Wrong("one side alone", _one_side, "three times the energy is"),
        Wrong("detached", lambda p: _inner_where(p.detach()), "the energy asks for none"),
        Wrong("in place", then(_inner_where, lambda p: p.data.add_(1)), "it was given: points is"),
        Wrong("return forgotten", _forgetful, "Is a `return` missing"),
    ),
    right=(
        Right("by a norm, whose slope at 0 is 0", _by_norm),
        Right("by cdist", _by_cdist),
        Right("pair by pair", _pair_by_pair),
        Right("by pdist", lambda p: 2 * torch.exp(-functional.pdist(p)).sum()),
    ),
    oracle=oracle,
)
