"""Exercise `jacobian`: the Jacobian of a function, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import (
    Exercise,
    Right,
    Wrong,
    counted,
    drawn,
    expect,
    forms,
    near,
    shown,
    tried,
    untouched,
)
from ..mistakes import then

__all__ = ["EXERCISE"]

Function = Callable[[Tensor], Tensor]
ATOL = 1e-6


class Case:
    """A function from n numbers to m that counts its calls, and an x for it."""

    def __init__(self, code: str, function: Function, x: list[float] | Tensor) -> None:
        self.code, self.calls, self._function = code, 0, function
        self.x = torch.as_tensor(x, dtype=torch.get_default_dtype())
        self.want = autograd.functional.jacobian(function, self.x.detach()).detach()

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self._function(x)


def _weight() -> Tensor:
    weight = torch.tensor([[0.7, -0.3, 1.1], [0.4, 0.9, -1.3]], dtype=torch.get_default_dtype())
    weight.requires_grad_().grad = torch.full_like(weight, 3.0)
    return weight


def _cases(w: Tensor) -> list[Case]:
    return [
        Case("x * x", lambda x: x * x, [1.7]),
        Case("x.flip(0) * x[0]", lambda x: x.flip(0) * x[0], [1.7, -0.6]),
        Case("(w @ x).sin()", lambda x: (w @ x).sin(), [0.3, -1.2, 0.8]),
        Case("x @ w", lambda x: x @ w, [0.3, -1.2]),
        Case("x[:1].exp()", lambda x: x[:1].exp(), [0.3, -1.2, 0.8]),
        Case(
            "torch.stack([x[0] ** 2, w[0, 0]])",
            lambda x: torch.stack([x[0] ** 2, w[0, 0]]),
            [0.3, -1.2, 0.8],
        ),
        Case("w[:, 0] * 1", lambda x: w[:, 0] * 1, [0.3, -1.2, 0.8]),
    ]


def check_jacobian(jacobian: Callable[[Function, Tensor], Tensor]) -> None:
    """`jacobian(function, x)` returns the (m, n) table of a function from n numbers to m, leaving no trace."""
    w = _weight()
    with untouched(w=w):
        for case in _cases(w):
            _judge(jacobian, case, case.x)
        case = Case("x * x.sum()", lambda x: x * x.sum(), [0.3, -1.2])
        x = case.x.clone().requires_grad_()
        x.grad = torch.ones_like(x)
        _judge(jacobian, case, x)
        draw = drawn()
        for n, m in ((1, 4), (4, 1), (draw.whole(2, 4), draw.whole(5, 7))):
            a = draw.normal(m, n, dtype=torch.get_default_dtype())
            x = draw.normal(n, dtype=a.dtype)
            _judge(jacobian, Case(f"(a @ x).tanh() ({draw})", lambda x, a=a: (a @ x).tanh(), x), x)


def _judge(jacobian: Any, case: Case, x: Tensor) -> None:
    m, n = case.want.shape
    sides = f"{counted(n, 'input')} and {counted(m, 'output')}"
    uses_none = case.code == "w[:, 0] * 1"
    try:
        found = jacobian(case, x)
    except (RuntimeError, TypeError) as error:  # refused by autograd.grad, or a None among the rows
        expect(
            not uses_none,
            f"For a function that does not use x yours stopped with {type(error).__name__}.",
            "Nothing depends on x, so every entry is 0. What does materialize_grads=True do?",
        )
        raise
    found = forms.tensor(found, "jacobian").detach()
    expect(
        found.shape != (n, m) or n == m,
        f"For {case.code}, with {sides}, your table has the shape {(n, m)}: it lies on its side.",
        "A row for each output, a column for each input.",
    )
    expect(
        found.shape == (m, n),
        f"For {case.code}, with {sides}, the table has the shape {(m, n)}; yours is {tuple(found.shape)}.",
        "One pass gives one row. What gradient, sent in from above, picks out the first output?",
    )
    expect(
        near(found, case.want, atol=ATOL),
        f"For {case.code} at x = {shown(x)} your table is {shown(found)}; small steps of x give {shown(case.want)}.",
        "Row i is the gradient of output i: change one number of x, and look at output i.",
    )
    expect(
        case.calls == 1,
        f"For {case.code} you called the function {case.calls} times; once is what it takes.",
        "Several rows can be sent through one graph, if the first pass leaves it whole.",
    )


# ---- answers ----


def rows(
    function: Function,
    x: Tensor,
    cut: Callable[[Tensor], Tensor] = lambda x: x.detach().requires_grad_(),
    zeros: bool = True,
    unused: Any = None,
    picks: Callable[[int], Tensor] = torch.eye,
    changed: Callable[[Tensor], Tensor] = lambda table: table,
) -> Tensor:
    """The solution with its usual mistakes as switches."""
    x = cut(x)
    y = function(x)
    options = {"materialize_grads": True} if zeros else {"allow_unused": unused}
    found = [
        autograd.grad(y, x, row, retain_graph=True, **options)[0] for row in picks(len(y)).to(y)
    ]
    return changed(torch.stack(found))


def _summed(function: Function, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return autograd.grad(function(x).sum(), x, materialize_grads=True)[0]


def _diagonal(function: Function, x: Tensor) -> Tensor:
    """Right where each output depends on its own input alone."""
    return _summed(function, x).diag()


def _by_calling_often(function: Function, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    count = len(function(x))
    rows = [autograd.grad(function(x)[i], x, materialize_grads=True)[0] for i in range(count)]
    return torch.stack(rows)


def _by_backward(function: Function, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    y, found = function(x), []
    for i in range(len(y)):
        x.grad = torch.zeros_like(x)
        y[i].backward(retain_graph=True)
        found.append(x.grad)
    return torch.stack(found)


def _by_differences(function: Function, x: Tensor) -> Tensor:
    steps = 1e-2 * torch.eye(len(x), dtype=x.dtype)
    with torch.no_grad():
        return torch.stack([(function(x + s) - function(x - s)) / 2e-2 for s in steps], 1)


def _asks(x: Tensor) -> Tensor:
    return x.requires_grad_()


def _into_a_table(function: Function, x: Tensor) -> Tensor:
    """The table is float32, whatever the function's dtype is."""
    x = x.clone().detach().requires_grad_(True)
    y = function(x)
    table = torch.zeros(len(y), len(x), dtype=torch.float32)
    for i in range(len(y)):
        (row,) = autograd.grad(y[i], x, retain_graph=i + 1 < len(y), allow_unused=True)
        if row is not None:
            table[i] = row
    return table


def _batched(function: Function, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    y = function(x)
    one = torch.eye(len(y), dtype=y.dtype)
    (table,) = autograd.grad(y, x, one, is_grads_batched=True, allow_unused=True)
    return torch.zeros(len(y), len(x)) if table is None else table


def tables(jacobian: Callable[[Function, Tensor], Tensor]) -> Any:
    """The oracle: tables, number of calls, what has become of x and of a weight's .grad."""
    w = _weight()
    cases = _cases(w)
    generator = torch.Generator().manual_seed(0)
    for n, m in ((1, 1), (2, 7), (7, 2), (3, 3)):
        a = torch.randn(m, n, generator=generator, dtype=w.dtype)
        for scale in (1e-6, 1.0, 1e4):
            wide = torch.randn(2 * n, generator=generator, dtype=w.dtype) * scale
            cases.append(Case("", lambda x, a=a: (a @ x).atan() * x[0], wide[::2]))
    found = []
    for case in cases:
        for asks in (False, True):
            x = case.x.clone().requires_grad_(asks)
            x.grad = torch.ones_like(x) if asks else None
            case.calls = 0
            found.append([tried(lambda x, case=case: jacobian(case, x).to(w.dtype), x), case.calls])
    return [found, w.grad.tolist(), w.requires_grad, w.tolist()]


EXERCISE = Exercise(
    "jacobian",
    "One row a pass, one call, no trace.",
    check_jacobian,
    (
        Wrong("the gradient of the sum", _summed, "the table has the shape (1, 1); yours is (1,)"),
        Wrong("elementwise", _diagonal, "your table is [[2.8, 0], [0, 1.7]]"),
        Wrong("transposed", lambda f, x: rows(f, x).T, "your table is [[-0.6, 3.4], [1.7, 0]]"),
        Wrong("a call for each row", _by_calling_often, "you called the function 2 times"),
        Wrong("by differences", _by_differences, "you called the function 2 times"),
        Wrong("by backward", _by_backward, "leave alone: w, its .grad"),
        Wrong(
            "x asks for gradients now", lambda f, x: rows(f, x, cut=_asks), "x, its requires_grad"
        ),
        Wrong(
            "its flag switched off",
            then(rows, lambda f, x: x.requires_grad_(False)),
            "x, its requires_grad",
        ),
        Wrong("x overwritten", then(rows, lambda f, x: x.data.zero_()), "what it was given: x is"),
        Wrong("its .grad lost", then(rows, lambda f, x: setattr(x, "grad", None)), "x, its .grad"),
        Wrong(
            "no zeros for an unused input",
            lambda f, x: rows(f, x, zeros=False),
            "stopped with RuntimeError",
        ),
        Wrong(
            "None for an unused input",
            lambda f, x: rows(f, x, zeros=False, unused=True),
            "stopped with TypeError",
        ),
        Wrong(
            "rows of ones",
            lambda f, x: rows(f, x, picks=lambda m: torch.ones(m, m)),
            "your table is [[2.8, 1.7], [2.8, 1.7]]",
        ),
        Wrong("as a list", lambda f, x: [*rows(f, x)], "jacobian returns a tensor"),
    ),
    right=(
        Right("into a table of float32", _into_a_table),
        Right("all rows at once", _batched),
        Right("torch.func.jacrev", lambda f, x: torch.func.jacrev(f)(x)),
        Right("autograd.functional", lambda f, x: autograd.functional.jacobian(f, x)),
    ),
    oracle=tables,
    allows={"detached": "whether the table can be differentiated again is asked nowhere"},
)
