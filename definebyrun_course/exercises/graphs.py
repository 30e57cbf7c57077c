"""Backward graphs as the checks of exercises look at them: their nodes, their leaves, a pass through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd.graph import get_gradient_edge

import definebyrun as dbr

from ..grading import Mistake
from ..grading.blame import learners_line

__all__ = ["beside", "edges_of", "is_leaf_node", "nodes_of", "passed"]

MAX_WORDS_CHARS = 200


def nodes_of(tensor: Tensor) -> list[Any]:
    """The nodes that a tensor's graph has, each once; none where it asks for no gradient.

    >>> import torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> len(nodes_of((x * x).sum())), len(nodes_of(x)), len(nodes_of(x.detach()))
    (3, 1, 0)
    """
    if not tensor.requires_grad:
        return []
    start = get_gradient_edge(tensor).node
    seen, waiting = {start: None}, [start]
    while waiting:
        for target, _ in waiting.pop().next_functions:
            if target is not None and target not in seen:
                seen[target] = None
                waiting.append(target)
    return list(seen)


def edges_of(nodes: list[Any]) -> int:
    """How many edges lead from these nodes to others."""
    return sum(target is not None for node in nodes for target, _ in node.next_functions)


def is_leaf_node(node: Any) -> bool:
    """Whether a node is the AccumulateGrad of a leaf."""
    return hasattr(node, "variable") and type(node).__name__ == "AccumulateGrad"


def passed(backward: Callable[[], Any], what: str, hint: str) -> Any:
    """What a backward pass gives; where PyTorch stops in it, and no line of the learner's, that is told of `what`."""
    try:
        return backward()
    except (RuntimeError, TypeError, IndexError) as error:
        if learners_line(error.__traceback__) is not None:
            raise
        words = " ".join(str(error).split())[:MAX_WORDS_CHARS]
        raise Mistake(
            f"For {what} the backward pass stops with {type(error).__name__}: {words}", hint
        ) from error


def beside(found: Tensor, want: Tensor) -> str:
    """The graph of an answer and the one that it should have, in one drawing, as HTML; empty where one has none."""
    try:
        both = dbr.compare(dbr.draw(found), dbr.draw(want), ("yours", "expected"))
        return both.html()
    except Exception:  # a verdict can do without its picture
        return ""
