"""What the user draws goes in, the tensors whose graph is drawn come out, with the names that keys give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

__all__ = ["roots_of"]

WAY_ON = (
    "draw one result, as in draw(model(x)), several in a list, tuple or dictionary, or see all that runs "
    "by `with record() as tape: …`"
)


def roots_of(given: Any) -> list[tuple[torch.Tensor, str]]:
    """The tensors in a tensor, list, tuple or dictionary, each once, with the name that its key gives it, or none.

    Keys are joined as in `losses['aux'][1]`: `aux[1]`. What is no tensor within a container is passed over, as models
    give `None` for what they have not computed. Raises `TypeError` for anything else.

    >>> a, b = torch.ones(1), torch.zeros(1)
    >>> [name for _, name in roots_of({"total": a, "parts": (a, b)})]
    ['total', 'parts[1]']
    """
    found: dict[int, tuple[torch.Tensor, str]] = {}
    if isinstance(given, (torch.Tensor, Mapping, list, tuple)):
        for tensor, name in _within(given):
            found.setdefault(id(tensor), (tensor, name))
    if not found:
        said = type(given).__name__
        holds = " that holds none" if isinstance(given, (Mapping, list, tuple)) else ""
        raise TypeError(f"draw takes tensors, not {said}{holds}: {WAY_ON}")
    return list(found.values())


def _within(given: Any) -> Iterator[tuple[torch.Tensor, str]]:
    waiting: list[tuple[Any, str]] = [(given, "")]
    seen: set[int] = set()
    while waiting:
        thing, name = waiting.pop()
        if isinstance(thing, torch.Tensor):
            yield thing, name
            continue
        if not isinstance(thing, (Mapping, list, tuple)) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Mapping):
            parts = [(part, f"{name}.{key}" if name else str(key)) for key, part in thing.items()]
        else:
            fields = getattr(thing, "_fields", None)  # of a named tuple
            keys = [f".{field}" if name else field for field in fields or ()]
            parts = [
                (part, name + keys[i] if keys else f"{name}[{i}]" if name else "")
                for i, part in enumerate(thing)
            ]
        waiting += reversed(parts)
