"""A run that stops ends on a card of its own: the call, its line, what came in, why; in every form, folded or not."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import ref

import pytest
import torch
from torch import nn

import definebyrun as dbr
from definebyrun.cards.model import STOP, Card
from definebyrun.player import step_entries


def stopped(program: Callable[[], Any]) -> dbr.Tape:
    with suppress(Exception), dbr.record() as tape:
        program()
    return tape


def shapes_that_do_not_fit() -> None:
    torch.rand(2, 4, requires_grad=True) @ torch.rand(5, 2)


def changed_in_place() -> None:
    w = torch.rand(3, requires_grad=True)
    y = w.exp()
    y.add_(1)
    y.sum().backward()


def changed_through_a_view() -> None:
    w = torch.rand(3, requires_grad=True)
    p, q = w.exp(), w.sin()
    p[:1].mul_(2)
    (p * q).sum().backward()


def backward_twice() -> None:
    x = torch.ones(2, requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    loss.backward()


def no_scalar() -> None:
    torch.autograd.backward(torch.ones(2, requires_grad=True) * 2)


class Halves(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x / 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad @ torch.ones(7)


def in_a_custom_backward() -> None:
    Halves.apply(torch.ones(2, requires_grad=True)).sum().backward()


def in_a_hook() -> None:
    y = torch.ones(2, requires_grad=True) * 2
    y.register_hook(lambda grad: grad / [])
    y.sum().backward()


def in_the_program() -> None:
    y = torch.ones(2, requires_grad=True) * 2
    if y.sum() < 5:
        raise ValueError("too small")


def of_a_module() -> None:
    nn.LSTM(4, 3)(torch.rand(2, 5))


def of_no_operation() -> None:
    torch.ones(2).item()


def of_a_setter() -> None:
    w = torch.ones(2, requires_grad=True)
    w.grad = torch.ones(3)


PROGRAMS = (
    *(shapes_that_do_not_fit, changed_in_place, changed_through_a_view, backward_twice, no_scalar),
    *(in_a_custom_backward, in_a_hook, in_the_program, of_a_module, of_no_operation, of_a_setter),
)


def card_of_stop(tape: dbr.Tape) -> Card:
    (card,) = [card for card in tape.view.drawn.cards if card.kind == STOP]
    return card


def tails(tape: dbr.Tape) -> set[str]:
    """The titles of the cards from which arrows lead to the card of the stop."""
    cards, links, _ = tape.view.drawn
    titles = {card.id: card.title for card in cards}
    return {titles[link.tail] for link in links if link.head == card_of_stop(tape).id}


# ---- where it stopped ----


def test_a_forward_ends_on_the_call_with_its_shapes_and_arrows_from_what_came_in() -> None:
    tape = stopped(shapes_that_do_not_fit)
    (stop,) = tape.stops
    assert (stop.name, stop.node, stop.code.split()[-1]) == ("matmul", None, "2)")
    card = card_of_stop(tape)
    assert (card.title, card.corner) == ("matmul", "stopped")
    assert card.values[-1].text == "2×4, 5×2"
    assert tails(tape) == {"rand"}
    said = " ".join(card.notes)
    assert f"line {stop.line}: torch.rand(2, 4" in said
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x4 and 5x2)" in said


def test_the_weights_of_a_layer_that_stopped_lead_to_it() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2))
    tape = stopped(lambda: model(torch.rand(1, 4)))
    assert tape.stops[0].name == "linear"
    assert tails(tape) == {"linear#2", "model.1.weight", "model.1.bias"}
    assert card_of_stop(tape).arguments == "model.1 Linear"


@pytest.mark.parametrize("program", [changed_in_place, changed_through_a_view])
def test_a_pass_ends_on_its_node_and_says_which_operation_changed_what_that_had_saved(
    program: Callable[[], None],
) -> None:
    tape = stopped(program)
    (stop,) = tape.stops
    assert tape.nodes[stop.node or 0].name == "ExpBackward0"
    changer = tape.ops[stop.changed_by or 0]
    assert (stop.saved, changer.name) == (
        "result",
        tape.ops[-3 if "view" in program.__name__ else -2].name,
    )
    card = card_of_stop(tape)
    assert card.title.startswith("ExpBackward0")
    assert f"its saved result was changed by {changer.name} in line {changer.line}" in " ".join(
        card.notes
    )
    assert len(tails(tape)) == 2


def test_a_second_pass_ends_on_the_node_whose_tensors_are_freed_with_what_it_received() -> None:
    (stop,) = stopped(backward_twice).stops
    tape = stopped(backward_twice)
    assert tape.nodes[stop.node or 0].name == "MulBackward0"
    assert [value.tolist() for value in stop.received if value] == [[1, 1]]
    assert card_of_stop(tape).grads[-1].text == "grad [1, 1]"


def test_of_several_nodes_that_are_ready_it_is_the_one_that_was_made_last() -> None:
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))

    def program() -> None:
        one, other = a.exp(), b.exp()
        total = (one + other).sum()
        one.add_(1)
        other.add_(1)
        total.backward()

    tape = stopped(program)
    assert tape.nodes[tape.stops[0].node or 0].op == 1


def test_where_only_some_gradients_are_asked_for_only_nodes_on_the_way_there_can_stop() -> None:
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))

    def program() -> None:
        one, other = a.exp(), b.exp()
        total = (one + other).sum()
        one.add_(1)
        other.add_(1)
        torch.autograd.grad(total, a)

    tape = stopped(program)
    assert (tape.stops[0].name, tape.nodes[tape.stops[0].node or 0].op) == ("grad", 0)


def test_a_custom_backward_that_stopped_shows_the_call_inside_it_and_the_node() -> None:
    tape = stopped(in_a_custom_backward)
    (stop,) = tape.stops
    assert (stop.name, tape.nodes[stop.node or 0].name) == ("matmul", "HalvesBackward")
    assert tails(tape) >= {"Halves#3", "ones"}


def test_of_a_hook_it_is_not_said_which_node_stopped() -> None:
    (stop,) = stopped(in_a_hook).stops
    assert (stop.name, stop.node) == ("backward", None)


def test_a_hook_behind_a_leaf_stops_at_the_node_of_that_leaf() -> None:
    w = torch.ones(2, requires_grad=True)
    w.register_post_accumulate_grad_hook(lambda _: 1 / 0)
    (stop,) = (tape := stopped(lambda: (w * 2).sum().backward())).stops
    assert tape.nodes[stop.node or 0].leaf is not None
    assert (stop.name, len(tape.steps)) == ("backward", 5)


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (no_scalar, "backward"),
        (of_no_operation, "item"),
        (of_a_setter, "grad ="),
        (of_a_module, "LSTM"),
    ],
)
def test_what_raised_is_named(program: Callable[[], None], name: str) -> None:
    tape = stopped(program)
    assert tape.stops[0].name == name
    assert tails(tape)


def test_an_exception_of_the_program_itself_stands_below_what_ran_last() -> None:
    tape = stopped(in_the_program)
    card = card_of_stop(tape)
    assert (tape.stops[0].name, card.title) == ("", "a line of the program")
    assert {c.title for c in tape.view.drawn.cards if c.id == card.after} == {"lt#4"}


# ---- what counts as one ----


def test_what_the_program_catches_and_goes_on_after_is_no_stop() -> None:
    def program() -> None:
        with suppress(RuntimeError):
            shapes_that_do_not_fit()
        torch.ones(3)

    assert stopped(program).stops == ()


def test_what_it_catches_and_does_nothing_after_is_one() -> None:
    def program() -> None:
        with suppress(RuntimeError):
            shapes_that_do_not_fit()

    tape = stopped(program)
    assert (tape.error, tape.stops[0].name) == (None, "matmul")
    assert "raised RuntimeError: mat1 and mat2" in tape.text()


def test_an_exception_that_follows_a_caught_one_is_where_it_stopped() -> None:
    def program() -> None:
        with suppress(RuntimeError):
            shapes_that_do_not_fit()
        raise KeyError("other")

    assert [(s.name, s.error) for s in stopped(program).stops] == [("", "KeyError: 'other'")]


def test_an_exception_that_was_raised_from_that_of_a_call_stopped_there() -> None:
    def program() -> None:
        try:
            shapes_that_do_not_fit()
        except RuntimeError as error:
            raise ValueError("no") from error

    tape = stopped(program)
    assert (tape.error, tape.stops[0].name) == ("ValueError: no", "matmul")


def test_a_run_that_came_to_its_end_has_none_and_its_file_is_as_before() -> None:
    with dbr.record() as tape:
        torch.ones(2) * 2
    assert tape.stops == ()
    assert "stops" not in json.loads(tape.json())


# ---- in every form ----


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_every_form_shows_it_as_the_last_thing(program: Callable[[], None]) -> None:
    tape = stopped(program)
    assert tape.text().splitlines()[-1].startswith("  ")
    assert "\nstop\n" in tape.text()
    assert dbr.load(tape.json()).trace == tape.trace
    card = card_of_stop(tape)
    assert 'class="card stop"' in tape.dot()
    assert f'data-c="{card.id}"' in tape.svg()
    last = step_entries(tape.view.trace, *tape.view.drawn[:2])[-1]
    assert last["c"] == [card.id]
    assert last["t"].startswith("Stopped in line ")
    assert tape.stops[0].error in last["t"]
    for page in (tape.html(), tape._repr_html_()):
        assert "Stopped in line" in page.partition("dbr-caption")[2].partition("</p>")[0]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_no_folding_hides_it(program: Callable[[], None]) -> None:
    class Whole(nn.Module):
        def forward(self) -> None:
            program()

    model = Whole()
    tape = stopped(model)
    ways = (tape, tape.fold(0), tape.fold(repeats=True), tape.unfolded(), tape.hide("unlinked"))
    for way in ways:
        card = card_of_stop(way)
        assert tails(way) or card.after or len(way.view.drawn.cards) == 1
        assert dbr.load(way.json()).trace == way.trace


def test_the_inside_of_a_folded_module_shows_it_too() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(5, 2)), nn.ReLU())
    x = torch.rand(1, 4)
    page = stopped(lambda: model(x)).fold(0).html()
    assert "stopped" in page.partition('class="dbr-inside"')[2]


def test_two_runs_that_stopped_in_one_call_share_the_card_and_others_have_their_own() -> None:
    def run(*shape: int) -> dbr.Tape:
        w = torch.ones(*shape, requires_grad=True)
        return stopped(lambda: (w * 2) @ torch.ones(5, 2))

    same = dbr.compare(run(2, 4), run(2, 3))
    assert [(s.side, s.other is None) for s in same.stops] == [("", False)]
    assert card_of_stop(same).values[-1].text == "A 2×4 · B 2×3, 5×2"
    alone = dbr.compare(run(2, 4), run(2, 5))
    assert [s.side for s in alone.stops] == ["A"]
    for both in (same, alone):
        assert dbr.load(both.json()).trace == both.trace
        assert "Stopped in line" in both.html()


# ---- nothing of the run is kept ----


@pytest.mark.parametrize("program", [changed_in_place, shapes_that_do_not_fit, in_the_program])
def test_a_tape_keeps_neither_the_exception_nor_a_tensor(program: Callable[[], None]) -> None:
    class Marked(Exception):
        pass

    kept: list[Any] = []

    def marked() -> None:
        big = torch.ones(5000)
        kept.append(ref(big))
        try:
            program()
        except Exception as error:
            raise Marked(str(error)) from error

    try:
        with dbr.record() as tape:
            marked()
    except Marked as error:
        kept.append(ref(error))
    gc.collect()
    assert [each() for each in kept] == [None, None]
    assert len(tape.stops) == 1
