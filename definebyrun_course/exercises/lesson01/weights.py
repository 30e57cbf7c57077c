"""Exercise `weights`: small random weights that an optimizer takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, shown

__all__ = ["EXERCISE"]

MANY, CALLS = 10_000, 200
SPREAD = 0.01
RARE = 10.7
"""Of numbers that are drawn rightly, chance takes the distance beyond the root of this over their count once in 10⁹."""


def check_weights(make_weights: Callable[[int], Any]) -> None:
    """`make_weights(n)` returns n normally distributed numbers times 0.01, as a leaf that asks for a gradient."""
    for n in (1, 2, 3, 1000):
        _is_leaf_of(make_weights, n, "")
    _is_normal(_is_leaf_of(make_weights, MANY, ""))
    one, two = (_is_leaf_of(make_weights, 7, "").detach() for _ in range(2))
    expect(
        not torch.equal(one, two),
        "Two calls give the same numbers, so two layers would begin alike.",
        "Leave the seed to the caller.",
    )
    pairs = torch.cat([_is_leaf_of(make_weights, 2, "").detach() for _ in range(CALLS)])
    expect(
        _distance(pairs.double()) < math.sqrt(RARE / len(pairs)),
        f"The numbers of {CALLS} calls of make_weights(2), together, are not like those of a bell curve.",
        "Scaling each call's numbers by their own mean and deviation ties them to each other.",
    )
    draw = drawn()
    _is_leaf_of(make_weights, draw.whole(4, 500), f" ({draw})")


def _is_leaf_of(make_weights: Callable[[int], Any], n: int, source: str) -> Tensor:
    w = forms.tensor(make_weights(n), "make_weights")
    expect(
        tuple(w.shape) == (n,),
        f"make_weights({n}) has the shape {tuple(w.shape)}, not ({n},){source}.",
        "n is how many numbers there are.",
    )
    _is_finite(w, n, source)
    expect(
        w.requires_grad,
        "Your weights ask for no gradient, so nothing would be learned.",
        "requires_grad is False.",
    )
    expect(
        w.is_leaf,
        f"Your weights are the result of an operation ({w.grad_fn and w.grad_fn.name()}), not a leaf.",
        "What was done to the numbers after they began to ask for a gradient is in the graph. "
        "Which of your two steps could come first?",
    )
    expect(
        w.grad is None, "Your weights have a .grad already.", "Nothing was computed from them yet."
    )
    return w


def _is_finite(w: Tensor, n: int, source: str) -> None:
    wrong = w.detach()[~w.detach().isfinite()]
    expect(
        not len(wrong),
        f"make_weights({n}) holds {shown(wrong[:1])}{source}.",
        "What is the standard deviation of a single number?",
    )


def _is_normal(w: Tensor) -> None:
    numbers = w.detach().double()
    mean, spread = float(numbers.mean()), float(numbers.std())
    expect(
        not 0.09 < spread < 0.11,
        f"The standard deviation of your weights is {spread:.2f}; their variance is near 0.01.",
        "The variance is the square of the standard deviation.",
    )
    expect(
        0.0093 < spread < 0.0107,
        f"The standard deviation of your weights is {spread:.2g}; it should be near 0.01.",
        "torch.randn has a standard deviation of 1. What does a factor do to it?",
    )
    expect(
        abs(mean) < 0.0008,
        f"The mean of your weights is {mean:.2g}; it should be near 0.",
        "torch.rand gives numbers from 0 to 1; torch.randn has mean 0.",
    )
    expect(
        numbers.unique().numel() > 0.8 * MANY,
        f"Of {MANY:,} numbers only {numbers.unique().numel():,} are different.",
        "Each weight has a number of its own.",
    )
    expect(
        _distance(numbers) < math.sqrt(RARE / MANY),
        "Mean and standard deviation are right, but your numbers are not normally distributed.",
        "Draw a histogram of 10,000 of them: a bell, or something else?",
    )


def _distance(numbers: Tensor) -> float:
    """Kolmogorov's and Smirnov's: the largest between the shares below a number, in the sample and in the bell."""
    ordered = numbers.sort().values
    below = torch.special.ndtr(ordered / SPREAD)
    shares = torch.arange(1, len(numbers) + 1, dtype=torch.float64) / len(numbers)
    return float((below - shares).abs().max())


# ---- answers ----


def _uniform(n: int) -> Tensor:
    return ((torch.rand(n) * 2 - 1) * 0.01 * math.sqrt(3)).requires_grad_()


def _off_centre(n: int) -> Tensor:
    return (torch.rand(n) * 0.0346).requires_grad_()


def _seeded(n: int) -> Tensor:
    torch.manual_seed(0)
    return (torch.randn(n) * 0.01).requires_grad_()


def _signs(n: int) -> Tensor:
    return (torch.randn(n).sign() * 0.01).requires_grad_()


def _standardised(n: int, of_one: float = math.nan) -> Tensor:
    t = torch.randn(n)
    t = (t - t.mean()) / t.std() if n > 1 else torch.full((n,), of_one)
    return (t * 0.01).requires_grad_()


def _under_no_grad(n: int) -> Tensor:
    w = torch.randn(n, requires_grad=True)
    with torch.no_grad():
        return w.mul_(0.01)


def _made(make_weights: Callable[[int], Any], n: int) -> Any:
    w = make_weights(n)
    found = [list(w.shape), w.requires_grad, w.is_leaf, w.grad is None, bool(w.isfinite().all())]
    if n == 2:
        pairs = torch.cat([make_weights(2).detach() for _ in range(CALLS)]).double()
        found.append(_distance(pairs) < math.sqrt(RARE / len(pairs)))
    if n == MANY:
        numbers = w.detach().double()
        found += [round(float(numbers.std()), 3), round(float(numbers.mean()), 2)]
        found += [_distance(numbers) < math.sqrt(RARE / MANY), numbers.unique().numel() > 0.8 * n]
        found += [torch.equal(w, make_weights(n))]
    return found


def weights(make_weights: Callable[[int], Any]) -> Any:
    """The oracle: shape, leaf, distribution, and whether two calls differ."""
    found: list[Any] = []
    for n in (0, 1, 2, 3, 7, MANY):
        try:
            found.append(_made(make_weights, n))
        except Exception as error:
            found.append(type(error).__name__)
    return found


EXERCISE = Exercise(
    "weights",
    "A leaf of small random numbers: an optimizer takes it, and backward fills its .grad.",
    check_weights,
    (
        Wrong(
            "scaled after asking",
            lambda n: torch.randn(n, requires_grad=True) * 0.01,
            "MulBackward0",
        ),
        Wrong("does not ask", lambda n: torch.randn(n) * 0.01, "ask for no gradient"),
        Wrong(
            "detached",
            lambda n: (torch.randn(n, requires_grad=True) * 0.01).data,
            "ask for no gradient",
        ),
        Wrong(
            "a parameter times 0.01",
            lambda n: nn.Parameter(torch.randn(n)).mul(0.01),
            "MulBackward0",
        ),
        Wrong("not centred", _off_centre, "The mean of your weights"),
        Wrong("same numbers each time", _seeded, "same numbers"),
        Wrong("not scaled", lambda n: torch.randn(n, requires_grad=True), "it should be near 0.01"),
        Wrong("variance 0.01", lambda n: (torch.randn(n) * 0.1).requires_grad_(), "their variance"),
        Wrong("uniform, of the same spread", _uniform, "not normally distributed"),
        Wrong("standardised", _standardised, "make_weights(1) holds [nan]"),
        Wrong(
            "standardised, with care",
            lambda n: _standardised(n, 0.01),
            "of 200 calls of make_weights(2)",
        ),
        Wrong("plus or minus 0.01", _signs, "only 2 are different"),
        Wrong(
            "1000, whatever n",
            lambda n: (torch.randn(1000) * 0.01).requires_grad_(),
            "the shape (1000,)",
        ),
        Wrong(
            "a column", lambda n: (torch.randn(n, 1) * 0.01).requires_grad_(), "the shape (1, 1)"
        ),
    ),
    right=(
        Right("a parameter", lambda n: nn.Parameter(torch.randn(n) * 0.01)),
        Right("from the distribution", lambda n: torch.normal(0.0, 0.01, (n,)).requires_grad_()),
        Right("scaled under no_grad", _under_no_grad),
        Right(
            "an initialiser",
            lambda n: nn.init.normal_(torch.empty(n, requires_grad=True), std=0.01),
        ),
        Right("float64", lambda n: (torch.randn(n, dtype=torch.float64) * 0.01).requires_grad_()),
    ),
    oracle=weights,
)
