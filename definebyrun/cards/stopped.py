"""A run that stopped goes in, the card of the call that raised comes out, with links from what came in.

A pass that stopped has the card of its node besides: there a link says which node it was, and another one from the
operation that changed what the node had saved.
"""

from __future__ import annotations

from textwrap import wrap

from ..text.labels import node_label
from ..text.stopped import call_words, changed_words, shape_words
from ..trace import Op, Stop, Trace
from ..trace.records import FUNCTION
from ..trace.steps import shown_from
from .gradient_rows import clip, values_row
from .layers import layer_words
from .links import card_of
from .model import STOP, Card, Link, State

__all__ = ["call_of_stop", "stop_cards", "stop_links"]

MAX_NOTE_CHARS, MAX_NOTES = 40, 4
"""So many characters a row of the reason has, and so many rows it has at most: the text has all of it."""
MAX_SHAPES = 4
"""So many shapes of what a call was given stand on its card."""


def stop_cards(trace: Trace) -> list[Card]:
    """A card for the call at which a run stopped: after all steps."""
    return [_stop_card(trace, i, stop) for i, stop in enumerate(trace.stops)]


def _stop_card(trace: Trace, number: int, stop: Stop) -> Card:
    title = call_words(trace, stop)
    if stop.node is not None and stop.name in ("backward", "grad"):
        title = node_label(trace, stop.node)
    card = Card(f"x{number}", STOP, clip(title), shown_from(len(trace.steps)))
    card.badge, card.arguments = "stopped", _layer(trace, stop)
    got = [value for value in stop.received if value is not None]
    if stop.node is not None and title == node_label(trace, stop.node) and got:
        card.grads = [State(0, f"grad {values_row(got)}")]
    shapes = [shape_words(trace.tensors[i].value) for i in stop.inputs]
    if shapes and not card.grads:
        shown = shapes[:MAX_SHAPES] + ["…"] * (len(shapes) > MAX_SHAPES)
        card.values = [State(0, clip(", ".join(shown), MAX_NOTE_CHARS))]
    if stop.code:
        card.notes.append(clip(f"line {stop.line}: {stop.code}", MAX_NOTE_CHARS))
    changed = changed_words(trace, stop, as_call=False)
    reason = wrap(stop.error, MAX_NOTE_CHARS)
    card.notes += wrap(changed, MAX_NOTE_CHARS)
    room = MAX_NOTES if not changed else 1
    card.notes += reason[:room]
    if len(reason) > room:
        card.notes[-1] = clip(f"{card.notes[-1]} …", MAX_NOTE_CHARS)
    return card


def _layer(trace: Trace, stop: Stop) -> str:
    """The module in which a run stopped, where it was not the module's own code that raised."""
    call = None if stop.call is None or stop.node is not None else trace.calls[stop.call]
    if call is None or not call.path or call.kind == FUNCTION or call.path == stop.name:
        return ""
    return layer_words(call)


def stop_links(trace: Trace, cards: dict[str, Card]) -> list[Link]:
    """Dashed links to it: from what the call was given, from the node, and from what had changed a saved tensor."""
    links: list[Link] = []
    for number, stop in enumerate(trace.stops):
        head = f"x{number}"
        tails = [card_of(trace, trace.tensors[i], cards) for i in stop.inputs]
        if stop.node is not None:
            node = f"n{stop.node}"
            tails = [node, *([] if stop.name in ("backward", "grad") else tails)]
        if stop.changed_by is not None:
            tails.append(_card_of_op(trace, trace.ops[stop.changed_by], cards))
        born = cards[head].born
        links += [
            Link(f"s{number}_{i}", tail, head, born)
            for i, tail in enumerate(dict.fromkeys(tails))
            if tail in cards
        ]
        if not links:  # it stands below what ran last
            ran = [card for card in cards.values() if card.op is not None]
            cards[head].after = max(ran, key=lambda card: card.born).id if ran else ""
    return links


def _card_of_op(trace: Trace, op: Op, cards: dict[str, Card]) -> str:
    plain, main = f"o{op.index}", trace.main_node(op.index)
    return plain if plain in cards or main is None else f"n{main}"


def call_of_stop(trace: Trace, card: Card) -> int | None:
    """The innermost module call in which a run stopped, given its card; of a pass that of the node."""
    stop = trace.stops[int(card.id[1:])]
    op = None if stop.node is None else trace.nodes[stop.node].op
    return stop.call if op is None else trace.ops[op].call
