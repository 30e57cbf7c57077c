"""The cards and links of two runs go in, those of their comparison come out, each with the run that it belongs to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ..comparison.sequences import side_by_side
from ..comparison.split import Half, halves
from ..comparison.word_diff import NOTHING, word_diff
from ..trace import Trace
from . import build
from .model import MAX_USES_WITHOUT_CHIPS, OUTPUT_KINDS, Card, Link, State

__all__ = ["build_cards"]

MAX_JOINT_CHARS = 30
"""The most characters of a row that shows both runs; a longer one becomes two rows."""


def build_cards(trace: Trace) -> tuple[list[Card], list[Link]]:
    """All cards and links of a trace, also of a comparison; see `build.build_cards`."""
    if not trace.sides:
        return build.build_cards(trace)
    (cards_a, links_a), (cards_b, links_b) = map(_renamed, halves(trace))
    cards = [_one_card(*pair) for pair in side_by_side(cards_a, cards_b, lambda card: card.id)]
    links = [_one_link(*pair) for pair in side_by_side(links_a, links_b, _way)]
    data = 0
    for place, link in enumerate(links):
        if link.edge is None:
            links[place] = replace(link, id=f"d{data}")
            data += 1
    used = {link.tail for link in links}
    for card in cards:
        card.output = card.kind in OUTPUT_KINDS and card.id not in used
    return _with_chips(trace, cards, links)


def _renamed(run: Half) -> tuple[list[Card], list[Link]]:
    """The cards and links of one run, with the numbers of the comparison."""
    cards, links = build.build_cards(run.trace, shared=math.inf)
    numbers = {"n": run.nodes, "o": run.ops, "t": run.tensors}
    names = {card.id: f"{card.id[0]}{numbers[card.id[0]][int(card.id[1:])]}" for card in cards}
    for card in cards:
        card.id = names[card.id]
        card.node = None if card.node is None else run.nodes[card.node]
        card.op = None if card.op is None else run.ops[card.op]
    links = [
        replace(
            link,
            id=link.id if link.edge is None else f"e{run.edges[link.edge]}",
            edge=None if link.edge is None else run.edges[link.edge],
            tail=names[link.tail],
            head=names[link.head],
        )
        for link in links
    ]
    return cards, links


def _way(link: Link) -> tuple[int | None, str, str]:
    return link.edge, link.tail, link.head


def _one_card(a: Card | None, b: Card | None) -> Card:
    """A card of one run, marked, or of both, with the words of both."""
    if a is None or b is None:
        return replace(a or b, side="B" if a is None else "A")
    values, more_values = _rows(a.values, b.values)
    grads, more_grads = _rows(a.grads, b.grads)
    return replace(
        a,
        title=word_diff(a.title, b.title),
        values=values,
        more_values=more_values,
        function=word_diff(a.function, b.function),
        origin=word_diff(a.origin, b.origin),
        keeps=_over_time(a.keeps, b.keeps, _keeps),
        grads=grads,
        more_grads=more_grads,
        runs=sorted({*a.runs, *b.runs}),
    )


def _rows(a: list[State], b: list[State]) -> tuple[list[State], list[State]]:
    """One row of both runs' states where each fits, else a row for each run."""
    row = _over_time(a, b, word_diff)
    if all(len(state.text) <= MAX_JOINT_CHARS for state in row):
        return row, []
    return (
        _over_time(a, b, lambda one, _: f"A {one}"),
        _over_time(a, b, lambda _, other: f"B {other}"),
    )


def _keeps(a: str, b: str) -> str:
    """What a node keeps in both runs; no `B` in front of the second, which would read as bytes."""
    return a if a == b else f"{a} · {b.removeprefix('keeps ').removeprefix('all keep ')}"


def _over_time(a: list[State], b: list[State], words_of: Callable[[str, str], str]) -> list[State]:
    """Two rows of states as one: at each time the words of what both show then."""
    found: list[State] = []
    for since in sorted({state.since for state in (*a, *b)}):
        one, other = (
            next((s.text for s in reversed(row) if s.since <= since), NOTHING) for row in (a, b)
        )
        said = words_of(one, other)
        if not found or found[-1].text != said:
            found.append(State(since, said))
    return found


def _one_link(a: Link | None, b: Link | None) -> Link:
    if a is None or b is None:
        return replace(a or b, side="B" if a is None else "A")
    of_a, of_b = ({flow.since: flow.text for flow in link.flows} for link in (a, b))
    flows = []
    for since in sorted({*of_a, *of_b}):
        one, other = of_a.get(since), of_b.get(since)
        if one is None or other is None:
            said = f"A {one}" if other is None else f"B {other}"
        else:
            said = word_diff(one, other)
            said = said if len(said) <= MAX_JOINT_CHARS else f"A {one}\nB {other}"
        flows.append(State(since, said))
    return replace(a, flows=tuple(flows))


def _with_chips(
    trace: Trace, cards: list[Card], links: list[Link]
) -> tuple[list[Card], list[Link]]:
    """A leaf with many uses is copied into a chip for each, as `build.build_cards` does it for one run."""
    leaves = {c.id: c for c in cards if c.node is not None and trace.nodes[c.node].leaf is not None}
    uses = Counter(link.tail for link in links if link.edge is not None and link.tail in leaves)
    chips, seen = [], Counter[str]()
    for place, link in enumerate(links):
        if link.edge is None or uses[link.tail] <= MAX_USES_WITHOUT_CHIPS:
            continue
        card, number = leaves[link.tail], uses[link.tail]
        seen[card.id] += 1
        use = seen[card.id] if trace.steps else number + 1 - seen[card.id]
        name, title = f"{card.id}u{seen[card.id]}", f"{card.title} (use {use} of {number})"
        chips.append(replace(card, id=name, title=title, side=link.side or card.side))
        links[place] = replace(link, tail=name)
    return [card for card in cards if uses[card.id] <= MAX_USES_WITHOUT_CHIPS] + chips, links
