"""The edges of a backward graph go in; a warning comes out where the graph is so deep that PyTorch may not free it.

Once Python has seen the nodes of a graph, PyTorch frees them one inside the other, each on the process's stack: issues
5534, 109948 and 155322 of pytorch/pytorch. A recording and `draw` have to see them all.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

__all__ = ["MAX_SAFE_DEPTH", "depth", "warn_if_deep"]

MAX_SAFE_DEPTH = 40_000
"""A chain of so many nodes is freed with the stack of 8 MiB that a process has by default; about 45,000 are not."""


def depth(nodes: int, edges: Sequence[tuple[int, int]]) -> int:
    """The number of nodes on the longest path, for edges as pairs of a node and the next.

    >>> depth(4, [(0, 1), (1, 2), (0, 2), (3, 2)])
    3
    """
    following: list[list[int]] = [[] for _ in range(nodes)]
    arriving = [0] * nodes
    for source, target in edges:
        following[source].append(target)
        arriving[target] += 1
    longest = [1] * nodes
    waiting = [node for node in range(nodes) if not arriving[node]]
    while waiting:
        node = waiting.pop()
        for target in following[node]:
            longest[target] = max(longest[target], longest[node] + 1)
            arriving[target] -= 1
            if not arriving[target]:
                waiting.append(target)
    return max(longest, default=0)


def warn_if_deep(nodes: int, edges: Sequence[tuple[int, int, int, int]], stacklevel: int) -> None:
    """Raises a `RuntimeWarning` for a graph of more than `MAX_SAFE_DEPTH` nodes in a row; `edges` as in `NodeIndex`."""
    if nodes <= MAX_SAFE_DEPTH:
        return
    deep = depth(nodes, [edge[:2] for edge in edges])
    if deep > MAX_SAFE_DEPTH:
        warnings.warn(
            f"this graph is {deep:,} nodes deep, and PyTorch may end the process when a graph of more than "
            f"{MAX_SAFE_DEPTH:,} is freed that Python has seen: record or draw fewer steps, or detach() in between",
            RuntimeWarning,
            stacklevel=stacklevel + 1,
        )
