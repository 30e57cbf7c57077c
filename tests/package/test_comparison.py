"""A comparison tells the truth about two runs: what both did, what only one did, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import definebyrun as dbr
from definebyrun.cards.build import count_cards
from definebyrun.cards.compared import build_cards
from definebyrun.cards.picture import picture_cards
from definebyrun.comparison.sequences import longest_common_subsequence
from definebyrun.comparison.split import half
from definebyrun.comparison.word_diff import word_diff
from definebyrun.text.compared import bytes_in_words, bytes_kept, legend, sentences
from definebyrun.trace import Trace
from tests.programs import EVERYDAY, OPS, labels
from tests.work import calls
from tools import ROOT


def run(code: Any, *given: Any, backward: bool = True) -> dbr.Tape:
    with dbr.record() as tape:
        loss = code(*given).sum()
        if backward:
            loss.backward()
    return tape


def names(tape: dbr.Tape, side: str) -> list[str]:
    return [op.name for op in tape.ops if op.side == side]


# ---- nothing is lost ----


def without_numbers(trace: Trace) -> tuple[Any, ...]:
    """A trace without what a comparison may count anew: steps, storages, pieces of code, lines, calls of modules."""
    return (
        tuple(replace(tensor, since=0, owners=()) for tensor in trace.tensors),
        tuple(replace(op, stack=(), line=None, call=None) for op in trace.ops),
        tuple(
            replace(node, saved=tuple(replace(s, storage=0) for s in node.saved))
            for node in trace.nodes
        ),
        trace.edges,
        tuple(replace(step, index=0, stack=()) for step in trace.steps),
        tuple(sorted((c.tensor, repr(c.value)) for c in trace.grads)),
    )


def graph_of(trace: Trace) -> Counter[str]:
    """Every node as a label that holds all below it, its gradient and what it keeps: equal for equal graphs."""
    slots: dict[int, list[tuple[int, int]]] = {}
    for edge in sorted(trace.edges, key=lambda edge: (edge.source, edge.slot)):
        slots.setdefault(edge.source, []).append((edge.target, edge.input_nr))
    flows = {(e.source, i): e.grad for e in trace.edges for i in [e.slot]}

    def name_of(index: int) -> str:
        node = trace.nodes[index]
        leaf = None if node.leaf is None else trace.tensors[node.leaf]
        made = None if node.op is None else (trace.ops[node.op].name, trace.ops[node.op].code)
        own = [(slot, grad) for (source, slot), grad in flows.items() if source == index]
        value = leaf and (leaf.name, leaf.value)
        return repr(
            (node.name, node.order, node.grad, [s.name for s in node.saved], made, value, own)
        )

    total: Counter[str] = Counter()
    entered = {edge.target for edge in trace.edges}
    for node in trace.nodes:
        if node.index not in entered:
            total += labels(node.index, name_of, lambda index: slots.get(index, []))
    return total


def facts_of(trace: Trace) -> Counter[str]:
    """What ran, with all its numbers, in no order."""
    ops = [
        repr((op.name, op.code, op.scope, op.inplace, op.grad_enabled))
        + repr([trace.tensors[i].value for i in (*op.inputs, *op.outputs)])
        for op in trace.ops
    ]
    steps = [
        repr((s.phase, s.received, [v for _, v in s.passed], s.before, s.after, s.pass_nr, s.freed))
        for s in trace.steps
    ]
    tensors = [repr((t.name, t.kind, t.value, t.output_nr)) for t in trace.tensors]
    return Counter([*ops, *steps, *tensors])


def nothing_is_lost(a: dbr.Tape, b: dbr.Tape) -> dbr.Tape:
    both = dbr.compare(a, b)
    for part in ("tensors", "ops", "nodes", "edges", "steps"):
        sides = Counter(p.side for p in getattr(both, part))
        assert sides[""] + sides["A"] == len(getattr(a, part))
        assert sides[""] + sides["B"] == len(getattr(b, part))
        if part != "steps":
            assert [p.index for p in getattr(both, part)] == list(range(len(getattr(both, part))))
    assert repr(without_numbers(half(both.trace, "A").trace)) == repr(without_numbers(a.trace))
    seen = half(both.trace, "B").trace
    assert graph_of(seen) == graph_of(b.trace)
    assert facts_of(seen) == facts_of(b.trace)
    steps = [step.index for step in both.steps]
    assert steps == list(range(len(steps)))
    ways = [(edge.source, edge.slot) for edge in both.edges]
    assert ways == sorted(ways)
    made = {i: op.index for op in both.ops for i in op.outputs}
    for op in both.ops:  # nothing is drawn before what it is made from
        for i in (*op.inputs, *(op.other.inputs if op.other else ())):
            assert made.get(i, -1) <= op.index or op.side != "A"
    return both


def program(
    steps: list[tuple[int, int, int, int]], turns: list[bool], start: torch.Tensor, w: torch.Tensor
) -> torch.Tensor:
    pool = [start, w]
    for (yes, no, i, j), turn in zip(steps, turns, strict=False):
        one, other = pool[i % len(pool)], pool[j % len(pool)]
        if turn:
            pool.append(OPS[yes](one, other))
        else:
            pool.append(OPS[no](one, other))
            pool.append(pool[-1] * 2)
    return torch.stack(pool)


which = st.integers(0, len(OPS) - 1)
place = st.integers(0, 99)
turns = st.lists(st.booleans(), max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(st.tuples(which, which, place, place), min_size=8, max_size=8),
    first=turns,
    second=turns,
    backward=st.tuples(st.booleans(), st.booleans()),
)
def test_every_part_of_two_random_runs_is_in_their_comparison_once(
    steps: list[tuple[int, int, int, int]],
    first: list[bool],
    second: list[bool],
    backward: tuple[bool, bool],
) -> None:
    torch.manual_seed(0)
    w, start = torch.randn(2, 2, requires_grad=True), torch.randn(2, 2)
    tapes = []
    for order, choices in zip(backward, (first, second), strict=True):
        w.grad = None
        tapes.append(run(program, steps, choices, start, w, backward=order))
    both = nothing_is_lost(*tapes)
    assert dbr.load(both.json()).json() == both.json()
    cards, links = build_cards(both.trace)
    assert sorted({link.edge for link in links} - {None}) == [edge.index for edge in both.edges]
    assert {card.node for card in cards} - {None} == {node.index for node in both.nodes}
    for link in links:
        assert link.edge is None or link.side == both.edges[link.edge].side
    if first == second and backward[0] == backward[1]:
        assert {p.side for p in (*both.ops, *both.nodes, *both.edges, *both.steps)} <= {""}


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(which, which, place, place), min_size=8, max_size=8),
    first=turns,
    second=turns,
)
def test_every_part_of_two_drawn_graphs_is_in_their_comparison_once(
    steps: list[tuple[int, int, int, int]], first: list[bool], second: list[bool]
) -> None:
    w, start = torch.ones(2, 2, requires_grad=True), torch.eye(2)
    drawn = [dbr.draw(program(steps, turns, start, w)) for turns in (first, second)]
    both = nothing_is_lost(*drawn)
    if first == second:
        assert {part.side for part in (*both.nodes, *both.edges)} == {""}


@pytest.mark.parametrize("code", EVERYDAY, ids=lambda code: code.__name__)
def test_what_people_use_is_equal_to_itself_and_can_be_compared_with_other_code(code: Any) -> None:
    def tape_of(code: Any) -> dbr.Tape:
        torch.manual_seed(0)
        with dbr.record() as tape:
            code()
        return tape

    same = nothing_is_lost(tape_of(code), tape_of(code))
    for part in ("tensors", "ops", "nodes", "edges", "steps"):
        assert {p.side for p in getattr(same, part)} == {""}
    other = nothing_is_lost(tape_of(code), tape_of(EVERYDAY[0]))
    assert "<svg" in other.html()


# ---- what both did, what one did ----


W = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)


@pytest.fixture(autouse=True)
def fresh() -> None:
    W.grad = None


def choose(x: torch.Tensor) -> torch.Tensor:
    y = x * W
    positive = y.sum() > 0
    h = torch.relu(y) if positive else (-y).exp()
    return (h * W).sum()


def test_a_branch_parts_the_runs_and_they_meet_again() -> None:
    both = nothing_is_lost(
        run(choose, torch.tensor([1.0, -2.0, 3.0])), run(choose, torch.tensor([-1.0, 2.0, -3.0]))
    )
    assert names(both, "") == ["mul", "sum", "gt", "mul", "sum", "sum"]
    assert names(both, "A") == ["relu"]
    assert names(both, "B") == ["neg", "exp"]
    short = [(both.nodes[e.source].name, both.nodes[e.target].name, e.side) for e in both.edges]
    assert ("MulBackward0", "ReluBackward0", "A") in short
    assert ("MulBackward0", "ExpBackward0", "B") in short
    steps = [s.side or "." for s in both.steps if s.phase == "forward"]
    assert "".join(steps) == "...ABB..."
    backward = [s.side or "." for s in both.steps if s.phase == "backward"]
    assert "".join(backward) == "...ABB.."
    leaf = both.nodes[next(t.node for t in both.leaves if t.name == "W")]
    assert leaf.grad.tolist() == [1.0, 0.0, 12.0]
    assert leaf.other.grad.tolist() != leaf.grad.tolist()


def loop(rounds: int) -> torch.Tensor:
    h = torch.ones(3)
    for _ in range(rounds):
        h = torch.tanh(h * W)
    return h.sum()


def test_a_longer_loop_has_more_rounds_at_its_end() -> None:
    both = nothing_is_lost(run(loop, 3), run(loop, 5))
    assert names(both, "") == ["ones", *["mul", "tanh"] * 3, "sum", "sum"]
    assert names(both, "A") == []
    assert names(both, "B") == ["mul", "tanh"] * 2
    sides = [op.side for op in both.ops]
    assert sides == [""] * 7 + ["B"] * 4 + [""] * 2
    total = next(op for op in both.ops if op.name == "sum")
    assert total.inputs != total.other.inputs


def test_a_loop_after_something_else_is_still_paired_from_its_first_round() -> None:
    def begin(other: bool, rounds: int) -> torch.Tensor:
        h = W.exp() if other else W.sin()
        for _ in range(rounds):
            h = torch.tanh(h)
        return h

    both = nothing_is_lost(run(begin, True, 2), run(begin, False, 4))
    assert [(op.name, op.side) for op in both.ops[:6]] == [
        ("exp", "A"),
        ("sin", "B"),
        ("tanh", ""),
        ("tanh", ""),
        ("tanh", "B"),
        ("tanh", "B"),
    ]


def test_an_early_exit_leaves_the_rest_to_the_other_run() -> None:
    def until(limit: float) -> torch.Tensor:
        h = W
        for _ in range(6):
            h = h * 2
            if h.sum() > limit:
                return h.relu()
        return h.tanh()

    both = nothing_is_lost(run(until, 10.0), run(until, 1e9))
    assert names(both, "A") == ["relu"]
    assert names(both, "B") == ["mul", "sum", "gt"] * 4 + ["tanh"]


def test_a_skipped_round_does_not_shift_the_rounds_after_it() -> None:
    def noisy(skip: bool) -> torch.Tensor:
        h = W
        for k in range(3):
            if k != 1 or not skip:
                h = h + torch.rand(3)
            h = h * W
        return h

    both = nothing_is_lost(run(noisy, True), run(noisy, False))
    assert names(both, "A") == []
    assert names(both, "B") == ["rand", "add"]
    assert [op.name for op in both.ops if op.side == "B" or op.other][:2] == ["rand", "add"]


def deep(depth: int, h: torch.Tensor) -> torch.Tensor:
    if depth == 0:
        return h
    inner = deep(depth - 1, h * W)
    return torch.tanh(inner)


def test_recursion_of_another_depth_is_paired_level_by_level() -> None:
    both = nothing_is_lost(run(deep, 2, W), run(deep, 4, W))
    assert [(op.name, op.side) for op in both.ops[:-1]] == [
        *[("mul", "")] * 2,
        *[("mul", "B")] * 2,
        *[("tanh", "B")] * 2,
        *[("tanh", "")] * 2,
    ]


Tree = int | tuple[Any, Any]


def fold(tree: Tree, words: torch.Tensor) -> torch.Tensor:
    if isinstance(tree, int):
        return words[tree]
    left = fold(tree[0], words)
    right = fold(tree[1], words)
    return torch.tanh(left * 2 + right)


def test_trees_are_paired_by_the_place_of_each_node() -> None:
    words = torch.eye(4, requires_grad=True)
    both = nothing_is_lost(run(fold, ((0, 1), 2), words), run(fold, ((0, 1), (2, 3)), words))
    assert Counter(names(both, "A")) == {"getitem": 1}  # words[2], read at the root's right hand
    assert Counter(names(both, "B")) == {"getitem": 2, "mul": 1, "add": 1, "tanh": 1}
    assert Counter(names(both, ""))["tanh"] == 2


def test_the_same_branches_in_another_order_are_the_same() -> None:
    def both_ways(first: str) -> torch.Tensor:
        parts = {}
        for way in (first, "rl".replace(first, "")):
            if way == "r":
                parts[way] = (W * 3).relu()
            else:
                parts[way] = (W * 4).log()
        return parts["r"] + parts["l"]

    both = nothing_is_lost(run(both_ways, "r"), run(both_ways, "l"))
    assert {part.side for part in (*both.ops, *both.nodes, *both.edges)} == {""}

    def one_line(order: list[torch.Tensor]) -> list[torch.Tensor]:
        return [torch.tanh(tensor) * 2 for tensor in order]

    u = torch.ones(3, requires_grad=True)
    with dbr.record() as a:
        parts = one_line([u, W])
    with dbr.record() as b:
        parts = one_line([W, u])
    assert len(parts) == 2
    assert {part.side for part in nothing_is_lost(a, b).nodes} == {""}


def test_identical_runs_have_no_sides_and_equal_texts_stand_there_once() -> None:
    x = torch.tensor([1.0, 2.0, 3.0])
    tape = run(choose, x)
    same = dbr.compare(tape, tape)
    for part in ("tensors", "ops", "nodes", "edges", "steps"):
        assert [(p.side, p.other) for p in getattr(same, part)] == [("", None)] * len(
            getattr(tape, part)
        )
    told = same.text().splitlines()
    assert told[1] == "A and B compared, operations: 7 in both, 0 only in A, 0 only in B"
    assert [told[0], *told[2:]] == tape.text().splitlines()
    assert legend(same.trace).startswith("Both runs did the same.")
    nothing_is_lost(tape, tape)


def test_runs_of_different_code_share_nothing() -> None:
    u = torch.ones(2, requires_grad=True)
    both = nothing_is_lost(run(choose, torch.ones(3)), run(lambda: (u.sin() / 3).prod()))
    shared = [part for part in (*both.ops, *both.nodes, *both.edges) if not part.side]
    assert [part.name for part in shared if isinstance(part, dbr.Op)] == ["sum"]  # of `run` itself
    assert "<svg" in both.html()
    kept_by = [
        {s.storage for node in both.nodes if node.side == side for s in node.saved} for side in "AB"
    ]
    assert kept_by[0]
    assert kept_by[1]
    assert not kept_by[0] & kept_by[1]


def test_a_backward_pass_in_one_run_only_is_not_yet_in_the_other() -> None:
    x = torch.ones(3)
    both = nothing_is_lost(run(choose, x, backward=False), run(choose, x))
    assert {p.side for p in (*both.nodes, *both.edges)} == {""}
    assert [step.side for step in both.steps if step.phase == "backward"] == ["B"] * 6
    assert "grad A not yet · B [" in both.text()
    W.grad = None
    again = dbr.compare(run(choose, x), run(choose, x, backward=False))
    assert any("· B not yet" in cell for row in again.table().rows for cell in row)


@pytest.mark.parametrize("turned", [False, True])
def test_one_or_both_runs_may_be_empty(turned: bool) -> None:
    with dbr.record() as empty:
        pass
    tape = run(choose, torch.ones(3))
    both = nothing_is_lost(*((empty, tape) if turned else (tape, empty)))
    assert {p.side for p in (*both.ops, *both.nodes)} == {"B" if turned else "A"}
    assert isinstance(both.html(), str)
    assert dbr.compare(empty, empty).ops == ()


def test_leaves_pair_by_name_parameters_by_path_others_by_their_use() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))

    def early(x: torch.Tensor) -> torch.Tensor:
        h = model[0](x)
        return h if h.sum() > 0 else model(x)

    up, down = torch.full((1, 3), 5.0), torch.full((1, 3), -5.0)
    with dbr.record() as a:
        early(up).sum()
    with dbr.record() as b:
        early(down).sum()
    both = nothing_is_lost(a, b)
    by_name = {t.name: t for t in both.leaves}
    assert by_name["model.0.weight"].side == by_name["model.0.bias"].side == ""
    assert by_name["up"].side == ""  # read at the same place
    assert by_name["up"].other.name == "down"
    one = {t.name for t in both.leaves if t.side}
    assert one == {"model.2.weight", "model.2.bias"}
    assert "A up · B down: constant" in both.text()


def test_data_that_a_factory_makes_is_the_same_operation_with_other_values() -> None:
    def made(numbers: list[float]) -> torch.Tensor:
        x = torch.tensor(numbers)
        return x * W

    both = nothing_is_lost(run(made, [1.0, 2.0, 3.0]), run(made, [4.0, 5.0, 6.0]))
    assert {op.side for op in both.ops} == {""}
    assert "x = tensor(A [1.0, 2.0, 3.0] · B [4.0, 5.0, 6.0])" in both.text()


def test_a_number_that_differs_leaves_the_operation_the_same() -> None:
    def scaled(rates: list[float]) -> torch.Tensor:
        return sum(W * rate for rate in rates)

    both = nothing_is_lost(run(scaled, [2.0, 4.0]), run(scaled, [3.0, 4.0]))
    assert {op.side for op in both.ops} == {""}
    assert [op.other is not None for op in both.ops if op.name == "mul"] == [True, False]
    assert "mul(W, A 2.0 · B 3.0) →" in both.text()
    longer = nothing_is_lost(run(scaled, [4.0]), run(scaled, [3.0, 4.0]))
    assert [op.args[1] for op in longer.ops if op.name == "mul" and op.side] == ["3.0"]


def test_an_edited_cell_is_paired_line_by_line() -> None:
    def cell(text: str) -> dbr.Tape:
        import linecache

        text = "with dbr.record() as tape:\n" + "".join(
            f"    {line}\n" for line in text.split("\n")
        )
        name = f"<cell {len(linecache.cache)}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        space = {"dbr": dbr, "W": W, "torch": torch}
        exec(compile(text, name, "exec"), space)
        return space["tape"]

    before = cell("y = W * 2\nz = y.exp()\nloss = z.sum()")
    after = cell("y = W * 2\ny = y - 1\nz = y.exp() \nloss = z.mean()")
    both = nothing_is_lost(before, after)
    assert [(op.name, op.side) for op in both.ops] == [
        ("mul", ""),
        ("sub", "B"),
        ("exp", ""),
        ("sum", "A"),
        ("mean", "B"),
    ]
    assert [source.title for source in both.sources] == ["recorded", "recorded (B)"]


# ---- graphs without a run ----


def test_two_drawn_graphs_are_compared_from_the_root_and_from_the_leaves() -> None:
    def made(rounds: int, last: Any) -> dbr.Tape:
        h = W
        for _ in range(rounds):
            h = torch.tanh(h * W)
        loss = last(h).sum()
        return dbr.draw(loss)

    same = nothing_is_lost(made(2, torch.exp), made(2, torch.exp))
    assert {p.side for p in (*same.nodes, *same.edges)} == {""}
    other = nothing_is_lost(made(2, torch.exp), made(2, torch.sin))
    assert [(n.name, n.side) for n in other.nodes if n.side] == [
        ("ExpBackward0", "A"),
        ("SinBackward0", "B"),
    ]
    longer = nothing_is_lost(made(3, torch.exp), made(5, torch.exp))
    assert Counter(n.side for n in longer.nodes) == {"": 9, "B": 4}
    assert "only B: TanhBackward0" in longer.text()
    assert repr(longer).startswith("comparison: ")
    assert ">only B</text>" in longer.html()
    assert longer.root == 0 or longer.tensors[longer.root].name == "loss"


def test_drawn_graphs_without_names_meet_above_and_below_what_differs() -> None:
    def made(middle: Any) -> dbr.Tape:
        return dbr.draw((middle(W * W * 3) + 1).sum() * 2)

    both = nothing_is_lost(made(torch.exp), made(torch.sin))
    assert [(n.name, n.side) for n in both.nodes if n.side] == [
        ("ExpBackward0", "A"),
        ("SinBackward0", "B"),
    ]
    assert len(both.nodes) == 8


# ---- pictures ----


def two(names: tuple[str, str] = ("A", "B")) -> dbr.Tape:
    a = run(choose, torch.tensor([1.0, -2.0, 3.0]))
    W.grad = None
    return dbr.compare(a, run(choose, torch.tensor([-1.0, 2.0, -3.0])), names=names)


def test_text_table_and_picture_say_which_run_did_it() -> None:
    both = two()
    told = both.text()
    assert "A and B compared, operations: 6 in both" in told
    assert "only A: h = relu(y) → [0.5, 0, 6]" in told
    assert "only B: neg(y) → [0.5, -2, 6]" in told
    assert "sum(y) → A 4.5 · B -4.5" in told
    assert "w.grad" not in told
    assert "W.grad: not yet → A [1, 0, 12] · B [" in told
    table = both.table()
    assert table.columns[0] == "run"
    assert [row[0] for row in table.rows if row[3] in ("h = relu", "mul", "neg")] == [
        "only A",
        "only B",
        "both",
    ]
    assert any("A 4.5 · B -4.5" in row for row in table.rows)
    svg = ElementTree.fromstring(both.svg())
    marks = {
        group.get("data-c"): "".join(t.text for t in group if t.text in ("only A", "only B"))
        for group in svg.iter("{http://www.w3.org/2000/svg}g")
        if group.get("data-c")
    }
    sides = {card.id: card.side for card in build_cards(both.trace)[0]}
    assert marks == {name: f"only {side}" if side else "" for name, side in sides.items()}
    assert Counter(sides.values()) == {"": 8, "B": 2, "A": 1}
    assert "1 only in A, 2 only in B" in svg.get("aria-label")
    page = both._repr_html_()
    assert "A bar on the left: <b" in page
    assert '<b class="dbr-onlyB">only B</b> did it; no bar' in page
    assert 'xlabel="only A"' in both.dot()


@pytest.mark.parametrize("names", [("train", "eval"), ("rank 0", "rank <1>")])
def test_names_that_are_given_stand_for_the_runs_everywhere(names: tuple[str, str]) -> None:
    both, (one, other) = two(names), names
    end = "" if one.isalpha() else ":"
    numbers = f"{one}{end} 4.5 · {other}{end} -4.5"
    page = both.html()
    assert f"{one} and {other} compared, operations: 6 in both, 1 only in {one}" in both.text()
    assert f"only {one}: h = relu(y)" in both.text()
    assert f"sum(y) → {numbers}" in both.text()
    assert {row[0] for row in both.table().rows} == {"both", f"only {one}", f"only {other}"}
    assert f">only {escape(other)}</text>" in both.svg()
    assert f">{escape(numbers)}</text>" in both.svg()
    assert f'xlabel="only {one}"' in both.dot()
    assert f'<b class="dbr-onlyB">only {escape(other)}</b> did it; no bar' in page
    said = sentences(both.trace)
    assert said[3].startswith(f"Forward 4 of 9, only {one}. relu")
    assert any(f"In {other}: MulBackward0 receives" in each for each in said)
    for text in (both.text(), both.svg(), both.dot(), page, *said):
        assert not re.search(r"only [AB]\b|\bin [AB]\b|[ >][AB] -?[0-9\[]", text)


def test_a_single_run_has_none_of_it() -> None:
    tape = run(choose, torch.ones(3))
    assert tape.sides == ()
    assert tape.table().columns[0] == "step"
    for text in (tape.text(), tape.svg(), tape.dot()):
        assert "only" not in text
    assert "did it" not in tape.html()


def test_rows_of_both_runs_fit_or_become_two_rows() -> None:
    cards = {card.title: card for card in build_cards(two().trace)[0]}
    assert [s.text for s in cards["sum#2"].values] == ["A 4.5 · B -4.5"]
    assert [s.text for s in cards["y = mul"].values] == ["A [0.5, -2, 6]"]
    assert [s.text for s in cards["y = mul"].more_values] == ["B [-0.5, 2, -6]"]
    assert [s.text for s in cards["mul#7"].grads] == ["grad not yet", "grad [1, 1, 1]"]
    assert cards["mul#7"].more_grads == []


def test_many_uses_of_a_leaf_are_chips_of_both_runs() -> None:
    both = dbr.compare(run(loop, 3), run(loop, 9))
    chips = [card for card in picture_cards(both.trace)[0] if card.title.startswith("W")]
    assert [card.title for card in chips] == [f"W (use {n} of 9)" for n in range(1, 10)]
    assert Counter(card.side for card in chips) == {"": 3, "B": 6}


def test_the_player_goes_through_both_runs_in_step() -> None:
    both = two()
    said = sentences(both.trace)
    assert said[1].startswith("Forward 2 of 9, both. sum makes sum#2 from y: A 4.5 · B -4.5.")
    assert said[3].startswith("Forward 4 of 9, only A. relu makes h from y")
    assert said[4].startswith("Forward 5 of 9, only B. neg makes neg#5 from y")
    later = next(s for s in said if s.startswith("Backward 3 of 8, both"))
    assert "In A: MulBackward0 receives" in later
    assert "\nIn B: MulBackward0 receives" in later
    assert "both. SumBackward0 receives 1." in said[9]
    page = both.play()._repr_html_()
    steps = json.loads(re.search(r'class="dbr-json">(.*?)</script>', page)[1])
    lit = steps[said.index(next(s for s in said if s.startswith("Backward 3 of"))) + 1]["e"]
    assert Counter(both.edges[int(name[1:])].side for name in lit) == {"": 1, "A": 1, "B": 1}
    alone = [run(choose, torch.tensor(x)).memory() for x in ([1.0, -2.0, 3.0], [-1.0, 2.0, -3.0])]
    together = list(zip(*bytes_kept(both.trace), strict=True))
    for one, column, side in zip(alone, together, "AB", strict=True):
        own = [n for n, s in zip(column, both.steps, strict=True) if s.side in ("", side)]
        assert tuple(own) == one
    assert bytes_in_words((24, 36)) == "24 B in A, 36 B in B"
    with pytest.raises(ValueError, match="the memory of two runs: call memory"):
        both.memory()


@pytest.mark.parametrize(
    ("a", "b", "together"),
    [
        ("", "x", "A – · B x"),
        ("a b", "a b", "a b"),
        ("keeps self 12 B", "keeps self 24 B", "keeps self A 12 B · B 24 B"),
        ("passes 1 to f(x, y)", "passes 2 to f(x, z)", "passes A 1 · B 2 to f(x, A y · B z)"),
        ("f(x), g(y) end", "f(x) end", "A f(x), g(y) · B f(x) end"),
        ("it is 1. So", "it is 2. So", "it is A 1 · B 2. So"),
    ],
)
def test_two_lines_become_one(a: str, b: str, together: str) -> None:
    assert word_diff(a, b) == together


# ---- quick, and the same everywhere ----


@settings(max_examples=200, deadline=None)
@given(a=st.text("abc", max_size=12), b=st.text("abc", max_size=12))
def test_the_common_sequence_is_a_longest_one(a: str, b: str) -> None:
    longest = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            longest[i][j] = (
                1 + longest[i + 1][j + 1]
                if a[i] == b[j]
                else max(longest[i + 1][j], longest[i][j + 1])
            )
    pairs = longest_common_subsequence(a, b)
    assert len(pairs) == longest[0][0]
    assert all(a[i] == b[j] for i, j in pairs)
    assert pairs == sorted(pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)


def walk_with_turns(rounds: int, seed: int) -> torch.Tensor:
    h = torch.ones(1)
    turn = torch.Generator().manual_seed(seed)
    for _ in range(rounds):
        h = h * W[:1] if torch.rand((), generator=turn).item() < 0.5 else torch.tanh(h)
    return h.sum()


def test_comparing_is_work_in_proportion_to_the_operations() -> None:
    for one, other in (
        (lambda n: run(loop, 4 * n), lambda n: run(loop, 6 * n)),
        (lambda n: run(walk_with_turns, 4 * n, 1), lambda n: run(walk_with_turns, 6 * n, 2)),
    ):
        work = {}
        for n in (60, 240):
            a, b = one(n), other(n)
            work[n], both = calls(lambda a=a, b=b: dbr.compare(a, b))
            assert len(both.ops) < len(a.ops) + len(b.ops)
            assert "only B: " in both.text()
        assert (
            work[240] < 6 * work[60]
        )  # four times the operations; sixteen times would be every pair


SCRIPT = """
import torch
import definebyrun as dbr

w = torch.tensor([0.5, 1.0, 2.0], requires_grad=True)

def run(rounds, sign):
    w.grad = None
    with dbr.record() as tape:
        h = torch.ones(3)
        for _ in range(rounds):
            h = torch.tanh(h * w) if sign > 0 else (h - w).exp()
        h.sum().backward()
    return tape

for both in (dbr.compare(run(3, 1), run(5, 1)), dbr.compare(run(2, 1), run(2, -1))):
    print(both.json(), both.text(), both.dot(), both.html(), both.table())
"""


def test_a_comparison_is_the_same_in_every_process(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT, "utf8")
    told = set()
    for seed in ("0", "1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, str(file)], env=environment, capture_output=True, check=True
        )
        told.add(done.stdout)
    assert len(told) == 1
    assert b"only B" in told.pop()


# ---- wrong use ----


def test_wrong_use_gets_one_sentence() -> None:
    tape = run(choose, torch.ones(3))
    with pytest.raises(TypeError, match="compare takes two tapes, not Tensor"):
        dbr.compare(tape, W)
    with pytest.raises(TypeError, match="compare takes two tapes, not NoneType"):
        dbr.compare(None, tape)
    with pytest.raises(ValueError, match="this is a comparison already"):
        dbr.compare(dbr.compare(tape, tape), tape)
    with pytest.raises(ValueError, match="compare two runs, or two graphs"):
        dbr.compare(tape, dbr.draw(W * 2))
    for words in (("one",), ("x", "x"), ("x", ""), ("x", 3)):
        with pytest.raises(ValueError, match="two different words"):
            dbr.compare(tape, tape, names=words)
    with dbr.record() as going, pytest.raises(RuntimeError, match="still going on"):
        dbr.compare(tape, going)


class Deep(nn.Module):
    """As many blocks as it is asked for, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)) for _ in range(25)
        )

    def forward(self, x: torch.Tensor, depth: int) -> torch.Tensor:
        for block in self.blocks[:depth]:
            x = block(x)
        return x.sum()


def test_a_large_comparison_is_shown_with_modules_folded_and_says_so() -> None:
    net = Deep()

    def run(depth: int) -> dbr.Tape:
        net.zero_grad()
        with dbr.record() as tape:
            net(torch.ones(1, 2), depth).backward()
        return tape

    deep, shallow = run(25), run(22)
    both = dbr.compare(deep, shallow)
    shown = both.view.trace
    blocks = [op for op in shown.ops if op.module]
    assert [op.name for op in blocks] == [f"net.blocks.{i}" for i in range(25)]
    assert [op.side for op in blocks] == [""] * 22 + ["A"] * 3
    assert "only A" in both.html()
    said = both.view.note
    assert said.endswith(
        "Add .unfolded() to the tape to see all of them, fold the two tapes to choose."
    )
    assert said in both.html()
    assert repr(both).endswith(said)
    assert len(both.ops) == len(both.unfolded().view.trace.ops) == 25 * 3 + 2
    with pytest.raises(ValueError, match="fold the two tapes, then compare them"):
        both.fold(0)


def looped(times: int, inner: int = 1) -> dbr.Tape:
    w = torch.tensor([0.5, 0.25], requires_grad=True)
    with dbr.record() as tape:
        h = torch.tensor([1.0, 2.0])
        for _ in range(times):
            for _ in range(inner):
                h = h * w
            h = torch.tanh(h)
        h.sum().backward()
    return tape


def test_two_long_loops_are_rolled_up_into_one_that_says_how_often_each_ran() -> None:
    both = dbr.compare(looped(20), looped(30))
    shown = both.view.trace
    assert [(op.name, op.times) for op in shown.ops if not op.factory] == [
        ("mul", 20),
        ("tanh", 20),
        ("sum", 1),
    ]
    assert [op.other.times for op in shown.ops if op.times > 1 and op.other] == [30, 30]
    (block,) = shown.blocks
    assert (block.times, block.other and block.other.times, block.side) == (20, 30, "")
    (frame,) = both.view.drawn[2]
    assert frame.label == "× A 20 · B 30, the last one shown"
    assert "next time" in both.svg()
    assert "5 cards stand for 63: repetitions are rolled up." in both.view.note
    assert "the last of 20 times) · B" in repr(both)
    assert len(both.ops) == 62


def test_a_long_loop_beside_a_short_one_says_whose_repetitions_it_stands_for() -> None:
    for times, side in (((30, 2), "A"), ((2, 30), "B")):
        both = dbr.compare(*map(looped, times))
        (block,) = both.view.trace.blocks
        assert (block.side, block.times) == (side, 30)
        (frame,) = both.view.drawn[2]
        assert frame.label == f"× 30, the last one shown, only {side}"


def test_rolled_up_runs_are_told_apart_again_with_their_blocks() -> None:
    one, two = looped(20, 4).fold(repeats=True), looped(30, 5).fold(repeats=True)
    both = dbr.compare(one, two)
    assert [block.times for block in one.blocks] != [block.times for block in two.blocks]
    for side, run in (("A", one), ("B", two)):
        seen = half(both.trace, side).trace
        assert [(b.times, b.outer) for b in seen.blocks] == [(b.times, b.outer) for b in run.blocks]
        assert [op.block for op in seen.ops] == [op.block for op in run.ops]
        assert [leaf.block for leaf in seen.leaves] == [leaf.block for leaf in run.leaves]
    assert Trace.from_json(both.json()) == both.trace


def test_a_comparison_in_which_nothing_repeats_is_shown_whole() -> None:
    def run(last: int) -> dbr.Tape:
        w = torch.tensor(0.5, requires_grad=True)
        with dbr.record() as tape:
            h = w
            for turn in range(last):
                h = (h.sin() if turn % 3 else h.cos()) if turn % 2 else (h * w if turn % 5 else -h)
            h.backward()
        return tape

    both = dbr.compare(run(62), run(60))
    assert count_cards(both.trace) > 60
    assert both.view.trace is both.trace
    assert both.view.note == ""


# ---- work ----


@pytest.mark.parametrize("times", [3, 40], ids=["as it is", "folded"])
@pytest.mark.parametrize("show", [dbr.Tape.html, dbr.Tape._repr_html_, dbr.Tape.svg])
def test_a_comparison_that_is_shown_is_taken_apart_once_for_each_run(
    times: int, show: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = []

    def counted(trace: Trace, side: str) -> Any:
        sides.append(side)
        return half(trace, side)

    monkeypatch.setattr("definebyrun.comparison.split.half", counted)
    both = dbr.compare(looped(times), looped(times + 1))
    show(both)
    laid_out = list(sides)  # once for each way to fold it that is tried
    assert laid_out == ["A", "B"] * (len(laid_out) // 2)
    repr(both)
    assert sides == laid_out
    assert len(laid_out) == 2 or times == 40
