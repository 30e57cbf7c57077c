"""Exercise `recompute`: a checkpoint of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    drawn,
    expect,
    forms,
    near,
    plain,
    shown,
    untouched,
)
from ..graphs import passed
from ..live import Live
from . import recompute_answers as answers

__all__ = ["EXERCISE"]

Checkpoint = type[autograd.Function]


class Case:
    """A function of one tensor that counts its calls, and an input."""

    def __init__(
        self, code: str, function: Callable[[Tensor], Tensor], x: Tensor, source: str = ""
    ) -> None:
        self.code, self._function, self.source = code, function, source
        self.x, self.calls = x.requires_grad_(), 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self._function(x)

    def weights(self, y: Tensor) -> Tensor:
        """A gradient of the result whose elements differ."""
        return torch.arange(y.numel(), dtype=y.dtype).cos().reshape(y.shape)


def _cases(draw: Drawn, dtype: torch.dtype, source: str = "") -> list[Case]:
    w = draw.normal(2, 4, dtype=dtype)
    return [
        Case("x * x", lambda x: x * x, draw.normal(1, dtype=dtype), source),
        Case(
            "(x.exp().sin() * x).tanh()",
            lambda x: (x.exp().sin() * x).tanh(),
            draw.normal(3, dtype=dtype),
            source,
        ),
        Case(
            "(x.exp() @ w).sin()",
            lambda x: (x.exp() @ w).sin(),
            draw.normal(3, 2, dtype=dtype),
            source,
        ),
        Case("x.softmax(0)", lambda x: x.softmax(0), draw.normal(3, dtype=dtype), source),
        Case(
            "(x * x).exp().sum()",
            lambda x: (x * x).exp().sum(),
            draw.normal(2, 2, dtype=dtype),
            source,
        ),
    ]


def check_recompute(recompute: Checkpoint) -> None:
    """`Recompute.apply(function, x)` keeps x alone between the passes."""
    is_function = isinstance(recompute, type) and issubclass(recompute, autograd.Function)
    expect(
        is_function,
        "The answer is the class Recompute, a torch.autograd.Function.",
        "Hand over the class itself; its base class stands in its first line.",
    )
    for dtype in (torch.float32, torch.float64):
        for case in _cases(Drawn(1), dtype):
            _judge(recompute, case)
    _judge_two(recompute)
    draw = drawn()
    for case in _cases(draw, torch.float64, f" ({draw})"):
        _judge(recompute, case)


def _judge(recompute: Checkpoint, case: Case) -> None:
    x = case.x
    plain_y = case(x)
    g = case.weights(plain_y)
    [want] = autograd.grad(plain_y, x, g)
    case.calls, before = 0, x.detach().clone()
    x.grad = torch.full_like(x, 5.0)
    del plain_y
    with Live() as live:
        y = recompute.apply(case, x)
    y = forms.tensor(y, "Recompute.apply")
    expect(
        near(y, case(x)),
        f"For {case.code} the value is {shown(y)}, not that of function(x){case.source}.",
        "forward returns what function returns.",
    )
    case.calls -= 1
    expect(
        y.requires_grad,
        f"For {case.code} the result has no graph.",
        "Inside forward grad mode is off already.",
    )
    _judge_kept(live, case, y)
    with untouched(grad_output=g):
        [found] = passed(
            lambda: autograd.grad(y, x, g),
            case.code,
            "backward runs with grad mode off, and returns one gradient for each input of forward.",
        )
    expect(
        found.dtype == want.dtype and near(found, want, rtol=1e-4, atol=1e-6),
        f"For {case.code}, with the gradient {shown(g)} of the result, the gradient of x is {shown(found)}; "
        f"without a checkpoint it is {shown(want)}{case.source}.",
        "backward gets grad_output: the second graph's pass has to begin with it, since each element of the result may "
        "depend on every element of x.",
    )
    expect(
        case.calls == 2,
        f"For {case.code} the function ran {case.calls} times; a checkpoint runs it twice.",
        "Once for the value, and once when the gradient is asked for.",
    )
    same = x.grad is not None and near(x.grad, torch.full_like(x, 5.0)) and near(x, before)
    expect(
        same and x.requires_grad,
        f"For {case.code} x or its .grad is another one afterwards.",
        "backward() writes to the .grad of leaves; autograd.grad returns.",
    )


def _judge_kept(live: Live, case: Case, y: Tensor) -> None:
    kept = sum(piece.bytes for piece in live.held(y, case.x))
    expect(
        not kept,
        f"For {case.code} {kept} bytes are held between the passes, besides x and the result.",
        "Inside Function.forward grad mode is off, and nothing is saved but what you save.",
    )


def _judge_two(recompute: Checkpoint) -> None:
    x = torch.tensor([0.3, -0.8], dtype=torch.float64, requires_grad=True)
    first = Case("x.exp()", torch.exp, x)
    second = Case("x.sin()", torch.sin, x)
    y = recompute.apply(second, recompute.apply(first, x))
    [found] = passed(
        lambda: autograd.grad(y.sum(), x), "two checkpoints in a row", "ctx belongs to one call."
    )
    want = x.exp().cos() * x.exp()
    expect(
        near(found, want),
        f"Of two checkpoints in a row, exp and then sin, the gradient is {shown(found)}; "
        f"without them it is {shown(want)}.",
        "Each call needs its own function and its own x: ctx belongs to one call, the class to all.",
    )


def told(recompute: Checkpoint) -> Any:
    """The oracle: values, gradients, calls, what is kept, and x afterwards."""
    found: list[Any] = []
    cases = [case for dtype in (torch.float32, torch.float64) for case in _cases(Drawn(2), dtype)]
    for case in cases:
        x = case.x
        x.grad = torch.ones_like(x)
        try:
            with Live() as live:
                y = recompute.apply(case, x)
            held = sum(piece.bytes for piece in live.held(y, x))
            [grad] = autograd.grad(y, x, case.weights(y))
            found.append(
                [
                    plain(y),
                    plain(grad, dtypes=True),
                    case.calls,
                    held,
                    plain(x, asks=True),
                    plain(x.grad),
                ]
            )
        except Exception as error:
            found.append(type(error).__name__)
    try:
        _judge_two(recompute)
    except Exception as error:
        found.append(str(error))
    return found


EXERCISE = Exercise(
    "recompute",
    "x alone, and the way there a second time.",
    check_recompute,
    (
        Wrong("a plain function", lambda f, x: f(x), "The answer is the class"),
        Wrong("its apply", answers.Recompute.apply, "The answer is the class"),
        Wrong("the graph kept", answers.GraphKept, "the function ran 1 times"),
        Wrong("the result kept", answers.ResultKept, "x * x 4 bytes are held between the passes"),
        Wrong("grad mode off", answers.Unrecorded, "does not require grad"),
        Wrong(
            "the gradient of the sum",
            answers.OfTheSum,
            "(x.exp().sin() * x).tanh(), with the gradient",
        ),
        Wrong(
            "the gradient of the sum, times grad_output", answers.TimesTheSum, "(x.exp() @ w).sin()"
        ),
        Wrong(
            "grad_output alone",
            answers.GradOutput,
            "x * x, with the gradient [1] of the result, the gradient of x is [1]",
        ),
        Wrong("the function on the class", answers.OnTheClass, "two checkpoints in a row"),
        Wrong("backward to the caller's x", answers.Written, "the gradient of x is [2.945]"),
        Wrong("one gradient", answers.OneGradient, "incorrect number of gradients"),
        Wrong(
            "the other way round",
            answers.OtherWayRound,
            "a gradient different than None at position 1",
        ),
        Wrong("three times", answers.Thrice, "the function ran 3 times"),
        Wrong("return forgotten", answers.Forgotten, "Is a `return` missing"),
    ),
    right=(
        Right("backward on the small graph", answers.ByBackward),
        Right("attributes, and one number", answers.ByAttributes),
        Right("torch.func.vjp", answers.ByVjp),
    ),
    oracle=told,
    allows={"leaves gradients off": "autograd sets grad mode back after each method of a Function"},
)
