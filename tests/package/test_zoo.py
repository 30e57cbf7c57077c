"""The picture of every model of the zoo, and of the unseen ones, as it comes.

What it shows, how wide it is, and that it says what is so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache, partial

import pytest
import torch

import definebyrun as dbr
from bench.zoo import UNSEEN, ZOO
from definebyrun.cards.model import LEAF_KINDS, STOP, Card, Link
from definebyrun.trace import Trace
from tests.programs import recorded

MODELS = ZOO | UNSEEN
MAX_WIDTH, MAX_HEIGHT = 1034, 2600
COMFORTABLE_WIDTH = 896
"""Pixels: at this width also the small print is 10 px high on a page of 884."""
STOPPED = {"stopped_forward": "linear", "stopped_backward": "ExpBackward0"}
"""Runs that stop in the middle: what was called, or ran, last."""


@dataclass(frozen=True)
class Shown:
    tape: dbr.Tape
    inputs: tuple[torch.Tensor, ...]
    cards: list[Card]
    links: list[Link]

    @property
    def by_part(self) -> dict[str, str]:
        """By id of a card and of those that it stands for: the id of the card that is drawn."""
        return {part.id: card.id for card in self.cards for part in (*card.members, card)}


@cache
def shown(name: str) -> Shown:
    model, inputs = MODELS[name].made()
    tape = recorded(partial(MODELS[name].use, model, *inputs))
    cards, links, _ = tape.view.drawn
    return Shown(tape, inputs, cards, links)


@pytest.fixture(params=MODELS)
def picture(request: pytest.FixtureRequest) -> Shown:
    return shown(request.param)


# ---- what can be taken in ----


def test_it_fits_a_page(picture: Shown) -> None:
    drawn = picture.tape.view.picture
    assert drawn.width <= MAX_WIDTH
    assert drawn.height <= MAX_HEIGHT


def test_most_fit_it_with_letters_that_are_easy_to_read() -> None:
    widths = [shown(name).tape.view.picture.width for name in ZOO]
    assert sum(width <= COMFORTABLE_WIDTH for width in widths) >= 0.9 * len(widths)


def test_it_has_neither_too_few_cards_nor_too_many(picture: Shown) -> None:
    assert 4 <= len(picture.cards) <= 40


def test_no_two_cards_have_the_same_name_unless_one_line_ran_several_times(picture: Shown) -> None:
    leaves = [card.title for card in picture.cards if card.kind == "parameter"]
    assert len(set(leaves)) == len(leaves)
    paths = [card.title for card in picture.cards if card.folded and "…" in card.title]
    assert len(set(paths)) == len(paths)


# ---- what must be there ----


@pytest.mark.parametrize("name", MODELS)
def test_every_input_has_a_card_and_an_arrow_into_what_reads_it(name: str) -> None:
    here = shown(name)
    tails = {link.tail for link in here.links}
    titles = {c.title: here.by_part[c.id] for card in here.cards for c in (card, *card.members)}
    for given in here.inputs:
        found = [
            leaf
            for leaf in here.tape.leaves
            if leaf.value.shape == tuple(given.shape) and leaf.value.tolist() == given.tolist()
        ]
        names = {leaf.name for leaf in found} | {t.name for t in found}
        cards = [titles[n] for n in names if n in titles]
        assert any(card in tails for card in cards), names


def test_no_card_stands_alone(picture: Shown) -> None:
    linked = {name for link in picture.links for name in (link.tail, link.head)}
    assert [c.title for c in picture.cards if c.id not in linked and not c.after] == []


@pytest.mark.parametrize("name", ZOO)
def test_a_run_that_stopped_ends_on_a_card_that_says_so_and_no_other_has_one(name: str) -> None:
    here = shown(name)
    stops = [card for card in here.cards if card.kind == STOP]
    assert [card.title.partition("(")[0] for card in stops] == [
        STOPPED[n] for n in STOPPED if n == name
    ]
    assert {card.id for card in stops} <= {link.head for link in here.links}


# ---- that it says what is so ----


def counts(trace: Trace) -> tuple[int, int, int]:
    """Operations, nodes and edges that a trace stands for, the nodes of leaves left aside."""
    nodes = sum(n.holds * n.times for n in trace.nodes if n.leaf is None)
    edges = sum(n.edges for n in trace.nodes) + sum(edge.times for edge in trace.edges)
    return sum(op.holds * op.times for op in trace.ops), nodes, edges


def test_what_is_shown_stands_for_the_whole_run(picture: Shown) -> None:
    assert counts(picture.tape.view.trace) == counts(picture.tape.trace)


def cards_of_nodes(picture: Shown) -> dict[int, str]:
    parts = [part for card in picture.cards for part in (*card.members, card)]
    return {p.node: picture.by_part[p.id] for p in parts if p.node is not None}


def of_leaf(name: str) -> str:
    """The card of a leaf, whichever of its chips it is."""
    return name.partition("u")[0]


def test_every_edge_between_two_cards_has_its_arrow_and_every_solid_arrow_its_edges(
    picture: Shown,
) -> None:
    trace, card_of = picture.tape.view.trace, cards_of_nodes(picture)
    drawn: Counter[tuple[str, str]] = Counter()
    for link in picture.links:
        for part in link.members or (link,):
            if part.edge is not None:
                drawn[of_leaf(link.tail), link.head] += 1
    edges = Counter((of_leaf(card_of[edge.target]), card_of[edge.source]) for edge in trace.edges)
    assert drawn == edges


def test_every_dashed_arrow_is_data_that_an_operation_was_given_or_a_leaf_that_it_made(
    picture: Shown,
) -> None:
    trace, card_of = picture.tape.view.trace, cards_of_nodes(picture)
    by_op: dict[int | None, set[str]] = {}
    for card in picture.cards:
        for part in (*card.members, card):
            if part.op is not None:
                by_op.setdefault(part.op, set()).add(card.id)
    of_tensor: dict[int, set[str]] = {}
    for tensor in trace.tensors:
        found = of_tensor.setdefault(tensor.index, set())
        if tensor.node is not None:
            found.add(of_leaf(card_of[tensor.node]))
        elif tensor.kind == "result" and tensor.op is not None:
            found |= by_op.get(tensor.op, set())
        first = trace.first_version(tensor.index)
        if f"t{first}" in picture.by_part:
            found.add(picture.by_part[f"t{first}"])
        for version in trace.leaf_versions(first) if tensor.kind != "result" else ():
            if version.node is not None:
                found.add(of_leaf(card_of[version.node]))
    data = {
        (tail, head)
        for op in trace.ops
        for index in op.inputs
        for tail in of_tensor[index]
        for head in by_op.get(op.index, ())
    }
    data |= {
        (tail, head)
        for leaf in trace.leaves
        if leaf.op is not None
        for tail in by_op.get(leaf.op, ())
        for head in of_tensor[leaf.index]
    }
    for step in trace.steps:
        own = {card_of[step.node]} if step.node is not None else set()
        data |= {(tail, head) for i in step.given for tail in of_tensor[i] for head in own}
        data |= {(tail, head) for i in step.arrived for tail in own for head in of_tensor[i]}
        for (edge, _), i in zip(step.passed, step.returned, strict=False):
            data |= {(tail, card_of[trace.edges[edge].target]) for tail in of_tensor[i]}
    for number, stop in enumerate(trace.stops):
        data |= {(tail, f"x{number}") for index in stop.inputs for tail in of_tensor[index]}
        if stop.node is not None:
            data.add((card_of[stop.node], f"x{number}"))
        data |= {(tail, f"x{number}") for tail in by_op.get(stop.changed_by, ())}
    dashed = {
        (of_leaf(link.tail), of_leaf(link.head)) for link in picture.links if link.edge is None
    }
    assert dashed <= data


def test_every_tensor_that_an_operation_was_given_has_an_arrow_but_for_an_optimizer(
    picture: Shown,
) -> None:
    trace, card_of = picture.tape.view.trace, cards_of_nodes(picture)
    arrows = {(of_leaf(link.tail), link.head) for link in picture.links}
    heads = {head for _, head in arrows}
    leaves = {c.id for card in picture.cards for c in (card, *card.members) if c.kind in LEAF_KINDS}
    for op in trace.ops:
        own = {c.id for c in picture.cards for p in (c, *c.members) if p.op == op.index}
        if op.is_optimizer_step or not own or op.name == "grad":
            continue
        for index in op.inputs:
            tensor = trace.tensors[index]
            if tensor.kind == "result" or tensor.op is not None:
                continue
            name = (
                f"n{tensor.node}" if tensor.node is not None else f"t{trace.first_version(index)}"
            )
            card = picture.by_part.get(name) or of_leaf(card_of.get(tensor.node or -1, ""))
            if card and card not in own and name in leaves:
                assert any((of_leaf(card), head) in arrows for head in own & heads), (
                    op.name,
                    tensor.name,
                )
