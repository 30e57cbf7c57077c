"""Links go in, the number of ranks that each crosses comes out, and which links the order of the others implies.

Graphviz puts a node of its own on a link for each rank that the link crosses, and the time that it takes grows faster
than the square of their number: a picture of 100 cards in which each step reads all the steps before it takes 20 s.
So what a layout costs is counted here before it is begun, from the links alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..cards.model import Link

__all__ = ["implied_links", "ranks_crossed"]


def ranks_crossed(links: Sequence[Link]) -> dict[str, int]:
    """By link: how many ranks lie between its ends; at least 1. `links` are those that a layout is given.

    A card lies on the first rank below all that it reads, one that reads nothing directly above its first reader.

    >>> from definebyrun.cards.model import Link
    >>> a_b, b_c, a_c = (Link(tail + head, tail, head, 0) for tail, head in ("ab", "bc", "ac"))
    >>> ranks_crossed([a_b, b_c, a_c])
    {'ab': 1, 'bc': 1, 'ac': 2}
    """
    order, heads = _downward(links)
    rank = dict.fromkeys(order, 0)
    for card in order:
        for head in heads.get(card, ()):
            rank[head] = max(rank[head], rank[card] + 1)
    read = {link.head for link in links if not link.back}
    for card in order:
        below = [rank[head] for head in heads.get(card, ())]
        if card not in read and below:
            rank[card] = min(below) - 1
    return {link.id: max(1, abs(rank.get(link.head, 0) - rank.get(link.tail, 0))) for link in links}


def implied_links(links: Sequence[Link]) -> set[str]:
    """The links whose ends keep their order without them, because other links lead from one to the other as well.

    Links that lead back, which decide no order, are among them.

    >>> from definebyrun.cards.model import Link
    >>> implied_links([Link(tail + head, tail, head, 0) for tail, head in ("ab", "bc", "ac")])
    {'ac'}
    """
    order, heads = _downward(links)
    place = {card: number for number, card in enumerate(order)}
    reached: dict[str, int] = {}  # as bits, by place
    direct: set[tuple[str, str]] = set()
    for card in reversed(order):
        below = 0
        for head in sorted(heads.get(card, ()), key=place.__getitem__):
            if not below >> place[head] & 1:
                direct.add((card, head))
                below |= 1 << place[head] | reached[head]
        reached[card] = below
    found = {link.id for link in links if link.back}
    for link in links:
        if link.tail in place and link.head in place and not link.back:
            if (link.tail, link.head) in direct:
                direct.discard((link.tail, link.head))  # of two links with the same ends one stays
            else:
                found.add(link.id)
    return found


def _downward(links: Sequence[Link]) -> tuple[list[str], dict[str, list[str]]]:
    """The cards from top to bottom, and by card those that read it. What lies on a circle is left out."""
    heads: dict[str, list[str]] = {}
    waiting: dict[str, int] = {}
    for link in links:
        if link.back or link.tail == link.head:
            continue
        heads.setdefault(link.tail, []).append(link.head)
        waiting[link.head] = waiting.get(link.head, 0) + 1
        waiting.setdefault(link.tail, 0)
    order = [card for card, number_of in waiting.items() if not number_of]
    for card in order:
        for head in heads.get(card, ()):
            waiting[head] -= 1
            if not waiting[head]:
                order.append(head)
    placed = set(order)
    return order, {card: [h for h in heads[card] if h in placed] for card in order if card in heads}
