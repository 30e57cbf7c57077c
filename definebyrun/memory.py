"""A trace goes in, bytes come out: what the graph keeps alive after every step.

Counted are the distinct storages that saved tensors of nodes refer to: from the operation that made the node
until the backward step that frees it. Two saved tensors on one storage count once; the values of leaves count
where a node keeps them. What is not counted: gradients, and tensors that variables hold.
"""

from __future__ import annotations

from .trace import Trace

__all__ = ["freed_at", "kept_after_steps"]


def freed_at(trace: Trace) -> dict[int, int]:
    """The step, counted from 1, in which each node lets go of what it saved; nodes that never do are not there."""
    first: dict[int, int] = {}
    for step in trace.steps:
        if step.freed and step.node is not None:
            first.setdefault(step.node, step.index + 1)
    return first


def kept_after_steps(trace: Trace) -> tuple[int, ...]:
    """Bytes kept alive after each step, as many as the trace has steps.

    A folded trace brings the numbers of the whole run with it: one of its steps stands for many.
    """
    users: dict[int, set[int]] = {}
    nbytes: dict[int, int] = {}
    kept: list[int] = []
    now = 0

    def keep(node: int) -> int:
        more = 0
        for saved in trace.nodes[node].saved:
            known = users.setdefault(saved.storage, set())
            before = nbytes.get(saved.storage, 0) if known else 0
            known.add(node)
            nbytes[saved.storage] = saved.nbytes
            more += saved.nbytes - before
        return more

    for node in trace.nodes:
        if node.op is None:
            now += keep(node.index)
    for step in trace.steps:
        if step.op is not None:
            for index in trace.nodes_of(step.op):
                now += keep(index)
        elif step.freed and step.node is not None:
            for saved in trace.nodes[step.node].saved:
                known = users.get(saved.storage, set())
                if step.node in known:
                    known.discard(step.node)
                    now -= 0 if known else nbytes[saved.storage]
        kept.append(now if step.kept is None else step.kept)
    return tuple(kept)
