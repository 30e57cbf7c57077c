"""What lesson 01 says of every graph holds for more graphs than it shows; its text speaks of the numbers it prints."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import definebyrun as dbr
from definebyrun_course.exercises.graphs import edges_of, nodes_of
from tests.course.lesson_code import cells
from tools import ROOT, chapters
from tools.compare_outputs import printed

LESSON = chapters.find("01")
TEXT = LESSON.chapter.read_text("utf-8")


@pytest.fixture
def w() -> Tensor:
    return torch.tensor([0.5, 1.0, 2.0], requires_grad=True)


ENTRIES: dict[str, tuple[Callable[[Tensor], Tensor], list[bool]]] = {
    "a number becomes a tensor": (lambda w: 2 * w, [True, False]),
    "a detached factor": (lambda w: w.detach() * w, [False, True]),
    "a mask as a factor": (lambda w: w * (w > 1), [True, False]),
    "both tensors of a stack": (lambda w: torch.stack([w, w]), [True, True]),
    "three inputs of where": (lambda w: torch.where(w > 1, w, w), [True, True]),
    "a mask that is filled": (lambda w: w.masked_fill(w > 1, 0.0), [True]),
    "an index of numbers": (lambda w: w[[0, 0]], [True]),
    "an index of truth values": (lambda w: w[w > 1], [True]),
    "an exponent that is a number": (lambda w: w**2, [True]),
    "a bound that was left out": (lambda w: w.clamp(min=torch.zeros(3)), [True, False, False]),
    "dropout is a multiplication": (F.dropout, [True, False]),
    "weight and bias left out": (lambda w: F.layer_norm(w, (3,)), [True, False, False]),
    "rows of a table": (lambda w: F.embedding(torch.tensor([0]), w[:, None]), [True]),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_a_node_has_an_entry_for_each_tensor_it_can_be_differentiated_by(
    case: str, w: Tensor
) -> None:
    made, entries = ENTRIES[case]
    found = [target is not None for target, _ in made(w).grad_fn.next_functions]
    assert found == entries


def test_an_index_sends_one_gradient_for_a_number_that_is_taken_twice(w: Tensor) -> None:
    w[[0, 0]].sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [2.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "made",
    [
        lambda w: w > 1,
        lambda w: w.argmax(),
        lambda w: w.int(),
        lambda w: w.detach() * 2,
        lambda w: torch.tensor(w.tolist()),
        torch.no_grad()(lambda w: w * 2),
    ],
)
def test_no_node_is_left_by_results_without_slope_or_history_or_recording(
    made: Callable[[Tensor], Tensor], w: Tensor
) -> None:
    assert made(w).grad_fn is None
    assert not made(w).requires_grad


@pytest.mark.parametrize("seed", range(5))
def test_the_product_along_paths_is_the_gradient(seed: int) -> None:
    torch.manual_seed(seed)
    x, w, b = (
        torch.randn(7),
        torch.randn(7, requires_grad=True),
        torch.randn((), requires_grad=True),
    )
    s = x * w + b
    torch.relu(s).sum().backward()
    through = (s > 0).float()
    torch.testing.assert_close(w.grad, x * through)
    torch.testing.assert_close(b.grad, through.sum())


@pytest.mark.parametrize("seed", range(5))
def test_each_node_runs_once_after_all_nodes_that_send_to_it(seed: int) -> None:
    torch.manual_seed(seed)
    leaves = [torch.randn(2, requires_grad=True) for _ in range(3)]
    with dbr.record() as tape:
        pool = list(leaves)
        for one, two in torch.randint(0, 3, (12, 2)).tolist():
            pool.append(pool[-1 - one] * pool[-1 - two] + pool[one])
        pool[-1].sum().backward()
    order = {node.index: node.order for node in tape.nodes if node.order is not None}
    ran = [step.node for step in tape.steps if step.node is not None]
    assert sorted(ran) == sorted(order)
    assert all(
        order[edge.source] < order[edge.target]
        for edge in tape.edges
        if edge.source in order and edge.target in order
    )


@pytest.mark.parametrize("n", [0, 1, 2, 4, 8, 50])
def test_a_loop_leaves_one_node_for_each_time_round(n: int, capsys: Any) -> None:
    repeat = cells("01", "packages", "walk", "proved", "loop")["repeat"]
    capsys.readouterr()
    graph = nodes_of(repeat(torch.tensor(3.0, requires_grad=True), n))
    assert (len(graph), edges_of(graph)) == (n + 1, n)


def test_the_walk_of_the_lesson_finds_what_the_drawing_has(w: Tensor) -> None:
    walk = cells("01", "walk")["walk"]
    parts = w.unbind()
    for tensor in (parts[2] * parts[0], torch.stack([w, w * w]), torch.where(w > 1, w, w.exp())):
        nodes, edges = walk(tensor)
        drawing = dbr.draw(tensor)
        drawn = [(drawing.nodes[e.source].name, e.input_nr) for e in drawing.edges]
        assert sorted(node.name() for node in nodes) == sorted(n.name for n in drawing.nodes)
        assert sorted((source, number) for source, _, number in edges) == sorted(drawn)


def test_the_program_of_the_diagnosis_warns_and_stops_as_the_exercise_says() -> None:
    [program] = re.findall(r"```python\n(def batch_loss.*?loss\.backward\(\)\n)```", TEXT, re.S)
    [said] = re.findall(r"```text\n(train.*?)```", TEXT, re.S)
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # PyTorch gives this warning once in a process
    try:
        with (
            pytest.warns(UserWarning, match="Converting") as warned,
            pytest.raises(RuntimeError) as stopped,
        ):
            exec(compile(program, "train.py", "exec"), {"torch": torch})
    finally:
        torch.set_warn_always(before)
    (line,) = (f.lineno for f in traceback.extract_tb(stopped.tb) if f.filename == "train.py")
    assert f'File "train.py", line {line}, in <module>' in said
    assert said.endswith(f"RuntimeError: {stopped.value}\n")
    assert f"train.py:{warned[0].lineno}: UserWarning: " in said
    assert str(warned[0].message).partition(" (Triggered")[0] in said


def test_the_text_speaks_of_the_numbers_that_are_stored() -> None:
    """Readers may change them, so they are guarded here and not in the lesson."""
    book = nbformat.read(LESSON.notebook, as_version=4)
    said = {cell.id: printed(cell) for cell in book.cells if cell.cell_type == "code"}
    assert "w.grad = [1.0, -0.0, 3.0]\nb.grad = 2.0\nx.grad = None" in said["gradients"]
    assert [line.split()[-1] for line in said["nudges"].splitlines()[1:4]] == [
        *("+1.00", "+0.00", "+3.00"),
    ]
    assert "28 hours" in said["nudges"]
    assert said["unbind"].split() == ["UnbindBackward0", "0", "UnbindBackward0", "2"]
    assert re.findall(r"nodes: (\d+)", said["loop"]) == ["3", "5", "9"]


@pytest.mark.parametrize(
    "sentence",
    [
        "There is an entry for each input",
        "one for each input of the op",
        "visited once, from the last to the first",
    ],
)
def test_sentences_that_were_false_are_said_nowhere(sentence: str) -> None:
    for chapter in (ROOT / "chapters").glob("*.md"):
        assert sentence not in " ".join(chapter.read_text("utf-8").split()), chapter.name
