"""A trace and its cards go in, the links between them come out: PyTorch's edges, and data where no gradient flows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..text.labels import op_step
from ..trace import TensorVersion, Trace
from .gradient_rows import BackwardHistory, clip
from .model import Card, Link

__all__ = ["data_links", "edge_links"]


def edge_links(
    trace: Trace, by_node: dict[int | None, Card], back: BackwardHistory, shared: float
) -> tuple[list[Link], list[Card]]:
    """One link for each edge; a leaf with many uses is copied into a chip for each."""
    uses = Counter(edge.target for edge in trace.edges)
    links, chips, seen = [], [], Counter[int]()
    for edge in trace.edges:
        head, tail = by_node[edge.source], by_node[edge.target]
        if trace.nodes[edge.target].leaf is not None and uses[edge.target] > shared:
            seen[edge.target] += 1
            use = seen[edge.target]
            name = f"{tail.id}u{use}"
            if not trace.steps:  # found from the end, so the first found is the last use
                use = uses[edge.target] + 1 - use
            title = clip(f"{tail.title} (use {use} of {uses[edge.target]})")
            tail = replace(tail, id=name, title=title)
            chips.append(tail)
        flows = tuple(back.flows.get(edge.index, ()))
        reader, maker = trace.nodes[edge.source].op, trace.nodes[edge.target].op
        again = edge.source == edge.target or (
            edge.again if reader == maker else _again(trace, reader, maker)
        )
        born = max(tail.born, head.born) if again else head.born
        links.append(Link(f"e{edge.index}", tail.id, head.id, born, edge.index, flows, again))
    return links, chips


def _again(trace: Trace, reader: int | None, maker: int | None) -> bool:
    """Whether an operation reads what comes after it: what an earlier repetition of a block has made."""
    if reader is None or maker is None or reader > maker:
        return False
    return trace.ops[reader].block is not None


def data_links(trace: Trace, cards: dict[str, Card], uses: dict[str, list[Link]]) -> list[Link]:
    """Inputs that an operation read but that no edge leads back to: constants, detached and non-differentiable ones."""
    links: list[Link] = []
    seen: set[tuple[str, str]] = set()
    for op in trace.ops:
        nodes = trace.nodes_of(op.index)
        main = trace.main_node(op.index)
        head = f"o{op.index}" if main is None else f"n{main}"
        targets = {edge.target for edge in trace.edges_of(nodes)}
        for index in dict.fromkeys(op.inputs):
            tensor = trace.tensors[index]
            if tensor.node is not None and (tensor.node in targets or tensor.node in nodes):
                continue
            tail = _card_of(trace, tensor)
            again = tensor.kind == "result" and _again(trace, op.index, tensor.op)
            if (tail, head) in seen:
                continue  # two versions of one leaf
            if tail in cards and head in cards and (tail != head or again):
                seen.add((tail, head))
                born = max(cards[tail].born, cards[head].born) if again else cards[head].born
                tail = tail if again else _chip(tail, uses, born)
                links.append(Link(f"d{len(links)}", tail, head, born, back=again))
    for tensor in trace.leaves:
        made = tensor.op is not None and not trace.ops[tensor.op].factory
        if made and f"o{tensor.op}" in cards:
            links.append(
                Link(
                    f"d{len(links)}",
                    f"o{tensor.op}",
                    _chip(_leaf_id(trace, tensor), uses, 0),
                    op_step(trace, tensor.op or 0),
                )
            )
    return links


def _chip(card: str, uses: dict[str, list[Link]], step: int) -> str:
    """The card, or where it is drawn once for each use, the chip of the last use before a step."""
    links = uses.get(card)
    if not links:
        return card
    return next((link.tail for link in reversed(links) if link.born <= step), links[0].tail)


def _card_of(trace: Trace, tensor: TensorVersion) -> str:
    if tensor.node is not None:
        return f"n{tensor.node}"
    if tensor.kind != "result":
        return _leaf_id(trace, tensor)
    return f"o{tensor.op}"


def _leaf_id(trace: Trace, tensor: TensorVersion) -> str:
    """The card of a leaf: the one of its own node, or of the node that it had or will have."""
    if tensor.node is not None:
        return f"n{tensor.node}"
    first = trace.first_version(tensor.index)
    node = next((t.node for t in trace.leaf_versions(first) if t.node is not None), None)
    return f"t{first}" if node is None else f"n{node}"
