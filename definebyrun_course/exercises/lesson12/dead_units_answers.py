"""Answers to exercise `dead_units`, right and wrong: counts of the units of each ReLU that are off."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "WRONG",
    "by_inputs",
    "by_largest_output",
]


# ---- right answers, found in other ways ----


def by_largest_output(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    largest: dict[str, Tensor] = {}

    def look(name: str, out: Tensor) -> None:
        peak = out.reshape(-1, out.shape[-1]).amax(dim=0)
        largest[name] = torch.maximum(largest.get(name, peak), peak)

    relus = {name: m for name, m in model.named_modules() if isinstance(m, nn.ReLU)}
    handles = [
        relu.register_forward_hook(lambda m, args, out, name=name: look(name, out))
        for name, relu in relus.items()
    ]
    with torch.inference_mode():
        for batch in batches:
            model(batch)
    for handle in handles:
        handle.remove()
    return {name: (peak == 0).sum() for name, peak in largest.items()}


def by_inputs(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, int]:
    """Looks at what goes in, in evaluation mode, and puts every module's mode back."""
    modes = {module: module.training for module in model.modules()}
    rows: dict[str, list[Any]] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            rows[name] = []
            keep = lambda m, args, kept=rows[name]: kept.extend(args[0].flatten(0, -2).tolist())  # noqa: E731
            handles.append(module.register_forward_pre_hook(keep))
    model.eval()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for handle in handles:
        handle.remove()
    for module, mode in modes.items():
        module.training = mode
    return {
        name: sum(all(number <= 0 for number in unit) for unit in zip(*kept, strict=True))
        for name, kept in rows.items()
    }


# ---- wrong answers ----


def _dead(model: nn.Module, batches: Iterable[Tensor], off: Any = None, join: Any = None,
          named: str = "all", grad: bool = False, keep: bool = False, evaluate: str = "",
          key: Any = None, runs: int = 1) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    seen: dict[str, list[Tensor]] = {}
    handles = []
    off = off or (lambda out: (out == 0).flatten(0, -2).all(0))
    modules = {"all": model.named_modules, "children": model.named_children}[named]()
    for name, module in modules:
        if isinstance(module, nn.ReLU):
            found = seen.setdefault(name if key is None else key(module), [])
            look = lambda m, args, out, found=found: found.append(off(out))  # noqa: E731
            handles.append(module.register_forward_hook(look))
    was = model.training
    if evaluate:
        model.eval()
    with torch.set_grad_enabled(grad):
        for batch in batches:
            for _ in range(runs):
                model(batch)
    if evaluate == "whole model back":
        model.train(was)
    for handle in [] if keep else handles:
        handle.remove()
    join = join or (lambda found: int(torch.stack(found).all(0).sum()))
    return {name: join(found) for name, found in seen.items()}


def _zeros(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    return _dead(model, batches, lambda out: (out == 0).sum(), lambda found: int(sum(found)))


def _alive(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    alive = lambda found: int((~torch.stack(found).all(0)).sum())  # noqa: E731
    return _dead(model, batches, join=alive)


def _nearly(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    return _dead(model, batches, off=lambda out: (out < 1e-6).flatten(0, -2).all(0))


def _first_only(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    first = [batch for batch, _ in zip(batches, range(1), strict=False)]
    return _dead(model, first)


def _total(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    return sum(_dead(model, batches).values())


def _length_of(model: nn.Module, batches: Any) -> Any:
    """Needs a list."""
    return _dead(model, [batches[nth] for nth in range(len(batches))])


def _one_batch_of_all(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Puts all batches into one, which needs them to have one length."""
    return _dead(model, [torch.stack(list(batches))])


def _first_axis(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Takes the first axis for the rows, and a unit for dead that is off in some place of the others."""

    def join(found: list[Tensor]) -> int:
        off = [each.reshape(-1, each.shape[-1]).any(0) for each in found]
        return int(torch.stack(off).all(0).sum())

    return _dead(model, batches, lambda out: (out == 0).all(0), join)


def _last_run(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Of each batch only what a ReLU gave the last time."""
    found: dict[str, Any] = {}
    for batch in batches:
        once = _dead(model, [batch], join=lambda runs: runs[-1])
        found = {name: off & found.get(name, off) for name, off in once.items()}
    return {name: int(off.sum()) for name, off in found.items()}


def _cleared(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Removes every hook that there is."""
    found = _dead(model, batches, keep=True)
    for module in model.modules():
        module._forward_hooks.clear()
    return found


def _later(model: nn.Module, batches: Iterable[Tensor]) -> Any:
    """Keeps the outputs, and looks at them at the end."""

    def join(outs: list[Tensor]) -> int:
        return int((torch.cat([out.flatten(0, -2) for out in outs]) == 0).all(0).sum())

    return _dead(model, batches, lambda out: out, join)


ADDED = "[[-3], [-1], [-2]], the answer is {'1': 1}; yours is {'1': "
WRONG = {
    "off by less than 1e-12": (
        partial(_dead, off=lambda out: (out < 1e-12).flatten(0, -2).all(0)),
        "yours is {'1': 3}.\nHint: A unit is dead"),
    "the last run": (_last_run, "runs once more"),
    "looks at the end": (_later, "adds 1 in place"),
    "the last batch": (
        partial(_dead, join=lambda found: int(found[-1].sum())), ADDED + "3}"),
    "the first batch": (_first_only, ADDED + "2}"),
    "off in some batch": (
        partial(_dead, join=lambda found: int(torch.stack(found).any(0).sum())), ADDED + "4}"),
    "counts added": (
        partial(_dead, join=lambda found: int(sum(f.sum() for f in found))), ADDED + "5}"),
    "off for some row": (
        partial(_dead, off=lambda out: (out == 0).flatten(0, -2).any(0)),
        "batch [[2], [-1]], the answer is {'1': 1}; yours is {'1': 4}"),
    "zeros instead of units": (_zeros, "yours is {'1': 4}.\nHint: A unit is"),
    "nearly off": (_nearly, "yours is {'1': 3}.\nHint: A unit is dead"),
    "the units that live": (_alive, "batch [[2], [-1]], the answer is {'1': 1}; yours is {'1': 3}"),
    "the first axis only": (_first_axis, "shape (2, 3, 1)"),
    "the model's children": (partial(_dead, named="children"), "yours is {'2': 1}"),
    "modules for keys": (partial(_dead, key=lambda module: module), "The keys are names"),
    "one number": (_total, "The answer is a dictionary"),
    "a graph": (partial(_dead, grad=True), "builds a graph"),
    "a hook left": (partial(_dead, keep=True), "one is left behind"),
    "all hooks removed": (_cleared, "one is gone"),
    "left in evaluation mode": (partial(_dead, evaluate="for good"), "model, its mode"),
    "one mode for all modules": (partial(_dead, evaluate="whole model back"), "model.0, its mode"),
    "a list asked for": (_length_of, "TypeError"),
    "one large batch": (_one_batch_of_all, "RuntimeError"),
}  # fmt: skip
