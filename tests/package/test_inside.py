"""The insides of folded modules, laid out beforehand for a page to open: what is in them, their steps, their bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from torch import nn

import definebyrun as dbr
from definebyrun import inside
from definebyrun.inside import insides
from definebyrun.player import Inside
from definebyrun.text.compared import sentences


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.out(torch.relu(self.fc(x)))


class Net(nn.Module):
    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(x).tanh())


def run(blocks: int = 2) -> dbr.Tape:
    torch.manual_seed(0)
    net, x = Net(blocks), torch.randn(3, 4)
    with dbr.record() as tape:
        loss = net(x).square().mean()
        loss.backward()
    return tape


def made(tape: dbr.Tape, steps: bool = True) -> list[Inside]:
    return insides(run_of(tape), tape.view.trace, tape.view.drawn.cards, steps=steps)


def run_of(tape: dbr.Tape) -> Any:
    return tape.unfolded().trace


def titles(svg: str) -> list[str]:
    return re.findall(r'font-weight="700">([^<]*)</text>', svg)


def ways(found: list[Inside]) -> list[str]:
    """The way to each inside, as the breadcrumb shows it."""
    said: list[str] = []
    for each in found:
        said.append(("" if each.parent is None else said[each.parent] + " › ") + each.title)
    return said


def test_every_folded_card_opens_and_so_do_those_within_it() -> None:
    assert ways(made(run().fold(0)))[:4] == [
        "net (Net)",
        "net (Net) › net.blocks (Sequential)",
        "net (Net) › net.head (Linear)",
        "net (Net) › net.blocks (Sequential) › net.blocks.0 (Block)",
    ]
    assert (
        "net (Net) › net.blocks (Sequential) › net.blocks.1 (Block) › net.blocks.1.out (Linear)"
        in ways(made(run().fold(0)))
    )


def test_an_inside_holds_what_ran_in_the_call_and_what_it_read() -> None:
    tape = run().fold("net.blocks.1")
    (block, *_) = made(tape)
    assert block.title == "net.blocks.1 (Block)"
    assert titles(block.svg) == [
        "x = net.blocks.0",
        "net.blocks.1.fc#2",
        "relu#3",
        "net.blocks.1.out#4",
        "add#5",
    ]


def test_values_and_gradients_of_an_inside_are_those_of_the_run() -> None:
    tape = run()
    (_, head) = [i for i in made(tape.fold(1), steps=False) if i.parent is None]
    whole = tape.unfolded().svg()
    for row in re.findall(r">(\.?grad [^<]*)</text>", head.svg):
        assert f">{row}</text>" in whole


def test_a_whole_picture_and_a_comparison_have_none() -> None:
    whole = run().unfolded()
    assert made(whole) == []
    both = dbr.compare(run(), run())
    assert insides(both.trace, both.view.trace, both.view.drawn.cards, steps=False) == []
    assert 'class="dbr-inside"' not in whole._repr_html_()
    assert "open" not in re.findall(r"<script>.*?</script>", whole._repr_html_(), re.DOTALL)[0]


def test_a_picture_folded_unasked_opens_too() -> None:
    tape = run().arrange(width=300)
    assert [op.module for op in tape.view.trace.ops if op.module]
    assert 'class="dbr-inside"' in tape._repr_html_()


def test_steps_of_an_inside_are_those_that_light_a_card_of_it() -> None:
    tape = run().fold(1)
    for each in made(tape):
        ids = set(re.findall(r'data-c="(\w+)"', each.svg))
        links = set(re.findall(r'data-e="(\w+)"', each.svg))
        assert each.entries[0]["t"].startswith(f"Start of {each.title}. ")
        assert len(each.entries) > 2
        for entry in each.entries[1:]:
            assert entry["c"]
            assert set(entry["c"]) <= ids
            assert set(entry["e"]) <= links
            assert 0 <= entry["h"] <= 1


def test_sentences_of_an_inside_are_sentences_of_the_run() -> None:
    from definebyrun.inside import _with_open

    tape = run().fold(1)
    (blocks, head) = [each for each in made(tape) if each.parent is None]
    opened = _with_open(
        run_of(tape), {tape.view.trace.ops[i].call for i in range(len(tape.ops))} - {None}
    )
    said = [*sentences(opened)]
    for each in (blocks, head):
        assert [entry["t"] for entry in each.entries[1:]] == [
            text for text in said if text in {entry["t"] for entry in each.entries}
        ]


def test_what_a_card_of_an_inside_shows_is_numbered_by_its_own_steps() -> None:
    for each in made(run().fold(1)):
        last = len(each.entries) - 1
        for key in "fb":
            numbers = [int(n) for n in re.findall(f' data-{key}="(\\d+)"', each.svg)]
            assert numbers
            assert all(0 <= number <= last + 1 for number in numbers)
        born = dict(re.findall(r'data-c="(\w+)" data-b="(\d+)"', each.svg))
        for card, step in born.items():
            if 0 < int(step) <= last:
                assert card in each.entries[int(step)]["c"]


def test_a_still_picture_carries_no_steps() -> None:
    tape = run().fold(1)
    assert all(not each.entries for each in made(tape, steps=False))
    assert "dbr-inside-steps" not in tape._repr_html_()
    html = tape.html()
    found = re.findall(r'class="dbr-inside-steps">(.*?)</script>', html, re.DOTALL)
    assert [json.loads(each) for each in found] == [
        json.loads(json.dumps(each.entries)) for each in made(tape)
    ]


def test_bytes_and_numbers_of_insides_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = run(blocks=6).fold(0)
    every = made(tape)
    assert sum(each.nbytes for each in every) <= inside.MAX_INSIDE_BYTES
    assert len(every) <= inside.MAX_INSIDES
    monkeypatch.setattr(inside, "MAX_INSIDE_BYTES", every[0].nbytes + every[1].nbytes)
    assert [each.title for each in made(tape)] == [each.title for each in every[:2]]
    monkeypatch.setattr(inside, "MAX_INSIDE_BYTES", 0)
    assert 'class="dbr-inside"' not in tape.html()
    monkeypatch.undo()
    monkeypatch.setattr(inside, "MAX_INSIDES", 1)
    assert len(made(tape)) == 1


def test_an_inside_with_too_many_cards_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "MAX_CARDS_INSIDE", 3)
    assert "net.blocks.1 (Block)" not in [each.title for each in made(run().fold(1))]


def test_without_scripts_a_folded_picture_is_as_before() -> None:
    tape = run().fold(1)
    for html in (tape._repr_html_(), tape.html()):
        bare = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
        assert bare.count("<svg class") + bare.count("<svg style") == 1
        assert re.findall(r'hidden="1"', bare)
        assert "net.blocks.1.fc" not in re.sub(r"<(pre|li|ol) .*?</\1>", "", bare, flags=re.DOTALL)


def test_a_hostile_name_stays_words() -> None:
    tape = run().rename({"net": "</script><b>x"}).fold(1)
    for html in (tape._repr_html_(), tape.html()):
        assert "<b>x" not in html
        opened = re.findall(r'class="dbr-inside" [^>]*>(.*?)</script>', html, re.DOTALL)
        assert len(opened) == len(made(tape))
        assert all(svg.endswith("</svg>") for svg in opened)
