"""Folding at its borders: where a repetition begins, what crosses the border of a block or of a folded module."""

from __future__ import annotations

from itertools import takewhile

import pytest
import torch
from torch import nn

import definebyrun as dbr
from bench.models import Residual
from definebyrun.fold.folding import fold
from definebyrun.fold.modules import calls_by_op
from definebyrun.trace import ModuleCall, Op, Trace


def folded_ops(tape: dbr.Tape) -> list[tuple[str, int]]:
    return [(op.name, op.times) for op in fold(tape.trace, repeats=True).ops]


# ---- where a repetition begins ----


def alternating(count: int) -> dbr.Tape:
    """So many operations, cos and sin in turns; in the loop, the line of the sine comes first."""
    with dbr.record() as tape:
        y = torch.tensor(0.5, requires_grad=True)
        for i in range(count):
            if i % 2:
                y = y.sin()
            if not i % 2:
                y = y.cos()
    return tape


def test_a_repetition_begins_at_the_line_that_comes_first() -> None:
    assert folded_ops(alternating(7))[1:] == [("cos", 1), ("sin", 3), ("cos", 3)]


def test_a_repetition_begins_at_another_line_where_else_one_would_be_lost() -> None:
    assert folded_ops(alternating(6))[1:] == [("cos", 3), ("sin", 3)]


class OneLine(nn.Module):
    """Two operations in one line, the first of which is another one in the first call."""

    started = False

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        steps = [torch.sin if self.started else torch.exp, torch.cos]
        self.started = True
        for step in steps:
            y = step(y)
        return y


def test_a_repetition_begins_where_the_outermost_module_is_entered() -> None:
    model = OneLine()
    with dbr.record() as tape:
        y = torch.tensor(0.5, requires_grad=True)
        for _ in range(4):
            y = model(y)
    assert folded_ops(tape)[1:] == [("exp", 1), ("cos", 1), ("sin", 3), ("cos", 3)]


def test_a_search_goes_on_right_behind_what_reads_something_else() -> None:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        x = torch.tensor(2.0)
        y = x.exp()
        for i in range(9):
            y = (x if i == 2 else y) * w
    assert folded_ops(tape) == [("tensor", 1), ("exp", 1), ("mul", 1), ("mul", 1), ("mul", 7)]


# ---- what enters and leaves a block ----


def test_gradients_that_enter_a_block_from_different_operations_stay_apart() -> None:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        y = torch.tensor(1.0)
        for _ in range(4):
            y = torch.tanh(y * w)
        (y.exp() + y.sin()).backward()
    folded = fold(tape.trace, repeats=True)
    tanh = next(node.index for node in folded.nodes if node.name == "TanhBackward0")
    entering = [edge for edge in folded.edges if edge.target == tanh and not edge.again]
    sources = [folded.nodes[edge.source].name for edge in entering]
    assert sorted(sources) == ["ExpBackward0", "SinBackward0"]
    passed = {value for step in tape.steps for edge, value in step.passed}
    assert {edge.grad for edge in entering} <= passed


def test_leaves_of_every_repetition_show_the_gradient_of_the_last() -> None:
    torch.manual_seed(0)
    model = Residual(4)
    with dbr.record() as tape:
        model(torch.randn(2, 32)).sum().backward()
    folded = fold(tape.trace, repeats=True)
    weight = next(leaf for leaf in folded.leaves if (leaf.name or "").endswith("weight"))
    (edge,) = (edge for edge in folded.edges if edge.target == weight.node)
    last = next(leaf for leaf in tape.leaves if leaf.name == weight.name)
    assert (edge.grad, edge.times, edge.summed) == (tape.nodes[last.node].grad, 4, False)


def test_an_optimizer_changes_the_leaves_that_stand_for_all() -> None:
    model = Residual(4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with dbr.record() as tape:
        model(torch.randn(2, 32)).sum().backward()
        optimizer.step()
    step = fold(tape.trace, repeats=True).ops[-1]
    assert (step.name, len(step.inputs), len(step.outputs)) == ("SGD.step", 2, 2)


# ---- what enters and leaves a folded module ----


class Both(nn.Module):
    """Hands out a result that it has also used itself."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x * 2
        return y, y.exp()


def test_a_folded_module_does_not_read_what_it_made() -> None:
    model = Both()
    with dbr.record() as tape:
        y, z = model(torch.ones(2, requires_grad=True))
        loss = (y + z).sum()
    op = next(op for op in fold(tape.trace, modules=0).ops if op.module)
    assert len(op.outputs) == 2
    assert [tape.tensors[i].kind for i in op.inputs] == ["leaf"]
    assert loss.requires_grad


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Both()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, z = self.inner(x)
        return y + z


@pytest.mark.parametrize("level", [0, 1])
def test_a_folded_module_has_the_lines_that_all_its_operations_share(level: int) -> None:
    model = Outer()
    with dbr.record() as tape:
        model(torch.ones(2, requires_grad=True))
    op = next(op for op in fold(tape.trace, modules=level).ops if op.module)
    members = [each.stack[::-1] for each in tape.ops if each.scope.startswith(op.name)]
    assert len(members) == 3 - level
    shared = takewhile(lambda lines: len({*lines}) == 1, zip(*members, strict=False))
    assert op.stack[::-1] == tuple(lines[0] for lines in shared)
    assert len(op.stack) == 1 + level
    assert op.line == op.stack[0][1]


def test_the_gradient_of_a_folded_module_is_that_of_its_first_result_that_has_one() -> None:
    model = Both()
    with dbr.record() as tape:
        _, z = model(torch.ones(2, requires_grad=True))
        (z + model(torch.ones(2))[0]).sum().backward()
    folded = fold(tape.trace, modules=0)
    op = next(op for op in folded.ops if op.module)
    exp = next(node for node in tape.nodes if node.name == "ExpBackward0")
    assert folded.nodes[folded.main_node(op.index)].grad == exp.grad


def test_a_module_inside_a_block_counts_its_parameters_once_for_each_time() -> None:
    model = Residual(5)
    with dbr.record() as tape:
        model(torch.randn(2, 32)).sum().backward()
    rolled = fold(tape.trace, repeats=True)
    op = next(op for op in fold(rolled, modules="model.blocks.4").ops if op.module)
    assert (op.module, op.times, op.parameters) == ("Linear", 5, 2)


def op(index: int, call: int | None, opaque: bool = False) -> Op:
    text = {"line": None, "code": "", "scope": "", "inputs": (), "outputs": ()}
    return Op(index, "f", call=call, opaque=opaque, **text)


@pytest.mark.parametrize(
    ("before", "after", "found"), [(1, 1, 1), (1, 2, 0), (0, 2, 0), (3, 2, None), (None, 1, None)]
)
def test_an_operation_that_was_not_seen_ran_where_its_neighbours_did(
    before: int | None, after: int | None, found: int | None
) -> None:
    paths = [("model", None), ("model.a", 0), ("model.b", 0), ("other", None)]
    calls = tuple(ModuleCall(i, path, "M", outer) for i, (path, outer) in enumerate(paths))
    ops = (op(0, before), op(1, None, opaque=True), op(2, None, opaque=True), op(3, after))
    trace = Trace((), ops, calls=calls)
    assert calls_by_op(trace) == [before, found, found, after]
