"""A trace goes in, the cards and links that are drawn of it come out: those of `build_cards`, made easy to take in.

What the user has hidden is left out first, so that nothing stands for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ..trace import Trace
from .chips import with_chips
from .compared import build_cards
from .gradient_rows import cut_path
from .hidden import without
from .model import LEAF_KINDS, MAX_USES_WITHOUT_CHIPS, Card, Link
from .parallel import MergedFlows, joined_links
from .shared_leaves import group_shared_leaves
from .tidy import tidied

__all__ = ["not_drawn", "picture_cards"]

MAX_PARALLEL_ARROWS = 2
"""In a picture that shows every leaf, so many arrows may join the same two cards: each has its own gradient."""


def picture_cards(
    trace: Trace, grouped: bool = False, hidden: Collection[str] = ()
) -> tuple[list[Card], list[Link]]:
    """The cards and links of a picture without what is `hidden`; `grouped` draws the parameters that the same cards
    read as one card.

    Then cards do not say what their nodes keep: that row is often the widest, and the text has it.
    """
    cards, links = tidied(trace, *build_cards(trace))
    cards, links, _ = without(trace, cards, links, hidden)
    flows = MergedFlows(trace)
    if grouped:
        cards, links = group_shared_leaves(trace, cards, links, flows)
        for card in cards:
            card.keeps = []
    least = 2 if grouped else MAX_PARALLEL_ARROWS + 1
    links = joined_links(links, flows, least, counted=True)
    _cut_paths(cards)
    return with_chips(trace, cards, links, MAX_USES_WITHOUT_CHIPS)


def _cut_paths(cards: list[Card]) -> None:
    """Long paths of leaves lose their middle, where that leaves two of them different."""
    leaves = [card for card in cards if card.kind in LEAF_KINDS and "." in card.title]
    count = Counter(cut_path(card.title) for card in leaves)
    for card in leaves:
        cut = cut_path(card.title)
        card.title = cut if count[cut] == 1 else card.title


def not_drawn(trace: Trace, hidden: Collection[str]) -> str:
    """What `picture_cards` leaves out because it is `hidden`, counted in a sentence; empty where that is nothing."""
    if not hidden:
        return ""
    return without(trace, *tidied(trace, *build_cards(trace)), hidden)[2]
