"""A trace and its cards go in, the links between them come out: PyTorch's edges, and data where no gradient flows."""

from __future__ import annotations

from ..text.labels import op_step
from ..trace import Edge, TensorVersion, Trace
from ..trace.steps import shown_from
from .gradient_rows import BackwardHistory
from .link_words import LinkWords
from .model import GRADIENT, Card, Link
from .readers import reading_node

__all__ = ["card_of", "data_links", "edge_links"]


def edge_links(trace: Trace, by_node: dict[int, Card], history: BackwardHistory) -> list[Link]:
    """A solid link for each edge."""
    links: list[Link] = []
    words = LinkWords(trace)
    for edge in trace.edges:
        head, tail = by_node[edge.source], by_node[edge.target]
        flows = tuple(history.flows.get(edge.index, ()))
        back = _leads_back(trace, edge)
        born = max(tail.born, head.born) if back else head.born
        tail_word, head_word = words.of_edge(edge)
        links.append(
            Link(
                f"e{edge.index}",
                tail.id,
                head.id,
                born,
                edge.index,
                flows,
                back,
                tail_word=tail_word,
                head_word=head_word,
            )
        )
    return links


def _leads_back(trace: Trace, edge: Edge) -> bool:
    """Whether the data of an edge goes from one repetition of a block to the next."""
    reader, maker = trace.nodes[edge.source].op, trace.nodes[edge.target].op
    if edge.source == edge.target:
        return True
    return edge.again if reader == maker else _reads_earlier_repetition(trace, reader, maker)


def _reads_earlier_repetition(trace: Trace, reader: int | None, maker: int | None) -> bool:
    """Whether an operation of a repeated block stands before the one that made what it reads: it reads what that made
    in the repetition before."""
    if reader is None or maker is None or reader > maker:
        return False
    return trace.ops[reader].block is not None


def data_links(trace: Trace, cards: dict[str, Card]) -> list[Link]:
    """A dashed link for each input that an operation read but that no edge leads back to: constants, detached and
    non-differentiable results; and one to each leaf that an operation made."""
    links: list[Link] = []
    seen: set[tuple[str, str]] = set()
    words = LinkWords(trace)
    for op in trace.ops:
        nodes, main = trace.nodes_of(op.index), trace.main_node(op.index)
        targets = {edge.target for edge in trace.edges_of(nodes)}
        for index in dict.fromkeys(op.inputs):
            tensor = trace.tensors[index]
            if tensor.node is not None and (tensor.node in targets or tensor.node in nodes):
                continue
            reader = main if len(nodes) < 2 else reading_node(trace, op.index, index)
            head = f"o{op.index}" if reader is None else f"n{reader}"
            tail = card_of(trace, tensor, cards)
            back = tensor.kind == "result" and _reads_earlier_repetition(trace, op.index, tensor.op)
            if (tail, head) in seen:
                continue  # two versions of one leaf
            if tail in cards and head in cards and (tail != head or back):
                seen.add((tail, head))
                born = max(cards[tail].born, cards[head].born) if back else cards[head].born
                tail_word, head_word = words.of_data(op, tensor)
                links.append(
                    Link(
                        f"d{len(links)}",
                        tail,
                        head,
                        born,
                        back=back,
                        tail_word=tail_word,
                        head_word=head_word,
                    )
                )
    links += _links_of_passes(trace, cards, len(links))
    for tensor in trace.leaves:
        if tensor.op is None or trace.ops[tensor.op].factory or f"o{tensor.op}" not in cards:
            continue
        head, born = _leaf_card(trace, tensor), op_step(trace, tensor.op)
        links.append(Link(f"d{len(links)}", f"o{tensor.op}", head, born))
    return links


def _links_of_passes(trace: Trace, cards: dict[str, Card], first: int) -> list[Link]:
    """Dashed links for tensors of the run that are gradients: with which a pass began, that a custom backward was given
    and returned. The last of these lead back up, to where the gradient goes."""
    found: dict[tuple[str, str], tuple[int, bool, str]] = {}
    for step in trace.steps:
        if step.node is None:
            continue
        own, born = f"n{step.node}", shown_from(step.index)
        for i in step.given:
            tail = card_of(trace, trace.tensors[i], cards)
            found.setdefault((tail, own), (born, False, GRADIENT))
        for i in step.arrived:
            if trace.tensors[i].kind != "result":  # what was computed has its arrow
                head = card_of(trace, trace.tensors[i], cards)
                found.setdefault((own, head), (born, False, ""))
        for (edge, _), i in zip(step.passed, step.returned, strict=False):
            tail, head = card_of(trace, trace.tensors[i], cards), f"n{trace.edges[edge].target}"
            found.setdefault((tail, head), (born, True, GRADIENT))
    return [
        Link(f"d{first + i}", tail, head, born, back=back, head_word=word)
        for i, ((tail, head), (born, back, word)) in enumerate(found.items())
        if tail in cards and head in cards and tail != head
    ]


def card_of(trace: Trace, tensor: TensorVersion, cards: dict[str, Card]) -> str:
    """The id of the card on which a tensor stands: a result without a gradient on its operation's.

    What an operation changed besides stands on the card of what it was before.
    """
    before: TensorVersion | None = tensor
    while before is not None:
        tensor, before = before, _before_change(trace, before)
    if tensor.node is not None:
        return f"n{tensor.node}"
    if tensor.kind != "result":
        return _leaf_card(trace, tensor)
    main = None if tensor.op is None else trace.main_node(tensor.op)
    return f"o{tensor.op}" if main is None or f"o{tensor.op}" in cards else f"n{main}"


def _before_change(trace: Trace, tensor: TensorVersion) -> TensorVersion | None:
    """The version of a tensor before an operation that changed it besides; None for all others and without a name."""
    op = None if tensor.op is None else trace.ops[tensor.op]
    if op is None or tensor.name is None or tensor.index not in op.outputs[len(op.results) :]:
        return None
    inputs = (trace.tensors[i] for i in op.inputs)
    earlier = (each for each in inputs if each.index < tensor.index)  # not of the time before
    return next((each for each in earlier if each.name == tensor.name), None)


def _leaf_card(trace: Trace, tensor: TensorVersion) -> str:
    """The id of a leaf's card: of its own node, else of the node that another version of the leaf had."""
    if tensor.node is not None:
        return f"n{tensor.node}"
    first = trace.first_version(tensor.index)
    node = next((t.node for t in trace.leaf_versions(first) if t.node is not None), None)
    return f"t{first}" if node is None else f"n{node}"
