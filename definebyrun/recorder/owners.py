"""Modules that were called go in; by tensor, those come out that hold it, in themselves or in a submodule.

Folding asks this: what a module holds lies inside it, what its call was given lies outside.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from .object_parts import LIST, MODULE, TENSOR, Kinds, parts

__all__ = ["first_calls", "owners_by_tensor"]


def first_calls(calls: Iterable[tuple[int, torch.nn.Module]]) -> dict[int, int]:
    """By number of a call: the number of the first call of the same module."""
    first: dict[int, int] = {}
    return {number: first.setdefault(id(module), number) for number, module in calls}


def owners_by_tensor(
    calls: Iterable[tuple[int, torch.nn.Module]],
) -> dict[int, tuple[int, ...]]:
    """By `id` of a tensor: the modules that hold it now, each by the number of its first call."""
    inside = _Inside()
    owners: dict[int, list[int]] = {}
    known: set[int] = set()
    for number, module in calls:
        if id(module) not in known:
            known.add(id(module))
            for tensor in inside.tensors(module):
                owners.setdefault(tensor, []).append(number)
    return {tensor: tuple(numbers) for tensor, numbers in owners.items()}


class _Inside:
    """What lies in a module: its parameters, buffers and plain attributes, also in a list or dict; its submodules."""

    def __init__(self) -> None:
        self._kinds = Kinds()
        self._parts: dict[int, tuple[list[int], list[torch.nn.Module]]] = {}

    def tensors(self, module: torch.nn.Module) -> set[int]:
        """The `id`s of the tensors in a module and in all modules inside it."""
        found: set[int] = set()
        met = {id(module)}
        waiting = [module]
        while waiting:
            tensors, children = self._direct(waiting.pop())
            found.update(tensors)
            for child in children:
                if id(child) not in met:
                    met.add(id(child))
                    waiting.append(child)
        return found

    def _direct(self, module: torch.nn.Module) -> tuple[list[int], list[torch.nn.Module]]:
        if id(module) not in self._parts:
            stored = parts(module, MODULE, self._kinds)
            containers = [(part, kind) for _, part, kind in stored if LIST <= kind < MODULE]
            for part, kind in containers:
                stored += parts(part, kind, self._kinds)
            tensors = [id(part) for _, part, kind in stored if kind == TENSOR]
            children = [part for _, part, kind in stored if kind == MODULE]
            self._parts[id(module)] = tensors, children
        return self._parts[id(module)]
