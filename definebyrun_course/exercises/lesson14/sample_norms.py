"""Exercise `sample_norms`: the norm of each sample's gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, func, nn
from torch.autograd import grad
from torch.nn.functional import cross_entropy

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
    tried,
)
from ..networks import linear, mlp

__all__ = ["EXERCISE"]

TOGETHER = "All parameters of one sample count together: the root of the sum of all squares."


def sample_gradients(model: nn.Module, x: Tensor, y: Tensor) -> list[list[Tensor]]:
    """For each sample the gradients by all parameters."""
    parameters = list(model.parameters())
    losses = [cross_entropy(model(x[i : i + 1]), y[i : i + 1]) for i in range(len(x))]
    return [list(grad(loss, parameters)) for loss in losses]


def length(grads: list[Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in grads]).norm()


class Again(nn.Module):
    """A layer that is used twice: what it gets from one sample is no product of two vectors."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x).tanh())  # type: ignore[no-any-return]


def cases() -> list[tuple[str, nn.Module, Tensor, Tensor]]:
    """A model in words, the model, a batch, the classes; from the smallest up, all sizes different."""
    draw, single = Drawn(5), torch.float32
    nested = nn.Sequential(nn.Sequential(linear(draw, 4, 6), nn.ReLU()), mlp(draw, 6, 5, 3))
    sizes = ((1, 1, 2), (2, 3, 2), (5, 2, 4))
    plain = [
        (
            f"a linear model {d} → {k}",
            linear(draw, d, k),
            draw.normal(n, d) / 2,
            torch.arange(n) % k,
        )
        for n, d, k in sizes
    ]
    return [
        *plain,
        ("a model 3 → 4 → 2", mlp(draw, 3, 4, 2), draw.normal(1, 3), torch.tensor([1])),
        ("a model 2 → 3 → 4 in float32", mlp(draw, 2, 3, 4, dtype=single),
         draw.normal(3, 2).to(single), torch.tensor([3, 0, 3])),
        ("a model 3 → 3 that uses its layer twice", Again(linear(draw, 3, 3)),
         draw.normal(4, 3), torch.tensor([2, 0, 1, 1])),
        ("a model that ends in Softmax(dim=1)", nn.Sequential(linear(draw, 2, 3), nn.Softmax(dim=1)),
         draw.normal(3, 2), torch.tensor([1, 0, 2])),
        ("a model of nested modules", nested, draw.normal(7, 4), torch.arange(7) % 3),
    ]  # fmt: skip


def check_norms(gradient_norms: Callable[..., Any]) -> None:
    """`gradient_norms(model, x, y)` has shape (n,), and the parameters' `.grad` stays as it was."""
    for words, model, x, y in cases():
        _ask(gradient_norms, words, model, x, y)
        for parameter in model.parameters():  # once more, where there are gradients already
            parameter.grad = torch.ones_like(parameter)
        _ask(gradient_norms, f"{words} whose parameters have a .grad", model, x, y)
    draw = drawn()
    n, d, k = draw.whole(2, 6), draw.whole(1, 4), draw.whole(2, 4)
    y = torch.tensor([draw.whole(0, k - 1) for _ in range(n)])
    _ask(
        gradient_norms,
        f"a model {d} → 3 → {k}",
        mlp(draw, d, 3, k),
        draw.normal(n, d),
        y,
        f" ({draw})",
    )


def _ask(
    gradient_norms: Any, words: str, model: nn.Module, x: Tensor, y: Tensor, seed: str = ""
) -> None:
    where = f"for {words}, {counted(len(x), 'sample')}{seed}"
    found = forms.tensor(gradient_norms(model, x, y), "gradient_norms")
    expect(
        tuple(found.shape) == (len(x),),
        f"The shape is {tuple(found.shape)}, not {(len(x),)}, {where}.",
        "One number for each sample.",
    )
    grads = sample_gradients(model, x, y)
    right = torch.stack([length(each) for each in grads])
    if near(found, right, atol=0):
        return
    for value, said, hint in _known(model, x, y, grads, right):
        expect(not near(found, value), f"{said}, {where}.", hint)
    texts = apart(found, right)
    expect(False, f"The norms are {texts[1]}; yours are {texts[0]}, {where}.", TOGETHER)


def _known(
    model: nn.Module, x: Tensor, y: Tensor, grads: list[list[Tensor]], right: Tensor
) -> list[tuple[Tensor, str, str]]:
    """What the usual mistakes give."""
    n = len(x)
    batch = length(list(grad(cross_entropy(model(x), y), list(model.parameters()))))
    biases = [i for i, (name, _) in enumerate(model.named_parameters()) if name.endswith("bias")]

    def only(keep: Callable[[int], bool]) -> Tensor:
        return torch.stack([length([g for i, g in enumerate(each) if keep(i)]) for each in grads])

    return [
        (batch.expand(n), "All samples have the norm of the batch's gradient",
         "That gradient is the mean of all samples'; the samples' own are asked for."),
        (right / n, "Each norm is divided by the number of samples",
         "cross_entropy takes the mean over what it is given: give it one sample."),
        (right.square(), "Those are the squares of the norms", TOGETHER),
        (only(lambda i: i not in biases), "The biases are left out", "model.parameters() gives weights and biases."),
        (torch.stack([torch.stack([g.norm() for g in each]).sum() for each in grads]),
         "Those are sums of the parameters' norms", TOGETHER),
        (torch.stack([torch.stack([g.norm() for g in each]).amax() for each in grads]),
         "Those are the largest of the parameters' norms", TOGETHER),
        (_by_input(model, x, y), "Those are norms of gradients by x", "model.parameters() gives what to ask for."),
        (torch.stack([length([sum(g) for g in zip(*grads[: i + 1], strict=True)]) for i in range(n)]),
         "Those are norms of running sums: each sample's gradient was added to those before",
         "What does backward() do with what is in .grad?"),
        (only(lambda i: i >= len(grads[0]) - 2), "Those are the norms for the last layer alone", TOGETHER),
        (right.sort(descending=True).values, "The norms are sorted", "One for each sample, in the samples' order."),
    ]  # fmt: skip


# ---- right answers, found in other ways ----


def by_loop(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    norms = []
    for row, label in zip(x, y, strict=True):
        loss = cross_entropy(model(row.unsqueeze(0)), label.unsqueeze(0))
        squares = [g.square().sum() for g in grad(loss, tuple(model.parameters()))]
        norms.append(sum(squares) ** 0.5)
    return torch.stack(norms)


def by_batched_grad(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """One forward pass, and all rows of its Jacobian at once."""
    losses = cross_entropy(model(x), y, reduction="none")
    rows = torch.eye(len(x), dtype=losses.dtype)
    grads = grad(losses, list(model.parameters()), rows, is_grads_batched=True)
    return torch.cat([g.flatten(1) for g in grads], dim=1).norm(dim=1)


# ---- wrong answers ----


def _of_batch(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return length(list(grad(cross_entropy(model(x), y), list(model.parameters())))).expand(len(x))


def _in_grad(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    norms = []
    for i in range(len(x)):
        model.zero_grad()
        cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        norms.append(length([p.grad for p in model.parameters()]))
    return torch.stack(norms)


def _added_up(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Never reset, and .grad put back at the end."""
    kept = [p.grad for p in model.parameters()]
    norms = []
    for p in model.parameters():
        p.grad = None
    for i in range(len(x)):
        cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        norms.append(length([p.grad for p in model.parameters()]))
    for p, grad_ in zip(model.parameters(), kept, strict=True):
        p.grad = grad_
    return torch.stack(norms)


def _norms(model: nn.Module, x: Tensor, y: Tensor, of: Callable[[list[Tensor]], Tensor] = length,
           end: Callable[[Tensor], Any] = lambda t: t) -> Any:  # fmt: skip
    return end(torch.stack([of(grads) for grads in sample_gradients(model, x, y)]))


def _by_input(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    loss = lambda x, y: cross_entropy(model(x[None]), y[None])  # noqa: E731
    return func.vmap(func.grad(loss))(x, y).norm(dim=1)


def _no_biases(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return _norms(model, x, y, lambda grads: length([g for g in grads if g.ndim > 1]))


def _bare_rows(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Hands single samples to the model, where it takes batches."""
    losses = [cross_entropy(model(row), label) for row, label in zip(x, y, strict=True)]
    return torch.stack([length(list(grad(loss, list(model.parameters())))) for loss in losses])


def _spectral(grads: list[Tensor]) -> Tensor:
    """Takes the largest singular value for the norm of a matrix."""
    return torch.stack([g.norm() if g.ndim < 2 else torch.linalg.norm(g, 2) for g in grads]).norm()


WRONG = {
    "spectral norms": (partial(_norms, of=_spectral), "that uses its layer twice"),
    "samples without a batch": (_bare_rows, "IndexError"),
    "the batch's norm": (_of_batch, "the norm of the batch's gradient"),
    "through .grad": (_in_grad, "its .grad"),
    "added up": (_added_up, "running sums"),
    "the mean's share": (lambda m, x, y: by_loop(m, x, y) / len(x), "divided by the number of samples"),
    "squares": (partial(_norms, end=torch.square), "squares of the norms"),
    "norms added": (partial(_norms, of=lambda grads: sum(g.norm() for g in grads)), "sums of the parameters' norms"),
    "the largest norm": (partial(_norms, of=lambda grads: max(g.norm() for g in grads)), "largest of the"),
    "no biases": (_no_biases, "biases are left out"),
    "the last layer": (partial(_norms, of=lambda grads: length(grads[-2:])), "last layer alone"),
    "the inputs' gradients": (_by_input, "norms of gradients by x"),
    "a column": (partial(_norms, end=lambda t: t[:, None]), "The shape is (1, 1)"),
    "the largest alone": (partial(_norms, end=torch.max), "The shape is ()"),
    "sorted": (partial(_norms, end=lambda t: t.sort(descending=True).values), "The norms are sorted"),
    "a list": (partial(_norms, end=lambda t: t.tolist()), "gradient_norms returns a tensor"),
}  # fmt: skip


def oracle(gradient_norms: Callable[..., Any]) -> Any:
    """The norms for many models, and model, x and y afterwards."""

    def told(model: nn.Module, x: Tensor, y: Tensor) -> Any:
        return [gradient_norms(model, x, y), [p.grad for p in model.parameters()]]

    wide = [each[1:] for each in cases()]
    wide += [
        (mlp(Drawn(n), n, 4, 3), Drawn(n).normal(8, n)[::2] * scale, torch.tensor([0, 2, 1, 1]))
        for n in (1, 2, 3, 7)
        for scale in (1e-3, 1.0, 10.0)
    ]
    return [tried(told, model, x, y) for model, x, y in wide]


EXERCISE = Exercise(
    "sample_norms",
    "One gradient for each sample, all parameters together, and .grad as it was.",
    check_norms,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("in a loop", by_loop), Right("all rows at once", by_batched_grad)),
    oracle=oracle,
)
