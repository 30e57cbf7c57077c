"""Exercise `clip_once`: a hook that clips one gradient and removes itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...grading import Exercise, Mistake, Right, Wrong, apart, drawn, expect, near, shown, tried

__all__ = ["EXERCISE"]

Rows = list[Any]
CASES: tuple[tuple[Rows, float, str], ...] = (
    ([-4.0], 2.0, "The norm of one number is its size; its sign stays."),
    ([3.0], 5.0, "A gradient whose norm is below the limit passes as it is."),
    ([0.0, 0.0], 1.0, "A gradient of zeros is shorter than any limit. Is something divided by its norm?"),
    ([3.0, 4.0], 5.0, "A gradient whose norm is just the limit passes as it is."),
    ([3.0, 4.0], 1.0, "Times the limit, divided by the norm: the direction stays, the length becomes the limit."),
    ([[2.0, 4.0, 4.0], [0.0, 0.0, 8.0]], 5.0,
     "One norm for the whole tensor: the root of the sum of all squares, over rows and columns."),
)  # fmt: skip
"""A gradient, a limit, and what to look at; the smallest first."""


def clipped(grad: Tensor, limit: float) -> Tensor:
    """What must come out."""
    norm = grad.square().sum().sqrt()
    return grad * (limit / norm) if norm > limit else grad.clone()


def check_clip_once(clip_once: Callable[[Tensor, float], Any]) -> None:
    """`clip_once(tensor, limit)` scales one gradient to the limit, then removes itself."""
    for dtype in (torch.float32, torch.float64):
        for is_leaf in (True, False):
            for rows, limit, hint in CASES:
                _ask(clip_once, torch.tensor(rows, dtype=dtype), limit, is_leaf, hint)
        _two_at_once(clip_once, dtype)
        _one_of_two_outputs(clip_once, dtype)
        _beside_an_old_gradient(clip_once, dtype)
    draw = drawn()
    for shape in ((1,), (5,), (2, 1, 3), (4, 3)):
        grad, limit = draw.normal(*shape), draw.whole(1, 20) / 10
        hint = "Through the whole tensor, whatever its shape: one norm, one factor."
        _ask(clip_once, grad, limit, False, hint, f" ({draw})")


def _ask(
    clip_once: Callable[..., Any], grad: Tensor, limit: float, is_leaf: bool, hint: str,
    seed: str = "",
) -> None:  # fmt: skip
    """The gradient comes to `tensor` and, as the same memory, to `other`; a second backward pass follows."""
    x = torch.zeros_like(grad, requires_grad=True)
    other = torch.zeros_like(grad, requires_grad=True)
    tensor, kind = (x, "leaf") if is_leaf else (x * 1, "result")
    foreign: list[int] = []
    tensor.register_hook(lambda _: foreign.append(1))
    clip_once(tensor, limit)
    expect(
        not tensor.any() and tensor.requires_grad and x.grad is None,
        f"Your function changed the {kind} that it was given, not only its hooks{seed}.",
        "The hook changes what comes back in a later backward pass; the tensor itself stays.",
    )
    before = grad.clone()
    _backward(tensor + other * 1, grad)
    stays = len(tensor._backward_hooks or ()) > 1
    where = f"For a {kind}, the gradient {shown(before)} and the limit {limit:g}"
    want = clipped(before, limit)
    found = torch.zeros_like(want) if x.grad is None else x.grad
    expect(torch.equal(grad, before) and torch.equal(other.grad, before),
           f"{where}, the gradient of another tensor has changed too{seed}.",
           "Two branches may be shown the same memory: return a new tensor.")  # fmt: skip
    is_right = near(found, want, atol=0) if want.ne(before).any() else torch.equal(found, want)
    texts = apart(found, want)
    expect(is_right, f"{where}, what arrives is {texts[0]}; it should be {texts[1]}{seed}.", hint)
    x.grad = None
    later = before * 10 + 30
    _backward(tensor + other * 1, later)
    expect(
        torch.equal(x.grad, later),
        f"{where}, a second gradient came, {shown(later)}: it arrives as {shown(x.grad)}{seed}.",
        "Once the hook was called, whether it clipped or not, it goes.",
    )
    expect(
        len(foreign) == 2,
        f"A hook that was on the {kind} before was called {len(foreign)} times by two gradients{seed}.",
        "Remove your own hook, by its handle.",
    )
    expect(
        not stays,
        f"{where}, the hook is still there after the first gradient{seed}.",
        "It is called again by the next one, if only to do nothing. Registering gives a handle; call its remove().",
    )


def _backward(end: Tensor, grad: Tensor) -> None:
    try:
        end.backward(grad, retain_graph=True)
    except RuntimeError as error:
        if not str(error).startswith("hook "):
            raise
        hint = "A hook gives back a gradient of the same shape and dtype, or None."
        raise Mistake(f"PyTorch refuses what your hook gives back: {error}.", hint) from error


def _two_at_once(clip_once: Callable[..., Any], dtype: torch.dtype) -> None:
    """Two tensors are clipped, each to a limit of its own."""
    x, y = (torch.zeros(2, dtype=dtype, requires_grad=True) for _ in range(2))
    a, b = x * 1, y * 1
    clip_once(a, 1.0)
    clip_once(b, 2.0)
    both = torch.tensor([3.0, 4.0], dtype=dtype)
    for times in (1, 2):
        x.grad = y.grad = None
        _backward(a + b, both)
        want = [[0.6, 0.8], [1.2, 1.6]] if times == 1 else [[3.0, 4.0]] * 2
        found = [x.grad.tolist(), y.grad.tolist()]
        expect(
            near(found, want),
            f"clip_once(a, 1) and clip_once(b, 2), then [3, 4] comes to both, time {times}: "
            f"{shown(found)} arrives; it should be {shown(want)}.",
            "Each call has a hook, a limit and a handle of its own.",
        )


def _one_of_two_outputs(clip_once: Callable[..., Any], dtype: torch.dtype) -> None:
    """Of two results of one operation only one is clipped."""
    x = torch.zeros(2, 2, dtype=dtype, requires_grad=True)
    a, b = x.unbind()
    clip_once(a, 1.0)
    both = torch.tensor([3.0, 4.0], dtype=dtype)
    _backward(a + b, both)
    want = [[0.6, 0.8], [3.0, 4.0]]
    expect(
        near(x.grad, want),
        f"With a, b = x.unbind() and clip_once(a, 1), [3, 4] comes to both: "
        f"{shown(x.grad)} arrives at x; it should be {shown(want)}.",
        "The node that made a has other results too; a hook on the tensor sees its gradient alone.",
    )


def _beside_an_old_gradient(clip_once: Callable[..., Any], dtype: torch.dtype) -> None:
    """What is in .grad already is no part of the gradient that comes."""
    x = torch.zeros(2, dtype=dtype, requires_grad=True)
    x.grad = torch.full_like(x, 10.0)
    clip_once(x, 5.0)
    _backward(x * 1, torch.tensor([3.0, 4.0], dtype=dtype))
    want = [13.0, 14.0]
    expect(
        near(x.grad, want),
        f"[10, 10] is in x.grad, clip_once(x, 5) is called and [3, 4] comes: x.grad is {shown(x.grad)}; "
        f"it should be {shown(want)}.",
        "The gradient that comes is measured by itself, without what came before.",
    )


# ---- right answers, found in other ways ----


def by_clamped_factor(tensor: Tensor, limit: float) -> None:
    handles = []

    def clip(grad: Tensor) -> Tensor:
        handles.pop().remove()
        length = torch.linalg.vector_norm(grad)
        return grad * (limit / length).clamp(max=1.0)

    handles.append(tensor.register_hook(clip))


class OneClip:
    """An object as a hook; it leaves a short gradient alone by returning None."""

    def __init__(self, tensor: Tensor, limit: float) -> None:
        self.limit = limit
        self.handle = tensor.register_hook(self)

    def __call__(self, grad: Tensor) -> Tensor | None:
        self.handle.remove()
        squares = float(grad.square().sum())
        return grad / squares**0.5 * self.limit if squares > self.limit**2 else None


# ---- wrong answers ----


def _clip(tensor: Tensor, limit: float, norm: Any = torch.norm, once: str = "removed",
          scale: Any = None, only_long: bool = True, in_place: bool = False) -> None:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    state = {"calls": 0}

    def clip(grad: Tensor) -> Tensor | None:
        state["calls"] += 1
        length = norm(grad)
        long = bool((length > limit).any())
        if once == "removed" or (once == "when clipped" and long):
            handle.remove()
        if (once == "flag" and state["calls"] > 1) or (only_long and not long):
            return grad
        if in_place:
            grad.mul_(limit / length)
            return None
        factor = limit / length if scale is None else scale(limit, length)
        return grad * factor

    handle = tensor.register_hook(clip)


SHARED: list[Any] = []


def _last_handle(tensor: Tensor, limit: float) -> None:
    """One handle for all calls."""

    def clip(grad: Tensor) -> Tensor:
        SHARED[-1].remove()
        return clipped(grad, limit)

    SHARED[:] = [tensor.register_hook(clip)]


def _all_removed(tensor: Tensor, limit: float) -> None:
    def clip(grad: Tensor) -> Tensor:
        tensor._backward_hooks.clear()
        return clipped(grad, limit)

    tensor.register_hook(clip)


def _by_value(tensor: Tensor, limit: float) -> None:
    handle = tensor.register_hook(lambda g: (handle.remove(), g.clamp(-limit, limit))[1])


def _nothing_returned(tensor: Tensor, limit: float) -> None:
    def clip(grad: Tensor) -> None:
        handle.remove()
        grad = clipped(grad, limit)

    handle = tensor.register_hook(clip)


def _on_the_node(tensor: Tensor, limit: float) -> None:
    """A hook on the node that made the tensor, which clips whatever comes to it."""
    if tensor.grad_fn is None:
        return _clip(tensor, limit)

    def clip(grads: Any) -> Any:
        handle.remove()
        return tuple(clipped(grad, limit) for grad in grads)

    handle = tensor.grad_fn.register_prehook(clip)
    return None


def _with_the_old(tensor: Tensor, limit: float) -> None:
    """Measures the gradient together with what is in .grad."""

    def clip(grad: Tensor) -> Tensor:
        handle.remove()
        total = grad if not tensor.is_leaf or tensor.grad is None else grad + tensor.grad
        norm = total.norm()
        return grad * (limit / norm) if norm > limit else grad

    handle = tensor.register_hook(clip)


WRONG = {
    "a hook on the node": (_on_the_node, "x.unbind()"),
    "measured with the old gradient": (_with_the_old, "is in x.grad"),
    "in place": (partial(_clip, in_place=True), "another tensor has changed"),
    "for ever": (partial(_clip, once="never"), "a second gradient came, [-10]: it arrives as [-2]"),
    "removed only when it has clipped": (
        partial(_clip, once="when clipped"), "a second gradient came, [60]: it arrives as [5]"),
    "a flag": (partial(_clip, once="flag"), "is still there"),
    "always scaled": (partial(_clip, only_long=False), "the gradient [3] and the limit 5, what arrives is [5]"),
    "zeros divided": (
        partial(_clip, only_long=False, scale=lambda limit, n: n.clamp(max=limit) / n), "[nan, nan]"),
    "a norm for each row": (partial(_clip, norm=lambda g: g.norm(dim=-1, keepdim=True)), "[[1.667, 3.333, 3.333]"),
    "the largest entry": (
        partial(_clip, norm=lambda g: g.abs().max()), "the limit 1, what arrives is [0.75, 1]"),
    "entry by entry": (_by_value, "the limit 1, what arrives is [1, 1]"),
    "squares without a root": (
        partial(_clip, norm=lambda g: g.square().sum()), "what arrives is [-0.5]"),
    "divided by the norm only": (partial(_clip, scale=lambda limit, n: 1 / n), "what arrives is [-1]"),
    "one handle for all": (_last_handle, "clip_once(a, 1) and clip_once(b, 2)"),
    "all hooks removed": (_all_removed, "A hook that was on the leaf before"),
    "nothing returned": (_nothing_returned, "what arrives is [-4]"),
}  # fmt: skip


def oracle(clip_once: Callable[..., Any]) -> Any:
    """What arrives at a clipped tensor and at another, twice; which hooks are left."""
    cases = [(torch.tensor(rows), limit) for rows, limit, _ in CASES]
    cases += [(torch.tensor([3e30, 4e-30], dtype=torch.float64), 1.0), (torch.tensor(-7.0), 2.0)]
    cases += [(torch.arange(12.0).reshape(3, 4).T - 5, limit) for limit in (0.1, 1.0, 100.0)]

    def told(grad: Tensor, limit: float, is_leaf: bool) -> Any:
        x, other = (torch.zeros_like(grad, requires_grad=True) for _ in range(2))
        tensors = [x if is_leaf else x * 1, other * 1]
        calls: list[int] = []
        tensors[0].register_hook(lambda _: calls.append(1))
        for each in tensors[: 1 + is_leaf]:
            clip_once(each, limit)
        found = []
        for times in (1, 10, 1):
            x.grad = other.grad = None
            given = grad * times
            torch.autograd.backward(tensors, [given, given], retain_graph=True)
            found += [given, x.grad, other.grad, len(calls), len(tensors[0]._backward_hooks or ())]
        return found

    def beside(grad: Tensor, is_leaf: bool) -> Any:
        """A leaf that holds a gradient, or one of two results of an operation."""
        x = torch.zeros(2, len(grad), dtype=grad.dtype, requires_grad=True)
        x.grad = torch.ones_like(x)
        parts = [x] if is_leaf else list(x.unbind())
        clip_once(parts[0], 5.0)
        torch.autograd.backward([part * 1 for part in parts], [grad.expand_as(p) for p in parts])
        return x.grad

    found = [tried(told, g.clone(), limit, leaf) for g, limit in cases for leaf in (True, False)]
    return found + [tried(beside, torch.tensor([3.0, 1.0]) * k, leaf)
                    for k in (1, 3) for leaf in (True, False)]  # fmt: skip


EXERCISE = Exercise(
    "clip_once",
    "One gradient clipped, nobody else's touched, and no hook left.",
    check_clip_once,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("a clamped factor", by_clamped_factor), Right("an object as a hook", OneClip)),
    may_change=(0,),
    oracle=oracle,
    allows={"returns its argument": "what clip_once returns is free; the hook does the work"},
)
