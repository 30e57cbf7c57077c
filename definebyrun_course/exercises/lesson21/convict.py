"""Exercise `convict`: which of three operations has a wrong backward, and an input that proves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...grading import Exercise, Mistake, Right, Wrong, expect, forms

__all__ = ["EXERCISE", "suspects"]


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
    names = ", ".join(suspects)
    expect(
        isinstance(name, str) or not isinstance(x, str),
        "The name comes first, then the matrix: yours come in the other order.",
        'dbr.check("convict", name, x)',
    )
    expect(
        isinstance(name, str),
        f"The first part is a name; yours is {forms.said(name)}.",
        f"They are {names}.",
    )
    expect(name in suspects, f"There is no suspect {name!r:.30}.", f"They are {names}.")
    expect(
        name == "centre",
        f"{name} is innocent: its gradient is right at every input.",
        "Change the shape of x, not only its numbers, and measure all three.",
    )
    matrix = _matrix(x)
    expect(
        bool(matrix.isfinite().all()),
        "The name is right. A nan or an inf in x proves nothing: what is measured there is nan as well.",
        "An input at which the operation itself is fine.",
    )
    g = torch.arange(1.0, matrix.numel() + 1, dtype=torch.float64).sin().reshape(matrix.shape)
    wrong, right = _centre_back(g, matrix), g - g.mean(1, keepdim=True)
    shape = tuple(matrix.shape)
    expect(
        matrix.numel() > 0 and not torch.allclose(wrong, right),
        f"The name is right. With x of shape {shape} its gradient is right too: that proves nothing.",
        "What does the gradient divide by, and what should it divide by?",
    )


def _matrix(x: Any) -> Tensor:
    """A matrix in any form, as float64."""
    what = "The second part"
    try:
        found = torch.as_tensor(x if isinstance(x, Tensor) else np.asarray(x)).detach().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise Mistake(
            f"{what} is a matrix; yours is {forms.said(x)}.", "torch.randn(rows, columns)"
        ) from error
    expect(
        found.ndim == 2,
        f"{what} is a matrix; yours has the shape {tuple(found.shape)}.",
        "torch.randn(rows, columns)",
    )
    return found


def _given(name: str, says: str, *answers: Any) -> Wrong:
    return Wrong(name, None, says, answers)


EXERCISE = Exercise(
    "convict",
    "Right for square matrices, and only there.",
    check_convict,
    (
        _given("the cube", "cube is innocent", "cube", torch.ones(2, 3)),
        _given("the logistic function", "logistic is innocent", "logistic", torch.ones(2, 3)),
        _given("a square", "With x of shape (3, 3)", "centre", torch.ones(3, 3)),
        _given("a single number", "With x of shape (1, 1)", "centre", torch.ones(1, 1)),
        _given("no rows", "With x of shape (0, 3)", "centre", torch.ones(0, 3)),
        _given("full of nan", "A nan or an inf in x", "centre", torch.full((2, 3), float("nan"))),
        _given("a vector", "yours has the shape (3,)", "centre", torch.ones(3)),
        _given("three axes", "yours has the shape (1, 2, 3)", "centre", torch.ones(1, 2, 3)),
        _given("no matrix", "is a matrix; yours is 'centre'", "centre", "centre"),
        _given("in the other order", "in the other order", torch.ones(2, 3), "centre"),
        _given("a function", "The first part is a name", suspects["centre"], torch.ones(2, 3)),
        _given("a spelling", "no suspect 'center'", "center", torch.ones(2, 3)),
    ),
    right=(
        Right("more rows than columns", answers=("centre", torch.ones(3, 2, requires_grad=True))),
        Right("in float32", answers=("centre", torch.zeros(1, 2, dtype=torch.float32))),
        Right("an array", answers=("centre", np.ones((2, 5)))),
        Right("a list of rows", answers=("centre", [[1, 2, 3], [4, 5, 6]])),
    ),
)  # fmt: skip
