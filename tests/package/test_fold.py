"""Folding: a smaller trace that says the same, counts what it no longer shows, and draws in every room."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import definebyrun as dbr
from bench.models import Recurrent, Residual
from definebyrun.cards.build import build_cards, count_cards
from definebyrun.cards.clusters import build_clusters
from definebyrun.drawing.dot import to_dot
from definebyrun.fold.folding import fold
from definebyrun.text.canonical import canonical_text
from definebyrun.text.sentences import sentence
from definebyrun.trace import Trace
from definebyrun.trace.memory import kept_after_steps
from tests.work import calls
from tools import ROOT


class Twice(nn.Module):
    """One module, called twice in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x))


class Split(nn.Module):
    """A module with two results, both used outside, and a third that nobody uses."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        a, b, c = (x * 2).unbind(0)
        return a.exp(), b.sin(), c


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.split = Split()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b, _ = self.split(x)
        return a * b + a


def run(model: nn.Module, x: torch.Tensor) -> dbr.Tape:
    with dbr.record() as tape:
        loss = model(x).sum()
        loss.backward()
    return tape


def stacked() -> dbr.Tape:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), inner, nn.Linear(4, 2))
    return run(model, torch.ones(2, 3))


def loop(times: int = 6) -> dbr.Tape:
    w = torch.tensor(0.5, requires_grad=True)
    b = torch.tensor(0.1)
    with dbr.record() as tape:
        h = torch.tensor(1.0)
        for _ in range(times):
            u = h * w
            h = torch.tanh(u + b)
        h.backward()
    return tape


def sequence() -> dbr.Tape:
    """A recurrent net that reads a new input each time and keeps every output."""
    torch.manual_seed(0)
    xs = torch.randn(7, 2)
    w, u, v = (torch.randn(3, n, requires_grad=True) for n in (2, 3, 3))
    with dbr.record() as tape:
        h, outs = torch.zeros(3), []
        for t in range(7):
            h = torch.tanh(u @ h + w @ xs[t])
            outs.append(v @ h)
        torch.stack(outs).pow(2).mean().backward()
    return tape


def unused_end() -> dbr.Tape:
    """The state of the last repetition is not used: no gradient reaches it."""
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        h, total = torch.tensor(1.0, requires_grad=True), torch.tensor(0.0)
        for _ in range(5):
            total = total + h * 3
            h = torch.tanh(h * w)
        total.backward()
    return tape


def nested() -> dbr.Tape:
    w = torch.tensor(0.9, requires_grad=True)
    with dbr.record() as tape:
        y = torch.tensor(1.0, requires_grad=True)
        for _ in range(4):
            y = y.sin()
            for _ in range(5):
                y = y * w
                y = y.cos()
        y.backward()
    return tape


def no_grad() -> dbr.Tape:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    with dbr.record() as tape, torch.no_grad():
        y = torch.ones(3)
        for _ in range(4):
            y = model(y)
    return tape


def twice_backward() -> dbr.Tape:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 1)))
    with dbr.record() as tape:
        loss = model(torch.ones(2, 3)).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    return tape


def training() -> dbr.Tape:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer, x = torch.optim.SGD(model.parameters(), 0.1), torch.randn(4, 3)
    with dbr.record() as tape:
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(x).pow(2).mean()
            loss.backward()
            optimizer.step()
    return tape


def one_step() -> dbr.Tape:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.ReLU()) for _ in range(4)))
    optimizer = torch.optim.Adam(model.parameters())
    with dbr.record() as tape:
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    return tape


def normed() -> dbr.Tape:
    torch.manual_seed(0)
    part = [
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True)) for _ in range(4)
    ]
    return run(nn.Sequential(*part), torch.randn(5, 4))


def second_graph() -> dbr.Tape:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Tanh()), torch.ones(2, 3, requires_grad=True)
    with dbr.record() as tape:
        (slope,) = torch.autograd.grad(model(model(x)).sum(), x, create_graph=True)
        slope.pow(2).sum().backward()
    return tape


RUNS: dict[str, Callable[[], dbr.Tape]] = {
    "stacked": stacked,
    "shared": lambda: run(Twice(), torch.ones(3)),
    "pair": lambda: run(Pair(), torch.ones(3, 2, requires_grad=True)),
    "loop": loop,
    "sequence": sequence,
    "unused end": unused_end,
    "nested": nested,
    "no grad": no_grad,
    "two backwards": twice_backward,
    "normed": normed,
    "training": training,
    "one step": one_step,
    "second graph": second_graph,
    "residual": lambda: run(Residual(5), torch.randn(2, 32)),
    "recurrent": lambda: run(Recurrent(5), torch.randn(2, 32)),
}
WAYS = [
    {"modules": 0},
    {"modules": True},
    {"repeats": True},
    {"modules": 0, "repeats": True},
    {"modules": 1, "repeats": True},
]


def accounts(trace: Trace) -> tuple[int, int, int]:
    """How many operations, nodes and edges a trace stands for."""
    leaves = [n for n in trace.nodes if n.op is None]
    nodes = sum(n.holds * n.times for n in trace.nodes if n.op is not None)
    return (
        sum(op.holds * op.times for op in trace.ops),
        nodes + sum(n.times for n in leaves) + sum(op.parameters * op.times for op in trace.ops),
        sum(e.times for e in trace.edges) + sum(n.edges for n in trace.nodes),
    )


@pytest.fixture(scope="module", params=sorted(RUNS))
def tape(request: pytest.FixtureRequest) -> dbr.Tape:
    return RUNS[request.param]()


# ---- nothing is lost ----


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_operation_node_and_edge_is_accounted_for(tape: dbr.Tape, way: dict) -> None:
    folded = fold(tape.trace, **way)
    assert accounts(folded) == (len(tape.ops), len(tape.nodes), len(tape.edges))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_folding_twice_is_folding_once(tape: dbr.Tape, way: dict) -> None:
    folded = fold(tape.trace, **way)
    assert fold(folded, **way) == folded


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_room_takes_a_folded_trace(tape: dbr.Tape, way: dict) -> None:
    folded = tape.fold(**way)
    trace = folded.trace
    cards, links = build_cards(trace)
    assert count_cards(trace) == len(cards)
    ids = {card.id for card in cards}
    assert len(ids) == len(cards)
    assert all(link.tail in ids and link.head in ids for link in links)
    assert {c for frame in build_clusters(trace, cards, links) for c in frame.cards} <= ids
    assert folded.svg().count("data-c=") == len(folded.view.drawn.cards)
    before = sum(leaf.op is None for leaf in trace.leaves)
    assert len(folded.table().rows) == before + len(trace.ops)
    assert len(json.loads(folded.json())["ops"]) == len(trace.ops)
    assert folded.text().startswith(f"{len(trace.ops)} operation")
    steps = json.loads(re.search(r'class="dbr-json">(.*?)</script>', folded.html())[1])
    assert len(steps) == len(trace.steps) + 1
    for step, shown in zip(trace.steps, steps[1:], strict=True):
        assert shown["c"], sentence(trace, step)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_memory_after_a_folded_step_is_that_after_the_last_step_that_it_stands_for(
    tape: dbr.Tape, way: dict
) -> None:
    whole, folded = tape.trace, fold(tape.trace, **way)
    before, after = kept_after_steps(whole), kept_after_steps(folded)
    forward = [step for step in folded.steps if step.phase == "forward"]
    ends = list(itertools.accumulate(op.holds for op in folded.ops if op.times == 1))
    if len(ends) == len(folded.ops):  # nothing is rolled up, so operations lie in their order
        assert [after[step.index] for step in forward] == [
            before[whole.step_of(end - 1).index] for end in ends
        ]
    last = [max((s.index for s in t.steps if s.op is not None), default=0) for t in (whole, folded)]
    assert after[last[1]] == before[last[0]]
    assert after[-1] == before[-1]
    assert set(after) <= set(before)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_the_nodes_keep_together_is_what_the_graph_keeps(tape: dbr.Tape, way: dict) -> None:
    folded = fold(tape.trace, **way)
    kept = [
        {s.storage: s.nbytes for node in trace.nodes for s in node.saved}
        for trace in (tape.trace, folded)
    ]
    assert kept[0] == kept[1]


def gradients(trace: Trace) -> dict[str | None, object]:
    """By name of a leaf: what its `.grad` is in the end."""
    found: dict[str | None, object] = {}
    for step in trace.steps:
        leaf = None if step.node is None else trace.nodes[step.node].leaf
        if leaf is not None:
            found[trace.tensors[leaf].name] = step.after
    return found


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_gradients_of_leaves_that_stay_are_those_recorded(tape: dbr.Tape, way: dict) -> None:
    whole, folded = gradients(tape.trace), gradients(fold(tape.trace, **way))
    assert folded.items() <= whole.items()


def test_gradients_at_the_border_of_a_folded_module_are_those_recorded() -> None:
    tape = stacked()
    folded = fold(tape.trace, modules=1)
    recorded = [edge.grad for edge in tape.edges]
    assert len(folded.edges) == 4
    assert all(edge.grad is not None and edge.grad in recorded for edge in folded.edges)
    relu = next(op for op in folded.ops if op.module == "ReLU")
    after = folded.nodes[folded.main_node(relu.index)]
    whole = next(node for node in tape.nodes if node.name == "ReluBackward0")
    assert after.grad == whole.grad


def test_a_module_with_two_results_gets_the_gradient_of_each() -> None:
    tape = RUNS["pair"]()
    folded = fold(tape.trace, modules=1)
    op = next(op for op in folded.ops if op.module == "Split")
    node = folded.main_node(op.index)
    step = next(step for step in folded.steps if step.node == node)
    exp, sin = (
        next(n.grad for n in tape.nodes if n.name == name)
        for name in ("ExpBackward0", "SinBackward0")
    )
    assert step.received == (None, exp, sin)  # nothing arrives at the third
    assert {e.input_nr for e in folded.edges if e.target == node} == {1, 2}


# ---- modules ----


def test_a_module_called_twice_is_a_card_for_each_call() -> None:
    tape = RUNS["shared"]()
    folded = fold(tape.trace, modules=True)
    calls = [op for op in folded.ops if op.module]
    assert [(op.module, op.holds) for op in calls] == [("Sequential", 2)] * 2
    assert calls[0].outputs[0] in calls[1].inputs
    names = {tensor.name for tensor in folded.leaves}
    assert sum(name is not None and name.endswith("weight") for name in names) == 1  # used by both


def test_levels_open_one_after_the_other_and_paths_fold_what_they_name() -> None:
    tape = stacked()
    names = [[op.name for op in fold(tape.trace, modules=level).ops] for level in (0, 1, 2)]
    assert names[0] == ["model", "sum"]
    assert names[1] == ["model.0", "model.1", "model.2", "model.3", "sum"]
    assert names[2] == ["linear", "relu", "model.2.0", "model.2.1", "linear", "sum"]
    by_path = fold(tape.trace, modules=["model.2", "model.3"])
    assert [op.name for op in by_path.ops] == ["linear", "relu", "model.2", "model.3", "sum"]
    folded = next(op for op in by_path.ops if op.name == "model.2")
    assert (folded.module, folded.holds, folded.parameters) == ("Sequential", 2, 2)
    assert folded.line == tape.ops[0].line


def test_parameters_fold_into_their_module_though_an_optimizer_changes_them() -> None:
    folded = fold(one_step().trace, modules=1)
    assert [(op.name, op.parameters) for op in folded.ops] == [
        ("ones", 0),
        *((f"model.{i}", 2) for i in range(4)),
        *(("sum", 0), ("Adam.step", 0)),
    ]
    assert len(folded.ops[-1].outputs) == 8
    assert [leaf.kind for leaf in folded.leaves] == ["constant"]
    assert folded.ops[-1].inputs == ()  # no arrow from a parameter that lies in a module


def test_a_path_that_is_not_there_and_a_negative_level_are_named() -> None:
    tape = stacked()
    with pytest.raises(ValueError, match=r"no module .* 'model\.9'; there are: model, model\.0"):
        tape.fold(modules="model.9")
    with pytest.raises(ValueError, match="not -1"):
        tape.fold(modules=-1)


# ---- repetitions ----


def test_an_rnn_of_200_steps_is_its_weights_its_cell_its_input_and_its_loss() -> None:
    tape = run(Recurrent(200), torch.randn(4, 32))
    cards, links = build_cards(fold(tape.trace, repeats=True))
    assert sorted(card.function or card.kind for card in cards) == [
        *("AccumulateGrad", "AccumulateGrad", "AddmmBackward0"),
        *("SumBackward0", "TBackward0", "TanhBackward0", "constant"),
    ]
    assert [link.back for link in links].count(True) == 1


def test_the_last_repetition_is_shown_with_the_gradients_that_reached_it() -> None:
    tape = loop()
    folded = fold(tape.trace, repeats=True)
    mul = next(op for op in folded.ops if op.name == "mul")
    last = [op for op in tape.ops if op.name == "mul"][-1]
    assert mul.times == 6
    assert folded.tensors[mul.outputs[0]].value == tape.tensors[last.outputs[0]].value
    node, whole = folded.nodes[folded.main_node(mul.index)], tape.trace.main_node(last.index)
    assert node.grad == tape.nodes[whole].grad
    again = [edge for edge in folded.edges if edge.again]
    assert [(edge.times, edge.grad) for edge in again] == [
        (5, next(e.grad for e in tape.edges if e.source == whole and e.slot == 0))
    ]
    w = next(leaf for leaf in folded.leaves if leaf.name == "w")
    to_w = next(edge for edge in folded.edges if edge.target == w.node)
    assert (to_w.times, to_w.grad) == (
        6,
        tape.nodes[next(t for t in tape.leaves if t.name == "w").node].grad,
    )


def test_where_no_gradient_reaches_the_last_repetition_the_last_that_one_reached_is_shown() -> None:
    tape = unused_end()
    folded = fold(tape.trace, repeats=True)
    tanh = next(n for n in folded.nodes if n.name == "TanhBackward0")
    reached = [n for n in tape.nodes if n.name == "TanhBackward0" and n.grad is not None]
    assert len(reached) == 4
    assert tanh.times == 5
    assert tanh.grad == reached[-1].grad


def test_gradients_from_every_repetition_are_added_where_they_leave_the_block() -> None:
    x = torch.tensor(1.0, requires_grad=True)
    with dbr.record() as tape:
        y, s = x * 1, torch.tensor(0.0)
        for _ in range(4):
            s = s + y.exp()
        s.backward()
    folded = fold(tape.trace, repeats=True)
    first = next(n for n in folded.nodes if n.op is not None and folded.ops[n.op].name == "mul")
    edge = next(e for e in folded.edges if e.target == first.index)
    assert (edge.times, edge.grad) == (4, first.grad)
    assert first.grad.item() == pytest.approx(x.grad.item())


def test_loops_in_loops_are_blocks_in_blocks() -> None:
    folded = fold(nested().trace, repeats=True)
    assert [(b.times, b.outer) for b in folded.blocks] == [(5, 1), (4, None)]
    assert [(op.name, op.times) for op in folded.ops if op.block is not None] == [
        *(("sin", 4), ("mul", 20), ("cos", 20)),
    ]


def test_a_training_loop_is_its_last_step_forward_and_backward() -> None:
    tape = training()
    folded = fold(tape.trace, repeats=True)
    assert [(op.name, op.times) for op in folded.ops] == [
        (name, 5) for name in ("linear", "relu", "linear", "pow", "mean", "SGD.step")
    ]
    phases = "".join(step.phase[0] for step in folded.steps)
    assert re.fullmatch("f{5}b{11}f", phases)
    last = [step for step in tape.steps if step.phase == "backward"][-11:]
    shown = [step for step in folded.steps if step.phase == "backward"]
    assert [step.received for step in shown] == [step.received for step in last]
    assert [(step.before, step.after) for step in shown] == [(s.before, s.after) for s in last]
    assert "sum of all times" not in " ".join(sentence(folded, step) for step in folded.steps)
    looped = fold(loop().trace, repeats=True)
    said = [sentence(looped, step) for step in looped.steps]
    assert sum("To w it passes" in text and "the sum of all times" in text for text in said) == 1


def test_modules_of_one_structure_roll_up_with_their_parameters() -> None:
    tape = run(Residual(50), torch.randn(4, 32))
    folded = fold(tape.trace, repeats=True)
    assert count_cards(folded) == 8
    assert [(b.times, b.label) for b in folded.blocks] == [(50, "model.blocks.0 … model.blocks.49")]
    weights = [t for t in folded.leaves if t.kind == "parameter"]
    assert [(t.name, t.times, t.block) for t in weights] == [
        ("model.blocks.49.weight", 50, 0),
        ("model.blocks.49.bias", 50, 0),
    ]


def test_what_differs_is_not_rolled_up() -> None:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        y = w
        for i in range(9):
            y = y * w if i % 2 else y.sin() + w.reshape(1)
    assert len(fold(tape.trace, repeats=True).ops) < len(tape.ops)  # the pairs do repeat
    with dbr.record() as tape:
        a = w * 2
        b = a * w
        c = b * a  # reads one further back than b did
        for _ in range(2):
            c = c.sin()  # twice only
    assert fold(tape.trace, repeats=True) == tape.trace


def test_arguments_that_differ_from_time_to_time_are_not_shown_as_one_of_them() -> None:
    folded = fold(sequence().trace, repeats=True)
    assert "getitem(xs, …)" in canonical_text(folded)
    assert "stack(outs[6], … 7 in all)" in canonical_text(folded)


STEPS = st.lists(st.sampled_from(["sin", "w", "v", "add", "new", "out"]), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=STEPS, times=st.integers(1, 6), tail=STEPS, backward=st.booleans())
def test_any_loop_is_accounted_for_and_drawn(
    body: list[str], times: int, tail: list[str], backward: bool
) -> None:
    w = torch.tensor(0.5, requires_grad=True)
    v = torch.tensor(0.7)
    with dbr.record() as tape:
        y, outs = torch.tensor(0.3), []

        def step(name: str) -> torch.Tensor:
            if name == "out":
                outs.append(y * w)
            other = {"w": w, "v": v, "new": torch.tensor(0.2)}.get(name)
            return y.sin() if name == "sin" else y + y if other is None else y * other

        for _ in range(times):
            for name in body:
                y = step(name)
        for name in tail:
            y = step(name)
        loss = sum(outs, y)
        if backward and loss.requires_grad:
            loss.backward()
    folded = fold(tape.trace, repeats=True)
    assert accounts(folded) == (len(tape.ops), len(tape.nodes), len(tape.edges))
    assert fold(folded, repeats=True) == folded
    assert gradients(folded) == gradients(tape.trace)
    assert kept_after_steps(folded)[-1] == kept_after_steps(tape.trace)[-1]
    assert (
        len(canonical_text(folded).splitlines()) <= len(canonical_text(tape.trace).splitlines()) + 1
    )
    assert [sentence(folded, s) for s in folded.steps]
    to_dot(*build_cards(folded), clusters=build_clusters(folded, *build_cards(folded)))


# ---- by itself ----


def test_small_graphs_are_drawn_as_they_are() -> None:
    tape = loop(2)
    assert tape.fold().trace == tape.trace
    assert "stand for" not in tape._repr_html_() + tape.html()
    assert tape.svg() == tape.unfolded().svg()


def test_a_large_graph_folds_by_itself_says_so_and_can_be_had_whole() -> None:
    tape = run(Residual(25), torch.randn(2, 32))
    said = "8 cards stand for 152: repetitions are rolled up. Add .unfolded() to the tape"
    assert said in tape._repr_html_()
    assert said in tape.html()
    assert tape.svg().count("data-c=") == 8
    assert "× 25, the last one shown" in tape.svg()
    assert len(tape.ops) == 76
    assert repr(tape).startswith(f"tape: {canonical_text(fold(tape.trace, repeats=True))}\n8 cards")
    assert tape.text() == canonical_text(tape.trace)
    whole = tape.unfolded()
    assert whole.svg().count("data-c=") == 152
    assert "stand for" not in whole._repr_html_()
    assert tape.fold(modules=0).unfolded().trace == tape.trace


def test_modules_are_framed_where_that_helps() -> None:
    tape = stacked()
    frames = build_clusters(tape.trace, *build_cards(tape.trace))
    modules = [frame for frame in frames if frame.label.endswith(")")]
    assert [frame.label for frame in modules] == ["model (Sequential)", "model.2 (Sequential)"]
    assert modules[1].outer == modules[0].id
    assert [frame.label for frame in frames if frame not in modules] == ["linear"] * 3
    assert "subgraph cluster_f0" in tape.dot()
    assert ">model.2 (Sequential)</text>" in tape.svg()
    assert 'rx="8"' in tape.svg()  # a cluster's box
    assert 'rx="8"' not in loop(2).svg()


def test_what_all_repetitions_share_lies_outside_their_frame_and_what_each_has_inside() -> None:
    shared = fold(run(Recurrent(5), torch.randn(2, 32)).trace, repeats=True)
    own = fold(run(Residual(5), torch.randn(2, 32)).trace, repeats=True)
    for trace, inside in ((shared, set()), (own, {"model.blocks.4.weight", "model.blocks.4.bias"})):
        cards, links = build_cards(trace)
        block = next(frame for frame in build_clusters(trace, cards, links) if frame.rolled)
        leaves = {c.title for c in cards if c.id in block.cards and c.function == "AccumulateGrad"}
        assert leaves == inside


# ---- fast and the same everywhere ----


def chain(length: int) -> dbr.Tape:
    x = torch.ones((), requires_grad=True)
    with dbr.record() as tape:
        y = x
        for _ in range(length):
            y = y * 2
    return tape


def test_a_chain_of_20000_operations_is_one_card() -> None:
    tape = chain(20_000)
    svg = tape.svg()
    assert "× 20,000" in svg
    assert svg.count("data-c=") == 2
    assert accounts(fold(tape.trace, repeats=True)) == (20_000, 20_001, 20_000)


def test_folding_is_work_in_proportion_to_the_operations() -> None:
    short, long = chain(1_000), chain(4_000)
    assert calls(long.svg)[0] < 6 * calls(short.svg)[0]  # four times the operations


PROGRAM = """
import torch, definebyrun as dbr
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(*[nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(30)])
with dbr.record() as tape:
    model(torch.ones(1, 3)).sum().backward()
print(tape.svg(), tape.html(), tape.fold(modules=1, repeats=True).text(), tape.fold(modules=0).json())
"""


def test_a_folded_run_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, "utf8")
    done = [
        subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert done[0].stdout == done[1].stdout
    assert "model.0 … model.29".encode() in done[0].stdout
    assert [one.stderr for one in done] == [b"", b""]  # no font is looked up, nothing is warned of


def test_a_call_that_data_leaves_while_it_runs_stays_open() -> None:
    class Halves(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.between(x * 2) * 3

    halves = Halves()
    halves.between = lambda x: x + 1
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        halves(w).sum().backward()
    file = json.loads(tape.json())
    assert [op["name"] for op in file["ops"]] == ["mul", "add", "mul", "sum"]
    assert [op.name for op in tape.fold(0).ops] == ["halves", "sum"]
    file["ops"][1]["call"] = None  # as if another thread had run it
    folded = dbr.load(json.dumps(file)).fold(0)
    assert [op.name for op in folded.ops] == ["mul", "add", "mul", "sum"]
    assert dbr.load(folded.json()).text() == folded.text()
