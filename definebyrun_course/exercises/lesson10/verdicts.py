"""Exercise `verdicts`: a capture is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, shown, tried
from ..mistakes import then
from .captures import Function, Pair, Refusal, pairs

__all__ = ["EXERCISE"]

VerdictOf = Callable[[Function, Function, Tensor], Any]
NAMES = ("ok", "refused", "WRONG")


def check_verdict(verdict: VerdictOf) -> None:
    """`verdict(f, captured, x)` is "ok", "refused" or "WRONG": values, shapes and gradients count."""
    for numbers in ([1.5, -2.0], [0.5, 3.0, -1.0]):
        for case in pairs():
            _judge(verdict, case, torch.tensor(numbers), "")
    asking = torch.tensor([1.5, -2.0], requires_grad=True)
    asking.grad = torch.tensor([7.0, 7.0])
    for case in pairs():
        _judge(verdict, case, asking, "")
    draw = drawn()
    x = draw.uniform(draw.whole(2, 5), low=0.5, high=2.0, dtype=torch.get_default_dtype())
    for case in pairs():
        _judge(verdict, case, x, f" ({draw})")


def _judge(verdict: VerdictOf, case: Pair, x: Tensor, source: str) -> None:
    try:
        found = verdict(case.function, case.captured, x)
    except (RuntimeError, TypeError, Refusal) as error:
        expect(
            case.want != "refused" and not _has_no_gradient(error),
            f"For {case.what} your function stopped with {type(error).__name__}{source}.",
            case.hint,
        )
        raise
    expect(
        isinstance(found, str) and found in NAMES,
        f"The verdict is one of 'ok', 'refused', 'WRONG'; yours was {forms.said(found)}.",
        "A text, as in the table.",
    )
    expect(
        found == case.want,
        f"For {case.what}, at x = {shown(x)}, your verdict is {found!r}{source}.",
        case.hint,
    )


def _has_no_gradient(error: Exception) -> bool:
    return "does not require grad" in str(error)


# ---- answers ----


def judging(
    told: Callable[[Tensor], Any] = lambda y: y.tolist(),
    told_grad: Callable[[Tensor | None], Any] = lambda g: None if g is None else g.tolist(),
    copied: Callable[[Tensor], Tensor] = lambda x: x.detach().clone().requires_grad_(),
    catches: type[BaseException] = Exception,
    back: Callable[[Tensor], Any] = lambda y: y.sum().backward() if y.requires_grad else None,
) -> VerdictOf:
    """The solution with its usual mistakes as switches."""

    def verdict(function: Function, captured: Function, x: Tensor) -> str:
        def answer(f: Function) -> Any:
            copy = copied(x)
            y = f(copy)
            back(y)
            return told(y), told_grad(copy.grad)

        want = answer(function)
        try:
            return "ok" if answer(captured) == want else "WRONG"
        except catches:
            return "refused"

    return verdict


def _values_only(function: Function, captured: Function, x: Tensor) -> str:
    try:
        return "ok" if torch.equal(function(x.clone()), captured(x.clone())) else "WRONG"
    except Exception:
        return "refused"


def _one_leaf(function: Function, captured: Function, x: Tensor) -> str:
    """Both run on one copy; their gradients are asked for apart."""
    leaf = x.detach().clone().requires_grad_()
    y = function(leaf)
    try:
        z = captured(leaf)
    except Exception:
        return "refused"
    if y.shape != z.shape or not torch.equal(y, z) or y.requires_grad != z.requires_grad:
        return "WRONG"
    if not y.requires_grad:
        return "ok"
    one, two = (torch.autograd.grad(out.sum(), leaf)[0] for out in (y, z))
    return "ok" if torch.equal(one, two) else "WRONG"


def _one_copy(function: Function, captured: Function, x: Tensor) -> str:
    """Both run on one copy, and its gradients add up."""
    copy = x.detach().clone().requires_grad_()
    verdict = judging(copied=lambda _: copy)
    return verdict(function, captured, x)


def _with_autograd(function: Function, captured: Function, x: Tensor) -> str:
    """autograd.grad and torch.equal; shapes first."""

    def both(f: Function) -> tuple[Tensor, Tensor | None]:
        leaf = torch.tensor(x.tolist(), dtype=x.dtype, requires_grad=True)
        y = f(leaf)
        if y.grad_fn is None:
            return y, None
        return y.detach(), torch.autograd.grad(y.sum(), leaf, allow_unused=True)[0]

    y, grad = both(function)
    try:
        z, other = both(captured)
    except Exception:
        return "refused"
    if y.shape != z.shape or not torch.equal(y, z) or (grad is None) != (other is None):
        return "WRONG"
    return "ok" if grad is None or torch.equal(grad, other) else "WRONG"


def _near(function: Function, captured: Function, x: Tensor) -> str:
    """Numbers that are near each other are the same; text that is put together."""
    found: list[list[Tensor | None]] = []
    for f in (function, captured):
        leaf = x.detach().clone().requires_grad_(True)
        try:
            y = f(leaf)
            if y.requires_grad:
                torch.autograd.backward(y, torch.ones_like(y))
        except Exception as error:
            if f is function:
                raise error
            return "re" + "fused"
        found.append([y.detach(), leaf.grad])
    same = [
        (a is b is None)
        or (a is not None and b is not None and a.shape == b.shape and bool(torch.allclose(a, b)))
        for a, b in zip(*found, strict=True)
    ]
    return "ok" if all(same) else "WRONG"


def told(verdict: VerdictOf) -> Any:
    """The oracle: the verdicts for all pairs and many x, and x afterwards."""
    draw = Drawn(5)
    found: list[Any] = []
    for length in (2, 3, 7):
        for asks in (False, True):
            for case in pairs():
                x = draw.uniform(
                    length, low=0.5, high=2.0, dtype=torch.get_default_dtype()
                ).requires_grad_(asks)
                found.append(tried(lambda x, c=case: verdict(c.function, c.captured, x), x))
    return found


EXERCISE = Exercise(
    "verdicts",
    "Values, shapes, gradients, and an error is an answer.",
    check_verdict,
    (
        Wrong(
            "values only", _values_only, "holds the divisor, at x = [1.5, -2], your verdict is 'ok'"
        ),
        Wrong(
            "sums of values",
            judging(told=lambda y: y.sum().item()),
            "whose sums are equal, at x = [1.5, -2], your verdict is 'ok'",
        ),
        Wrong(
            "without shapes",
            judging(told=lambda y: y.flatten().tolist()),
            "the same numbers as a row, at x = [1.5, -2], your verdict is 'ok'",
        ),
        Wrong(
            "sums of gradients",
            judging(told_grad=lambda g: None if g is None else g.sum().item()),
            "whose gradients have the same sum, at",
        ),
        Wrong(
            "zeros for none",
            judging(told_grad=lambda g: [0.0, 0.0] if g is None else g.tolist()),
            "ones, and the same from x * 0, at",
        ),
        Wrong(
            "RuntimeError alone",
            judging(catches=RuntimeError),
            "that raises a TypeError your function stopped with TypeError",
        ),
        Wrong(
            "errors pass through",
            judging(catches=ZeroDivisionError),
            "that raises a RuntimeError your function stopped",
        ),
        Wrong(
            "always a gradient",
            judging(back=lambda y: y.sum().backward()),
            "(x * 2).detach(), at x = [1.5, -2], your verdict is 'refused'",
        ),
        Wrong("rounded", judging(told=lambda y: y.round().tolist()), "x * 2 + 0.01, at x"),
        Wrong(
            "no copy",
            judging(copied=lambda x: x.detach().requires_grad_()),
            "changed what it was given: x is not",
        ),
        Wrong(
            "x itself",
            judging(copied=lambda x: x.requires_grad_()),
            "changed what it was given: x, its requires_grad",
        ),
        Wrong(
            "one copy for both",
            _one_copy,
            "x * 2 and x + x, at x = [1.5, -2], your verdict is 'WRONG'",
        ),
        Wrong("one leaf for both", _one_leaf, "writes into its x, twice, at"),
        Wrong(
            "x overwritten",
            then(judging(), lambda f, c, x: x.data.zero_()),
            "changed what it was given: x is not",
        ),
        Wrong("True and False", lambda f, c, x: judging()(f, c, x) == "ok", "yours was True"),
        Wrong("small letters", lambda f, c, x: judging()(f, c, x).lower(), "yours was 'wrong'"),
    ),
    right=(
        Right("with autograd.grad", _with_autograd),
        Right("near is the same", _near),
    ),
    oracle=told,
)
