"""A trace goes in, its cards and the links between them come out, in a fixed order.

One card stands for each backward node, one for each tensor or operation that has none.
"""

from __future__ import annotations

from ..text.format import format_bytes, format_value
from ..text.labels import is_gradient_sum, node_label, op_step, short_node_name, tensor_label
from ..trace import Node, Op, TensorVersion, Trace, cached
from ..trace.steps import shown_from
from .arguments import arguments_row
from .gradient_rows import BackwardHistory, clip, cut_path, leaf_grads, node_grads, values_row
from .layers import layer_of
from .links import data_links, edge_links
from .model import (
    GRADIENT,
    LEAF_KINDS,
    MAX_ROW_CHARS,
    MAX_SMALL_PRINT_CHARS,
    OUTPUT_KINDS,
    Card,
    Link,
    State,
)
from .stopped import stop_cards, stop_links

__all__ = ["build_cards", "count_cards", "mark_outputs"]

SMALL_PRINT = 0.83
"""The part of a title's character that one of small print takes."""
MIN_NAME_CHARS = 6
"""Of a name that is cut, at least so many characters are shown."""


def build_cards(trace: Trace) -> tuple[list[Card], list[Link]]:
    """All cards and links of a trace, in a fixed order."""
    history = BackwardHistory.of(trace)
    cards = _leaf_cards(trace, history) + _op_cards(trace, history)
    cards += _older_cards(trace, history) + _made_cards(trace, history) + stop_cards(trace)
    by_node = {card.node: card for card in cards if card.node is not None}
    links = edge_links(trace, by_node, history)
    by_id = {card.id: card for card in cards}
    links += data_links(trace, by_id) + stop_links(trace, by_id)
    mark_outputs(cards, links)
    return cards, links


def mark_outputs(cards: list[Card], links: list[Link]) -> None:
    """Mark the results that nothing else uses: the gradient that a custom backward is given is no use of its result."""
    kinds = {card.id: card.kind for card in cards if card.kind in LEAF_KINDS}
    nodes = {card.id for card in cards if card.node is not None}
    used = {
        link.tail
        for link in links
        if (link.head_word == GRADIENT or not link.back)
        and not (link.edge is None and link.head in kinds and link.tail in nodes)
    }
    for card in cards:
        card.output = card.kind in OUTPUT_KINDS and card.id not in used


def count_cards(trace: Trace) -> int:
    """How many cards `build_cards` gives, without making them."""
    number_of: int = cached(trace, _count)
    return number_of


def _count(trace: Trace) -> int:
    known = {t.index if t.origin is None else t.origin for t in trace.tensors if t.node is not None}
    leaves = sum([leaf.index not in known for leaf in trace.leaves])
    plain = sum([not op.factory and _has_plain_card(trace, op) for op in trace.ops])
    return len(trace.nodes) + leaves + plain + len(trace.stops)


# ---- leaves ----


def _leaf_cards(trace: Trace, history: BackwardHistory) -> list[Card]:
    """A card for each leaf; more than one where PyTorch has given the leaf a new `AccumulateGrad` on the way."""
    cards = []
    beside = _changed_beside(trace)
    for tensor in trace.leaves:
        versions = trace.leaf_versions(tensor.index)
        born = op_step(trace, tensor.op) if tensor.op is not None else tensor.since
        values = [State(0, format_value(tensor.value, MAX_ROW_CHARS))]
        for version in versions[1:]:
            if version.op is not None:
                text = format_value(version.value, MAX_ROW_CHARS)
                values.append(State(op_step(trace, version.op), text))
        if tensor.kind == "constant":
            values += beside.get(tensor.name, ())
        nodes = list(dict.fromkeys(t.node for t in versions if t.node is not None))
        title = tensor_label(trace, tensor.index)
        if not nodes:
            cards.append(Card(f"t{tensor.index}", tensor.kind, title, born, values=values))
        for node in nodes:
            kind = next(t.kind for t in versions if t.node == node)
            ran = history.steps.get(node, [])
            card = Card(f"n{node}", kind, title, born, node, values=values)
            card.function = "AccumulateGrad"
            card.runs = [shown_from(step.index) for step in ran]
            card.grads = leaf_grads(trace, tensor.index, ran)
            cards.append(card)
    return cards


def _changed_beside(trace: Trace) -> dict[str | None, list[State]]:
    """By name, the later values of what operations changed besides making their results: they have no other card."""
    found: dict[str | None, list[State]] = {}
    for op in trace.ops:
        for i in op.outputs[len(op.results) :]:
            tensor = trace.tensors[i]
            if tensor.name is not None:
                state = State(op_step(trace, op.index), format_value(tensor.value, MAX_ROW_CHARS))
                found.setdefault(tensor.name, []).append(state)
    return found


# ---- operations ----


def _op_cards(trace: Trace, history: BackwardHistory) -> list[Card]:
    """A card for each operation and for each further node that it made."""
    cards = []
    for op in trace.ops:
        if op.factory:
            continue
        main = trace.main_node(op.index)
        card = _op_card(trace, op, main, history)
        if card is None:
            continue
        cards.append(card)
        for index in trace.nodes_of(op.index):
            if index != main and trace.nodes[index].made is None:
                cards.append(_inner_card(trace, op, index, card.born, history))
    return cards


def _inner_card(trace: Trace, op: Op, index: int, born: int, history: BackwardHistory) -> Card:
    """The card of a further node of an operation: one within it, or that of an output of its own."""
    own = [t for t in (trace.tensors[i] for i in op.outputs) if t.node == index]
    card = Card(f"n{index}", "inner", f"in {op.name}", born, index, op.index)
    if own:
        names = ", ".join(dict.fromkeys(t.name for t in own if t.name))
        card.kind, card.title = "op", clip(_title(names, op.name, born, False))
        card.values = [State(0, values_row([t.value for t in own]))]
    _fill_node(trace, card, index, history)
    return card


def _op_card(trace: Trace, op: Op, main: int | None, history: BackwardHistory) -> Card | None:
    """The card of an operation: of its `main` node, else a plain one; None where a backward pass made all its nodes,
    which have cards of their own."""
    outputs = [trace.tensors[i] for i in op.results]
    names = ", ".join(dict.fromkeys(t.name for t in outputs if t.name))
    if main is None or trace.nodes[main].made is not None:
        if not _has_plain_card(trace, op):
            return None
        if main is not None:
            main, outputs = None, [t for t in outputs if t.node is None]
    else:  # each output stands on the card of its own node
        others = set(trace.nodes_of(op.index)) - {main}
        outputs = [t for t in outputs if t.node not in others]
        names = ", ".join(dict.fromkeys(t.name for t in outputs if t.name))
    born = op_step(trace, op.index)
    row = ", ".join(filter(None, (layer_of(trace, op), arguments_row(trace, op))))
    function = "" if main is None else short_node_name(trace.nodes[main].name)
    # no row is cut that is not longer than one that is shown whole
    room = max(MAX_ROW_CHARS, int(len(row) * SMALL_PRINT), len(function))
    title = _title(names, op.name, born, bool(op.module), room)
    title += {"backward": ", in backward", "recompute": ", recomputed"}.get(op.during, "")
    values = [State(0, values_row([t.value for t in outputs], room))]
    title = title if op.module else clip(title, room)
    card = Card(f"o{op.index}", "plain", title, born, None, op.index, row, values)
    card.badge, card.folded = op.module[:MAX_ROW_CHARS], bool(op.module)
    if op.module and names and not title.startswith(names):
        card.origin = clip(f"→ {names}", MAX_SMALL_PRINT_CHARS)
    if main is None:
        card.function = "no grad_fn"
        return card
    card.id, card.kind, card.node = f"n{main}", "op", main
    _fill_node(trace, card, main, history)
    if op.parameters:  # small print that is wide; what is kept, the text says
        parts = ((op.parameters, "parameter"), (op.elements, "number"))
        card.function = ", ".join(f"{n:,} {word}{'s' * (n != 1)}" for n, word in parts)
        card.keeps = []
    return card


def _has_plain_card(trace: Trace, op: Op) -> bool:
    """Whether an operation has a card that stands for no node: it made none, or not for all of its results."""
    nodes = [trace.nodes[i] for i in trace.nodes_of(op.index)]
    if nodes and not any(node.made is not None for node in nodes):
        return False
    if not nodes and op.name != "grad":
        return True
    return any(trace.tensors[i].node is None for i in op.outputs)


def _title(names: str, name: str, step: int, module: bool, width: int = MAX_ROW_CHARS) -> str:
    """What a card is called: of a module whose result has a long name, its path alone."""
    title = f"{names} = {name}" if names else f"{name}#{step}"
    if len(title) <= width:
        return title
    if not module:
        room = width - len(f"… = {name}")
        if ", " in names and ("." in names or name.endswith(".step")):
            return f"{name}#{step}"
        cut = f"…{names[-room:]}" if "." in names else f"{names[:room]}…"
        return f"{cut} = {name}" if names and room >= MIN_NAME_CHARS else title
    return cut_path(name)


# ---- nodes that no operation made ----


def _made_cards(trace: Trace, history: BackwardHistory) -> list[Card]:
    """A card for each node that no call made, but a backward pass that was recorded itself."""
    made = [node for node in trace.nodes if node.made is not None]
    hanging: dict[int | None, list[TensorVersion]] = {}
    for tensor in trace.tensors if made else ():
        hanging.setdefault(tensor.node, []).append(tensor)
    return [_made_card(trace, node, hanging.get(node.index, []), history) for node in made]


def _made_card(
    trace: Trace, node: Node, hanging: list[TensorVersion], history: BackwardHistory
) -> Card:
    """The card of such a node; `hanging` are the tensors whose `grad_fn` it is."""
    label = node_label(trace, node.index)
    results = [t for t in hanging if t.op == node.op]  # of the call of `grad` that ran the pass
    names = ", ".join(dict.fromkeys(t.name for t in results if t.name))
    title = names or label  # names without a call: the `.grad` of a leaf
    if node.op is not None and results:
        title = _title(names, trace.ops[node.op].name, op_step(trace, node.op), False)
    born = shown_from(node.made or 0)
    card = Card(f"n{node.index}", "made", clip(title), born, node.index)
    card.op = node.op if results else None
    values = [t.value for t in results] or ([] if node.value is None else [node.value])
    if values:
        card.values = [State(0, values_row(values))]
    _fill_node(trace, card, node.index, history)
    if node.within is not None:
        origin = f"by {node_label(trace, node.within)}"
    else:
        origin = "where gradients meet" if is_gradient_sum(node) else "maker not seen"
    card.origin = clip(origin, MAX_SMALL_PRINT_CHARS)
    if title == label:  # which says what the node is
        card.function, card.origin = card.origin, ""
    return card


def _older_cards(trace: Trace, history: BackwardHistory) -> list[Card]:
    """A card for each node that was there before the recording, with the tensor that hangs from it."""
    cards = []
    held: dict[int, TensorVersion] = {}
    for tensor in trace.tensors:
        if tensor.node is not None and tensor.op is None:
            held.setdefault(tensor.node, tensor)
    for node in trace.nodes:
        if node.op is None and node.leaf is None and node.made is None:
            card = Card(f"n{node.index}", "older", short_node_name(node.name), 0, node.index)
            tensor_here = held.get(node.index)
            if tensor_here is not None:
                card.title = tensor_here.name or card.title
                card.values = [State(0, format_value(tensor_here.value, MAX_ROW_CHARS))]
            _fill_node(trace, card, node.index, history)
            if card.title == card.function:
                card.function = ""
            cards.append(card)
    return cards


def _fill_node(trace: Trace, card: Card, index: int, history: BackwardHistory) -> None:
    """The lower half of a card: its node, what that keeps, what arrives at it; and the badge of a later generation."""
    node = trace.nodes[index]
    card.function = short_node_name(node.name)
    kept = sum({s.storage: s.nbytes for s in node.saved}.values())
    if kept:
        verb = "all keep" if node.times > 1 else "keeps"
        card.keeps = [State(card.born, f"{verb} {format_bytes(kept)}")]
        freed = history.freed.get(index)
        if freed is not None:
            card.keeps.append(State(freed, "freed"))
    card.grads, card.runs = node_grads(trace, index, history)
    card.generation, card.run = node.generation, node.pass_nr
    if node.generation > 1 and not card.badge:
        card.badge = f"gen {node.generation}"
