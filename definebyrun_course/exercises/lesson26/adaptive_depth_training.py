"""An epoch with the network of `adaptive_depth` by autograd, and the judgement of one by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import Drawn, apart, expect, forms, near
from ..measures import by_hand
from .adaptive_depth_cases import rounds_of, twin

__all__ = ["epoch", "epochs", "judge_train", "trained"]

Epoch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float, int, float]
"""Inputs and targets, W, b, v, radius, budget and rate."""
STEPS = "Which parameters does the second input meet?"


def trained(inputs: Tensor, targets: Tensor, *rest: Any) -> tuple[list[Tensor], float, list[int]]:
    """W, b and v after an epoch by autograd, the mean of its losses, and how many rounds each input took."""
    *parameters, radius, budget, rate = rest
    losses, rounds = [], []
    for x, target in zip(inputs, targets, strict=True):
        given = [t.clone().requires_grad_() for t in parameters]
        y = twin(x, *given, radius, budget)
        loss = (y - target).square()
        grads = autograd.grad(loss, given, materialize_grads=True)
        parameters = [t - rate * grad for t, grad in zip(parameters, grads, strict=True)]
        losses.append(loss.item())
        rounds.append(rounds_of(y))
    return parameters, sum(losses) / len(losses), rounds


def epoch(
    draw: Drawn, size: int, norms: tuple[float, ...], dtype: torch.dtype = torch.float64
) -> Epoch:
    """An epoch over inputs of these norms; the larger, the more rounds."""
    W = torch.linalg.qr(draw.normal(size, size))[0] * 0.8
    b, v, targets = draw.normal(size) / 50, draw.normal(size), draw.normal(len(norms))
    inputs = torch.stack(
        [norm * torch.nn.functional.normalize(draw.normal(size), dim=0) for norm in norms]
    )
    inputs, targets, W, b, v = (t.to(dtype) for t in (inputs, targets, W, b, v))
    return inputs, targets, W, b, v, 0.5, 4, 0.1


def epochs() -> Iterator[Epoch]:
    """From one input that takes no round up."""
    yield epoch(Drawn(1), 1, (0.3,))
    for dtype in (torch.float64, torch.float32):
        yield epoch(Drawn(2), 2, (0.9,), dtype)
        yield epoch(Drawn(3), 2, (0.3, 1.5), dtype)
        yield epoch(Drawn(4), 3, (0.6, 3.0, 0.2, 0.9), dtype)


def judge_train(train: Callable[..., Any], words: str, given: Epoch) -> None:
    """Hold the parameters after an epoch, then its loss, against those by autograd."""
    wanted, want_loss, rounds = trained(*given)
    words = f"{words} (rounds: {', '.join(map(str, rounds))})"
    with by_hand("Training"):
        answer = train(*given)
    *found, loss = forms.sequence(answer, "What train gives", 4)
    rtol, atol = (1e-8, 1e-12) if given[0].dtype == torch.float64 else (1e-3, 1e-6)
    for name, new, want, old in zip("Wbv", found, wanted, given[2:5], strict=True):
        new = forms.tensor(new, f"The new {name}", tuple(want.shape))
        expect(
            new.dtype == want.dtype,
            f"For {words} the new {name} is {new.dtype}, and {name} is {want.dtype}.",
            "A parameter keeps its dtype.",
        )
        step, right = new - old, want - old
        expect(
            near(step, right, rtol, atol),
            f"For {words} {name} takes a step of norm {float(step.norm()):.4g}; the right step has norm "
            f"{float(right.norm()):.4g}, and {float((step - right).norm()):.4g} lies between their ends.",
            STEPS if len(rounds) > 1 else "How does the squared error change with the output?",
        )
    found_loss = forms.number(loss, "The loss")
    texts = apart(found_loss, want_loss)
    expect(
        near(found_loss, want_loss, rtol=rtol, atol=atol),
        f"For {words} the loss is {texts[0]}; the mean of the epoch, each before its step, is {texts[1]}.",
        "Write the loss of each input down. Which parameters made it, and what becomes of all of them?",
    )
