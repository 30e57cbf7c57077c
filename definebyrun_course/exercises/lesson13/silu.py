"""Exercise `silu`: a Function that can be differentiated twice and saves one tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function, grad

from ...grading import (
    Exercise,
    Mistake,
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
    untouched,
)
from .silu_answers import WRONG, ByAutograd, WithSetup

__all__ = ["EXERCISE"]

FAR = {torch.float32: 200.0, torch.float64: 800.0}
"""The exponential of so large a number is infinite in this dtype, and that of its negative 0."""
OVERFLOW = "The exponential of a large number is infinite. Which formula of the sigmoid needs none of those?"
AGAIN = "In backward, everything has to be computed from a saved input, and from grad_output, by recorded operations."


def inputs(dtype: torch.dtype) -> list[Tensor]:
    """From the smallest up; then no contiguous one, and numbers whose exponential overflows."""
    t = lambda rows: torch.tensor(rows, dtype=dtype)  # noqa: E731
    return [
        t([0.5]),
        t(-1.25),
        t([]),
        t([-3.0, 0.0, 2.0]),
        t([[-2.0, -1.0, 0.25], [0.75, 1.5, 3.0]]).T,
        t([-4.0, 4.0, 1e-20]),
        *(
            [t([25.0])] if dtype == torch.float64 else []
        ),  # a sigmoid that is 1 but for float64's last digits
        t([FAR[dtype]]),
        t([-FAR[dtype]]),
    ]


def check_silu(Silu: Any) -> None:
    """`Silu` is a Function: value, first and second derivative are those of SiLU, and one tensor is saved."""
    given = getattr(Silu, "__wrapped__", Silu)
    expect(
        getattr(given, "__name__", "") != "apply",
        "That is the method apply; the class itself is asked for.",
        'dbr.check("silu", Silu), without .apply.',
    )
    expect(
        isinstance(given, type) and issubclass(given, Function),
        f"Silu is not a torch.autograd.Function; it is {forms.said(given)}.",
        "class Silu(Function): …, with the static methods forward and backward.",
    )
    for dtype in (torch.float64, torch.float32):
        for x in inputs(dtype):
            _ask(Silu, x)
        _ask_twice(Silu, torch.tensor([-1.0, 0.5], dtype=dtype))
    draw = drawn()
    for shape in ((1,), (4,), (2, 3)):
        _ask(Silu, draw.normal(*shape) * 2, f" ({draw})")


def _ask(silu: Any, x: Tensor, seed: str = "") -> None:
    x = x.clone().requires_grad_()
    said = f"x = {shown(x)}{seed}"
    with untouched(x=x):
        y = forms.tensor(_applied(silu, x), "Silu.apply", tuple(x.shape))
    want = nn.functional.silu(x)
    texts = apart(y, want)
    expect(y.isfinite().all(), f"Silu.apply(x) is {texts[0]}, at {said}.", OVERFLOW)
    expect(
        near(y, want),
        f"Silu.apply(x) is {texts[0]}, not {texts[1]}, at {said}.",
        "x times the sigmoid of x.",
    )
    expect_digits("Silu.apply(x)", y, want, x.dtype, f"at {said}")
    expect(
        y.grad_fn is not None,
        f"The result has no grad_fn, at {said}.",
        "Compute it in forward, from x.",
    )
    _saves_one(y.grad_fn)
    # what comes to backward is no row of ones, and depends on something, too
    weight = torch.linspace(1.5, 2.5, x.numel(), dtype=x.dtype).reshape(x.shape).requires_grad_()
    first, wanted = _gradient(y, x, weight), _gradient(want, x, weight)
    above = f"grad_output = {shown(weight)} and {said}"
    ones = _gradient(want, x, torch.ones_like(x))
    expect(
        near(first, wanted) or not near(first, ones),
        f"With {above}, backward gives what belongs to a grad_output of ones.",
        "What comes from above is a factor of each entry.",
    )
    texts = apart(first, wanted)
    expect(
        near(first, wanted),
        f"With {above}, backward gives {texts[0]}, not {texts[1]}.",
        "The product rule, for x and for the sigmoid; and the whole is multiplied by grad_output."
        if first.isfinite().all()
        else OVERFLOW,
    )
    expect_digits("What backward gives", first, wanted, x.dtype, f"with {above}")
    _second_is_right(first, wanted, x, weight, said)


def _second_is_right(first: Tensor, wanted: Tensor, x: Tensor, weight: Tensor, said: str) -> None:
    node = type(first.grad_fn).__name__
    expect(
        "Error" not in node,
        f"The first derivative is right; its grad_fn is {node}, which stops every second derivative.",
        "What does the decorator once_differentiable say about backward?",
    )
    expect(
        first.requires_grad,
        f"The first derivative is right, and it has no graph, at {said}: nothing in backward is recorded.",
        AGAIN,
    )
    found, right = (_second(g, [x, weight]) for g in (first, wanted))
    expect(
        found[0] is not None,
        f"The first derivative is right, and no way leads from it to x, at {said}.",
        AGAIN,
    )
    texts = apart(found[0], right[0])
    expect(
        near(found[0], right[0]),
        f"The first derivative is right, and the second is {texts[0]}, not {texts[1]}, at {said}.",
        AGAIN if found[0].isfinite().all() else OVERFLOW,
    )
    expect_digits("The second derivative", found[0], right[0], x.dtype, f"at {said}")
    expect(
        near(found[1], right[1]),
        f"Both derivatives by x are right; that of backward's result by grad_output is not there, at {said}.",
        "In a network, a derivative of a derivative goes through grad_output, too: keep it in the graph.",
    )


def _ask_twice(silu: Any, x: Tensor) -> None:
    """The second derivative of `Silu(Silu(x))`, as in a network of two layers."""
    x = x.clone().requires_grad_()
    one = _applied(silu, _applied(silu, x))
    two = nn.functional.silu(nn.functional.silu(x))
    found, right = (_second(_gradient(y, x, torch.ones_like(x)), [x])[0] for y in (one, two))
    texts = apart(found, right)
    expect(
        near(found, right),
        f"The second derivative of Silu(Silu(x)) is {texts[0]}, not {texts[1]}, at x = {shown(x)}.",
        AGAIN,
    )


def _applied(silu: Any, x: Tensor) -> Any:
    return silu.apply(x)


def _gradient(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    try:
        [found] = grad(y, x, weight, create_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "returned" not in str(error):
            raise
        raise Mistake(
            f"PyTorch refuses what backward returns: {error}.", "One gradient, of the shape of x."
        ) from error
    return torch.full_like(x, float("nan")) if found is None else found


def _second(first: Tensor, by: list[Tensor]) -> list[Tensor | None]:
    """The gradients of a gradient; None where no way leads."""
    return (
        list(grad(first.sum(), by, allow_unused=True)) if first.requires_grad else [None] * len(by)
    )


def _saves_one(node: Any) -> None:
    hidden = [name for name, kept in vars(node).items() if isinstance(kept, Tensor)]
    expect(
        not hidden,
        f"A tensor is kept as ctx.{next(iter(hidden), '')}, past save_for_backward.",
        "What save_for_backward has kept is part of the graph, is freed with it, and is checked for writes in place.",
    )
    count = len(node.saved_tensors)
    expect(
        count == 1,
        f"{count} tensors are saved with save_for_backward, not one.",
        "From which one can backward compute all that it needs?",
    )


def oracle(silu: Any) -> Any:
    """Value, derivatives and what is saved, for inputs of many kinds."""

    def told(x: Tensor) -> Any:
        x = x.clone().requires_grad_()
        y = silu.apply(x)
        _saves_one(y.grad_fn)
        weight = torch.full_like(x, 1.5, requires_grad=True)
        first = _gradient(y, x, weight)
        outer = _gradient(silu.apply(silu.apply(x)), x, weight)
        want = nn.functional.silu(x)
        digits = [
            has_digits(one, two, x.dtype)
            for one, two in ((y, want), (first, _gradient(want, x, weight)))
        ]
        seconds = [*_second(first, [x, weight]), *_second(outer, [x])]
        return [y, first, digits, [g if g is None else (g * 1e8).round() for g in seconds]]

    wide = [torch.linspace(-3, 3, n).double() for n in (1, 2, 3, 7)]
    wide += [torch.arange(12.0).reshape(3, 4)[:, ::2] / 3, torch.tensor([3.5, -3.5, 1e-30])]
    return [
        tried(told, x, dtypes=False)
        for dtype in (torch.float32, torch.float64)
        for x in [*inputs(dtype), *wide]
    ]


EXERCISE = Exercise(
    "silu",
    "One saved tensor, and everything in backward is recorded: two derivatives.",
    check_silu,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("with setup_context", WithSetup), Right("by autograd in backward", ByAutograd)),
    oracle=oracle,
    allows={
        "leaves gradients off": "autograd sets grad mode back after each method of a Function",
        "returns its argument": "what setup_context returns is asked nowhere",
    },
)
