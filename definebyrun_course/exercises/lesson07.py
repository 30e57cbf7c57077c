"""Exercises of lesson 07, Dynamic against static: graphs counted and measured, a branch exported, captures judged."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, autograd, fx, nn

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]


# ---- 07.1: graphs, call by call ----


def check_counts(counts: Any) -> None:
    """The answer is the number of graphs captured after each of five calls of `k`."""
    five = isinstance(counts, (list, tuple)) and [type(n) for n in counts] == [int] * 5
    expect(five, f"The answer is a list of five whole numbers; this is {counts!r:.60}.")
    expect(
        counts[0] != 1,
        "The first call makes more than one graph.",
        "The second if asks for the value of a tensor: what is before it is one graph.",
    )
    expect(
        list(counts) == sorted(counts),
        "The number of graphs cannot fall: a graph that was captured is kept.",
    )
    expect(
        list(counts) != [2, 4, 6, 8, 10],
        "You gave every call new graphs.",
        "A graph is used again while its guards hold; values of tensors are not guarded.",
    )
    hints = (
        "Before the second if, and behind it.",
        "The same flag and the same branch.",
        "The same flag; behind the break, another branch.",
        "Another flag: a guard of the first graph fails. What is behind the break?",
        "The flag of the fourth call, the branch of the third: is anything new?",
    )
    for nr, (mine, right) in enumerate(zip(counts, (2, 2, 3, 4, 4), strict=True), 1):
        expect(mine == right, f"After call {nr} there are not {mine} graphs.", hints[nr - 1])


# ---- 07.2: a backend ----


def _one(x: Tensor) -> Tensor:
    return torch.relu(x * 2) + 1


def _broken(x: Tensor) -> Tensor:
    y = x * 3
    if y.sum() > 0:
        y = y + 1
        y = y * y
    return y - 1


def check_sizes(graph_sizes: Callable[..., Any]) -> None:
    """`graph_sizes(f, *inputs)` gives the number of operations in each captured graph, in order."""
    cases: Sequence[tuple[Callable[..., Tensor], tuple[Any, ...], list[int], str]] = (
        (_one, (torch.ones(3),), [3], "relu(x * 2) + 1"),
        (_broken, (torch.ones(3),), [3, 3], "a function with an if on y.sum() > 0, true here"),
        (_broken, (-torch.ones(3),), [3, 1], "the same function where the condition is false"),
        (lambda x, w: x @ w, (torch.ones(2, 2), torch.ones(2, 2)), [1], "x @ w"),
    )
    for function, inputs, want, what in cases:
        torch._dynamo.reset()
        found = graph_sizes(function, *inputs)
        sizes = isinstance(found, list) and all(type(n) is int for n in found)
        expect(sizes, f"graph_sizes returns a list of whole numbers; yours returned {found!r:.50}.")
        expect(
            found,
            f"No graph was captured for {what}.",
            "torch.compile captures when the compiled function is called; and an earlier capture of the "
            "same function is used again until torch._dynamo.reset().",
        )
        expect(
            len(found) == len(want), f"For {what} there are {len(want)} graphs, not {len(found)}."
        )
        expect(
            found == want,
            f"For {what} you counted {found} operations.",
            "Inputs and the output are nodes of the graph too: look at node.op.",
        )
        expect(
            graph_sizes(function, *inputs) == want,
            f"Asked a second time for {what}, the answer is another one.",
            "What is left over from the first call? torch._dynamo.reset() forgets the captures.",
        )


# ---- 07.3: a branch that can be exported ----


def check_shrink(module: type[nn.Module]) -> None:
    """The module divides by the norm where that is above 1, exports, and keeps both branches."""
    expect(
        isinstance(module, type) and issubclass(module, nn.Module),
        f"The answer is a class of modules; this is {module!r:.50}.",
    )
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            program = torch.export.export(module(), (torch.ones(3),)).module()
    except Exception as error:  # many types, one meaning: it cannot be exported
        if "alias" in str(error):
            expect(
                False,
                "torch.export refuses: a branch returns its input as it is.",
                "A branch of torch.cond must return a tensor of its own.",
            )
        if "data-dependent" in str(error):
            expect(
                False,
                "torch.export refuses: Python decides on a value that is not there yet.",
                "The choice has to be an operation of the graph.",
            )
        expect(False, f"torch.export refuses: {str(error).splitlines()[0]:.110}")
    finally:
        logging.disable(logging.NOTSET)
    for values in ([3.0, 4.0, 0.0], [0.1, 0.2, 0.2], [-5.0, 0.0, 12.0], [0.6, 0.0, 0.0]):
        x = torch.tensor(values, requires_grad=True)
        norm = x.norm()
        want = x / norm if norm > 1 else x * 1
        found = program(x)
        expect(
            torch.allclose(found, want),
            f"For {values} the exported program gives {_told(found)}, and {_told(want)} is right.",
            "Above 1 divide by the norm, else leave it.",
        )
        [right] = autograd.grad(want.square().sum() + want.sum(), x)
        [grad] = autograd.grad(found.square().sum() + found.sum(), x, allow_unused=True)
        expect(
            grad is not None and torch.allclose(grad, right, atol=1e-6),
            f"For {values} the values are right and the gradient is not.",
            "The norm depends on x: the gradient has to go through it too.",
        )


def _told(x: Tensor) -> list[float]:
    return [round(v, 3) for v in x.flatten().tolist()]


# ---- 07.4: judging a capture ----


def _scaled(x: Tensor) -> Tensor:
    with torch.no_grad():
        s = x.abs().max()
    return x / s


def _only_two(x: Tensor) -> Tensor:
    if len(x) != 2:
        raise RuntimeError("Guard failed: x.size()[0] == 2")
    return x * 2


def check_verdict(verdict: Callable[[Any, Any, Tensor], str]) -> None:
    """`verdict(f, captured, x)` is "ok", "refused" or "WRONG": values, shapes and gradients count."""
    x = torch.tensor([1.0, -2.0])
    cases = (
        (lambda x: x * 2, fx.symbolic_trace(lambda x: x + x), x, "ok", "the same function twice"),
        (lambda x: x * 2, lambda x: x * 3, x, "WRONG", "other values"),
        (lambda x: x * 2, _only_two, torch.ones(3), "refused", "a capture that raises an error"),
        (_scaled, fx.symbolic_trace(_scaled), x, "WRONG", "equal values with other gradients"),
        (lambda x: x.sum(), lambda x: x.sum().expand(2), x, "WRONG", "another shape"),
        (lambda x: x * 2, lambda x: (x * 2).detach(), x, "WRONG", "no gradient at all"),
        (lambda x: x.detach(), lambda x: x.detach() * 1, x, "ok", "no gradient on either side"),
    )
    for function, captured, value, want, what in cases:
        before = value.clone()
        try:
            found = verdict(function, captured, value)
        except Exception as error:  # the learner's function is to answer, whatever the capture does
            expect(
                False,
                f"For {what} your function raised {type(error).__name__}: {str(error)[:70]}",
                "An error of the capture is an answer too; and not every result has a gradient.",
            )
        expect(
            found in ("ok", "refused", "WRONG"),
            f"The answer is one of 'ok', 'refused', 'WRONG'; yours was {found!r:.40}.",
        )
        expect(found == want, f"For {what} your verdict is {found!r}, not {want!r}.")
        expect(
            torch.equal(value, before) and value.grad is None and not value.requires_grad,
            "Your function changed the tensor that it was given.",
            "Work on copies that ask for gradients.",
        )


# ---- what learners write instead ----


def _all_nodes(function: Callable[..., Any], *inputs: Any) -> list[int]:
    return _sizes(function, inputs, lambda node: True)


def _never_called(function: Callable[..., Any], *inputs: Any) -> list[int]:
    torch.compile(function, backend=lambda graph, example: graph.forward)
    return []


def _sizes(function: Callable[..., Any], inputs: Any, counts: Callable[[fx.Node], bool]) -> Any:
    found: list[int] = []

    def backend(graph: fx.GraphModule, example: Any) -> Any:
        found.append(sum(counts(node) for node in graph.graph.nodes))
        return graph.forward

    torch.compile(function, backend=backend)(*inputs)
    return found


class _PlainIf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.norm() if x.norm() > 1 else x


class _Clamped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.norm().detach().clamp(min=1)


class _Always(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.norm()


def _values_only(function: Any, captured: Any, x: Tensor) -> str:
    try:
        return "ok" if torch.equal(function(x), captured(x)) else "WRONG"
    except RuntimeError:
        return "refused"


def _no_net(function: Any, captured: Any, x: Tensor) -> str:
    return "ok" if torch.equal(function(x), captured(x)) else "WRONG"


EXERCISES = (
    Exercise(
        "07.1",
        "Two at the break, one for each new branch, one for each failed guard.",
        check_counts,
        (
            Wrong("one graph a call", [1, 1, 1, 1, 1], "more than one graph"),
            Wrong("new graphs each time", [2, 4, 6, 8, 10], "every call new"),
            Wrong("both halves again", [2, 2, 3, 5, 5], "After call 4"),
        ),
    ),
    Exercise(
        "07.2",
        "A backend is a function that is handed a graph.",
        check_sizes,
        (
            Wrong("all nodes", _all_nodes, "you counted"),
            Wrong("never called", _never_called, "No graph was captured"),
        ),
    ),
    Exercise(
        "07.3",
        "Both branches are in the program, and the gradient of each.",
        check_shrink,
        (
            Wrong("a plain if", _PlainIf, "Python decides"),
            Wrong("norm detached", _Clamped, "the gradient is not"),
            Wrong("always divided", _Always, "exported program gives"),
        ),
    ),
    Exercise(
        "07.4",
        "Values, shapes, gradients, and an error is an answer.",
        check_verdict,
        (
            Wrong("values only", _values_only, "other gradients"),
            Wrong("errors pass through", _no_net, "raised RuntimeError"),
        ),
    ),
)
