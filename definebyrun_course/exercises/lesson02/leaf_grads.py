"""Exercise `leaf_grads`: a backward pass of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    Wrong,
    drawn,
    expect,
    forms,
    near,
    shown,
    untouched,
)
from ..mistakes import then
from .programs import Program, leaf_of, programs, random_program

__all__ = ["EXERCISE"]

DIAMONDS = 30
MAX_RUNS = 40
"""So often the nodes of a program that save something may run, each."""
EARLY = "A node may run only when all that leads to it has arrived. How many edges lead to it?"


def check_leaf_grads(leaf_grads: Callable[[Tensor], dict[Tensor, Tensor]]) -> None:
    """`leaf_grads(tensor)` returns {leaf: gradient}, found by walking, with every node run once."""
    for program in programs():
        _judge(leaf_grads, program)
    with _counting(DIAMONDS) as runs:
        y = a = leaf_of(0.7)
        for _ in range(DIAMONDS):
            y = y.sin()
            y = y + y
        _judge(leaf_grads, ("a chain of diamonds", y, {"a": a}), EARLY)
        runs[0] -= DIAMONDS  # autograd's own pass
    expect(
        runs[0] <= DIAMONDS,
        f"{DIAMONDS} nodes, with two edges to each, ran {runs[0]} times.",
        EARLY,
    )
    draw = drawn()
    for _ in range(3):
        _judge(leaf_grads, random_program(draw))


@contextmanager
def _counting(nodes: int) -> Iterator[list[int]]:
    """A region whose nodes count their runs: each reads what it has saved. Very many are a mistake at once."""
    runs = [0]

    def read(saved: Tensor) -> Tensor:
        runs[0] += 1
        if runs[0] > MAX_RUNS * nodes:
            raise Mistake(
                f"{nodes} nodes, with two edges to each, had run {runs[0]} times, and yours went on.",
                f"There are 2 to the {nodes} paths. {EARLY}",
            )
        return saved

    with autograd.graph.saved_tensors_hooks(lambda saved: saved, read):
        yield runs


def _judge(leaf_grads: Any, program: Program, hint: str = "") -> None:
    code, tensor, leaves = program
    want = dict(
        zip(leaves, autograd.grad(tensor, [*leaves.values()], retain_graph=True), strict=True)
    )
    by_engine: list[int] = []
    tensor.grad_fn.register_hook(lambda *_: by_engine.append(1))
    with untouched(**leaves):
        found = leaf_grads(tensor)
    expect(
        not by_engine,
        "PyTorch's engine has run the nodes, not you.",
        "Call the nodes yourself: node(grad) applies a node's rule to one gradient.",
    )
    expect(
        isinstance(found, dict),
        f"leaf_grads returns a dictionary; yours returned {forms.said(found)}.",
        "Its keys are the leaves, its values their gradients.",
    )
    known = {id(leaf): name for name, leaf in leaves.items()}
    strange = [key for key in found if id(key) not in known]
    expect(
        not strange,
        f"For {code} a key of your dictionary is no leaf of the graph: {_said(strange)}.",
        "An AccumulateGrad's variable is the leaf itself.",
    )
    grads = {known[id(key)]: grad for key, grad in found.items()}
    missing = [name for name in leaves if name not in grads]
    expect(
        not missing,
        f"For {code} your dictionary lacks {', '.join(missing)}.",
        "Every leaf that the walk comes to is a key.",
    )
    for name, right in want.items():
        expect(
            near(grads[name], right, rtol=1e-4),
            f"For {code} the gradient of {name} is {shown(grads[name])}; small steps of {name} give {shown(right)}.",
            hint or _hint(code),
        )


def _said(strange: list[Any]) -> str:
    nodes = [part for part in strange if isinstance(part, autograd.graph.Node)]
    return (
        f"a node, {type(nodes[0]).__name__}" if nodes else ", ".join(map(forms.said, strange[:1]))
    )


def _hint(code: str) -> str:
    if code == "a * a":
        return "Two edges lead to a: what arrives along them is added."
    if code == "a + b + a":
        return "A node may return one tensor for two inputs: what is written into it changes both."
    return f"What comes in along several edges is added, and sent on once. {EARLY}"


# ---- answers ----


def _missing(root: Any) -> dict[Any, int]:
    """How many edges lead to each node."""
    missing, waiting = {root: 0}, [root]
    while waiting:
        for target, _ in waiting.pop().next_functions:
            if target is not None:
                if target not in missing:
                    waiting.append(target)
                missing[target] = missing.get(target, 0) + 1
    return missing


def _passed(node: Any, grad: Tensor) -> list[tuple[Any, Tensor]]:
    passed = node(grad)
    passed = passed if isinstance(passed, tuple) else (passed,)
    return [(n, g) for (n, _), g in zip(node.next_functions, passed, strict=True) if n is not None]


def walked(
    tensor: Tensor,
    add: Callable[[Tensor, Tensor], Tensor] = lambda one, two: one + two,
    key: Callable[[Any], Any] = lambda node: node.variable,
    first: Callable[[Tensor], Tensor] = torch.ones_like,
    waits: bool = True,
) -> dict[Any, Tensor]:
    """The solution with its usual mistakes as switches."""
    root = tensor.grad_fn
    missing, ready, arrived, grads = _missing(root), [root], {root: first(tensor)}, {}
    while ready:
        node = ready.pop()
        if hasattr(node, "variable"):
            grads[key(node)] = arrived[node]
            continue
        for target, grad in _passed(node, arrived[node]):
            arrived[target] = add(arrived[target], grad) if target in arrived else grad
            missing[target] -= 1
            if missing[target] == 0 or not waits:
                ready.append(target)
    return grads


def _in_place(one: Tensor, two: Tensor) -> Tensor:
    one += two
    return one


def _every_path(tensor: Tensor, add: bool = True) -> dict[Tensor, Tensor]:
    ready, grads = [(tensor.grad_fn, torch.ones_like(tensor))], {}
    while ready:
        node, grad = ready.pop()
        if hasattr(node, "variable"):
            leaf = node.variable
            grads[leaf] = grads[leaf] + grad if add and leaf in grads else grad
            continue
        ready += _passed(node, grad)
    return grads


def _recursive(tensor: Tensor) -> dict[Tensor, Tensor]:
    missing, arrived, grads = _missing(tensor.grad_fn), {}, {}

    def arrive(node: Any, grad: Tensor) -> None:
        arrived[node] = arrived[node] + grad if node in arrived else grad
        missing[node] -= 1
        if missing[node] <= 0:
            if hasattr(node, "variable"):
                grads[node.variable] = arrived[node]
            else:
                for target, part in _passed(node, arrived[node]):
                    arrive(target, part)

    arrive(tensor.grad_fn, torch.ones_like(tensor))
    return grads


def _by_the_engine(tensor: Tensor) -> dict[Tensor, Tensor]:
    leaves = [node.variable for node in _missing(tensor.grad_fn) if hasattr(node, "variable")]
    return dict(zip(leaves, autograd.grad(tensor, leaves, retain_graph=True), strict=True))


def _accumulated(tensor: Tensor) -> dict[Tensor, Tensor]:
    leaves = [node.variable for node in _missing(tensor.grad_fn) if hasattr(node, "variable")]
    for node, grad in [(leaf, walked(tensor)[leaf]) for leaf in leaves]:
        node.grad = grad if node.grad is None else node.grad + grad
    return {leaf: leaf.grad for leaf in leaves}


def _in_topological_order(tensor: Tensor) -> dict[Tensor, Tensor]:
    """Depth first, with an end mark on the stack; then one pass along the reversed order, without a count of edges."""
    order, seen, stack = [], set(), [(tensor.grad_fn, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(target, False) for target, _ in node.next_functions if target]
    lists: dict[Any, list[Tensor]] = {tensor.grad_fn: [tensor.detach() * 0 + 1]}
    grads = {}
    with torch.no_grad():
        for node in reversed(order):
            total = sum(lists.pop(node))
            if hasattr(node, "variable"):
                grads[node.variable] = total
                continue
            for target, grad in _passed(node, total):
                lists.setdefault(target, []).append(grad)
    return grads


def found_grads(leaf_grads: Callable[[Tensor], Any]) -> Any:
    """The oracle: the gradients by the leaves' names, how often nodes ran, who ran them, and the leaves afterwards."""
    tried = [*programs(), *(random_program(Drawn(seed)) for seed in range(8))]
    x = leaf_of(0.3)
    with autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: (runs.append(1), t)[1]):
        y = x
        for _ in range(8):
            y = y.sin()
            y = y + y
    tried.append(("diamonds", y, {"a": x}))
    found: list[Any] = []
    for _, tensor, leaves in tried:
        known, runs, engine = {id(leaf): name for name, leaf in leaves.items()}, [], []
        tensor.grad_fn.register_hook(lambda *_, engine=engine: engine.append(1))
        try:
            grads = leaf_grads(tensor)
            told = {
                known.get(id(k), forms.said(k)): [list(g.shape), _digits(g)]
                for k, g in grads.items()
            }
        except Exception as error:
            told = {type(error).__name__: []}
        after = [
            [leaf.tolist(), leaf.requires_grad, None if leaf.grad is None else leaf.grad.tolist()]
            for leaf in leaves.values()
        ]
        found.append([dict(sorted(told.items())), len(runs), bool(engine), after])
    return found


def _digits(grad: Tensor) -> list[str]:
    return [f"{number:.3g}" for number in grad.detach().flatten().tolist()]


EXERCISE = Exercise(
    "leaf_grads",
    "Each node once, when everything had arrived.",
    check_leaf_grads,
    (
        Wrong("every path by itself", _every_path, "nodes, with two edges to each, had run"),
        Wrong(
            "the last path counts",
            lambda t: _every_path(t, add=False),
            "gradient of a is 3.1; small",
        ),
        Wrong(
            "added in place", lambda t: walked(t, add=_in_place), "a + b + a the gradient of b is 2"
        ),
        Wrong(
            "run again for each arrival",
            lambda t: walked(t, waits=False),
            "where v = a * b the gradient of a is 1842",
        ),
        Wrong("by autograd.grad", _by_the_engine, "engine has run"),
        Wrong("into .grad", _accumulated, "leave alone: a, its .grad"),
        Wrong(
            "then zeroed",
            then(walked, lambda t: [leaf.data.zero_() for leaf in walked(t)]),
            "leave alone: a is",
        ),
        Wrong("recursion", _recursive, "RecursionError"),
        Wrong(
            "nodes as keys",
            lambda t: walked(t, key=lambda node: node),
            "is no leaf of the graph: a node, Acc",
        ),
        Wrong(
            "the value sent in",
            lambda t: walked(t, first=lambda t: t.detach()),
            "a * b the gradient of a is 87.08",
        ),
        Wrong(
            "numbers",
            lambda t: {k: g.sum() for k, g in walked(t).items()},
            "relu() * u).sum() the gradient of w",
        ),
        Wrong("pairs", lambda t: list(walked(t).items()), "returns a dictionary"),
    ),
    right=(
        Right("along a topological order, under no_grad", _in_topological_order),
        Right("a dictionary that is sorted", lambda t: dict(reversed(walked(t).items()))),
    ),
    oracle=found_grads,
    allows={
        "detached": "the gradient is the same number; that it can be differentiated again is asked nowhere"
    },
)
