"""A trace goes in, its cards and the links between them come out, in a fixed order.

One card stands for each backward node, one for each tensor or operation that has none.
"""

from __future__ import annotations

from collections import Counter

from ..text.format import format_bytes, format_value
from ..text.labels import is_gradient_sum, node_label, op_step, short_node_name, tensor_label
from ..trace import Node, Op, TensorVersion, Trace, cached
from .gradient_rows import BackwardHistory, clip, leaf_grads, node_grads, values_row
from .links import data_links, edge_links
from .model import (
    MAX_ROW_CHARS,
    MAX_SMALL_PRINT_CHARS,
    MAX_USES_WITHOUT_CHIPS,
    OUTPUT_KINDS,
    Card,
    Link,
    State,
)

__all__ = ["build_cards", "count_cards"]

MIN_NAME_CHARS = 6
"""Of a name that is cut, at least so many characters are shown."""


def build_cards(
    trace: Trace, shared: float = MAX_USES_WITHOUT_CHIPS
) -> tuple[list[Card], list[Link]]:
    """All cards and links of a trace, in a fixed order; a leaf with more uses than `shared` gets chips."""
    back = BackwardHistory.of(trace)
    cards = _leaf_cards(trace, back) + _op_cards(trace, back) + _older_cards(trace, back)
    cards += _made_cards(trace, back)
    by_node = {card.node: card for card in cards if card.node is not None}
    links, chips = edge_links(trace, by_node, back, shared)
    uses: dict[str, list[Link]] = {}
    for link in links:
        if "u" in link.tail:
            uses.setdefault(link.tail.split("u")[0], []).append(link)
    links += data_links(trace, {card.id: card for card in cards}, uses)
    used = {link.tail for link in links if not link.back}
    for card in cards:
        card.output = card.kind in OUTPUT_KINDS and card.id not in used
    return [card for card in cards if card.id not in uses] + chips, links


def count_cards(trace: Trace) -> int:
    """How many cards `build_cards` gives, without making them."""
    return cached(trace, _count)


def _count(trace: Trace) -> int:
    uses = Counter([edge.target for edge in trace.edges])
    chips = sum(
        n - 1
        for i, n in uses.items()
        if n > MAX_USES_WITHOUT_CHIPS and trace.nodes[i].leaf is not None
    )
    known = {t.index if t.origin is None else t.origin for t in trace.tensors if t.node is not None}
    leaves = sum([leaf.index not in known for leaf in trace.leaves])
    plain = sum([not op.factory and _without_node(trace, op) for op in trace.ops])
    return len(trace.nodes) + chips + leaves + plain


def _leaf_cards(trace: Trace, back: BackwardHistory) -> list[Card]:
    """A card for each leaf; more than one where PyTorch has given the leaf a new `AccumulateGrad` on the way."""
    cards = []
    for tensor in trace.leaves:
        family = trace.leaf_versions(tensor.index)
        born = op_step(trace, tensor.op) if tensor.op is not None else tensor.since
        values = [State(0, format_value(tensor.value, MAX_ROW_CHARS))]
        for version in family[1:]:
            if version.op is not None:
                values.append(
                    State(op_step(trace, version.op), format_value(version.value, MAX_ROW_CHARS))
                )
        nodes = list(dict.fromkeys(t.node for t in family if t.node is not None))
        for node in nodes or [None]:
            name = f"t{tensor.index}" if node is None else f"n{node}"
            kind = next(t.kind for t in family if t.node == node)
            card = Card(name, kind, tensor_label(trace, tensor.index), born, node)
            card.values = values
            if node is not None:
                card.function = "AccumulateGrad"
                card.runs = [step.index + 1 for step in back.runs.get(node, [])]
                card.grads = leaf_grads(trace, tensor.index, back.runs.get(node, []))
            cards.append(card)
    return cards


def _op_cards(trace: Trace, back: BackwardHistory) -> list[Card]:
    cards = []
    for op in trace.ops:
        if op.factory:
            continue
        born = op_step(trace, op.index)
        outputs = [trace.tensors[i] for i in op.outputs]
        names = ", ".join(dict.fromkeys(t.name for t in outputs if t.name))
        title = _title(names, op.name, born, bool(op.module))
        title += {"backward": ", in backward", "recompute": ", recomputed"}.get(op.during, "")
        values = values_row([t.value for t in outputs])
        main = trace.main_node(op.index)
        if main is not None and trace.nodes[main].made is not None:
            if not _without_node(trace, op):
                continue  # the nodes of its pass have cards of their own
            main, values = None, values_row([t.value for t in outputs if t.node is None])
        elif main is None and not _without_node(trace, op):
            continue  # code in the pass has made them
        card = Card(f"o{op.index}", "plain", clip(title), born, None, op.index, [State(0, values)])
        card.badge, card.folded = op.module[:MAX_ROW_CHARS], bool(op.module)
        if main is None:
            card.function = "no grad_fn"
        else:
            card.id, card.kind, card.node = f"n{main}", "op", main
            _fill(trace, card, back)
            _mark(card, trace.nodes[main])
            if op.parameters:
                card.function += f", {op.parameters} parameter{'s' if op.parameters > 1 else ''}"
        cards.append(card)
        for index in trace.nodes_of(op.index):
            if index != main and trace.nodes[index].made is None:
                inner = Card(f"n{index}", "inner", f"in {op.name}", born, index, op.index)
                _fill(trace, inner, back)
                _mark(inner, trace.nodes[index])
                cards.append(inner)
    return cards


def _without_node(trace: Trace, op: Op) -> bool:
    """Whether an operation has a card that stands for no node: it has none, or not for all that it gives."""
    nodes = [trace.nodes[i] for i in trace.nodes_of(op.index)]
    if nodes and not any(node.made is not None for node in nodes):
        return False
    if not nodes and op.name != "grad":
        return True
    return any(trace.tensors[i].node is None for i in op.outputs)


def _mark(card: Card, node: Node) -> None:
    """What says on a card that its node is of a later generation."""
    card.generation, card.run = node.generation, node.pass_nr
    if node.generation > 1 and not card.badge:
        card.badge = f"gen {node.generation}"


def _made_cards(trace: Trace, back: BackwardHistory) -> list[Card]:
    """A card for each node that no call made, but a backward pass that was recorded itself."""
    made = [node for node in trace.nodes if node.made is not None]
    hanging: dict[int | None, list[TensorVersion]] = {}
    for tensor in trace.tensors if made else ():
        hanging.setdefault(tensor.node, []).append(tensor)
    cards = []
    for node in made:
        op = None if node.op is None else trace.ops[node.op]
        given = [t for t in hanging.get(node.index, ()) if t.op == node.op]
        title = label = node_label(trace, node.index)
        names = ", ".join(dict.fromkeys(t.name for t in given if t.name))
        if op is not None and given:
            title = _title(names, op.name, op_step(trace, op.index), False)
        elif names:  # the `.grad` of a leaf
            title = names
        card = Card(f"n{node.index}", "made", clip(title), (node.made or 0) + 1, node.index)
        card.op = node.op if given else None
        values = [t.value for t in given] or ([] if node.value is None else [node.value])
        if values:
            card.values = [State(0, values_row(values))]
        _fill(trace, card, back)
        by = None if node.within is None else node_label(trace, node.within)
        alone = "where gradients meet" if is_gradient_sum(node) else "maker not seen"
        card.origin = clip(alone if by is None else f"by {by}", MAX_SMALL_PRINT_CHARS)
        if title == label:  # which says what the node is
            card.function, card.origin = card.origin, ""
        _mark(card, node)
        cards.append(card)
    return cards


def _title(names: str, name: str, step: int, module: bool) -> str:
    """What a card is called. What was done stays; of a long path the end does, which says more than its beginning."""
    title = f"{names} = {name}" if names else f"{name}#{step}"
    if len(title) <= MAX_ROW_CHARS:
        return title
    if not module:
        room = MAX_ROW_CHARS - len(f"… = {name}")
        if ", " in names:
            return f"{name}#{step}"
        cut = f"…{names[-room:]}" if "." in names else f"{names[:room]}…"
        return f"{cut} = {name}" if names and room >= MIN_NAME_CHARS else title
    path = names or name
    if names and len(names) + len(name.rpartition(".")[2]) + 4 <= MAX_ROW_CHARS:
        return f"{names} = …{name[len(names) + 4 - MAX_ROW_CHARS :]}"
    return f"…{path[1 - MAX_ROW_CHARS :]}"


def _older_cards(trace: Trace, back: BackwardHistory) -> list[Card]:
    cards = []
    held: dict[int, TensorVersion] = {}
    for tensor in trace.tensors:
        if tensor.node is not None and tensor.op is None:
            held.setdefault(tensor.node, tensor)
    for node in trace.nodes:
        if node.op is None and node.leaf is None and node.made is None:
            card = Card(f"n{node.index}", "older", "", 0, node.index)
            card.title = short_node_name(node.name)
            tensor = held.get(node.index)
            if tensor is not None:
                card.title = tensor.name or card.title
                card.values = [State(0, format_value(tensor.value, MAX_ROW_CHARS))]
            _fill(trace, card, back)
            if card.title == card.function:
                card.function = ""
            cards.append(card)
    return cards


def _fill(trace: Trace, card: Card, back: BackwardHistory) -> None:
    """The lower half of a card: its node, what that keeps, what arrives at it."""
    node = trace.nodes[card.node or 0]
    card.function = short_node_name(node.name)
    kept = sum({s.storage: s.nbytes for s in node.saved}.values())
    if kept:
        card.keeps = [
            State(card.born, f"{'all keep' if node.times > 1 else 'keeps'} {format_bytes(kept)}")
        ]
        freed = back.freed.get(node.index)
        if freed is not None:
            card.keeps.append(State(freed, "freed"))
    card.grads, card.runs = node_grads(trace, node.index, back)
