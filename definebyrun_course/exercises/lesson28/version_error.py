"""Exercise `version_error`: three programs that the version counter stops, read and repaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd
from torch.autograd.graph import saved_tensors_hooks

from ...grading import Drawn, Exercise, Mistake, Right, Wrong, drawn, expect, forms, near, tried

__all__ = ["EXERCISE"]

NODES = ("SigmoidBackward0", "MulBackward0", "MulBackward0")
SAVED = "Which of its tensors does this node keep, its inputs or its result? Write to something else, or later."
KEPT = "A copy of everything is an answer that costs memory: which single tensor is it about?"


def gated_want(x: Tensor, mask: Tensor) -> Tensor:
    h = torch.sigmoid(x) * mask
    return (h * h).sum()


def scanned_want(w: Tensor, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    rows = [x]
    for _ in range(steps):
        rows.append(torch.tanh(w * rows[-1]))
    memory = torch.stack(rows)
    return memory.sum(), memory


def stepped_want(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of the second loss by x, at the weights before the step; the step; both losses' sum."""
    y = w * x
    (g,) = autograd.grad(y.square().sum(), w)
    (back,) = autograd.grad((w * x).sin().sum(), x)
    return (w - 0.1 * g).detach(), back, g


def check_version_error(
    nodes: Any, gated: Callable[..., Any], scanned: Callable[..., Any], stepped: Callable[..., Any]
) -> None:
    """`nodes` names the node that refuses in each program; the functions are the programs, repaired."""
    names = [_name(node) for node in forms.sequence(nodes, "The list of nodes", 3)]
    for i, (name, want) in enumerate(zip(names, NODES, strict=True), start=1):
        expect(
            name.removesuffix("0").removesuffix("Backward").lower()
            == want.removesuffix("Backward0").lower(),
            f"Program {i} is not stopped by {name}.",
            "The message names the node: 'which is output … of …' "
            "says who made the tensor; anomaly mode says who keeps it.",
        )
    draw = drawn()
    for d, source in ((Drawn(1), ""), (Drawn(2), ""), (draw, f" ({draw})")):
        for n in (1, 3):
            _judge_gated(gated, d, n, source)
            _judge_scanned(scanned, d, n, source)
            _judge_stepped(stepped, d, n, source)
    _judge_bytes(gated, scanned)


def _name(node: Any) -> str:
    """The name of a node that is told as a name, with brackets as a call has them, or as the node itself."""
    return str(node).strip(" <").split("(")[0].split(" ")[0]


def _graph(call: Callable[[], Any], what: str) -> Any:
    try:
        return call()
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        raise Mistake(
            f"{what} is still stopped: {' '.join(str(error).split())[:110]} …", SAVED
        ) from error


def _judge_gated(gated: Any, draw: Drawn, n: int, source: str) -> None:
    x, mask = draw.normal(n).requires_grad_(), draw.uniform(n, low=0.2, high=2.0)
    (want,) = autograd.grad(gated_want(x, mask), x)
    y = forms.tensor(gated(x, mask), "gated", ())
    expect(
        near(y, gated_want(x, mask), 1e-9),
        f"gated gives another value for {n} numbers{source}.",
        "The mask is applied once.",
    )
    expect(
        y.requires_grad,
        f"gated gives a result without a graph{source}.",
        "What is detached gets no gradient.",
    )
    (found,) = _graph(lambda: autograd.grad(y, x), "gated")
    expect(
        near(found, want, 1e-9),
        f"gated runs, and its gradient is wrong for {n} numbers{source}.",
        "A write that the counter does not see changes what the backward pass reads.",
    )


def _judge_scanned(scanned: Any, draw: Drawn, n: int, source: str) -> None:
    for steps in (0, 1, 4):
        w, x = draw.normal(n).requires_grad_(), draw.normal(n).requires_grad_()
        loss, memory = scanned_want(w, x, steps)
        want = autograd.grad(loss, (w, x), allow_unused=True)
        pair = forms.sequence(scanned(w, x, steps), "The sum and the memory", 2)
        y = forms.tensor(pair[0], "scanned", ())
        kept = forms.tensor(pair[1], "The memory", tuple(memory.shape))
        where = f"for {steps} steps{source}"
        expect(
            near(kept, memory, 1e-9),
            f"The memory does not end with all states, {where}.",
            "Row i is the state after i steps.",
        )
        expect(
            near(y, loss, 1e-9) and y.requires_grad,
            f"scanned gives another sum, or one without a graph, {where}.",
            "The sum of all rows, the first one too.",
        )
        found = _graph(lambda y=y, w=w, x=x: autograd.grad(y, (w, x), allow_unused=True), "scanned")
        for name, one, two in zip(("w", "x"), found, want, strict=True):
            one, two = (torch.zeros_like(w) if g is None else g for g in (one, two))
            expect(
                near(one, two, 1e-9),
                f"scanned runs, and the gradient of {name} is wrong, {where}.",
                "Every state hands its gradient back to the state before.",
            )
        _judge_memory(scanned, w, x, steps, where)


def _judge_memory(scanned: Any, w: Tensor, x: Tensor, steps: int, where: str) -> None:
    """Who has the memory may go on from any state, and backward through it."""
    memory = scanned(w, x, steps)[1]
    upstream = torch.linspace(1, 2, memory.numel(), dtype=memory.dtype).reshape(memory.shape)
    hint = "In the program that is stopped, the states in the memory have a graph."
    expect(memory.requires_grad, f"The states in the memory have no graph, {where}.", hint)
    (want,) = autograd.grad((scanned_want(w, x, steps)[1] * upstream).sum(), x)
    found = _graph(
        lambda: autograd.grad((memory * upstream).sum(), x, allow_unused=True), "The memory"
    )[0]
    expect(
        found is not None and near(found, want, 1e-9),
        f"Through the memory, x gets another gradient, {where}.",
        hint,
    )


def _judge_stepped(stepped: Any, draw: Drawn, n: int, source: str) -> None:
    w, x = draw.normal(n).requires_grad_(), draw.normal(n).requires_grad_()
    new, want, _ = stepped_want(w, x)
    address = w.data_ptr()
    found = _graph(lambda: stepped(w, x), "stepped")
    found = forms.tensor(found, "stepped", (n,))
    expect(
        w.data_ptr() == address and w.requires_grad and w.is_leaf,
        f"w is another tensor than before, or no leaf{source}.",
        "The step is written into w.",
    )
    expect(
        near(w, new, 1e-9),
        f"w does not hold the weights after the step{source}.",
        "The write still has to happen, by the gradient of the first loss.",
    )
    expect(
        near(found, want, 1e-9),
        f"The gradient of the second loss is not that at the weights before the step{source}.",
        "Both losses belong to the same weights: when is the step written?",
    )
    expect(
        w.grad is None and x.grad is None,
        f"A .grad was written{source}.",
        "autograd.grad gives gradients back.",
    )


def _judge_bytes(gated: Any, scanned: Any) -> None:
    n = 400
    for name, call, most in (
        (
            "gated",
            lambda: gated(
                torch.zeros(n, dtype=torch.float64, requires_grad=True),
                torch.ones(n, dtype=torch.float64),
            ),
            3,
        ),
        (
            "scanned",
            lambda: scanned(
                torch.ones(n, dtype=torch.float64, requires_grad=True),
                torch.ones(n, dtype=torch.float64),
                10,
            ),
            13,
        ),
    ):
        kept: dict[int, int] = {}
        alive: list[Tensor] = []

        def pack(t: Tensor, kept: Any = kept, alive: Any = alive) -> Tensor:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            alive.append(t)
            return t

        with saved_tensors_hooks(pack, lambda t: t):
            call()
        size, limit = sum(kept.values()), most * n * 8
        expect(
            size <= limit,
            f"{name} keeps {size:,} bytes for the backward pass; {limit:,} are enough.",
            KEPT,
        )


# ---- right answers ----


def gated(x: Tensor, mask: Tensor) -> Tensor:
    return (torch.sigmoid(x) * mask).square().sum()


def scanned(w: Tensor, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    states = [x]
    while len(states) <= steps:
        states.append(torch.tanh(w * states[-1]))
    memory = torch.stack(states)
    return memory.sum(), memory


def stepped(w: Tensor, x: Tensor) -> Tensor:
    y = w * x
    (g,) = autograd.grad(y.square().sum(), w, retain_graph=True)
    (back,) = autograd.grad(y.sin().sum(), x)
    with torch.no_grad():
        w -= 0.1 * g
    return back


def _nodes() -> list[Any]:
    """Nodes of the same kinds, instead of their names."""
    x = torch.ones(2, requires_grad=True)
    return [torch.sigmoid(x).grad_fn, (x * x).grad_fn, "<MulBackward0 object>"]


def gated_on_a_copy(x: Tensor, mask: Tensor) -> Tensor:
    h = torch.sigmoid(x).clone()
    h *= mask
    return (h * h).sum()


def scanned_beside(w: Tensor, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The state goes on by itself; the memory gets copies, and nobody computes with the memory."""
    memory, state = x.new_zeros(steps + 1, len(x)), x
    memory[0] = state
    for i in range(steps):
        state = torch.tanh(w * state)
        memory[i + 1] = state
    return memory.sum(), memory


def stepped_by_formula(w: Tensor, x: Tensor) -> Tensor:
    """Once more for the second loss, with weights that are kept."""
    (g,) = autograd.grad((w * x).square().sum(), w)
    kept = w.detach().clone()
    w.data.sub_(g, alpha=0.1)
    (back,) = autograd.grad((kept * x).sin().sum(), x)
    return back


# ---- wrong answers ----


def _gated(x: Tensor, mask: Tensor, mistake: str) -> Tensor:
    h = torch.sigmoid(x)
    if mistake == "no_grad":
        with torch.no_grad():
            h *= mask
    elif mistake == ".data":
        h.data *= mask
    elif mistake == "detach":
        h = h.detach().mul_(mask)
    elif mistake == "all copied":
        h = h.clone()
        h = h.clone() * mask.clone()
        h = (h.exp().log() * 1.0).clone()
    elif mistake == "not applied":
        pass
    else:
        h *= mask
    return (h * h).sum()


def _scanned(w: Tensor, x: Tensor, steps: int, mistake: str) -> tuple[Tensor, Tensor]:
    memory = x.new_zeros(steps + 1, len(x))
    memory[0] = x
    for i in range(steps):
        before = (
            memory[i].clone()
            if mistake == "clones"
            else memory.clone()[i]
            if mistake == "clones all"
            else memory[i]
        )
        if mistake == "no_grad":
            with torch.no_grad():
                memory[i + 1] = torch.tanh(w * before)
        elif mistake == ".data":
            memory.data[i + 1] = torch.tanh(w * before)
        elif mistake == "detach":
            memory[i + 1] = torch.tanh(w * before.detach().clone())
        else:
            memory[i + 1] = torch.tanh(w * before)
    if mistake.startswith("memory"):
        rows = scanned(w, x, steps)[1]
        return rows.sum(), rows.detach() if mistake == "memory detached" else _cut(rows)
    if mistake == "last row":
        rows = scanned(w, x, steps)[1]
        return rows.sum(), rows[-1:]
    return memory.sum(), memory


def _cut(rows: Tensor) -> Tensor:
    return torch.cat([rows[:-1].detach(), rows[-1:]])


def _stepped(w: Tensor, x: Tensor, mistake: str) -> Tensor:
    y = w * x
    (g,) = autograd.grad(y.square().sum(), w, retain_graph=True)
    if mistake == ".data":
        w.data -= 0.1 * g
    elif mistake == "another tensor":
        w = (w - 0.1 * g).detach().requires_grad_()
    elif mistake != "not written":
        with torch.no_grad():
            w -= 0.1 * g
    if mistake == "computed anew":
        y = w * x
    (back,) = autograd.grad(y.sin().sum(), x)
    return back


def _one(place: int, answer: Any) -> tuple[Any, ...]:
    answers: list[Any] = [NODES, gated, scanned, stepped]
    answers[place] = answer
    return tuple(answers)


def _with(place: int, function: Callable[..., Any], mistake: str) -> tuple[Any, ...]:
    return _one(place, lambda *args: function(*args, mistake))


def oracle(
    nodes: Any, gated: Callable[..., Any], scanned: Callable[..., Any], stepped: Callable[..., Any]
) -> Any:
    """Values and gradients of all three, and the bytes that are kept."""

    def all_three(n: int) -> Any:
        d = Drawn(n)
        found: list[Any] = []
        x, mask = d.normal(n).requires_grad_(), d.uniform(n)
        y = gated(x, mask)
        found += [y, autograd.grad(y, x)]
        w, x = d.normal(n).requires_grad_(), d.normal(n).requires_grad_()
        for steps in (0, 1, 3):
            y, memory = scanned(w, x, steps)
            through = autograd.grad(memory.sin().sum(), x, retain_graph=True, allow_unused=True)
            found += [
                y,
                memory,
                through,
                [None if g is None else g for g in autograd.grad(y, (w, x), allow_unused=True)][1],
            ]
        return [*found, stepped(w, x), w, w.is_leaf]

    return [tried(all_three, n) for n in (1, 2, 5)] + [tried(lambda: _judge_bytes(gated, scanned))]


EXERCISE = Exercise(
    "version_error",
    "The node that refuses, a write that disturbs nobody, and the right gradient.",
    check_version_error,
    (
        Wrong("the node that made the tensor", None, "Program 1", _one(0, ["MulBackward0"] * 3)),
        Wrong(
            "AddBackward0 everywhere",
            None,
            "Program 2",
            _one(0, ["SigmoidBackward0", "AddBackward0", "MulBackward0"]),
        ),
        Wrong("two nodes", None, "The list", _one(0, ["SigmoidBackward0", "MulBackward0"])),
        Wrong("gated as it was", None, "gated is", _with(1, _gated, "")),
        Wrong("gated under no_grad", None, "gated is", _with(1, _gated, "no_grad")),
        Wrong("gated by .data", None, "gated runs,", _with(1, _gated, ".data")),
        Wrong("gated detached", None, "a result", _with(1, _gated, "detach")),
        Wrong("gated, all copied", None, "gated keeps", _with(1, _gated, "all copied")),
        Wrong("gated without its mask", None, "gives another", _with(1, _gated, "not applied")),
        Wrong("scanned as it was", None, "scanned is", _with(2, _scanned, "")),
        Wrong("scanned under no_grad", None, "gradient of w", _with(2, _scanned, "no_grad")),
        Wrong("scanned by .data", None, "gradient of w", _with(2, _scanned, ".data")),
        Wrong("scanned detached", None, "gradient of x", _with(2, _scanned, "detach")),
        Wrong(
            "scanned, the whole memory copied",
            None,
            "scanned keeps",
            _with(2, _scanned, "clones all"),
        ),
        Wrong("scanned, the last row", None, "The memory", _with(2, _scanned, "last row")),
        Wrong("memory detached", None, "no graph", _with(2, _scanned, "memory detached")),
        Wrong(
            "memory cut", None, "Through the", _with(2, _scanned, "memory, but for its last row")
        ),
        Wrong("stepped as it was", None, "stepped is", _with(3, _stepped, "")),
        Wrong("stepped by .data", None, "The gradient", _with(3, _stepped, ".data")),
        Wrong("stepped, computed anew", None, "The gradient", _with(3, _stepped, "computed anew")),
        Wrong("stepped without the step", None, "not hold", _with(3, _stepped, "not written")),
        Wrong(
            "stepped into another tensor", None, "not hold", _with(3, _stepped, "another tensor")
        ),
    ),
    right=(
        Right("out of place, and in time", answers=(NODES, gated, scanned, stepped)),
        Right(
            "copies where they are needed",
            answers=(_nodes(), gated_on_a_copy, scanned_beside, stepped_by_formula),
        ),
    ),
    may_change=(0,),
    oracle=oracle,
)
