"""Exercise `unbroadcast`: the gradient of a tensor that was broadcast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ...grading import (
    Drawn,
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
)
from ..measures import Work
from ..mistakes import then

__all__ = ["EXERCISE"]

REDUCTIONS = ("sum", "mean", "amax", "mm", "mv", "dot", "einsum", "bmm", "prod", "nansum", "add")
Shape = tuple[int, ...]


def pairs() -> list[tuple[Shape, Shape]]:
    """Shapes of a tensor and of what it is broadcast to, the smallest first, and those with a size of 0 last."""
    return sorted(_pairs(), key=lambda pair: (0 in pair[1], len(pair[1]), sum(pair[1])))


def _pairs() -> Iterator[tuple[Shape, Shape]]:
    """Shapes of a tensor and of what it is broadcast to: all of 0 to 2 dimensions, some of 3 and 4."""
    sizes = (0, 1, 2, 3)
    for dims in (0, 1, 2):
        for shape in product(sizes, repeat=dims):
            for more in range(3 - dims):
                for lead in product((0, 2, 3, 1)[: 4 if dims == 0 else 2], repeat=more):
                    for grown in product(*((n,) if n != 1 else (1, 0, 3) for n in shape)):
                        yield shape, (*lead, *grown)
    for shape, grown in (
        ((2, 1, 3), (2, 4, 3)),
        ((1, 2, 1), (3, 2, 4)),
        ((1, 1, 1), (2, 3, 4)),
        ((3, 1), (2, 4, 3, 5)),
        ((1, 3, 1, 2), (4, 3, 5, 2)),
        ((2,), (3, 4, 5, 2)),
        ((2, 2), (2, 2, 2)),
        ((1, 2), (2, 2)),
        ((2, 1), (2, 2)),
        ((2, 1), (1, 2, 4)),
        ((1, 1), (1, 3, 4)),
    ):
        yield shape, grown


def want(grad: Tensor, shape: Shape) -> Tensor:
    """Each number of the tensor gets the sum over all places that it was copied to; entry by entry."""
    ahead = grad.dim() - len(shape)
    found = torch.zeros(shape, dtype=grad.dtype)
    for place in product(*map(range, grad.shape)):
        at = tuple(0 if shape[i] == 1 else p for i, p in enumerate(place[ahead:]))
        found[at] += grad[place]
    return found


def check_unbroadcast(unbroadcast: Callable[[Tensor, Shape], Any]) -> None:
    """`unbroadcast(grad, shape)` sums over what was broadcast."""
    for shape, grown in pairs():
        count = torch.Size(grown).numel()
        grad = (torch.arange(1.0, 1 + count, dtype=torch.float64) * 1.5).reshape(grown)
        _judge(unbroadcast, grad, shape)
    _judge(unbroadcast, torch.arange(6, dtype=torch.float32).reshape(2, 3), (3,))
    _judge(
        unbroadcast, torch.arange(24, dtype=torch.float64).reshape(4, 3, 2).transpose(0, 2), (3, 1)
    )
    draw = drawn()
    for _ in range(4):
        shape = tuple(draw.whole(1, 3) for _ in range(draw.whole(0, 3)))
        grown = tuple(draw.whole(2, 4) if n == 1 else n for n in shape)
        grown = (*(draw.whole(1, 3) for _ in range(draw.whole(0, 2))), *grown)
        _judge(unbroadcast, draw.normal(*grown), shape, f" ({draw})")


def _judge(unbroadcast: Callable[..., Any], grad: Tensor, shape: Shape, source: str = "") -> None:
    where = f"for a gradient of shape {tuple(grad.shape)} and the shape {shape}{source}"
    with Work() as work:
        returned = unbroadcast(grad, shape)
    found = forms.tensor(returned, f"unbroadcast, {where},")
    expect(
        tuple(found.shape) == shape,
        f"The result has the shape {tuple(found.shape)}, {where}.",
        "Sizes are compared from the right. Which axes are more, and which were 1?",
    )
    expect(
        found.dtype == grad.dtype,
        f"The result is {found.dtype}, and the gradient {grad.dtype}, {where}.",
        "A sum keeps the dtype.",
    )
    wanted = want(grad, shape)
    expect(
        near(found, wanted),
        f"The result is {shown(found)}; it should be {shown(wanted)}, {where}.",
        "Each number was copied to several places, and gets the sum of what comes back from all of them.",
    )
    sums = work.count(*REDUCTIONS)
    expect(
        sums <= 1,
        f"It took {counted(sums, 'summation')}, {where}; each goes through memory once.",
        "A summation takes several axes at once.",
    )
    if tuple(grad.shape) == shape:
        expect(
            found.numel() < 2 or found.data_ptr() == grad.data_ptr(),
            f"The result is a copy, {where}.",
            "Nothing was broadcast, so there is nothing to be summed.",
        )


# ---- right answers ----


def by_axes(grad: Tensor, shape: Shape) -> Tensor:
    ahead = grad.dim() - len(shape)
    axes = [i for i in range(grad.dim()) if i < ahead or shape[i - ahead] != grad.shape[i]]
    return grad.sum(axes).reshape(shape) if axes else grad


def with_ones_in_front(grad: Tensor, shape: Shape) -> Tensor:
    """The shape is filled up with ones; where it is 1 and the gradient is not, is summed."""
    full = (1,) * (grad.dim() - len(shape)) + tuple(shape)
    axes = tuple(
        i for i, (n, m) in enumerate(zip(full, grad.shape, strict=True)) if n == 1 and m != 1
    )
    return (grad.sum(dim=axes, keepdim=True) if axes else grad).view(shape)


def of_pytorch(grad: Tensor, shape: Shape) -> Tensor:
    return grad.sum_to_size(shape)


# ---- wrong answers ----


def _leading_only(grad: Tensor, shape: Shape) -> Tensor:
    ahead = grad.dim() - len(shape)
    return grad.sum(list(range(ahead))) if ahead else grad


def _ones_only(grad: Tensor, shape: Shape) -> Tensor:
    axes = [i for i, n in enumerate(shape) if n == 1 and i < grad.dim() and grad.shape[i] != 1]
    return grad.sum(axes, keepdim=True) if axes else grad


def _keepdim_lost(grad: Tensor, shape: Shape) -> Tensor:
    ahead = grad.dim() - len(shape)
    axes = [i for i in range(grad.dim()) if i < ahead or shape[i - ahead] != grad.shape[i]]
    return grad.sum(axes) if axes else grad


def _mean(grad: Tensor, shape: Shape) -> Tensor:
    ahead = grad.dim() - len(shape)
    axes = [i for i in range(grad.dim()) if i < ahead or shape[i - ahead] != grad.shape[i]]
    return grad.mean(axes).reshape(shape) if axes else grad


def _from_the_left(grad: Tensor, shape: Shape) -> Tensor:
    """Aligns the shapes at the left."""
    full = tuple(shape) + (1,) * (grad.dim() - len(shape))
    axes = [i for i in range(grad.dim()) if full[i] == 1 and grad.shape[i] != 1]
    return grad.sum(axes, keepdim=True).reshape(shape) if axes else grad.reshape(shape)


def _all_axes_at_one(grad: Tensor, shape: Shape) -> Tensor:
    """A scalar and a shape of (1,) are summed whole, as one published engine does; others by the leading axes."""
    if torch.Size(shape).numel() == 1:
        return grad.sum().reshape(shape)
    ahead = grad.dim() - len(shape)
    axes = [i for i in range(grad.dim()) if i < ahead or shape[i - ahead] == 1]
    return grad.sum(axes).reshape(shape) if axes else grad


def _axis_after_axis(grad: Tensor, shape: Shape) -> Tensor:
    """The published two loops."""
    while grad.dim() > len(shape):
        grad = grad.sum(0)
    for axis, n in enumerate(shape):
        if n == 1 and grad.shape[axis] != 1:
            grad = grad.sum(axis, keepdim=True)
    return grad


def _shifting(grad: Tensor, shape: Shape) -> Tensor:
    """Sums from the left and forgets that the axes behind move up."""
    ahead = grad.dim() - len(shape)
    axes = [i for i in range(grad.dim()) if i < ahead or shape[i - ahead] != grad.shape[i]]
    for axis in axes:
        grad = grad.sum(min(axis, grad.dim() - 1))
    return grad.reshape(shape)


def _falsy_axes(grad: Tensor, shape: Shape) -> Tensor:
    """An empty list of axes sums over all of them."""
    ahead = grad.dim() - len(shape)
    axes = [i for i in range(grad.dim()) if i < ahead or shape[i - ahead] != grad.shape[i]]
    return grad.sum(axes).expand(shape)


def _greater(grad: Tensor, shape: Shape) -> Tensor:
    """`>` for `!=`: a size of 0 is smaller than 1."""
    ahead = grad.dim() - len(shape)
    axes = [i for i in range(grad.dim()) if i < ahead or grad.shape[i] > shape[i - ahead]]
    return grad.sum(axes).reshape(shape) if axes else grad


def _in_float32(grad: Tensor, shape: Shape) -> Tensor:
    return (
        by_axes(grad, shape) if tuple(grad.shape) == tuple(shape) else by_axes(grad, shape).float()
    )


def oracle(unbroadcast: Callable[..., Any]) -> Any:
    """Result, dtype, number of sums and whether it is a copy, for many pairs of shapes."""

    def told(grad: Tensor, shape: Shape) -> Any:
        with Work() as work:
            found = unbroadcast(grad, shape)
        same = (
            tuple(grad.shape) == shape and found.numel() > 1 and found.data_ptr() == grad.data_ptr()
        )
        return [found, str(found.dtype), work.count(*REDUCTIONS) <= 1, same]

    draw = Drawn(0)
    wide = [(draw.normal(*grown), shape) for shape, grown in pairs()]
    wide += [
        (draw.normal(2, 3, 4, dtype=torch.float32), (3, 1)),
        (draw.normal(4, 3, 2).permute(2, 0, 1), (1, 4, 1)),
    ]
    wide += [
        (draw.normal(5, 1, 7, 2, 3), shape)
        for shape in ((7, 1, 3), (1, 1, 2, 1), (5, 1, 7, 2, 3), (3,), ())
    ]
    return [tried(told, *each) for each in wide]


EXERCISE = Exercise(
    "unbroadcast",
    "One summation, over what is more and what was 1, whatever the shapes.",
    check_unbroadcast,
    (
        Wrong(
            "the leading axes only",
            _leading_only,
            "The result has the shape (3,), for a gradient of shape (3,) and the shape (1,)",
        ),
        Wrong(
            "axes of size 1 only",
            _ones_only,
            "The result has the shape (1,), for a gradient of shape (1,) and the shape ()",
        ),
        Wrong(
            "keepdim lost",
            _keepdim_lost,
            "The result has the shape (), for a gradient of shape (3,) and the shape (1,)",
        ),
        Wrong("a mean", _mean, "The result is 2.25"),
        Wrong("aligned at the left", _from_the_left, "The result is [4.5, 10.5]"),
        Wrong("all axes where one number is left", _all_axes_at_one, "The result is a copy"),
        Wrong("axis after axis", _axis_after_axis, "It took 2 summations"),
        Wrong("axes that move up", _shifting, "It took 2 summations"),
        Wrong("no axes means all axes", _falsy_axes, "The result is [4.5, 4.5]"),
        Wrong(
            "greater for unequal",
            _greater,
            "the shape (0,), for a gradient of shape (0,) and the shape (1,)",
        ),
        Wrong("in float32", _in_float32, "torch.float32, and the gradient torch.float64"),
        Wrong(
            "a reshape that fits",
            lambda g, s: g.reshape(-1)[: torch.Size(s).numel()].reshape(s),
            "The result is 1.5",
        ),
        Wrong(
            "the gradient overwritten", then(by_axes, lambda g, s: g.zero_()), "grad is not what"
        ),
        Wrong("always a copy", lambda g, s: by_axes(g, s).clone(), "The result is a copy"),
    ),
    right=(
        Right("by axes", by_axes),
        Right("ones in front", with_ones_in_front),
        Right("PyTorch's own", of_pytorch),
    ),
    oracle=oracle,
)
