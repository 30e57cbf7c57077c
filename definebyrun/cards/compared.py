"""The cards and links of two runs go in, those of their comparison come out, each with the run that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..comparison.sequences import side_by_side
from ..comparison.split import Half, halves
from ..comparison.word_diff import NOTHING, Names, of_run, short_names, word_diff
from ..trace import Trace
from . import build
from .model import Card, Link, State

__all__ = ["build_cards"]

MAX_JOINT_CHARS = 30
"""The most characters of a row that shows both runs; a longer one becomes two rows."""


def build_cards(trace: Trace) -> tuple[list[Card], list[Link]]:
    """All cards and links of a trace, also of a comparison; see `build.build_cards`."""
    if not trace.sides:
        return build.build_cards(trace)
    (cards_a, links_a), (cards_b, links_b) = map(_renumbered, halves(trace))
    names = short_names(trace.sides)
    cards = [
        _one_card(*pair, names) for pair in side_by_side(cards_a, cards_b, lambda card: card.id)
    ]
    links = [_one_link(*pair, names) for pair in side_by_side(links_a, links_b, _link_key)]
    data = 0
    for position, link in enumerate(links):
        if link.edge is None:
            links[position] = replace(link, id=f"d{data}")
            data += 1
    build.mark_outputs(cards, links)
    return cards, links


def _renumbered(half: Half) -> tuple[list[Card], list[Link]]:
    """The cards and links of one run, with the numbers of the comparison."""
    cards, links = build.build_cards(half.trace)
    numbers = {"n": half.nodes, "o": half.ops, "t": half.tensors, "x": half.stops}
    names = {card.id: f"{card.id[0]}{numbers[card.id[0]][int(card.id[1:])]}" for card in cards}
    for card in cards:
        card.id = names[card.id]
        card.node = None if card.node is None else half.nodes[card.node]
        card.op = None if card.op is None else half.ops[card.op]
    links = [
        replace(
            link,
            id=link.id if link.edge is None else f"e{half.edges[link.edge]}",
            edge=None if link.edge is None else half.edges[link.edge],
            tail=names[link.tail],
            head=names[link.head],
        )
        for link in links
    ]
    return cards, links


def _link_key(link: Link) -> tuple[int | None, str, str]:
    """What makes links of two runs the same one."""
    return link.edge, link.tail, link.head


def _one_card(a: Card | None, b: Card | None, names: Names) -> Card:
    """A card of one run, marked, or of both, with the words of both."""
    if b is None:
        assert a is not None
        return replace(a, side="A", side_name=names[0])
    if a is None:
        return replace(b, side="B", side_name=names[1])
    values, more_values = _joined_rows(a.values, b.values, names)
    grads, more_grads = _joined_rows(a.grads, b.grads, names)
    return replace(
        a,
        title=word_diff(a.title, b.title, names),
        notes=_joined_notes(a.notes, b.notes, names),
        arguments=word_diff(a.arguments, b.arguments, names),
        values=values,
        more_values=more_values,
        function=word_diff(a.function, b.function, names),
        origin=word_diff(a.origin, b.origin, names),
        keeps=_joined_states(a.keeps, b.keeps, _keeps),
        grads=grads,
        more_grads=more_grads,
        runs=sorted({*a.runs, *b.runs}),
    )


def _joined_rows(a: list[State], b: list[State], names: Names) -> tuple[list[State], list[State]]:
    """One row of both runs' states where each fits, else a row for each run."""
    row = _joined_states(a, b, partial(word_diff, names=names))
    if all(len(state.text) <= MAX_JOINT_CHARS for state in row):
        return row, []
    return (
        _joined_states(a, b, lambda one, _: of_run(names[0], one)),
        _joined_states(a, b, lambda _, other: of_run(names[1], other)),
    )


def _joined_notes(a: list[str], b: list[str], names: Names) -> list[str]:
    """Rows of both runs where they are as many; else those of both, one after the other."""
    if len(a) == len(b):
        return [word_diff(*pair, names) for pair in zip(a, b, strict=True)]
    return [*(f"{names[0]}: {note}" for note in a), *(f"{names[1]}: {note}" for note in b)]


def _keeps(a: str, b: str) -> str:
    """What a node keeps in both runs; no `B` in front of the second, which would read as bytes."""
    return a if a == b else f"{a} · {b.removeprefix('keeps ').removeprefix('all keep ')}"


def _joined_states(a: list[State], b: list[State], join: Callable[[str, str], str]) -> list[State]:
    """Two rows of states as one: whenever one of them changes, what both show then, joined to one text."""
    found: list[State] = []
    for since in sorted({state.since for state in (*a, *b)}):
        one, other = (
            next((s.text for s in reversed(row) if s.since <= since), NOTHING) for row in (a, b)
        )
        text = join(one, other)
        if not found or found[-1].text != text:
            found.append(State(since, text))
    return found


def _one_link(a: Link | None, b: Link | None, names: Names) -> Link:
    """A link of one run, marked, or of both, with the gradients of both."""
    if b is None:
        assert a is not None
        return replace(a, side="A", side_name=names[0])
    if a is None:
        return replace(b, side="B", side_name=names[1])
    flows_a, flows_b = ({flow.since: flow.text for flow in link.flows} for link in (a, b))
    flows = []
    for since in sorted({*flows_a, *flows_b}):
        one, other = flows_a.get(since), flows_b.get(since)
        if one is None or other is None:
            text = of_run(names[0], one or "") if other is None else of_run(names[1], other)
        else:
            text = word_diff(one, other, names)
            text = (
                text
                if len(text) <= MAX_JOINT_CHARS
                else f"{of_run(names[0], one)}\n{of_run(names[1], other)}"
            )
        flows.append(State(since, text))
    return replace(a, flows=tuple(flows))
