"""Lesson 20: what it says about steps, kinks, complex steps and float32, over many points instead of one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from definebyrun_course.pieces.checker import check_gradients, complex_step
from definebyrun_course.pieces.slopes import judge, rungs
from tools import ROOT

EPS = 2.2e-16


def relu(t: float) -> float:
    return max(t, 0.0)


def claimed(claim: float, f: Callable[[float], float]) -> str:
    return judge(claim, f, 0.0123, EPS, 1e-5).status


def test_a_kink_excuses_a_claim_between_its_two_slopes_and_no_other() -> None:
    """At 0 the slopes of `relu` are 0 and 1, those of `abs` -1 and 1, and those of the bent line 2 and 3."""
    bent = lambda t: 2 * t if t < 0 else 3 * t  # noqa: E731
    for f, low, high in ((relu, 0.0, 1.0), (abs, -1.0, 1.0), (bent, 2.0, 3.0)):
        for share in (0.0, 0.01, 0.5, 0.99, 1.0):
            assert claimed(low + share * (high - low), f) == "kink", (f, share)
        for beyond in (0.02, 0.1, 0.5, 5.0):
            assert claimed(low - beyond * (high - low), f) == "wrong", (f, beyond)
            assert claimed(high + beyond * (high - low), f) == "wrong", (f, beyond)


def test_an_operation_that_is_wrong_at_the_kink_only_is_convicted_there() -> None:
    """The working example: slopes 0 and 1, and a backward that says -0.5."""

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, g):  # type: ignore[no-untyped-def]
            (x,) = ctx.saved_tensors
            return g * torch.where(x > 0, 1.0, torch.where(x < 0, 0.0, -0.5)).to(g)

    report = check_gradients(Half.apply, torch.zeros(3, dtype=torch.float64, requires_grad=True))
    assert report.status == "wrong"
    assert not report
    assert "at this point only" in report.findings[0].reason


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t * math.sin(math.log(abs(t))),
        lambda t: math.copysign(abs(t) ** (1 / 3), t),
    ],
)
def test_a_bend_of_zero_is_no_derivative(f: Callable[[float], float]) -> None:
    assert all(rung.bend == 0 for rung in rungs(f, 0.0123))
    assert claimed(0.0, f) == "undecided"
    assert claimed(1.0, f) == "undecided"


def test_a_complex_step_may_lie_in_the_first_digit_that_was_not_confirmed() -> None:
    one = torch.tensor(1.0, dtype=torch.float64)
    for share in (1e-3, 1e-5, 1e-7, 1e-9):
        f = lambda x, s=share: x**2 + s * x.abs()  # noqa: E731
        said, right = complex_step(f, one, one).item(), 2 + share
        h = 6e-6
        central = ((f(one + h) - f(one - h)) / (2 * h)).item()
        assert abs(said / right - 1) == pytest.approx(share / 2, rel=1e-2)
        assert abs(said / central - 1) == pytest.approx(share / 2, rel=0.1)


@pytest.mark.parametrize(
    ("step", "least", "most", "share"),
    [
        (5e-3, 1e-6, 2e-5, (1.0, 1.0)),
        (1e-4, 5e-5, 1e-3, (1.0, 1.0)),
        (1e-6, 0.01, 0.08, (0.97, 1.0)),
        (1e-7, 0.1, 0.4, (0.1, 0.6)),
        (1e-8, 1.0, 1.0, (0.0, 0.0)),
    ],
)
def test_what_a_step_measures_in_float32(
    step: float, least: float, most: float, share: tuple[float, float]
) -> None:
    """The median relative error of the slope of `exp` at 1,000 places, and the share of them within 10 %."""
    points = torch.linspace(0.5, 2, 1000)
    slopes = ((torch.exp(points + step) - torch.exp(points - step)) / (2 * step)).double()
    errors = (slopes / points.double().exp() - 1).abs()
    assert least <= errors.median().item() <= most
    assert share[0] <= (errors < 0.1).double().mean().item() <= share[1]


def test_bottoms_lie_where_the_formula_puts_them_within_a_factor_of_ten() -> None:
    """Median over 500 places of `exp`, as in the plot of the V."""
    for dtype in (torch.float64, torch.float32):
        eps = torch.finfo(dtype).eps
        points = torch.linspace(0.5, 2, 500, dtype=dtype)
        exact = points.double().exp()
        for power, error, sides in ((1 / 2, eps ** (1 / 2), 1), (1 / 3, eps ** (2 / 3), 2)):
            found = []
            for k in range(4 * 16 + 1):
                h = 10 ** (-k / 4)
                back = points - h if sides == 2 else points
                slopes = ((points + h).exp() - back.exp()) / (sides * h)
                found.append(((slopes.double() / exact - 1).abs().median().item(), h))
            least, at = min(found)
            assert error / 10 < least < error * 10, (dtype, sides)
            assert eps**power / 10 < at < eps**power * 10, (dtype, sides)


@pytest.mark.parametrize(
    "sentence",
    [
        "says nothing about the gradient",
        "Anything further off is wrong at a kink too",
        "believe all sixteen",
        "so it has a derivative",
        "all that it measures is rounding",
        "published checks",
        "every operation of PyTorch is tested",
    ],
)
def test_a_sentence_that_was_refuted_is_found_in_no_chapter(sentence: str) -> None:
    for chapter in (ROOT / "chapters").glob("*.md"):
        words = " ".join(chapter.read_text("utf8").split())
        assert sentence not in words, chapter.name
