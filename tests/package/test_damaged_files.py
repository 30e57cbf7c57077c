"""A damaged file is refused in one sentence, or it gives every output: it raises nothing else and hangs nothing."""

from __future__ import annotations

import contextlib
import copy
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import definebyrun as dbr
from definebyrun.trace import records
from definebyrun.trace.references import FIELDS, LISTS, Index, Moment, Plain

FILES = {
    file.stem: file.read_text("utf8")
    for file in sorted(Path(__file__).with_name("saved_0_1").glob("*.json"))
}
"""A training step, runs that were folded, rolled up, compared, stopped, differentiated twice, and a drawn graph."""


def stopped_backward() -> str:
    w = torch.ones(2, requires_grad=True)
    with contextlib.suppress(RuntimeError), dbr.record() as tape:
        y = w.exp()
        y.add_(1)
        y.sum().backward()
    return tape.json()


FILES["stopped_backward"] = stopped_backward()
SECONDS = 20
"""Nothing here takes a tenth of a second; a loop without end takes longer than this."""


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fails what takes longer, where the system has a timer."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def late(*_: object) -> None:
        raise AssertionError(f"this took more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def refused(file: dict[str, Any] | str) -> str:
    """The one sentence with which a file is refused."""
    with (
        within(SECONDS),
        pytest.raises(ValueError, match=r"^this (file is damaged|is no)") as error,
    ):
        dbr.load(file if isinstance(file, str) else json.dumps(file))
    assert "\n" not in str(error.value)
    return str(error.value)


def every_output(tape: dbr.Tape) -> None:
    for output in (tape.text, tape.json, tape.dot, tape.svg, tape.html, tape.table):
        output()
    repr(tape), tape._repr_html_(), repr(tape.table()), tape.table()._repr_html_()
    if not tape.sides:
        tape.memory().description()
        for folded in (tape.fold(0), tape.fold(0, repeats=True), tape.fold(repeats=True)):
            assert dbr.load(folded.json()).text() == folded.text()
            folded.html()


# ---- one field at a time, from what `references.py` says of it ----


def key_of(kind: Any, name: str) -> str:
    return next(f.metadata.get("key", f.name) for f in fields(kind) if f.name == name)


def first_of(kind: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A file with a record of a kind in it: its name, its content, and that record."""
    for name, text in FILES.items():
        file = json.loads(text)
        if kind is dbr.Saved:
            found = [saved for node in file["nodes"] for saved in node["saved"]]
        else:
            found = file.get(next(of for of, inside in LISTS.items() if inside is kind), [])
        if found:
            return name, file, found[0]
    raise AssertionError(f"no file has a {kind.__name__}")


BAD: list[tuple[Any, str, Any, int]] = []
for kind, known in FIELDS.items():
    for name, field in known.items():
        if isinstance(field, Plain):
            BAD.append((kind, name, field, field.least - 1))
        elif isinstance(field, (Index, Moment)):
            BAD.append((kind, name, field, -1))
            if field.of in LISTS:
                BAD.append((kind, name, field, 10**6))


@pytest.mark.parametrize(
    ("kind", "name", "field", "number"), BAD, ids=lambda part: getattr(part, "__name__", None)
)
def test_a_number_that_cannot_be_is_refused(kind: Any, name: str, field: Any, number: int) -> None:
    _, file, record = first_of(kind)
    key = key_of(kind, name)
    if isinstance(field, Index) and field.form == "each":
        record[key] = [number, *record.get(key, [])]
    elif isinstance(field, Index) and field.form == "first":
        value = {"shape": [], "dtype": "float32"}
        other = {"passed": value, "named": "mask"}.get(name, 1)
        record[key] = [[number, other], *record.get(key, [])]
    else:
        record[key] = number
    said = refused(file)
    assert key in said or name in said or "not numbered in order" in said


OWN = [
    (kind, name)
    for of, kind in LISTS.items()
    for name, field in FIELDS[kind].items()
    if isinstance(field, Index) and field.of == of and name != "index"
]


@pytest.mark.parametrize(("kind", "name"), OWN, ids=lambda part: getattr(part, "__name__", part))
def test_what_leads_to_itself_is_refused(kind: Any, name: str) -> None:
    _, file, record = first_of(kind)
    record[name] = record["index"]
    refused(file)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_blocks_and_calls_within_each_other_in_a_circle_are_refused(times: int) -> None:
    file = json.loads(FILES["rolled_up"])
    block = file["blocks"][0]
    file["blocks"] = [{**block, "index": i, "outer": (i + 1) % times} for i in range(times)]
    assert "lies within itself" in refused(file)
    file = json.loads(FILES["folded"])
    call = {"path": "m", "kind": "M"}
    file["calls"] += [
        {**call, "index": len(file["calls"]) + i, "outer": len(file["calls"]) + (i + 1) % times}
        for i in range(times)
    ]
    assert "cannot lie within" in refused(file)


# ---- records that contradict each other ----


CONTRADICTIONS: list[tuple[str, list[tuple[str, int, str, Any]], str]] = [
    ("drawn", [("tensors", 2, "node", None)], "cannot be the root of a drawn graph"),
    ("training_step", [("", 0, "root", 9)], "cannot be the root of a drawn graph"),
    ("drawn", [("edges", 3, "target", 0)], "its nodes form a cycle"),
    ("training_step", [("edges", 8, "target", 9)], "its nodes form a cycle"),
    ("drawn", [("edges", 2, "input_nr", 1)], "enters a leaf, which has one input"),
    ("training_step", [("tensors", 11, "origin", 10)], "cannot be a version of the leaf"),
    ("training_step", [("tensors", 11, "origin", 3)], "cannot be a version of the leaf"),
    ("training_step", [("tensors", 9, "origin", 0)], "cannot be a version of the leaf"),
    ("training_step", [("nodes", 0, "leaf", None)], "but one of them does not say so"),
    ("training_step", [("nodes", 0, "leaf", 2)], "but one of them does not say so"),
    ("training_step", [("tensors", 0, "node", 2)], "but one of them does not say so"),
    ("drawn", [("tensors", 0, "kind", "constant")], "is a constant and cannot have nodes[3]"),
    ("drawn", [("tensors", 2, "node", 3)], "is a result and cannot have nodes[3]"),
    ("training_step", [("nodes", 0, "op", 0)], "which no operation makes"),
    ("training_step", [("grads", 0, "tensor", 10)], "must speak of the first version of a leaf"),
    ("training_step", [("grads", 0, "tensor", 9)], "must speak of the first version of a leaf"),
    ("training_step", [("ops", 0, "factory", True)], "cannot be made by ops[0]"),
    ("second_order", [("nodes", 1, "op", 1)], "cannot be made by ops[1]"),
    ("training_step", [("ops", 1, "outputs", [])], "must be tensors that it made"),
    ("training_step", [("ops", 1, "outputs", [0])], "must be tensors that it made"),
    ("training_step", [("ops", 0, "inputs", [9])], "which was made later"),
    ("second_order", [("nodes", 2, "generation", 1)], "of a backward pass that did not run"),
    ("second_order", [("nodes", 2, "run", 7)], "of a backward pass that did not run"),
    ("training_step", [("ops", 0, "generation", 2)], "of a backward pass that did not run"),
    (
        "second_order",
        [("nodes", 2, "run", None), ("nodes", 2, "generation", 1)],
        "must say which backward pass made it",
    ),
    ("second_order", [("nodes", 2, "within", 3)], "cannot be made while nodes[3] ran"),
    ("training_step", [("steps", 0, "op", None)], "must name the operation that ran, and no node"),
    ("training_step", [("steps", 0, "node", 0)], "must name the operation that ran, and no node"),
    ("training_step", [("steps", 0, "freed", True)], "what only a backward step has"),
    ("training_step", [("steps", 0, "run", 1)], "what only a backward step has"),
    (
        "training_step",
        [("steps", 4, "node", None)],
        "must name the node that ran, and no operation",
    ),
    ("training_step", [("steps", 4, "op", 0)], "must name the node that ran, and no operation"),
    ("training_step", [("steps", 4, "node", 7)], "cannot pass a gradient along edges[8]"),
    ("training_step", [("steps", 1, "op", 0)], "must have run in one step"),
    ("training_step", [("steps", 0, "op", 1), ("steps", 1, "op", 0)], "must have run in one step"),
]


@pytest.mark.parametrize(("name", "changes", "words"), CONTRADICTIONS)
def test_records_that_contradict_each_other_are_refused(
    name: str, changes: list[tuple[str, int, str, Any]], words: str
) -> None:
    file = json.loads(FILES[name])
    for of, index, key, value in changes:
        record = file[of][index] if of else file
        assert key in record
        record[key] = value
    assert words in refused(file)


# ---- words, values, sides ----


WORDS = [
    ("tensors", "kind", "banana"),
    ("steps", "phase", "sideways"),
    ("ops", "during", "lunch"),
    ("ops", "side", "C"),
    ("nodes", "side", "a"),
    ("steps", "phase", ""),
    ("ops", "during", "forward"),
]


@pytest.mark.parametrize(("of", "key", "word"), WORDS)
def test_a_word_that_a_field_does_not_know_is_refused(of: str, key: str, word: str) -> None:
    file = json.loads(FILES["compared"])
    file[of][0][key] = word
    assert f"{of}.{key} cannot be {word!r}, but one of " in refused(file)


VALUES = [
    ({"shape": [2, 2], "dtype": "float32", "data": [1.0, 2.0, 3.0]}, "do not fill the shape"),
    ({"shape": [-1], "dtype": "float32"}, "cannot have the shape"),
    ({"shape": [2], "dtype": "float32", "data": [True, False]}, "does not hold bool"),
    ({"shape": [2], "dtype": "bool", "data": [1, 0]}, "does not hold int"),
    ({"shape": [1], "dtype": "int64", "data": [1.5]}, "does not hold float"),
    ({"shape": [1], "dtype": "int64", "data": [[1.5, 0.0]]}, "does not hold complex"),
    ({"shape": [2], "dtype": "complex64", "data": [[1.5, 0.0], 1.5]}, "does not hold float"),
    ({"shape": [1], "dtype": "float32", "data": ["one"]}, "cannot be 'one'"),
    ({"shape": [1], "dtype": "<b>", "data": [1.0]}, "is no dtype"),
    ({"shape": [9], "dtype": "float32", "low": 2.0, "high": 1.0}, "cannot go from 2.0 to 1.0"),
    ({"shape": [9], "dtype": "float32", "low": 2.0}, "cannot go from 2.0 to None"),
    ({"shape": [1], "dtype": "float32", "data": [1.0], "low": 1.0, "high": 1.0}, "not both"),
    ({"shape": [2**65], "dtype": "float32"}, "more than 64 bits"),
]


@pytest.mark.parametrize(("value", "words"), VALUES)
def test_a_value_that_no_tensor_has_is_refused_wherever_it_stands(
    value: dict[str, Any], words: str
) -> None:
    places: list[Callable[[dict[str, Any]], Any]] = [
        lambda file: file["tensors"][0].update(value=value),
        lambda file: file["nodes"][1].update(grad=value),
        lambda file: file["steps"][-1].update(received=[value]),
        lambda file: next(s for s in file["steps"] if s["passed"])["passed"][0].__setitem__(
            1, value
        ),
    ]
    for put in places:
        file = json.loads(FILES["second_order"])
        put(file)
        assert words in refused(file)


@pytest.mark.parametrize(
    "value",
    [
        {"shape": [2], "dtype": "float32", "data": [1, "nan"]},
        {"shape": [], "dtype": "uint64", "data": [2**64 - 1]},
        {"shape": [0, 3], "dtype": "int64", "data": []},
        {"shape": [9], "dtype": "float4_e2m1fn_x2", "low": "nan", "high": "nan"},
        {"shape": [9], "dtype": "float32", "low": "-inf", "high": 0},
        {"shape": [10**9] * 9, "dtype": "float32"},
        {"shape": [1], "dtype": "complex128", "data": [["nan", "-inf"]]},
        {"shape": [1], "dtype": "float32", "data": None, "low": None, "high": None},
    ],
    ids=lambda value: value["dtype"],
)
def test_every_value_that_a_tensor_can_have_is_taken(value: dict[str, Any]) -> None:
    file = json.loads(FILES["stopped"])
    file["tensors"][0]["value"] = value
    every_output(dbr.load(json.dumps(file)))


def test_sides_that_a_comparison_cannot_have_are_refused() -> None:
    single, both = (json.loads(FILES[name]) for name in ("stopped", "compared"))
    for sides in (["A"], ["A", "A"], ["A", " "], ["A", "B", "C"]):
        assert "sides must be" in refused({**both, "sides": sides})
    refused({**both, "sides": []})
    marked = copy.deepcopy(single)
    marked["ops"][0]["side"] = "A"
    assert "of one run, and this is no comparison" in refused(marked)
    alone = copy.deepcopy(single)
    alone["ops"][0]["other"] = copy.deepcopy(single["ops"][0])
    assert "another side" in refused(alone)
    inside = copy.deepcopy(both)
    part = next(op for op in inside["steps"] if op["other"])
    part["other"]["other"] = copy.deepcopy(part["other"])
    assert "another side" in refused(inside)


def test_one_run_of_a_comparison_cannot_speak_of_the_other() -> None:
    file = json.loads(FILES["compared"])
    only_a = next(op for op in file["ops"] if op["side"] == "A")
    only_b = next(op for op in file["ops"] if op["side"] == "B")
    only_a["inputs"], only_a["args"] = only_b["outputs"], only_b["outputs"]
    assert "which only the other run has" in refused(file)


# ---- JSON itself ----


def test_text_that_is_hardly_json_gets_one_sentence() -> None:
    good = FILES["drawn"].replace('"root": 2', '"root": 0')
    deep: dict[str, Any] = json.loads(FILES["compared"])
    part = next(step for step in deep["steps"] if step["other"])["other"]
    for text, words in [
        (good.replace('"root": 0', '"root": ' + "9" * 5000), "not JSON"),
        (good.replace('"root": 0', '"root": 1e400'), "root cannot be 'inf'"),
        (good.replace('"root": 0', '"root": 0, "root": 0'), "has the part 'root' twice"),
        (good.replace('"dtype"', '"shape": [], "dtype"', 1), "has the part 'shape' twice"),
        (good.replace('"error": null', '"error": "\\ud800"'), "cannot be half of a character"),
        ('{"a":' * 100_000, "not JSON"),
        (good[: len(good) // 2], "not JSON"),
        (json.dumps({**json.loads(good), "skippable": "root"}), "skippable"),
    ]:
        assert words in refused(text)
    for _ in range(300):
        part["other"] = {**part, "other": None}
        part = part["other"]
    refused(json.dumps(deep))


# ---- real files, changed anywhere ----


WORDS_THAT_MATTER = [
    *("", "a", "leaf", "constant", "result", "forward", "backward", "recompute", "A", "B", "grad"),
    *("AddBackward0", "SGD.step", "torch::autograd::AccumulateGrad", "float32", "bool", "nan"),
    *("<script>", "\n", "a.b", "é\u2028", ", ", "(", ") = "),
]
FRESH = st.one_of(
    st.integers(-2, 12),
    st.sampled_from([None, True, False, [], {}, "nan", "inf", 0.5, 1e308, 2**40, 2**64]),
    st.sampled_from(WORDS_THAT_MATTER),
)
Path_ = tuple[str | int, ...]


def paths(part: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The way to every part of a file."""
    if path:
        yield path
    inside = (
        part.items()
        if isinstance(part, dict)
        else enumerate(part)
        if isinstance(part, list)
        else ()
    )
    for key, inner in inside:
        yield from paths(inner, (*path, key))


def at(file: Any, path: Path_) -> Any:
    for key in path:
        file = file[key]
    return file


@st.composite
def changed_files(draw: st.DrawFn) -> str:
    """A real file in which parts are dropped, replaced, doubled or exchanged; every key is as likely as any other."""
    file = json.loads(FILES[draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw(st.integers(1, 3))):
        by_key: dict[tuple[str, ...], list[Path_]] = {}
        for path in paths(file):
            by_key.setdefault(tuple(k for k in path if isinstance(k, str)), []).append(path)
        path = draw(st.sampled_from(by_key[draw(st.sampled_from(sorted(by_key)))]))
        parent, key = at(file, path[:-1]), path[-1]
        change = draw(st.sampled_from(["replace", "nudge", "drop", "double", "exchange"]))
        if change == "nudge" and type(parent[key]) is int:
            parent[key] += draw(st.sampled_from([-1, 1]))
        elif change == "drop":
            del parent[key]
        elif change == "double" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif change == "exchange":
            alike = [
                other
                for other in paths(file)
                if other[-1] == key or type(at(file, other)) is type(parent[key])
            ]
            other = draw(st.sampled_from(alike))
            if other[: len(path)] != path and path[: len(other)] != other:
                there = at(file, other[:-1])
                parent[key], there[other[-1]] = there[other[-1]], parent[key]
        else:
            parent[key] = draw(FRESH)
    return json.dumps(file)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=changed_files())
def test_a_changed_file_is_refused_or_gives_every_output(text: str) -> None:
    with within(SECONDS):
        try:
            tape = dbr.load(text)
        except ValueError as error:
            said = str(error)
        else:
            every_output(tape)
            return
    assert said.startswith(("this file is damaged: ", "this is no ", "this definebyrun"))
    assert "\n" not in said


def test_an_operation_outside_of_blocks_cannot_have_run_several_times() -> None:
    _, file, record = first_of(records.Op)
    assert record.get("block") is None
    record["times"] = 2
    assert refused(file) == (
        f"this file is damaged: ops[{record['index']}] cannot stand for 2 repetitions outside of a block"
    )


def test_a_rolled_up_graph_that_was_saved_is_rolled_up() -> None:
    import torch

    x = torch.ones(2, requires_grad=True)
    h = x
    for _ in range(12):
        h = torch.tanh(h * x)
    small = dbr.draw(h).fold(repeats=True)
    again = dbr.load(small.json())
    assert again.fold(repeats=True).text() == small.text()
    assert again.fold(0).svg() == small.svg()


@pytest.mark.parametrize(
    ("name", "of", "key", "value"),
    [("training_step", "edges", "slot", 9), ("second_order", "ops", "inputs", [])],
)
def test_a_rule_for_operands_that_a_call_has_not_is_no_rule(
    name: str, of: str, key: str, value: Any
) -> None:
    file = json.loads(FILES[name])
    for record in file[of]:
        record[key] = value
    every_output(dbr.load(json.dumps(file)))
