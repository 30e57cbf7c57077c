"""A trace, its cards and links go in, the picture without some kinds of cards comes out, and how many are not drawn.

What is hidden is not drawn: the trace, its text and its counts stay whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ..trace import Trace
from .model import STOP, Card, Link
from .tidy import those_of

__all__ = ["HIDEABLE", "without"]

HIDEABLE = ("constants", "buffers", "optimizer", "unlinked")
"""What can be left out: tensors without gradient, those of them that modules hold, the steps of optimizers, and cards
that no arrow leads to or from (once the others are left out)."""


def without(
    trace: Trace, cards: list[Card], links: list[Link], hidden: Collection[str]
) -> tuple[list[Card], list[Link], str]:
    """The cards and links that are left, and a sentence that says how many are not drawn, empty where all are."""
    if not hidden:
        return cards, links, ""
    calls = tuple(f"{path}." for path in {call.path for call in trace.calls if call.path})
    what = {card.id: _kind(trace, card, calls) for card in cards}
    gone = {
        card: kind
        for card, kind in what.items()
        if kind in hidden or (kind == "buffers" and "constants" in hidden)
    }
    left = [link for link in links if link.tail not in gone and link.head not in gone]
    if "unlinked" in hidden:
        linked = {end for link in left for end in (link.tail, link.head)}
        linked |= {card.id for card in cards if card.kind == STOP}
        gone |= {card.id: "unlinked" for card in cards if card.id not in {*linked, *gone}}
    number_of = Counter(gone.values())
    counted = [
        f"{number_of[kind]} {_words(kind, number_of[kind])}" for kind in HIDEABLE if number_of[kind]
    ]
    said = f"Not drawn: {', '.join(counted)}." if counted else ""
    return those_of(cards, {card.id for card in cards} - gone.keys()), left, said


def _kind(trace: Trace, card: Card, calls: tuple[str, ...]) -> str:
    """Of a card that can be hidden by its kind: which that is; else an empty word."""
    if card.kind == "constant":
        return "buffers" if card.title.startswith(calls) else "constants"
    is_step = card.op is not None and trace.ops[card.op].is_optimizer_step
    return "optimizer" if is_step else ""


def _words(kind: str, number_of: int) -> str:
    singular = {
        "constants": "constant",
        "buffers": "buffer",
        "optimizer": "optimizer step",
        "unlinked": "card without an arrow",
    }
    plural = {"unlinked": "cards without an arrow"}
    return singular[kind] if number_of == 1 else plural.get(kind, f"{singular[kind]}s")
