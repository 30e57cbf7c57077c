"""An autograd engine on single numbers that fits on a screen, as lesson 04 builds it.

A `Scalar` holds its number and its edges: each the scalar it was computed from, and the slope towards it. There are
no closures and so no rings of references: a graph is gone as soon as nobody holds its end.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

__all__ = ["Scalar", "backward", "count_uses", "exp", "log", "relu", "tanh"]


class Scalar:
    """A number, and what it was computed from: pairs of a scalar and the slope towards it.

    `grad` is filled for those that were computed from nothing: it starts at 0, and every `backward` adds to it.

    >>> a = Scalar(3.0)
    >>> backward(a * a)
    >>> a.grad
    6.0
    """

    def __init__(self, data: float, *edges: tuple[Scalar, float]) -> None:
        self.data, self.edges, self.grad = data, edges, 0.0

    def __add__(self, other: Any) -> Scalar:
        other = other if isinstance(other, Scalar) else Scalar(other)
        return Scalar(self.data + other.data, (self, 1.0), (other, 1.0))

    def __mul__(self, other: Any) -> Scalar:
        other = other if isinstance(other, Scalar) else Scalar(other)
        return Scalar(self.data * other.data, (self, other.data), (other, self.data))

    __radd__, __rmul__ = __add__, __mul__


def relu(a: Scalar) -> Scalar:
    """The number, or 0 where that is larger; the slope at 0 is 0, as in PyTorch."""
    return Scalar(max(a.data, 0.0), (a, 1.0 if a.data > 0 else 0.0))


def exp(a: Scalar) -> Scalar:
    """The exponential."""
    result = math.exp(a.data)
    return Scalar(result, (a, result))


def log(a: Scalar) -> Scalar:
    """The natural logarithm."""
    return Scalar(math.log(a.data), (a, 1 / a.data))


def tanh(a: Scalar) -> Scalar:
    """The hyperbolic tangent."""
    result = math.tanh(a.data)
    return Scalar(result, (a, 1 - result * result))


def count_uses(end: Scalar) -> Counter[Scalar]:
    """How many edges lead to each scalar that `end` was computed from."""
    waiting: Counter[Scalar] = Counter()
    to_visit = [end]
    while to_visit:
        for source, _ in to_visit.pop().edges:
            if source not in waiting:
                to_visit.append(source)
            waiting[source] += 1
    return waiting


def backward(end: Scalar) -> None:
    """Add the derivative of `end` to the `.grad` of every scalar that was computed from nothing."""
    waiting, arrived, ready = count_uses(end), {end: 1.0}, [end]
    while ready:
        node = ready.pop()
        grad = arrived.pop(node)
        if not node.edges:
            node.grad += grad
        for source, slope in node.edges:
            arrived[source] = arrived.get(source, 0.0) + grad * slope
            waiting[source] -= 1
            if waiting[source] == 0:
                ready.append(source)
