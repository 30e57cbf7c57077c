"""Exercise `logits_loss`: softmax cross-entropy from logits, value and gradient, by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...grading import Drawn, Exercise, Right, Wrong, apart, drawn, expect, forms, near, tried
from ..measures import by_hand
from ..mistakes import then

__all__ = ["EXERCISE"]

IGNORED = -100
Case = tuple[str, Tensor, Tensor, Tensor | None, float, str]
MEAN = "Divide by the weights of the rows that count, not by the number of rows."
HUGE = "exp of 1e4 is infinite, and log of what has become 0 is, too: subtract the row's largest logit first."


def cases(draw: Drawn, dtype: torch.dtype) -> list[Case]:
    """Words, logits, targets, weights of classes, upstream, what to look at; the smallest first."""

    def logits(*shape: int) -> Tensor:
        return draw.normal(*shape).to(dtype)

    def whole(*numbers: int) -> Tensor:
        return torch.tensor(numbers)

    big = torch.tensor([[1e4, 0.0, -1e4], [-1e4, 1e4, 0.0], [0.0, 1.0, -1e4]], dtype=dtype)
    closed = logits(2, 3)
    closed[0, 1] = closed[1, 2] = -torch.inf
    weights = torch.tensor([1.0, 0.25, 3.0], dtype=dtype)
    ignored, one = whole(1, IGNORED, 2, 0), "Every row has a largest logit of its own."
    return [
        (
            "one row of one class",
            logits(1, 1),
            whole(0),
            None,
            1.0,
            "The only class has the probability 1.",
        ),
        (
            "one row of two classes",
            logits(1, 2),
            whole(1),
            None,
            1.0,
            "The gradient is p - y, for every class.",
        ),
        (
            "two rows of three classes",
            logits(2, 3),
            whole(2, 0),
            None,
            1.0,
            "A mean over the rows, in the gradient too.",
        ),
        (
            "three rows of three classes",
            logits(3, 3),
            whole(2, 0, 0),
            None,
            1.0,
            "Classes are the columns.",
        ),
        (
            "an upstream of -2.5",
            logits(2, 3),
            whole(0, 1),
            None,
            -2.5,
            "The loss is the same; the gradient is not.",
        ),
        ("logits of 1e4", big, whole(0, 1, 2), None, 1.0, HUGE),
        ("logits of 1e4, other labels", big, whole(2, 0, 2), None, 1.0, HUGE),
        (
            "rows on different levels",
            logits(3, 2) + torch.tensor([[900.0], [0.0], [-900.0]], dtype=dtype),
            whole(0, 1, 1),
            None,
            1.0,
            one,
        ),
        (
            "classes closed by -inf",
            closed,
            whole(0, 1),
            None,
            1.0,
            "A closed class has the probability 0 and no gradient.",
        ),
        ("a row that is ignored", logits(4, 3), ignored, None, 1.0, MEAN),
        ("weights of classes", logits(4, 3), whole(1, 0, 2, 2), weights, 1.0, MEAN),
        ("weights, and a row that is ignored", logits(4, 3), ignored, weights, 0.5, MEAN),
        (
            "all rows ignored",
            logits(2, 3),
            whole(IGNORED, IGNORED),
            None,
            1.0,
            "Nothing counts: the loss is 0, and so is the gradient.",
        ),
        (
            "labels of int32",
            logits(2, 3),
            whole(2, 1).int(),
            None,
            1.0,
            "Some dtypes are no index: .long() makes one.",
        ),
        (
            "labels of uint8",
            logits(3, 3),
            whole(0, 1, 1).to(torch.uint8),
            weights,
            1.0,
            "As an index, uint8 is a mask: .long() makes whole numbers.",
        ),
        (
            "logits of a transposed tensor",
            logits(3, 4).T,
            whole(2, 0, 1, 1),
            None,
            1.0,
            "Does something need contiguous memory?",
        ),
    ]


def right(
    logits: Tensor, targets: Tensor, weights: Tensor | None, upstream: float
) -> tuple[Tensor, Tensor]:
    """PyTorch's value and gradient; 0 where nothing counts."""
    targets = targets.long()
    if (targets == IGNORED).all():
        return logits.new_zeros(()), torch.zeros_like(logits)
    asking = logits.detach().clone().requires_grad_()
    loss = cross_entropy(asking, targets, weight=weights)
    (grad,) = torch.autograd.grad(loss, asking)
    return loss.detach(), grad * upstream


def check_logits_loss(logits_loss: Callable[..., Any]) -> None:
    """`logits_loss(logits, targets, weights, upstream)` gives the mean loss and the gradient of the logits."""
    for dtype in (torch.float64, torch.float32):
        for case in cases(Drawn(1), dtype):
            _judge(logits_loss, *case)
    _judge_cost(logits_loss)
    draw = drawn()
    for _ in range(3):
        rows, classes = draw.whole(2, 6), draw.whole(2, 5)
        targets = torch.tensor([draw.whole(0, classes - 1) for _ in range(rows)])
        targets[0] = IGNORED
        weights = draw.uniform(classes, low=0.2, high=2.0)
        _judge(
            logits_loss,
            f"logits {draw}",
            3 * draw.normal(rows, classes),
            targets,
            weights,
            draw.whole(1, 4) / 2,
            MEAN,
        )


def _judge(
    logits_loss: Callable[..., Any],
    words: str,
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    upstream: float,
    hint: str,
) -> None:
    loss, grad = right(logits, targets, weights, upstream)
    with by_hand("The gradient"):
        given = logits_loss(logits, targets, weights, upstream)
    pair = forms.sequence(given, "Loss and gradient", 2)
    texts = apart(forms.number(pair[0], "The loss"), float(loss))
    expect(
        near(float(pair[0]), float(loss), 1e-5),
        f"For {words} the loss is {texts[0]}; it should be {texts[1]}.",
        hint,
    )
    found = forms.tensor(pair[1], "The gradient", tuple(logits.shape))
    expect(
        found.dtype == logits.dtype and getattr(pair[0], "dtype", logits.dtype) == logits.dtype,
        f"For {words} in {logits.dtype} the result is {found.dtype}.",
        "Value and gradient have the dtype of the logits.",
    )
    tight = 1e-9 if logits.dtype == torch.float64 else 2e-5
    for row, (one, two) in enumerate(zip(found, grad, strict=True)):
        total = float(one.sum())
        expect(
            near(total, 0.0, atol=1e-5),
            f"For {words} the gradient of row {row} sums to {total:.4g}; raising all logits of a row changes nothing.",
            hint,
        )
        pair_of = apart(one.tolist(), two.tolist())
        expect(
            near(one, two, tight, 1e-7 if tight > 1e-6 else 1e-12),
            f"For {words} the gradient of row {row} is {pair_of[0]}; it should be {pair_of[1]}.",
            hint,
        )


def _judge_cost(logits_loss: Callable[..., Any]) -> None:
    counts = []
    for rows in (8, 40):
        logits, targets = Drawn(rows).normal(rows, 30), torch.arange(rows) % 30
        with by_hand("The gradient") as work:
            logits_loss(logits, targets, None, 1.0)
        counts.append(work.count())
        expect(
            work.largest <= 2 * logits.numel(),
            f"For logits of shape ({rows}, 30) a tensor of {work.largest:,} numbers was made.",
            "A Jacobian for each row is not needed: what is left of it when it meets the label?",
        )
    expect(
        counts[1] <= counts[0] + 5,
        f"Eight rows take {counts[0]} operations, forty take {counts[1]}.",
        "All rows at once: an index for each row picks its label.",
    )


# ---- right answers ----


def with_picked_rows(
    logits: Tensor, targets: Tensor, weights: Tensor | None, upstream: float
) -> Any:
    targets = targets.long()
    counts = targets != IGNORED
    label = torch.where(counts, targets, 0)
    share = counts.to(logits.dtype)
    if weights is not None:
        share = share * weights[label]
    share = share / share.sum() if counts.any() else share
    logp = logits - logits.logsumexp(1, keepdim=True)
    rows = torch.arange(len(logits))
    loss = -(share * logp[rows, label]).sum()
    grad = logp.exp()
    grad[rows, label] -= 1
    return loss, upstream * share[:, None] * grad


def with_one_hot(logits: Tensor, targets: Tensor, weights: Tensor | None, upstream: float) -> Any:
    """Labels as a matrix of shares; -inf times 0 is left out by a mask."""
    classes = torch.arange(logits.shape[1])
    hot = (targets[:, None] == classes).to(logits.dtype)
    hot = hot if weights is None else hot * weights
    total = hot.sum()
    hot = hot / total if total > 0 else hot
    shifted = logits - logits.amax(dim=1, keepdim=True)
    powers = shifted.exp()
    sums = powers.sum(dim=1, keepdim=True)
    losses = torch.where(hot > 0, hot * (sums.log() - shifted), 0.0)
    return losses.sum(), (powers / sums * hot.sum(1, keepdim=True) - hot) * upstream


# ---- wrong answers ----


def _with(
    logits: Tensor, targets: Tensor, weights: Tensor | None, upstream: float, mistake: str = ""
) -> Any:
    """The solution with its usual mistakes as switches."""
    targets = targets if mistake == "index as given" else targets.long()
    counts = targets != IGNORED
    label = torch.where(counts, targets, torch.zeros_like(targets))
    share = counts.to(logits.dtype)
    if weights is not None and mistake != "no weights":
        share = share * weights[label]
    total = {"all rows": torch.tensor(float(len(logits))), "rows that count": counts.sum()}.get(
        mistake, share.sum()
    )
    share = share / total if counts.any() or mistake == "nan" else share
    top = logits.max() if mistake == "one maximum" else logits.amax(1, keepdim=True)
    shifted = logits if mistake == "no maximum" else logits - top
    p = shifted.exp() / shifted.exp().sum(1, keepdim=True)
    if mistake == "softmax twice":
        p = p.softmax(1)
    logp = (
        (p + 1e-9).log()
        if mistake == "log of p + 1e-9"
        else shifted - shifted.exp().sum(1, keepdim=True).log()
    )
    if mistake == "log of p":
        logp = p.log()
    if mistake == "softmax twice":
        logp = p.log()
    rows = torch.arange(len(logits))
    loss = -(share * logp[rows, label]).sum()
    grad = p.clone()
    grad[rows, label] -= 1
    if mistake == "p (1 - p)":
        grad = p * (1 - p)
    if mistake == "-y / p":
        grad = torch.zeros_like(p)
        grad[rows, label] = -1 / p[rows, label]
    if mistake == "zero":
        grad = torch.zeros_like(p)
    if mistake == "the label's entry only":
        grad = torch.where(grad < 0, grad, 0.0)
    if mistake == "the first row's loss":
        loss = -share[0] * logp[0, label[0]]
    loss = loss * upstream if mistake == "the loss scaled" else loss
    grad = grad if mistake == "no mean" else share[:, None] * grad
    return loss, grad if mistake == "no upstream" else upstream * grad


def _row_by_row(logits: Tensor, targets: Tensor, weights: Tensor | None, upstream: float) -> Any:
    loss, grad = with_one_hot(logits, targets, weights, upstream)
    for i, label in enumerate(targets.tolist()):
        if label >= 0:
            grad[i, label] += 0
    return loss, grad


def _jacobian(logits: Tensor, targets: Tensor, weights: Tensor | None, upstream: float) -> Any:
    loss, grad = with_one_hot(logits, targets, weights, upstream)
    p = logits.softmax(1)
    return loss, grad + 0 * (torch.diag_embed(p) - p[:, :, None] * p[:, None]).sum(1)


def _by_autograd(logits: Tensor, targets: Tensor, weights: Tensor | None, upstream: float) -> Any:
    return right(logits, targets, weights, upstream)


def _in_float32(logits: Tensor, targets: Tensor, weights: Tensor | None, upstream: float) -> Any:
    loss, grad = with_one_hot(logits, targets, weights, upstream)
    return loss.float(), grad.float()


SAYS = {
    "log of p + 1e-9": "the loss is 6.908",
    "log of p": "For logits of 1e4 the loss is inf",
    "no maximum": "For logits of 1e4 the loss is inf",
    "one maximum": "For logits of 1e4 the loss is -inf",
    "all rows": "For a row that is ignored the loss is 1.046",
    "rows that count": "the loss is 1.938; it should be 1.069",
    "nan": "nan",
    "no weights": "the loss is 1.075; it should be 1.069",
    "index as given": "Your code stopped with",
    "no upstream": "For an upstream of -2.5 the gradient",
    "the loss scaled": "For an upstream of -2.5 the loss",
    "p (1 - p)": "row 0 sums to 0.3156",
    "-y / p": "row 0 sums to -1;",
    "zero": "row 0 is [0, 0]",
    "the label's entry only": "row 0 sums to -0.8037",
    "the first row's loss": "For two rows of three classes the loss",
    "no mean": "For two rows of three classes the gradient",
    "softmax twice": "the loss is 1.042",
}


def oracle(logits_loss: Callable[..., Any]) -> Any:
    """Loss and gradient for many logits, and what they cost."""

    def told(*case: Any) -> Any:
        with by_hand("It"):
            loss, grad = logits_loss(*case)
        return [round(float(loss), 4), torch.round(grad, decimals=4) + 0.0, str(grad.dtype)]

    wide = [
        case[1:5]
        for d in (torch.float64, torch.float32)
        for seed in (5, 6)
        for case in cases(Drawn(seed), d)
    ]
    draw = Drawn(9)
    for classes in (1, 2, 3, 7):
        targets = torch.tensor(
            [IGNORED if draw.whole(0, 3) == 0 else draw.whole(0, classes - 1) for _ in range(6)]
        )
        wide += [
            (20 * draw.normal(6, classes), targets, w, 0.7)
            for w in (None, draw.uniform(classes, low=0.1))
        ]

    def cost() -> Any:
        return _judge_cost(logits_loss)

    return [tried(told, *case) for case in wide] + [tried(cost)]


EXERCISE = Exercise(
    "logits_loss",
    "Stable, weighted by what counts, and its gradient written by hand.",
    check_logits_loss,
    (
        *(Wrong(name, partial(_with, mistake=name), says) for name, says in SAYS.items()),
        Wrong("row by row", _row_by_row, "Eight rows take"),
        Wrong("a Jacobian for each row", _jacobian, "numbers was made"),
        Wrong("autograd inside", _by_autograd, "and autograd was used"),
        Wrong("in float32", _in_float32, "the result is torch.float32"),
        Wrong(
            "the logits shifted in place",
            then(with_one_hot, lambda z, *_: z.sub_(1)),
            "logits is not what",
        ),
        Wrong(
            "the loss alone",
            lambda *case: with_one_hot(*case)[0],
            "Loss and gradient is a sequence",
        ),
    ),
    right=(Right("picked rows", with_picked_rows), Right("one-hot rows", with_one_hot)),
    oracle=oracle,
)
