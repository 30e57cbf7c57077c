"""A trace can be written as JSON and read again: exactly, in strict JSON, with clear words for other files."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import definebyrun as dbr
from definebyrun.trace import Trace
from tests.programs import EVERYDAY, OPS


def strict(text: str) -> Any:
    """JSON as a strict reader takes it: no `NaN`, no `Infinity`."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def same(tape: dbr.Tape) -> None:
    text = tape.json()
    strict(text)
    back = dbr.load(text)
    assert repr(back.trace) == repr(tape.trace)  # as text, because nan is not equal to itself
    assert back.json() == text
    assert back.text() == tape.text()
    assert back.dot() == tape.dot()


@settings(max_examples=60, deadline=None)
@given(
    program=st.lists(
        st.tuples(st.integers(0, len(OPS) - 1), st.integers(0, 99), st.integers(0, 99)),
        max_size=8,
    ),
    numbers=st.lists(
        st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=4, max_size=4
    ),
    backward=st.booleans(),
)
def test_a_random_program_comes_back_exactly(
    program: list[tuple[int, int, int]], numbers: list[float], backward: bool
) -> None:
    pool = [torch.tensor(numbers).reshape(2, 2).requires_grad_(), torch.ones(2, 2)]
    with dbr.record() as tape:
        for which, i, j in program:
            pool.append(OPS[which](pool[i % len(pool)], pool[j % len(pool)]))
        loss = torch.stack(pool).sum()
        if backward:
            loss.backward()
    same(tape)


@pytest.mark.parametrize("run", EVERYDAY, ids=lambda run: run.__name__)
def test_what_people_use_comes_back_exactly(run: Any) -> None:
    torch.manual_seed(0)
    with dbr.record() as tape:
        run()
    same(tape)


def test_every_kind_of_number_comes_back_as_what_it_was() -> None:
    with dbr.record() as tape:
        torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 5e-324], dtype=torch.float64)
        torch.tensor([complex(float("nan"), -0.0), 1j])
        torch.tensor([2**63 - 1, -(2**63)])
        torch.tensor([True, False])
        torch.tensor([])
        torch.zeros(0, 3)
        torch.linspace(0, 1, 100_000)
    same(tape)
    values = [t["value"]["data"] for t in strict(tape.json())["tensors"]]
    assert values[0] == ["nan", "inf", "-inf", -0.0, 5e-324]
    assert values[1] == [["nan", -0.0], [0.0, 1.0]]
    assert values[4] == values[5] == []
    kinds = [[type(n) for n in t.value.data or ()] for t in dbr.load(tape.json()).tensors]
    assert kinds[0] == [float] * 5
    assert kinds[1] == [complex] * 2
    assert kinds[2:4] == [[int] * 2, [bool] * 2]


def test_graphs_empty_and_broken_runs_come_back() -> None:
    with dbr.record() as empty:
        pass
    same(empty)
    same(dbr.draw(nn.Linear(2, 2)(torch.ones(1, 2)).sum()))
    with contextlib.suppress(RuntimeError), dbr.record() as broken:
        torch.ones(2) @ torch.ones(3)
    same(broken)
    assert dbr.load(broken.json()).error.startswith("RuntimeError: ")


def test_a_message_that_cannot_be_written_to_a_file_is_spelled_out() -> None:
    with contextlib.suppress(FileNotFoundError), dbr.record() as broken:
        torch.ones(2) * 2
        raise FileNotFoundError(os.fsdecode(b"caf\xe9.pt"))
    assert broken.error == r"FileNotFoundError: caf\udce9.pt"
    same(broken)
    broken.html().encode()


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    with dbr.record() as tape:
        torch.ones(2) * 2
    file = tmp_path / "run.json"
    file.write_text(tape.json(), "utf8")
    assert dbr.load(file).trace == tape.trace
    assert dbr.load(str(file)).trace == tape.trace


def test_the_first_words_of_a_file_say_what_it_is() -> None:
    assert Trace().json().startswith('{"format": "definebyrun trace", "version": 3, "tensors": []')


GOOD = json.loads(dbr.draw(torch.ones(1, requires_grad=True) * 2).json())


def changed(**parts: Any) -> str:
    return json.dumps({**GOOD, **parts})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no definebyrun trace: the text is not JSON"),
        ("[" * 100_000, "the text is not JSON"),
        ('{"a": NaN}', "the text is not JSON"),
        ("{}", "no definebyrun trace"),
        ("[]", "no definebyrun trace"),
        (changed(version="1"), "it has no version number"),
        (changed(version=4), "has version 4, and this package reads up to 3: install a newer"),
        (changed(tensors=None), "definebyrun trace.tensors cannot be 'None'"),
        (changed(root="first"), "root cannot be 'first'"),
        (changed(colour="red"), "a part 'colour' that is not known"),
        (changed(nodes=[{"name": "x"}]), "nodes has no 'index'"),
        (changed(nodes=GOOD["nodes"][::-1]), "its nodes are not numbered in order"),
        (changed(root=77), r"tensors\[77\], which it does not hold"),
    ],
)
def test_what_is_no_trace_gets_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        dbr.load(text)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_gets_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file 'nowhere'"):
        dbr.load("nowhere")
    with pytest.raises(FileNotFoundError, match="load takes its path, or the text"):
        dbr.load("x" * 5000)
    with pytest.raises(TypeError, match="not int"):
        dbr.load(3)
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\xff")
    with pytest.raises(ValueError, match="it is not text"):
        dbr.load(picture)
    with pytest.raises(IsADirectoryError):
        dbr.load(tmp_path)


# ---- files of version 0.1 ----

OLD = sorted(Path(__file__).with_name("saved_0_1").glob("*.json"))
"""Traces that version 0.1 saved, and beside each the text that it gave for them."""


@pytest.mark.parametrize("file", OLD, ids=lambda file: file.stem)
def test_a_file_of_version_0_1_loads_and_says_what_it_said_then(file: Path) -> None:
    tape = dbr.load(file)
    assert tape.text() + "\n" == file.with_suffix(".txt").read_text("utf8")
    assert tape.json() + "\n" == file.read_text("utf8")


# ---- files of later versions ----


def test_a_part_that_a_later_version_adds_is_left_out_where_the_file_allows_it() -> None:
    later = json.loads(changed(optimizers=[{"lr": 0.1}]))
    later["nodes"][0]["nans"] = 3
    with pytest.raises(ValueError, match="a part 'nans' that is not known"):
        dbr.load(json.dumps({**later, "skippable": ["optimizers"]}))
    tape = dbr.load(json.dumps({**later, "skippable": ["optimizers", "nans"]}))
    assert tape.json() == json.dumps(GOOD)


def test_a_known_part_is_read_also_where_it_is_named_as_one_to_leave_out() -> None:
    assert dbr.load(changed(skippable=["nodes", "name"])).json() == json.dumps(GOOD)
