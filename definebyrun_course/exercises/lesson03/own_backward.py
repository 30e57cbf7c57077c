"""Exercise `own_backward`: `backward` made of `autograd.grad`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, near, plain, shown

__all__ = ["EXERCISE"]

Backward = Callable[[Tensor, list[Tensor]], Any]
Case = tuple[str, Callable[[], Tensor], dict[str, Tensor], list[str]]
"""Code, a function that computes the loss, the leaves, and the names of those that have a `.grad` already."""


def _cases(draw: Drawn, source: str = "") -> list[Case]:
    cases: list[Case] = []
    for dtype in (torch.float32, torch.float64):
        a, b, c = (draw.normal(2).to(dtype).requires_grad_() for _ in range(3))
        m, k = draw.normal(3, 2).to(dtype).requires_grad_(), draw.normal(2).to(dtype)
        cases += [
            (f"(a * a).sum(){source}", lambda a=a: (a * a).sum(), {"a": a}, []),
            (f"(a * b).sum(){source}", lambda a=a, b=b: (a * b).sum(), {"a": a, "b": b}, ["b"]),
            (f"(a * a).sum() beside an unused c{source}", lambda a=a: (a * a).sum(), {"a": a, "c": c}, []),
            (f"(a * a).sum() beside an unused c with a .grad{source}", lambda a=a: (a * a).sum(),
             {"c": c, "a": a}, ["a", "c"]),
            (f"(m @ a).sin().mean(){source}", lambda m=m, a=a: (m @ a).sin().mean(), {"m": m, "a": a}, ["m"]),
            (f"((a + c) * k).sum(){source}", lambda a=a, c=c, k=k: ((a + c) * k).sum(), {"a": a, "c": c}, []),
            (f"(a + c).sum(){source}", lambda a=a, c=c: (a + c).sum(), {"a": a, "c": c}, []),
        ]  # fmt: skip
    return cases


def check_backward(backward: Backward) -> None:
    """`my_backward(loss, leaves)` leaves in every `.grad` what `loss.backward()` would have left."""
    fresh = drawn()
    for case in (*_cases(Drawn(2)), *_cases(fresh, f" ({fresh})")):
        _judge(backward, *case)


def _judge(
    backward: Backward,
    code: str,
    loss_of: Callable[[], Tensor],
    leaves: dict[str, Tensor],
    had: list[str],
) -> None:
    for name, leaf in leaves.items():
        leaf.grad = torch.full_like(leaf, 7.0) if name in had else None
    values = {name: leaf.detach().clone() for name, leaf in leaves.items()}
    old = {name: leaf.grad for name, leaf in leaves.items()}
    loss = loss_of()
    grads = autograd.grad(loss, [*leaves.values()], retain_graph=True, allow_unused=True)
    want = {
        name: (old[name] if grad is None else grad if old[name] is None else grad + 7.0)
        for name, grad in zip(leaves, grads, strict=True)
    }
    want = {name: None if grad is None else grad.clone() for name, grad in want.items()}
    backward(loss, [*leaves.values()])
    for name, leaf in leaves.items():
        right, found = want[name], leaf.grad
        before = "None" if old[name] is None else "full of sevens"
        where = f"For {code} {name}.grad was {before} before"
        expect(
            near(leaf.detach(), values[name], rtol=0, atol=0) and leaf.requires_grad,
            f"For {code} yours has changed {name} itself.",
            "A pass writes to .grad, never to the leaf.",
        )
        if right is None:
            expect(
                found is None,
                f"{where}, the loss does not use {name}, and now it is {shown(found)}.",
                "Nothing was sent there: None stays None, so that an optimizer skips it.",
            )
            continue
        expect(
            found is not None,
            f"{where} and is None afterwards.",
            "Each leaf that the loss uses gets its gradient.",
        )
        expect(
            near(found, right, rtol=1e-4),
            f"{where} and is {shown(found)} afterwards; it should be {shown(right)}.",
            "What was there is added to, and a leaf that is not used keeps what it had.",
        )
        expect(
            old[name] is None or found is old[name],
            f"{where}, and another tensor has taken its place.",
            "backward adds in place: who holds the old tensor sees the sum.",
        )
        expect(
            not found.requires_grad,
            f"For {code} {name}.grad has requires_grad=True.",
            "A gradient is data, unless create_graph=True was given.",
        )
    _of_their_own(code, leaves)
    _freed(code, loss, leaves)


def _of_their_own(code: str, leaves: dict[str, Tensor]) -> None:
    """Writing into one gradient changes no other."""
    grads = [(name, leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None]
    for name, grad in grads:
        expect(
            0 not in grad.stride(),
            f"For {code} nothing can be added to {name}.grad in place: its entries share one number in memory.",
            "What autograd.grad returns may be one number, expanded; a leaf needs a tensor of its own.",
        )
        others = [(other, t, t.clone()) for other, t in grads if other != name]
        with torch.no_grad():
            grad += 1.0
        for other, now, before in others:
            expect(
                near(now, before, rtol=0, atol=0),
                f"For {code} adding to {name}.grad changes {other}.grad as well.",
                "autograd.grad may return one tensor for two leaves; each leaf needs its own.",
            )


def _freed(code: str, loss: Tensor, leaves: dict[str, Tensor]) -> None:
    if code.startswith("(a + c)"):
        return  # an addition saves nothing
    try:
        autograd.grad(loss, [*leaves.values()], allow_unused=True)
    except RuntimeError:
        return
    expect(False, f"For {code} the graph still holds its saved tensors.", "backward frees it.")


# ---- answers ----


def passed(
    loss: Tensor,
    leaves: list[Tensor],
    new: Callable[[Tensor], Tensor] = lambda grad: grad.clone(),
    add: Callable[[Tensor, Tensor], Any] = lambda leaf, grad: leaf.grad.add_(grad),
    options: dict[str, bool] | None = None,
) -> None:
    """The solution with its usual mistakes as switches."""
    grads = autograd.grad(loss, leaves, **(options or {"allow_unused": True}))
    for leaf, grad in zip(leaves, grads, strict=True):
        if grad is not None:
            if leaf.grad is None:
                leaf.grad = new(grad)
            else:
                add(leaf, grad)


def _one_by_one(loss: Tensor, leaves: list[Tensor]) -> None:
    """A pass for each leaf; the last one frees the graph, also when its leaf is not used."""
    for leaf in leaves:
        (grad,) = autograd.grad(loss, leaf, retain_graph=True, allow_unused=True)
        if grad is not None and leaf.grad is not None:
            with torch.no_grad():
                leaf.grad += grad
        elif grad is not None:
            leaf.grad = 1 * grad
    autograd.grad(loss, leaves, allow_unused=True)


def _from_zeros(loss: Tensor, leaves: list[Tensor]) -> None:
    """Where there was None, zeros of its own take the sum."""
    for leaf, grad in zip(leaves, autograd.grad(loss, leaves, allow_unused=True), strict=True):
        if grad is None:
            continue
        if leaf.grad is None:
            leaf.grad = torch.zeros_like(leaf).detach()
        leaf.grad.add_(grad)


def _cloned_for_the_second(loss: Tensor, leaves: list[Tensor]) -> None:
    """No two leaves share a tensor; the entries of the first may still be one number."""
    taken: list[int] = []

    def new(grad: Tensor) -> Tensor:
        mine = (
            grad.clone(memory_format=torch.contiguous_format) if grad.data_ptr() in taken else grad
        )
        taken.append(grad.data_ptr())
        return mine

    passed(loss, leaves, new=new)


def _replaced(loss: Tensor, leaves: list[Tensor]) -> None:
    for leaf, grad in zip(leaves, autograd.grad(loss, leaves, allow_unused=True), strict=True):
        leaf.grad = None if grad is None else grad.clone()


def _moved(loss: Tensor, leaves: list[Tensor]) -> None:
    passed(loss, leaves)
    for leaf in leaves:
        leaf.data -= 0.1


def _stored(leaf: Tensor, grad: Tensor) -> None:
    leaf.grad = leaf.grad + grad


def after(backward: Backward) -> Any:
    """The oracle: every `.grad`, whether it is the old tensor, and whether the graph is freed."""
    found: list[Any] = []
    for seed in range(3):
        for code, loss_of, leaves, had in _cases(Drawn(200 + seed)):
            for name, leaf in leaves.items():
                leaf.grad = torch.full_like(leaf, 7.0) if name in had else None
            old, loss = [leaf.grad for leaf in leaves.values()], loss_of()
            try:
                backward(loss, [*leaves.values()])
                told: Any = None
            except Exception as error:
                told = type(error).__name__
            grads = [leaf.grad for leaf in leaves.values()]
            kept = [one is two for one, two in zip(old, grads, strict=True)]
            asks = [grad is not None and grad.requires_grad for grad in grads]
            expanded = [grad is not None and 0 in grad.stride() for grad in grads]
            places = [None if grad is None else grad.data_ptr() for grad in grads]
            real = [place for place in places if place is not None]
            shared = len(set(real)) < len(real)
            try:
                autograd.grad(loss, [*leaves.values()], allow_unused=True)
                freed = code.startswith("(a + c)")
            except RuntimeError:
                freed = True
            found.append(
                [told, plain(grads), kept, asks, expanded, shared, freed, plain([*leaves.values()])]
            )
    return found


EXERCISE = Exercise(
    "own_backward",
    "Added in place, None where nothing was sent, and no gradient shared.",
    check_backward,
    (
        Wrong("replaced", _replaced, "afterwards; it should be"),
        Wrong(
            "stored as returned",
            lambda *a: passed(*a, new=lambda grad: grad),
            "changes c.grad as well",
        ),
        Wrong(
            "cloned for the second leaf only",
            _cloned_for_the_second,
            "its entries share one number in memory",
        ),
        Wrong(
            "a new sum", lambda *a: passed(*a, add=_stored), "another tensor has taken its place"
        ),
        Wrong(
            "zeros for unused leaves",
            lambda *a: passed(*a, options={"materialize_grads": True}),
            "the loss does not use c, and now it is [0, 0]",
        ),
        Wrong(
            "unused leaves not allowed",
            lambda *a: passed(*a, options={"allow_unused": False}),
            "appears to not have been used in the graph",
        ),
        Wrong(
            "retained",
            lambda *a: passed(*a, options={"allow_unused": True, "retain_graph": True}),
            "the graph still holds its saved tensors",
        ),
        Wrong(
            "with a graph of its own",
            lambda *a: passed(*a, options={"allow_unused": True, "create_graph": True}),
            "has requires_grad=True",
        ),
        Wrong(
            "only where None was",
            lambda *a: passed(*a, add=lambda leaf, grad: None),
            "afterwards; it should be",
        ),
        Wrong(
            "returned only",
            lambda loss, leaves: autograd.grad(loss, leaves, allow_unused=True),
            "is None afterwards",
        ),
        Wrong("a step, too", _moved, "has changed a itself"),
    ),
    right=(
        Right("one by one", _one_by_one),
        Right("from zeros", _from_zeros),
    ),
    may_change=(1,),
    oracle=after,
    allows={"returns its argument": "what it returns is asked nowhere"},
)
