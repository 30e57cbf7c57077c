"""Lesson 15's network by hand: the code in its cells, the piece of the same name and PyTorch agree, everywhere."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from definebyrun_course.pieces import mlp
from tests.course.lesson_code import cells

TOLERANCE = {np.float64: 1e-10, np.float32: 2e-4}
TORCH = {np.float64: torch.float64, np.float32: torch.float32}
NAMED = ("hand-linear", "hand-relu", "hand-cross-entropy", "hand-mlp", "hand-step")


@cache
def lesson() -> dict[str, Any]:
    """What the lesson's named cells define, with the imports of its first cell."""
    return cells("15", "cell-02", *NAMED)


def network(seed: int, dtype: type, code: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """A random network with random biases, a batch and its classes; some seeds take the sizes at the edge."""
    rng = np.random.default_rng(seed)
    hidden = rng.integers(1, 9, size=seed % 5).tolist()  # every fifth has no hidden layer
    classes = 1 if seed % 7 == 3 else int(rng.integers(2, 6))
    batch = 1 if seed % 6 == 2 else int(rng.integers(2, 10))
    net = code["build"]([int(rng.integers(1, 9)), *hidden, classes], rng, dtype=dtype)
    for layer in net.layers[::2]:
        layer.b = rng.normal(size=layer.b.shape).astype(dtype)
    if hidden and seed % 4 == 1:
        net.layers[0].b = net.layers[0].b - dtype(100)  # every unit of the first layer is dead
    if hidden and seed % 9 == 4:
        net.layers[0].W, net.layers[0].b = (
            0 * net.layers[0].W,
            0 * net.layers[0].b,
        )  # z is exactly 0
    y = np.full(batch, classes - 1) if seed % 8 == 5 else rng.integers(0, classes, batch)
    return net, rng.normal(size=(batch, net.layers[0].W.shape[0])).astype(dtype), y


def twin(net: Any, dtype: type) -> nn.Sequential:
    """The same network in PyTorch."""
    modules: list[nn.Module] = []
    for layer in net.layers:
        if not hasattr(layer, "W"):
            modules.append(nn.ReLU())
            continue
        modules.append(nn.Linear(*layer.W.shape, dtype=TORCH[dtype]))
        with torch.no_grad():
            modules[-1].weight.copy_(torch.tensor(layer.W.T))
            modules[-1].bias.copy_(torch.tensor(layer.b))
    return nn.Sequential(*modules)


def every_gradient(net: Any, x: np.ndarray, y: np.ndarray, code: Any) -> dict[str, np.ndarray]:
    """Loss, logits, and each gradient on the way back by its layer's place, made by hand."""
    logits = net.forward(x)
    loss, grad = code["cross_entropy"](logits, y)
    found = {"loss": np.asarray(loss), "logits": logits, f"out {len(net.layers)}": grad}
    for place in reversed(range(len(net.layers))):
        grad = net.layers[place].backward(grad)
        found[f"out {place}"] = grad  # what layer `place` was given; 0 is x
        if hasattr(net.layers[place], "W"):
            found[f"dW {place}"], found[f"db {place}"] = net.layers[place].dW, net.layers[place].db
    return found


def every_gradient_of_torch(model: nn.Sequential, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    outs = [torch.tensor(x, requires_grad=True)]
    for module in model:
        outs.append(module(outs[-1]))
        outs[-1].retain_grad()
    loss = F.cross_entropy(outs[-1], torch.tensor(y))
    loss.backward()
    found = {"loss": loss.detach(), "logits": outs[-1].detach()}
    found |= {f"out {place}": out.grad for place, out in enumerate(outs)}
    for place, module in enumerate(model):
        if isinstance(module, nn.Linear):
            found[f"dW {place}"], found[f"db {place}"] = module.weight.grad.T, module.bias.grad
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize("source", ["lesson", "piece"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_gradient_is_autograds_on_150_random_networks(source: str, dtype: type) -> None:
    code = lesson() if source == "lesson" else vars(mlp)
    seen = set()
    for seed in range(150):
        net, x, y = network(seed, dtype, code)
        ours = every_gradient(net, x, y, code)
        theirs = every_gradient_of_torch(twin(net, dtype), x, y)
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            where = f"seed {seed}, {name}"
            assert value.shape == theirs[name].shape, where
            assert name == "loss" or value.dtype == dtype, where
            limit = TOLERANCE[dtype]
            np.testing.assert_allclose(value, theirs[name], rtol=limit, atol=limit, err_msg=where)
        if len(net.layers) > 1 and not any(ours["dW 0"].ravel()):
            seen.add("dead")
        seen |= {
            ("layers", len(net.layers)),
            ("batch", min(len(y), 2)),
            ("classes", min(ours["logits"].shape[1], 2)),
        }
    assert seen >= {"dead", ("layers", 1), ("layers", 9), ("batch", 1), ("classes", 1)}, (
        "the edges were met"
    )


def test_piece_and_lesson_give_the_same_bits() -> None:
    for seed in range(50):
        ours = every_gradient(*network(seed, np.float64, vars(mlp)), vars(mlp))
        theirs = every_gradient(*network(seed, np.float64, lesson()), lesson())
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours | theirs)


@pytest.mark.parametrize("source", ["lesson", "piece"])
def test_a_hundred_steps_are_those_of_sgd(source: str) -> None:
    code = lesson() if source == "lesson" else vars(mlp)
    for seed in (0, 6, 8, 12):
        net, _, _ = network(seed, np.float64, code)
        model, rng = twin(net, np.float64), np.random.default_rng(seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        inputs, classes = net.layers[0].W.shape[0], net.layers[-1].W.shape[1]
        for _ in range(100):
            x, y = rng.normal(size=(7, inputs)), rng.integers(0, classes, 7)
            net.backward(code["cross_entropy"](net.forward(x), y)[1])
            net.step(0.05) if source == "piece" else code["step"](net, 0.05)
            optimizer.zero_grad()
            F.cross_entropy(model(torch.tensor(x)), torch.tensor(y)).backward()
            optimizer.step()
        for layer, module in zip(net.layers[::2], list(model)[::2], strict=True):
            np.testing.assert_allclose(layer.W.T, module.weight.detach().numpy(), atol=1e-10)
            np.testing.assert_allclose(layer.b, module.bias.detach().numpy(), atol=1e-10)


@pytest.mark.parametrize("source", ["lesson", "piece"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_loss_stays_finite_and_right_however_large_the_logits(source: str, dtype: type) -> None:
    cross_entropy = (lesson() if source == "lesson" else vars(mlp))["cross_entropy"]
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1, 30, 88, 89, 104, 710, 1e4, 1e30):
        logits = (scale * rng.normal(size=(6, 4))).astype(dtype)
        y = rng.integers(0, 4, 6)
        with np.errstate(under="ignore"):
            loss, dlogits = cross_entropy(logits, y)
        z = torch.tensor(logits, requires_grad=True)
        true = F.cross_entropy(z, torch.tensor(y))
        [grad] = torch.autograd.grad(true, z)
        assert loss == pytest.approx(true.item(), rel=1e-5)
        np.testing.assert_allclose(dlogits, grad.numpy(), atol=TOLERANCE[dtype])
        np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=TOLERANCE[dtype])


def test_a_step_leaves_the_callers_arrays_alone() -> None:
    W, b = np.ones((2, 2)), np.zeros(2)
    net = mlp.MLP([mlp.Linear(W, b)])
    net.backward(mlp.cross_entropy(net.forward(np.ones((3, 2))), np.array([0, 1, 0]))[1])
    net.step(0.1)
    assert (W == 1).all()
    assert (b == 0).all()
    assert not np.array_equal(net.layers[0].b, b)


def test_bad_shapes_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"W of shape \(inputs, outputs\)"):
        mlp.Linear(np.ones((2, 3)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="y has shape"):
        mlp.cross_entropy(np.ones((2, 3)), np.ones((2, 1), int))
    with pytest.raises(IndexError):
        mlp.cross_entropy(np.ones((2, 3)), np.array([0, 3]))


def test_with_zero_weights_only_the_last_bias_learns() -> None:
    net = mlp.build([5, 4, 4, 3], np.random.default_rng(0), gain=0)
    x = np.random.default_rng(1).normal(size=(6, 5))
    net.backward(mlp.cross_entropy(net.forward(x), np.array([0, 1, 2, 2, 2, 1]))[1])
    *before, last = net.layers[::2]
    assert not any(part.any() for layer in before for part in (layer.dW, layer.db))
    assert not last.dW.any()
    assert last.db.any()


def test_the_first_program_trains_and_answers_one_image_with_64_rows() -> None:
    first_try = cells("15", "cell-02", "cell-03", "first-try")["first_try"]
    (early, _), (late, (_, b1, _, b2)) = first_try(1), first_try(300)
    assert late < 0.2 < 2 < early, "it trains although its bias gradients are wrong"
    assert (b1.shape, b2.shape) == ((64, 32), (64, 10)), "each place in the batch has a bias"


@pytest.mark.parametrize(("lr", "most"), [(0.1, 6), (1.0, 64)])
def test_a_rate_of_1_kills_units_and_a_rate_of_a_tenth_does_not(lr: float, most: int) -> None:
    """Of 24 starts the median has 33 dead units of 64 with 1.0, and 1 with 0.1; here six others."""
    digits = load_digits()
    pixels, labels = (digits.data - digits.data.mean()) / digits.data.std(), digits.target
    found = []
    for seed in range(200, 206):
        rng = np.random.default_rng(seed)
        net = mlp.build([64, 32, 32, 10], rng)
        for _ in range(300):
            rows = rng.integers(0, 1797, 64)
            net.backward(mlp.cross_entropy(net.forward(pixels[rows]), labels[rows])[1])
            net.step(lr)
        net.forward(pixels)
        found.append(sum(int((~layer.mask).all(axis=0).sum()) for layer in net.layers[1::2]))
    assert max(found) <= most, found
    assert lr < 1 or np.median(found) > 15, found
