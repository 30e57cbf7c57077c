"""What lesson 14 defines is right beyond its own examples: each derivative against central differences.

Takes the cells by their names and runs them on random sizes and seeds; trains nothing for long.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, func, nn
from torch.autograd import forward_ad, grad

from tests.course.lesson_code import cells

pytestmark = pytest.mark.usefixtures("float64")
SEEDS = pytest.mark.parametrize("seed", range(5))


@pytest.fixture(scope="module")
def lesson() -> dict[str, Any]:
    names = ("differences", "penalty", "three-products", "sharpness", "two-clippings")
    return cells("14", "tools", "imports", *names, "setup-context", "three-equations", "solve")


def polynomial(seed: int) -> Any:
    """A smooth function from n to m numbers, its input, and m."""
    generator = torch.Generator().manual_seed(seed)
    n, m = (int(torch.randint(1, 6, (), generator=generator)) for _ in range(2))
    a, b = (torch.randn(m, n, generator=generator) for _ in range(2))
    x = torch.randn(n, generator=generator)
    return (lambda x: torch.sin(a @ x) * (b @ x**2)), x, m


@SEEDS
def test_differences_are_the_jacobian_in_every_shape(lesson: dict[str, Any], seed: int) -> None:
    f, x, m = polynomial(seed)
    found = lesson["differences"](f, x)
    assert found.shape == (m, len(x))
    assert torch.allclose(found, func.jacrev(f)(x), atol=1e-7)
    square = x.outer(x)
    assert lesson["differences"](lambda t: t.sin().sum(), square).shape == square.shape


@SEEDS
def test_three_ways_to_push_a_direction_forward_agree(lesson: dict[str, Any], seed: int) -> None:
    f, x, m = polynomial(seed)
    t = torch.randn(len(x), generator=torch.Generator().manual_seed(seed))
    want = lesson["differences"](f, x) @ t
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(f(forward_ad.make_dual(x, t))).tangent
    leaf, u = x.clone().requires_grad_(), torch.zeros(m, requires_grad=True)
    (row,) = grad(f(leaf), leaf, u, create_graph=True)
    for found in (func.jvp(f, (x,), (t,))[1], dual, grad(row, u, t)[0]):
        assert torch.allclose(found, want, atol=1e-6)


@SEEDS
def test_products_with_the_hessian_equal_its_differences(lesson: dict[str, Any], seed: int) -> None:
    f, x, _ = polynomial(seed)
    loss = lambda x: f(x).square().sum()  # noqa: E731
    hessian = lesson["differences"](func.grad(loss), x)
    v = torch.randn(len(x), generator=torch.Generator().manual_seed(seed))
    for way in ("reverse_reverse", "forward_reverse", "by_differences"):
        assert torch.allclose(lesson[way](loss, x, v), hessian @ v, rtol=1e-5, atol=1e-5), way


@SEEDS
def test_power_iteration_finds_the_largest_curvature(lesson: dict[str, Any], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    matrix = turn @ torch.diag(torch.tensor([5.0, 3.0, 1.0, 0.5, -1.0, -2.0])) @ turn.T
    loss = lambda x: x @ matrix @ x / 2  # noqa: E731
    largest, v = lesson["sharpness"](loss, torch.ones(6), torch.randn(6, generator=generator), 200)
    assert abs(largest - 5) < 1e-9
    assert torch.allclose(matrix @ v, 5 * v, atol=1e-6)


@SEEDS
def test_a_penalty_trains_the_weights_as_differences_say(lesson: dict[str, Any], seed: int) -> None:
    torch.manual_seed(seed)
    net, x = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)), torch.randn(4, 2)
    penalty = lesson["penalty"](net, x)
    norms = torch.stack([lesson["differences"](net, row).norm() for row in x])
    assert torch.allclose(penalty, (norms - 1).square().mean(), atol=1e-7)
    penalty.backward()
    for name in ("0.weight", "0.bias", "2.weight"):
        parameter = net.get_parameter(name)

        def of(value: Tensor, parameter: Tensor = parameter) -> Tensor:
            with torch.no_grad():
                parameter.copy_(value)
            return lesson["penalty"](net, x).detach()

        at = parameter.detach().clone()
        assert torch.allclose(parameter.grad, lesson["differences"](of, at), atol=1e-7), name
        of(at)


@SEEDS
def test_the_derivatives_of_a_network_in_time(lesson: dict[str, Any], seed: int) -> None:
    torch.manual_seed(seed)
    net, t = nn.Sequential(nn.Linear(1, 8), nn.SiLU(), nn.Linear(8, 1)), torch.randn(7, 1)
    _, du, ddu = lesson["derivatives"](net, t)
    slope = lambda t: lesson["derivatives"](net, t)[1].squeeze()  # noqa: E731
    for found, f in ((du, lambda t: net(t).squeeze()), (ddu, slope)):
        want = lesson["differences"](f, t).squeeze()
        assert torch.allclose(torch.diag(found.squeeze()), want, atol=1e-7)


def test_only_a_smooth_network_learns_to_swing(lesson: dict[str, Any]) -> None:
    lesson["times"] = times = torch.linspace(0, 3, 31)[:, None]
    errors = {
        name: (lesson["solve"](act, lesson["oscillation"], seed=7) - times.cos()).abs().max()
        for name, act in (("SiLU", nn.SiLU()), ("ReLU", nn.ReLU()))
    }
    assert errors["SiLU"] < 0.1 < 0.8 < errors["ReLU"]


@SEEDS
def test_the_function_of_the_lesson_is_right_at_every_order(
    lesson: dict[str, Any], seed: int
) -> None:
    cube = lesson["CubeForFunc"].apply
    x = torch.randn(3, generator=torch.Generator().manual_seed(seed))
    f = cube
    for order in (3 * x**2, 6 * x, torch.full((3,), 6.0)):
        f = func.grad(f)
        assert torch.allclose(func.vmap(f)(x), order)


@SEEDS
def test_a_clipped_sample_moves_the_mean_by_a_bounded_step(
    lesson: dict[str, Any], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    limit, n = 1e-3, 6  # so small that the mean itself is never clipped again
    each = {
        "w": torch.randn(n, 4, 3, generator=generator),
        "b": torch.randn(n, 2, generator=generator),
    }
    other = {name: g.clone() for name, g in each.items()}
    for g in other.values():
        g[2] *= -1e6
    clean, dirty = (lesson["clipped"](each_of, "each sample", limit) for each_of in (each, other))
    assert (clean - dirty).norm() <= 2 * limit / n * (1 + 1e-9)


def test_batch_norm_runs_under_vmap_where_it_tracks_nothing() -> None:
    """In training mode, and in a model that was made without a thought of it; what is refused is the buffer."""
    torch.manual_seed(0)
    x = torch.randn(5, 3, 2)
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    with pytest.raises(RuntimeError, match="running_mean"):
        func.vmap(model)(x)
    func.replace_all_batch_norm_modules_(model)
    assert model.training
    assert torch.allclose(func.vmap(model)(x), torch.stack([model(each) for each in x]))


def test_a_sum_gives_own_slopes_only_without_batch_norm() -> None:
    torch.manual_seed(0)
    t = torch.randn(4, 1)
    for norm, same in ((nn.Identity(), True), (nn.BatchNorm1d(3), False)):
        net = nn.Sequential(nn.Linear(1, 3), norm, nn.Tanh(), nn.Linear(3, 1))
        leaf = t.clone().requires_grad_()
        (by_sum,) = grad(net(leaf).sum(), leaf)
        rows = [grad(u, leaf, retain_graph=True)[0] for u in net(leaf)[:, 0]]
        own = torch.stack([row[i] for i, row in enumerate(rows)])
        assert torch.allclose(by_sum, own) is same
