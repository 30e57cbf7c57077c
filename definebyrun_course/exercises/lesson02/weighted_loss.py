"""Exercise `weighted_loss`: one loss for each sample, where a shape made one for each pair of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn

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
    plain,
    shown,
    tried,
    untouched,
)
from ..mistakes import then
from ..models import filled
from ..networks import mlp

__all__ = ["EXERCISE"]

Step = Callable[[nn.Module, Tensor, Tensor, Tensor], Any]
PAIRS = "What is the shape of model(x) - target, for a column of predictions and a row of targets?"
NOT_SUMMED = "`gradient` weights the losses and adds them up: nothing is divided."


def check_step(step: Step) -> None:
    """`step(model, x, target, weight)` leaves weighted gradients in every `.grad` and returns the losses."""
    draw = Drawn(5)
    for dtype in (torch.float32, torch.float64):
        for n in (2, 1, 3, 3):  # of one sample there is one pair: two tell more
            _judge(step, *_case(draw, n, dtype), f"for {counted(n, 'sample')}")
    fresh = drawn()
    for n in (fresh.whole(4, 6), fresh.whole(7, 9)):
        _judge(
            step,
            *_case(fresh, n, torch.float64, deep=True),
            f"for {counted(n, 'sample')} ({fresh})",
        )


def _case(draw: Drawn, n: int, dtype: torch.dtype, deep: bool = False) -> tuple[Any, ...]:
    """A model with two inputs and one output, its input, targets, and weights that are all different."""
    body = mlp(draw, 2, 3, 1, dtype=dtype) if deep else filled(draw, nn.Linear(2, 1, dtype=dtype))
    weight = torch.tensor([2.0, 0.5, 3.0, 0.0, 1.5, 0.25, 4.0, 1.0, 2.5][:n], dtype=dtype)
    return body, draw.normal(n, 2).to(dtype), draw.normal(n).to(dtype) * 2, weight


def _grads(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    named = dict(model.named_parameters())
    return dict(zip(named, autograd.grad(loss, [*named.values()], retain_graph=True), strict=True))


def _judge(
    step: Step, model: nn.Module, x: Tensor, target: Tensor, weight: Tensor, where: str
) -> None:
    n = len(x)
    predicted = model(x).squeeze(1)
    losses = (predicted - target) ** 2
    pairs = (predicted[:, None] - target) ** 2
    values = {name: parameter.detach() for name, parameter in model.named_parameters()}
    with untouched(parameters=values):
        found = step(model, x, target, weight)
    found = forms.tensor(found, "step")
    expect(
        found.shape != (n, n) or n == 1,
        f"You returned losses of the shape {(n, n)} {where}: each prediction was compared with each target.",
        PAIRS,
    )
    found = forms.tensor(found, "step", (n,))
    expect(
        not found.requires_grad,
        f"The losses that you returned are still part of the graph, {where}.",
        "Whoever keeps them for a plot keeps the graph alive; detach() gives the numbers alone.",
    )
    for kind, said, hint in (
        (pairs.sum(1), "sums over all targets", PAIRS),
        (pairs.mean(1), "means over all targets", PAIRS),
        (weight * losses, "the losses times their weights", "The losses themselves are returned."),
    ):
        expect(
            near(found, losses) or not near(found, kind),
            f"What you returned are {said}, {where}.",
            hint,
        )
    expect(
        near(found, losses),
        f"You returned {shown(found)} {where}; the squared errors are {shown(losses)}.",
        "(prediction - target) ** 2, sample by sample.",
    )
    _gradients_are_right(model, losses, weight, where)


def _gradients_are_right(model: nn.Module, losses: Tensor, weight: Tensor, where: str) -> None:
    want = _grads(model, losses @ weight)
    mistakes = (
        (losses.sum(), "as if all weights were 1", "The weights are the rows' factors."),
        (losses @ weight / len(weight), "divided by the number of samples", NOT_SUMMED),
        (losses @ weight / weight.sum(), "divided by the sum of the weights", NOT_SUMMED),
        (losses @ weight**2, "as if each weight were squared", "The error is squared, not its weight."),
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        grad, right = parameter.grad, want[name]
        expect(
            grad is not None,
            f"After your step {name}.grad is None, {where}.",
            "The step ends with gradients in place.",
        )
        if near(grad, right, rtol=1e-4, atol=1e-6):
            continue
        for loss, said, hint in mistakes:
            expect(
                not near(grad, _grads(model, loss)[name], rtol=1e-4, atol=1e-6),
                f"The gradient of {name} is {said}, {where}.",
                hint,
            )
        expect(
            False,
            f"The gradient of {name} is {shown(grad)} {where}; the sum of weight * loss has {shown(right)}.",
            PAIRS,
        )


# ---- answers ----


def stepped(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    weight: Tensor,
    predict: Callable[[Tensor], Tensor] = lambda column: column.squeeze(1),
    loss: Callable[[Tensor, Tensor], Tensor] = lambda error, weight: error**2,
    send: Callable[[Tensor, Tensor], Any] = lambda losses, weight: losses.backward(weight),
    give: Callable[[Tensor, Tensor], Any] = lambda losses, weight: losses.detach(),
) -> Any:
    """The solution with its usual mistakes as switches."""
    losses = loss(predict(model(x)) - target, weight)
    send(losses, weight)
    return give(losses, weight)


def _wrong(**switches: Any) -> Step:
    return lambda *args: stepped(*args, **switches)


def _columns(over: Callable[[Tensor], Tensor]) -> Step:
    """The shapes fit again; every prediction is drawn towards every target."""
    return lambda *args: stepped(
        *args, predict=lambda column: column, loss=lambda error, weight: over(error**2)
    )


def _by_columns(model: nn.Module, x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    losses = (model(x) - target[:, None]) ** 2
    losses.backward(weight[:, None])
    return losses.detach()


def _into_grad(model: nn.Module, x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    errors = model(x)[:, 0] - target
    parameters = list(model.parameters())
    for p, grad in zip(
        parameters, autograd.grad(weight @ errors.square(), parameters), strict=True
    ):
        p.grad = grad
    return errors.detach() ** 2


def _sample_by_sample(model: nn.Module, x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    losses = []
    for row, wanted, share in zip(x, target, weight, strict=True):
        loss = nn.functional.mse_loss(model(row)[0], wanted)
        (share * loss).backward()
        losses.append(loss.detach())
    return torch.stack(losses)


def _diagonal(model: nn.Module, x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    losses = ((model(x) - target) ** 2).diagonal()
    losses.backward(weight)
    return losses.detach()


def steps(step: Step) -> Any:
    """The oracle: what is returned, the gradients and the parameters afterwards."""
    found: list[Any] = []
    draw = Drawn(11)
    for dtype in (torch.float32, torch.float64):
        for n in (1, 2, 3, 7):
            for scale in (1e-3, 1.0, 1e3):
                model, x, target, weight = _case(draw, n, dtype, deep=n == 7)
                wide = (x * scale).T.contiguous().T
                told = tried(
                    lambda *a, model=model: step(model, *a), wide, target, weight, asks=True
                )
                after = [[plain(p.grad), plain(p.detach())] for p in model.parameters()]
                found.append([told, after])
    return found


EXERCISE = Exercise(
    "weighted_loss",
    "One loss a sample, and each counts by its weight.",
    check_step,
    (
        Wrong(
            "summed over the columns", _columns(lambda pairs: pairs.sum(1)), "sums over all targets"
        ),
        Wrong(
            "the mean of the columns",
            _columns(lambda pairs: pairs.mean(1)),
            "means over all targets",
        ),
        Wrong(
            "the weights expanded",
            _wrong(predict=lambda c: c, send=lambda e, w: e.backward(w.expand_as(e))),
            "each prediction was compared with each target",
        ),
        Wrong(
            "the first prediction for all",
            _wrong(predict=lambda column: column[0]),
            "; the squared errors are",
        ),
        Wrong("as columns", _by_columns, "yours returned (2, 1)"),
        Wrong(
            "without weights", _wrong(send=lambda e, w: e.sum().backward()), "all weights were 1"
        ),
        Wrong(
            "the mean",
            _wrong(send=lambda e, w: (w * e).mean().backward()),
            "divided by the number of samples",
        ),
        Wrong(
            "the weighted mean",
            _wrong(send=lambda e, w: (e @ w / w.sum()).backward()),
            "divided by the sum of the weights",
        ),
        Wrong(
            "weighted twice",
            _wrong(send=lambda e, w: (w * e).backward(w)),
            "as if each weight were squared",
        ),
        Wrong("with the graph", _wrong(give=lambda e, w: e), "still part of the graph"),
        Wrong("weighted losses", _wrong(give=lambda e, w: w * e.detach()), "times their weights"),
        Wrong(
            "the sum of the losses", _wrong(give=lambda e, w: e.detach().sum()), "yours returned ()"
        ),
        Wrong(
            "errors, not squared",
            _wrong(loss=lambda error, w: error.abs()),
            "; the squared errors are",
        ),
        Wrong("no backward", _wrong(send=lambda e, w: None), ".grad is None"),
        Wrong("no return", _wrong(give=lambda e, w: None), "Is a `return` missing?"),
        Wrong(
            "a step of the weights too",
            then(stepped, lambda model, *rest: [p.data.mul_(0.9) for p in model.parameters()]),
            "leave alone",
        ),
    ),
    right=(
        Right("into .grad by hand", _into_grad),
        Right("sample by sample", _sample_by_sample),
        Right("the diagonal of all pairs", _diagonal),
    ),
    may_change=(0,),
    oracle=steps,
)
