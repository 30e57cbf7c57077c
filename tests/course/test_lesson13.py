"""What lesson 13 says of double backward, of Functions and of derivatives at edges holds beyond its own examples.

Takes the cells by their names and runs them on other inputs.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import func, nn
from torch.autograd import grad, gradgradcheck

import definebyrun as dbr
from tests.course.lesson_code import cells

pytestmark = pytest.mark.usefixtures("float64")
SEEDS = pytest.mark.parametrize("seed", range(5))


@pytest.fixture(scope="module")
def lesson() -> dict[str, Any]:
    return cells(
        "13", "tools", "imports", "eighteen", "own-relu", "differences", "three-cubes", "edges",
        "complex-differences", "complex",
    )  # fmt: skip


@SEEDS
def test_differences_are_the_jacobian_in_every_shape(lesson: dict[str, Any], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, x = torch.randn(3, 4, generator=generator), torch.randn(4, generator=generator)
    f = lambda x: torch.sin(a @ x)  # noqa: E731
    assert torch.allclose(lesson["differences"](f, x), func.jacrev(f)(x), atol=1e-7)
    square = x.outer(x)
    assert lesson["differences"](lambda t: t.sin().sum(), square).shape == square.shape


@SEEDS
def test_the_relu_of_the_lesson_is_the_one_of_pytorch(lesson: dict[str, Any], seed: int) -> None:
    x = torch.randn(5, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    for ours, theirs in ((lesson["Relu"].apply(x), torch.relu(x)),):
        assert torch.equal(ours, theirs)
        assert torch.equal(*(grad(y.square().sum(), x)[0] for y in (ours, theirs)))


@SEEDS
def test_of_the_three_cubes_one_has_a_second_derivative(lesson: dict[str, Any], seed: int) -> None:
    x = torch.randn(3, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    verdicts = [
        gradgradcheck(lesson[name].apply, x, raise_exception=False)
        for name in ("Cube", "Detached", "Thrifty")
    ]
    assert verdicts == [True, False, False]


@pytest.mark.parametrize("power", [2, 3, 5])
def test_the_drawing_of_a_double_backward_tells_its_generations_apart(power: int) -> None:
    x = torch.tensor(3.0, requires_grad=True)
    with dbr.record() as tape:
        y = x**power
        (g,) = grad(y, x, create_graph=True)
        (h,) = grad(g, x)
    assert h.item() == pytest.approx(power * (power - 1) * 3.0 ** (power - 2))
    made = [node for node in tape.nodes if node.generation == 2]
    assert {node.name.rpartition("::")[2] for node in made} >= {"PowBackward0", "MulBackward0"}
    assert tape.svg().count("gen 2") >= len(made)


NAN = float("nan")
EDGES = {
    "std of a constant": (torch.std, [2.0, 2.0], [0.0, 0.0]),
    "the root of a variance": (lambda x: x.var().sqrt(), [2.0, 2.0], [NAN, NAN]),
    "norm at the origin": (torch.linalg.vector_norm, [0.0, 0.0], [0.0, 0.0]),
    "the root of a sum": (lambda x: (x * x).sum().sqrt(), [0.0, 0.0], [NAN, NAN]),
    "a tie of max": (torch.max, [1.0, 3.0, 3.0], [0.0, 0.5, 0.5]),
    "a tie of max along a dimension": (lambda x: x.max(dim=0).values, [1.0, 3.0, 3.0], [0.0, 1.0, 0.0]),
    "relu at 0": (torch.relu, [0.0], [0.0]),
    "an index that is there twice": (lambda x: x[[0, 0, 2]], [5.0, 6.0, 7.0], [2.0, 0.0, 1.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_at_an_edge_pytorch_returns_what_the_lesson_says(lesson: dict[str, Any], name: str) -> None:
    f, values, want = EDGES[name]
    found = torch.tensor(lesson["derivatives"](f, values)[0])
    assert torch.equal(found.nan_to_num(7), torch.tensor(want).nan_to_num(7))


def test_the_border_of_clamp_has_the_slope_of_this_version(lesson: dict[str, Any]) -> None:
    """1 up to 2.13 and 0 from 2.14 on, as the lesson says."""
    version = tuple(map(int, torch.__version__.split(".")[:2]))
    found = lesson["derivatives"](lambda x: x.clamp(min=0), [0.0])[0]
    assert found == [1.0 if version < (2, 14) else 0.0]


@SEEDS
def test_a_complex_gradient_is_the_two_real_slopes(lesson: dict[str, Any], seed: int) -> None:
    z = torch.randn(2, generator=torch.Generator().manual_seed(seed))
    z = torch.complex(*z).requires_grad_()
    for name, loss in lesson["losses"].items():
        (g,) = grad(loss(z), z)
        assert abs(lesson["real_slopes"](loss, z.detach()) - g) < 1e-8, name


def test_a_step_along_the_complex_gradient_goes_downhill() -> None:
    z = torch.tensor(3 + 4j, requires_grad=True)
    loss = lambda z: (z * z).real + 3 * (z * z.conj()).real  # noqa: E731
    (g,) = grad(loss(z), z)
    assert loss(z - 0.01 * g) < loss(z)


def test_attention_that_may_look_at_nothing_is_nan_by_hand_and_zero_by_pytorch() -> None:
    x = torch.randn(2, 3)
    mask = torch.tensor([[False, False], [True, True]])
    by_hand = (x @ x.T / 3**0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ x
    fused = nn.functional.scaled_dot_product_attention(x[None], x[None], x[None], attn_mask=mask)[0]
    assert by_hand[0].isnan().all()
    assert not fused[0].any()
    assert torch.allclose(by_hand[1], fused[1])
