"""What lesson 08 says of branches, trees and sampled choices holds beyond its own examples.

Takes the cells by their names and runs them on other formulas, other numbers and other seeds; trains nothing.
"""

from __future__ import annotations

import ast
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli

import definebyrun as dbr
from tests.course.lesson_code import cells
from tools import chapters


@pytest.fixture(scope="module")
def trees() -> dict[str, Any]:
    names = ("tree-parts", "tree-net", "by-height", "batched-tree-net", "formulas")
    return cells("08", "torch", "imports", *names)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hidden", [False, True], ids=["one layer", "hidden layer"])
def test_trees_by_height_have_the_logits_and_gradients_of_trees_one_by_one(
    trees: dict[str, Any], seed: int, hidden: bool
) -> None:
    torch.manual_seed(seed)
    net = trees["BatchedTreeNet"](size=5, hidden=hidden).double()
    rng = random.Random(seed)
    texts = [trees["grow"](rng, rng.randrange(5)) for _ in range(12)]  # bare leaves, too
    roots = [trees["parse"](text) for text in texts]
    alone = torch.stack([net.read(net.encode(root)).squeeze() for root in roots])
    together = net(roots)
    assert torch.allclose(alone, together)
    parameters = list(net.parameters())
    for one, other in zip(
        torch.autograd.grad(alone.sin().sum(), parameters, allow_unused=True),
        torch.autograd.grad(together.sin().sum(), parameters, allow_unused=True),
        strict=True,
    ):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other)


@pytest.mark.parametrize("seed", range(5))
def test_the_folded_drawing_of_a_formula_is_its_tree(trees: dict[str, Any], seed: int) -> None:
    """One card for each gate and leaf, and into each gate's card lead the cards of its two sides."""
    torch.manual_seed(0)
    net = trees["TreeNet"](size=2, hidden=False)
    formula = trees["grow"](random.Random(seed), 3)
    with dbr.record() as tape:
        net(trees["parse"](formula)).backward()
    folded = tape.fold([trees["Gate"], nn.Embedding, nn.Linear])
    names = [op.name.rpartition(".")[2] for op in folded.ops]
    gates = [name for name in names if name in "&|^"]
    assert sorted(gates) == sorted(symbol for symbol in formula if symbol in "&|^")
    assert names.count("leaf") == formula.count("0") + formula.count("1")
    made_by = {output: op for op in folded.ops for output in op.outputs}

    def walked(op: Any) -> str:
        name = op.name.rpartition(".")[2]
        if name == "leaf":
            [index] = (made_by[i] for i in op.inputs if i in made_by)
            return str(folded.tensors[index.outputs[0]].value.tolist())
        left, right = (walked(made_by[i]) for i in op.inputs if i in made_by)
        return f"({left} {name} {right})"

    [read] = (op for op in folded.ops if op.name.endswith("read"))
    assert walked(next(made_by[i] for i in read.inputs if i in made_by)) == formula


def test_a_threshold_and_a_scale_that_a_branch_skips_get_no_gradient() -> None:
    scaled = cells("08", "torch", "scaled")["scaled"]
    for start in (0.25, 0.99, 1.01, 3.0):
        scale, x = (torch.tensor(number, requires_grad=True) for number in (start, 4.0))
        scaled(x, scale).backward()
        assert scale.grad == 4, "the product's slope, wherever the product runs"
    scale, x = (torch.tensor(number, requires_grad=True) for number in (1.0, 4.0))
    assert scaled(x, scale) is x, "at 1 the very tensor comes back, without the scale"


def test_the_score_function_of_a_sampled_branch_is_right_on_the_average() -> None:
    """Exactly: the mean over both choices, weighted by their probabilities, for several thetas and baselines."""
    minutes = {1.0: 20.0, 0.0: 50.0}
    for number in (-1.0, 0.0, 0.7):
        for baseline in (0.0, 40.0, -3.0):
            theta = torch.tensor(number, dtype=torch.float64, requires_grad=True)
            choice = Bernoulli(logits=theta)
            mean = 0.0
            for drawn, cost in minutes.items():
                log_prob = choice.log_prob(torch.tensor(drawn, dtype=torch.float64))
                [slope] = torch.autograd.grad(log_prob, theta, retain_graph=True)
                mean += (log_prob.exp() * (cost - baseline) * slope).item()
            p = torch.sigmoid(theta).item()
            assert mean == pytest.approx(-30 * p * (1 - p))


def test_a_sampled_trip_is_one_of_two_and_has_its_log_probability() -> None:
    trip = cells("08", "torch", "imports", "trip")["trip"]
    torch.manual_seed(0)
    theta = torch.tensor(0.4, requires_grad=True)
    trips = [trip(theta) for _ in range(40)]
    p = torch.sigmoid(theta)
    for minutes, log_prob in trips:
        assert torch.isclose(log_prob.exp(), p if minutes == 20 else 1 - p)
    assert {minutes for minutes, _ in trips} == {20.0, 50.0}


def test_the_gradient_of_a_jump_misses_twice_the_density_at_its_place() -> None:
    jump = cells("08", "torch", "imports", "payment")["jump"]
    x = torch.tensor([-2.0, -0.01, 0.01, 5.0], requires_grad=True)
    jump(x).sum().backward()
    assert torch.allclose(x.grad, torch.full((4,), 0.1)), "on both sides of the jump"


class Inner(torch.autograd.Function):
    """x ** depth, by a pass inside a pass inside a pass …"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, depth: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.depth = depth
        return x**depth

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        [x] = ctx.saved_tensors
        with torch.enable_grad():
            inner = x.detach().requires_grad_()
            power = inner * Inner.apply(inner, ctx.depth - 1) if ctx.depth > 1 else inner * 1
            power.backward(grad_output)
        return inner.grad, None


def test_a_pass_may_start_a_pass_so_the_lesson_does_not_say_that_the_engine_never_calls_itself() -> (
    None
):
    x = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    Inner.apply(x, 6).backward()
    assert x.grad.item() == pytest.approx(6 * 1.5**5)
    text = chapters.find("08").chapter.read_text(encoding="utf-8")
    assert "never calls itself" not in " ".join(text.split())


def test_formulas_are_parsed_as_their_parentheses_say(trees: dict[str, Any]) -> None:
    for text in trees["formulas"](30, 3, seed=7):
        assert eval(compile(ast.Expression(trees["parse"](text)), "", "eval")) == eval(text)
