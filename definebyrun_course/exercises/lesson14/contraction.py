"""Exercise `contraction`: a penalty on the Jacobians of an encoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, func, nn
from torch.autograd import grad
from torch.autograd.functional import jacobian

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    apart,
    counted,
    drawn,
    expect,
    forms,
    near,
    shown,
    tried,
)
from ..networks import linear, mlp

__all__ = ["EXERCISE"]

ENTRIES = "The entries of the Jacobian are squared one by one: one backward pass for each output."
RECORDED = "The derivatives have to be recorded while they are computed, and so does what follows."


class Columns(nn.Module):
    """An encoder 2 → 2 with a parameter for each column; it takes batches and no single samples."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5, -2.0], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        expect(
            x.ndim == 2,
            f"The encoder takes a batch, of shape (n, 2); it got the shape {tuple(x.shape)}.",
            "A transform over samples hands on one sample. Which batch holds that one alone?",
        )
        first, second = x[:, 0] * self.scale[0], x[:, 1] * self.scale[1]
        return torch.stack([first * second, second], dim=1)


def jacobians_of(encoder: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The Jacobians of all samples, `(n, k, d)`, each by a batch of one, with their graph."""
    return func.vmap(func.jacrev(lambda sample: encoder(sample[None])[0]))(x)


def penalty(encoder: nn.Module, x: Tensor) -> Tensor:
    """What must come out, with its graph."""
    return jacobians_of(encoder, x).square().sum((1, 2)).mean()


def cases() -> list[tuple[str, nn.Module, Tensor]]:
    """An encoder in words, the encoder, a batch; from the smallest up, all sizes different."""
    draw, single = Drawn(3), torch.float32
    net = nn.Sequential(mlp(draw, 4, 6, 5), nn.Tanh(), mlp(draw, 5, 3))
    return [
        ("an encoder 1 → 1", mlp(draw, 1, 1, 1), draw.normal(1, 1)),
        ("an encoder 2 → 1", mlp(draw, 2, 3, 1), draw.normal(3, 2)),
        ("a linear encoder 2 → 3", linear(draw, 2, 3), draw.normal(4, 2)),
        ("an encoder 3 → 2", mlp(draw, 3, 4, 2), draw.normal(5, 3)),
        ("an encoder 2 → 2 that takes x[:, 0] and x[:, 1]", Columns(), draw.normal(3, 2)),
        ("an encoder 2 → 5 in float32", mlp(draw, 2, 3, 5, dtype=single), draw.normal(1, 2).to(single)),
        ("an encoder 4 → 3 of nested modules", net, draw.normal(2, 4)),
        ("an encoder 2 → 3 in evaluation mode", mlp(draw, 2, 4, 3).eval(), draw.normal(3, 2)),
    ]  # fmt: skip


def check_contraction(contraction: Callable[[nn.Module, Tensor], Any]) -> None:
    """`contraction(encoder, x)` is a mean over samples, differentiable by the encoder's parameters."""
    for words, encoder, x in cases():
        _ask(contraction, words, encoder, x)
        for parameter in encoder.parameters():  # once more, where there are gradients already
            parameter.grad = torch.full_like(parameter, 0.5)
        _ask(contraction, f"{words} whose parameters have a .grad", encoder, x)
    draw = drawn()
    d, k, n = draw.whole(2, 4), draw.whole(2, 4), draw.whole(2, 5)
    _ask(contraction, f"an encoder {d} → {k}", mlp(draw, d, 3, k), draw.normal(n, d), f" ({draw})")


def _ask(contraction: Any, words: str, encoder: nn.Module, x: Tensor, seed: str = "") -> None:
    found = forms.tensor(contraction(encoder, x), "contraction")
    where = f"for {words}, {counted(len(x), 'sample')}{seed}"
    expect(
        found.numel() == 1,
        f"The penalty is one number; yours has the shape {tuple(found.shape)}, {where}.",
        "Squared, added over the entries of a Jacobian, then the mean over the samples.",
    )
    found, right = found.reshape(()), penalty(encoder, x)
    if not near(found, right, atol=0):
        _say_which(found, right, encoder, x, where)
    expect(
        found.requires_grad,
        f"The penalty is right, and has no graph: it cannot train the encoder, {where}.",
        RECORDED,
    )
    parameters = dict(encoder.named_parameters())
    options = {"allow_unused": True, "materialize_grads": True}
    ours = grad(found, [*parameters.values()], **options)
    for name, one, two in zip(
        parameters, ours, grad(right, [*parameters.values()], **options), strict=True
    ):
        texts = apart(one, two)
        expect(
            near(one, two),
            f"The penalty is right; its gradient by {name} is {texts[0]}, not {texts[1]}, {where}.",
            RECORDED,
        )


def _say_which(found: Tensor, right: Tensor, encoder: nn.Module, x: Tensor, where: str) -> None:
    """Which of the usual mistakes the number is."""
    jacobians = jacobians_of(encoder, x).detach()
    each = jacobians.square().sum((1, 2))
    known = [
        (jacobians.sum(1).square().sum(1).mean(), "what comes from the sum of the outputs, squared", ENTRIES),
        (each.sum(), "the sum over the samples", "The mean over the samples does not grow with the batch."),
        (each.sqrt().mean(), "the mean of the roots", "The entries are squared, and no root is taken of their sum."),
        (jacobians.square().mean(), "the mean over all entries", "Over entries the sum, over samples the mean."),
        (jacobians.mean(0).square().sum(), "the squares of the mean Jacobian", "First squares, then the mean."),
        (each[0], "the first sample's alone", "Every sample has a Jacobian of its own."),
        (jacobians.sum((1, 2)).mean(), "the sum of the entries, not of their squares", "A penalty is made of squares."),
        (jacobians[:, 0].square().sum(1).mean(), "the first output's alone", ENTRIES),
    ]  # fmt: skip
    for value, words, hint in known:
        expect(not near(found, value), f"Yours is {words}: {shown(found)}, {where}.", hint)
    texts = apart(found, right)
    expect(False, f"The penalty is {texts[1]}; yours is {texts[0]}, {where}.", ENTRIES)


# ---- right answers, found in other ways ----


def by_outputs(encoder: nn.Module, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    y = encoder(x)
    rows = [grad(y[:, i].sum(), x, create_graph=True)[0] for i in range(y.shape[1])]
    return sum(row.square().sum() for row in rows) / len(x)  # type: ignore[return-value]


def by_whole_batch(encoder: nn.Module, x: Tensor) -> Tensor:
    """The Jacobian of the whole batch; between two samples it is zero."""
    whole = jacobian(encoder, x, create_graph=True)
    return whole.square().sum() / x.shape[0]


def forward_mode(encoder: nn.Module, x: Tensor) -> Tensor:
    columns = [
        func.jvp(encoder, (x,), (torch.eye(x.shape[1], dtype=x.dtype)[i].expand_as(x),))[1]
        for i in range(x.shape[1])
    ]
    return torch.stack(columns).square().sum((0, 2)).mean()


# ---- wrong answers ----


def _penalty(encoder: nn.Module, x: Tensor, graph: bool = True, outputs: str = "each",
             end: Callable[[Tensor], Tensor] | None = None, flag: bool = False) -> Tensor:  # fmt: skip
    """The solution with its usual mistakes as switches; `end` goes from Jacobians (n, k, d) to the penalty."""
    x = x.requires_grad_() if flag else x.detach().requires_grad_()
    y = encoder(x)
    parts = {"each": list(y.sum(0)), "sum": [y.sum()], "first": [y[:, 0].sum()]}[outputs]
    rows = [grad(part, x, create_graph=graph, retain_graph=True)[0] for part in parts]
    jacobians = torch.stack(rows, 1)
    return jacobians.square().sum((1, 2)).mean() if end is None else end(jacobians)


def _backward_inside(encoder: nn.Module, x: Tensor) -> Tensor:
    found = by_outputs(encoder, x)
    found.backward(retain_graph=True)
    return found


def _frozen(encoder: nn.Module, x: Tensor) -> Tensor:
    weights = {name: p.detach() for name, p in encoder.named_parameters()}
    fixed = lambda x: func.functional_call(encoder, weights, (x,))  # noqa: E731
    return jacobians_of(fixed, x).square().sum((1, 2)).mean()


def _bare_samples(encoder: nn.Module, x: Tensor) -> Tensor:
    """Hands single samples to the encoder, where it takes batches."""
    return func.vmap(func.jacrev(encoder))(x).square().sum((1, 2)).mean()


def _left_in_training(encoder: nn.Module, x: Tensor) -> Tensor:
    encoder.eval()
    found = by_outputs(encoder, x)
    encoder.train()
    return found


def _last_graph_only(encoder: nn.Module, x: Tensor) -> Tensor:
    """Records the derivative of the last output alone."""
    x = x.detach().requires_grad_()
    y = encoder(x)
    last = y.shape[1] - 1
    rows = [
        grad(y[:, i].sum(), x, create_graph=i == last, retain_graph=True)[0]
        for i in range(last + 1)
    ]
    return sum(row.square().sum() for row in rows) / len(x)  # type: ignore[return-value]


WRONG = {
    "samples without a batch": (_bare_samples, "it got the shape (2,)"),
    "always back to training": (_left_in_training, "encoder, its mode"),
    "no create_graph": (partial(_penalty, graph=False), "has no graph"),
    "the weights taken as constants": (_frozen, "has no graph"),
    "a graph for one output only": (_last_graph_only, "its gradient by "),
    "the outputs summed": (partial(_penalty, outputs="sum"), "from the sum of the outputs"),
    "the first output": (partial(_penalty, outputs="first"), "the first output's alone"),
    "no mean": (partial(_penalty, end=lambda j: j.square().sum()), "the sum over the samples"),
    "mean over all": (partial(_penalty, end=lambda j: j.square().mean()), "the mean over all entries"),
    "roots": (partial(_penalty, end=lambda j: j.flatten(1).norm(dim=1).mean()), "the mean of the roots"),
    "not squared": (partial(_penalty, end=lambda j: j.sum((1, 2)).mean()), "not of their squares"),
    "mean before the squares": (partial(_penalty, end=lambda j: j.mean(0).square().sum()), "mean Jacobian"),
    "one for each sample": (partial(_penalty, end=lambda j: j.square().sum((1, 2))), "yours has the shape (3,)"),
    "a Python number": (lambda encoder, x: _penalty(encoder, x).item(), "contraction returns a tensor"),
    "x asks for gradients": (partial(_penalty, flag=True), "x, its requires_grad"),
    "backward inside": (_backward_inside, "its .grad"),
}  # fmt: skip


def oracle(contraction: Callable[..., Any]) -> Any:
    """The penalty and its gradients, and encoder and x afterwards."""

    def told(encoder: nn.Module, x: Tensor) -> Any:
        found = contraction(encoder, x)
        grads = grad(found, [*encoder.parameters()], allow_unused=True, materialize_grads=True)
        return [found.reshape(()), *grads, [p.grad for p in encoder.parameters()]]

    wide = [(words, net, x) for words, net, x in cases()]
    wide += [("", mlp(Drawn(n), n, 4, 8 - n), Drawn(n).normal(8, n)[::2]) for n in (1, 2, 3, 7)]
    wide += [("", mlp(Drawn(1), 2, 3, 2), Drawn(1).normal(2, 5).T * 1e-3)]
    return [tried(told, encoder, x) for _, encoder, x in wide]


EXERCISE = Exercise(
    "contraction",
    "Every entry of every Jacobian, squared, and a graph that leads to the encoder.",
    check_contraction,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(
        Right("output by output", by_outputs),
        Right("the batch's whole Jacobian", by_whole_batch),
        Right("column by column, forward", forward_mode),
    ),
    oracle=oracle,
)
