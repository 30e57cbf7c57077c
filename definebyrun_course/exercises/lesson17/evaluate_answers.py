"""Answers to exercise `evaluate`, right and wrong: mean loss and accuracy of a model."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

__all__ = [
    "WRONG",
    "by_modes",
    "by_weighted_means",
    "on_a_copy",
]


# ---- right answers, found in other ways ----


def by_modes(model: nn.Module, loader: Any) -> list[float]:
    """Each module's own mode is put back, after an error too; the model's forward is called itself."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            rows = [(model.forward(x), y) for x, y in loader]
            logits, y = (torch.cat(parts) for parts in zip(*rows, strict=True))
            return [
                cross_entropy(logits, y).item(),
                (logits.argmax(-1) == y).double().mean().item(),
            ]
    finally:
        for module, training in modes:
            module.training = training


def on_a_copy(model: nn.Module, loader: Any) -> tuple[float, float]:
    return by_weighted_means(copy.deepcopy(model), loader)


@torch.no_grad()
def by_weighted_means(model: nn.Module, loader: Any) -> tuple[float, float]:
    modes = {name: module.training for name, module in model.named_modules()}
    totals = torch.zeros(3, dtype=torch.float64)
    model.train(False)
    for x, y in loader:
        logits = model(x)
        hits = logits.max(dim=1).indices.eq(y).sum()
        totals += torch.stack([cross_entropy(logits, y) * len(y), hits, torch.tensor(len(y))])
    for name, training in modes.items():
        model.get_submodule(name).training = training
    loss, hits, count = totals.tolist()
    return loss / count, hits / count


# ---- wrong answers ----


def _evaluate(model: nn.Module, loader: Any, mode: str = "restore", graph: bool = False, weigh: Any = len,
              tensors: bool = False, swapped: bool = False, frozen: bool = False, end: Any = None,
              last: bool = False) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    was_training = model.training
    modes = [(module, module.training) for module in model.modules()]
    children = {name: child.training for name, child in model.named_children()}
    model.train(model.training and mode == "never")
    if frozen:
        model.requires_grad_(False)
    losses, weights, hits, count = [], [], 0, 0
    with torch.set_grad_enabled(graph):
        for x, y in list(loader)[-1:] if last else loader:
            logits = model(x)
            losses.append(cross_entropy(logits, y).double() * weigh(y))
            weights.append(weigh(y))
            hits += (logits.argmax(dim=1) == y).sum()
            count += len(y)
    if mode == "restore":
        for module, training in modes:
            module.training = training
    elif mode in ("train", "one for all", "the children"):
        model.train(was_training or mode == "train")
        for name, training in children.items() if mode == "the children" else []:
            model.get_submodule(name).train(training)
    elif mode == "the model alone":
        model.training = was_training
    loss = sum(losses) / sum(weights)
    result = (loss, hits / count) if tensors else (loss.item(), int(hits) / count)
    result = result[::-1] if swapped else result
    return result if end is None else end(*result)


def _means_of_means(model: nn.Module, loader: Any) -> tuple[float, float]:
    both = [_evaluate(model, [batch]) for batch in loader]
    loss, _ = _evaluate(model, loader)
    return loss, sum(accuracy for _, accuracy in both) / len(both)


def _total(model: nn.Module, loader: Any) -> tuple[float, float]:
    loss, accuracy = _evaluate(model, loader)
    return loss * sum(len(y) for _, y in loader), accuracy


def _sum_of_means(model: nn.Module, loader: Any) -> tuple[float, float]:
    loss, accuracy = _evaluate(model, loader, weigh=lambda y: 1)
    return loss * len(loader), accuracy


def _counted_hits(model: nn.Module, loader: Any) -> tuple[float, float]:
    loss, accuracy = _evaluate(model, loader)
    return loss, float(round(accuracy * sum(len(y) for _, y in loader)))


def _gradients_off(model: nn.Module, loader: Any) -> Any:
    torch.set_grad_enabled(False)
    return _evaluate(model, loader)


def _cleared(model: nn.Module, loader: Any) -> Any:
    model.zero_grad()
    return _evaluate(model, loader)


def _all_ask_again(model: nn.Module, loader: Any) -> Any:
    found = _evaluate(model, loader)
    model.requires_grad_(True)
    return found


WRONG = {
    "all parameters ask again": (_all_ask_again, "model.head.bias, its requires_grad"),
    "training mode": (partial(_evaluate, mode="never"), "in training mode while you measured"),
    "left in evaluation mode": (partial(_evaluate, mode="leave"), "model, its mode"),
    "the model's own flag only": (partial(_evaluate, mode="the model alone"), "model.head, its mode"),
    "one mode for all": (partial(_evaluate, mode="one for all"), "model.body.2, its mode"),
    "the children's modes alone": (partial(_evaluate, mode="the children"), "model.body.2, its mode"),
    "always back to training": (partial(_evaluate, mode="train"), "model, its mode"),
    "graph built": (partial(_evaluate, graph=True), "A graph was built"),
    "parameters frozen": (partial(_evaluate, frozen=True), "model.head.weight, its requires_grad"),
    "gradients off for good": (_gradients_off, "gradients, which are switched on"),
    "gradients cleared": (_cleared, "its .grad"),
    "mean of batch means": (partial(_evaluate, weigh=lambda y: 1), "mean of the batches' means"),
    "sum of batch means": (_sum_of_means, "sum of the batches' means"),
    "the sum": (_total, "a sum over all examples"),
    "the last batch": (partial(_evaluate, last=True), "the last batch's alone"),
    "tensors returned": (partial(_evaluate, tensors=True), "yours are Tensor and Tensor"),
    "accuracy first": (partial(_evaluate, swapped=True), "The first number is the accuracy"),
    "mean of accuracies": (_means_of_means, "mean of the batches' accuracies"),
    "hits": (_counted_hits, "a number of hits"),
    "percent": (partial(_evaluate, end=lambda loss, share: (loss, 100 * share)), "in percent"),
    "errors": (partial(_evaluate, end=lambda loss, share: (loss, 1 - share)), "share of errors"),
    "the loss alone": (partial(_evaluate, end=lambda loss, share: loss), "returns two floats"),
}  # fmt: skip
