"""Arrows of values without a gradient: each leads to the node that reads it; and what a folded module takes in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import definebyrun as dbr
from definebyrun.trace.forward_order import forward_order


def node_that_reads(tape: dbr.Tape, name: str) -> str:
    """The node on the only card to which an arrow leads from the card of this name."""
    cards, links, _ = tape.view.drawn
    (tail,) = (card.id for card in cards if card.title == name)
    (head,) = (link.head for link in links if link.tail == tail)
    return next(card.function for card in cards if card.id == head)


def arrows(tape: dbr.Tape) -> set[tuple[str, str]]:
    cards, links, _ = tape.view.drawn
    titles = {card.id: card.title for card in cards}
    return {(titles[link.tail], titles[link.head]) for link in links}


def parameter(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, requires_grad=True)


READERS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor, str]] = {
    "keeps a view of it": (nn.Linear(4, 3), torch.rand(2, 5, 4), "AddmmBackward0"),
    "keeps it reshaped": (
        lambda x: parameter(2, 3, 4, 5) @ x,
        torch.rand(2, 3, 5, 2),
        "BmmBackward0",
    ),
    "einsum": (
        lambda x: torch.einsum("bij,bjk->bik", parameter(2, 3, 4), x),
        torch.rand(2, 4, 5),
        "BmmBackward0",
    ),
    "a target": (
        lambda x: F.cross_entropy(parameter(2, 3, 4), x),
        torch.zeros(2, 4, dtype=torch.long),
        "NllLoss2DBackward0",
    ),
    "an input without an edge": (
        lambda x: F.pairwise_distance(parameter(2, 4), x),
        torch.rand(2, 4),
        "SubBackward0",
    ),
}


@pytest.mark.parametrize("case", READERS)
def test_a_constant_leads_to_the_node_that_reads_it(case: str) -> None:
    call, given, node = READERS[case]
    with dbr.record() as tape:
        call(given).sum().backward()
    assert node_that_reads(tape, "given") == node


def test_what_a_node_saves_is_told_by_its_memory_where_it_has_another_shape() -> None:
    x, layer = torch.rand(2, 5, 4), nn.Linear(4, 3)
    with dbr.record() as tape:
        layer(x)
    (kept,) = next(node.saved for node in tape.nodes if node.saved)
    assert (kept.tensor, tape.tensors[kept.given].name) == (None, "x")


def test_a_node_tells_how_many_inputs_it_has_those_without_a_gradient_too() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        torch.stack([w, torch.ones(2), torch.zeros(2)])
    stack = next(node for node in tape.nodes if node.name == "StackBackward0")
    assert (stack.slots, len(tape.trace.edges_of([stack.index]))) == (3, 1)


def test_nodes_of_one_operation_come_in_the_order_in_which_they_compute() -> None:
    x, layer = torch.rand(2, 5, 4), nn.Linear(4, 3)
    with dbr.record() as tape:
        layer(x)
    order = forward_order(tape.trace, tape.trace.nodes_of(0))
    names = [tape.nodes[i].name for i in order]
    assert names == ["TBackward0", "AddmmBackward0", "ViewBackward0"]


@pytest.mark.parametrize("name", ["max", "topk", "sort", "min", "median"])
def test_a_result_without_a_gradient_leads_to_what_reads_it(name: str) -> None:
    w = torch.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    with dbr.record() as tape:
        best, at = w.topk(2, -1) if name == "topk" else getattr(w, name)(-1)
        y = torch.tensor([10.0, 20.0, 30.0])[at] * best
        y.sum()
    assert (f"best, at = {name}", "getitem#3") in arrows(tape)


def test_each_output_stands_on_the_card_of_its_own_node() -> None:
    mha, q = nn.MultiheadAttention(4, 2, batch_first=True), torch.rand(1, 3, 4)
    with dbr.record() as tape:
        y, att = mha(q, q, q)
        (y.sum() + att.max()).backward()
    whole = tape.unfolded()
    (card,) = (card for card in whole.view.drawn.cards if card.title.startswith("att = "))
    assert card.function == "MeanBackward1"
    assert card.values[-1].text.startswith("1×3×3")
    assert any(title.startswith("y = ") for title, _ in arrows(whole))


# ---- what a folded module takes in ----


def test_what_a_call_is_given_stays_outside_of_the_folded_module() -> None:
    model, x = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.randn(4, 3)
    with dbr.record() as tape:
        model(x).sum().backward()
    folded = tape.fold(modules=0)
    assert [leaf.name for leaf in folded.leaves] == ["x"]
    assert folded.ops[0].parameters == 2
    assert ("x", "model#1") in arrows(folded)


def test_an_input_that_asks_for_a_gradient_is_no_parameter_of_the_module() -> None:
    act, x = nn.GELU(), torch.randn(4, 3, requires_grad=True)
    with dbr.record() as tape:
        act(x).sum().backward()
    folded = tape.fold(modules=0)
    assert folded.ops[0].parameters == 0
    assert ("x", "act#1") in arrows(folded)


class WithOwn(nn.Module):
    """Holds a buffer, a plain tensor, a list of tensors, and makes one in its call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(3))
        self.shift = torch.rand(3)
        self.more = [torch.rand(3)]
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * self.scale + self.shift + self.more[0] + torch.ones(3)


def test_buffers_attributes_and_what_is_made_inside_fold_into_the_module() -> None:
    m, x = WithOwn(), torch.rand(2, 3)
    with dbr.record() as tape:
        m(x).sum()
    assert [leaf.name for leaf in tape.fold(0).leaves] == ["x"]
    of_layer = tape.fold("m.layer")
    assert {leaf.name for leaf in of_layer.leaves} == {"x", "m.scale", "m.shift", "m.more[0]", None}


def test_a_run_that_does_not_say_whose_leaves_they_are_folds_by_their_names() -> None:
    m, x = WithOwn(), torch.rand(2, 3)
    with dbr.record() as tape:
        m(x).sum()
    trace = replace(tape.trace, tensors=tuple(replace(t, owners=()) for t in tape.tensors))
    assert [leaf.name for leaf in dbr.Tape(trace).fold(0).leaves] == ["x"]


def test_every_call_of_a_module_is_one_card_also_the_second_of_one_operation() -> None:
    m, x = nn.Linear(3, 3), torch.ones(2, 4, 3)
    with dbr.record() as tape:
        m(torch.relu(m(x))).sum().backward()
    folded = tape.fold(modules=0)
    assert [op.name for op in folded.ops] == ["m", "relu", "m", "sum"]
    cards = folded.view.drawn.cards
    assert sorted(card.title for card in cards) == [
        "m#1",
        "m#3",
        "m.bias",
        "m.weight",
        "relu#2",
        "sum#4",
        "x",
    ]


def test_a_cell_in_a_loop_is_one_card_for_each_call() -> None:
    cell, x = nn.GRUCell(2, 3), torch.rand(4, 1, 2)
    with dbr.record() as tape:
        h = torch.zeros(1, 3)
        for t in range(4):
            h = cell(x[t], h)
    assert [op.name for op in tape.fold(0).ops].count("cell") == 4
    assert not any(card.kind == "inner" for card in tape.fold(0).view.drawn.cards)


def test_layers_of_one_operation_bear_the_path_of_their_module() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 1), nn.Sigmoid())
    x = torch.rand(2, 3)
    with dbr.record() as tape:
        net(x).sum().backward()
    shown = [(op.name, op.module) for op in tape.fold(1).ops]
    kinds = ["Linear", "ReLU", "Dropout", "Linear", "Sigmoid"]
    assert shown[:-1] == [(f"net.{i}", kind) for i, kind in enumerate(kinds)]


def test_a_saved_trace_says_what_an_older_reader_may_leave_out() -> None:
    layer = nn.Linear(4, 3)
    with dbr.record() as tape:
        layer(torch.rand(2, 5, 4))
    written = json.loads(tape.json())
    assert written["skippable"] == ["given", "owners", "slots"]
    assert "slots" not in written["nodes"][0]  # an `AccumulateGrad` has no inputs
    assert dbr.Tape(type(tape.trace).from_json(tape.json())).trace == tape.trace
