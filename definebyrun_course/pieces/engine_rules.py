"""The derivatives of an autograd engine: arrays go in, a result and a gradient function for each input come out.

A rule knows arrays and nothing of tensors, nodes or graphs; its functions hold the arrays that they need. Each takes
the gradient of the result and gives that of its input, which may still have the result's shape: `unbroadcast` it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["RULES", "Array", "Rule", "rule", "stretched", "unbroadcast"]

Array = np.ndarray[Any, Any]
Dim = int | tuple[int, ...] | None
Rule = Callable[..., Any]


def stretched(shape: tuple[int, ...], short: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of `shape` along which an array of shape `short` is stretched to it.

    >>> stretched((2, 3), (3,)), stretched((2, 3), (2, 1))
    ((0,), (1,))
    """
    extra = len(shape) - len(short)
    return tuple(i for i in range(len(shape)) if i < extra or short[i - extra] == 1)


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """A gradient summed over the axes along which an input of this shape was stretched.

    `grad` has the shape of the result, to which `shape` was broadcast; what comes out has the shape `shape`.

    >>> unbroadcast(np.ones((2, 3)), (3,)).tolist(), unbroadcast(np.ones((2, 3)), (2, 1)).tolist()
    ([2.0, 2.0, 2.0], [[3.0], [3.0]])
    """
    if grad.shape == shape:
        return grad
    return grad.sum(axis=stretched(grad.shape, shape)).reshape(shape)


RULES: dict[str, Rule] = {
    "add": lambda self, other: (self + other, lambda grad: grad, lambda grad: grad),
    "sub": lambda self, other: (self - other, lambda grad: grad, lambda grad: -grad),
    "mul": lambda self, other: (self * other, lambda grad: grad * other, lambda grad: grad * self),
    "neg": lambda self: (-self, lambda grad: -grad),
    "log": lambda self: (np.log(self), lambda grad: grad / self),
}
"""The operations by name; `self`, `other`, `result` and `grad` mean what they mean in PyTorch's `derivatives.yaml`."""


def rule(name: str) -> Callable[[Rule], Rule]:
    """Enter a function into `RULES`."""

    def enter(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return enter


@rule("div")
def div(self: Array, other: Array) -> tuple[Any, ...]:
    """One divided by the other, element by element."""
    return self / other, lambda grad: grad / other, lambda grad: -grad * self / other**2


@rule("pow")
def power(self: Array, exponent: Array) -> tuple[Any, ...]:
    """Each element to a power; the slope towards the exponent is 0 at 0, as in PyTorch, and nan below."""
    below = np.where(exponent == 0, 1.0, exponent - 1.0)  # self**0 is flat, also at 0: no 0 × ∞
    result = self**exponent

    def to_exponent(grad: Array) -> Array:
        flat = (self == 0) & (exponent >= 0)  # nor here
        return grad * result * np.log(np.where(flat, 1.0, self))

    return result, lambda grad: grad * exponent * self**below, to_exponent


@rule("exp")
def exp(self: Array) -> tuple[Any, ...]:
    """The exponential of each element; keeps its result."""
    result = np.exp(self)
    return result, lambda grad: grad * result


@rule("tanh")
def tanh(self: Array) -> tuple[Any, ...]:
    """The hyperbolic tangent of each element; keeps its result."""
    result = np.tanh(self)
    return result, lambda grad: grad * (1 - result * result)


@rule("relu")
def relu(self: Array) -> tuple[Any, ...]:
    """Each element, or 0 where that is larger; the slope at 0 is 0, as in PyTorch."""
    result = np.maximum(self, 0.0)
    return result, lambda grad: np.where(result > 0, grad, 0.0)


def spread(grad: Array, dim: Dim, keepdim: bool) -> Array:
    """A gradient with the axes that a reduction took away, each of size 1."""
    return grad if dim is None or keepdim else np.expand_dims(grad, dim)


@rule("sum")
def total(self: Array, *, dim: Dim = None, keepdim: bool = False) -> tuple[Any, ...]:
    """The sum over some axes, or all: each element gets the whole gradient."""
    shape, result = self.shape, self.sum(axis=dim, keepdims=keepdim)
    return result, lambda grad: np.broadcast_to(spread(grad, dim, keepdim), shape)


@rule("mean")
def mean(self: Array, *, dim: Dim = None, keepdim: bool = False) -> tuple[Any, ...]:
    """The mean over some axes, or all: each element gets its share."""
    result, to_self = total(self, dim=dim, keepdim=keepdim)
    count = self.size / result.size
    return result / count, lambda grad: to_self(grad) / count


@rule("amax")
def amax(self: Array, *, dim: Dim = None, keepdim: bool = False) -> tuple[Any, ...]:
    """The largest element over some axes; those that tie share the gradient evenly."""
    top = self == self.max(axis=dim, keepdims=True)
    share = top / top.sum(axis=dim, keepdims=True)
    result = self.max(axis=dim, keepdims=keepdim)
    return result, lambda grad: spread(grad, dim, keepdim) * share


@rule("matmul")
def matmul(self: Array, mat2: Array) -> tuple[Any, ...]:
    """The product of two matrices or batches of them; a vector counts as one row, or one column."""
    result, row, column = self @ mat2, self.ndim == 1, mat2.ndim == 1
    self, mat2 = self[None, :] if row else self, mat2[:, None] if column else mat2

    def matrix(grad: Array) -> Array:
        grad = grad[..., None] if column else grad
        return grad[..., None, :] if row else grad

    def to_self(grad: Array) -> Array:
        part = matrix(grad) @ mat2.swapaxes(-1, -2)
        return part[..., 0, :] if row else part

    def to_mat2(grad: Array) -> Array:
        part = self.swapaxes(-1, -2) @ matrix(grad)
        return part[..., 0] if column else part

    return result, to_self, to_mat2


@rule("reshape")
def reshape(self: Array, *, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The same numbers in another shape."""
    old = self.shape
    return self.reshape(shape), lambda grad: grad.reshape(old)


@rule("transpose")
def transpose(self: Array, *, dim0: int, dim1: int) -> tuple[Any, ...]:
    """Two axes swapped."""
    return self.swapaxes(dim0, dim1), lambda grad: grad.swapaxes(dim0, dim1)


@rule("getitem")
def getitem(self: Array, *, index: Any) -> tuple[Any, ...]:
    """Elements by index; what is read twice gets two gradients."""
    shape = self.shape

    def to_self(grad: Array) -> Array:
        whole = np.zeros(shape)
        np.add.at(whole, index, grad)
        return whole

    return self[index], to_self


@rule("where")
def where(self: Array, other: Array, *, condition: Array) -> tuple[Any, ...]:
    """`self` where the condition holds, `other` elsewhere; each gets the gradient of its own places."""
    result = np.where(condition, self, other)
    return (
        result,
        lambda grad: np.where(condition, grad, 0.0),
        lambda grad: np.where(condition, 0.0, grad),
    )


@rule("cat")
def cat(*tensors: Array, dim: int = 0) -> tuple[Any, ...]:
    """Arrays one after the other along an axis; each gets its own part back."""
    ends = np.cumsum([part.shape[dim] for part in tensors])[:-1]

    def own(nth: int) -> Rule:
        return lambda grad: np.split(grad, ends, axis=dim)[nth]

    return np.concatenate(tensors, axis=dim), *map(own, range(len(tensors)))
