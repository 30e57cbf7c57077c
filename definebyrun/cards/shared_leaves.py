"""Cards and links go in; parameters that the same cards read come out as one card, which says how many it stands for.

So do buffers, and gradients that clipping reads. What the user has named stays a card of its own.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ..trace import Trace
from .gradient_rows import clip, cut_path
from .model import MAX_ROW_CHARS, Card, Link, State
from .parallel import MergedFlows, joined_links

__all__ = ["group_shared_leaves"]


def group_shared_leaves(
    trace: Trace, cards: list[Card], links: list[Link], flows: MergedFlows
) -> tuple[list[Card], list[Link]]:
    """The same with one card for the parameters that exactly the same cards read, and one arrow from it to each."""
    readers: dict[str, set[tuple[str, bool, bool, str]]] = {card.id: set() for card in cards}
    made = {link.head for link in links}
    for link in links:
        readers[link.tail].add((link.head, link.edge is None, link.back, link.side))
    alike: dict[tuple[object, ...], list[Card]] = {}
    for card in cards:
        kind = _kind(trace, card)
        if kind and card.id not in made and readers[card.id]:
            key = (kind, card.side, frozenset(readers[card.id]), _block(trace, card))
            alike.setdefault(key, []).append(card)
    groups: dict[str, Card] = {}
    group_of: dict[str, str] = {}
    taken = {card.title for card in cards}
    for members in alike.values():
        if len(members) > 1:
            taken -= {card.title for card in members}
            group = groups[members[0].id] = _group(trace, _kind(trace, members[0]), members, taken)
            taken.add(group.title)
            group_of |= {card.id: group.id for card in members}
    if not groups:
        return cards, links
    shown = [groups.get(card.id, card) for card in cards]
    shown = [card for card in shown if group_of.get(card.id, card.id) == card.id]
    own = [replace(link, tail=group_of[link.tail]) for link in links if link.tail in group_of]
    joined = {link.id: link for link in joined_links(own, flows, least=2, counted=False)}
    kept = [joined.get(link.id, link) for link in links]
    return shown, [link for link in kept if link.tail not in group_of or link.id in joined]


def _kind(trace: Trace, card: Card) -> str:
    """What a card is when it may stand in a group: a parameter, a gradient, a buffer of a module; else nothing."""
    if card.kind == "parameter":
        return "parameters"
    if card.kind == "constant":
        if card.title.endswith(".grad"):
            return "gradients"
        leaf = _leaf(trace, card)
        if leaf is not None and trace.tensors[leaf].owners:
            return "buffers"
    return ""


def _leaf(trace: Trace, card: Card) -> int | None:
    """The leaf that a card shows; a leaf without a node is in the card's id."""
    if card.node is not None:
        return trace.nodes[card.node].leaf
    return int(card.id[1:]) if card.id[0] == "t" else None


def _block(trace: Trace, card: Card) -> int | None:
    """The rolled-up block that a leaf is made anew in."""
    leaf = _leaf(trace, card)
    return None if leaf is None else trace.tensors[leaf].block


def _group(trace: Trace, kind: str, members: list[Card], taken: set[str]) -> Card:
    """The card that stands for several leaves."""
    names = [card.title for card in members]
    numbers = sum([_elements(trace, card) for card in members])
    start = _common_path(names)
    last = [name[len(start) :].lstrip(".") for name in names]
    words = ", ".join(last) if start else ", ".join(names)
    several = f"{len(members):,} {kind}"
    shown = words if len(words) <= MAX_ROW_CHARS else several
    title = start or (words if shown == words else several)
    if kind == "gradients" and start:
        title += ".grad"
    if title in taken:
        title = f"{names[0]} …"
    if shown == title:
        shown = several
    return replace(
        members[0],
        title=cut_path(title),
        badge=kind,
        values=[State(0, f"{numbers:,} numbers")],
        more_values=[],
        function=shown,
        grads=_grads(members),
        more_grads=[],
        runs=sorted({step for card in members for step in card.runs}),
        members=[part for card in members for part in (card, *card.members)],
        born=min(card.born for card in members),
    )


def _common_path(names: list[str]) -> str:
    """The parts with which all these paths begin; one of `.grad`s ends with that."""
    paths = [name.removesuffix(".grad").split(".") for name in names]
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    shortest = min(map(len, paths))
    return ".".join(common[: max(0, shortest - 1)] if len(common) == shortest else common)


def _elements(trace: Trace, card: Card) -> int:
    leaf = _leaf(trace, card)
    return 0 if leaf is None else prod(trace.tensors[leaf].value.shape)


def _grads(members: list[Card]) -> list[State]:
    """Over time: how many of them have a gradient in `.grad`."""
    times = sorted({state.since for card in members for state in card.grads})
    found: list[State] = []
    for since in times:
        now = [
            next((s.text for s in reversed(card.grads) if s.since <= since), "") for card in members
        ]
        there = sum(bool(text) and not text.endswith(("not yet", "None")) for text in now)
        text = clip(f".grad of {there} of {len(members)}" if there else ".grad not yet")
        if not found or found[-1].text != text:
            found.append(State(since, text))
    return found
