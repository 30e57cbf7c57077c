"""A run and what is shown of it go in; drawings of the insides of its folded modules come out, for a page to open.

They are laid out beforehand, since a page has no kernel: what ran in the call of a module, with the modules in it
folded, and what that read from outside. Each of those opens in turn. Those nearest to the whole are made first, until
they would take more bytes than a page should: what has no drawing cannot be opened.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .cards.clusters import build_clusters
from .cards.model import STOP, Card, Link, State
from .cards.picture import picture_cards
from .cards.stopped import call_of_stop
from .cards.tidy import those_of
from .drawing.layout import LayoutError
from .drawing.svg import render
from .fold.folding import fold
from .player import Inside, bytes_after_entries, shown_size, step_entries
from .trace import Trace

__all__ = ["MAX_CARDS_INSIDE", "MAX_INSIDES", "MAX_INSIDE_BYTES", "insides"]

MAX_INSIDE_BYTES = 120_000
"""Bytes that the insides of one drawing take in a page, all together."""
MAX_INSIDES, MAX_CARDS_INSIDE = 24, 60
"""So many insides a drawing has at most; one with more cards than this is none: it would not be legible."""


@dataclass(frozen=True)
class _Door:
    """A folded card that can be opened, the call that it stands for, and the inside that holds it, if not the whole."""

    card: str
    call: int
    parent: int | None


def insides(whole: Trace, shown: Trace, cards: Sequence[Card], *, steps: bool) -> list[Inside]:
    """The insides of the folded cards, of those within them, and so on; with `steps`, what a player needs to step them.

    A comparison has none: its operations are those of two runs.
    """
    if whole.sides or not whole.calls:
        return []
    made: list[Inside] = []
    nbytes = 0
    doors = list(_doors(shown, cards, None))
    while doors and len(made) < MAX_INSIDES:
        opened = _with_open(whole, {door.call for door in doors})
        rooms = _Rooms(opened, {door.call for door in doors})
        following: list[_Door] = []
        for door in doors:
            room = rooms.of(door, steps)
            if room is None or len(made) == MAX_INSIDES:
                continue
            nbytes += room.nbytes
            if nbytes > MAX_INSIDE_BYTES:
                return made
            following += _doors(opened, rooms.within(door.call), len(made))
            made.append(room)
        doors = following
    return made


def _doors(trace: Trace, cards: Sequence[Card], parent: int | None) -> Iterator[_Door]:
    """The folded modules among these cards."""
    for card in cards:
        call = trace.ops[card.op].call if card.folded and card.op is not None else None
        if call is not None:
            yield _Door(card.id, call, parent)


def _with_open(whole: Trace, calls: set[int]) -> Trace:
    """The run with these calls open, and those around them; all others are folded."""
    kept_open = set(calls)
    for call in calls:
        outer = whole.calls[call].outer
        while outer is not None and outer not in kept_open:
            kept_open.add(outer)
            outer = whole.calls[outer].outer
    return fold(whole, lambda call: call.index not in kept_open)


class _Rooms:
    """The insides of some calls of one trace, in which these are open."""

    def __init__(self, trace: Trace, calls: set[int]) -> None:
        self._trace = trace
        self._cards, self._links = picture_cards(trace)
        self._own: dict[int, list[Card]] = {call: [] for call in calls}
        for card in self._cards:
            call = None if card.op is None else trace.ops[card.op].call
            if card.kind == STOP:
                call = call_of_stop(trace, card)
            while call is not None:
                if call in self._own and not (card.folded and trace.ops[card.op or 0].call == call):
                    self._own[call].append(card)
                call = trace.calls[call].outer

    def within(self, call: int) -> list[Card]:
        """The cards of what ran in a call."""
        return self._own[call]

    def of(self, door: _Door, steps: bool) -> Inside | None:
        """The inside behind a door; None where there is nothing to see, too much, or no layout."""
        own = {card.id for card in self._own[door.call]}
        links = [link for link in self._links if link.head in own]
        ends = own | {link.tail for link in links}
        cards = those_of(self._cards, ends)
        if len(cards) < 2 or len(cards) > MAX_CARDS_INSIDE:
            return None
        call = self._trace.calls[door.call]
        title = f"{call.path} ({call.kind})" if call.path else call.kind
        entries: list[dict[str, Any]] = []
        if steps:
            entries, cards, links = _own_steps(self._trace, cards, links)
            ahead = f"{len(entries) - 1} of the run's steps are ahead"
            entries[0]["t"] = f"Start of {title}. {ahead}; nothing of it has run yet."
        try:
            picture = render(
                cards, links, f"Inside of {title}", build_clusters(self._trace, cards, links)
            )
        except LayoutError:
            return None
        return Inside(door.parent, door.card, title, shown_size(picture), entries)


def _own_steps(
    trace: Trace, cards: list[Card], links: list[Link]
) -> tuple[list[dict[str, Any]], list[Card], list[Link]]:
    """The entries of those steps that light one of these cards, and cards and links that count by these alone."""
    entries = step_entries(trace, cards, links)
    kept = [max(parts) for parts in bytes_after_entries(trace)]
    for entry, nbytes in zip(entries, kept, strict=True):
        entry["h"] = round(nbytes / (max(kept) or 1), 2)
    places = [place for place, entry in enumerate(entries) if entry["c"]]

    def here(place: int) -> int:
        """The first of the steps here that is not before a step of the run."""
        return bisect_left(places, place) + 1 if place else 0

    def states(those: list[State]) -> list[State]:
        last: dict[int, State] = {}
        for state in those:
            last[here(state.since)] = state
        return [State(place, state.text) for place, state in last.items()]

    cards = [
        replace(
            card,
            born=here(card.born),
            runs=[here(place) for place in card.runs],
            values=states(card.values),
            more_values=states(card.more_values),
            keeps=states(card.keeps),
            grads=states(card.grads),
            more_grads=states(card.more_grads),
        )
        for card in cards
    ]
    links = [
        replace(
            link,
            born=here(link.born),
            flows=tuple(State(here(f.since), f.text) for f in link.flows if f.since in places),
        )
        for link in links
    ]
    return [entries[0], *(entries[place] for place in places)], cards, links
