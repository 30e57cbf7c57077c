"""Exercise `unreachable`: the parameters that the graph of a loss does not lead to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect
from ...grading.forms import said, sequence
from ..lesson01.leaves import diamonds

__all__ = ["EXERCISE"]

CHAIN_NODES, DIAMONDS = 3000, 30


class Parts(nn.Module):
    """Parameters by name, all alike; a name with a dot belongs to a module inside. A `frozen` one asks for nothing."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            inner, _, own = name.rpartition(".")
            holder: nn.Module = self
            if inner:
                self._modules.setdefault(inner, nn.Module())
                holder = self.get_submodule(inner)
            value = torch.full((2,), 3.0, dtype=torch.float64)
            holder.register_parameter(own, nn.Parameter(value, requires_grad="frozen" not in name))

    def __getitem__(self, name: str) -> Tensor:
        return self.get_parameter(name)


def _words(names: Any) -> str:
    return ", ".join(names) or "none"


def cases() -> list[tuple[str, Parts, Tensor, list[str], str]]:
    """A loss in words, the model, the loss, the right names, and a hint; from the smallest up."""
    one, two, cut = Parts("w"), Parts("w", "unused"), Parts("zeta", "w", "inner.scale", "alpha")
    none, zero, frozen = Parts("b", "a"), Parts("w", "gate"), Parts("w", "frozen", "free")
    tied = Parts("w", "unused")
    tied.register_parameter("again", tied.get_parameter("unused"))
    leaf = torch.ones((), dtype=torch.float64, requires_grad=True)
    both = zero["w"].sum() + 0 * zero["gate"].sum()
    item = cut["w"].sum() * cut["inner.scale"].sum().item() + cut["alpha"].detach().sum()
    return [
        ("w.sum()", one, one["w"].sum(), [], "One step from the end lies the node of the leaf."),
        ("(w * w).sum()", two, two["w"].square().sum(), ["unused"],
         "Which leaves does the graph end in, and which parameters are not among them?"),
        ("w.sum(), where `again` is another name of `unused`,", tied, tied["w"].sum(), ["unused"],
         "named_parameters() gives a parameter with two names once."),
        ("torch.tensor(1.0)", none, torch.tensor(1.0), ["b", "a"],
         "Its grad_fn is None, so nothing is reached; the names come as named_parameters() gives them."),
        ("w.sum() + 0 * gate.sum()", zero, both, [],
         "Multiplied by zero is reached: there is a way, on which a zero travels."),
        ("(w * x).sum() + frozen.sum(), where x are data that ask for a gradient, too", frozen,
         (frozen["w"] * leaf).sum() + frozen["frozen"].sum(), ["free"],
         "A parameter that asks for no gradient is not cut off: it never was connected."),
        ("w.sum() * inner.scale.item() + alpha.detach().sum()", cut, item,
         ["zeta", "alpha", "inner.scale"], "Both .item() and .detach() end the graph."),
    ]  # fmt: skip


def check_unreachable(unreachable: Callable[[Tensor, nn.Module], Any]) -> None:
    """`unreachable(loss, model)` names the parameters to which no way leads."""
    for words, model, loss, want, hint in cases():
        _ask(unreachable, words, model, loss, want, hint)
        _still_whole(loss)
        for parameter in model.parameters():  # once more, where there are gradients already
            if parameter.requires_grad:
                parameter.grad = torch.full_like(parameter, 0.5)
        _ask(unreachable, f"{words}, and every parameter has a .grad", model, loss, want, hint)
    _deep(unreachable)
    model = Parts("w", "unused")
    loss = diamonds(model["w"], DIAMONDS).sum()
    _ask(
        unreachable,
        f"a sum with {DIAMONDS} diamonds",
        model,
        loss,
        ["unused"],
        "Which leaf is at its end?",
    )
    draw = drawn()
    for _ in range(5):
        model, loss, want = _drawn_case(draw)
        hint = "Every parameter that can be met on some way from the loss is reached."
        _ask(unreachable, "a sum of some parameters", model, loss, want, hint, f" ({draw})")


def _ask(
    unreachable: Callable[..., Any], words: str, model: Parts, loss: Tensor, want: list[str],
    hint: str, seed: str = "",
) -> None:  # fmt: skip
    found = _names(unreachable(loss, model))
    got, right = _words(found), _words(want)
    if found != want and sorted(found) == sorted(want):
        message = f"With loss = {words} the names are in another order: {got}; named_parameters() gives {right}{seed}."
        expect(
            False, message, "Go through named_parameters(), and keep those that are not reached."
        )
    held = _words(name for name, _ in model.named_parameters())
    expect(
        found == want,
        f"With loss = {words} and the parameters {held}, cut off: {right}; yours: {got}{seed}.",
        hint,
    )


def _names(answer: Any) -> list[str]:
    if isinstance(answer, (set, frozenset)):
        expect(False, "The names are asked for in an order; a set has none.", "Return a list.")
    names = sequence(answer, "The answer")
    odd = next((name for name in names if not isinstance(name, str)), "")
    message = f"The answer is a list of names; one entry is {said(odd)}."
    expect(odd == "", message, "named_parameters() gives pairs: the name comes first.")
    return names


def _still_whole(loss: Tensor) -> None:
    if loss.grad_fn is None:
        return
    try:
        loss.backward(retain_graph=True)
    except RuntimeError:
        message = "After your function, loss.backward() fails: the graph has been freed."
        expect(False, message, "Look at the graph instead of running it, or keep it.")


def _deep(unreachable: Callable[..., Any]) -> None:
    model = Parts("w", "unused")
    loss = model["w"].sum()
    for _ in range(CHAIN_NODES):
        loss = loss + 1
    words = f"w.sum() + 1 + 1 … ({CHAIN_NODES:,} times)"
    _ask(unreachable, words, model, loss, ["unused"], "How far does your way through the graph go?")


def _drawn_case(draw: Drawn) -> tuple[Parts, Tensor, list[str]]:
    names = [f"{'inner.' if draw.whole(0, 1) else ''}p{draw.whole(0, 99)}" for _ in range(5)]
    model = Parts(*dict.fromkeys([*names, "frozen"]))
    loss, want = torch.zeros((), dtype=torch.float64), []
    for name, parameter in model.named_parameters():
        if draw.whole(0, 1) or not parameter.requires_grad:
            loss = (loss + parameter.sum()).square()
        else:
            want.append(name)
    return model, loss, want


# ---- right answers, found in other ways ----


def by_gradients(loss: Tensor, model: nn.Module) -> list[str]:
    asking = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if loss.grad_fn is None:
        return list(asking)
    found = grad(loss, list(asking.values()), allow_unused=True, retain_graph=True)
    return [name for name, g in zip(asking, found, strict=True) if g is None]


def by_levels(loss: Tensor, model: nn.Module) -> tuple[str, ...]:
    level, reached = {loss.grad_fn} - {None}, set()
    seen: set[Any] = set()
    while level:
        seen |= level
        reached |= {id(getattr(node, "variable", None)) for node in level}
        level = {n for node in level for n, _ in node.next_functions} - {None} - seen
    asking = ((name, p) for name, p in model.named_parameters() if p.requires_grad)
    return tuple(name for name, p in asking if id(p) not in reached)


# ---- wrong answers ----


def _walk(loss: Tensor, model: nn.Module, seen: bool = True, frozen: bool = False,
          order: Any = list, levels: int | None = None, reached: bool = False, first: bool = False) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    waiting = [(loss.grad_fn, 0)] if loss.grad_fn is not None else []
    visited, leaves = set(), set()
    while waiting:
        node, depth = waiting.pop()
        if node is None or (seen and node in visited) or (levels and depth > levels):
            continue
        visited.add(node)
        leaves.add(id(getattr(node, "variable", None)))
        if first and hasattr(node, "variable"):
            break
        waiting += [(n, depth + 1) for n, _ in node.next_functions]
    asking = [(n, p) for n, p in model.named_parameters() if p.requires_grad or frozen]
    return order(n for n, p in asking if (id(p) in leaves) is reached)


def _recursion(loss: Tensor, model: nn.Module) -> list[str]:
    seen, leaves = set(), []

    def visit(node: Any) -> None:
        if node is not None and node not in seen:
            seen.add(node)
            leaves.append(getattr(node, "variable", None))
            for target, _ in node.next_functions:
                visit(target)

    visit(loss.grad_fn)
    asking = ((n, p) for n, p in model.named_parameters() if p.requires_grad)
    return [n for n, p in asking if not any(p is leaf for leaf in leaves)]


def _by_grad(loss: Tensor, model: nn.Module) -> list[str]:
    if loss.grad_fn is not None:
        loss.backward(retain_graph=True)
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def _grads_of(loss: Tensor, model: nn.Module, none: bool = True, **options: Any) -> list[str]:
    asking = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if loss.grad_fn is None:
        return list(asking)
    found = grad(loss, [*asking.values()], allow_unused=True, **options)
    zero = lambda g: g is None if none else g is None or not g.any()  # noqa: E731
    return [n for n, g in zip(asking, found, strict=True) if zero(g)]


def _graphless_forgotten(loss: Tensor, model: nn.Module) -> list[str]:
    return by_gradients(loss, model) if loss.grad_fn is not None else []


def _by_shape(loss: Tensor, model: nn.Module) -> list[str]:
    names = by_gradients(loss, model)
    reached = [p.shape for n, p in model.named_parameters() if p.requires_grad and n not in names]
    return [n for n in names if model.get_parameter(n).shape not in reached]


def _all_names(loss: Tensor, model: nn.Module) -> list[str]:
    """Gives a parameter under each of its names."""
    names = by_gradients(loss, model)
    cut = [model.get_parameter(name) for name in names]
    every = model.named_parameters(remove_duplicate=False)
    return [name for name, p in every if any(p is other for other in cut)]


WRONG = {
    "each of two names": (_all_names, "yours: unused, again."),
    "every path is gone": (partial(_walk, seen=False), "Remember which nodes"),
    "recursion": (_recursion, "RecursionError"),
    "looks at .grad": (_by_grad, "its .grad"),
    "frees the graph": (_grads_of, "has been freed"),
    "zeros": (partial(_grads_of, none=False, retain_graph=True), "cut off: none; yours: gate."),
    "leaves by their shape": (_by_shape, "unused, cut off: unused; yours: none"),
    "the reached ones": (partial(_walk, reached=True), "parameters w, cut off: none; yours: w."),
    "stops at the first leaf": (partial(_walk, first=True), "w, gate, cut off: none; yours: w."),
    "also what asks for no gradient": (partial(_walk, frozen=True), "yours: frozen, free."),
    "sorted": (partial(_walk, order=sorted), "in another order"),
    "a set": (partial(_walk, order=set), "a set has none"),
    "two levels deep": (partial(_walk, levels=1), "cut off: unused; yours: w, unused"),
    "parameters, not names": (
        lambda loss, model: [p for n, p in model.named_parameters() if n in by_levels(loss, model)],
        "list of names"),
    "a loss without a graph reaches all": (_graphless_forgotten, "torch.tensor(1.0) and"),
}  # fmt: skip


def oracle(unreachable: Callable[..., Any]) -> Any:
    """The names for many graphs, what is in every .grad, and whether the graph can still be run."""
    told: list[Any] = []
    many = [(model, loss) for _, model, loss, _, _ in cases()]
    many += [_drawn_case(Drawn(seed))[:2] for seed in range(30)]
    deep, paths = Parts("w", "unused"), Parts("w", "unused")
    end = deep["w"].sum()
    for _ in range(2000):
        end = end + 1
    for model, loss in [*many, (deep, end), (paths, diamonds(paths["w"], 12).sum())]:
        next(model.parameters()).grad = None
        try:
            found = unreachable(loss, model)
            told.append([str(name) for name in found if not isinstance(found, set)])
            told.append([p.grad is None for p in model.parameters()])
            _still_whole(loss)
        except Exception as error:
            told.append(type(error).__name__)
    return told


EXERCISE = Exercise(
    "unreachable",
    "No way from the loss, whatever .grad says.",
    check_unreachable,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    (Right("by gradients", by_gradients), Right("level by level, as a tuple", by_levels)),
    oracle=oracle,
)
