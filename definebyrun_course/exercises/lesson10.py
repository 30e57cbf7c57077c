"""Exercises of lesson 10, An MLP by hand: backward of a linear layer, of the loss and of a norm; twins; momentum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch.nn import functional as F

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]


def _numbers(*shape: int, seed: int = 0) -> ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def _compare(names: str, found: Any, right: Any, where: str) -> None:
    """Expect an array for each name, of the right shape and with the right numbers."""
    wanted = names.split()
    several = isinstance(found, (tuple, list)) and len(found) == len(wanted)
    expect(several, f"Return {len(wanted)} arrays: {', '.join(wanted)}.")
    for name, a, b in zip(wanted, found, right, strict=True):
        expect(
            np.shape(a) == tuple(b.shape),
            f"{name} has shape {np.shape(a)} and not {tuple(b.shape)}, {where}.",
            "A gradient has the shape of what it belongs to.",
        )
        expect(
            np.allclose(a, b.numpy(), rtol=1e-8, atol=1e-10),
            f"{name} has the right shape and wrong numbers, {where}.",
            "Write one number of the result by index; add over all the paths to it. Nothing is divided.",
        )


# ---- 10.1: a linear layer ----


def check_linear(linear_backward: Callable[..., Any]) -> None:
    """`linear_backward(x, W, dz)` returns the gradients of x, W and b for `z = x @ W + b`."""
    for batch, inputs, outputs in ((5, 3, 4), (1, 2, 3), (3, 3, 3), (7, 1, 1)):
        arrays = _numbers(batch, inputs), _numbers(inputs, outputs, seed=1), np.zeros(outputs)
        dz = _numbers(batch, outputs, seed=2)
        x, W, b = (torch.tensor(a, requires_grad=True) for a in arrays)
        right = torch.autograd.grad(x @ W + b, (x, W, b), torch.tensor(dz))
        where = f"for a batch of {batch}, {inputs} inputs and {outputs} outputs"
        _compare("dx dW db", linear_backward(*arrays[:2], dz), right, where)


# ---- 10.2: cross-entropy ----


def check_cross_entropy(stable_cross_entropy: Callable[..., Any]) -> None:
    """`stable_cross_entropy(logits, y)` returns the mean loss and the gradient, for all finite logits."""
    small, y, f32 = _numbers(6, 4), np.array([0, 3, 3, 1, 2, 0]), np.float32
    cases = {
        "small logits": (small, y),
        "one example": (small[:1], y[:1]),
        "one class": (small[:, :1], 0 * y),
        "logits of 89 in float32": (np.array([[89, 0], [0, 89]], f32), y[[3, 3]]),
        "a gap of 120 in float32": (np.array([[120, 0]], f32), y[[3]]),
        "logits of 10,000": (np.array([[1e4, 0, -1e4], [-5e3, -6e3, -5e3]]), y[[4, 3]]),
    }
    for name, (logits, classes) in cases.items():
        kept = logits.copy()
        with np.errstate(all="ignore"):
            found = stable_cross_entropy(logits, classes)
        pair = isinstance(found, (tuple, list)) and len(found) == 2
        expect(pair, "Return two things: the loss, then the gradient.")
        expect(np.array_equal(logits, kept), "Your function changed the logits that it was given.")
        loss, grad = found[0], np.asarray(found[1])
        z = torch.tensor(logits, requires_grad=True)
        true_loss = F.cross_entropy(z, torch.tensor(classes))
        true = torch.autograd.grad(true_loss, z)[0].numpy()
        expect(grad.shape == true.shape, f"The gradient has shape {grad.shape}, for {name}.")
        expect(
            np.isfinite(loss) and np.isfinite(grad).all(),
            f"There is an inf or a nan, for {name}.",
            "Subtract the largest logit of each row, and take no logarithm of a probability.",
        )
        expect(
            np.isclose(loss, true_loss.item(), rtol=1e-5),
            f"The loss is {float(loss):.4g} and not {true_loss.item():.4g}, for {name}.",
            "It is the mean over the batch of logsumexp minus the true class's logit.",
        )
        if name == "small logits":
            expect(
                not np.allclose(grad, 6 * true), "Your gradient is that of the sum, not the mean."
            )
            expect(not np.allclose(grad, true / 6), "Your gradient is divided by the batch twice.")
        expect(np.allclose(grad, true, atol=1e-6), f"The gradient is wrong, for {name}.")
        expect(grad.dtype == logits.dtype, f"{logits.dtype} logits got a {grad.dtype} gradient.")


def _loss(
    logits: ndarray, y: ndarray, axis: int | None = 1, log: bool = False, power: int = 1
) -> tuple[Any, ndarray]:
    """The solution with its usual mistakes as switches; `axis` 0 stands for no shift."""
    rows = np.arange(len(y))
    shifted = logits - (logits.max(axis=axis, keepdims=True) if axis != 0 else 0)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    log_p = np.log(np.exp(shifted) / total) if log else shifted - np.log(total)
    grad = np.exp(log_p)
    grad[rows, y] -= 1
    return -log_p[rows, y].mean(), grad / len(y) ** power


# ---- 10.3: twins ----


def check_twins(twins: Callable[..., Any]) -> None:
    """`twins(W1, b1, W2)` is the set of pairs of hidden units that stay equal under gradient descent."""
    W1, b1, W2 = _numbers(4, 6), _numbers(6, seed=1), _numbers(6, 3, seed=2)
    none = twins(W1.copy(), b1.copy(), W2.copy())
    expect(isinstance(none, (set, frozenset)), f"Return a set of pairs; this is {none!r:.60}.")
    expect(not none, "You found twins among six random units: there are none.")
    W1[:, 3], b1[3] = W1[:, 0], b1[0]
    expect(
        not twins(W1, b1, W2),
        "Units with different outgoing weights are no twins: they get different dh, and part.",
        "Look at W2 as well.",
    )
    W1[:, 2], W2[2] = W1[:, 1], W2[1]
    expect(not twins(W1, b1, W2), "Units 1 and 2 differ in their bias; you call them twins.")
    for unit in (4, 5):
        W1[:, unit], b1[unit], W2[unit] = W1[:, 1], b1[1], W2[1]
    found = twins(W1, b1, W2)
    expect(
        found == {(1, 4), (1, 5), (4, 5)},
        f"Three units are equal, 1, 4 and 5; you found {sorted(found)}.",
        "Three equal units make three pairs.",
    )


def _twins(W1: ndarray, b1: ndarray, W2: ndarray, parts: str = "ibo", itself: bool = False) -> set:
    rows = {"i": W1, "b": b1[None], "o": W2.T}
    units = np.vstack([rows[part] for part in parts]).T
    pairs = ((i, j) for j in range(len(units)) for i in range(j + itself))
    return {(i, j) for i, j in pairs if np.array_equal(units[i], units[j])}


# ---- 10.4: momentum ----


def check_momentum(momentum_step: Callable[..., Any]) -> None:
    """`momentum_step(...)` takes the steps of `torch.optim.SGD` with momentum and weight decay."""
    for lr, momentum, decay in ((0.1, 0.0, 0.0), (0.1, 0.9, 0.0), (0.05, 0.9, 0.1)):
        params, velocity = [_numbers(3, 2), _numbers(2, seed=1)], None
        twin = [torch.nn.Parameter(torch.tensor(p)) for p in params]
        optimizer = torch.optim.SGD(twin, lr=lr, momentum=momentum, weight_decay=decay)
        for number in range(1, 6):
            rate = optimizer.param_groups[0]["lr"] = lr / (1 + number // 3)
            grads = [_numbers(*p.shape, seed=10 + number) for p in params]
            kept = [array.copy() for array in params + grads]
            for p, g in zip(twin, grads, strict=True):
                p.grad = torch.tensor(g)
            optimizer.step()
            found = momentum_step(params, grads, velocity, rate, momentum, decay)
            same = all(map(np.array_equal, params + grads, kept))
            expect(
                same, "Your function wrote into the arrays that it was given.", "p - …, not p -= …"
            )
            pair = isinstance(found, (tuple, list)) and len(found) == 2
            expect(pair, "Return two lists: the parameters and the velocity.")
            params, velocity = list(found[0]), list(found[1])
            falls = ", after the learning rate has fallen" if number > 2 else ""
            expect(
                all(np.allclose(p, t.detach().numpy()) for p, t in zip(params, twin, strict=True)),
                f"Step {number} differs from torch's, momentum {momentum}, weight decay {decay}{falls}.",
                "velocity = momentum * velocity + (grad + weight_decay * param); lr only in the step.",
            )


def _momentum(
    params: list, grads: list, velocity: Any, lr: float, mu: float, decay: float, kind: str = ""
) -> tuple[list, list]:
    velocity = velocity or [np.zeros_like(p) for p in params]
    if kind != "no decay":
        grads = [g + decay * p for g, p in zip(grads, params, strict=True)]
    inside = lr if kind == "lr inside" else 1
    damp = 1 - mu if kind == "damped" else 1
    velocity = [mu * v + inside * damp * g for v, g in zip(velocity, grads, strict=True)]
    return [p - lr / inside * v for p, v in zip(params, velocity, strict=True)], velocity


# ---- 10.5: layer normalisation ----


def check_layer_norm(layer_norm_backward: Callable[..., Any]) -> None:
    """`layer_norm_backward(dy, x, gamma, eps)` returns the gradients of x, gamma and beta."""
    for batch, features, eps in ((5, 4, 1e-12), (1, 3, 1e-5), (6, 6, 0.5)):
        dy, x = _numbers(batch, features, seed=1), 3 * _numbers(batch, features) + 1
        gamma = _numbers(features, seed=2)
        ins = [torch.tensor(a, requires_grad=True) for a in (x, gamma, 0 * gamma)]
        y = F.layer_norm(ins[0], (features,), ins[1], ins[2], eps)
        right = torch.autograd.grad(y, ins, torch.tensor(dy))
        found = layer_norm_backward(dy, x, gamma, eps)
        if batch == 5 and isinstance(found, (tuple, list)) and np.shape(found[0]) == x.shape:
            shifted, stretched = found[0].sum(axis=1), (found[0] * x).sum(axis=1)
            path = "One of the three paths from x to the result is missing."
            expect(
                np.allclose(shifted, 0),
                "Shifting a row changes nothing: dx must add up to 0.",
                path,
            )
            nothing = "Stretching a row changes nothing: dx must have no part along it."
            expect(np.allclose(stretched, 0), nothing, path)
        where = f"for a batch of {batch} with {features} features and eps {eps}"
        _compare("dx dgamma dbeta", found, right, where)


def _norm(dy: ndarray, x: ndarray, gamma: ndarray, eps: float, without: str = "") -> tuple:
    centred = x - x.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    x_hat, g = centred / spread, dy * gamma
    dx = g - (0 if without == "mean" else g.mean(axis=1, keepdims=True))
    dx = dx - (0 if without == "variance" else x_hat * (g * x_hat).mean(axis=1, keepdims=True))
    return dx / spread, (dy * x_hat).sum(axis=1 if without == "batch" else 0), dy.sum(axis=0)


EXERCISES = (
    Exercise(
        "10.1",
        "Three formulas, for sizes that differ and sizes that do not.",
        check_linear,
        (
            Wrong("not summed", lambda x, W, dz: (dz @ W.T, x.T @ dz, dz), "db has shape"),
            Wrong("mean", lambda x, W, dz: (dz @ W.T, x.T @ dz / len(x), dz.sum(0)), "dW has the"),
            Wrong("no transpose", lambda x, W, dz: (dz @ W, x.T @ dz, dz.sum(0)), "ValueError"),
        ),
    ),
    Exercise(
        "10.2",
        "Right for small and for huge logits, in both dtypes, and divided by the batch once.",
        check_cross_entropy,
        (
            Wrong("no shift", partial(_loss, axis=0), "logits of 89 in float32"),
            Wrong("one maximum for all", partial(_loss, axis=None), "logits of 10,000"),
            Wrong("log of softmax", partial(_loss, log=True), "a gap of 120"),
            Wrong("gradient of the sum", partial(_loss, power=0), "that of the sum"),
            Wrong("divided twice", partial(_loss, power=2), "twice"),
        ),
    ),
    Exercise(
        "10.3",
        "Equal in what comes in, in the bias and in what goes out: equal for ever.",
        check_twins,
        (
            Wrong("incoming only", partial(_twins, parts="ib"), "outgoing weights"),
            Wrong("bias forgotten", partial(_twins, parts="io"), "differ in their bias"),
            Wrong("itself", partial(_twins, itself=True), "there are none"),
        ),
    ),
    Exercise(
        "10.4",
        "The same parameters as torch's, also while the learning rate falls.",
        check_momentum,
        (
            Wrong("lr inside", partial(_momentum, kind="lr inside"), "learning rate has fallen"),
            Wrong("no decay", partial(_momentum, kind="no decay"), "weight decay 0.1"),
            Wrong(
                "damped",
                partial(_momentum, kind="damped"),
                "Step 1 differs from torch's, momentum 0.9",
            ),
        ),
    ),
    Exercise(
        "10.5",
        "Three paths to x, and two sums over the batch.",
        check_layer_norm,
        (
            Wrong("no path by the mean", partial(_norm, without="mean"), "Shifting a row"),
            Wrong(
                "no path by the variance", partial(_norm, without="variance"), "Stretching a row"
            ),
            Wrong("dgamma over features", partial(_norm, without="batch"), "dgamma has shape"),
        ),
    ),
)
