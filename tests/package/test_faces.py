"""What users of other drawing tools expect: several roots, folding by class and pattern, hiding, naming, directions."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import nn

import definebyrun as dbr
from definebyrun.drawing.svg import render
from definebyrun.trace import ModuleCall

Output = namedtuple("Output", ["loss", "logits"])


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.fc(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def run(optimizer: bool = False) -> dbr.Tape:
    torch.manual_seed(0)
    net, x = Net(), torch.randn(3, 4)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    with dbr.record() as tape:
        loss = net(x).square().mean()
        loss.backward()
        if optimizer:
            sgd.step()
    return tape


def folded(tape: dbr.Tape) -> list[str]:
    return [op.name for op in tape.ops if op.module]


# ---- draw ----


def two_results() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    return w, (w * 2).sum(), w.exp().sum()


def result_names(tape: dbr.Tape) -> list[str | None]:
    return [tensor.name for tensor in tape.tensors if tensor.kind == "result"]


def test_the_graphs_of_several_tensors_are_one_picture() -> None:
    _, first, second = two_results()
    both = dbr.draw((first, second))
    alone = [dbr.draw(each) for each in (first, second)]
    assert len(both.nodes) == sum(len(tape.nodes) for tape in alone) - 1  # they share the leaf
    assert len(both.edges) == sum(len(tape.edges) for tape in alone)
    assert len([card for card in both.view.drawn.cards if card.output]) == 2
    assert result_names(both) == ["first", "second"]


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_tuple_or_list_may_hold_what_is_no_tensor(kind: Any) -> None:
    _, first, second = two_results()
    assert len(dbr.draw(kind([first, None, 3, second])).nodes) == 5


def test_the_keys_of_a_dictionary_name_its_tensors() -> None:
    _, first, second = two_results()
    assert result_names(dbr.draw({"total": first, "parts": [second]})) == ["total", "parts[0]"]


def test_the_fields_of_a_named_tuple_name_its_tensors() -> None:
    _, first, second = two_results()
    assert result_names(dbr.draw(Output(first, {"a": second}))) == ["loss", "logits.a"]


def test_a_tensor_that_is_given_twice_is_drawn_once() -> None:
    _, first, _ = two_results()
    assert dbr.draw([first, first]).text() == dbr.draw(first).text()


def test_a_container_that_holds_itself_ends() -> None:
    _, first, _ = two_results()
    held: list[Any] = [first]
    held.append(held)
    assert dbr.draw(held).text() == dbr.draw(first).text()


def test_of_several_tensors_those_without_a_graph_are_passed_over() -> None:
    _, first, _ = two_results()
    assert dbr.draw([torch.ones(1), first]).text() == dbr.draw(first).text()
    with pytest.raises(ValueError, match="these tensors have no graph"):
        dbr.draw([torch.ones(1), torch.ones(2)])


@pytest.mark.parametrize("given", [3, [], {"a": None}, nn.Linear(2, 2)])
def test_what_holds_no_tensor_is_refused_with_a_way_on(given: object) -> None:
    with pytest.raises(TypeError, match=r"draw takes tensors, not .*: draw one result, as in draw"):
        dbr.draw(given)


def test_several_arguments_are_refused_with_a_way_on() -> None:
    _, first, second = two_results()
    with pytest.raises(TypeError, match=r"as in draw\(\(a, b\)\)"):
        dbr.draw(first, second)


class Holder:
    """An object that is no module, whose tensors no variable holds."""

    def __init__(self) -> None:
        self.__dict__["_hidden"] = torch.ones(1, requires_grad=True)


def test_names_given_by_hand_go_before_all_others() -> None:
    w, first, _ = two_results()
    tape = dbr.draw(first, names={"side": w})
    assert [leaf.name for leaf in tape.leaves] == ["side"]
    holder = Holder()
    named = dbr.draw(holder._hidden * 2, names={"inner": holder._hidden})
    assert [leaf.name for leaf in named.leaves] == ["inner"]


def test_names_that_are_no_names_of_tensors_are_refused() -> None:
    _, first, _ = two_results()
    with pytest.raises(TypeError, match="names takes a dictionary from names to tensors"):
        dbr.draw(first, names={"side": 3})


def test_a_graph_of_several_tensors_is_saved_and_loaded() -> None:
    _, first, second = two_results()
    tape = dbr.draw({"a": first, "b": second})
    assert dbr.load(tape.json()).text() == tape.text()


# ---- fold ----


@pytest.mark.parametrize("which", [nn.Linear, "Linear"])
def test_modules_are_folded_by_their_class(which: Any) -> None:
    assert folded(run().fold(which)) == ["net.layers.0.fc", "net.layers.1.fc", "net.head"]


@pytest.mark.parametrize(
    "which", ["net.layers.*", "net.layers.?", ["net.layers.0", "net.layers.1"], Layer]
)
def test_of_modules_that_a_pattern_means_the_outermost_are_folded(which: Any) -> None:
    assert folded(run().fold(which)) == ["net.layers.0", "net.layers.1"]


def test_a_path_that_holds_signs_of_a_pattern_means_itself() -> None:
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    with dbr.record() as tape:
        layers[1](layers[0](torch.ones(1, 2))).sum().backward()
    paths = {call.path for call in tape.calls}
    assert paths == {"layers[0]", "layers[1]"}
    assert folded(tape.fold("layers[0]")) == ["layers[0]"]


def test_a_function_chooses_what_is_folded() -> None:
    def deep(call: ModuleCall) -> bool:
        return call.path.count(".") == 3 and "Norm" in call.kind

    assert folded(run().fold(deep)) == ["net.layers.0.norm", "net.layers.1.norm"]
    assert run().fold(lambda call: False).text() == run().text()


def test_several_ways_of_choosing_hold_together() -> None:
    assert folded(run().fold(["net.head", nn.BatchNorm1d])) == [
        "net.layers.0.norm",
        "net.layers.1.norm",
        "net.head",
    ]


@pytest.mark.parametrize(
    ("which", "said"),
    [
        (nn.Conv2d, "no module of this run is of the class Conv2d; there are: Net, Layer, Linear"),
        (
            "net.*.nothing",
            r"no module of this run has a path like 'net\.\*\.nothing'; there are: net",
        ),
        ("nothing", "no module of this run has the path 'nothing'; there are: net"),
    ],
)
def test_what_no_module_is_called_is_refused(which: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run().fold(which)


# ---- hide ----


class Scaled(nn.Module):
    """A layer with a buffer that it reads by an operation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("scale", torch.tensor([1.0, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale * self.weight


def scaled() -> dbr.Tape:
    layer, x = Scaled(), torch.ones(2)
    with dbr.record() as tape:
        layer(x).sum().backward()
    return tape


def test_constants_are_hidden_and_counted() -> None:
    tape = scaled()
    shown = tape.hide("constants")
    kinds = {card.kind for card in shown.view.drawn.cards}
    assert "constant" not in kinds
    assert "constant" in {card.kind for card in tape.view.drawn.cards}
    assert "Not drawn: 1 constant, 1 buffer." in shown._repr_html_()
    assert "Not drawn: 1 constant, 1 buffer." in repr(shown)
    assert shown.text() == tape.text()


def test_buffers_are_those_constants_that_modules_hold() -> None:
    shown = scaled().hide("buffers")
    titles = [card.title for card in shown.view.drawn.cards]
    assert "x" in titles
    assert "layer.scale" not in titles
    assert shown.view.note == "Not drawn: 1 buffer."


def test_the_steps_of_an_optimizer_are_hidden_with_their_arrows() -> None:
    tape = run(optimizer=True).unfolded()
    cards, links, _ = tape.hide("optimizer").view.drawn
    assert not [card for card in cards if "SGD.step" in card.title]
    ids = {card.id for card in cards}
    assert all({link.tail, link.head} <= ids for link in links)
    assert [card for card in tape.view.drawn.cards if "SGD.step" in card.title]


def test_cards_without_an_arrow_are_hidden_once_the_others_are() -> None:
    with dbr.record() as tape:
        w = torch.ones(1, requires_grad=True)
        _lone = torch.zeros(3)
        y = w * 2
    shown = tape.hide("unlinked")
    assert len(shown.view.drawn.cards) == len(tape.view.drawn.cards) - 1
    assert shown.view.note == "Not drawn: 1 card without an arrow."
    assert y.requires_grad


def test_what_is_hidden_stays_hidden_in_other_forms_of_the_same_run() -> None:
    tape = run().hide("buffers").hide("constants")
    for other in (tape, tape.fold(1), tape.unfolded(), tape.arrange("right")):
        assert not [card for card in other.view.drawn.cards if card.kind == "constant"]


@pytest.mark.parametrize("what", [(), ("weights",), ("constants", "weights")])
def test_what_cannot_be_hidden_is_refused(what: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="hide takes some of 'constants', 'buffers', 'optimizer'"):
        run().hide(*what)


# ---- arrange ----


def test_data_flows_to_the_right_where_it_is_asked_for() -> None:
    tape = run().arrange("right")
    cards, links, clusters = tape.view.drawn
    picture = tape.view.picture
    assert picture.width > picture.height
    assert picture == render(cards, links, tape.view.label, clusters, right=True)
    assert "rankdir=LR" in tape.dot()


def test_in_a_picture_to_the_right_every_arrow_leads_to_the_right() -> None:
    from definebyrun.drawing.placement import place

    cards, links, clusters = run().view.drawn
    boxes = place(cards, links, clusters, large=False, right=True).geometry.boxes
    for link in links:
        assert boxes[link.tail][0] < boxes[link.head][0]


def test_a_large_picture_to_the_right_is_laid_out_too() -> None:
    with dbr.record() as tape:
        hs = [torch.ones(2, requires_grad=True)]
        for _ in range(25):
            hs.append(torch.stack(hs).sum(0).tanh())
    picture = tape.unfolded().arrange("right").view.picture
    assert picture.width > 4 * picture.height
    assert picture.note


def test_a_picture_stays_in_a_width_with_as_little_folded_as_that_takes() -> None:
    tape = run()
    wide = tape.unfolded().view.picture.width
    as_it_is = tape.arrange(width=wide).view
    assert as_it_is.trace is tape.trace
    widths = [wide * 0.7, wide / 4, 10]
    narrower = [tape.arrange(width=width).view for width in widths]
    assert [view.picture.width <= width for view, width in zip(narrower, widths, strict=True)] == [
        True,
        True,
        False,
    ]
    counts = [len(view.drawn.cards) for view in (as_it_is, *narrower)]
    assert counts == sorted(set(counts), reverse=True)
    assert "modules are folded" not in narrower[0].note
    assert "modules are folded" in narrower[1].note
    assert "modules are folded" in repr(tape.arrange(width=wide / 4))


def test_what_was_folded_by_hand_stays_so_whatever_its_width() -> None:
    tape = run().fold(1)
    assert tape.arrange(width=10).view.trace is tape.trace


def test_no_other_direction_is_known_and_no_other_width() -> None:
    with pytest.raises(ValueError, match="direction is 'down' or 'right', not 'LR'"):
        run().arrange("LR")
    for width in (0, -3, float("nan")):
        with pytest.raises(ValueError, match="width is a number of pixels above 0"):
            run().arrange(width=width)


# ---- rename ----


def test_a_module_and_all_in_it_get_another_name() -> None:
    tape = run().rename({"net": "student", "loss": "error"})
    assert {call.path for call in tape.calls} >= {"student", "student.layers.0.fc"}
    assert "student.head.weight" in [leaf.name for leaf in tape.leaves]
    assert "net." not in tape.text()
    assert "error = mean" in tape.text()
    assert folded(tape.fold("student.head")) == ["student.head"]


def test_of_names_within_each_other_the_longest_is_meant() -> None:
    tape = run().rename({"net": "student", "net.head": "classifier"})
    names = [leaf.name for leaf in tape.leaves]
    assert "classifier.weight" in names
    assert "student.layers.0.fc.weight" in names


def test_a_folded_tape_and_a_comparison_are_renamed_too() -> None:
    assert folded(run().fold(nn.Linear).rename({"net": "a"}))[-1] == "a.head"
    both = dbr.compare(run(), run()).rename({"net": "a"})
    assert "net." not in both.text()
    assert "net." not in both.view.text


def test_a_name_that_nothing_has_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing in this run is called 'model'"):
        run().rename({"model": "net"})
    with pytest.raises(TypeError, match="names takes a dictionary from old names to new ones"):
        run().rename({"net": 3})


# ---- show ----


def test_outside_a_notebook_show_prints_the_text(capsys) -> None:
    tape = run()
    tape.show()
    tape.play().show()
    assert capsys.readouterr().out == f"{tape!r}\n{tape.play()!r}\n"


def test_in_a_notebook_show_displays_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: object())
    monkeypatch.setattr("IPython.display.display", shown.append)
    tape = run()
    tape.show()
    assert shown == [tape]


def test_without_ipython_show_prints(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "IPython.display", None)
    run().show()
    assert capsys.readouterr().out.startswith("tape: ")
