"""Exercise `branch`: a branch that changes nothing at first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ...grading import Drawn, Exercise, Right, Wrong, counted, drawn, expect, near, shown, untouched
from ..models import filled

__all__ = ["EXERCISE"]

AddBranch = Callable[[int], Any]
Branch = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
STEPS = 3
CUT = "but the gradient that it hands on to h is another one"
FORMULA = "h + W2 tanh(W1 h + b1) + b2"
LIKE: dict[str, Branch] = {
    FORMULA: lambda h, w1, b1, w2, b2: h + (h @ w1 + b1).tanh() @ w2 + b2,
    "h - W2 tanh(W1 h + b1) - b2": lambda h, w1, b1, w2, b2: h - (h @ w1 + b1).tanh() @ w2 - b2,
    "one with relu in the place of tanh": lambda h, w1, b1, w2, b2: (
        h + (h @ w1 + b1).relu() @ w2 + b2
    ),
    "one with sigmoid in the place of tanh": lambda h, w1, b1, w2, b2: (
        h + (h @ w1 + b1).sigmoid() @ w2 + b2
    ),
    "one with nothing in the place of tanh": lambda h, w1, b1, w2, b2: h + (h @ w1 + b1) @ w2 + b2,
    "one with tanh around the second layer": lambda h, w1, b1, w2, b2: (
        h + ((h @ w1 + b1) @ w2 + b2).tanh()
    ),
    "one with tanh before the first layer": lambda h, w1, b1, w2, b2: (
        h + (h.tanh() @ w1 + b1) @ w2 + b2
    ),
    "one with tanh around all": lambda h, w1, b1, w2, b2: (
        h + (h @ w1 + b1).tanh() @ w2 + b2
    ).tanh(),
}


def check_branch(add_branch: AddBranch) -> None:
    """`add_branch(width)` is a module h + W2 tanh(W1 h + b1) + b2, at first the identity, able to learn."""
    for width in (1, 2, 3, 8):
        _judge(add_branch, width, Drawn(1), "")
    one, two = add_branch(2), add_branch(2)
    shared = {id(p) for p in one.parameters()} & {id(p) for p in two.parameters()}
    expect(
        one is not two and not shared,
        "Two branches share parameters: what one learns, the other does.",
        "Each call makes a module of its own.",
    )
    draw = drawn()
    _judge(add_branch, draw.whole(4, 7), draw, f" ({draw})")


def _judge(add_branch: AddBranch, width: int, draw: Drawn, source: str) -> None:
    dtype = torch.get_default_dtype()
    branch = add_branch(width)
    expect(
        isinstance(branch, nn.Module),
        f"add_branch returns a module; yours returned {shown(branch)}.",
        "A class of modules is no module: make one of it.",
    )
    for shape in ((width,), (5, width), (2, 3, width)):
        _judge_identity(branch, draw.normal(*shape, dtype=dtype) * 1e-3, width, source)
    shapes = sorted(tuple(p.shape) for p in branch.parameters())
    expect(
        shapes == sorted([(width, width), (width,)] * 2)
        and all(p.requires_grad for p in branch.parameters()),
        f"For width {width} your branch has {counted(len(shapes), 'parameter')} of shapes {shapes}{source}.",
        f"W1 and W2 are {width} by {width}, b1 and b2 have {width} numbers each. A module knows its attributes.",
    )
    _judge_formula(branch, width, draw, source)
    _judge_learning(add_branch(width), width, draw, source)


def _judge_identity(branch: nn.Module, h: Tensor, width: int, source: str) -> None:
    with untouched(h=h):
        out = branch(h)
    expect(
        isinstance(out, Tensor) and out.shape == h.shape,
        f"For h of shape {tuple(h.shape)} your branch of width {width} gives {shown(out)}{source}.",
        "forward takes a tensor whose last axis is the width, and gives one of the same shape.",
    )
    off = (out - h).abs().max().item()
    expect(
        torch.equal(out, h),
        f"Before it has learned anything your branch changes its input, by up to {off:.2g}{source}.",
        "What has to be zero, exactly, for the second layer to give zeros?",
    )


def kind(branch: nn.Module, width: int, draw: Drawn) -> str | None:
    """The formula that a branch follows with random parameters, whatever their names and order; None for others."""
    filled(draw, branch)
    h = draw.normal(4, width, dtype=torch.get_default_dtype())
    out, gradient = _with_gradient(branch, h)
    for name, formula in LIKE.items():
        for parts in _roles(branch):
            right, wanted = _with_gradient(partial(_of, formula, parts), h)
            if near(out, right, rtol=1e-4, atol=1e-5):
                return name if near(gradient, wanted, rtol=1e-3, atol=1e-4) else f"{name}, {CUT}"
    return None


def _of(formula: Branch, parts: tuple[Tensor, ...], h: Tensor) -> Tensor:
    return formula(h, *parts)


def _with_gradient(function: Callable[[Tensor], Tensor], h: Tensor) -> tuple[Tensor, Tensor]:
    h = h.clone().requires_grad_()
    out = function(h)
    weights = torch.arange(out.numel(), dtype=out.dtype).cos().reshape(out.shape)
    [gradient] = autograd.grad(out, h, weights, materialize_grads=True)
    return out.detach(), gradient


def _roles(branch: nn.Module) -> Iterator[tuple[Tensor, ...]]:
    """Any of the two matrices may be W1, and may stand transposed; any of the two vectors may be b1."""
    matrices = [p for p in branch.parameters() if p.dim() == 2]
    vectors = [p for p in branch.parameters() if p.dim() == 1]
    for (w1, w2), (b1, b2) in itertools.product(
        itertools.permutations(matrices), itertools.permutations(vectors)
    ):
        for one, two in itertools.product((w1, w1.T), (w2, w2.T)):
            yield one, b1, two, b2


def _judge_formula(branch: nn.Module, width: int, draw: Drawn, source: str) -> None:
    found = kind(branch, width, draw)
    expect(
        found is not None,
        f"With other parameters your branch is not {FORMULA}, nor that with another activation{source}.",
        "First a layer with bias, then tanh, then the second layer with bias; h itself is added at the end.",
    )
    expect(
        found == FORMULA,
        f"With other parameters your branch is {found}{source}.",
        f"{FORMULA}: go through it from the inside to the outside. Layers before the branch learn through h.",
    )


def learned(branch: nn.Module, width: int, draw: Drawn) -> dict[str, bool]:
    """By name: whether a parameter has had a gradient that is not zero, in a few steps of gradient descent."""
    dtype = torch.get_default_dtype()
    h, target = (draw.normal(6, width, dtype=dtype) for _ in range(2))
    moved = dict.fromkeys((name for name, _ in branch.named_parameters()), False)
    for _ in range(STEPS):
        branch.zero_grad()
        (branch(h) - target).square().mean().backward()
        with torch.no_grad():
            for name, p in branch.named_parameters():
                if p.grad is not None:
                    moved[name] |= bool(p.grad.any())
                    p -= 0.1 * p.grad
    return moved


def _judge_learning(branch: nn.Module, width: int, draw: Drawn, source: str) -> None:
    idle = [name for name, moved in learned(branch, width, draw).items() if not moved]
    expect(
        not idle,
        f"In {STEPS} steps of gradient descent no gradient but zero has come to {', '.join(idle)}{source}.",
        "Where both layers are zero each waits for the other: what could one of them begin with?",
    )


# ---- answers ----


class Mlp(nn.Module):
    """The solution with its usual mistakes as switches."""

    def __init__(
        self,
        width: int,
        begin: tuple[Callable[[Tensor], Any], Callable[[Tensor], Any]] = (
            lambda p: p,
            nn.init.zeros_,
        ),
        join: Callable[[Tensor, Any, Any], Tensor] = lambda h, first, second: (
            h + second(first(h).tanh())
        ),
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.first, self.second = (nn.Linear(width, width, bias=bias) for _ in range(2))
        self._join = join
        for layer, make in zip((self.first, self.second), begin, strict=True):
            for p in layer.parameters():
                make(p)

    def forward(self, h: Tensor) -> Tensor:
        return self._join(h, self.first, self.second)


def _joined(join: Callable[[Tensor, Any, Any], Tensor]) -> AddBranch:
    return lambda width: Mlp(width, join=join)


def _keep(p: Tensor) -> Tensor:
    return p


def _tiny(p: Tensor) -> Tensor:
    return nn.init.normal_(p, std=1e-6)


class _Unregistered(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = [Mlp(width)]

    def forward(self, h: Tensor) -> Tensor:
        return self.branch[0](h)


_ONE: dict[int, nn.Module] = {}


def _always_the_same(width: int) -> nn.Module:
    if width == 1:  # the first call of a check
        _ONE.clear()
    return _ONE.setdefault(width, Mlp(width)) if width == 2 else Mlp(width)


def _forgotten(width: int) -> None:
    Mlp(width)


class _FirstZero(nn.Module):
    """The first layer is zero, and the second bias: tanh of 0 is 0, whatever the second weight is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))
        for p in (*self.layers[0].parameters(), self.layers[2].bias):
            p.data.zero_()

    def forward(self, h: Tensor) -> Tensor:
        return self.layers(h) + h


class _ByHand(nn.Module):
    """Parameters without layers, in another order, with the matrices transposed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.b2, self.b1 = (nn.Parameter(torch.zeros(width)) for _ in range(2))
        self.w2 = nn.Parameter(torch.zeros(width, width))
        self.w1 = nn.Parameter(torch.randn(width, width))

    def forward(self, h: Tensor) -> Tensor:
        return torch.tanh(h @ self.w1 + self.b1) @ self.w2 + self.b2 + h


def told(add_branch: AddBranch) -> Any:
    """The oracle: the identity at first, parameters, formula, and what learns."""
    found: list[Any] = []
    for width in (1, 2, 3, 7):
        try:
            branch, draw = add_branch(width), Drawn(width)
            h = draw.normal(5, width, dtype=torch.get_default_dtype())
            first = [torch.equal(branch(x), x) for x in (h, h * 1e-3, h * 1e3, h[:0], h[0])]
            shapes = sorted(tuple(p.shape) for p in branch.parameters())
            moved = all(learned(add_branch(width), width, draw).values())
            apart = not {id(p) for p in branch.parameters()} & {
                id(p) for p in add_branch(width).parameters()
            }
            found.append([first, shapes, kind(branch, width, draw), moved, apart])
        except Exception as error:
            found.append(type(error).__name__)
    return found


EXERCISE = Exercise(
    "branch",
    "Nothing at first, and room to learn.",
    check_branch,
    (
        Wrong("nothing zero", lambda w: Mlp(w, (_keep, _keep)), "your branch changes its input"),
        Wrong("tiny numbers", lambda w: Mlp(w, (_keep, _tiny)), "your branch changes its input"),
        Wrong(
            "without h",
            _joined(lambda h, one, two: two(one(h).tanh())),
            "your branch changes its input",
        ),
        Wrong(
            "everything zero",
            lambda w: Mlp(w, (nn.init.zeros_, nn.init.zeros_)),
            "no gradient but zero has come to first.weight",
        ),
        Wrong("no biases", lambda w: Mlp(w, bias=False), "your branch has 2 parameters"),
        Wrong("in a list", _Unregistered, "your branch has 0 parameters"),
        Wrong(
            "taken away",
            _joined(lambda h, one, two: h - two(one(h).tanh())),
            "your branch is h - W2 tanh",
        ),
        Wrong(
            "relu", _joined(lambda h, one, two: h + two(one(h).relu())), "with relu in the place"
        ),
        Wrong(
            "sigmoid",
            _joined(lambda h, one, two: h + two(one(h).sigmoid())),
            "with sigmoid in the place",
        ),
        Wrong(
            "no activation",
            _joined(lambda h, one, two: h + two(one(h))),
            "with nothing in the place",
        ),
        Wrong(
            "tanh outside",
            _joined(lambda h, one, two: h + two(one(h)).tanh()),
            "tanh around the second layer",
        ),
        Wrong(
            "tanh of h",
            _joined(lambda h, one, two: h + two(one(h.tanh()))),
            "tanh before the first layer",
        ),
        Wrong(
            "sine",
            _joined(lambda h, one, two: h + two(one(h).sin())),
            "nor that with another activation",
        ),
        Wrong("h detached", _joined(lambda h, one, two: h + two(one(h.detach()).tanh())), CUT),
        Wrong("always the same one", _always_the_same, "what one learns, the other does"),
        Wrong("a class", lambda w: Mlp, "yours returned <class"),
        Wrong("return forgotten", _forgotten, "yours returned None"),
    ),
    right=(
        Right("the first layer zero", _FirstZero),
        Right("parameters by hand", _ByHand),
    ),
    oracle=told,
)
