"""The gradient checker: no planted bug is missed, no correct function accused, kinks are told apart.

The grid of functions is in `gradient_grid`; the planted bugs are those that lesson 21 prints, and a few more. The
other known checks are held beside ours by what `experiments/gradient_checks.py` has stored, of which a part is
measured again.
"""

from __future__ import annotations

import ast
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from definebyrun_course.measured import stored
from definebyrun_course.pieces import slopes
from definebyrun_course.pieces.checker import check_gradients, check_second_gradients, complex_step
from experiments import one_step
from experiments.gradient_checks import taken
from tests.course.gradient_grid import JUMPS, KINKS, RIGHT, Case, W, X, normal, seeded, zeros
from tests.course.lesson_code import cells
from tools import chapters

CORE = ["rung", "rungs", "relative-error", "constants", "calm", "estimate", "extrapolate"]
CORE += ["compare", "corner", "judge"]
PLANTED = ["imports", "op", "bugs-draw", "bugs-formulas", "bugs-more", "bugs-stale", "bugs"]
OTHERS = ["pieces", "check-tools", "check-more-tools", "check-cs231n", "check-others", "checks"]
UNSEEN = {"right if square: (3, 3)", "right if positive: +++"}
"""Where the wrong backward gives the right numbers: no check can see it there."""

pytestmark = pytest.mark.usefixtures("one_thread")
warnings.simplefilter("error", UserWarning)


LESSON = cells("21", *PLANTED, *OTHERS)


def planted() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """The wrong backwards of the lesson, and more made with its own `op`."""
    op = LESSON["op"]
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
    bugs: dict[str, tuple[Any, tuple[Any, ...]]] = LESSON["bugs"] | more
    return bugs


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


def test_no_known_check_finds_a_planted_bug_that_ours_misses() -> None:
    """Of the lesson's bugs ours catch all that show (below), so only those that are planted here are asked again."""
    caught, checks = LESSON["caught"], dict(LESSON["CHECKS"])
    ours = checks.pop("check_gradients"), checks.pop("second gradients")
    del checks["gradgradcheck"]  # for derivatives of the backward
    for name in set(BUGS) - set(LESSON["bugs"]):
        found = [other for other, check in checks.items() if caught(check, *BUGS[name])]
        assert not found or any(caught(check, *BUGS[name]) for check in ours), (name, found)


def test_what_is_stored_of_the_known_checks_is_what_they_say() -> None:
    """Counted again: the caught bugs of the quick checks, whom each of them accuses, and that ours accuses nobody."""
    kept, caught, checks = stored("gradient_checks"), LESSON["caught"], LESSON["CHECKS"]
    right = {name: found for name, case in RIGHT.items() if (found := taken(case))}
    assert list(right) == kept["right"]
    assert set(kept["unseen"]) == UNSEEN
    for name in ("cs231n", "Taylor", "JAX", "Chainer", "its fast mode"):
        assert [b for b in LESSON["bugs"] if caught(checks[name], *BUGS[b])] == kept["caught"][name]
        assert [n for n in right if caught(checks[name], *right[n])] == kept["accused"][name]
    assert kept["accused"]["check_gradients"] == []
    ours = set(kept["caught"]["check_gradients"]) | set(kept["caught"]["second gradients"])
    assert ours == set(LESSON["bugs"]) - UNSEEN
    assert min(len(kept["accused"][name]) for name in list(checks)[:9]) >= 6


def test_one_step_convicts_a_fifth_of_the_right_gradients_and_the_ladder_none() -> None:
    """Stored: 24 starts. Measured again: a start that the experiment does not use, with a wide margin."""
    kept = stored("one_step")
    shares = np.array(kept["shares"]["1149"][0])  # (steps, starts), off by more than 1 %
    assert shares.shape == (6, 24)
    half = 2.07 * shares[1].std(ddof=1) / 24**0.5
    assert 0.17 < shares[1].mean() - half < shares[1].mean() + half < 0.23
    assert np.array(kept["shares"]["4"][0])[1].mean() < 0.02, "few data points cross few kinks"
    assert min(np.array(kept["shares"]["1149"][1]).mean(1)) > 0.01, "no single step convicts nobody"
    assert kept["ladder"] == {"agrees": 24 * kept["weights"]}
    errors = one_step.FirstLayer(7, 1149).errors(1e-3)
    assert 0.05 < (errors > 0.01).double().mean() < 0.4
    layer = one_step.FirstLayer(7, 64)
    assert one_step.verdicts(layer, 8) == {"agrees": 8}


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
