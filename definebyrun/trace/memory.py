"""A trace goes in, bytes come out: what the graph keeps alive after every step.

Counted are the distinct storages that saved tensors of nodes refer to, from the step that made the node until the
backward step that frees it. Two saved tensors on one storage count once; a leaf's own storage counts where a node saved
it. Behind hooks on saved tensors it is the tensors that the hooks put there; a checkpoint keeps its inputs, and what it
recomputes until the original node runs. Not counted are gradients, tensors that variables hold, and what
hooks put elsewhere. A graph that the program drops without a backward counts to the end, because a recording holds the
nodes that it has seen; what nodes from before the recording keep is not read.
"""

from __future__ import annotations

from .steps import shown_from
from .trace import Trace, cached

__all__ = ["freed_at", "kept_after_steps"]


def freed_at(trace: Trace) -> dict[int, int]:
    """By node: the step, counted from 1, that frees what it saved; without the nodes that are never freed."""
    first = {node.index: shown_from(node.until) for node in trace.nodes if node.until is not None}
    for step in trace.steps:
        if step.freed and step.node is not None:
            first.setdefault(step.node, shown_from(step.index))
    return first


def kept_after_steps(trace: Trace) -> tuple[int, ...]:
    """Bytes kept alive after each step, as many as the trace has steps.

    The steps of a folded trace hold these numbers, taken from the whole run: one of them stands for many.
    """
    return cached(trace, _kept_after_steps)


def _kept_after_steps(trace: Trace) -> tuple[int, ...]:
    uses: dict[int, int] = {}  # by storage: how often nodes keep it
    keepers: set[int] = set()
    ending: dict[int, list[int]] = {}  # by step: the nodes of recomputations that end with it
    for node in trace.nodes:
        if node.until is not None:
            ending.setdefault(node.until, []).append(node.index)
    kept: list[int] = []
    now = 0

    def keep(node: int) -> int:
        """The bytes of storages that this node is the first to keep."""
        new = 0
        keepers.add(node)
        for saved in trace.nodes[node].saved:
            others = uses.get(saved.storage, 0)
            new += 0 if others else saved.nbytes
            uses[saved.storage] = others + 1
        return new

    def free(node: int) -> int:
        """The bytes of storages that no node keeps any more when this one is freed."""
        gone = 0
        if node in keepers:
            keepers.remove(node)
            for saved in trace.nodes[node].saved:
                others = uses[saved.storage] = uses[saved.storage] - 1
                gone += 0 if others else saved.nbytes
        return gone

    for node in trace.nodes:
        if node.op is None and node.made is None:
            now += keep(node.index)
    for step in trace.steps:
        if step.op is not None:
            own = (n for n in trace.nodes_of(step.op) if trace.nodes[n].made is None)
            now += sum(map(keep, own))
        elif step.node is not None:
            now -= free(step.node) if step.freed else 0
            now -= sum(map(free, ending.get(step.index, ())))
        now += sum(map(keep, trace.nodes_made_in(step.index)))
        kept.append(now if step.kept is None else step.kept)
    return tuple(kept)
