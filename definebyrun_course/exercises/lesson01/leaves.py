"""Exercise `leaves`: the leaves that a graph reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import Drawn, Exercise, Mistake, Right, Wrong, drawn, expect, forms, untouched
from ..mistakes import then

__all__ = ["EXERCISE"]

Leaves = dict[str, Tensor]
DEEP, DIAMONDS = 10_000, 30
MAX_READS = 60
"""So often a node may be asked for its next_functions."""
WALK = "next_functions goes one level down. Keep a list of the nodes that are still to be visited."


class Counted(autograd.Function):
    """The identity; its nodes count how often they are asked for their edges, all of them together."""

    reads, most = 0, 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output


_plain_edges = torch._C._FunctionBase.next_functions


def _counted_edges(node: Any) -> Any:
    Counted.reads += 1
    if Counted.reads > Counted.most:
        raise Mistake(
            f"A graph in which {DIAMONDS} times two edges lead to one node has {3 * DIAMONDS + 1} nodes; yours went "
            f"on through it after {Counted.most} visits.",
            "There are 2 to the 30 ways to the leaf. Remember which nodes you have been at.",
        )
    return _plain_edges.__get__(node)


Counted._backward_cls.next_functions = property(_counted_edges)


def diamonds(x: Tensor, times: int) -> Tensor:
    """A graph with 2^times ways to the leaf `x`, which notices when all of them are gone."""
    Counted.reads, Counted.most = 0, MAX_READS * times
    for _ in range(times):
        x = Counted.apply(x)
        x = x * 0.5 + x
    return x


def check_leaves(leaves: Callable[[Tensor], Any]) -> None:
    """`leaves(tensor)` returns the leaf tensors that the graph of `tensor` reaches, each once, in any order."""
    a, b = (torch.tensor(n, requires_grad=True) for n in (2.0, 3.0))
    c = torch.tensor(5.0)
    w = torch.ones(2, 3, requires_grad=True)
    _judge(leaves, a * 2, {"a": a}, "a * 2")
    _judge(leaves, a * c, {"a": a}, "a * c", "c asks for no gradient: no edge leads to it.")
    _judge(leaves, c * a, {"a": a}, "c * a", "Where an input asks for nothing, None stands.")
    twice = (
        "A leaf that is used several times is still one leaf: remember which nodes you have seen."
    )
    _judge(leaves, a * a, {"a": a}, "a * a", twice)
    _judge(leaves, a * c + b + b + b, {"a": a, "b": b}, "a * c + b + b + b", WALK)
    for shape in ((), (2,)):
        u, v = (torch.full(shape, 2.0, requires_grad=True) for _ in range(2))
        same = (
            "Compare nodes, or tensors with `is`. `in` and `==` compare tensors by their numbers."
        )
        code = f"u * 3 + v * 3, where u and v hold the same {'numbers' if shape else 'number'}"
        _judge(leaves, u * 3 + v * 3, {"u": u, "v": v}, code, same)
    _judge(leaves, (c + b) * (w * a).sum(), {"a": a, "b": b, "w": w}, "(c + b) * (w * a).sum()")
    top, low = w.unbind()
    _judge(
        leaves, low * b + top.sum(), {"b": b, "w": w}, "w.unbind(), of which both parts are used"
    )
    _judge(leaves, diamonds(a, DIAMONDS) * b, {"a": a, "b": b}, "a chain of diamonds")
    long = a
    for _ in range(DEEP):
        long = long + 1.0
    _judge(leaves, long, {"a": a}, f"a chain of {DEEP:,} operations")
    draw = drawn()
    for _ in range(3):
        _judge(leaves, *_random_graph(draw), f"a random graph ({draw})")


def _random_graph(draw: Drawn) -> tuple[Tensor, Leaves]:
    """A tensor made of some leaves, not all of which ask, and those that it reaches."""
    pool: list[tuple[Tensor, Leaves]] = []
    for number in range(6):
        leaf = torch.ones(3, requires_grad=number != 2)
        pool.append((leaf, {f"leaf {number}": leaf} if leaf.requires_grad else {}))
    for _ in range(draw.whole(3, 20)):
        (one, of_one), (two, of_two) = (pool[draw.whole(0, len(pool) - 1)] for _ in range(2))
        made = one * two if draw.whole(0, 1) else (one + two).sin()
        pool.append((made, {**of_one, **of_two}))
    (end, of_end), (first, of_first) = pool[-1], pool[0]
    return end + first, {**of_end, **of_first}


def _judge(leaves: Any, tensor: Tensor, wanted: Leaves, code: str, hint: str = WALK) -> None:
    with untouched(**{name.replace(" ", "_"): leaf for name, leaf in wanted.items()}):
        found = forms.collection(leaves(tensor), "The result of leaves")
    for part in found:
        _is_wanted(part, wanted, code)
    missing = [name for name, leaf in wanted.items() if not any(part is leaf for part in found)]
    expect(not missing, f"For {code} your list lacks {', '.join(missing)}.", hint)
    expect(
        len(found) == len(wanted),
        f"For {code} your list has {len(found)} entries, with a leaf more than once among them.",
        "A leaf that is used several times is still one leaf: remember which nodes you have seen.",
    )


def _is_wanted(part: Any, wanted: Leaves, code: str) -> None:
    expect(
        isinstance(part, Tensor),
        f"For {code} your list holds {_said(part)}, which is no tensor.",
        "An AccumulateGrad node knows its leaf: that is its attribute variable.",
    )
    if any(part is leaf for leaf in wanted.values()):
        return
    copied = [name for name, leaf in wanted.items() if part.data_ptr() == leaf.data_ptr()]
    expect(
        not copied,
        f"For {code} your list holds another tensor with the numbers of {', '.join(copied)}, not the leaf itself.",
        "detach, clone and view make a new tensor. An optimizer would move that one, and not the leaf.",
    )
    expect(False, f"For {code} your list holds a tensor that is no leaf of its graph.", WALK)


def _said(part: Any) -> str:
    is_node = isinstance(part, autograd.graph.Node)
    return f"a node, {type(part).__name__}" if is_node else forms.said(part)


# ---- answers ----


def walk_leaves(
    tensor: Tensor,
    once: bool = True,
    levels: int = 10**9,
    taken: Callable[[Any], Any] = lambda node: node.variable,
    by_value: bool = False,
    none_ends: bool = False,
) -> list[Any]:
    """The solution with its usual mistakes as switches."""
    waiting, seen, found = [(tensor.grad_fn, 0)], set(), []
    while waiting:
        node, level = waiting.pop()
        if node is None and none_ends:
            break
        if node is None or (once and node in seen) or level > levels:
            continue
        seen.add(node)
        if hasattr(node, "variable") and not (by_value and node.variable in found):
            found.append(taken(node))
        waiting += [(target, level + 1) for target, _ in node.next_functions]
    return found


def _recursive(tensor: Tensor) -> list[Tensor]:
    found: dict[Any, Tensor] = {}

    def visit(node: Any) -> None:
        if node in found:
            return
        found[node] = getattr(node, "variable", None)
        for target, _ in node.next_functions:
            if target is not None:
                visit(target)

    visit(tensor.grad_fn)
    return [leaf for leaf in found.values() if leaf is not None]


def _every_way(tensor: Tensor) -> list[Tensor]:
    """Finds each leaf once, by going all the ways to it."""
    waiting, found = [tensor.grad_fn], {}
    while waiting:
        node = waiting.pop()
        if node is not None:
            if hasattr(node, "variable"):
                found[id(node.variable)] = node.variable
            waiting += [target for target, _ in node.next_functions]
    return list(found.values())


def _first_input(tensor: Tensor) -> list[Tensor]:
    node = tensor.grad_fn
    while not hasattr(node, "variable"):
        node = next(target for target, _ in node.next_functions if target is not None)
    return [node.variable]


def _level_by_level(tensor: Tensor) -> set[Tensor]:
    level, seen = {tensor.grad_fn}, set()
    while level:
        seen |= level
        level = {t for node in level for t, _ in node.next_functions if t is not None} - seen
    return {node.variable for node in seen if hasattr(node, "variable")}


def _with_edges(tensor: Tensor) -> Any:
    """A queue of edges; the leaves come from a generator."""
    edges, seen = [(tensor.grad_fn, 0)], set()
    for node, _ in edges:
        if node not in seen:
            seen.add(node)
            edges += [edge for edge in node.next_functions if edge[0]]
    return (node.variable for node in seen if node.name() == "torch::autograd::AccumulateGrad")


def found_leaves(leaves: Callable[[Tensor], Any]) -> Any:
    """The oracle: which leaves are found, how often each, and what else."""
    a, b = torch.tensor(2.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    w, c = torch.full((2,), 3.0, requires_grad=True), torch.tensor(5.0)
    long = a
    for _ in range(DEEP):
        long = long * 1.0
    ends = [a * c, c * a, a * a, a + b, w + b, (a * c + b) * w + b, w.unbind()[1] * a, long]
    ends += [_random_graph(Drawn(seed))[0] for seed in range(8)]
    named = {id(leaf): name for leaf, name in zip((a, b, w, c), "abwc", strict=True)}
    found: list[Any] = []
    for end in [*ends, diamonds(a, 12)]:
        try:
            with torch.enable_grad():
                parts = forms.collection(leaves(end))
            names = [named.get(id(part), f"{type(part).__name__}") for part in parts]
            found.append(sorted(names))
        except Exception as error:
            found.append(type(error).__name__)
    return [*found, torch.is_grad_enabled(), a.tolist(), w.tolist(), w.requires_grad]


EXERCISE = Exercise(
    "leaves",
    "Every leaf once, at any depth, without recursion.",
    check_leaves,
    (
        Wrong(
            "one level", lambda t: walk_leaves(t, levels=1), "a * c + b + b + b your list lacks a"
        ),
        Wrong("not once", lambda t: walk_leaves(t, once=False), "a * a your list has 2 entries"),
        Wrong("nodes", lambda t: walk_leaves(t, taken=lambda n: n), "a node, AccumulateGrad"),
        Wrong("names", lambda t: walk_leaves(t, taken=lambda n: n.name()), "holds 'torch::auto"),
        Wrong(
            "copies", lambda t: walk_leaves(t, taken=lambda n: n.variable.detach()), "numbers of a,"
        ),
        Wrong("by value", lambda t: walk_leaves(t, by_value=True), "hold the same number your"),
        Wrong(
            "None ends the walk",
            lambda t: walk_leaves(t, none_ends=True),
            "a * 2 your list lacks a",
        ),
        Wrong("recursion", _recursive, "RecursionError"),
        Wrong("every way", _every_way, "Remember which nodes you have been at"),
        Wrong("the first input only", _first_input, "a * c + b + b + b your list lacks b"),
        Wrong(
            "zeroes them",
            then(walk_leaves, lambda t: [n.data.zero_() for n in walk_leaves(t)]),
            "leave alone: a",
        ),
    ),
    right=(
        Right("level by level, a set", _level_by_level),
        Right("a queue of edges, a generator", _with_edges),
    ),
    oracle=found_leaves,
)
