"""The floor of recording: what every recorder must do that sees operations, backward nodes and values, and no more.

What recording costs is divided by what this costs. All that it does:

- for each call of a torch function, it notes the function and the line of the calling frame, copies every tensor among
  the positional arguments and the result, and puts one hook on the node that made the result;
- for each backward node with such a hook, it copies every gradient that comes in and goes out;
- it keeps all of that in one list.

A copy is `tensor.detach().clone()`. A tensor with more elements than the recorder reads is not copied. Nothing is
named, numbered, joined or frozen: no graph can be drawn from that list.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["MAX_COPIED_ELEMENTS", "Floor"]

MAX_COPIED_ELEMENTS = 2**17
"""The recorder reads nothing of a tensor with more elements; neither does the floor."""


def copies(values: Iterable[Any]) -> list[Tensor]:
    return [
        value.detach().clone()
        for value in values
        if isinstance(value, Tensor) and value.numel() <= MAX_COPIED_ELEMENTS
    ]


class Floor(TorchFunctionMode):
    """While it is entered, `kept` grows by one entry for each call and each backward node with a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Any, ...]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.kept.append((func, sys._getframe(1).f_lineno, copies((*args, result))))
        node = getattr(result, "grad_fn", None)
        if node is not None:
            node.register_hook(self.node_ran)
        return result

    def node_ran(self, grad_inputs: tuple[Any, ...], grad_outputs: tuple[Any, ...]) -> None:
        """The hook of a node."""
        self.kept.append((copies(grad_inputs), copies(grad_outputs)))
