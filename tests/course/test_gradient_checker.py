"""The gradient checker: no planted bug is missed, no correct function accused, kinks are told apart.

The grid of functions is in `gradient_grid`; the planted bugs are those that lesson 20 prints, and a few more.
"""

from __future__ import annotations

import ast
import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from definebyrun_course.pieces import slopes
from definebyrun_course.pieces.checker import check_gradients, check_second_gradients, complex_step
from tests.course.gradient_grid import JUMPS, KINKS, RIGHT, Case, W, X, case, normal, seeded, zeros
from tests.course.lesson_code import cells
from tools import chapters

CORE = ["rung", "rungs", "calm", "estimate", "extrapolations", "extrapolate", "relative-error"]
CORE += ["compare", "compare-body", "corner", "doubt", "reasons", "explain", "judge"]
PLANTED = [
    "imports",
    "op",
    "bugs-draw",
    "bugs-formulas",
    "bugs-more",
    "bugs-stale",
    "bugs",
    "bugs-places",
]
UNSEEN = {"right if square: (3, 3)", "right if positive: +++"}
"""Where the wrong backward gives the right numbers: no check can see it there."""

warnings.simplefilter("error", UserWarning)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def planted() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """The wrong backwards of the lesson, and more made with its own `op`."""
    defined = cells("20", *PLANTED)
    op = defined["op"]
    relu = op(torch.relu, lambda g, x: g)
    linear = op(lambda x, w: x @ w, lambda g, x, w: (g @ w.T, (x.T @ g) * (1 + 1e-4)))
    more = {
        "a factor of 1.0001": (linear, (X, W)),
        "wrong beside a kink": (relu, (normal(4),)),
        "wrong at a kink too": (relu, (zeros(3),)),
        "transposed": (op(lambda x: x * 1, lambda g, x: g.T), (normal(3, 3),)),
        "a constant for a zero": (op(torch.round, lambda g, x: g), (normal(3),)),
        "nan": (op(torch.exp, lambda g, x: g * torch.nan), (normal(3),)),
        "raises": (op(torch.exp, lambda g, x: g[:1, None]), (normal(3),)),
        "detached": (lambda x: x.detach() * 2, (normal(3),)),
        "half detached": (lambda x: x * x.detach(), (normal(3),)),
        "behind a branch": (lambda x: relu(x) if x.sum() < 9 else x, (normal(4),)),
        "among many, in one direction": (
            op(torch.sin, lambda g, x: g * x.cos() * (x < 9)),
            (normal(3, shift=8.9),),
        ),
    }
    return defined["bugs"] | more


BUGS = planted()


def run(case: Case) -> Any:
    function, inputs = case()
    return check_gradients(function, *inputs)


def test_the_grid_is_as_large_as_promised() -> None:
    assert len(RIGHT) >= 40
    assert len(set(BUGS) - UNSEEN) >= 12


@pytest.mark.parametrize("name", RIGHT)
def test_no_correct_function_is_accused(name: str) -> None:
    report = run(RIGHT[name])
    assert report.status == "agrees", report
    assert report


@pytest.mark.parametrize("name", KINKS)
def test_a_kink_is_a_kink_and_no_error(name: str) -> None:
    report = run(KINKS[name])
    assert report.status == "kink", report
    assert report
    assert "beside it the gradient agrees" in report.findings[0].reason


@pytest.mark.parametrize("name", JUMPS)
def test_a_jump_is_told_apart_too(name: str) -> None:
    report = run(JUMPS[name])
    assert report.status == "jump", report
    assert not report


@pytest.mark.parametrize("name", sorted(set(BUGS) - UNSEEN))
def test_no_planted_bug_is_missed(name: str) -> None:
    function, inputs = BUGS[name]
    if name == "wrong second derivative":
        assert check_gradients(function, *inputs).status == "agrees"
        report = check_second_gradients(function, *inputs)
    else:
        report = check_gradients(
            function, *inputs, directions=3 if inputs[0].numel() > 100 else None
        )
    assert report.status == "wrong", report
    assert not report


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("stale saved tensor", "another forward before the backward changes the gradient"),
        ("g overwritten", "writes into the gradient that it is given"),
        ("raises", "the backward raises RuntimeError"),
    ],
)
def test_a_backward_that_is_broken_as_such_is_named(name: str, reason: str) -> None:
    function, inputs = BUGS[name]
    assert reason in check_gradients(function, *inputs).findings[0].reason


@pytest.mark.parametrize("name", sorted(UNSEEN))
def test_a_bug_that_does_not_show_at_an_input_is_not_seen_there(name: str) -> None:
    function, inputs = BUGS[name]
    assert check_gradients(function, *inputs).status == "agrees"


@pytest.mark.parametrize(
    "name", ["sin", "softmax", "matmul", "a linear layer", "a custom function", "fft"]
)
def test_second_gradients_of_correct_functions_agree(name: str) -> None:
    function, inputs = RIGHT[name]()
    assert check_second_gradients(function, *inputs).status == "agrees"


@pytest.mark.parametrize("name", ["a sign", "a path cut", "transposed", "a factor of 1.0001"])
def test_random_directions_find_bugs_too(name: str) -> None:
    function, inputs = BUGS[name]
    assert check_gradients(function, *inputs, directions=2).status == "wrong"


def test_parameters_are_checked_by_name() -> None:
    layer = nn.Linear(3, 2)
    report = check_gradients(
        lambda x: nn.functional.linear(x, layer.weight.detach(), layer.bias),
        normal(4, 3),
        parameters=layer,
    )
    assert {f.name: f.status for f in report.findings} == {
        "input 0": "agrees",
        "weight": "wrong",
        "bias": "agrees",
    }
    assert "weight: 6 wrong" in repr(report)
    assert report["weight"].verdict.claimed == 0


def test_everything_borrowed_is_given_back() -> None:
    model = seeded(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout()))
    model[0].bias.grad = torch.ones(3)
    x = normal(5, 4, dtype=torch.float32)
    tensors = [*model.parameters(), *model.buffers(), x]
    before = [(t.data_ptr(), t.dtype, t.detach().clone()) for t in tensors]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert check_gradients(model, x)
    after = [*model.parameters(), *model.buffers(), x]
    for (place, dtype, value), tensor in zip(before, after, strict=True):
        assert (tensor.data_ptr(), tensor.dtype) == (place, dtype)
        assert torch.equal(tensor.detach(), value)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]
    assert model[0].bias.grad.tolist() == [1, 1, 1]
    assert model[0].weight.grad is None
    assert x.grad is None


def test_it_is_given_back_after_an_error_as_well() -> None:
    layer = nn.Linear(2, 2)

    def breaks(x: torch.Tensor) -> None:
        raise KeyError("no such thing")

    with pytest.raises(KeyError, match="no such thing"):
        check_gradients(breaks, normal(2), parameters=layer)
    assert layer.weight.dtype == torch.float32


def test_what_cannot_be_decided_is_said_to_be_so() -> None:
    own = torch.Generator()
    assert (
        "under one seed differ"
        in check_gradients(lambda x: x * torch.rand((), generator=own), normal(2))
        .findings[0]
        .reason
    )
    assert check_gradients(torch.sqrt, zeros(1)).status == "undecided"
    assert check_gradients(lambda x: (1e6 + x.float()).sum(), normal(1)).status == "undecided"
    assert (
        check_gradients(torch.log, zeros(1)).findings[0].reason == "the function is not finite here"
    )


def test_a_function_stuck_in_float32_is_checked_more_loosely_and_says_so() -> None:
    layer = seeded(nn.Linear(4, 2))
    report = check_gradients(lambda x: layer(x), X.detach().float().requires_grad_())
    assert report.status == "agrees"
    assert "not run in float64" in report.notes[0]
    wrong = lambda x: layer(x) * x.detach().sum()  # noqa: E731
    assert check_gradients(wrong, X.detach().float().requires_grad_()).status == "wrong"


def test_a_gradient_wrong_at_one_point_only_is_told_so() -> None:
    for function in (
        lambda x: x.relu() - (-x).relu(),
        lambda x: torch.where(x != 0, x.sin() / x, 1.0),
    ):
        report = check_gradients(function, zeros(1))
        assert report.status == "wrong"
        assert "at this point only" in report.findings[0].reason


def test_bad_questions_get_one_sentence() -> None:
    with pytest.raises(ValueError, match="requires_grad=True"):
        check_gradients(torch.sin, torch.ones(2))
    with pytest.raises(ValueError, match="at least 1; got 0"):
        check_gradients(torch.sin, normal(2), directions=0)
    with pytest.raises(ValueError, match="no floating-point tensor"):
        check_gradients(torch.argmax, normal(2))


def test_the_complex_step_is_exact_to_the_last_digits() -> None:
    x = X.detach()
    found = complex_step(lambda z: torch.tanh(z @ z.T).sum(), x, torch.ones_like(x))
    y = x.clone().requires_grad_()
    [g] = torch.autograd.grad(torch.tanh(y @ y.T).sum(), y)
    assert torch.allclose(found, g.sum(), rtol=1e-14, atol=1e-14)


def test_the_lesson_prints_the_code_of_the_piece() -> None:
    """Line by line, but for docstrings and type hints, which the lesson leaves out."""
    book = chapters.notebook(chapters.find("20"))
    printed = "\n".join(cell.source for cell in book.cells if cell.get("id") in CORE)
    with open(slopes.__file__, encoding="utf-8") as file:
        piece = bare(file.read())
    lesson = bare(printed)
    assert set(lesson) == set(piece) - {"__all__"}
    for name, code in lesson.items():
        assert code == piece[name], name


def bare(source: str) -> dict[str, str]:
    """What a source defines, by name, without docstrings and annotations."""
    found = {}
    for node in ast.parse(source).body:
        for part in ast.walk(node):
            if isinstance(part, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(part):
                part.body = part.body[1:]
            if isinstance(part, ast.FunctionDef):
                part.returns = None
                for argument in part.args.args:
                    argument.annotation = None
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = ast.unparse(Plain().visit(node))
        elif isinstance(node, ast.Assign):
            names, values = node.targets[0], node.value
            pairs = (
                zip(names.elts, values.elts, strict=True)
                if isinstance(names, ast.Tuple)
                else [(names, values)]
            )
            found |= {name.id: ast.unparse(value) for name, value in pairs}
    return found


class Plain(ast.NodeTransformer):
    """An annotated assignment inside a function, without its annotation."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = [
            ast.Assign([part.target], part.value, lineno=0)
            if isinstance(part, ast.AnnAssign)
            else part
            for part in node.body
        ]
        return node


SINGLE = [
    n
    for n in RIGHT
    if n in ("sin", "tanh", "softmax", "matmul", "a while loop", "log near zero", "round")
]


@pytest.mark.parametrize("name", [*SINGLE, *KINKS])
def test_the_small_check_of_the_lesson_says_the_same(name: str) -> None:
    lesson = cells("20", "imports", *CORE, "check-rise", "check")
    function, inputs = (RIGHT | KINKS)[name]()
    if len(inputs) > 1 or "outputs" in name:
        pytest.skip("the small check takes one input, and weighs outputs once")
    statuses = {verdict.status for verdict in lesson["check"](function, inputs[0])}
    assert statuses == {run(case(function, *inputs)).status}
