"""Exercise `shrink`: a branch that can be exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, near, plain, shown
from ..graphs import passed
from .exports import PYTHON_DECIDES, exported, require_module_class

__all__ = ["EXERCISE"]

VECTORS = (
    [0.1, 0.2, 0.2],
    [0.0, 0.0, 0.0],
    [0.6, 0.0, -0.7],
    [1.2, -0.3, 0.4],
    [0.8, 0.8, 0.8],
    [-2.0, 0.1, 0.2],
    [3.0, 4.0, 0.0],
    [-5.0, 0.0, 12.0],
)
"""Norms of 0.3, 0, 0.92, 1.3, 1.39, 2.01, 5 and 13."""
REFUSALS = {
    "alias": (
        "torch.export refuses: a branch returns its input as it is.",
        "A branch of torch.cond must return a tensor of its own.",
    ),
    "data-dependent": (PYTHON_DECIDES, "The choice has to be an operation of the graph."),
}
OTHERWISE = (
    "Call the module itself first, on torch.ones(3). Then: both functions of a torch.cond get the same inputs, "
    "and give tensors of the same shape and dtype."
)


def check_shrink(module: type[nn.Module]) -> None:
    """The module divides by the norm where that is above 1, exports, and keeps both branches."""
    require_module_class(module, "Shrink")
    program, uses_cond = exported_with_cond(module)
    for numbers in VECTORS:
        _judge(program, torch.tensor(numbers), "")
    draw = drawn()
    for norm in (0.5, 1.5, 30.0):
        x = draw.normal(3, dtype=torch.get_default_dtype())
        _judge(program, x * (norm / float(x.norm())), f" ({draw})")
    expect(
        uses_cond,
        "The numbers are right, but the program has no torch.cond that chooses: it always computes both sides.",
        "torch.cond takes a condition, two functions and their inputs; it is one operation of the graph.",
    )


def exported_with_cond(module: type[nn.Module]) -> tuple[Any, bool]:
    """The exported program as a module, and whether it has a torch.cond; `Mistake` where it cannot be exported."""
    program = exported(module, (torch.ones(3),), REFUSALS, OTHERWISE)
    whole = program.graph_module
    conds = [n for n in whole.graph.nodes if n.op == "call_function" and "cond" in str(n.target)]
    sides = [[getattr(whole, str(side.target)).code for side in node.args[1:3]] for node in conds]
    return program.module(), any(long != short for long, short in sides)


def _right(x: Tensor) -> tuple[Tensor, Tensor]:
    """The result, and the gradient for weights 1, 2, 3."""
    x = x.double().detach().requires_grad_()
    norm = x.norm()
    y = x / norm if norm > 1 else x * 1
    return y.detach(), autograd.grad(y, x, torch.tensor([1.0, 2.0, 3.0], dtype=y.dtype))[0]


def _judge(program: Any, x: Tensor, source: str) -> None:
    want, wanted = _right(x)
    what = f"{shown(x)}, of norm {float(x.norm()):.3g},"
    x = x.clone().requires_grad_()
    found = forms.tensor(program(x), "The exported program", (3,))
    expect(
        near(found, want),
        f"For {what} the exported program gives {shown(found)}{source}.",
        "Above a norm of 1 the vector is divided by its norm, else it stays.",
    )
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=found.dtype)
    [grad] = passed(
        lambda: autograd.grad(found, x, weights, materialize_grads=True),
        what,
        "Each side has to be computed from x by operations that have a gradient.",
    )
    expect(
        bool(grad.isfinite().all()),
        f"For {what} the value is right, and the gradient is {shown(grad)}{source}.",
        "Both sides of a where are in the graph, and one of them divides by zero here.",
    )
    expect(
        near(grad, wanted, atol=1e-6),
        f"For {what} the value is right, and for the gradient [1, 2, 3] of the result that of x is {shown(grad)}"
        f"{source}.",
        "The norm depends on x: where it divides, the gradient goes through it, too.",
    )


# ---- answers ----


class _Answer(nn.Module):
    """A module whose forward is one function."""

    function: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x)


def _made(name: str, function: Callable[[Tensor], Tensor]) -> type[nn.Module]:
    return type(name, (_Answer,), {"function": staticmethod(function)})


def _cond(
    bound: float = 1.0,
    long: Callable[[Tensor, Tensor], Tensor] = lambda x, norm: x / norm,
    short: Callable[[Tensor, Tensor], Tensor] = lambda x, norm: x.clone(),
    norm: Callable[[Tensor], Tensor] = lambda x: x.norm(),
) -> type[nn.Module]:
    """The solution with its usual mistakes as switches."""

    def function(x: Tensor) -> Tensor:
        size = norm(x)
        return torch.cond(size > bound, long, short, (x, size))

    return _made("Shrink", function)


def _plain_if(x: Tensor) -> Tensor:
    return x / x.norm() if x.norm() > 1 else x


def _where(x: Tensor) -> Tensor:
    return torch.where(x.norm() > 1, x / x.norm(), x)


def _clamped(x: Tensor) -> Tensor:
    return x / x.norm().clamp(min=1)


class _Inside(nn.Module):
    """The functions compute the norm themselves; the condition is a method."""

    def long(self, x: Tensor) -> Tensor:
        return x / x.square().sum().sqrt()

    def short(self, x: Tensor) -> Tensor:
        return x * 1.0

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.square().sum() > 1.0, self.long, self.short, [x])


class _Idle(nn.Module):
    """Both sides are the same, and a clamp does the work."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cond(x.norm() > 1, lambda x: x.clone(), lambda x: x.clone(), (x,))
        return y / y.norm().clamp(min=1)


class _ByTheLargest(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.max() > 1, lambda x: x / x.norm(), lambda x: x.clone(), (x,))


class _Factor(nn.Module):
    """The condition chooses a factor."""

    def forward(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x)
        factor = torch.cond(norm > 1, lambda n: 1 / n, lambda n: torch.ones_like(n), (norm,))
        return factor * x


def told(module: type[nn.Module]) -> Any:
    """The oracle: whether it exports, with torch.cond, and values and gradients of many vectors."""
    try:
        program, uses_cond = exported_with_cond(module)
    except Exception as error:
        return str(error)
    found: list[Any] = [uses_cond]
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.tensor(numbers) for numbers in VECTORS]
    for scale in (1e-6, 0.3, 0.9, 1.1, 1.7, 2.5, 1e3):
        x = torch.randn(3, generator=generator, dtype=torch.get_default_dtype())
        vectors.append(x * (scale / x.norm()))
    for x in vectors:
        x = x.clone().requires_grad_()
        try:
            y = program(x)
            grads = autograd.grad(y, x, torch.tensor([1.0, 2.0, 3.0]), materialize_grads=True)
            found.append([_rounded(y), _rounded(grads[0]), plain(x)])
        except Exception as error:
            found.append(type(error).__name__)
    return found


def _rounded(x: Tensor) -> list[float]:
    return [round(number, 3) + 0.0 for number in x.tolist()]


EXERCISE = Exercise(
    "shrink",
    "Both branches are in the program, and the gradient of each.",
    check_shrink,
    (
        Wrong("a plain if", _made("PlainIf", _plain_if), "Python decides on a value"),
        Wrong("where", _made("Where", _where), "the gradient is [nan, nan, nan]"),
        Wrong("a clamp", _made("Clamped", _clamped), "has no torch.cond"),
        Wrong("the input itself", _cond(short=lambda x, norm: x), "returns its input as it is"),
        Wrong(
            "norm detached",
            _cond(long=lambda x, norm: x / norm.detach()),
            "[1.2, -0.3, 0.4], of norm 1.3, the value is right",
        ),
        Wrong(
            "always divided",
            _cond(short=lambda x, norm: x / norm),
            "of norm 0.3, the exported program gives [0.3333, 0.6667, 0.6667]",
        ),
        Wrong(
            "a bound of 2",
            _cond(bound=2.0),
            "of norm 1.3, the exported program gives [1.2, -0.3, 0.4]",
        ),
        Wrong(
            "the other way round",
            _cond(long=lambda x, norm: x.clone(), short=lambda x, norm: x / (norm + 1)),
            "of norm 0.3, the exported program gives [0.07692, 0.1538, 0.1538]",
        ),
        Wrong(
            "the sum for the norm",
            _cond(norm=lambda x: x.abs().sum()),
            "of norm 0.922, the exported program gives",
        ),
        Wrong("by the largest", _ByTheLargest, "[0.8, 0.8, 0.8], of norm 1.39"),
        Wrong("a torch.cond that chooses nothing", _Idle, "has no torch.cond"),
        Wrong(
            "short ones detached",
            _cond(short=lambda x, norm: x.detach().clone()),
            "that of x is [0, 0, 0]",
        ),
        Wrong("two shapes", _cond(short=lambda x, norm: x[:1].clone()), "yours returned (1,)"),
        Wrong("an object", nn.Identity(), "this is Identity()"),
        Wrong("a function", _where, "this is <function _where>"),
    ),
    right=(
        Right("the norm inside", _Inside),
        Right("a factor", _Factor),
    ),
    oracle=told,
    allows={"leaves gradients off": "torch.export sets grad mode back when it has traced forward"},
)
