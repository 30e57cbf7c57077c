"""The smallest programs on which a drawing was once misleading or too large, each with what is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import definebyrun as dbr
from bench.zoo.networks import Residual
from tests.programs import recorded

PAGE = 896
"""Pixels at which even the small print stays legible on a page of the book."""


@dataclass(frozen=True)
class Picture:
    """What is drawn, by the titles of the cards."""

    titles: list[str]
    kinds: dict[str, str]
    rows: dict[str, str]
    arrows: set[tuple[str, str]]
    times: dict[tuple[str, str], int]
    words: dict[tuple[str, str], tuple[str, str]]
    width: float


def picture(tape: dbr.Tape) -> Picture:
    cards, links, _ = tape.view.drawn
    title = {card.id: card.title for card in cards}
    ends = [(title[link.tail], title[link.head]) for link in links]
    return Picture(
        titles=[card.title for card in cards],
        kinds={card.title: card.kind for card in cards},
        rows={card.title: card.arguments for card in cards},
        arrows=set(ends),
        times={end: link.times for end, link in zip(ends, links, strict=True)},
        words={
            end: (link.tail_word, link.head_word) for end, link in zip(ends, links, strict=True)
        },
        width=tape.view.picture.width,
    )


# ---- operations of several nodes ----


def test_a_batch_of_sequences_points_at_the_node_that_multiplies() -> None:
    x, lin = torch.rand(2, 5, 4), nn.Linear(4, 3)
    drawn = recorded(lambda: lin(x).sum().backward()).view.drawn
    function = {card.id: card.function for card in drawn.cards}
    (head,) = (function[link.head] for link in drawn.links if drawn.links and link.edge is None)
    assert head == "AddmmBackward0"


def test_of_two_gradients_each_input_points_at_its_own() -> None:
    w, b = torch.rand(3, requires_grad=True), torch.rand(3, requires_grad=True)
    with dbr.record() as tape:
        inner = ((w * 2 + b) ** 2).sum()
        gw, gb = torch.autograd.grad(inner, [w, b], create_graph=True)
        (gw * gb).sum().backward()
    arrows = picture(tape).arrows
    assert {("w", "gw = grad"), ("b", "gb = grad"), ("inner = sum", "gb = grad")} <= arrows
    assert not {("b", "gw = grad"), ("w", "gb = grad")} & arrows


def test_results_of_a_folded_module_stand_in_the_order_of_the_line() -> None:
    mha, q = nn.MultiheadAttention(4, 2, batch_first=True), torch.rand(1, 3, 4)
    with dbr.record() as tape:
        y, att = mha(q, q, q)
        y.sum().backward()
    assert "y, att = mha" in picture(tape.fold(0)).titles
    assert att.shape == (1, 3, 3)


def test_each_result_of_an_lstm_leaves_it_by_its_own_name() -> None:
    lstm, xs = nn.LSTM(4, 3), torch.rand(5, 1, 4)
    with dbr.record() as tape:
        o, (h, c) = lstm(xs)
        h.sum().backward()
    shown = picture(tape)
    assert shown.words["o, h, c = lstm", "sum#4"] == ("h", "")
    assert ("xs", "o, h, c = lstm") in shown.arrows
    assert (o.shape, c.shape) == ((5, 1, 3), (1, 1, 3))


# ---- what fits a page ----


def test_a_residual_block_fits_the_page_with_its_skip() -> None:
    block, x = Residual(), torch.rand(2, 4, 8, 8)
    shown = picture(recorded(lambda: block(x).sum().backward()))
    assert shown.width <= PAGE
    assert {("x", "conv2d#1"), ("x", "add#8")} <= shown.arrows
    assert not [title for title in shown.titles if "running" in title or "num_batches" in title]


class Unit(nn.Sequential):
    """Convolution, norm, ReLU."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())


class Deep(nn.Module):
    """Layers beside blocks of blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(*[nn.Sequential(Unit(), Unit()) for _ in range(3)])
        self.fc = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(torch.relu(self.bn(self.conv(x)))).mean((2, 3)))


def test_layers_beside_folded_blocks_are_one_card_each() -> None:
    net, x = Deep(), torch.rand(2, 3, 8, 8)
    shown = picture(recorded(lambda: net(x).sum().backward()))
    assert {"net.conv#1", "net.bn#2", "net.fc#8"} <= set(shown.titles)
    assert ("x", "net.conv#1") in shown.arrows
    assert len(shown.titles) <= 12
    assert shown.width <= PAGE


def test_a_loop_compared_with_itself_is_rolled_up_and_not_swallowed() -> None:
    cell, x = nn.RNNCell(4, 6), torch.rand(20, 2, 4)

    def run() -> dbr.Tape:
        with dbr.record() as tape:
            h = torch.zeros(2, 6)
            for t in range(20):
                h = cell(x[t], h)
            h.sum().backward()
        return tape

    shown = picture(dbr.compare(run(), run()))
    assert 5 <= len(shown.titles) <= 14
    assert ("h = rnn_tanh_cell", "h = rnn_tanh_cell") in shown.arrows  # next time


# ---- what is folded ----


def test_a_module_of_one_operation_is_one_card_at_every_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.relu(self.fc(x)))

    n, x = Twice(), torch.rand(2, 3)
    tape = recorded(lambda: n(x).sum().backward())
    for folded in (tape.fold(1), tape.fold("n.fc")):
        titles = picture(folded).titles
        assert titles[3:] == ["n.fc#1", "relu#2", "n.fc#3", "sum#4"]
        assert sorted(titles[:3]) == ["n.fc.bias", "n.fc.weight", "x"]


def test_the_path_of_a_folded_module_comes_before_a_long_name_of_its_result() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage1, self.stage2 = (
                nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)) for _ in range(2)
            )

        def forward(self, x: Tensor) -> Tensor:
            intermediate_features = self.stage1(x)
            intermediate_features = self.stage2(intermediate_features)
            return intermediate_features.sum()

    network, x = Net(), torch.rand(2, 3)
    shown = picture(recorded(lambda: network(x).backward()).fold(1))
    assert {"network.stage1", "network.stage2"} <= set(shown.titles)


def test_an_input_stays_outside_the_module_that_reads_it_and_is_no_parameter() -> None:
    model, x = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.randn(4, 3)
    shown = picture(recorded(lambda: model(x).sum().backward()).fold(0))
    assert ("x", "model#1") in shown.arrows
    act, image = nn.GELU(), torch.randn(4, 3, requires_grad=True)
    tape = recorded(lambda: act(image).sum().backward()).fold(0)
    assert ("image", "act#1") in picture(tape).arrows
    assert "parameter" not in tape.text()


def test_parallel_arrows_into_a_folded_module_are_one() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fs = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))

        def forward(self, x: Tensor) -> Any:
            return sum(f(x) for f in self.fs)

    p, x = nn.Sequential(nn.Linear(4, 4), Dense()), torch.rand(2, 4)
    shown = picture(recorded(lambda: p(x).sum().backward()).fold(1))
    (into,) = (end for end in shown.times if end[1] == "p.1#2")
    assert shown.times[into] == 6


def test_two_steps_of_an_encoder_with_clipping_are_a_picture_and_not_a_row() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with dbr.record() as tape:
        for _ in range(2):
            loss = model(torch.ones(2, 4, 16)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    shown = picture(tape)
    assert shown.width <= 1034
    assert 4 <= len(shown.titles) <= 30


# ---- what the cards and arrows say ----


def test_numbers_that_are_no_tensors_and_the_order_of_arguments_are_said() -> None:
    a = torch.rand(2, 3, requires_grad=True)
    with dbr.record() as tape:
        b, c = a.softmax(-1), a.softmax(0)
        ((b - c) / 2).pow(3).sum().backward()
    shown = picture(tape)
    assert [shown.rows[title] for title in ("b = softmax", "c = softmax", "div#4", "pow#5")] == [
        *("dim=-1", "dim=0", "÷ 2", "** 3")
    ]
    assert shown.words["b = softmax", "sub#3"] == ("", "0")
    assert shown.words["c = softmax", "sub#3"] == ("", "1")


def test_each_of_several_results_leaves_by_its_name() -> None:
    a = torch.rand(4, requires_grad=True)
    with dbr.record() as tape:
        p, q, r, s = a.chunk(4)
        (torch.sigmoid(p) * q / (torch.tanh(s) - r)).sum().backward()
    words = picture(tape).words
    chunk = "p, q, r, s = chunk"
    into = {"sigmoid#2": "p", "mul#3": "q", "tanh#4": "s", "sub#5": "r"}
    assert {head: words[chunk, head][0] for head in into} == into


def test_layers_of_one_operation_have_their_path() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 1), nn.Sigmoid())
    x = torch.rand(2, 3)
    tape = recorded(lambda: net(x).sum().backward()).fold(1)
    assert picture(tape).titles[1:6] == [f"net.{i}#{i + 1}" for i in range(5)]
    assert "4 parameters with 16 numbers" in tape.view.caption


def test_a_batch_norm_is_one_card_that_says_what_it_changes() -> None:
    bn, x = nn.BatchNorm1d(4), torch.rand(3, 4)
    shown = picture(recorded(lambda: bn(x).sum().backward()))
    assert sorted(shown.titles) == ["batch_norm#2", "bn.bias", "bn.weight", "sum#3", "x"]


def test_indices_that_carry_no_gradient_have_an_arrow() -> None:
    w = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
    with dbr.record() as tape:
        best, at = w.max(0)
        y = torch.tensor([10.0, 20.0, 30.0])[at] * best
    shown = picture(tape)
    (reads,) = (head for tail, head in shown.arrows if tail == "best, at = max" and "get" in head)
    assert shown.words["best, at = max", reads][0] == "at"
    assert y.item() == 30


class Clip(torch.autograd.Function):
    """A clipped gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0].clamp(-1, 1) * 2


def test_what_runs_in_the_backward_of_a_function_is_no_island() -> None:
    w = torch.rand(3, requires_grad=True)
    drawn = recorded(lambda: (Clip.apply(w) * 3).sum().backward()).view.drawn
    linked = {name for link in drawn.links for name in (link.tail, link.head)}
    assert {card.id for card in drawn.cards} == linked
    titles = {card.id: card.title for card in drawn.cards}
    ends = {(titles[link.tail], titles[link.head]) for link in drawn.links}
    inside = [title for title in titles.values() if title.endswith("in backward")]
    assert len(inside) == 2
    assert (inside[-1], "w") in ends


def test_runs_that_stopped_end_on_a_card_that_says_why() -> None:
    w = torch.rand(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="modified by an inplace"), dbr.record() as tape:  # noqa: PT012
        y = w.exp()
        y.add_(1)
        y.sum().backward()
    stop = next(card for card in tape.view.drawn.cards if card.kind == "stop")
    assert stop.title.startswith("ExpBackward0")
    with pytest.raises(RuntimeError, match="shapes"), dbr.record() as tape:
        torch.rand(2, 4, requires_grad=True) @ torch.rand(5, 2)
    stop = next(card for card in tape.view.drawn.cards if card.kind == "stop")
    assert sum(link.head == stop.id for link in tape.view.drawn.links) == 2


def test_a_comparison_uses_the_names_that_it_was_given() -> None:
    layer, x = nn.Dropout(0.5), torch.rand(4, requires_grad=True)
    train = recorded(lambda: layer(x).sum().backward())
    layer.eval()
    evaluated = recorded(lambda: layer(x).sum().backward())
    svg = dbr.compare(train, evaluated, ("train", "eval")).svg()
    assert "train" in svg
    assert "eval" in svg


def test_the_vector_of_a_backward_leads_to_where_the_pass_begins() -> None:
    w, v = torch.rand(3, requires_grad=True), torch.ones(3)
    with dbr.record() as tape:
        y = w * 2
        y.backward(v)
    assert ("v", "y = mul") in picture(tape).arrows
