"""Exercises of lesson 03, Build your own autograd: a rule, an order, gradients that leave no trace, a rule checker."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..grading import Exercise, Wrong, expect
from ..pieces.engine_rules import RULES, Array
from ..pieces.scalar_engine import Scalar, backward, count_uses

__all__ = ["EXERCISES"]

Rule = Callable[..., Any]


# ---- 03.1: logsumexp ----


def check_logsumexp(logsumexp: Rule) -> None:
    """`logsumexp(self)` is a rule along the last axis that is right for large numbers too."""
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        for shape in ((3,), (2, 4), (2, 3, 5)):
            x = rng.normal(size=shape)
            made = logsumexp(x)
            expect(
                isinstance(made, (tuple, list)) and len(made) == 2 and callable(made[1]),
                "logsumexp returns the result and one gradient function.",
                "Compare with a line of RULES: (result, lambda grad: …).",
            )
            right = np.log(np.exp(x).sum(axis=-1))
            expect(
                np.shape(made[0]) == right.shape,
                f"For shape {shape} the result has shape {np.shape(made[0])}, not {right.shape}.",
                "The last axis goes away.",
            )
            expect(np.allclose(made[0], right), f"For shape {shape} the result is wrong.")
            grad = np.asarray(rng.normal(size=right.shape))
            given = made[1](grad)
            expect(
                np.shape(given) == shape
                and np.allclose(given, grad[..., None] * np.exp(x - right[..., None])),
                f"For shape {shape} the gradient, of shape {np.shape(given)}, has the wrong numbers.",
                "For a grad of 1 it adds up to 1 along the last axis; each row has its own grad.",
            )
        for top in (1000.0, -1000.0):
            result, to_self = logsumexp(np.array([top, top]))
            expect(
                abs(result - top - math.log(2)) < 1e-9,
                f"For [{top:g}, {top:g}] the result is {float(result):g}, not {top + math.log(2):.3f}.",
                "Take the largest out of the sum before np.exp.",
            )
            given = to_self(np.array(1.0)).tolist()
            expect(
                given == [0.5, 0.5],
                f"For [{top:g}, {top:g}] the gradient is {given}, not [0.5, 0.5].",
                "The gradient needs the same care as the result.",
            )


def _logsumexp(safe: bool = True, safe_grad: bool = True) -> Rule:
    def logsumexp(self: Array) -> tuple[Any, ...]:
        top = self.max(axis=-1, keepdims=True)
        low, less = top if safe else 0.0, top if safe_grad else 0.0
        result = (np.log(np.exp(self - low).sum(axis=-1, keepdims=True)) + low)[..., 0]
        soft = np.exp(self - less) / np.exp(self - less).sum(axis=-1, keepdims=True)
        return result, lambda grad: grad[..., None] * soft

    return logsumexp


# ---- 03.2: an order without recursion ----


def graphs() -> dict[str, Scalar]:
    """The ends of some graphs, none of them deep."""
    v = Scalar(2.0) * 3
    rng = np.random.default_rng(0)
    pool = [Scalar(float(n)) for n in rng.normal(size=3)]
    for _ in range(60):
        a, b = (pool[i] for i in rng.integers(len(pool), size=2))
        pool.append((a * b).tanh() if rng.random() < 0.5 else a + b)
    return {"v + v * v": v + v * v, "a random program": pool[-1] + pool[-2] * pool[-3]}


def doubled(times: int) -> Scalar:
    """A chain with 2^times paths."""
    x = Scalar(1.0)
    for _ in range(times):
        x = x + x
    return x


def check_order(order: Callable[[Scalar], Any]) -> None:
    """`order(end)` lists each scalar once, after everything that was computed from it, at any depth."""
    for name, end in graphs().items():
        found, wanted = order(end), {end, *count_uses(end)}
        expect(isinstance(found, (list, tuple)), "order returns a list of scalars.")
        expect(len(set(found)) == len(found), f"For {name} some scalar is in the list twice.")
        expect(
            set(found) == wanted,
            f"For {name} the list has {len(found)} scalars; with the end there are {len(wanted)}.",
        )
        place = {scalar: i for i, scalar in enumerate(found)}
        expect(found[-1] is not end, f"For {name} the list is the wrong way round.")
        expect(
            all(place[used] < place[source] for used in found for source, _ in used.edges),
            f"For {name} a scalar comes before one that was computed from it.",
            "It may come only when everything that uses it is in the list: count those uses first.",
        )
    expect(len(order(doubled(20_000))) == 20_001, "On 20,000 doublings scalars are missing.")


def _breadth_first(end: Scalar) -> list[Scalar]:
    found = [end]
    for node in found:
        found += {source: None for source, _ in node.edges if source not in found}
    return found


def _recursive(end: Scalar) -> list[Scalar]:
    found: dict[Scalar, None] = {}

    def visit(node: Scalar) -> None:
        if node not in found:
            for source, _ in node.edges:
                visit(source)
            found[node] = None

    visit(end)
    return list(found)[::-1]


# ---- 03.3: gradients without a trace ----


def check_gradients(gradients: Callable[[Scalar, list[Scalar]], Any]) -> None:
    """`gradients(end, inputs)` gives derivatives and changes no `.grad`."""
    u, apart = Scalar(2.0), Scalar(1.0)
    v = u * 3
    out = v + v * v
    asked = {"the leaf u": u, "v": v, "out itself": out, "a scalar apart": apart}
    for call in (1, 2):
        found = gradients(out, [*asked.values()])
        expect(
            isinstance(found, (list, tuple)) and len(found) == len(asked),
            "gradients returns a list with one number for each input.",
        )
        expect(
            not any(scalar.grad for scalar in asked.values()),
            "Your function has changed a .grad: gradients leaves no trace.",
            "Keep what arrives in a dict of your own.",
        )
        for what, got, right in zip(asked, found, (39.0, 13.0, 1.0, 0.0), strict=True):
            expect(
                got == right,
                f"out = v + v * v, v = u * 3, u = 2: {what} has the derivative {right:g}; call {call} gave {got}.",
            )
    for name, end in graphs().items():
        leaves = [scalar for scalar in count_uses(end) if not scalar.edges]
        backward(end)
        right = [leaf.grad for leaf in leaves]
        expect(np.allclose(gradients(end, leaves), right), f"For {name} a gradient is wrong.")
    deep = doubled(1000)
    expect(gradients(deep, [deep]) == [1.0], "After 1,000 doublings the end's own is 1.")


def _gradients(keep: bool = True, trace: bool = False, missing: Any = 0.0) -> Callable[..., Any]:
    def gradients(end: Scalar, inputs: list[Scalar]) -> list[Any]:
        waiting, arrived, ready = count_uses(end), {end: 1.0}, [end]
        while ready:
            node = ready.pop()
            grad = arrived[node] if keep or not node.edges else arrived.pop(node)
            node.grad += grad * (trace and not node.edges)
            for source, slope in node.edges:
                arrived[source] = arrived.get(source, 0.0) + grad * slope
                waiting[source] -= 1
                if waiting[source] == 0:
                    ready.append(source)
        return [arrived.get(scalar, missing) for scalar in inputs]

    return gradients


# ---- 03.4: a checker of rules ----

PLANTED: dict[str, tuple[Rule, int]] = {
    "leaves out a factor": (lambda x: (x * x, lambda g: g * x), 1),
    "is wrong for its second input": (lambda x, y: (x * y, lambda g: g * y, lambda g: g), 2),
    "is wrong for its first element": (
        lambda x: (x + 0.0, lambda g: g * (np.arange(x.size).reshape(x.shape) > 0)),
        1,
    ),
    "does not transpose back": (lambda x: (x.T, lambda g: g), 1),
}


def check_worst_error(worst_error: Callable[[Rule, list[Array]], Any]) -> None:
    """`worst_error(rule, arrays)` is near 0 for right rules and large for planted wrong ones."""
    a, b = np.random.default_rng(0).normal(size=(2, 3, 3)) + 3.0
    kept = a.copy()
    for name, arrays in {"mul": [a, b], "div": [a, b], "tanh": [a], "matmul": [a, b]}.items():
        error = worst_error(RULES[name], arrays)
        expect(isinstance(error, (int, float)), "worst_error returns one number.")
        expect(
            error < 1e-6,
            f"The rule of {name} is right, and your checker finds an error of {error:.2g}.",
            "Move one element by 1e-6 up and down, weigh both results alike, divide by 2e-6.",
        )
    expect(np.array_equal(a, kept), "Your checker has changed the arrays that it was given.")
    for what, (rule, inputs) in PLANTED.items():
        error = worst_error(rule, [a, b][:inputs])
        expect(
            error > 1e-2,
            f"A rule that {what} gets through your checker, with an error of {error:.2g}.",
            "Check every element of every input, with a gradient whose elements differ.",
        )


def _worst(inputs: int = 2, ones: bool = False, first: int = 0) -> Any:
    def worst_error(rule: Rule, arrays: list[Array]) -> float:
        result, *to_inputs = rule(*arrays)
        grad = np.cos(0.0 * result if ones else np.arange(result.size).reshape(result.shape))
        worst = 0.0
        for nth, to_input in enumerate(to_inputs[:inputs]):
            said = np.broadcast_to(to_input(grad), arrays[nth].shape)
            for place in list(np.ndindex(arrays[nth].shape))[first:]:
                moved = [[array.copy() for array in arrays] for _ in range(2)]
                moved[0][nth][place] += 1e-6
                moved[1][nth][place] -= 1e-6
                up, down = ((grad * rule(*parts)[0]).sum() for parts in moved)
                worst = max(worst, abs(said[place] - (up - down) / 2e-6))
        return float(worst)

    return worst_error


EXERCISES = (
    Exercise(
        "03.1",
        "The logarithm of a sum of exponentials, and the softmax as its gradient, without overflow.",
        check_logsumexp,
        (
            Wrong("overflows", _logsumexp(safe=False), "the result is inf"),
            Wrong("gradient overflows", _logsumexp(safe_grad=False), "the gradient is [nan"),
        ),
    ),
    Exercise(
        "03.2",
        "Each scalar once, after all that use it, at any depth, in time that grows with the edges.",
        check_order,
        (
            Wrong("breadth first", _breadth_first, "comes before one that was"),
            Wrong("recursion", _recursive, "RecursionError"),
            Wrong("without the end", lambda end: _recursive(end)[1:], "with the end there"),
        ),
    ),
    Exercise(
        "03.3",
        "Derivatives of any scalars in the graph, and no .grad changed: what torch.autograd.grad does.",
        check_gradients,
        (
            Wrong("leaves a trace", _gradients(trace=True), "has changed a .grad"),
            Wrong("leaves only", _gradients(keep=False), "v has the derivative 13"),
            Wrong("None for none", _gradients(missing=None), "a scalar apart has"),
        ),
    ),
    Exercise(
        "03.4",
        "Every element of every input, with a gradient whose elements differ.",
        check_worst_error,
        (
            Wrong("first input only", _worst(inputs=1), "wrong for its second input"),
            Wrong("gradient of ones", _worst(ones=True), "does not transpose back"),
            Wrong("not all elements", _worst(first=1), "wrong for its first element"),
        ),
    ),
)
