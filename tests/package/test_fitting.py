"""Which way to fold a run is shown: the first that a page can show, within the bounds of a layout, as the user asks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import definebyrun as dbr
from definebyrun.cards.hidden import without
from definebyrun.cards.model import Card, Link
from definebyrun.cards.picture import picture_cards
from definebyrun.drawing import layout, placement
from definebyrun.drawing.fitting import Way, first_that_fits
from definebyrun.drawing.look import Look
from definebyrun.drawing.placement import place


def run() -> dbr.Tape:
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(2)))
    with dbr.record() as tape:
        (net(torch.rand(2, 3)) * torch.tensor(2.0)).mean().backward()
    return tape


def test_what_a_layout_refuses_is_a_way_that_does_not_fit(monkeypatch: Any) -> None:
    tape = run()
    ways = [Way(tape.trace), Way(tape.fold(0).trace)]
    wide = Look(width=5000)
    assert first_that_fits(ways, wide).trace is ways[0].trace
    monkeypatch.setattr(placement, "MAX_RANKS_CROSSED", 10)
    assert first_that_fits(ways, wide).trace is ways[1].trace


def test_no_way_is_tried_in_a_process_of_its_own(monkeypatch: Any) -> None:
    monkeypatch.setattr(placement, "MAX_RANKS_CROSSED", 0)
    monkeypatch.setattr(layout, "_run_apart", lambda *_: pytest.fail("a process was started"))
    laid = first_that_fits([Way(run().trace)])
    assert laid.placement is None


def test_what_no_way_fits_is_drawn_with_straight_lines(monkeypatch: Any) -> None:
    monkeypatch.setattr(placement, "MAX_RANKS_CROSSED", 0)
    assert run().view.picture.note == placement.LINES


def test_what_is_hidden_takes_no_room_when_a_way_is_chosen() -> None:
    trace = run().trace
    laid = first_that_fits([Way(trace)], Look(hidden=("constants",)))
    assert laid.placement is not None
    boxes = laid.placement.geometry.boxes
    shown = {card.id for card in laid.cards}
    hidden = {card.id for card in picture_cards(trace)[0] if card.kind == "constant"}
    assert hidden
    assert not hidden & (shown | boxes.keys())


def test_a_width_that_is_asked_for_stands_in_place_of_a_page() -> None:
    tape = run()
    ways = [Way(tape.trace), Way(tape.fold(0).trace)]
    whole, folded = (first_that_fits([way]).placement for way in ways)
    assert whole is not None
    assert folded is not None
    narrow = (whole.geometry.width + folded.geometry.width) / 2
    assert first_that_fits(ways, Look(width=narrow)).trace is ways[1].trace
    assert first_that_fits(ways, Look(width=whole.geometry.width)).trace is ways[0].trace


def test_the_sentence_under_a_picture_says_what_has_become_one() -> None:
    with dbr.record() as tape:
        hs = [torch.ones(2, requires_grad=True)]
        for _ in range(25):
            hs.append(torch.stack(hs).sum(0).tanh())
    assert "several operations are one card. " in tape.view.note
    assert "modules" not in tape.view.note
    net = nn.Sequential(*(nn.TransformerEncoderLayer(4, 2, 8) for _ in range(2)))
    with dbr.record() as tape:
        net(torch.rand(2, 3, 4)).sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    assert "functions of libraries are one card each" in tape.view.note
    assert "several operations" not in tape.view.note


@pytest.mark.parametrize("right", [False, True])
def test_a_card_after_another_stands_beyond_it_without_an_arrow(right: bool) -> None:
    cards = [Card("n0", "op", "first"), Card("n1", "op", "second", after="n0")]
    boxes = place(cards, [], right=right).geometry.boxes
    along = 0 if right else 1
    assert boxes["n1"][along] > boxes["n0"][along] + boxes["n0"][along + 2]


def test_a_card_after_another_is_counted_among_what_a_layout_costs(monkeypatch: Any) -> None:
    cards = [Card(f"n{i}", "op", f"card {i}") for i in range(6)]
    links = [Link(f"e{i}", f"n{i}", f"n{i + 1}", 0, i) for i in range(4)]
    links.append(Link("d0", "n0", "n5", 0))
    monkeypatch.setattr(placement, "MAX_RANKS_CROSSED", 6)
    assert place(cards, links).note == ""
    cards[5].after = "n4"
    placed = place(cards, links)
    assert placed.note == placement.ARCS
    assert {link.id for link in links} <= placed.geometry.routes.keys()


def test_the_cards_of_a_rank_stand_closer_together_in_a_close_layout() -> None:
    cards = [Card(f"n{i}", "op", f"card {i}") for i in range(5)]
    links = [Link(f"e{i}", f"n{i}", "n4", 0, i) for i in range(4)]
    assert place(cards, links, close=True).geometry.width < place(cards, links).geometry.width


def test_a_card_is_after_none_that_is_hidden() -> None:
    cards = [Card("o0", "plain", "lone"), Card("n0", "op", "a"), Card("n1", "op", "b", after="o0")]
    links = [Link("e0", "n0", "n1", 0, 0)]
    kept, left, _ = without(run().trace, cards, links, ("unlinked",))
    assert place(kept, left).geometry.boxes.keys() == {"n0", "n1"}


def test_a_folded_module_has_no_result_among_what_it_changed_besides() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), nn.Tanh())
    with dbr.record() as tape:
        for _ in range(2):
            net(torch.rand(4, 3)).sum().backward()
    assert [op.beside for op in tape.ops if op.name == "batch_norm"] == [2, 2]
    folded = tape.fold(1)
    modules = [op for op in folded.ops if op.module == "Sequential"]
    assert len(modules) == 2
    for op in modules:
        assert op.beside == 0
        names = [folded.tensors[i].name or "" for i in op.outputs]
        assert not [name for name in names if "running" in name]


def test_what_leaves_more_to_see_is_shown_rather_than_hardly_anything() -> None:
    tape = run()
    bare, more = Way(tape.fold(0).trace), Way(tape.fold(1).trace, grouped=True)
    assert len(first_that_fits([bare]).cards) < 6 <= len(first_that_fits([more]).cards)
    assert first_that_fits([bare, more]).trace is more.trace
    assert first_that_fits([bare]).trace is bare.trace


def test_what_shows_what_the_way_before_it_did_is_not_laid_out_again(monkeypatch: Any) -> None:
    laid: list[int] = []
    real = picture_cards

    def counted(*given: Any) -> Any:
        laid.append(len(given))
        return real(*given)

    monkeypatch.setattr("definebyrun.drawing.fitting.picture_cards", counted)
    trace = run().trace
    first_that_fits([Way(trace), Way(trace), Way(trace, last=True)], Look(width=10))
    assert len(laid) == 1


def test_a_card_that_stands_for_most_of_a_run_is_hardly_anything_to_see() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(12)))
    with dbr.record() as tape:
        y = net(torch.rand(2, 3)) + 1
        (y * torch.tensor(2.0) - y.exp()).mean().backward()
    bare, more = Way(tape.fold(0).trace, grouped=True), Way(tape.fold(1).trace, grouped=True)
    assert len(first_that_fits([bare]).cards) >= 6
    assert first_that_fits([bare, more]).trace is more.trace
