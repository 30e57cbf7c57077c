"""Exercise `cross_entropy`: cross-entropy and its gradient, for logits of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch.nn import functional as F

from ...grading import (
    Exercise,
    Right,
    Wrong,
    apart,
    counted,
    drawn,
    expect,
    expect_digits,
    forms,
    has_digits,
    near,
    tried,
)
from ..mistakes import then
from .arrays import compare, numbers, several

__all__ = ["EXERCISE"]

SHIFT = "Subtract the largest logit of each row first, and take no logarithm of a probability."
MEAN = "The loss is the mean over the batch of logsumexp minus the logit of the true class."
Case = tuple[str, ndarray, ndarray]


def cases() -> list[Case]:
    """Words, logits, classes; from the smallest up."""
    single, y = np.float32, np.array([0, 3, 3, 1, 2])
    far = np.array([[1e4, 0.0, -1e4], [-5e3, -6e3, -5e3]])
    rows = lambda *rows, dtype=np.float64: np.array(rows, dtype=dtype)  # noqa: E731
    return [
        ("logits [[0, 0]], class 0", rows([0.0, 0.0]), np.array([0])),
        ("logits [[1, -1]], class 1", rows([1.0, -1.0]), np.array([1])),
        ("a single class", rows([0.3], [2.0]), np.array([0, 0])),
        ("logits [[1, 0, 2], [0, 1, -1]], classes [0, 2]", rows([1.0, 0, 2], [0, 1, -1]), np.array([0, 2])),
        ("5 examples and 4 classes", numbers(5, 4), y),
        ("5 examples and 4 classes in float32", numbers(5, 4, seed=1).astype(single), y),
        ("logits [[89, 0], [0, 89]] in float32", rows([89, 0], [0, 89], dtype=single), np.array([1, 0])),
        ("logits [[120, 0]] in float32, class 1", rows([120, 0], dtype=single), np.array([1])),
        ("logits [[0, 20000, 20001]] in float32, class 2", rows([0, 20000, 20001], dtype=single), np.array([2])),
        ("logits [[20000, 0], [0.3, 1.1]] in float32", rows([20000, 0], [0.3, 1.1], dtype=single), np.array([0, 1])),
        ("logits [[-900, -900, -901]], class 2", rows([-900.0, -900, -901]), np.array([2])),
        ("logits [[10000, 0, -10000], [-5000, -6000, -5000]]", far, np.array([2, 0])),
        ("logits [[1e30, -1e30]] in float32, class 1", rows([1e30, -1e30], dtype=single), np.array([1])),
    ]  # fmt: skip


def right_result(logits: ndarray, y: ndarray) -> tuple[float, ndarray]:
    """By PyTorch, in float64."""
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    loss = F.cross_entropy(z, torch.tensor(y, dtype=torch.int64))
    return loss.item(), torch.autograd.grad(loss, z)[0].numpy()


def check_cross_entropy(stable_cross_entropy: Callable[..., Any]) -> None:
    """`stable_cross_entropy(logits, y)` returns the mean loss and the gradient, for all finite logits."""
    for words, logits, y in cases():
        _ask(stable_cross_entropy, words, logits, y)
    draw = drawn()
    n, k = draw.whole(2, 6), draw.whole(2, 6)
    logits = draw.normal(n, k).numpy() * 10.0 ** draw.whole(0, 4)
    y = np.array([draw.whole(0, k - 1) for _ in range(n)])
    words = f"{counted(n, 'example')}, {k} classes, logits up to {abs(logits).max():.2g} ({draw})"
    _ask(stable_cross_entropy, words, logits, y)


def _ask(stable_cross_entropy: Any, words: str, logits: ndarray, y: ndarray) -> None:
    with np.errstate(all="ignore"):
        loss, grad = several(stable_cross_entropy(logits, y), "loss gradient")
    loss, grad = forms.number(loss, "The loss"), forms.array(grad, "The gradient")
    where, n = f"for {words}", len(y)
    true_loss, true = right_result(logits, y)
    expect(np.isfinite(loss), f"The loss is {loss:g}, {where}.", SHIFT)
    expect(
        np.isfinite(grad).all(),
        f"The gradient holds {'nan' if np.isnan(grad).any() else 'inf'}, {where}.",
        SHIFT,
    )
    expect(
        n == 1 or not near(loss, n * true_loss, atol=0) or true_loss == 0,
        f"The loss is the sum over the batch, {where}.",
        MEAN,
    )
    expect(not near(loss, -true_loss, atol=1e-12) or true_loss == 0, f"The loss has the wrong sign, {where}.",
           "The logarithm of a probability is negative.")  # fmt: skip
    texts = apart(loss, true_loss)
    expect(
        near(loss, true_loss, atol=1e-6 if true_loss < 1 else 0.0),
        f"The loss is {texts[0]}, not {texts[1]}, {where}.",
        MEAN,
    )
    if n > 1 and grad.shape == true.shape and np.abs(true).max() > 1e-3:
        expect(
            not near(grad, n * true),
            f"The gradient is that of the sum, {where}.",
            "The loss is a mean.",
        )
        expect(not near(grad, true / n), f"The gradient is divided by the batch twice, {where}.",
               "Once belongs to the mean.")  # fmt: skip
    own = "The probabilities; at the true class something more happens; and the mean is a mean over the batch."
    compare("The gradient", grad, true, where, own)
    expect_digits("The loss", loss, true_loss, logits.dtype, where)
    expect_digits("The gradient", grad, true, logits.dtype, where)
    expect(
        grad.dtype == logits.dtype,
        f"{logits.dtype} logits got a gradient in {grad.dtype}.",
        "Which step brings in the other dtype? A Python number does not; an array of NumPy's own default does.",
    )


# ---- right answers, found in other ways ----


def by_logaddexp(logits: ndarray, y: ndarray) -> tuple[float, ndarray]:
    shifted = logits - np.amax(logits, axis=1, keepdims=True)
    log_p = shifted - np.logaddexp.reduce(shifted, axis=1, keepdims=True)
    onehot = np.arange(logits.shape[1]) == y[:, None]
    return float(-log_p[onehot].mean()), ((np.exp(log_p) - onehot) / len(y)).astype(logits.dtype)


def by_rows(logits: ndarray, y: ndarray) -> list[Any]:
    total, grad = 0.0, np.empty_like(logits)
    for nth, (row, label) in enumerate(zip(logits, y, strict=True)):
        top = row.max()
        e = np.exp(row - top)
        total += float(top - row[label]) + float(np.log(e.sum()))
        grad[nth] = e / e.sum() / len(y)
        grad[nth, label] -= 1 / len(y)
    return [total / len(y), grad]


# ---- wrong answers ----


def _loss(
    logits: ndarray, y: ndarray, axis: int | None = 1, log: str = "shifted", power: int = 1,
    total: bool = False, onehot: bool = True, sign: int = 1, softmax_axis: int = 1, wide: bool = False,
) -> tuple[Any, ndarray]:  # fmt: skip
    """The solution with its usual mistakes as switches; `axis` 0 stands for no shift."""
    rows = np.arange(len(y))
    shifted = logits - (logits.max(axis=axis, keepdims=True) if axis != 0 else 0)
    sums = np.exp(shifted).sum(axis=softmax_axis, keepdims=True)
    p = np.exp(shifted) / sums
    tiny = 1e-12 if log == "with epsilon" else 0
    log_p = shifted - np.log(sums) if log == "shifted" else np.log(p + tiny)
    grad = np.exp(log_p) if log == "shifted" else p
    if onehot:
        grad[rows, y] -= 1
    loss = -sign * log_p[rows, y].mean() * (len(y) if total else 1)
    return loss, (grad / len(y) ** power).astype(np.float64 if wide else logits.dtype)


def _in_place(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    logits -= logits.max(axis=1, keepdims=True)
    return _loss(logits, y)


def _late_shift(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    """Adds the maximum to the logarithm again, before anything is subtracted."""
    top = logits.max(axis=1, keepdims=True)
    log_p = logits - (top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))
    grad = np.exp(log_p)
    grad[np.arange(len(y)), y] -= 1
    return -log_p[np.arange(len(y)), y].mean(), grad / len(y)


def _clipped(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    return _loss(np.clip(logits, -500, 500), y)


def _single(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    loss, grad = _loss(logits.astype(np.float32), y)
    return float(loss), grad.astype(logits.dtype)


WRONG = {
    "in float32": (_single, "The loss is right in the digits of float32 alone: 0.6931"),
    "the gradient in float32": (
        lambda logits, y: (_loss(logits, y)[0], _single(logits, y)[1]), "The gradient is right in the digits"),
    "no shift": (partial(_loss, axis=0), "The loss is inf, for logits [[89"),
    "one maximum for all": (partial(_loss, axis=None), "The loss is -inf, for logits [[20000, 0], [0.3"),
    "log of softmax": (partial(_loss, log="of softmax"), "The loss is inf, for logits [[120, 0]]"),
    "an added epsilon": (partial(_loss, log="with epsilon"), "The loss is 27.63"),
    "digits lost in a large number": (_late_shift, "The loss is 0.3125, not 0.3133"),
    "clipped logits": (_clipped, "The loss is 0.6931, not 0.3133"),
    "gradient of the sum": (partial(_loss, power=0), "that of the sum"),
    "divided twice": (partial(_loss, power=2), "twice"),
    "the sum's loss": (partial(_loss, total=True), "the sum over the batch"),
    "the sign": (partial(_loss, sign=-1), "the wrong sign"),
    "nothing subtracted": (partial(_loss, onehot=False), "[[0.5, 0.5]], not [[-0.5, 0.5]]"),
    "along the batch": (partial(_loss, softmax_axis=0), "The loss is 0, not 0.6931"),
    "float64 for all": (partial(_loss, wide=True), "a gradient in float64"),
    "the loss alone": (lambda logits, y: _loss(logits, y)[0], "returns two things"),
    "logits overwritten": (_in_place, "logits is not what it was"),
    "classes overwritten": (then(_loss, lambda logits, y: y.fill(0)), "y is not what it was"),
}  # fmt: skip


def oracle(stable_cross_entropy: Callable[..., Any]) -> Any:
    """Loss and gradient with its dtype, for many logits, and the arguments afterwards."""

    def told(logits: ndarray, y: ndarray) -> Any:
        with np.errstate(all="ignore"):
            loss, grad = several(stable_cross_entropy(logits, y), "loss gradient")
        fine = np.asarray(grad, dtype=np.float64)
        pairs = zip((loss, grad), right_result(logits, y), strict=True)
        digits = [has_digits(one, two, logits.dtype) for one, two in pairs]
        return [float(f"{float(loss):.4g}"), fine.round(4), str(np.asarray(grad).dtype), digits]

    wide: list[tuple[ndarray, ndarray]] = [case[1:] for case in cases()]
    for n, k in ((1, 1), (1, 7), (2, 3), (7, 2)):
        for scale in (1e-6, 1.0, 50.0, 1e6):
            for dtype in (np.float32, np.float64):
                logits = (numbers(2 * n, 2 * k, seed=n)[::2, ::2] * scale).astype(dtype)
                wide.append((logits, np.arange(n) % k))
    return [tried(told, logits.copy(), y.copy()) for logits, y in wide]


EXERCISE = Exercise(
    "cross_entropy",
    "Right for small and for huge logits, in both dtypes, and divided by the batch once.",
    check_cross_entropy,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by logaddexp", by_logaddexp), Right("row by row", by_rows)),
    oracle=oracle,
)
