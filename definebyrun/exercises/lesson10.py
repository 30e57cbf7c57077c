"""Exercises of lesson 10, An MLP by hand: backward of a linear layer, of the loss and of a norm; twins; momentum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch.nn import functional as F

from .core import Exercise, Wrong, expect

__all__ = ["EXERCISES"]

SIZES = ((5, 3, 4), (1, 2, 3), (3, 3, 3), (7, 1, 1))


def _numbers(*shape: int, seed: int = 0, dtype: type = np.float64) -> ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def _compare(names: str, found: Any, right: tuple[Any, ...], where: str, hints: dict) -> None:
    """Expect as many arrays as there are names, each of the right shape and with the right numbers."""
    wanted = names.split()
    expect(
        isinstance(found, (tuple, list)) and len(found) == len(wanted),
        f"Return {len(wanted)} arrays: {', '.join(wanted)}.",
    )
    for name, a, b in zip(wanted, found, right, strict=True):
        expect(
            np.shape(a) == b.shape,
            f"{name} has shape {np.shape(a)} and not {b.shape}, {where}.",
            "A gradient has the shape of what it belongs to.",
        )
        expect(np.allclose(a, b, rtol=1e-8, atol=1e-10), f"{name} is wrong, {where}.", hints[name])


# ---- 10.1: a linear layer ----


def check_linear(linear_backward: Callable[..., Any]) -> None:
    """`linear_backward(x, W, dz)` returns the gradients of x, W and b for `z = x @ W + b`."""
    hints = {
        "dx": "Row b of x touches row b of z, through all columns of W.",
        "dW": "By index: dW[i, j] is the sum over b of x[b, i] * dz[b, j]. Nothing is divided.",
        "db": "b is added to every row; nothing is divided.",
    }
    for batch, inputs, outputs in SIZES:
        x, W = _numbers(batch, inputs), _numbers(inputs, outputs, seed=1)
        dz = _numbers(batch, outputs, seed=2)
        tensors = [torch.tensor(a, requires_grad=True) for a in (x, W, np.zeros(outputs))]
        z = tensors[0] @ tensors[1] + tensors[2]
        right = tuple(g.numpy() for g in torch.autograd.grad(z, tensors, torch.tensor(dz)))
        where = f"for a batch of {batch}, {inputs} inputs and {outputs} outputs"
        _compare("dx dW db", linear_backward(x, W, dz), right, where, hints)


# ---- 10.2: cross-entropy ----


def check_cross_entropy(stable_cross_entropy: Callable[..., Any]) -> None:
    """`stable_cross_entropy(logits, y)` returns the mean loss and the gradient, for all finite logits."""
    small, y = _numbers(6, 4), np.array([0, 3, 3, 1, 2, 0])
    wide = np.array([[1e4, 0, -1e4], [-5e3, -6e3, -5e3], [0, 0, 0]])
    cases = (
        ("small logits", small, y),
        ("one example", small[:1], y[:1]),
        ("one class", small[:, :1], np.zeros(6, int)),
        ("logits of 89 in float32", np.array([[89, 0], [0, 89]], np.float32), np.array([1, 1])),
        ("a gap of 120 in float32", np.array([[120, 0]], np.float32), np.array([1])),
        ("logits of 10,000", wide, np.array([2, 1, 0])),
    )
    for name, logits, classes in cases:
        kept = logits.copy()
        with np.errstate(all="ignore"):
            found = stable_cross_entropy(logits, classes)
        expect(
            isinstance(found, (tuple, list)) and len(found) == 2,
            "Return two things: the loss, then the gradient.",
        )
        expect(np.array_equal(logits, kept), "Your function changed the logits that it was given.")
        loss, grad = found
        z = torch.tensor(logits, requires_grad=True)
        true_loss = F.cross_entropy(z, torch.tensor(classes))
        true = torch.autograd.grad(true_loss, z)[0].numpy()
        expect(np.shape(grad) == true.shape, f"The gradient has shape {np.shape(grad)}, {name}.")
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
        rows = len(classes)
        if rows > 1 and name == "small logits":
            expect(
                not np.allclose(grad, true * rows),
                "The gradient is that of the sum over the batch, and the loss is a mean.",
            )
            expect(
                not np.allclose(grad, true / rows), "The gradient is divided by the batch twice."
            )
            expect(
                not np.allclose(grad, np.where(true < 0, true, 0)),
                "Only the true class gets a gradient.",
                "The Jacobian of softmax is a full matrix.",
            )
        expect(np.allclose(grad, true, atol=1e-6), f"The gradient is wrong, for {name}.")
        expect(
            np.asarray(grad).dtype == logits.dtype,
            f"Logits of {logits.dtype} got a gradient of {np.asarray(grad).dtype}.",
        )


def _cross_entropy(
    logits: ndarray, y: ndarray, axis: int | None = 1, log: bool = False, power: int = 1
) -> tuple[Any, ndarray]:
    """The solution with its usual mistakes as switches; `axis` 0 stands for no shift."""
    rows = np.arange(len(y))
    shifted = logits - (logits.max(axis=axis, keepdims=True) if axis != 0 else 0)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    log_p = np.log(np.exp(shifted) / total) if log else shifted - np.log(total)
    grad = np.exp(log_p)
    grad[rows, y] -= 1
    return -log_p[rows, y].mean(), grad / logits.dtype.type(len(y) ** power)


def _true_class_only(logits: ndarray, y: ndarray) -> tuple[Any, ndarray]:
    loss, grad = _cross_entropy(logits, y)
    return loss, np.where(grad < 0, grad, 0)


# ---- 10.3: twins ----


def check_twins(twins: Callable[..., Any]) -> None:
    """`twins(W1, b1, W2)` is the set of pairs of hidden units that stay equal under gradient descent."""
    W1, b1, W2 = _numbers(4, 6), _numbers(6, seed=1), _numbers(6, 3, seed=2)
    none = twins(W1.copy(), b1.copy(), W2.copy())
    expect(isinstance(none, (set, frozenset)), f"Return a set of pairs; this is {none!r:.60}.")
    expect(not none, "You found twins among six random units: there are none.")
    for a, b in ((1, 4), (1, 5), (0, 2), (3, 0)):
        W1[:, b], b1[b], W2[b] = W1[:, a], b1[a], W2[a]
    right = {(1, 4), (1, 5), (4, 5), (0, 2)}
    W1[:, 0] = W1[:, 2] = W1[:, 3]
    b1[0] = b1[2] = b1[3]
    W2[0] = W2[2] = W2[3] + 1
    found = twins(W1, b1, W2)
    expect(
        (0, 3) not in found,
        "Units 0 and 3 differ in their outgoing weights: they get different dh, and part.",
        "Look at W2 as well.",
    )
    expect(
        not any(i >= j for i, j in found),
        "A pair is (i, j) with i < j, and no unit is its own twin.",
    )
    expect((4, 5) in found, "Units 1, 4 and 5 are all equal: that makes three pairs.")
    expect(found == right, f"Wrong pairs: {sorted(found)[:6]} are not the ones.")
    b1[5] += 1
    expect((1, 5) not in twins(W1, b1, W2), "Units 1 and 5 differ in their bias now.")
    alike = twins(np.zeros((2, 3)), np.zeros(3), np.zeros((3, 2)))
    expect(alike == {(0, 1), (0, 2), (1, 2)}, "Three units at zero are three pairs of twins.")


def _twins(W1: ndarray, b1: ndarray, W2: ndarray, parts: str = "iow", all_i: bool = False) -> set:
    rows = {"i": W1, "o": W2.T, "w": b1[None]}
    units = np.vstack([rows[part] for part in parts]).T
    n = range(len(units))
    return {(i, j) for i in n for j in n if (i < j or all_i) and np.array_equal(units[i], units[j])}


# ---- 10.4: momentum ----


def check_momentum(momentum_step: Callable[..., Any]) -> None:
    """`momentum_step(...)` takes the steps of `torch.optim.SGD` with momentum and weight decay."""
    for lr, momentum, decay in ((0.1, 0.0, 0.0), (0.1, 0.9, 0.0), (0.05, 0.9, 0.1)):
        params, velocity = [_numbers(3, 2), _numbers(2, seed=1)], None
        twin = [torch.nn.Parameter(torch.tensor(p)) for p in params]
        optimizer = torch.optim.SGD(twin, lr=lr, momentum=momentum, weight_decay=decay)
        for number in range(1, 6):
            rate = optimizer.param_groups[0]["lr"] = lr / number
            grads = [_numbers(*p.shape, seed=10 + number) for p in params]
            kept = [p.copy() for p in params], [g.copy() for g in grads]
            for p, g in zip(twin, grads, strict=True):
                p.grad = torch.tensor(g)
            optimizer.step()
            found = momentum_step(params, grads, velocity, rate, momentum, decay)
            same = all(map(np.array_equal, params + grads, kept[0] + kept[1]))
            expect(
                same, "Your function wrote into the arrays that it was given.", "p - …, not p -="
            )
            expect(
                isinstance(found, (tuple, list)) and len(found) == 2 and len(found[0]) == 2,
                "Return two lists: the parameters and the velocity.",
            )
            params, velocity = list(found[0]), list(found[1])
            good = all(
                np.allclose(a, b.detach().numpy()) for a, b in zip(params, twin, strict=True)
            )
            expect(
                good,
                f"Step {number} differs from torch's, with momentum {momentum} and weight decay {decay}"
                f"{' and a learning rate that falls' if number > 1 else ''}.",
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
    moved = [p - lr / inside * v for p, v in zip(params, velocity, strict=True)]
    return moved, velocity


# ---- 10.5: layer normalisation ----


def check_layer_norm(layer_norm_backward: Callable[..., Any]) -> None:
    """`layer_norm_backward(dy, x, gamma, eps)` returns the gradients of x, gamma and beta."""
    hints = {
        "dx": "x reaches the result on three ways: directly, through the mean, through the variance.",
        "dgamma": "gamma is shared by the batch: multiply with x_hat, then add up over the rows.",
        "dbeta": "beta behaves like the bias of a linear layer.",
    }
    for batch, features, eps in ((5, 4, 1e-5), (1, 3, 1e-5), (6, 6, 0.5)):
        x, dy = 3 * _numbers(batch, features) + 1, _numbers(batch, features, seed=1)
        gamma = _numbers(features, seed=2)
        inputs = [torch.tensor(a, requires_grad=True) for a in (x, gamma, np.zeros(features))]
        y = F.layer_norm(inputs[0], (features,), inputs[1], inputs[2], eps)
        right = tuple(g.numpy() for g in torch.autograd.grad(y, inputs, torch.tensor(dy)))
        where = f"for a batch of {batch} with {features} features and eps {eps}"
        found = layer_norm_backward(dy, x, gamma, eps)
        _compare("dx dgamma dbeta", found, right, where, hints)


def _layer_norm(dy: ndarray, x: ndarray, gamma: ndarray, eps: float, without: str = "") -> tuple:
    centred = x - x.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
    x_hat = centred / spread
    g = dy * (1 if without == "gamma" else gamma)
    dx = g - (0 if without == "mean" else g.mean(axis=1, keepdims=True))
    dx = dx - (0 if without == "variance" else x_hat * (g * x_hat).mean(axis=1, keepdims=True))
    axis = 1 if without == "batch" else 0
    return dx / spread, (dy * x_hat).sum(axis=axis), dy.sum(axis=0)


EXERCISES = (
    Exercise(
        "10.1",
        "Three formulas, for sizes that differ and sizes that do not.",
        check_linear,
        (
            Wrong("bias not summed", lambda x, W, dz: (dz @ W.T, x.T @ dz, dz), "db has shape"),
            Wrong(
                "mean over the batch",
                lambda x, W, dz: (dz @ W.T, x.T @ dz / len(x), dz.sum(0)),
                "dW is wrong",
            ),
            Wrong("W not transposed", lambda x, W, dz: (dz @ W, x.T @ dz, dz.sum(0)), "ValueError"),
            Wrong(
                "dW transposed", lambda x, W, dz: (dz @ W.T, dz.T @ x, dz.sum(0)), "dW has shape"
            ),
        ),
    ),
    Exercise(
        "10.2",
        "Right for small and for huge logits, in both dtypes, and divided by the batch once.",
        check_cross_entropy,
        (
            Wrong("no shift", partial(_cross_entropy, axis=0), "logits of 89 in float32"),
            Wrong("one maximum for all", partial(_cross_entropy, axis=None), "logits of 10,000"),
            Wrong("log of softmax", partial(_cross_entropy, log=True), "a gap of 120"),
            Wrong("gradient of the sum", partial(_cross_entropy, power=0), "of the sum"),
            Wrong("divided twice", partial(_cross_entropy, power=2), "twice"),
            Wrong("diagonal only", _true_class_only, "Only the true class"),
        ),
    ),
    Exercise(
        "10.3",
        "Equal in what comes in, in the bias and in what goes out: equal for ever.",
        check_twins,
        (
            Wrong("incoming only", partial(_twins, parts="iw"), "outgoing weights"),
            Wrong("bias forgotten", partial(_twins, parts="io"), "differ in their bias"),
            Wrong("itself", partial(_twins, all_i=True), "there are none"),
        ),
    ),
    Exercise(
        "10.4",
        "The same parameters as torch's, also while the learning rate falls.",
        check_momentum,
        (
            Wrong("lr inside", partial(_momentum, kind="lr inside"), "learning rate that falls"),
            Wrong("no decay", partial(_momentum, kind="no decay"), "weight decay 0.1"),
            Wrong("damped", partial(_momentum, kind="damped"), "momentum 0.9"),
        ),
    ),
    Exercise(
        "10.5",
        "Three paths to x, and two sums over the batch.",
        check_layer_norm,
        (
            Wrong(
                "no path by the variance", partial(_layer_norm, without="variance"), "dx is wrong"
            ),
            Wrong("no path by the mean", partial(_layer_norm, without="mean"), "dx is wrong"),
            Wrong("gamma forgotten", partial(_layer_norm, without="gamma"), "dx is wrong"),
            Wrong(
                "dgamma over features", partial(_layer_norm, without="batch"), "dgamma has shape"
            ),
        ),
    ),
)
