"""Cards and links go in; a leaf that many operations use comes out as a chip for each use: a card of its own beside it.

One card with an arrow to each of its uses would hold all of them together, and a layout with many of those explodes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..trace import Trace
from .gradient_rows import clip
from .model import Card, Link

__all__ = ["with_chips"]


def with_chips(
    trace: Trace, cards: list[Card], links: list[Link], max_uses: float
) -> tuple[list[Card], list[Link]]:
    """The same with chips for every leaf that has a node and more uses than `max_uses`.

    A dashed arrow to or from such a leaf stands at the chip of the last use before it.
    """
    leaves = {c.id: c for c in cards if c.node is not None and trace.nodes[c.node].leaf is not None}
    uses = Counter(link.tail for link in links if link.edge is not None and link.tail in leaves)
    copied = {name for name, number in uses.items() if number > max_uses}
    if not copied:
        return cards, links
    links, chips = list(links), dict[str, list[Link]]()
    chip_cards: list[Card] = []
    for position, link in enumerate(links):
        if link.edge is not None and link.tail in copied:
            card, own = leaves[link.tail], chips.setdefault(link.tail, [])
            chip = _chip(trace, card, len(own) + 1, uses[card.id])
            chip_cards.append(replace(chip, side=link.side or card.side))
            links[position] = replace(link, tail=chip.id)
            own.append(links[position])
    for position, link in enumerate(links):
        if link.tail in copied:
            links[position] = replace(link, tail=_last(chips[link.tail], link.born))
        elif link.head in copied:
            links[position] = replace(link, head=_last(chips[link.head], 0))
    return [card for card in cards if card.id not in copied] + chip_cards, links


def _chip(trace: Trace, card: Card, number: int, uses: int) -> Card:
    """The card of a leaf once more, for one of its uses; `number` counts their edges from 1.

    The edges of a graph without steps are found from its end, so there the first edge is the last use.
    """
    use = number if trace.steps else uses + 1 - number
    words = f" (use {use} of {uses})"
    title = card.title
    room = max(len(clip(title)), len(clip(title + words))) - len(words)
    if len(title) > room:  # the end of a path tells more than its beginning
        title = f"…{title[len(title) - room + 1 :]}"
    return replace(card, id=f"{card.id}u{number}", title=title + words)


def _last(chips: list[Link], step: int) -> str:
    """The chip of the last use before a step, else of the first."""
    return next((link.tail for link in reversed(chips) if link.born <= step), chips[0].tail)
