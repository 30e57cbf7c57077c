"""Graphs of `draw` that are too large to read fold by repetition: what is left out is counted, nothing is invented."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import definebyrun as dbr
from definebyrun.cards.build import build_cards, count_cards
from definebyrun.view import MAX_CARDS_SHOWN


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(3, 3), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inside(x)


def recurrent() -> torch.Tensor:
    w, h = torch.tensor(0.5, requires_grad=True), torch.tensor(1.0)
    for _ in range(100):
        h = torch.tanh(h * w)
    return h


def residual() -> torch.Tensor:
    return nn.Sequential(*(Residual() for _ in range(16)))(torch.ones(1, 3))


def lstm() -> torch.Tensor:
    cell, state = nn.LSTMCell(2, 3), None
    for _ in range(15):
        state = cell(torch.ones(1, 2), state)
    return state[0]


def nested() -> torch.Tensor:
    w = torch.tensor(2.0, requires_grad=True)
    y = w
    for _ in range(8):
        for _ in range(10):
            y = y * w
        y = y.sin()
    return y


GRAPHS = (recurrent, residual, lstm, nested)


def walk(root: torch.Tensor) -> tuple[Counter[str], int]:
    """The names of all nodes but those of leaves, and the number of edges, by a walk of its own."""
    seen: list[Any] = []
    waiting = [root.grad_fn]
    edges = 0
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.append(node)
        edges += sum(target is not None for target, _ in node.next_functions)
        waiting += [target for target, _ in node.next_functions]
    return Counter(n.name() for n in seen if not hasattr(n, "variable")), edges


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_a_large_drawn_graph_folds_and_stands_for_all_of_pytorchs_nodes(
    graph: Callable[[], torch.Tensor],
) -> None:
    result = graph()
    tape = dbr.draw(result)
    shown = tape.view.trace
    names, edges = walk(result)
    assert count_cards(shown) <= MAX_CARDS_SHOWN < count_cards(tape.trace)
    stand_for: Counter[str] = Counter()
    for node in shown.nodes:
        if node.leaf is None:
            stand_for[node.name] += node.times
    assert stand_for == names
    assert sum(edge.times for edge in shown.edges) == edges
    leaves = {t.node for t in shown.tensors if t.kind != "result"}
    assert {n.index for n in shown.nodes if n.leaf is not None} == leaves
    assert count_cards(shown) == len(build_cards(shown)[0])


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_a_folded_graph_is_shown_with_the_sentence_how_to_see_all(
    graph: Callable[[], torch.Tensor],
) -> None:
    tape = dbr.draw(graph())
    cards, all_of_them = count_cards(tape.view.trace), count_cards(tape.trace)
    assert f"{cards} cards stand for {all_of_them}: repetitions are rolled up." in repr(tape)
    assert "Add .unfolded()" in repr(tape)
    assert "the last one shown" in tape.svg()
    assert count_cards(tape.unfolded().view.trace) == all_of_them
    assert tape.fold(repeats=True).trace == tape.view.trace
    assert tape.text().count("\n") > 60  # `text` is of the whole graph, as for a run


def test_every_form_of_a_folded_graph_can_be_made() -> None:
    tape = dbr.draw(lstm())
    small = tape.fold(repeats=True)
    assert dbr.load(small.json()).trace == small.trace
    for form in (tape.svg, tape.dot, tape.html, tape.png, small.text, small.svg):
        assert form()
    assert "next time" in tape.svg()


def test_what_a_variable_holds_is_shown_where_its_own_node_is() -> None:
    w = torch.tensor(0.5, requires_grad=True)
    y, middle = w, None
    for i in range(40):
        y = (y * w).sin()
        if i == 20:
            middle = y
    tape = dbr.draw(y)
    shown = tape.view.trace
    held = {t.name: t.value.item() for t in shown.tensors}
    assert held["y"] == y.item()
    assert "middle" not in held  # its node is folded away, and its number is not the last one's
    assert shown.tensors[shown.root].name == "y"
    assert shown.nodes[shown.tensors[shown.root].node].name == "SinBackward0"
    assert middle is not None


def test_a_graph_in_which_nothing_repeats_stays_as_it_is() -> None:
    x = torch.tensor([0.5, 1.0], requires_grad=True)
    y = x
    for which in "sceetsctesctset":
        y = {"s": torch.sin, "c": torch.cos, "e": torch.exp, "t": torch.tanh}[which](y)
    tape = dbr.draw(y).fold(repeats=True)
    assert tape.trace == dbr.draw(y).trace
    small = dbr.draw((x * x).sin())
    assert small.view.trace is small.trace


def test_drawing_twice_gives_the_same_folded_text() -> None:
    result = residual()
    assert repr(dbr.draw(result)) == repr(dbr.draw(result))
