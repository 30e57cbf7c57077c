"""`torch.compile` as the checks of exercises use it: quiet, without a C++ compiler, graphs counted, nothing kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx

from ..grading import closed_by

__all__ = ["captures", "counted"]


@contextmanager
def captures(limit: int) -> Iterator[None]:
    """A region without the warnings of `torch.compile`, with this recompile limit; nothing is kept of it."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    _reset()
    with closed_by(_reset), torch._dynamo.config.patch(recompile_limit=limit):
        try:
            yield
        finally:
            logging.disable(disabled)


def counted(
    function: Callable[..., Any], **how: Any
) -> tuple[Callable[..., Any], list[fx.GraphModule]]:
    """The function, compiled with a backend that keeps each graph and runs it, and the list of the graphs."""
    graphs: list[fx.GraphModule] = []

    def keep(graph: fx.GraphModule, example_inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    return torch.compile(function, backend=keep, **how), graphs


def _reset() -> None:
    """Forget all that was captured, and captures that were cut: PyTorch would go on waiting for their end."""
    handler = torch._dynamo.callback.callback_handler
    vars(handler).clear()
    vars(handler).update(vars(type(handler)()))
    torch._dynamo.reset()
