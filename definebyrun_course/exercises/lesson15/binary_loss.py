"""Exercise `binary_loss`: cross-entropy of one logit, with its gradient, where a clipped probability stands still."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch.nn import functional as F

from ...grading import Exercise, Right, Wrong, apart, drawn, expect, forms, near, tried
from ..mistakes import then
from .arrays import compare, given, numbers, several

__all__ = ["EXERCISE"]

LARGE = "Which number of your formula leaves the range of its dtype there? Write the loss as a function of the logit."
CLIPPED = "What is clipped, or has a small number added, stands still: the gradient must be p - y there as well."
MEAN = "A mean over the batch of ln(1 + exp(z)) - y z."
GRADIENT = "What the network believes minus what is true, divided by the batch once."
Case = tuple[ndarray, ndarray]


def cases() -> list[Case]:
    """Logits and targets; from the smallest up."""
    both = lambda z, y, dtype=np.float64: (np.array(z, dtype), np.array(y))  # noqa: E731
    return [
        both([0.0], [1]),
        both([1.5], [0]),
        both([1.0, -2.0], [0.0, 1.0]),
        both([0.5, -1.0, 2.0], [0.7, 0.25, 0.0]),
        both([20.0], [0]),
        both([20.0], [1]),
        both([40.0, -40.0], [0, 1], np.float32),
        both([-25.0], [1.0], np.float32),
        both([100.0, -0.5], [0.5, 0.5], np.float32),
        both([1000.0, -1000.0], [0, 1], np.float32),
        both([1000.0, -1000.0, 3.0], [1, 0, 1]),
        both([20.0], [1], np.float32),
        (numbers(5), np.array([0.0, 1.0, 0.3, 1.0, 0.0])),
        (numbers(4, seed=2).astype(np.float32), np.array([0, 1, 1, 0])),
    ]


def right_result(logits: ndarray, y: ndarray) -> tuple[float, ndarray]:
    """By PyTorch, in float64."""
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(z, torch.tensor(y, dtype=torch.float64))
    return loss.item(), torch.autograd.grad(loss, z)[0].numpy()


def check_binary_loss(binary_loss: Callable[..., Any]) -> None:
    """`binary_loss(logits, y)` returns the mean loss and the gradient, for all finite logits."""
    for logits, y in cases():
        _ask(binary_loss, logits, y)
    draw = drawn()
    size = draw.whole(2, 7)
    logits = draw.normal(size).numpy() * 10.0 ** draw.whole(0, 3)
    _ask(binary_loss, logits, np.array([draw.whole(0, 4) / 4 for _ in range(size)]), f" ({draw})")


def _ask(binary_loss: Any, logits: ndarray, y: ndarray, seed: str = "") -> None:
    with np.errstate(all="ignore"):
        loss, grad = several(binary_loss(logits, y), "loss gradient")
    loss, grad = forms.number(loss, "The loss"), forms.array(grad, "The gradient")
    where = f"{given(logits=logits, y=y)}, in {logits.dtype}{seed}"
    true_loss, true = right_result(logits, y)
    n = len(y)
    expect(np.isfinite(loss), f"The loss is {loss:g}, {where}.", LARGE)
    expect(bool(np.isfinite(grad).all()), f"The gradient is not finite, {where}.", LARGE)
    stands = grad.shape == true.shape and near(np.abs(grad).max(), 0.0, atol=1e-6)
    expect(
        not stands or near(true, np.zeros_like(true), atol=1e-6),
        f"The gradient is zero where the network is most wrong, {where}.",
        CLIPPED,
    )
    expect(n == 1 or not near(loss, n * true_loss, atol=0), f"The loss is a sum, {where}.", MEAN)
    texts = apart(loss, true_loss)
    expect(
        near(loss, true_loss, rtol=2e-5, atol=1e-37),
        f"The loss is {texts[0]}, not {texts[1]}, {where}.",
        CLIPPED if abs(loss) < true_loss or true_loss < 1e-3 else MEAN,
    )
    if n > 1 and grad.shape == true.shape:
        expect(not near(grad, n * true), f"The gradient is that of a sum, {where}.", GRADIENT)
    if grad.shape != true.shape or not near(grad, true, rtol=2e-5, atol=1e-6):
        compare("The gradient", grad, true, where, GRADIENT)
    expect(
        grad.dtype == logits.dtype,
        f"{logits.dtype} logits got a gradient in {grad.dtype}, {where}.",
        "A whole number in an array has a dtype of its own, and so has an array of targets.",
    )


# ---- right answers, found in other ways ----


def by_sign(logits: ndarray, y: ndarray) -> list[Any]:
    """Each example by the exponential that is small."""
    losses, grads = [], []
    for z, target in zip(logits.tolist(), np.asarray(y, float).tolist(), strict=True):
        small = np.exp(-abs(z))
        p = 1 / (1 + small) if z >= 0 else small / (1 + small)
        losses.append(((1 - target) * z if z >= 0 else -target * z) + np.log1p(small))
        grads.append((p - target) / len(y))
    return [sum(losses) / len(y), np.array(grads, logits.dtype)]


def by_logaddexp(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    """y times the loss of a yes, and the rest times that of a no."""
    y = np.asarray(y, logits.dtype)
    loss = y * np.logaddexp(0, -logits) + (1 - y) * np.logaddexp(0, logits)
    return loss.mean(), (np.exp(-np.logaddexp(0, -logits)) - y) / len(y)


# ---- wrong answers ----


def _binary(
    logits: ndarray, y: ndarray, power: int = 1, total: bool = False, soft: bool = True,
    sign: int = 1, wide: bool = False, axis_mean: bool = True,
) -> tuple[Any, ndarray]:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    y = np.asarray(y, logits.dtype)
    y = y if soft else np.round(y)
    small = np.exp(-np.abs(logits))
    loss = (np.maximum(logits, 0) - y * logits + np.log1p(small)).mean()
    p = np.where(logits > 0, 1, small) / (1 + small)
    grad = sign * (p - y) / len(y) ** power
    return loss * (len(y) if total else 1), grad.astype(np.float64 if wide else logits.dtype)


def _given(logits: ndarray, y: ndarray, least: float = 1e-8) -> tuple[Any, ndarray]:
    """The program of the statement."""
    p = np.clip(1 / (1 + np.exp(-logits)), least, 1 - least)
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    dp = ((1 - y) / (1 - p) - y / p) / len(y)
    inside = (p > least) & (p < 1 - least)
    return loss, (dp * p * (1 - p) * inside).astype(logits.dtype)


def _clipped_loss_alone(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    return _given(logits, y)[0], _binary(logits, y)[1]


def _clipped_logits(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    return _binary(np.clip(logits, -50, 50), y)


def _overflows(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    loss = (np.log(1 + np.exp(logits)) - y * logits).mean()
    return loss, _binary(logits, y)[1]


def _subtracted_late(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    """ln(1 + exp(z)) is whole before y z is taken off."""
    loss = (np.logaddexp(0, logits) - np.asarray(y, logits.dtype) * logits).mean()
    return loss, _binary(logits, y)[1]


def _not_log1p(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    small = np.exp(-np.abs(logits))
    loss = (np.maximum(logits, 0) - np.asarray(y, logits.dtype) * logits + np.log(1 + small)).mean()
    return loss, _binary(logits, y)[1]


WRONG = {
    "the program as it was": (_given, "The gradient is zero where the network is most wrong"),
    "a smaller clip": (partial(_given, least=1e-15), "The loss is inf, with logits = [40"),
    "the loss clipped alone": (_clipped_loss_alone, "The loss is 18.42, not 20"),
    "clipped logits": (_clipped_logits, "The loss is 12.86"),
    "an exponential that overflows": (_overflows, "The loss is inf, with logits = [100"),
    "subtracted late": (_subtracted_late, "The loss is 0, not"),
    "one plus something small": (_not_log1p, "The loss is 0, not"),
    "gradient of the sum": (partial(_binary, power=0), "that of a sum"),
    "divided twice": (partial(_binary, power=2), "The gradient is [0.1828, -0.2202]"),
    "the sum's loss": (partial(_binary, total=True), "The loss is a sum"),
    "targets rounded": (partial(_binary, soft=False), "The loss is 0.9714"),
    "the other sign": (partial(_binary, sign=-1), "The gradient is [0.5], not [-0.5]"),
    "float64 for all": (partial(_binary, wide=True), "a gradient in float64"),
    "the loss alone": (lambda logits, y: _binary(logits, y)[0], "returns two things"),
    "logits overwritten": (then(_binary, lambda logits, y: logits.fill(0)), "logits is not what it was"),
    "targets overwritten": (then(_binary, lambda logits, y: y.fill(0)), "y is not what it was"),
}  # fmt: skip


def oracle(binary_loss: Callable[..., Any]) -> Any:
    """Loss and gradient with its dtype, for many logits, and the arguments afterwards."""

    def told(logits: ndarray, y: ndarray) -> Any:
        with np.errstate(all="ignore"):
            loss, grad = several(binary_loss(logits, y), "loss gradient")
        fine = np.asarray(grad, dtype=np.float64)
        return [float(f"{float(loss):.4g}"), fine.round(4) + 0.0, str(np.asarray(grad).dtype)]

    wide = cases()
    for n in (1, 2, 7):
        for scale in (1e-3, 1.0, 30.0, 1e4):
            for dtype in (np.float32, np.float64):
                logits = (numbers(2 * n, seed=n)[::2] * scale).astype(dtype)
                wide.append((logits, np.linspace(0, 1, n)))
    return [tried(told, logits.copy(), y.copy()) for logits, y in wide]


EXERCISE = Exercise(
    "binary_loss",
    "Right where it was stuck, in both dtypes, and for yes, no and in between.",
    check_binary_loss,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("one by one", by_sign), Right("by logaddexp, twice", by_logaddexp)),
    oracle=oracle,
)
