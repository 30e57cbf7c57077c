"""What a card says of its call: arguments that are no tensors, its layer, and which argument or result an arrow is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import definebyrun as dbr
from definebyrun.cards.arguments import ORDERED, PARAMETERS
from definebyrun.cards.model import Card
from definebyrun.drawing.placement import place
from definebyrun.drawing.word_places import place_words
from tests.programs import recorded


def last_card(program: Callable[[], Any]) -> Card:
    tape = recorded(program)
    made = [card for card in tape.view.drawn.cards if card.op == len(tape.ops) - 1]
    return made[0]


def words(tape: dbr.Tape) -> dict[tuple[str, str], tuple[str, str]]:
    """By the titles of the cards that an arrow joins: the words at its ends."""
    cards, links, _ = tape.view.drawn
    titles = {card.id: card.title for card in cards}
    return {(titles[x.tail], titles[x.head]): (x.tail_word, x.head_word) for x in links}


X = torch.rand(2, 3, requires_grad=True)
AT = torch.tensor([1, 0])


# ---- arguments ----


@pytest.mark.parametrize(
    ("program", "row"),
    [
        (lambda: X.softmax(-1), "dim=-1"),
        (lambda: F.softmax(X, -1), "dim=-1"),
        (lambda: F.dropout(X, 0.1), "p=0.1"),
        (lambda: X.pow(3), "** 3"),
        (lambda: 2**X, "2 **"),
        (lambda: X * 2, "· 2"),
        (lambda: X / 2, "÷ 2"),
        (lambda: 2 - X, "2 −"),
        (lambda: X > 0, "> 0"),
        (lambda: X.add(1, alpha=2), "+ 1, alpha=2"),
        (lambda: X.sum(1, keepdim=True), "dim=1, keepdim=True"),
        (lambda: X.transpose(0, 1), "dim0=0, dim1=1"),
        (lambda: X.clamp(0, 1), "min=0, max=1"),
        (lambda: torch.cat([X, X], 1), "dim=1"),
        (lambda: X.chunk(2), "chunks=2"),
        (lambda: X.masked_fill(X > 1, -1.0), "value=-1.0"),
        (lambda: X.topk(2), "k=2"),
        (lambda: X.view(3, 2), ""),
        (lambda: X.exp(), ""),
        (lambda: F.relu(X), ""),
        (lambda: F.cross_entropy(X, AT), ""),
        (lambda: F.cross_entropy(X, AT, reduction="sum"), "reduction=sum"),
        (lambda: X[:, -1], "[:, -1]"),
        (lambda: X[0], "[0]"),
        (lambda: X[..., None, ::2], "[..., None, ::2]"),
        (lambda: X[AT, 0], "[·, 0]"),
        (
            lambda: F.conv2d(torch.rand(1, 1, 5, 5), torch.rand(1, 1, 3, 3, requires_grad=True)),
            "kernel=3",
        ),
    ],
)
def test_the_arguments_of_a_call_stand_on_its_card(program: Callable[[], Any], row: str) -> None:
    card = last_card(program)
    assert card.arguments == row
    assert [each[-1].text for each in card.rows()[:1]] != [row] or row


def test_a_convolution_says_its_kernel_and_what_is_not_usual() -> None:
    x = torch.rand(1, 2, 6, 6)
    for layer, row in (
        (nn.Conv2d(2, 3, (3, 1), padding=1, bias=False), "kernel=3×1, padding=1"),
        (nn.Conv2d(2, 2, 3, stride=2, groups=2), "kernel=3, stride=2, groups=2"),
    ):
        assert last_card(lambda: layer(x)).arguments == f"layer Conv2d, {row}"  # noqa: B023


def test_an_index_is_written_as_it_was_in_the_text_too() -> None:
    rows, cols = torch.tensor([1, 0]), torch.tensor([2, 0])

    def program() -> Any:
        y = X[:, -1]
        z = X[rows, cols]
        w = X.clone()
        w[rows, :1] = 0
        return y, z, w

    text = recorded(program).text()
    assert "y = getitem(X, [:, -1])" in text
    assert "z = getitem(X, [rows, cols])" in text
    assert "w = setitem(w, [rows, :1], 0)" in text


def test_every_name_of_an_argument_is_one_that_pytorch_has_in_that_place() -> None:
    for name, parameters in PARAMETERS.items():
        names = [each.partition("=")[0] for each in parameters]
        schemas = [
            [a.name for a in schema.arguments if "Tensor" not in str(a.type)]
            for operator in (name, f"linalg_{name}")
            for schema in torch._C._jit_get_schemas_for_operator(f"aten::{operator}")
        ]
        said = [
            [{"split_size_or_sections": "split_size"}.get(a, a) for a in each] for each in schemas
        ]
        assert any(each[: len(names)] == names for each in said), (name, said)


def test_operations_whose_order_matters_are_real() -> None:
    known = {*dir(torch), *dir(torch.Tensor), *dir(F), *(n.strip("_") for n in dir(torch.Tensor))}
    assert known >= ORDERED


# ---- layers ----


def test_a_layer_of_one_operation_says_which_it_is() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 1), nn.Sigmoid())
    x = torch.rand(2, 3)
    cards = recorded(lambda: net(x).sum().backward()).view.drawn.cards
    rows = [card.arguments for card in cards if card.op is not None and card.kind != "inner"]
    assert rows == [
        *("net.0 Linear", "net.1 ReLU", "net.2 Dropout, p=0.5", "net.3 Linear", "net.4 Sigmoid"),
        "",
    ]


def test_a_long_path_loses_its_middle_and_a_batch_norm_is_a_layer_too() -> None:
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a_norm_with_a_long_name = nn.BatchNorm1d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.a_norm_with_a_long_name(x))

    network_of_stages = nn.Sequential(Stage())
    x = torch.rand(2, 3)
    cards = recorded(lambda: network_of_stages(x)).view.drawn.cards
    (row,) = [card.arguments for card in cards if card.title.startswith("batch_norm")]
    assert row == "network_…h_a_long_name BatchNorm1d"


# ---- which argument, which result ----


def test_the_order_of_arguments_stands_at_the_arrows_where_it_matters() -> None:
    def program() -> Any:
        b, c = X.softmax(-1), X.softmax(0)
        return ((b - c) / 2).sum(), (b + c).sum()

    found = words(recorded(program))
    assert found["b = softmax", "sub#3"] == ("", "0")
    assert found["c = softmax", "sub#3"] == ("", "1")
    assert found["b = softmax", "add#6"] == ("", "")


def test_a_tensor_that_is_subtracted_from_itself_is_both() -> None:
    tape = recorded(lambda: (X - X).sum())
    assert sorted(link.head_word for link in tape.view.drawn.links[:2]) == ["0", "1"]


def test_a_tensor_without_gradient_says_it_too_and_one_given_by_keyword_its_name() -> None:
    mask, q = torch.zeros(4, 4), torch.rand(1, 4, 2, requires_grad=True)

    def program() -> Any:
        k = q.sin()
        return F.scaled_dot_product_attention(q, k, k.cos(), attn_mask=mask)

    tape = recorded(program)
    found = words(tape)
    (head,) = {head for _, head in found if "attention" in head}
    assert found["mask", head] == ("", "attn_mask")
    assert [found[tail, head][1] for tail in ("q", "k = sin", "cos#2")] == ["query", "key", "value"]
    assert dbr.load(tape.json()).trace == tape.trace


def test_a_result_is_named_where_a_card_has_several() -> None:
    a = torch.rand(4, requires_grad=True)

    def program() -> Any:
        p, q, r, s = a.chunk(4)
        return (torch.sigmoid(p) * q / (torch.tanh(s) - r)).sum()

    found = words(recorded(program))
    chunk = "p, q, r, s = chunk"
    assert {head: tail for (start, head), (tail, _) in found.items() if start == chunk} == {
        "sigmoid#2": "p",
        "mul#3": "q",
        "tanh#4": "s",
        "sub#5": "r",
    }


def test_a_drawn_graph_says_the_same() -> None:
    p, q = torch.rand(4, requires_grad=True).chunk(2)
    found = {x.head_word: x.tail_word for x in dbr.draw((p - q).sum()).view.drawn.links}
    assert found == {"": "", "0": "p", "1": "q"}


def test_results_without_gradient_are_named_as_well() -> None:
    def program() -> Any:
        best, where = X.topk(1)
        return best.exp(), where.float()

    found = words(recorded(program))
    assert found["best, where = topk", "exp#2"] == ("best", "")
    assert found["best, where = topk", "float#3"] == ("where", "")


def test_the_words_stand_in_every_form_of_the_picture() -> None:
    a = torch.rand(2, 2, requires_grad=True)
    tape = recorded(lambda: (a.exp() - a.sin()).sum())
    assert "headlabel=0" in tape.dot() or 'headlabel="0"' in tape.dot()
    assert ">1</text></g>" in tape.svg()


# ---- room ----


def test_no_title_is_cut_on_a_card_that_is_wide_enough() -> None:
    a, b = torch.rand(3, requires_grad=True), torch.rand(3)

    def program() -> Any:
        loss = F.binary_cross_entropy_with_logits(a, b)
        return loss

    card = last_card(program)
    assert card.title == "loss = binary_cross_entropy_with_log…"
    assert len(card.title) <= len(card.function) == 37


def test_a_folded_card_never_drops_its_path_for_the_name_of_its_result() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage1, self.stage2 = (nn.Sequential(nn.Linear(3, 3), nn.ReLU()) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            intermediate_features = self.stage1(x)
            intermediate_features = self.stage2(intermediate_features)
            return intermediate_features.sum()

    network, x = Net(), torch.rand(2, 3)
    folded = [c for c in recorded(lambda: network(x)).fold(1).view.drawn.cards if c.folded]
    assert [c.title for c in folded] == ["network.stage1", "network.stage2"]
    assert {c.origin for c in folded} == {"→ intermediate_features"}
    assert {c.function for c in folded} == {"2 parameters, 12 numbers"}


def test_several_results_of_one_shape_say_how_many_and_all_shapes_where_they_differ() -> None:
    x = torch.rand(8, 8, requires_grad=True)
    assert last_card(lambda: x.chunk(4)).values[0].text == "4 of 2×8"
    assert last_card(lambda: x.split([1, 2, 5])).values[0].text == "1×8; 2×8; 5×8"


def test_paths_of_parameters_lose_their_middle_but_not_what_tells_them_apart() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer_backbone_encoder = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.transformer_backbone_encoder(x)

    model_with_a_long_name = Encoder()
    x = torch.rand(1, 2)
    tape = recorded(lambda: model_with_a_long_name(x).sum())
    titles = [c.title for c in tape.unfolded().view.drawn.cards if c.kind == "parameter"]
    assert len(set(titles)) == 4
    assert max(map(len, titles)) <= 36
    assert titles[0] == "model_wi…r_backbone_encoder.0.weight"


# ---- the size of the run ----


def test_a_line_below_the_picture_says_how_much_there_is() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    x = torch.rand(2, 3)
    tape = recorded(lambda: net(x).sum().backward())
    line = "4 operations, 10 backward nodes, 4 parameters with 21 numbers; at most 72 B kept for backward."
    for page in (tape._repr_html_(), tape.html(), tape.fold(0).html()):
        assert line in page
    y = net(x)
    assert "10 backward nodes, 4 parameters" not in dbr.draw(y)._repr_html_()
    assert "9 backward nodes, 4 parameters with 21 numbers." in dbr.draw(y)._repr_html_()
    assert "backward nodes, 4 parameters" not in dbr.compare(tape, tape)._repr_html_()


def test_no_word_beside_an_arrow_lies_on_another_one_or_on_a_card() -> None:
    x = torch.rand(3, 4, requires_grad=True)

    def program() -> Any:
        weights, chosen = x.topk(2)
        return [(chosen == n).sum() for n in range(3)], weights.sum() - weights.exp().sum()

    cards, links, _ = recorded(program).view.drawn
    placement = place(cards, links)
    boxes = [placement.geometry.boxes[card.id] for card in cards]
    words = [
        w for found in place_words(links, placement.geometry.routes, boxes).values() for w in found
    ]
    assert [word for *_, word in words].count("chosen") == 3
    covered = [(x - 6.4 * len(word) * end, y - 9, 6.4 * len(word), 11) for x, y, end, word in words]
    for (ax, ay, aw, ah), (bx, by, bw, bh) in combinations([*covered, *boxes], 2):
        apart = ax >= bx + bw or bx >= ax + aw or ay >= by + bh or by >= ay + ah
        assert apart
