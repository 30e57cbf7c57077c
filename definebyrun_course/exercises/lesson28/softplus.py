"""Exercise `softplus`: a Function whose backward pass can be differentiated again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.function import once_differentiable

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    Wrong,
    apart,
    drawn,
    expect,
    forms,
    near,
    tried,
)
from ..graphs import nodes_of
from ..live import kept_bytes

__all__ = ["EXERCISE"]

FAR = (-800.0, -40.0, -1.0, 0.0, 1.0, 40.0, 800.0)
STABLE = "max(x, 0) + log1p(exp(-|x|)): the exponential of a number that is not positive."
AGAIN = "The backward pass runs operations as well: on what depends their graph?"


def right(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, first and second derivative."""
    s = torch.sigmoid(x)
    return torch.logaddexp(x, torch.zeros_like(x)), s, s * torch.sigmoid(-x)


def check_softplus(softplus: Callable[[Tensor], Any]) -> None:
    """`softplus(x)` is log(1 + exp x), one node of the graph, right up to the third derivative."""
    for dtype in (torch.float64, torch.float32):
        for x in (
            torch.tensor(0.0, dtype=dtype),
            torch.tensor([1.0], dtype=dtype),
            torch.tensor(FAR, dtype=dtype),
            Drawn(1).normal(2, 3).to(dtype).T,
            Drawn(2).normal(3, 1).to(dtype).expand(3, 2),
            torch.zeros(0, 2, dtype=dtype),
        ):
            _judge(softplus, x, f"for x of shape {tuple(x.shape)} in {dtype}")
    draw = drawn()
    _judge(softplus, 5 * draw.normal(3, 4), f"for numbers {draw}")
    _judge_node(softplus)
    _judge_saved(softplus)
    _judge_checks(softplus)
    _judge_version(softplus)
    _judge_chain(softplus)


def _judge(softplus: Any, x: Tensor, where: str) -> None:
    x = x.detach().requires_grad_()
    y = forms.tensor(softplus(x), "softplus", tuple(x.shape))
    value, first, second = right(x.detach())
    rtol = 1e-9 if x.dtype == torch.float64 else 1e-5
    names = ("value", "first derivative", "second derivative")
    found: list[Any] = [y]
    expect(
        y.requires_grad and y.dtype == x.dtype,
        f"The result has no graph or another dtype, {where}.",
        "Compute in the dtype of x.",
    )
    upstream = torch.ones_like(y)
    (g,) = torch.autograd.grad(y, x, upstream, create_graph=True)
    found.append(g)
    for name, one, two in zip(names, found, (value, first), strict=False):
        _near(name, one, two, rtol, where)
    expect(g.requires_grad or not g.numel(), f"The first derivative has no graph, {where}.", AGAIN)
    if g.requires_grad:
        (h,) = torch.autograd.grad(g, x, upstream, create_graph=True, allow_unused=True)
        _near("second derivative", torch.zeros_like(x) if h is None else h, second, rtol, where)
        if h is not None and h.requires_grad:
            (k,) = torch.autograd.grad(h, x, upstream, allow_unused=True)
            third = second * (1 - 2 * first)
            _near(
                "third derivative", torch.zeros_like(x) if k is None else k, third, rtol * 10, where
            )
        else:
            expect(not x.numel(), f"The second derivative has no graph, {where}.", AGAIN)


def _near(name: str, found: Tensor, want: Tensor, rtol: float, where: str) -> None:
    atol = 1e-6 if rtol > 1e-6 else 1e-12 if "derivative" in name else 0.0
    if not near(found, want, rtol, atol):
        a, b = found.detach().flatten(), want.flatten()
        i = int(((torch.nan_to_num(a, nan=1e9) - b).abs() / (b.abs() + 1e-30)).argmax())
        texts = apart(a[i].item(), b[i].item())
        raise Mistake(
            f"The {name} is {texts[0]}; it should be {texts[1]}, {where}.",
            STABLE
            if name == "value"
            else AGAIN
            if "first" not in name
            else "The slope of softplus is a well-known function, which is stable on both sides.",
        )


def _judge_node(softplus: Any) -> None:
    x = Drawn(1).normal(3).requires_grad_()
    names = [type(n).__name__ for n in nodes_of(softplus(x))]
    expect(
        len(names) == 2,
        f"The graph has the nodes {names}; a Function is one node, and x another.",
        "A class of torch.autograd.Function, and its apply.",
    )


def _judge_saved(softplus: Any) -> None:
    x = Drawn(1).normal(500).requires_grad_()
    saved, beside = kept_bytes(softplus, x)
    expect(
        saved,
        "Nothing is saved by save_for_backward.",
        "What the backward pass needs belongs there: its version is guarded, and it is freed in time.",
    )
    expect(
        saved + beside <= 4000,
        f"For 500 numbers in float64, which take 4,000 bytes, {saved + beside:,} bytes are kept.",
        "x is enough, or the result: the slope is a function of it.",
    )
    expect(
        not softplus(x.detach()).requires_grad,
        "x asks for no gradient, and the result does.",
        "A Function looks at its input.",
    )


def _judge_checks(softplus: Any) -> None:
    x = (3 * Drawn(5).normal(4)).requires_grad_()
    for check in (gradcheck, gradgradcheck):
        try:
            check(softplus, (x,))
        except RuntimeError as error:
            raise Mistake(
                f"{check.__name__} of PyTorch refuses it: {' '.join(str(error).split())[:120]}",
                AGAIN,
            ) from error


def _judge_version(softplus: Any) -> None:
    leaf = Drawn(1).normal(3).requires_grad_()
    x = leaf * 1
    y = softplus(x)
    with torch.no_grad():
        x.mul_(2)
        y_before = y.detach().clone()
    try:
        (g,) = torch.autograd.grad(y.sum(), leaf)
    except RuntimeError as error:
        if "modified by an inplace operation" in str(error):
            return
        raise
    want = right(leaf.detach())[1]
    expect(
        near(g, want, 1e-6) and torch.equal(y_before, y),
        "x was written to before the backward pass, and the gradient is silently wrong.",
        "save_for_backward notices; an attribute of ctx does not.",
    )


def _judge_chain(softplus: Any) -> None:
    """A gradient penalty: the second backward goes through what came from above, too."""
    w = torch.tensor([0.5, -1.5], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([2.0, 1.0], dtype=torch.float64, requires_grad=True)
    grads = []
    for f in (softplus, lambda t: torch.logaddexp(t, torch.zeros_like(t))):
        y = (f(w * x) ** 2).sum()
        (g,) = torch.autograd.grad(y, x, create_graph=True)
        grads.append(torch.autograd.grad((g * g).sum(), (w, x)))
    expect(
        all(near(a, b, 1e-7) for a, b in zip(*grads, strict=True)),
        "In a gradient penalty, the gradient of (dy/dx)² with respect to w and x is not right.",
        "The backward pass is a function of x and of grad_output: differentiate it by both.",
    )


# ---- right answers ----


class _FromX(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * torch.sigmoid(x)


def from_x(x: Tensor) -> Any:
    return _FromX.apply(x)


class _Slope(torch.autograd.Function):
    """The backward pass as a Function of its own, with its own backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor) -> Tensor:
        ctx.save_for_backward(x, g)
        return g * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, g = ctx.saved_tensors
        return grads[0] * g * torch.sigmoid(x) * torch.sigmoid(-x), grads[0] * torch.sigmoid(x)


class _InTwo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.logaddexp(x, x.new_zeros(()))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Slope.apply(ctx.saved_tensors[0], grads[0])


def in_two(x: Tensor) -> Any:
    return _InTwo.apply(x)


# ---- wrong answers ----


def _wrong(mistake: str) -> Callable[..., Any]:
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            if mistake == "an attribute":
                ctx.x = x
            elif mistake == "a slope is saved":
                ctx.save_for_backward(torch.sigmoid(x))
            elif mistake == "more is saved":
                ctx.save_for_backward(x, torch.sigmoid(x))
            else:
                ctx.save_for_backward(x)
            if mistake == "more on ctx":
                ctx.slope = torch.sigmoid(x)
            if mistake == "exp overflows":
                return torch.log(1 + torch.exp(x))
            if mistake == "log of 1 +":
                return x.clamp(min=0) + torch.log(1 + torch.exp(-x.abs()))
            if mistake == "float32 inside":
                return torch.nn.functional.softplus(x.float(), threshold=100).to(x.dtype)
            return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            g = grads[0]
            if mistake == "a slope is saved":
                return g * ctx.saved_tensors[0]
            x = ctx.x if mistake == "an attribute" else ctx.saved_tensors[0]
            if mistake == "detached":
                return g * torch.sigmoid(x.detach())
            if mistake == ".data":
                return g * torch.sigmoid(x.data)
            if mistake == "no_grad":
                with torch.no_grad():
                    return g * torch.sigmoid(x)
            if mistake == "exp over 1 + exp":
                return g * x.exp() / (1 + x.exp())
            if mistake == "upstream forgotten":
                return torch.sigmoid(x)
            if mistake == "upstream detached":
                return g.detach() * torch.sigmoid(x)
            if mistake == "the slope of relu":
                return g * (x > 0)
            if mistake == "one gradient more":
                return g * torch.sigmoid(x), g
            return g * torch.sigmoid(x)

    if mistake == "once differentiable":
        Bad.backward = staticmethod(once_differentiable(Bad.backward))  # type: ignore[method-assign]
    return lambda x: Bad.apply(x)


def _no_function(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


SAYS = {
    "an attribute": "Nothing is",
    "a slope is saved": "derivative has",
    "more is saved": "500 numbers",
    "more on ctx": "500 numbers",
    "exp overflows": "800, for",
    "log of 1 +": "be 4.248e-18,",
    "float32 inside": "is 0.693147182;",
    "detached": "derivative has",
    ".data": "derivative has",
    "no_grad": "derivative has",
    "exp over 1 + exp": "should be 1,",
    "upstream forgotten": "input 0,",
    "upstream detached": "gradgradcheck of",
    "the slope of relu": "0.5, for",
    "one gradient more": "The check",
    "once differentiable": "derivative has",
}


def oracle(softplus: Callable[..., Any]) -> Any:
    """Value and three derivatives of many inputs, and the other properties."""

    def told(x: Tensor) -> Any:
        x = x.detach().requires_grad_()
        found: list[Any] = [softplus(x)]
        upstream = torch.linspace(1, 2, x.numel(), dtype=x.dtype).reshape(x.shape)
        for _ in range(3):
            found.append(torch.autograd.grad(found[-1], x, upstream, create_graph=True)[0])
        nodes = len(nodes_of(found[0]))
        return [
            [torch.round(t.detach().double(), decimals=3) + 0.0 for t in found],
            [str(t.dtype) for t in found],
            nodes,
        ]

    wide: list[Any] = [
        torch.tensor(FAR, dtype=d) * k
        for d in (torch.float64, torch.float32)
        for k in (1.0, 0.01, -0.5)
    ]
    wide += [Drawn(n).normal(n, 2) * n for n in (1, 2, 3)]
    found: list[Any] = [tried(told, x) for x in wide]
    for test in (_judge_node, _judge_saved, _judge_checks, _judge_version, _judge_chain):
        found.append(tried(lambda test=test: test(softplus)))
    found.append(tried(lambda: _judge(softplus, torch.tensor(FAR, dtype=torch.float64), "")))
    return found


EXERCISE = Exercise(
    "softplus",
    "Stable on both sides, one node, and a backward pass with a graph of its own.",
    check_softplus,
    (
        *(Wrong(name, _wrong(name), says) for name, says in SAYS.items()),
        Wrong("no Function at all", _no_function, "The second"),
    ),
    right=(Right("sigmoid of x", from_x), Right("the backward as a Function", in_two)),
    oracle=oracle,
)
