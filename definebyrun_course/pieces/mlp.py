"""A multilayer perceptron by hand: arrays go in, logits, a loss and every gradient come out, and no autograd runs.

Lesson 15 derives each formula and builds these same classes in its cells. NumPy alone computes here; all arrays of a
network have one dtype, float32 or float64. There is no dropout, no normalisation and no loss but cross-entropy.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy import ndarray

__all__ = ["MLP", "Linear", "ReLU", "build", "cross_entropy"]


class Linear:
    """`z = x @ W + b`, and what it keeps for the way back; `W` is (inputs, outputs), the transpose of torch's.

    After `backward`, `dW` and `db` hold the gradients: they replace what was there, they do not add to it.

    >>> layer = Linear(np.array([[1.0, -1.0], [2.0, 1.0]]), np.array([0.0, 1.0]))
    >>> layer.forward(np.array([[1.0, 2.0]])).tolist()
    [[5.0, 2.0]]
    >>> layer.backward(np.array([[1.0, -2.0]])).tolist(), layer.dW.tolist()
    ([[3.0, 0.0]], [[1.0, -2.0], [2.0, -4.0]])
    """

    def __init__(self, W: ndarray, b: ndarray) -> None:
        if W.ndim != 2 or b.shape != W.shape[1:]:
            raise ValueError(
                f"Linear takes W of shape (inputs, outputs) and b of shape (outputs,), not {W.shape} and {b.shape}"
            )
        self.W, self.b = W, b

    def forward(self, x: ndarray) -> ndarray:
        """`x`, (batch, inputs), to `z`, (batch, outputs); keeps `x`."""
        self.x = x
        return x @ self.W + self.b

    def backward(self, dz: ndarray) -> ndarray:
        """From `dz`, (batch, outputs), to `dx`, (batch, inputs); leaves `dW` and `db` behind."""
        self.dW = self.x.T @ dz
        self.db = dz.sum(axis=0)
        return dz @ self.W.T


class ReLU:
    """`h = max(z, 0)` element by element; its derivative at exactly 0 is 0, as torch's is."""

    def forward(self, z: ndarray) -> ndarray:
        """`z` of any shape to `h` of the same; keeps where `z` was positive."""
        self.mask = z > 0
        return np.maximum(z, 0)

    def backward(self, dh: ndarray) -> ndarray:
        """The gradient where `z` was positive, 0 elsewhere."""
        return np.where(self.mask, dh, 0)


class MLP:
    """Layers in a row: forward in their order, backward in the opposite one.

    >>> net = build([2, 3, 2], np.random.default_rng(0))
    >>> loss, dlogits = cross_entropy(net.forward(np.ones((4, 2))), np.array([0, 1, 1, 0]))
    >>> net.backward(dlogits).shape, [layer.dW.shape for layer in net.layers[::2]]
    ((4, 2), [(2, 3), (3, 2)])
    >>> net.step(lr=0.1)
    """

    def __init__(self, layers: list[Linear | ReLU]) -> None:
        self.layers = layers

    def forward(self, x: ndarray) -> ndarray:
        """`x`, (batch, inputs), to logits, (batch, classes)."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad: ndarray) -> ndarray:
        """From the gradient of the logits to that of `x`; each Linear on the way has its `dW` and `db` then."""
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        return grad

    def step(self, lr: float) -> None:
        """One step of gradient descent; makes new arrays, so that the caller's own stay as they were."""
        for layer in self.layers:
            if isinstance(layer, Linear):
                layer.W = layer.W - lr * layer.dW
                layer.b = layer.b - lr * layer.db


def cross_entropy(logits: ndarray, y: ndarray) -> tuple[float, ndarray]:
    """The mean cross-entropy of a batch, and its gradient for the logits, `(softmax - onehot) / batch`.

    `logits` has shape (batch, classes), `y` holds the true class of each row, (batch,), whole numbers. Finite for all
    finite logits whose differences are finite. Raises `ValueError` for other shapes, `IndexError` for a class that
    does not exist.

    >>> loss, dlogits = cross_entropy(np.log([[1.0, 2.0, 1.0]]), np.array([1]))
    >>> round(float(np.exp(-loss)), 6), dlogits.round(6).tolist()
    (0.5, [[0.25, -0.5, 0.25]])
    >>> cross_entropy(np.array([[1e4, 0.0]]), np.array([1]))[0]
    10000.0
    """
    if logits.ndim != 2 or y.shape != logits.shape[:1]:
        raise ValueError(
            f"logits have shape (batch, classes) and y has shape (batch,), not {logits.shape} and {y.shape}"
        )
    rows = np.arange(len(y))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dlogits = np.exp(log_p)
    dlogits[rows, y] -= 1
    return float(-log_p[rows, y].mean()), dlogits / len(y)


def build(
    sizes: list[int], rng: np.random.Generator, gain: float = 2.0, dtype: type = np.float64
) -> MLP:
    """An MLP with these sizes, inputs first; weights normal with variance `gain / inputs`, biases 0.

    `gain` 2 is Kaiming's start for ReLU (He and others, 2015); 1 keeps the variance of a network without one.

    >>> [layer.W.shape for layer in build([64, 32, 10], np.random.default_rng(0)).layers[::2]]
    [(64, 32), (32, 10)]
    """
    layers: list[Linear | ReLU] = []
    for inputs, outputs in pairwise(sizes):
        W = rng.normal(0, np.sqrt(gain / inputs), (inputs, outputs)).astype(dtype)
        layers += [Linear(W, np.zeros(outputs, dtype)), ReLU()]
    return MLP(layers[:-1])
