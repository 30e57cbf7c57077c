"""A trace goes in, bytes come out: what the graph keeps alive after every step.

Counted are the distinct storages that saved tensors of nodes refer to: from the operation that made the node
until the backward step that frees it. Two saved tensors on one storage count once; the values of leaves count
where a node keeps them. What is not counted: gradients, and tensors that variables hold.
"""

from __future__ import annotations

from .trace import Trace

__all__ = ["freed_at", "kept_after_steps"]


def freed_at(trace: Trace, node: int) -> int | None:
    """The step, counted from 1, in which a node lets go of what it saved; None when it never does."""
    return next((step.index + 1 for step in trace.steps if step.node == node and step.freed), None)


def kept_after_steps(trace: Trace) -> tuple[int, ...]:
    """Bytes kept alive after each step, as many as the trace has steps."""
    users: dict[int, set[int]] = {}
    nbytes: dict[int, int] = {}
    kept: list[int] = []
    older = [node.index for node in trace.nodes if node.op is None]

    def keep(node: int) -> None:
        for saved in trace.nodes[node].saved:
            users.setdefault(saved.storage, set()).add(node)
            nbytes[saved.storage] = saved.nbytes

    for node in older:
        keep(node)
    for step in trace.steps:
        if step.op is not None:
            for node in trace.nodes_of(step.op):
                keep(node)
        elif step.freed:
            for saved in trace.nodes[step.node or 0].saved:
                users.get(saved.storage, set()).discard(step.node)
        kept.append(sum(nbytes[storage] for storage, nodes in users.items() if nodes))
    return tuple(kept)
