"""Exercise 09.2: a Function that can be differentiated twice and saves one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function, grad
from torch.autograd.function import once_differentiable

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
        *([t([25.0])] if dtype == torch.float64 else []),  # a sigmoid that is 1 but for float64's last digits
        t([FAR[dtype]]),
        t([-FAR[dtype]]),
    ]


def check_silu(Silu: Any) -> None:
    """`Silu` is a Function: value, first and second derivative are those of SiLU, and one tensor is saved."""
    given = getattr(Silu, "__wrapped__", Silu)
    expect(
        getattr(given, "__name__", "") != "apply",
        "That is the method apply; the class itself is asked for.",
        'dbr.check("09.2", Silu), without .apply.',
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


# ---- right answers, found in other ways ----


def _by_halves(x: Tensor) -> Tensor:
    """The sigmoid, with exponentials of negative numbers alone."""
    z = torch.where(x > 0, -x, x).exp()
    return torch.where(x > 0, 1.0, z) / (1 + z)


class WithSetup(Function):
    """Saves in a method of its own, and has sigmoid and derivative in another form."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * _by_halves(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = _by_halves(x)
        return s * (1 + x * (1 - s)) * grad_output


class ByAutograd(Function):
    """Asks autograd for the derivative in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return nn.functional.silu(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            y = nn.functional.silu(x)
        return grad(y, x, grad_output, create_graph=True)[0]


# ---- wrong answers ----


def _function(
    save: Callable[..., Any], slope: Callable[..., Any], value: Any = None, **more: Any
) -> type[Function]:
    """A Function: `save(ctx, x, s)` in forward, `slope(ctx, g)` in backward."""

    class Silu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            s = torch.sigmoid(x)
            save(ctx, x, s)
            return x * s if value is None else value(x, s)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return slope(ctx, g)

    if more.get("once"):
        Silu.backward = staticmethod(once_differentiable(Silu.backward))  # type: ignore[method-assign]
    return Silu


def _x(ctx: Any, x: Tensor, s: Tensor) -> None:
    ctx.save_for_backward(x)


def _formula(x: Tensor, s: Tensor) -> Tensor:
    return s + x * s * (1 - s)


def _slope(s: Tensor) -> Tensor:
    return s * (1 - s)


def _true(ctx: Any, g: Tensor) -> Tensor:
    x = ctx.saved_tensors[0]
    return g * _formula(x, torch.sigmoid(x))


def _without_recording(ctx: Any, g: Tensor) -> Tensor:
    with torch.no_grad():
        return _true(ctx, g)


def _logit(ctx: Any, g: Tensor) -> Tensor:
    """The sigmoid is saved, and x is computed from it."""
    s = ctx.saved_tensors[0]
    return g * _formula((s / (1 - s)).log(), s)


def _quotient(x: Tensor) -> Tensor:
    return x.exp() / (1 + x.exp())


def _small_half(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def _by(sigmoid: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """A backward with another sigmoid."""
    return lambda ctx, g: g * _formula(ctx.saved_tensors[0], sigmoid(ctx.saved_tensors[0]))


def _single(ctx: Any, g: Tensor) -> Tensor:
    x = ctx.saved_tensors[0].float()
    return (g.float() * _formula(x, torch.sigmoid(x))).to(g.dtype)


def _clamped(ctx: Any, g: Tensor) -> Tensor:
    x = ctx.saved_tensors[0].clamp(-20, 20)
    return g * _formula(x, torch.sigmoid(x))


WRONG = {
    "a quotient of exponentials": (
        _function(_x, _by(_quotient), lambda x, s: x * _quotient(x)), "Silu.apply(x) is [nan], at"),
    "that quotient in backward": (_function(_x, _by(_quotient)), "backward gives [nan], not"),
    "an exponential of minus x": (_function(_x, _by(_small_half)), "the second is [nan], not"),
    "in float32": (
        _function(_x, _single), "backward gives is right in the digits of float32 alone: [1.109"),
    "forward in float32": (
        _function(_x, _true, lambda x, s: (x.float() * s.float()).to(x.dtype)), "Silu.apply(x) is right in the digits"),
    "x clamped at 20": (_function(_x, _clamped), "and x = [25]"),
    "saves the slope": (
        _function(lambda ctx, x, s: ctx.save_for_backward(_formula(x, s)), lambda ctx, g: g * ctx.saved_tensors[0]),
        "no way leads from it to x"),
    "saves the sigmoid": (
        _function(lambda ctx, x, s: ctx.save_for_backward(s), _logit), "no way leads from it to x"),
    "saves x and the sigmoid": (
        _function(lambda ctx, x, s: ctx.save_for_backward(x, s), lambda ctx, g: g * _formula(*ctx.saved_tensors)),
        "2 tensors are saved"),
    "keeps x on ctx": (
        _function(lambda ctx, x, s: setattr(ctx, "x", x), lambda ctx, g: g * _formula(ctx.x, torch.sigmoid(ctx.x))),
        "kept as ctx.x"),
    "x detached": (
        _function(_x, lambda ctx, g: g * _formula(ctx.saved_tensors[0].detach(), torch.sigmoid(ctx.saved_tensors[0]))),
        "the second is [0."),
    "nothing recorded": (_function(_x, _without_recording), "it has no graph"),
    "grad_output detached": (_function(_x, lambda ctx, g: _true(ctx, g.detach())), "result by grad_output"),
    "once differentiable": (_function(_x, _true, once=True), "once_differentiable"),
    "grad_output forgotten": (_function(_x, lambda ctx, g: _true(ctx, torch.ones_like(g))), "a grad_output of ones"),
    "product rule forgotten": (
        _function(_x, lambda ctx, g: g * torch.sigmoid(ctx.saved_tensors[0])), "backward gives [0.9337]"),
    "the sigmoid's slope": (
        _function(_x, lambda ctx, g: g * _slope(torch.sigmoid(ctx.saved_tensors[0]))), "backward gives [0.3525]"),
    "no product in forward": (_function(_x, _true, lambda x, s: s), "Silu.apply(x) is [0.6225]"),
    "written into x": (_function(_x, _true, lambda x, s: x.data.mul_(s).clone()), "leave alone: x"),
    "one number back": (_function(_x, lambda ctx, g: _true(ctx, g).sum()), "refuses what backward returns"),
    "apply instead of the class": (_function(_x, _true).apply, "the method apply"),
    "a plain function": (nn.functional.silu, "not a torch.autograd.Function"),
}  # fmt: skip


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
    "09.2",
    "One saved tensor, and everything in backward is recorded: two derivatives.",
    check_silu,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("with setup_context", WithSetup), Right("by autograd in backward", ByAutograd)),
    oracle=oracle,
)
