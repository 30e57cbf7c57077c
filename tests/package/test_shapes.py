"""What a card is drawn with lies where it belongs: a second border, a tab, a gradient above its arrow; also as DOT."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import torch

import definebyrun as dbr
from definebyrun.cards.clusters import Cluster
from definebyrun.cards.model import Card, Link, State
from definebyrun.drawing.dot import to_dot
from definebyrun.drawing.svg import render
from definebyrun.view import MAX_CARDS_SHOWN

SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]


def boxes(cards: list[Card], links: list[Link] = ()) -> dict[str, list[Box]]:  # type: ignore[assignment]
    """By card: the rectangles that it is drawn with."""
    picture = render(cards, list(links), "", [], False)
    found: dict[str, list[Box]] = {}
    for group in ElementTree.fromstring(picture.svg).iter(f"{SVG}g"):
        if group.get("class") == "dbr-c":
            found[group.get("data-c") or ""] = [
                tuple(float(rect.get(name) or 0) for name in ("x", "y", "width", "height"))
                for rect in group.iter(f"{SVG}rect")
            ]
    return found


def test_an_output_has_a_second_border_three_points_within_the_first() -> None:
    (((x, y, width, height), inner),) = boxes([Card("n0", "op", "y = mul", output=True)]).values()
    assert inner == pytest.approx((x + 3, y + 3, width - 6, height - 6), abs=0.1)


@pytest.mark.parametrize("side", ["A", "B"])
def test_what_one_run_did_has_a_tab_on_the_upper_edge_of_its_side_and_a_bar_along_it(
    side: str,
) -> None:
    card = Card("n0", "op", "y = multiplied", side=side, values=[State(0, "1.0")])
    svg = ElementTree.fromstring(render([card], [], "", [], False).svg)
    (group,) = (g for g in svg.iter(f"{SVG}g") if g.get("class") == "dbr-c")
    (x, y, width, height), tab = boxes([card])["n0"]
    assert tab[1] < y < tab[1] + tab[3]
    assert x < tab[0] < tab[0] + tab[2] < x + width
    assert (tab[0] - x < x + width - tab[0] - tab[2]) == (side == "A")
    words = next(text for text in group.iter(f"{SVG}text") if text.text == f"only {side}")
    assert float(words.get("x") or 0) == pytest.approx(tab[0] + tab[2] / 2, abs=0.1)
    bar = next(path for path in group.iter(f"{SVG}path") if path.get("stroke-width") == "5")
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", bar.get("d") or "")]
    xs, ys = numbers[::2], numbers[1::2]
    edge = x if side == "A" else x + width
    assert x - 0.1 <= min(xs) <= max(xs) <= x + width + 0.1
    assert max(abs(at - edge) for at in xs) < 15
    assert (min(ys), max(ys)) == pytest.approx((y, y + height), abs=0.1)


def test_a_cluster_that_a_backward_pass_made_is_dotted_and_a_module_is_not() -> None:
    cards = [Card("n0", "made", "a"), Card("n1", "op", "b")]
    clusters = [
        Cluster("f0", "generation 2", cards=["n0"], made=True, born=1),
        Cluster("f1", "model", cards=["n1"]),
        Cluster("f2", "× 3", cards=[], rolled=True),
    ]
    dot = to_dot(cards, [], clusters)
    styles = dict(re.findall(r"id=(f\d) .*style=(\S+)\n", dot))
    assert styles == {"f0": '"rounded,dotted"', "f1": "rounded", "f2": '"filled,rounded"'}


def chain(length: int) -> dbr.Tape:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        y = w
        for _ in range(length):
            y = y.exp()
    return tape.unfolded()


def test_a_graph_is_large_from_one_card_more_than_is_shown_on() -> None:
    small, large = chain(MAX_CARDS_SHOWN - 1), chain(MAX_CARDS_SHOWN)
    assert [len(tape.view.drawn.cards) for tape in (small, large)] == [60, 61]
    assert [tape.view.is_large for tape in (small, large)] == [False, True]


def test_the_player_holds_characters_as_they_are_and_no_blanks_between_its_numbers() -> None:
    w = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        (1 - w).backward()
    found = re.search(r'class="dbr-json">(.*?)</script>', tape.html())
    assert found is not None
    assert "−grad" in found[1]
    assert found[1].startswith('[{"t":"Start.')


def test_each_line_of_code_says_in_which_step_it_runs_first() -> None:
    w = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        y = w
        for _ in range(2):
            y = y.exp()
            y = y.sin()
        y.backward()
    lines = re.findall(r'<li data-l="\S+"( data-s="\d+")?>(.*?)</li>', tape.html())
    first = {text.strip(): when.strip() for when, text in lines if when}
    assert first == {
        "y = y.exp()": 'data-s="1"',
        "y = y.sin()": 'data-s="2"',
        "y.backward()": 'data-s="5"',
    }
