"""Exercises of lesson 02, The backward pass: gradients by hand, a Jacobian, an engine of your own, two losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]


# ---- 02.1: u.grad and v.grad of (u * v + u).pow(2).sum() ----


def check_grads(answer: Any) -> None:
    """The answer is `[u.grad, v.grad]` for u = [1, 2] and v = 3."""
    u, v = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor(3.0, requires_grad=True)
    s = u * v + u
    s.pow(2).sum().backward()
    try:
        mine_u, mine_v = [float(n) for n in answer[0]], float(answer[1])
    except (TypeError, ValueError, IndexError):
        expect(False, f"The answer is [[., .], .], two numbers and one; this is {answer!r:.60}.")
    twice = (2 * s).detach()
    expect(
        mine_u != (twice * v).tolist(),
        f"{mine_u} for u is what comes through the product.",
        "u is used twice: a second edge leads to it, from the addition.",
    )
    expect(
        mine_u != (s * (v + 1)).tolist(),
        f"{mine_u} for u is half of it.",
        "The square passes 2 * s, not s.",
    )
    expect(
        mine_u == u.grad.tolist(),
        f"{mine_u} is not u's gradient.",
        "First compute s = u * v + u and 2 * s; then follow both edges back to u and add.",
    )
    expect(
        mine_v in (v.grad.item(), 0.0) or mine_v not in (twice * u).tolist(),
        f"u is right. {mine_v} is one of the numbers that come back to v.",
        "v is one number that was used for two: it gets their sum.",
    )
    expect(mine_v == v.grad.item(), f"u is right, but {mine_v} is not v's gradient.")


# ---- 02.2: the Jacobian, row by row ----


def check_jacobian(jacobian: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]) -> None:
    """`jacobian(function, x)` returns the (m, n) table of a function from n numbers to m, leaving no trace."""
    torch.manual_seed(0)
    weight = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    weight.grad = torch.ones_like(weight)
    calls = []

    def function(x: Tensor) -> Tensor:
        calls.append(1)
        return (weight @ x).sin() * x[0]

    x = torch.randn(3, dtype=torch.float64)
    want = autograd.functional.jacobian(function, x).detach()
    calls.clear()
    found = jacobian(function, x)
    expect(isinstance(found, Tensor), f"jacobian returns a tensor; yours returned {found!r:.60}.")
    expect(
        found.shape != (3, 2),
        "Your table has shape (3, 2); a function from 3 numbers to 2 has a (2, 3) table.",
        "A row for each output, a column for each input.",
    )
    expect(
        found.shape == (2, 3),
        f"For 3 inputs and 2 outputs the table is (2, 3); yours is {tuple(found.shape)}.",
        "One pass gives one row. What `gradient` picks out the first output?",
    )
    expect(torch.allclose(found.detach(), want), "The shape is right, the numbers are not.")
    expect(
        len(calls) == 1,
        f"You called the function {len(calls)} times; once is enough.",
        "retain_graph lets you send several rows through one graph.",
    )
    expect(
        torch.equal(weight.grad, torch.ones_like(weight)),
        "A parameter inside the function got another .grad.",
        "autograd.grad returns the gradient and writes nowhere.",
    )
    expect(
        not x.requires_grad and x.grad is None,
        "The caller's x asks for gradients now, or has one.",
        "Work on x.detach().",
    )
    part = jacobian(lambda x: torch.stack([x[0] ** 2, weight[0, 0] * 1]), x)
    expect(
        part.shape == (2, 3) and not part[1].any(),
        "An output that does not depend on x needs a row of zeros.",
    )
    unused = "For a function that does not use x the table is (2, 3), all zeros."
    try:
        part = jacobian(lambda x: weight[:, 0] * 1, x)
    except (RuntimeError, TypeError):  # refused by autograd.grad, or a None among the rows
        expect(False, unused, "What does materialize_grads=True do?")
    expect(part.shape == (2, 3) and not part.any(), unused)


# ---- 02.3: a backward pass of one's own ----


def check_leaf_grads(leaf_grads: Callable[[Tensor], dict[Tensor, Tensor]]) -> None:
    """`leaf_grads(tensor)` returns {leaf: gradient}, found by walking, with every node run once."""
    a, b = (torch.tensor(n, requires_grad=True) for n in (3.0, 5.0))
    _compare(leaf_grads, a * b, [a, b], "a * b")
    _compare(
        leaf_grads, a * a, [a], "a * a", "Two edges lead to a: what arrives along them is added."
    )
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    u = torch.tensor([-3.0, 4.0], requires_grad=True)
    _compare(leaf_grads, ((w * u + w).relu() * u).sum(), [w, u], "((w * u + w).relu() * u).sum()")
    v = a * b
    early = "A node may run only when all that leads to it has arrived."
    _compare(leaf_grads, (v.exp() * 1e-6 + v) * v, [a, b], "(v.exp() + v) * v", early)
    runs: list[int] = []  # a node reads what it has saved each time it runs
    with autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: runs.append(1) or x):
        y = a
        for _ in range(8):
            y = y.sin()
            y = y + y
        _compare(leaf_grads, y, [a], "a chain of eight diamonds", early)
    mine = len(runs) - 8  # the reference ran each once
    expect(mine <= 8, f"Eight nodes ran {mine} times: some ran once for each way to them.", early)
    long = a
    for _ in range(2000):
        long = long + 1
    _compare(leaf_grads, long, [a], "a chain of 2,000 additions")
    expect(a.grad is None, "a.grad was written.", "Do not call an AccumulateGrad: it writes .grad.")


def _compare(function: Any, out: Tensor, leaves: list[Tensor], code: str, hint: str = "") -> None:
    want = autograd.grad(out, leaves, retain_graph=True)
    found = function(out)
    expect(isinstance(found, dict), f"leaf_grads returns a dictionary; yours {found!r:.50}.")
    keys = {id(key) for key in found}
    expect(keys == {id(leaf) for leaf in leaves}, f"For {code} the leaves are not the keys.")
    by_id = {id(leaf): grad for leaf, grad in found.items()}
    for leaf, grad in zip(leaves, want, strict=True):
        right = torch.allclose(torch.as_tensor(by_id[id(leaf)]), grad)
        expect(right, f"The gradients of {code} are not those of autograd.", hint)


# ---- 02.4: two losses ----


def check_separate(separate: Callable[..., Any]) -> None:
    """`separate(first, second, parameters)` returns two tuples of gradients and leaves no .grad."""
    torch.manual_seed(0)
    model = nn.ModuleDict({k: nn.Linear(3, 3) for k in ("trunk", "one", "two")}).double()

    def losses() -> tuple[Tensor, Tensor]:
        h = model["trunk"](torch.ones(4, 3).double()).tanh()
        return model["one"](h).square().mean(), model["two"](h).abs().mean()

    parameters = list(model.parameters())
    want = [autograd.grad(loss, parameters, materialize_grads=True) for loss in losses()[:1]]
    want += [autograd.grad(losses()[1], parameters, materialize_grads=True)]
    first, second = losses()
    found = separate(first, second, model.parameters())
    expect(
        all(p.grad is None for p in parameters),
        "A parameter has a .grad now.",
        "autograd.grad returns what backward would accumulate.",
    )
    expect(
        isinstance(found, tuple) and [len(part) for part in found] == [6, 6],
        "The answer is two tuples with one gradient for each of the 6 parameters.",
        "model.parameters() is a generator: it can be read once.",
    )
    for part, wanted, name in zip(found, want, ("first", "second"), strict=True):
        expect(
            all(isinstance(grad, Tensor) for grad in part),
            f"A gradient of {name} is None: a loss does not use the other's layer.",
            "There is an argument that gives zeros instead.",
        )
        same = all(torch.allclose(x, y) for x, y in zip(part, wanted, strict=True))
        expect(same, f"The gradients of {name} are not those of {name} alone.")
    try:
        autograd.grad(second, parameters[0])
    except RuntimeError:
        return
    expect(
        False,
        "The trunk still holds its saved tensors.",
        "Which of the two passes is the last to need them?",
    )


# ---- what learners write instead ----


def _summed(function: Any, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return autograd.grad(function(x).sum(), x)[0]


def _without_zeros(function: Any, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    y = function(x)
    rows = torch.eye(len(y), dtype=y.dtype)
    return torch.stack([autograd.grad(y, x, row, retain_graph=True)[0] for row in rows])


def _by_calling_often(function: Any, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    count = len(function(x))
    return torch.stack([autograd.grad(function(x)[i], x)[0] for i in range(count)])


def _by_backward(function: Any, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    y, rows = function(x), []
    for i in range(len(y)):
        x.grad = None
        y[i].backward(retain_graph=True)
        rows.append(x.grad)
    return torch.stack(rows)


def _without_waiting(tensor: Tensor, add: bool = True) -> dict[Tensor, Tensor]:
    """Every way from the output to a leaf is gone by itself."""
    ready, grads = [(tensor.grad_fn, torch.ones_like(tensor))], {}
    while ready:
        node, grad = ready.pop()
        if hasattr(node, "variable"):
            leaf = node.variable
            grads[leaf] = grads[leaf] + grad if add and leaf in grads else grad
            continue
        passed = node(grad)
        passed = passed if isinstance(passed, tuple) else (passed,)
        ready += [(n, g) for (n, _), g in zip(node.next_functions, passed, strict=True) if n]
    return grads


def _with_backward(tensor: Tensor) -> dict[Tensor, Tensor]:
    leaves, waiting, seen = [], [tensor.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaves += [node.variable] if hasattr(node, "variable") else []
        waiting += [target for target, _ in node.next_functions]
    tensor.backward(retain_graph=True)
    return {leaf: leaf.grad.clone() for leaf in leaves}


def _grads(retain: bool, zeros: bool, first: Any, second: Any, parameters: Iterable) -> Any:
    options = {"materialize_grads": True} if zeros else {"allow_unused": True}
    parameters = list(parameters)
    one = autograd.grad(first, parameters, retain_graph=True, **options)
    return one, autograd.grad(second, parameters, retain_graph=retain, **options)


def _in_a_row(first: Tensor, second: Tensor, parameters: Iterable) -> Any:
    parameters = list(parameters)
    return tuple(autograd.grad(x, parameters, materialize_grads=True) for x in (first, second))


EXERCISES = (
    Exercise(
        "02.1",
        "Both edges to u, and the sum for v.",
        check_grads,
        (
            Wrong("the product alone", [[24.0, 48.0], 40.0], "through the product"),
            Wrong("s instead of 2 s", [[16.0, 32.0], 40.0], "half of it"),
            Wrong("v not summed", [[32.0, 64.0], 8.0], "come back to v"),
        ),
    ),
    Exercise(
        "02.2",
        "One row a pass, one call, no trace.",
        check_jacobian,
        (
            Wrong("the gradient of the sum", _summed, "the table is (2, 3)"),
            Wrong("transposed", lambda f, x: _by_calling_often(f, x).T, "shape (3, 2)"),
            Wrong("a call for each row", _by_calling_often, "You called the function 3 times"),
            Wrong("by backward", _by_backward, "got another .grad"),
            Wrong("no zeros for an unused input", _without_zeros, "does not use x"),
        ),
    ),
    Exercise(
        "02.3",
        "Each node once, when everything had arrived.",
        check_leaf_grads,
        (
            Wrong("every way by itself", _without_waiting, "once for each way"),
            Wrong("overwritten", lambda t: _without_waiting(t, add=False), "of a * a are not"),
            Wrong("backward called", _with_backward, "are not those of autograd"),
        ),
    ),
    Exercise(
        "02.4",
        "Apart, untouched, and freed by the last pass.",
        check_separate,
        (
            Wrong("nothing retained", _in_a_row, "backward through the graph a second time"),
            Wrong("retained for ever", lambda *a: _grads(True, True, *a), "still holds"),
            Wrong("None left in", lambda *a: _grads(False, False, *a), "is None"),
        ),
    ),
)
