"""Exercise `distances`: all distances between points, to be differentiated twice where some points coincide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import grad

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    Wrong,
    drawn,
    expect,
    forms,
    near,
    shown,
    tried,
)

__all__ = ["EXERCISE"]

Distances = Callable[[Tensor], Any]
CASES: tuple[tuple[str, list[list[float]]], ...] = (
    ("two points on a line", [[0.0], [2.0]]),
    ("one point", [[3.0, -1.0]]),
    ("three points in the plane", [[0.0, 0.0], [3.0, 4.0], [-1.0, 2.0]]),
    ("two points in the same place", [[1.0, 2.0], [1.0, 2.0]]),
    ("three points, two of them in the same place", [[1.0, 2.0], [4.0, -2.0], [1.0, 2.0]]),
    ("points 2e-5 and 1e4 apart", [[0.0, 0.0], [2e-5, 0.0], [1e4, 0.0]]),
)
VALUES = "Entry i, j is the root of the sum of the squared differences of point i and point j."
INSIDE = (
    "What does the chain rule multiply at a distance of 0, in the first pass and in the second?"
)


def reference(points: Tensor) -> Tensor:
    """The distances `(n, n)`; the root never sees a zero."""
    squares = (points[:, None] - points).square().sum(-1)
    apart = squares > 0
    roots = torch.where(apart, squares, torch.ones_like(squares)).sqrt()
    return torch.where(apart, roots, torch.zeros_like(roots))


def weights(n: int, dtype: torch.dtype) -> Tensor:
    """A weight for each distance; no two are alike, so that a transposed result has another gradient."""
    return torch.arange(1.0, n * n + 1, dtype=dtype).reshape(n, n).sin()


def check_distances(distances: Distances) -> None:
    """`distances(points)` is `(n, n)`; its first and second derivative are right, and 0 where points coincide."""
    for dtype in (torch.float64, torch.float32):
        for words, rows in CASES:
            _judge(distances, torch.tensor(rows, dtype=dtype), words)
    draw = drawn()
    points = draw.normal(draw.whole(3, 5), draw.whole(6, 8))
    points[-1] = points[0]
    _judge(distances, points, f"drawn points, the last one equal to the first ({draw})")


def _judge(distances: Distances, points: Tensor, words: str) -> None:
    where = f"for {words}, {points.dtype}".replace("torch.", "")
    points = points.requires_grad_()
    n = len(points)
    found = forms.tensor(distances(points), "distances", (n, n))
    want = reference(points)
    expect(
        near(found, want, atol=0),
        f"The distances are {shown(want.detach())}; yours are {shown(found.detach())}, {where}.",
        VALUES,
    )
    expect(found.requires_grad, f"The distances have no graph, {where}.", "Compute with points.")
    ours, theirs = (_derivatives(y, points) for y in (found, want))
    for nth, one, two in zip(("first", "second"), ours, theirs, strict=True):
        bad = "nan" if one.isnan().any() else "inf" if one.isinf().any() else ""
        expect(not bad, f"A {nth} derivative is {bad}, {where}.", INSIDE)
        scale = float(two.abs().max())
        expect(
            near(one, two, rtol=2e-4, atol=2e-5 * scale),
            f"A {nth} derivative is {shown(one)}, not {shown(two)}, {where}.",
            "A pair in one place adds 0 to every derivative, and every other pair what the root gives.",
        )


def _derivatives(found: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of weighted squares and distances, and the gradient of a weighted sum of that gradient."""
    w = weights(len(points), found.dtype)
    (first,) = grad((w * found).sum() + found.square().sum(), points, create_graph=True)
    direction = torch.arange(1.0, points.numel() + 1, dtype=points.dtype).cos()
    along = (first * direction.reshape(points.shape)).sum()
    if not along.requires_grad:
        raise Mistake(
            "The first derivative is right, and it has no graph.",
            "The operations in between must be differentiable twice.",
        )
    try:
        (second,) = grad(along, points)
    except NotImplementedError as error:
        raise Mistake(
            f"The first derivative is right; differentiating it raises: {error}",
            "Not every operation can be differentiated twice. Which simpler ones give the same?",
        ) from error
    return first.detach(), second


# ---- right answers, found in other ways ----


def _norm_of_safe_differences(points: Tensor) -> Tensor:
    """The norm never sees a vector of zeros."""
    difference = points[:, None] - points
    same = (difference == 0).all(-1)
    safe = torch.where(same[..., None], torch.ones_like(difference), difference)
    return torch.linalg.vector_norm(safe, dim=-1) * ~same


def _only_pairs_that_differ(points: Tensor) -> Tensor:
    """Roots are taken of the pairs that differ, and put into a table of zeros."""
    squares = (points[:, None] - points).square().sum(-1)
    at = (squares.detach() > 0).nonzero(as_tuple=True)
    return torch.zeros_like(squares).index_put(at, squares[at].sqrt())


# ---- wrong answers ----


def _squares(points: Tensor) -> Tensor:
    return (points[:, None] - points).square().sum(-1)


def _diagonal_alone(points: Tensor) -> Tensor:
    """Protects the diagonal, and no two points in the same place."""
    squares, eye = _squares(points), torch.eye(len(points), dtype=torch.bool)
    return squares.masked_fill(eye, 1.0).sqrt().masked_fill(eye, 0.0)


def _outer(points: Tensor) -> Tensor:
    squares = _squares(points)
    return torch.where(squares > 0, squares.sqrt(), torch.zeros_like(squares))


def _inner(points: Tensor) -> Tensor:
    squares = _squares(points)
    return torch.where(squares > 0, squares, torch.ones_like(squares)).sqrt()


def _taxi(points: Tensor) -> Tensor:
    return (points[:, None] - points).abs().sum(-1)


def _slope_detached(points: Tensor) -> Tensor:
    """The value of the root, with a slope that is a constant."""
    squares, root = _squares(points), reference(points).detach()
    slope = torch.where(root > 0, 0.5 / root, torch.zeros_like(root))
    return root + slope * (squares - squares.detach())


def oracle(distances: Distances) -> Any:
    """Distances and both derivatives, for points of many kinds."""

    def told(points: Tensor) -> Any:
        found = distances(points)
        if not isinstance(found, Tensor) or not found.requires_grad:
            return [found, False]
        return [found, True, *_derivatives(found, points)]

    draw = Drawn(4)
    wide = [torch.tensor(rows, dtype=torch.float64) for _, rows in CASES]
    wide += [draw.normal(n, d) for n, d in ((2, 1), (3, 2), (7, 3), (1, 1))]
    wide += [draw.normal(4, 3).T, torch.ones(4, 2).double(), draw.normal(3, 2).float()]
    wide += [draw.normal(3, 2) * scale for scale in (1e-5, 1e4)]
    return [tried(told, points.requires_grad_()) for points in wide]


EXERCISE = Exercise(
    "distances",
    "Right values, and two derivatives that never meet a division by zero.",
    check_distances,
    (
        Wrong(
            "the norm",
            lambda p: (p[:, None] - p).norm(dim=-1),
            "A second derivative is nan",
        ),
        Wrong(
            "the root",
            lambda p: _squares(p).sqrt(),
            "A first derivative is nan, for two points on a line",
        ),
        Wrong("where outside", _outer, "A first derivative is nan, for two points on a line"),
        Wrong("where inside", _inner, "yours are [[1, 2], [2, 1]]"),
        Wrong(
            "a small number inside",
            lambda p: (_squares(p) + 1e-12).sqrt(),
            "yours are [[1e-06, 2], [2, 1e-06]]",
        ),
        Wrong(
            "clamped",
            lambda p: _squares(p).clamp(min=1e-12).sqrt(),
            "yours are [[1e-06, 2], [2, 1e-06]]",
        ),
        Wrong(
            "the diagonal alone",
            _diagonal_alone,
            "A first derivative is nan, for two points in the same place",
        ),
        Wrong("squares", _squares, "yours are [[0, 4], [4, 0]]"),
        Wrong("along the axes", _taxi, "are [[0, 5, 2.236], [5, 0, 4.472], [2.236, 4.472, 0]]"),
        Wrong("detached", lambda p: reference(p).detach(), "have no graph"),
        Wrong("a constant slope", _slope_detached, "A second derivative is [["),
        Wrong("cdist", lambda p: torch.cdist(p, p), "differentiating it raises"),
        Wrong("pairs once", lambda p: torch.pdist(p), "the shape"),
    ),
    right=(
        Right("safe differences", _norm_of_safe_differences),
        Right("pairs that differ", _only_pairs_that_differ),
    ),
    oracle=oracle,
)
