"""Exercise `peek`: a gradient that is returned, and no trace of the pass."""

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
    tried,
)
from ..mistakes import then

__all__ = ["EXERCISE"]

Peek = Callable[[Tensor, Tensor], Any]
Case = tuple[str, Tensor, dict[str, Tensor]]
AGAIN = "The pass that comes later needs what the nodes have saved."


def _cases(draw: Drawn, source: str = "") -> list[Case]:
    """A loss, its code, and its leaves; `w` is the one that is asked for, and some have a `.grad` already."""
    cases: list[Case] = []
    for dtype in (torch.float32, torch.float64):
        w = draw.normal(2).to(dtype).requires_grad_()
        cases.append(("(3 * w).sum()", (3 * w).sum(), {"w": w}))
        w = draw.normal(3).to(dtype).requires_grad_()
        w.grad = torch.full_like(w, 5.0)
        cases.append(("(w * w).sum(), where w has a .grad already", (w * w).sum(), {"w": w}))
        w = draw.normal(2, 3).to(dtype).requires_grad_()
        b, c = (draw.normal(2).to(dtype).requires_grad_() for _ in range(2))
        c.grad = torch.full_like(c, 2.0)
        loss = ((w @ w.T + b).sin() * c).mean()
        cases.append((f"((w @ w.T + b).sin() * c).mean(){source}", loss, {"w": w, "b": b, "c": c}))
    return cases


def check_peek(peek: Peek) -> None:
    """`peek(loss, w)` returns the gradient, changes no `.grad`, and the graph can be used again."""
    fresh = drawn()
    for code, loss, leaves in (*_cases(Drawn(1)), *_cases(fresh, f" ({fresh})")):
        w = leaves["w"]
        (want,) = autograd.grad(loss, w, retain_graph=True)
        before = {name: None if t.grad is None else t.grad.clone() for name, t in leaves.items()}
        found = peek(loss, w)
        for name, leaf in leaves.items():
            old = before[name]
            expect(
                leaf.grad is None
                if old is None
                else leaf.grad is not None and near(leaf.grad, old),
                f"For {code} {name}.grad was {shown(old)} before and is {shown(leaf.grad)} afterwards.",
                "One of the two functions that run a pass stores nothing.",
            )
        expect(
            not isinstance(found, (tuple, list)),
            f"For {code} you returned {forms.said(found)}: a gradient in a {type(found).__name__}.",
            "One gradient for each tensor that was asked for; take it out.",
        )
        found = forms.tensor(found, "peek", tuple(want.shape))
        expect(
            near(found, want, rtol=1e-4),
            f"For {code} you returned {shown(found)}; the gradient of w is {shown(want)}.",
            "What was in .grad before has no part in it.",
        )
        _still_whole(code, loss, leaves)


def _still_whole(code: str, loss: Tensor, leaves: dict[str, Tensor]) -> None:
    try:
        autograd.grad(loss, [*leaves.values()])
    except RuntimeError as error:
        expect(
            "second time" not in str(error),
            f"After yours loss.backward() is refused, for {code}.",
            AGAIN,
        )
        raise


# ---- answers ----


def _by_backward(loss: Tensor, w: Tensor, keep: bool = True, clear: bool = True) -> Tensor:
    if clear:
        w.grad = None
    loss.backward(retain_graph=keep)
    found = w.grad.clone()
    if clear:
        w.grad = None
    return found


def _put_back(loss: Tensor, w: Tensor) -> Tensor:
    """Only `w` is written, and it gets back what it had."""
    before, w.grad = w.grad, None
    loss.backward(inputs=[w], retain_graph=True)
    found, w.grad = w.grad, before
    return found


def _only_w_put_back(loss: Tensor, w: Tensor) -> Tensor:
    """`backward` reaches every leaf; the caller's other ones keep what came."""
    before, w.grad = w.grad, None
    loss.backward(retain_graph=True)
    found, w.grad = w.grad, before
    return found


def _with_a_row(loss: Tensor, w: Tensor) -> Tensor:
    (found,) = autograd.grad([loss], [w], [torch.ones_like(loss)], retain_graph=True)
    return found


def peeked(peek: Peek) -> Any:
    """The oracle: the gradient, every `.grad` afterwards, and whether the graph still works."""
    found: list[Any] = []
    for seed in range(3):
        for _, loss, leaves in _cases(Drawn(100 + seed)):
            told = tried(lambda loss=loss, leaves=leaves: peek(loss, leaves["w"]))
            after = [plain([leaf.grad, leaf.detach()]) for leaf in leaves.values()]
            found.append([told, after, tried(lambda loss=loss: loss.backward())])
    return found


EXERCISE = Exercise(
    "peek",
    "A gradient in the hand, and nothing changed.",
    check_peek,
    (
        Wrong(
            "by backward",
            lambda loss, w: _by_backward(loss, w, clear=False),
            "w, its .grad",
        ),
        Wrong(
            "by backward, then cleared",
            _by_backward,
            "w, its .grad",
        ),
        Wrong("w put back, the others not", _only_w_put_back, "b.grad was None before"),
        Wrong(
            "nothing retained",
            lambda loss, w: autograd.grad(loss, w)[0],
            "loss.backward() is refused",
        ),
        Wrong(
            "the tuple",
            lambda loss, w: autograd.grad(loss, w, retain_graph=True),
            "a gradient in a tuple",
        ),
        Wrong(
            "on top of the old one",
            lambda loss, w: (
                autograd.grad(loss, w, retain_graph=True)[0] + (0 if w.grad is None else w.grad)
            ),
            "; the gradient of w is",
        ),
        Wrong(
            "the sum of its entries",
            lambda loss, w: autograd.grad(loss, w, retain_graph=True)[0].sum(),
            "peek returns the shape (2,) here",
        ),
        Wrong("the value", lambda loss, w: loss.detach(), "peek returns the shape (2,) here"),
        Wrong(
            "no return",
            lambda loss, w: autograd.grad(loss, w, retain_graph=True) and None,
            "Is a `return` missing?",
        ),
        Wrong(
            "w moved",
            then(_put_back, lambda loss, w: w.data.mul_(2)),
            "what it was given: w is",
        ),
    ),
    right=(
        Right("backward with inputs, put back", _put_back),
        Right("with a row of one", _with_a_row),
    ),
    oracle=peeked,
)
