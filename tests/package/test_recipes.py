"""Ways to fold a run: the steps of a training, repetitions inside them, operations, modules; what a page can show."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import definebyrun as dbr
import definebyrun.view
from definebyrun.fold.groups import fold_blocks, fold_unrolled
from definebyrun.fold.operations import fold_operations
from definebyrun.fold.recipes import Recipe, fold_by, outcome, recipes
from definebyrun.fold.roll_up import roll_up_all, roll_up_steps
from definebyrun.trace import Trace


def trained(steps: int, layers: int = 4) -> dbr.Tape:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 4), *(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(layers))
    )
    x, optimizer = torch.rand(2, 3), torch.optim.Adam(model.parameters())
    with dbr.record() as tape:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
    return tape


def counts(trace: Trace) -> tuple[int, int, int]:
    """Operations, nodes and edges that a trace stands for, the nodes and edges of leaves left aside."""
    leaves = {node.index for node in trace.nodes if node.leaf is not None}
    nodes = sum(n.holds * n.times for n in trace.nodes if n.index not in leaves)
    edges = sum(n.edges for n in trace.nodes) + sum(edge.times for edge in trace.edges)
    return sum(op.holds * op.times for op in trace.ops), nodes, edges


# ---- the steps of a training ----


def test_two_steps_of_a_training_are_one_block() -> None:
    rolled = roll_up_steps(trained(2).trace)
    (block,) = rolled.blocks
    assert block.times == 2
    assert {op.block for op in rolled.ops} == {0}
    assert [op.name for op in rolled.ops].count("Adam.step") == 1


def test_one_step_of_a_training_is_left_as_it_is() -> None:
    trace = trained(1).trace
    assert roll_up_steps(trace) is trace


def test_what_repeats_inside_a_step_of_a_training_is_rolled_up_there() -> None:
    rolled = roll_up_all(roll_up_steps(trained(3).trace))
    outer, inner = rolled.blocks
    assert (outer.times, inner.times, inner.outer) == (3, 4, outer.index)
    linear = next(op for op in rolled.ops if op.block == inner.index)
    assert linear.times == 12


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize("layers", [1, 4])
def test_every_way_to_fold_stands_for_the_whole_run(steps: int, layers: int) -> None:
    trace = trained(steps, layers).trace
    for recipe in recipes([trace]):
        assert counts(fold_by(trace, recipe)) == counts(trace), recipe


def test_a_folded_module_of_a_rolled_up_training_has_its_parameters_once() -> None:
    folded = fold_by(trained(2).trace, list(recipes([trained(2).trace]))[-1])
    (model,) = (op for op in folded.ops if op.module == "Sequential")
    assert (model.parameters, model.elements, model.times) == (10, 16 + 4 * 20, 2)
    assert not any(leaf.kind == "parameter" for leaf in folded.leaves)


def test_inputs_that_have_names_of_their_own_are_not_rolled_into_one() -> None:
    net, anchor, near, far = nn.Linear(3, 2), torch.rand(1, 3), torch.rand(1, 3), torch.rand(1, 3)
    with dbr.record() as tape:
        a = net(anchor)
        p = net(near)
        n = net(far)
        F.triplet_margin_loss(a, p, n).backward()
    for recipe in recipes([tape.trace]):
        names = {leaf.name for leaf in fold_by(tape.trace, recipe).leaves}
        assert {"anchor", "near", "far"} <= names


def test_inputs_of_one_list_are_rolled_into_one() -> None:
    w, xs = torch.rand(3, requires_grad=True), [torch.rand(3) for _ in range(5)]
    with dbr.record() as tape:
        h = torch.zeros(3)
        for x in xs:
            h = torch.tanh(h * w + x)
        h.sum().backward()
    rolled = roll_up_all(tape.trace)
    assert [leaf.times for leaf in rolled.leaves if leaf.kind == "constant"] == [1, 5]


def counted(times: int) -> dbr.Tape:
    """The same lines several times; the first time reads constants alone, so it has fewer nodes."""
    cell, x = nn.RNNCell(2, 2), torch.rand(times, 1, 2)
    with dbr.record() as tape:
        h, loss = torch.zeros(1, 2), 0.0
        for t in range(times):
            seen = torch.cat([x[t], h], -1)
            h = cell(seen[:, :2], h)
            loss = loss + (h * seen[:, 2:]).square().mean()
        loss.backward()
    return tape


def test_what_runs_several_times_becomes_one_card_and_what_its_lines_ran_before_another() -> None:
    rolled = roll_up_all(counted(6).trace)
    (block,) = rolled.blocks
    inside = [op.index for op in rolled.ops if op.block is not None]
    assert len(inside) > 5
    assert block.times == 5
    around, within = fold_unrolled(rolled), fold_blocks(rolled)
    assert [op.module for op in around.ops if op.block is None and not op.factory] == [
        f"{len(inside)} operations"
    ]
    assert [op.holds for op in within.ops if op.block is not None] == [len(inside)]
    both = fold_blocks(around)
    held = [(op.times, op.holds) for op in both.ops if not op.factory]
    assert held == [(1, len(inside)), (5, len(inside))]
    assert counts(both) == counts(within) == counts(around) == counts(rolled)


def test_the_steps_of_a_training_are_not_one_card() -> None:
    rolled = roll_up_steps(trained(3).trace)
    assert rolled.blocks
    assert fold_blocks(rolled) is rolled


# ---- operations ----


def test_the_nodes_of_an_operation_are_one_with_what_they_keep() -> None:
    cell, x = nn.LSTMCell(3, 4), torch.rand(2, 3)
    with dbr.record() as tape:
        h, c = cell(x)
        (h.sum() + c.sum()).backward()
    folded = fold_operations(tape.trace)
    (node,) = (n for n in folded.nodes if n.holds > 1)
    whole = [n for n in tape.nodes if n.op == folded.nodes[node.index].op or n.leaf is None]
    assert node.name == f"{node.holds} nodes"
    assert counts(folded) == counts(tape.trace)
    kept = {s.storage: s.nbytes for n in whole for s in n.saved}
    assert {s.storage: s.nbytes for s in node.saved}.items() <= kept.items()


def test_an_operation_of_one_node_stays_itself() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        w.exp().sum().backward()
    assert fold_operations(tape.trace) is tape.trace


# ---- what is shown ----


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(2, 6)
        for t in range(20):
            h = self.cell(x[t], h)
        return h


def test_a_comparison_folds_as_one_run_does() -> None:
    m, x = Loop(), torch.rand(20, 2, 4)

    def run() -> dbr.Tape:
        with dbr.record() as tape:
            m(x).sum().backward()
        return tape

    one, both = run(), dbr.compare(run(), run())
    assert len(both.view.drawn.cards) == len(one.view.drawn.cards) > 4
    assert [block.times for block in both.view.trace.blocks] == [20]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.c2, self.b2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.b2(self.c2(F.relu(self.b1(self.c1(x))))))


def test_a_block_with_a_skip_fits_a_page() -> None:
    m, x = Block(), torch.rand(2, 4, 8, 8)
    with dbr.record() as tape:
        m(x).sum().backward()
    assert tape.view.picture.width <= 1034


class Unit(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 2)
        self.blocks = nn.Sequential(*[nn.Sequential(Unit(), Unit()) for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.blocks(torch.relu(self.bn(self.conv(x)))).mean((2, 3)))


def test_a_layer_is_one_card_where_its_neighbours_are() -> None:
    net, x = Net(), torch.rand(2, 3, 8, 8)
    with dbr.record() as tape:
        net(x).sum().backward()
    folded = {op.name for op in tape.view.trace.ops if op.module}
    assert not folded or {"net.conv", "net.bn", "net.fc"} <= folded
    assert len(tape.view.drawn.cards) <= 20
    assert tape.view.picture.width <= 1034


def test_what_follows_the_weights_stands_below_the_step_that_changes_them() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.rand(2, 3)
    slow = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with dbr.record() as tape:
        model(x).sum().backward()
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(slow, model.parameters(), strict=True):
                old.lerp_(new, 0.1)
    cards = {card.title.partition("#")[0]: card for card in tape.view.drawn.cards}
    assert cards["lerp_"].after == cards["SGD.step"].id


def test_a_recipe_is_tried_once_where_others_would_do_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tape, done = trained(2), []
    real = definebyrun.view.fold_by

    def counted_fold(trace: Trace, recipe: Recipe) -> Trace:
        done.append((outcome(trace, recipe), recipe.grouped, recipe.operations))
        return real(trace, recipe)

    monkeypatch.setattr(definebyrun.view, "fold_by", counted_fold)
    list(tape.view._ways())
    assert len(done) == len(set(done)) < len(list(recipes([tape.trace])))


def test_the_sentence_says_what_has_become_one() -> None:
    mha, x = nn.MultiheadAttention(16, 4, batch_first=True), torch.rand(2, 5, 16)
    with dbr.record() as tape:
        mha(x, x, x)[0].sum().backward()
    said = tape.view.note
    assert (
        "cards stand for 39: each operation is one card and parameters that the same cards read are one."
        in said
    )
