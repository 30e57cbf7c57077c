"""An autograd engine on NumPy arrays, as lesson 05 builds it: calculations go in, gradients come out.

A `Tensor` holds an array and the `Node` that will take its gradient; the derivatives are those of `engine_rules`.
Names are PyTorch's. There are no changes in place, no version counters and no double backward.
"""

from __future__ import annotations

import heapq
import itertools
import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .engine_rules import RULES, Array, Rule, unbroadcast

__all__ = [
    "RULES",
    "WATCHERS",
    "AccumulateGrad",
    "Node",
    "Tensor",
    "apply",
    "cat",
    "run_backward",
    "unbroadcast",
    "where",
]

WATCHERS: list[Callable[..., None]] = []
"""Whoever wants to be told what runs: each is called as `watcher(phase, *what)` after every operation and node."""


def tell(phase: str, *what: Any) -> None:
    """Tell every watcher that something ran."""
    for watcher in WATCHERS:
        watcher(phase, *what)


# ---- the graph ----


class Node:
    """One function of the graph: a gradient comes in, a part goes out along each edge.

    `next_functions` has a pair for each input, as in PyTorch: the node that its gradient goes to, or None, and 0,
    because every operation here has one result.
    """

    made = itertools.count()

    def __init__(self, op: str, inputs: Sequence[Tensor], rules: Sequence[Rule]) -> None:
        targets = [edge_to(tensor) for tensor in inputs]
        self.op, self.number = op, next(Node.made)
        self.next_functions = tuple((target, 0) for target in targets)
        self.shapes = [tensor.data.shape for tensor in inputs]
        self.rules: list[Rule | None] | None = [
            rule if target else None for rule, target in zip(rules, targets, strict=True)
        ]

    def name(self) -> str:
        """What PyTorch calls a function of this kind."""
        op = "mm" if self.op == "matmul" else self.op
        return f"{op.capitalize()}Backward0"

    def __lt__(self, other: Node) -> bool:
        """A heap gives the smallest first: here, the node that was made last."""
        return self.number > other.number

    def __call__(self, grad: Array) -> Iterator[tuple[Node, Array]]:
        """The parts that this node passes on, each with the node that it goes to.

        Raises `RuntimeError` when the node was freed.
        """
        if self.rules is None:
            raise RuntimeError(f"{self.name()} was freed by the first backward")
        for (target, _), rule, shape in zip(
            self.next_functions, self.rules, self.shapes, strict=True
        ):
            if rule is not None:
                yield target, unbroadcast(rule(grad), shape)

    def free(self) -> None:
        """Let go of the arrays that the rules hold."""
        self.rules = None


class AccumulateGrad(Node):
    """The last node on every path: it adds what arrives to the `.grad` of its leaf."""

    number = math.inf  # type: ignore[assignment]

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable
        self.next_functions = ()

    def name(self) -> str:
        """As PyTorch names it, with its C++ namespace."""
        return "torch::autograd::AccumulateGrad"

    def __call__(self, grad: Array) -> Iterator[tuple[Node, Array]]:
        """Add to `.grad`; pass nothing on."""
        leaf = self.variable
        leaf.grad = grad.copy() if leaf.grad is None else leaf.grad + grad
        return iter(())


def method(op: str) -> Callable[..., Tensor]:
    """An operation as a method; its options are given by name: `x.sum(dim=0)`."""
    return lambda *inputs, **options: apply(op, *inputs, **options)


def swapped(op: str) -> Callable[..., Tensor]:
    """An operator whose left side is no tensor: `2 - x`."""
    return lambda tensor, other: apply(op, other, tensor)


class Tensor:
    """An array of float64, and the function that takes its gradient.

    `data` shares the memory of a float64 array that is given. `grad` is an array of the same shape, or None.

    >>> a = Tensor([1.0, 2.0], requires_grad=True)
    >>> (a * a).sum().backward()
    >>> a.grad.tolist()
    [2.0, 4.0]
    """

    __array_ufunc__ = None  # array * tensor is the tensor's business

    def __init__(self, data: Any, requires_grad: bool = False, grad_fn: Node | None = None) -> None:
        self.data = np.asarray(data, dtype=np.float64)
        self.grad: Array | None = None
        self.grad_fn = grad_fn
        self.requires_grad = requires_grad or grad_fn is not None
        self._accumulate: weakref.ref[AccumulateGrad] | None = None

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.grad_fn is None

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its dimensions."""
        return self.data.shape

    def item(self) -> float:
        """Its one number."""
        return self.data.item()

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add to the `.grad` of every leaf that this tensor was computed from, as `run_backward` says."""
        run_backward(self, gradient, retain_graph)

    def __getitem__(self, index: Any) -> Tensor:
        return apply("getitem", self, index=index)

    __add__, __radd__ = method("add"), swapped("add")
    __sub__, __rsub__ = method("sub"), swapped("sub")
    __mul__, __rmul__ = method("mul"), swapped("mul")
    __truediv__, __rtruediv__ = method("div"), swapped("div")
    __pow__, __rpow__ = method("pow"), swapped("pow")
    __matmul__, __rmatmul__ = method("matmul"), swapped("matmul")
    __neg__, exp, log = method("neg"), method("exp"), method("log")
    tanh, relu = method("tanh"), method("relu")
    sum, mean, amax = method("sum"), method("mean"), method("amax")
    reshape, transpose = method("reshape"), method("transpose")

    def __repr__(self) -> str:
        made = f", grad_fn={self.grad_fn.name()}" if self.grad_fn else ""
        asks = ", requires_grad=True" if self.requires_grad and not made else ""
        return f"Tensor({self.data.tolist()}{made}{asks})"


def edge_to(tensor: Tensor) -> Node | None:
    """The node that a tensor's gradient goes to; None when it asks for none.

    A leaf knows its `AccumulateGrad` weakly: the graph holds the node, the node holds the leaf, and there is no ring.
    """
    if tensor.grad_fn is not None or not tensor.requires_grad:
        return tensor.grad_fn
    node = tensor._accumulate and tensor._accumulate()
    if node is None:
        node = AccumulateGrad(tensor)
        tensor._accumulate = weakref.ref(node)
    return node


def apply(op: str, *inputs: Any, **options: Any) -> Tensor:
    """Run an operation forward, by its name in `RULES`; leave a node when an input asks for a gradient."""
    tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in inputs]
    result, *rules = RULES[op](*(tensor.data for tensor in tensors), **options)
    asked = any(tensor.requires_grad for tensor in tensors)
    output = Tensor(result, grad_fn=Node(op, tensors, rules) if asked else None)
    tell("forward", op, tensors, options, output)
    return output


# ---- backward ----


def count_edges(root: Node) -> Counter[Node]:
    """How many gradients each node that can be reached has to wait for."""
    waiting: Counter[Node] = Counter()
    to_visit = [root]
    while to_visit:
        for target, _ in to_visit.pop().next_functions:
            if target is not None:
                if target not in waiting:
                    to_visit.append(target)
                waiting[target] += 1
    return waiting


def first_gradient(tensor: Tensor, gradient: Any) -> Array:
    """What a backward pass begins with: 1 for a single number, else what was given; errors in words."""
    if not tensor.requires_grad:
        raise RuntimeError("no input asked for a gradient: there is no graph")
    if gradient is None and tensor.data.size == 1:
        return np.ones(tensor.shape)
    if gradient is None or np.shape(gradient) != tensor.shape:
        raise RuntimeError(f"give backward a gradient of shape {tensor.shape}")
    return np.asarray(gradient, dtype=np.float64)


def deliver(target: Node, part: Array, waiting: Counter[Node], arrived: dict[Node, Array]) -> bool:
    """Add a part to what has arrived at a node; whether it was the last one.

    The sum is a new array: a rule may have handed one array to several inputs.
    """
    arrived[target] = arrived[target] + part if target in arrived else part
    waiting[target] -= 1
    return waiting[target] == 0


def run_backward(tensor: Tensor, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add to the `.grad` of every leaf that this tensor was computed from.

    `gradient` has the shape of the tensor and may be left out for a single number. Each node runs once, after all
    that send to it, the newest first. Raises `RuntimeError` for a tensor without a graph, for a gradient that is
    missing or of another shape, and for a graph that was freed by a pass without `retain_graph`.
    """
    first, root = first_gradient(tensor, gradient), edge_to(tensor)
    assert root is not None
    tell("start", tensor)
    waiting, arrived, ready = count_edges(root), {root: first}, [root]
    while ready:
        node = heapq.heappop(ready)
        grad = arrived.pop(node)
        parts = list(node(grad))
        for target, part in parts:
            if deliver(target, part, waiting, arrived):
                heapq.heappush(ready, target)
        if not retain_graph:
            node.free()
        tell("backward", node, grad, parts, retain_graph)


# ---- functions ----


def where(condition: Array, a: Any, b: Any) -> Tensor:
    """Elements of `a` where the condition (an array of true and false) holds, of `b` elsewhere."""
    return apply("where", a, b, condition=condition)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along an axis."""
    return apply("cat", *tensors, dim=dim)
