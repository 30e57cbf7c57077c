"""No picture hangs: what a layout costs is counted beforehand, and simpler ways are taken where it is too much."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

import definebyrun as dbr
from definebyrun.cards.model import Card, Link
from definebyrun.drawing import layout, layout_process, placement
from definebyrun.drawing.crossings import implied_links, ranks_crossed
from definebyrun.drawing.placement import place
from definebyrun.drawing.svg import render


def dense_history(steps: int) -> dbr.Tape:
    """Each step reads all the steps before it, as attention over a history does."""
    with dbr.record() as tape:
        hs = [torch.ones(2, requires_grad=True)]
        for _ in range(steps):
            hs.append(torch.stack(hs).sum(0).tanh())
    return tape


def chain(length: int) -> tuple[list[Card], list[Link]]:
    cards = [Card(f"n{i}", "op", f"card {i}") for i in range(length)]
    return cards, [Link(f"e{i}", f"n{i}", f"n{i + 1}", 0, i) for i in range(length - 1)]


def bundle(strands: int, length: int) -> tuple[list[Card], list[Link]]:
    """A chain, and beside it cards between its ends: long links that no other links imply."""
    cards, links = chain(length)
    for i in range(strands):
        cards.append(Card(f"s{i}", "op", f"strand {i}"))
        links += [
            Link(f"a{i}", "n0", f"s{i}", 0, 1000 + i),
            Link(f"b{i}", f"s{i}", f"n{length - 1}", 0, 2000 + i),
        ]
    return cards, links


@pytest.mark.parametrize("steps", [25, 60])
def test_a_dense_history_is_laid_out_at_once_in_a_column_that_fits_a_page(steps: int) -> None:
    """Graphviz alone takes 20 s for 25 steps (100 cards, 375 links), and did not end for 60."""
    tape = dense_history(steps).unfolded()
    cards, links, clusters = tape.view.drawn
    began = time.process_time()
    placed = place(cards, links, clusters, tape.view.is_large)
    assert time.process_time() - began < 2
    assert placed.geometry.width < 800
    assert placed.note == placement.ARCS
    assert placement.ARCS in tape._repr_html_()


def test_every_link_of_a_simplified_picture_has_a_route_from_its_card_down_to_the_other() -> None:
    tape = dense_history(25).unfolded()
    cards, links, clusters = tape.view.drawn
    geometry = place(cards, links, clusters, large=False).geometry
    assert set(geometry.routes) == {link.id for link in links}
    for link in links:
        (x, y, width, height), route = geometry.boxes[link.tail], geometry.routes[link.id]
        start = route.points[0]
        assert x - 1 <= start[0] <= x + width + 1
        assert y - 1 <= start[1] <= y + height + 1
        x, y, width, height = geometry.boxes[link.head]
        assert route.tip is not None
        assert x - 2 <= route.tip[0] <= x + width + 2
        assert y - 2 <= route.tip[1] <= y + height + 2
        assert geometry.boxes[link.tail][1] < y


def test_long_labelled_links_back_are_arcs_with_their_label() -> None:
    """75 cards with 20 of them took Graphviz 2 s, with 40 of them 10 s."""
    cards, links = chain(75)
    links += [Link(f"d{i}", "n74", f"n{i}", 0, back=True) for i in range(40)]
    began = time.process_time()
    picture = render(cards, links, "")
    assert time.process_time() - began < 1
    assert picture.svg.count("next time") == 40


def test_a_picture_below_the_bound_is_as_graphviz_draws_it() -> None:
    cards, links = chain(30)
    links += [Link(f"x{i}", "n0", f"n{i}", 0, 100 + i) for i in range(2, 30)]
    placed = place(cards, links, [], large=False)
    assert sum(ranks_crossed(links).values()) < placement.MAX_RANKS_CROSSED
    assert placed.note == ""


def test_what_is_drawn_as_an_arc_is_implied_by_what_is_not() -> None:
    _, links = chain(60)
    links += [
        Link(f"x{i}.{j}", f"n{i}", f"n{j}", 0, 0) for i in range(0, 60, 4) for j in range(i, 60, 5)
    ]
    implied = implied_links(links)
    kept = [link for link in links if link.id not in implied and link.tail != link.head]
    assert [(link.tail, link.head) for link in kept] == [(f"n{i}", f"n{i + 1}") for i in range(59)]


def test_of_two_links_between_the_same_cards_one_keeps_their_order() -> None:
    a, b = Link("a", "n0", "n1", 0, 0), Link("b", "n0", "n1", 0, 1)
    assert implied_links([a, b]) == {"b"}


def test_links_that_nothing_implies_are_straight_where_they_are_too_many() -> None:
    cards, links = bundle(strands=30, length=60)
    placed = place(cards, links, [], large=False)
    assert placed.note == placement.LINES
    assert set(placed.geometry.routes) == {link.id for link in links}


def test_what_is_too_large_even_for_straight_links_is_not_begun(monkeypatch) -> None:
    cards, links = bundle(strands=300, length=60)
    began = time.process_time()
    with pytest.raises(dbr.LayoutError, match="659 arrows between 360 cards, too many to lay out"):
        place(cards, links, [], large=False)
    assert time.process_time() - began < 1
    monkeypatch.setattr(placement, "MAX_RANKS_CROSSED_STRAIGHT", 100)
    assert place(*bundle(40, 60), [], large=False, unlimited=True).note == placement.LINES


def test_a_layout_that_takes_too_long_is_stopped_and_the_text_shown(monkeypatch) -> None:
    monkeypatch.setattr(placement, "MAX_RANKS_CROSSED", 0)
    monkeypatch.setattr(placement, "MAX_LAYOUT_SECONDS", 0.001)
    w = torch.ones(2, requires_grad=True)
    html = dbr.draw(w * 2)._repr_html_()
    assert "took too long and was stopped" in html
    assert "MulBackward0" in html


def test_a_process_of_its_own_gives_the_same_layout() -> None:
    dot = "digraph { a -> b; a -> c }"
    assert layout.run_dot(dot, "json0", seconds=60) == layout.run_dot(dot, "json0")


def test_a_process_that_lays_out_imports_neither_torch_nor_this_package() -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['', 'json0']\nrunpy.run_path({layout_process.__file__!r}, run_name='__main__')\n"
        "print(sorted({'torch', 'numpy', 'definebyrun'} & {*sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="digraph { a }", capture_output=True, text=True
    )
    assert done.stderr.endswith("[]\n")
    assert '"_gvid"' in done.stdout


def test_a_process_that_fails_says_so_in_one_sentence(monkeypatch) -> None:
    with pytest.raises(dbr.LayoutError, match=r"could not lay out this graph: .*Invalid Input"):
        layout.run_dot("digraph {", "json0", seconds=60)
    monkeypatch.setattr(layout, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(dbr.LayoutError, match="No layout engine was found"):
        layout.run_dot("digraph {}", "json0", seconds=60)
