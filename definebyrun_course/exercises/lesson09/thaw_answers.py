"""Answers to the exercise `thaw`, right and wrong: a body is fine-tuned from a certain batch on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn
from torch.nn.functional import mse_loss

__all__ = [
    "all_in_evaluation",
    "as_it_was",
    "eval_once",
    "group_in_time",
    "group_too_late",
    "norms_only",
    "optimizer_anew",
    "put_back",
    "tuned",
    "without_optimizer",
]

Batches = list[tuple[Tensor, Tensor]]


def tuned(
    body: nn.Module,
    head: nn.Module,
    batches: Batches,
    thaw: int,
    lr: float,
    known: Callable[[nn.Module], list[Any]] = lambda body: list(body.parameters()),
    mode: Callable[[nn.Module, bool], Any] = lambda body, is_open: body.train(is_open),
    opened: Callable[[int, int], bool] = lambda number, thaw: number >= thaw,
    zeroed: Callable[[int], bool] = lambda number: True,
    loss: Callable[[Tensor, Tensor], Tensor] = mse_loss,
    share: float = 0.1,
    momentum: float = 0.0,
) -> None:
    """The solution, with its faults as switches."""
    model = nn.Sequential(body, head)
    groups = [
        {"params": list(head.parameters()), "lr": lr},
        {"params": known(body), "lr": lr * share},
    ]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum)
    for number, (x, target) in enumerate(batches):
        model.train()
        is_open = opened(number, thaw)
        mode(body, is_open)
        body.requires_grad_(is_open)
        if zeroed(number):
            optimizer.zero_grad()
        loss(model(x), target).backward()
        optimizer.step()


def as_it_was(body: nn.Module, head: nn.Module, batches: Batches, thaw: int, lr: float) -> None:
    """The program of the statement."""
    model = nn.Sequential(body, head)
    body.requires_grad_(False)
    asking = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(asking, lr=lr)
    for number, (x, target) in enumerate(batches):
        model.train()
        if number == thaw:
            body.requires_grad_(True)
        optimizer.zero_grad()
        mse_loss(model(x), target).backward()
        optimizer.step()


def eval_once(body: nn.Module, head: nn.Module, batches: Batches, thaw: int, lr: float) -> None:
    body.eval()
    tuned(body, head, batches, thaw, lr, mode=lambda body, is_open: None)


def norms_only(body: nn.Module, is_open: bool) -> None:
    for module in body.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.train(is_open)


def all_in_evaluation(
    body: nn.Module, head: nn.Module, batches: Batches, thaw: int, lr: float
) -> None:
    def mode(body: nn.Module, is_open: bool) -> None:
        body.train(is_open)
        head.train(is_open)

    tuned(body, head, batches, thaw, lr, mode=mode)


def put_back(body: nn.Module, head: nn.Module, batches: Batches, thaw: int, lr: float) -> None:
    """In training mode while frozen, and the body's numbers restored afterwards."""
    before = copy.deepcopy(body.state_dict())
    tuned(body, head, batches[:thaw], thaw, lr, mode=lambda body, is_open: body.train())
    body.load_state_dict(before)
    if batches[thaw:]:
        tuned(body, head, batches[thaw:], 0, lr)


def group_in_time(body: nn.Module, head: nn.Module, batches: Batches, thaw: int, lr: float) -> None:
    _with_a_late_group(body, head, batches, thaw, lr, before_zeroing=True)


def group_too_late(
    body: nn.Module, head: nn.Module, batches: Batches, thaw: int, lr: float
) -> None:
    """The group comes after `zero_grad`: the first step uses the gradients of the body's earlier training."""
    _with_a_late_group(body, head, batches, thaw, lr, before_zeroing=False)


def _with_a_late_group(
    body: nn.Module, head: nn.Module, batches: Batches, thaw: int, lr: float, before_zeroing: bool
) -> None:
    optimizer = torch.optim.SGD(head.parameters(), lr=lr)
    body.requires_grad_(False)
    for number, (x, target) in enumerate(batches):
        head.train()
        body.train(number >= thaw)
        if not before_zeroing:
            optimizer.zero_grad()
        if number == thaw:
            body.requires_grad_(True)
            optimizer.add_param_group({"params": body.parameters(), "lr": lr / 10})
        if before_zeroing:
            optimizer.zero_grad()
        mse_loss(head(body(x)), target).backward()
        optimizer.step()


def optimizer_anew(
    body: nn.Module, head: nn.Module, batches: Batches, thaw: int, lr: float
) -> None:
    """Two stages, each with an optimizer of its own; a frozen body computes without a graph."""
    head.train()
    body.eval()
    optimizer = torch.optim.SGD(head.parameters(), lr=lr)
    for x, target in batches[:thaw]:
        with torch.no_grad():
            features = body(x)
        optimizer.zero_grad()
        mse_loss(head(features), target).backward()
        optimizer.step()
    body.train()
    groups = [{"params": head.parameters()}, {"params": body.parameters(), "lr": lr / 10}]
    optimizer = torch.optim.SGD(groups, lr=lr)
    for x, target in batches[thaw:]:
        optimizer.zero_grad()
        mse_loss(head(body(x)), target).backward()
        optimizer.step()


def without_optimizer(
    body: nn.Module, head: nn.Module, batches: Batches, thaw: int, lr: float
) -> None:
    for number, (x, target) in enumerate(batches):
        head.train()
        body.train(number >= thaw)
        parameters = [*head.parameters(), *(body.parameters() if number >= thaw else ())]
        rates = [lr] * len(list(head.parameters())) + [lr / 10] * len(list(body.parameters()))
        grads = autograd.grad(mse_loss(head(body(x)), target), parameters)
        with torch.no_grad():
            for p, rate, grad in zip(parameters, rates, grads, strict=False):
                p -= rate * grad
