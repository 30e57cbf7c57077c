"""The derivatives of an autograd engine: arrays go in, a result and a gradient function for each input come out.

A rule knows arrays and nothing of tensors, nodes or graphs; its functions hold the arrays that they need. Each takes
the gradient of the result and gives that of its input, which may still have the result's shape: `unbroadcast` it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["RULES", "Array", "Rule", "rule", "unbroadcast"]

Array = np.ndarray[Any, Any]
Dim = int | tuple[int, ...] | None
Rule = Callable[..., Any]


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """A gradient summed over the axes along which an input of this shape was stretched.

    `grad` has the shape of the result, to which `shape` was broadcast; what comes out has the shape `shape`.

    >>> unbroadcast(np.ones((2, 3)), (3,)).tolist(), unbroadcast(np.ones((2, 3)), (2, 1)).tolist()
    ([2.0, 2.0, 2.0], [[3.0], [3.0]])
    """
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    stretched = [i for i in range(grad.ndim) if i < extra or shape[i - extra] == 1]
    return grad.sum(axis=tuple(stretched)).reshape(shape)


RULES: dict[str, Rule] = {
    "add": lambda a, b: (a + b, lambda g: g, lambda g: g),
    "sub": lambda a, b: (a - b, lambda g: g, lambda g: -g),
    "mul": lambda a, b: (a * b, lambda g: g * b, lambda g: g * a),
    "div": lambda a, b: (a / b, lambda g: g / b, lambda g: -g * a / b**2),
    "neg": lambda a: (-a, lambda g: -g),
    "log": lambda a: (np.log(a), lambda g: g / a),
}
"""The operations by name. A rule holds the arrays that it needs, never a tensor."""


def rule(name: str) -> Callable[[Rule], Rule]:
    """Enter a function into `RULES`."""

    def enter(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return enter


@rule("exp")
def exp_rule(a: Array) -> tuple[Any, ...]:
    """The exponential of each element; keeps its result."""
    result = np.exp(a)
    return result, lambda g: g * result


@rule("tanh")
def tanh_rule(a: Array) -> tuple[Any, ...]:
    """The hyperbolic tangent of each element; keeps its result."""
    result = np.tanh(a)
    return result, lambda g: g * (1 - result * result)


@rule("relu")
def relu_rule(a: Array) -> tuple[Any, ...]:
    """Each element, or 0 where that is larger; the slope at 0 is 0, as in PyTorch."""
    result = np.maximum(a, 0)
    return result, lambda g: np.where(result > 0, g, 0.0)


@rule("pow")
def pow_rule(a: Array, n: Array) -> tuple[Any, ...]:
    """Each element to a power; for `n` to have a gradient, `a` must be positive."""
    below = np.where(n == 0, 1.0, n - 1.0)  # a**0 is flat, also at 0: no 0 times infinity
    return a**n, lambda g: g * n * a**below, lambda g: g * a**n * np.log(a)


def spread(g: Array, dim: Dim, keepdim: bool) -> Array:
    """A gradient with the axes that a reduction took away, each of size 1."""
    return g if dim is None or keepdim else np.expand_dims(g, dim)


@rule("sum")
def sum_rule(a: Array, *, dim: Dim = None, keepdim: bool = False) -> tuple[Any, ...]:
    """The sum over some axes, or all: each element gets the whole gradient."""
    shape, result = a.shape, a.sum(axis=dim, keepdims=keepdim)
    return result, lambda g: np.broadcast_to(spread(g, dim, keepdim), shape)


@rule("mean")
def mean_rule(a: Array, *, dim: Dim = None, keepdim: bool = False) -> tuple[Any, ...]:
    """The mean over some axes, or all: each element gets its share."""
    total, to_a = sum_rule(a, dim=dim, keepdim=keepdim)
    count = a.size / total.size
    return total / count, lambda g: to_a(g) / count


@rule("amax")
def amax_rule(a: Array, *, dim: Dim = None, keepdim: bool = False) -> tuple[Any, ...]:
    """The largest element over some axes; those that tie share the gradient evenly."""
    top = a == a.max(axis=dim, keepdims=True)
    share = top / top.sum(axis=dim, keepdims=True)
    result = a.max(axis=dim, keepdims=keepdim)
    return result, lambda g: spread(g, dim, keepdim) * share


@rule("matmul")
def matmul_rule(a: Array, b: Array) -> tuple[Any, ...]:
    """The product of two matrices or batches of them; a vector counts as one row, or one column."""
    row, column = a.ndim == 1, b.ndim == 1
    rows, columns = a[None, :] if row else a, b[:, None] if column else b

    def matrix(g: Array) -> Array:
        g = g[..., None] if column else g
        return g[..., None, :] if row else g

    def to_a(g: Array) -> Array:
        part = matrix(g) @ columns.swapaxes(-1, -2)
        return part[..., 0, :] if row else part

    def to_b(g: Array) -> Array:
        part = rows.swapaxes(-1, -2) @ matrix(g)
        return part[..., 0] if column else part

    return a @ b, to_a, to_b


@rule("reshape")
def reshape_rule(a: Array, *, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The same numbers in another shape."""
    old = a.shape
    return a.reshape(shape), lambda g: g.reshape(old)


@rule("transpose")
def transpose_rule(a: Array, *, dim0: int, dim1: int) -> tuple[Any, ...]:
    """Two axes swapped."""
    return a.swapaxes(dim0, dim1), lambda g: g.swapaxes(dim0, dim1)


@rule("getitem")
def getitem_rule(a: Array, *, index: Any) -> tuple[Any, ...]:
    """Elements by index; what is read twice gets two gradients."""
    shape = a.shape

    def to_a(g: Array) -> Array:
        whole = np.zeros(shape)
        np.add.at(whole, index, g)
        return whole

    return a[index], to_a


@rule("where")
def where_rule(a: Array, b: Array, *, condition: Array) -> tuple[Any, ...]:
    """`a` where the condition holds, `b` elsewhere; each gets the gradient of its own places."""
    result = np.where(condition, a, b)
    return result, lambda g: np.where(condition, g, 0.0), lambda g: np.where(condition, 0.0, g)


@rule("cat")
def cat_rule(*arrays: Array, dim: int = 0) -> tuple[Any, ...]:
    """Arrays one after the other along an axis; each gets its own part back."""
    ends = np.cumsum([array.shape[dim] for array in arrays])[:-1]

    def part(nth: int) -> Rule:
        return lambda g: np.split(g, ends, axis=dim)[nth]

    return np.concatenate(arrays, axis=dim), *map(part, range(len(arrays)))
