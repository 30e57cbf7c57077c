"""Exercise `tree`: the value of a tree that is too deep for recursion."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    drawn,
    expect,
    forms,
    near,
    plain,
    shown,
    untouched,
)
from ..mistakes import then

__all__ = ["EXERCISE"]

Value = Callable[[Any], Any]
SIDES = {"left": 20_000, "right": 20_000, "left and right in turn": 4_000}
"""The side that is deep, and how many levels."""


def _leaves() -> dict[str, Tensor]:
    numbers = {"a": 2.1, "b": -3.3, "c": [0.7, 1.9]}
    return {
        name: torch.tensor(number, dtype=torch.get_default_dtype(), requires_grad=True)
        for name, number in numbers.items()
    }


def _trees(a: Tensor, b: Tensor, c: Tensor) -> list[tuple[str, Any, Tensor]]:
    """Code, tree and value."""
    return [
        ("a", a, a * 1),
        ("a + b", ("+", a, b), a + b),
        ("a * b", ("*", a, b), a * b),
        ("a * a", ("*", a, a), a * a),
        ("(a + b) * c", ("*", ("+", a, b), c), (a + b) * c),
        ("c * (a + b)", ("*", c, ("+", a, b)), c * (a + b)),
        (
            "a * (b + c) + a * a",
            ("+", ("*", a, ("+", b, c)), ("*", a, a)),
            a * (b + c) + a * a,
        ),
        (
            "(a + b * c) * ((a + b) * (c + a))",
            ("*", ("+", a, ("*", b, c)), ("*", ("+", a, b), ("+", c, a))),
            (a + b * c) * ((a + b) * (c + a)),
        ),
    ]


def check_value(value: Value) -> None:
    """`value(tree)` computes nested tuples, however deep, with gradients to the leaves."""
    leaves = _leaves()
    for code, tree, want in _trees(**leaves):
        _judge(value, code, tree, want, leaves)
    for side, depth in SIDES.items():
        _judge_deep(value, side, depth)
    draw = drawn()
    for _ in range(3):
        tree, want, leaves = _random_tree(draw)
        _judge(value, f"a random tree ({draw})", tree, want, leaves)


def _judge(value: Value, code: str, tree: Any, want: Tensor, leaves: dict[str, Tensor]) -> None:
    with untouched(**leaves):
        found = forms.tensor(value(tree), "value", tuple(want.shape))
    expect(
        near(found, want),
        f"The value of {code} is {shown(want)}; yours is {shown(found)}.",
        "Write down what your list holds after each step, for this tree.",
    )
    expect(
        found.requires_grad,
        f"The value of {code} does not ask for gradients.",
        "Compute with the leaves themselves, not with their numbers.",
    )
    parts = [*leaves.values()]
    ours = autograd.grad(found.sum(), parts, materialize_grads=True)
    theirs = autograd.grad(want.sum(), parts, materialize_grads=True)
    for name, one, two in zip(leaves, ours, theirs, strict=True):
        expect(
            near(one, two),
            f"The value of {code} is right, and the gradient of {name} is {shown(one)}, not {shown(two)}.",
            "Every leaf has its part in the graph, each time it stands in the tree.",
        )


def _deep_tree(side: str, a: Tensor, b: Tensor, depth: int) -> Any:
    deep: Any = a
    for level in range(depth):
        left = side == "left" or (side != "right" and level % 2)
        deep = ("+", deep, b) if left else ("+", b, deep)
    return deep


def _judge_deep(value: Value, side: str, depth: int) -> None:
    a = torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    deep = _deep_tree(side, a, b, depth)
    try:
        found = value(deep)
    except RecursionError:
        expect(
            False,
            f"A tree that is {depth:,} levels deep, on its {side}, stops with a RecursionError.",
            "Keep a list of what is still to be done, and one of what is ready.",
        )
    found = forms.tensor(found, "value", ())
    expect(
        near(found, 2.5 + 0.5 * depth),
        f"The value of a tree of {depth:,} additions, on its {side}, is not right.",
        "Nothing may get lost, however long the list of what is still to be done becomes.",
    )
    _, of_b = autograd.grad(found, [a, b], allow_unused=True)
    expect(
        of_b is not None and near(of_b, float(depth)),
        f"The value of a tree of {depth:,} additions is right, its gradient is not.",
        "Every leaf has its part in the graph.",
    )


def _random_tree(draw: Drawn) -> tuple[Any, Tensor, dict[str, Tensor]]:
    dtype = torch.get_default_dtype()
    leaves = {name: draw.uniform(low=0.5, high=1.5, dtype=dtype).requires_grad_() for name in "abc"}
    pool: list[tuple[Any, Tensor]] = [(leaf, leaf) for leaf in leaves.values()]
    for _ in range(draw.whole(3, 8)):
        (one, of_one), (two, of_two) = (pool[draw.whole(0, len(pool) - 1)] for _ in range(2))
        pool.append(
            (("+", one, two), of_one + of_two)
            if draw.whole(0, 1)
            else (("*", one, two), of_one * of_two)
        )
    tree, want = pool[-1]
    return tree, want, leaves


# ---- answers ----


def _with_a_mark(tree: Any, times: str = "*", leaf: Callable[[Tensor], Any] = lambda t: t) -> Any:
    """The solution."""
    waiting, done = [(tree, False)], []
    while waiting:
        node, ready = waiting.pop()
        if isinstance(node, Tensor):
            done.append(leaf(node))
        elif ready:
            right, left = done.pop(), done.pop()
            done.append(left * right if node[0] == times else left + right)
        else:
            waiting += [(node, True), (node[2], False), (node[1], False)]
    return done[0]


def _joined(tree: Any, value: Value) -> Any:
    left, right = value(tree[1]), value(tree[2])
    return left + right if tree[0] == "+" else left * right


def _recursive(tree: Any) -> Any:
    return tree if isinstance(tree, Tensor) else _joined(tree, _recursive)


def _left_spine(tree: Any) -> Any:
    """A loop along the left side, recursion on the right."""
    rest = []
    while not isinstance(tree, Tensor):
        rest.append((tree[0], tree[2]))
        tree = tree[1]
    for sign, right in reversed(rest):
        tree = tree + _left_spine(right) if sign == "+" else tree * _left_spine(right)
    return tree


def _limit_raised(tree: Any) -> Any:
    sys.setrecursionlimit(100_000)
    return _recursive(tree)


def _added_up(tree: Any) -> Any:
    """The leaves' sum, whatever the signs."""
    waiting, total = [tree], 0
    while waiting:
        node = waiting.pop()
        if isinstance(node, Tensor):
            total = total + node
        else:
            waiting += node[1:]
    return total


def _in_place(tree: Any) -> Any:
    waiting, done = [(tree, False)], []
    while waiting:
        node, ready = waiting.pop()
        if isinstance(node, Tensor):
            done.append(node)
        elif ready:
            right, left = done.pop(), done.pop()
            done.append(left.data.add_(right) if node[0] == "+" else left.data.mul_(right))
        else:
            waiting += [(node, True), (node[2], False), (node[1], False)]
    return done[0]


def _backwards(tree: Any) -> Any:
    """All nodes, parents before children; then from the last to the first, each from a table."""
    order, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if not isinstance(node, Tensor):
            waiting.extend(node[1:])
    values: dict[int, Any] = {}
    for node in reversed(order):
        if isinstance(node, Tensor):
            values[id(node)] = node
        else:
            sign, left, right = node
            one, two = values[id(left)], values[id(right)]
            values[id(node)] = torch.add(one, two) if sign == "+" else torch.mul(one, two)
    return values[id(tree)]


def _with_generators(tree: Any) -> Any:
    """Recursion written as generators, which a loop runs."""

    def of(node: Any) -> Any:
        if isinstance(node, Tensor):
            return node
        left = yield node[1]
        right = yield node[2]
        return left + right if node[0] == "+" else left * right

    running, sent = [of(tree)], None
    while running:
        try:
            running.append(of(running[-1].send(sent)))
            sent = None
        except StopIteration as stop:
            running.pop()
            sent = stop.value
    return sent


def told(value: Value) -> Any:
    """The oracle: values and gradients, deep trees on all sides, whether the recursion limit stays."""
    found: list[Any] = []
    leaves, limit = _leaves(), sys.getrecursionlimit()
    cases = [(tree, leaves) for _, tree, _ in _trees(**leaves)]
    cases += [(tree, names) for tree, _, names in (_random_tree(Drawn(seed)) for seed in range(8))]
    for tree, names in cases:
        try:
            y = value(tree)
            grads = autograd.grad(y.sum(), [*names.values()], materialize_grads=True)
            found.append([plain(y, asks=True), plain(grads), plain([*names.values()], asks=True)])
        except Exception as error:
            found.append(type(error).__name__)
    if sys.getrecursionlimit() != limit:
        sys.setrecursionlimit(limit)
        return [*found, "the limit is raised"]  # on a deep tree, Python itself may crash
    for side, depth in SIDES.items():
        a, b = (torch.tensor(1.5, requires_grad=True) for _ in range(2))
        try:
            found.append(plain(value(_deep_tree(side, a, b, depth))))
        except Exception as error:
            found.append(type(error).__name__)
    return found


EXERCISE = Exercise(
    "tree",
    "A list of what is to be done, whatever the depth.",
    check_value,
    (
        Wrong("recursion", _recursive, "on its left, stops with a RecursionError"),
        Wrong("recursion on the right", _left_spine, "on its right, stops with a RecursionError"),
        Wrong("the limit raised", _limit_raised, "the recursion limit"),
        Wrong(
            "detached", lambda t: _with_a_mark(t, leaf=lambda leaf: leaf.detach()), "does not ask"
        ),
        Wrong(
            "numbers",
            lambda t: _with_a_mark(t, leaf=lambda leaf: leaf.tolist()),
            "yours returned 2.0",
        ),
        Wrong(
            "numbers in a new tensor",
            lambda t: torch.tensor(_with_a_mark(t, leaf=lambda leaf: leaf.tolist())),
            "does not ask",
        ),
        Wrong("the sum of all leaves", _added_up, "The value of a * b is -6.93; yours is -1.2"),
        Wrong(
            "the product everywhere",
            lambda t: _with_a_mark(t, times="+"),
            "The value of a + b is -1.2; yours is -6.93",
        ),
        Wrong("in place", _in_place, "it was given: tree[1] is"),
        Wrong(
            "leaves zeroed",
            then(_with_a_mark, lambda t: _with_a_mark(t, leaf=lambda leaf: leaf.data.zero_())),
            "it was given: tree is",
        ),
        Wrong(
            "the first sign",
            lambda t: t if isinstance(t, Tensor) else t[1],
            "The value of a + b is -1.2; yours is 2.1",
        ),
        Wrong(
            "left only",
            lambda t: t if isinstance(t, Tensor) else _with_a_mark((t[0], t[1], t[1])),
            "The value of a + b is -1.2; yours is 4.2",
        ),
    ),
    right=(
        Right("from the last node to the first", _backwards),
        Right("generators that a loop runs", _with_generators),
    ),
    oracle=told,
)
