"""Lesson 10 needs no C++ compiler, its table says what running gives, and its machine and judge hold for more cases."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
import torch
from torch._inductor.exc import InductorError

from tests.course.lesson_code import cells
from tools import ROOT, chapters

MACHINE = ("imports", "more-imports", "node", "ordered", "plan")
TABLE = (
    *("imports", "more-imports", "quiet", "export-helper", "backend"),
    *("rows", "more-rows", "table-inputs", "judge"),
)
WHAT_IT_SAYS_FIRST = 43
"""So many characters of a row stand before its first verdict."""


def stored() -> dict[str, Any]:
    """The lesson's executed code cells, by name."""
    book = nbformat.read(chapters.find("10").notebook, as_version=4)
    return {cell.id: cell for cell in book.cells if cell.cell_type == "code"}


def printed(name: str) -> str:
    return "".join(out.text for out in stored()[name].outputs if out.output_type == "stream")


@pytest.fixture(autouse=True)
def what_captures_leave_behind() -> Iterator[None]:
    yield
    torch._logging.set_logs()
    torch._dynamo.reset()


# ---- no compiler ----


def test_no_lesson_can_use_a_compiler() -> None:
    """The environment in which all notebooks are executed names one that is not there."""
    never_compiled_before = random.random()
    compiled = torch.compile(lambda x: x * never_compiled_before + 1)
    with pytest.raises(InductorError, match="compiler"):
        compiled(torch.ones(3))


def test_nothing_reaches_stderr_in_the_stored_notebook() -> None:
    for name, cell in stored().items():
        assert all(out.get("name") != "stderr" for out in cell.outputs), name


# ---- the table ----


CAPTURE_ALL = f"""
import json
from tests.course.lesson_code import cells
lesson = cells("10", *{TABLE})
found = [
    [lesson["cell"](forward, first, second, way) for way in lesson["WAYS"].values()]
    for forward, _, first, second in lesson["ROWS"].values()
]
print(json.dumps({{"ways": list(lesson["WAYS"]), "found": found, "names": list(lesson["ROWS"])}}))
"""


def test_the_table_has_a_verdict_in_every_cell_and_says_what_running_gives() -> None:
    """In a process of its own: captures that fail leave traces in PyTorch's global state."""
    ran = subprocess.run(
        [sys.executable, "-c", CAPTURE_ALL], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    table = json.loads(ran.stdout.splitlines()[-1])
    lines = printed("table").splitlines()
    assert lines[0][WHAT_IT_SAYS_FIRST:].split() == table["ways"]
    assert len(lines) == len(table["found"]) + 2 >= 20
    for line, name, found in zip(lines[1:-1], table["names"], table["found"], strict=True):
        assert line.split()[0] == name
        assert line[WHAT_IT_SAYS_FIRST:].split() == found, line


def test_the_text_names_the_rows_on_which_all_captures_agree_and_the_exception_of_guards() -> None:
    rows = [line.split() for line in printed("table").splitlines()[1:-1]]
    verdicts = {row[0]: row[-5:] for row in rows}
    assert [name for name, found in verdicts.items() if len(set(found)) == 1] == ["values_only"]
    for way in (-2, -1):
        assert [name for name, found in verdicts.items() if "WRONG" in found[way]] == ["cached"]


def test_the_judge_of_the_table_sees_values_gradients_and_prints() -> None:
    lesson = cells("10", *TABLE)
    x = [torch.tensor([1.0, 2.0])]

    def judge(change: Any) -> str:
        return lesson["cell"](lesson["values_only"], x, x, lambda module, inputs: change(module))

    def loud(module: Any) -> Any:
        return lambda x: (print("boo"), module(x))[1]

    assert judge(lambda module: module) == "ok"
    assert judge(lambda module: lambda x: module(x) + 1) == "WRONG"
    assert judge(lambda module: lambda x: module(x.detach()) + 0 * x) == "WRONG"
    assert judge(loud) == "WRONG"

    def raising(module: Any) -> Any:
        raise KeyError

    assert judge(raising) == "refused"
    assert judge(lambda module: None) == "refused"


# ---- define-and-run ----


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_computes_what_eager_code_computes_and_nothing_twice(seed: int) -> None:
    lesson, chance = cells("10", *MACHINE), random.Random(seed)
    calls: list[str] = []

    def counted(name: str, op: Any) -> Any:
        def run(*inputs: Any) -> Any:
            calls.append(name)
            return op(*inputs)

        return run

    feed = {lesson["placeholder"](name): torch.rand(3) for name in "xy"}
    nodes, values = [*feed, torch.rand(3), 2.0], [*feed.values()]
    values += nodes[2:]
    for nr in range(chance.randint(1, 30)):
        op = chance.choice([torch.add, torch.mul])
        i, j = chance.randrange(2, len(nodes)), chance.randrange(len(nodes))
        i = 0 if nr == 0 else i
        if not isinstance(nodes[i], lesson["Node"]) and not torch.is_tensor(values[i]):
            i = 2
        nodes.append(lesson["Node"](counted(f"{nr}", op), nodes[i], nodes[j]))
        values.append(op(values[i], torch.as_tensor(values[j])))
    plan = lesson["Plan"](nodes[-1])
    folded = len(calls)
    for _ in range(2):
        assert torch.allclose(plan.run(feed), values[-1])
    assert len(set(calls)) == folded + len(plan.steps)
    assert len(calls) == folded + 2 * len(plan.steps)


def test_a_plan_of_a_deep_graph_needs_no_recursion() -> None:
    lesson = cells("10", *MACHINE)
    x = lesson["placeholder"]("x")
    node = x
    for _ in range(5000):
        node = node + 1
    plan = lesson["Plan"](node)
    assert plan.run({x: torch.tensor(0.0)}).item() == 5000
    while node.inputs:  # taken apart here: a deep chain is freed by recursion
        node.inputs, node = (), node.inputs[0]


# ---- the answers of the exercises are PyTorch's ----


def test_the_counts_of_the_first_exercise_are_those_of_dynamo() -> None:
    lesson = cells("10", "imports", "more-imports", "backend")

    def k(x: torch.Tensor, double: bool) -> torch.Tensor:
        y = x * 2 if double else x + 1
        if y.max() > 10:
            y = y / 2
        return y * y

    compiled, counts = lesson["fresh"](k), []
    for value, double in [(1.0, True), (3.0, True), (7.0, True), (1.0, False), (12.0, False)]:
        compiled(torch.full((2,), value), double)
        counts.append(len(lesson["graphs"]))
    assert counts == [2, 2, 3, 4, 4]


# ---- what the text says beside its outputs ----


def test_a_second_length_becomes_an_input_and_a_size_of_one_is_a_graph_of_its_own() -> None:
    lesson = cells("10", "imports", "more-imports", "backend")
    compiled, inputs = lesson["fresh"](lambda x: x * 2 + 1), []
    for length in (3, 4, 5, 1):
        compiled(torch.ones(length))
        inputs.append([n.op for n in lesson["graphs"][-1].graph.nodes].count("placeholder"))
    assert inputs == [1, 2, 2, 1]
    assert len(lesson["graphs"]) == 3


@pytest.mark.parametrize("training", [True, False])
def test_an_exported_program_keeps_the_mode_in_which_it_was_exported(training: bool) -> None:
    lesson = cells("10", "imports", "more-imports", "export-helper")
    net = torch.nn.Sequential(torch.nn.Dropout(0.5)).train(training)
    program = lesson["export"](net, torch.ones(1000))
    net.train(not training)
    assert bool((program(torch.ones(1000)) == 0).any()) is training
