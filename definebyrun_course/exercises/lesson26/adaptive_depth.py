"""Exercise `adaptive_depth`: a network whose depth depends on its input, and its backward pass by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    Wrong,
    apart,
    counted,
    drawn,
    expect,
    forms,
    near,
    tried,
)
from ..graphs import beside, nodes_of
from ..measures import by_hand

__all__ = ["EXERCISE"]

Case = tuple[Tensor, Tensor, Tensor, Tensor, float, int]
NAMES = ("x", "W", "b", "v")
DEPTH = "The loop is asked again in every round: has the state become small, is the budget used up?"
SHARED = "W and b are used in every round: what does each of the rounds add to their gradients?"


def twin(x: Tensor, W: Tensor, b: Tensor, v: Tensor, radius: float, budget: int) -> Tensor:
    """The network in PyTorch, by the words of the statement."""
    h, left = x, budget
    while left and float(h.detach().norm()) > radius:
        h, left = torch.tanh(W @ h + b), left - 1
    return v @ h


def case(
    draw: Drawn, size: int, steps: int, spare: int, dtype: torch.dtype = torch.float64
) -> Case:
    """An input for which the network takes so many steps, and has so many left in its budget."""
    W = torch.linalg.qr(draw.normal(size, size))[0] * 0.8
    x, b, v = draw.normal(size) + 2.0, draw.normal(size) / 50, draw.normal(size)
    h, norms = x, [2 * float(x.norm())]
    for _ in range(steps + 1):
        norms.append(float(h.norm()))
        h = torch.tanh(W @ h + b)
    radius = (norms[-2] + norms[-1]) / 2 if spare else norms[-1] / 2
    x, W, b, v = (t.to(dtype) for t in (x, W, b, v))
    return x, W, b, v, radius, steps + spare


def _edges() -> list[tuple[str, Case]]:
    draw = Drawn(4)
    W, b, v = draw.normal(2, 2) / 2, draw.normal(2), draw.normal(2)
    found = [
        (
            "a norm that is just the radius",
            (torch.tensor([3.0, 4.0], dtype=torch.float64), W, b, v, 5.0, 3),
        ),
        ("a budget of 0", (torch.tensor([3.0, 4.0], dtype=torch.float64), W, b, v, 1.0, 0)),
        ("zeros", (torch.zeros(2).double(), W, b, v, 0.5, 3)),
        ("a huge input", (torch.tensor([1e200, -1e200], dtype=torch.float64), W, b, v, 1e-3, 4)),
    ]
    return found


def check_adaptive_depth(forward: Callable[..., Any], gradients: Callable[..., Any]) -> None:
    """`forward` builds a graph as deep as its input asks for; `gradients` is its backward pass by hand."""
    *cases, huge = _edges()
    for size, steps, spare in ((1, 1, 2), (2, 1, 0), (3, 2, 2), (2, 4, 1), (4, 7, 0)):
        for dtype in (torch.float64, torch.float32):
            words = f"an input of {size} that takes {counted(steps, 'round')}"
            cases.append((words, case(Drawn(size), size, steps, spare, dtype)))
    cases.append(huge)
    draw = drawn()
    for _ in range(2):
        each = case(draw, draw.whole(2, 5), draw.whole(0, 6), draw.whole(1, 3))
        cases.append((f"an input {draw}", each))
    for words, each in cases:
        _judge_forward(forward, words, each)
    _judge_not_finite(forward, "forward")
    for words, each in cases:
        _judge_gradients(gradients, words, each)
    _judge_not_finite(gradients, "gradients")
    _judge_training(gradients)


def _asking(case: Case) -> tuple[Any, ...]:
    return (*(t.clone().requires_grad_() for t in case[:4]), *case[4:])


def _judge_forward(forward: Callable[..., Any], words: str, case: Case) -> None:
    given = _asking(case)
    want = twin(*given)
    y = forms.tensor(forward(*given), "forward", ())
    expect(
        y.requires_grad,
        f"For {words} the output has no graph.",
        "Compute with tensors, up to the return.",
    )
    rounds = [sum("Tanh" in type(n).__name__ for n in nodes_of(each)) for each in (y, want)]
    if rounds[0] != rounds[1]:
        raise Mistake(
            f"For {words} the graph has {counted(rounds[0], 'round')} of tanh; the statement asks for {rounds[1]}.",
            DEPTH,
            beside(y, want),
        )
    texts = apart(y, want)
    expect(
        near(y, want, rtol=1e-5),
        f"For {words} the output is {texts[0]}; it should be {texts[1]}.",
        "A round is tanh(W h + b), and the output v · h, of the last state.",
    )
    found = autograd.grad(y, given[:4], allow_unused=True)
    wanted = autograd.grad(want, given[:4], allow_unused=True)
    for name, one, two in zip(NAMES, found, wanted, strict=True):
        same = (one is None) == (two is None) and (one is None or near(one, two, rtol=1e-4))
        if not same:
            raise Mistake(
                f"For {words} the graph leads to another gradient of {name} than the rounds do.",
                "Every round computes with the state of the one before, undetached.",
                beside(y, want),
            )


def _judge_not_finite(function: Callable[..., Any], name: str) -> None:
    for bad in (math.nan, math.inf):
        x, *rest = _asking(case(Drawn(2), 2, 2, 1))
        with torch.no_grad():
            x[1] = bad
        if name == "gradients":
            x, rest = x.detach(), [t.detach() if isinstance(t, Tensor) else t for t in rest]
        try:
            function(x, *rest)
        except ValueError:
            continue
        raise Mistake(
            f"For an x that holds {bad}, {name} gives an answer; a ValueError is asked for.",
            "What does nan > radius say? So a loop that asks that ends without a word.",
        )


def _by_autograd(case: Case) -> list[Tensor]:
    given = _asking(case)
    found = autograd.grad(twin(*given), given[:4], allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(given[:4], found, strict=True)]


def _judge_gradients(gradients: Callable[..., Any], words: str, case: Case) -> None:
    steps = sum("Tanh" in type(n).__name__ for n in nodes_of(twin(*_asking(case))))
    with by_hand("The backward pass") as work:
        given = gradients(*case)
    found = forms.sequence(given, "The gradients of x, W, b and v", 4)
    most = 3 * steps + 2
    expect(
        work.products <= most,
        f"For {words} your function runs {work.products} matrix products; a forward and a backward pass of "
        f"{counted(steps, 'round')} need {most} at most.",
        "A formula for each derivative goes back once. Measuring slopes goes forward for every number.",
    )
    wanted = _by_autograd(case)
    rtol, atol = (1e-9, 1e-12) if case[0].dtype == torch.float64 else (1e-4, 1e-6)
    for name, one, two in zip(NAMES, found, wanted, strict=True):
        grad = forms.tensor(one, f"The gradient of {name}", tuple(two.shape))
        expect(
            grad.dtype == two.dtype,
            f"For {words} the gradient of {name} is {grad.dtype}, and {name} is {two.dtype}.",
            "A gradient has the dtype of what it belongs to.",
        )
        size = 0.0 if grad.norm() == 0 and two.norm() == 0 else float(grad.norm() / two.norm())
        expect(
            near(grad, two, rtol, atol),
            f"For {words} the gradient of {name} is not right: its norm is {size:.4g} of what it should be.",
            SHARED
            if steps > 1 and name in "Wb"
            else "Do one round by hand: which factor does tanh bring?",
        )


def _judge_training(gradients: Callable[..., Any]) -> None:
    """Three steps of gradient descent, on inputs that take different numbers of rounds."""
    found = list(case(Drawn(7), 3, 3, 1))
    want = list(found)
    for scale in (1.0, 3.0, 0.2):
        x = found[0] * scale
        mine = gradients(x, *found[1:])
        right = _by_autograd((x, *want[1:]))  # type: ignore[arg-type]
        for i in (1, 2, 3):
            found[i], want[i] = found[i] - 0.1 * mine[i], want[i] - 0.1 * right[i]
    expect(
        all(near(a, b, 1e-7) for a, b in zip(found[1:4], want[1:4], strict=True)),
        "Three training steps by your gradients end at other parameters than by autograd's.",
        "What one call computes must not depend on the calls before.",
    )


# ---- right answers ----


def forward(x: Tensor, W: Tensor, b: Tensor, v: Tensor, radius: float, budget: int) -> Tensor:
    if not x.isfinite().all():
        raise ValueError("x holds a number that is not finite")
    for _ in range(budget):
        if x.norm() <= radius:
            break
        x = (W @ x + b).tanh()
    return v @ x


def gradients(x: Tensor, W: Tensor, b: Tensor, v: Tensor, radius: float, budget: int) -> Any:
    """A tape of states."""
    if not x.isfinite().all():
        raise ValueError("x holds a number that is not finite")
    tape = [x]
    while len(tape) <= budget and tape[-1].norm() > radius:
        tape.append(torch.tanh(W @ tape[-1] + b))
    dv, dh = tape[-1], v
    dW, db = torch.zeros_like(W), torch.zeros_like(b)
    for before, after in zip(tape[-2::-1], tape[:0:-1], strict=True):
        dz = dh * (1 - after * after)
        dW, db = dW + dz[:, None] * before, db + dz
        dh = W.T @ dz
    return dh, dW, db, dv


def deeper(x: Tensor, W: Tensor, b: Tensor, v: Tensor, radius: float, budget: int) -> Tensor:
    """Calls itself."""
    if torch.isnan(x).any() or torch.isinf(x).any():
        raise ValueError("not finite")
    small = bool(x.norm() <= radius)
    return (
        v @ x if small or not budget else deeper(torch.tanh(b + W @ x), W, b, v, radius, budget - 1)
    )


def recursive(x: Tensor, W: Tensor, b: Tensor, v: Tensor, radius: float, budget: int) -> Any:
    """Calls itself: what comes back is the gradient of what was handed on."""
    if torch.isnan(x).any() or torch.isinf(x).any():
        raise ValueError("not finite")
    if x.norm() <= radius or not budget:
        return v.clone(), torch.zeros_like(W), torch.zeros_like(b), x.clone()
    h = torch.tanh(W @ x + b)
    dh, dW, db, dv = recursive(h, W, b, v, radius, budget - 1)
    dz = dh * (1 - h.square())
    return dz @ W, dW + torch.outer(dz, x), db + dz, dv


# ---- wrong answers ----


def _forward(
    x: Tensor, W: Tensor, b: Tensor, v: Tensor, radius: float, budget: int, mistake: str = ""
) -> Tensor:
    if mistake != "nan" and not x.isfinite().all():
        raise ValueError
    h = x
    for step in range({"fixed": 2, "late": budget + 1}.get(mistake, budget)):
        norm = (x if mistake == "input" else h).detach().norm().item()
        if mistake == "relaxed":
            norm = h.detach().abs().max().item()
        if mistake != "fixed" and (norm < radius or (norm == radius and mistake != "border")):
            break
        h = torch.tanh(W @ (h.detach() if mistake == "detached" and step else h) + b)
        W = W.detach() if mistake == "W once" else W
    return v @ (h / h.norm().clamp(min=1e-9) if mistake == "normed" else h)


def _at_random(x: Tensor, W: Tensor, b: Tensor, v: Tensor, radius: float, budget: int) -> Tensor:
    """A depth that is drawn, as in the tutorial that most copies are made of."""
    if not x.isfinite().all():
        raise ValueError
    for _ in range(7 + int(torch.randint(0, 1, ()))):
        x = torch.tanh(W @ x + b)
    return v @ x


def _hand(
    x: Tensor, W: Tensor, b: Tensor, v: Tensor, radius: float, budget: int, mistake: str = ""
) -> Any:
    if mistake != "nan" and not x.isfinite().all():
        raise ValueError
    tape, buffer = [x], x.clone()
    while len(tape) <= budget and tape[-1].norm() > radius:
        h = torch.tanh(W @ tape[-1] + b)
        tape.append(buffer.copy_(h) if mistake == "buffer" else h)
    dv, dh = tape[-1], v
    dW, db = torch.zeros_like(W), torch.zeros_like(b)
    if mistake == "condition" and len(tape) > 1:
        dh = dh + tape[-1] / tape[-1].norm()
    for before, after in zip(tape[-2::-1], tape[:0:-1], strict=True):
        dz = dh if mistake == "slope" else dh * (1 - after * after)
        part = torch.outer(before, dz) if mistake == "transposed" else torch.outer(dz, before)
        last = mistake == "last use"
        dW, db = (part, dz) if last else (dW + part, db + dz)
        dh = W @ dz if mistake == "W" else W.T @ dz
    found = dh, dW, db, dv
    return tuple(g / max(len(tape) - 1, 1) for g in found) if mistake == "mean" else found


def _by_backward(*case: Any) -> Any:
    if not case[0].isfinite().all():
        raise ValueError
    return _by_autograd(case)  # type: ignore[arg-type]


def _by_func(*case: Any) -> Any:
    if not case[0].isfinite().all():
        raise ValueError
    return torch.func.grad(lambda *four: twin(*four, *case[4:]), argnums=(0, 1, 2, 3))(*case[:4])


def _by_differences(*case: Any) -> Any:
    if not case[0].isfinite().all():
        raise ValueError
    found = []
    for place in range(4):
        grad = torch.zeros_like(case[place])
        for at in range(grad.numel()):
            moved = [t.clone() for t in case[:4]]
            ends = []
            for step in (1e-6, -2e-6):
                moved[place].view(-1)[at] += step
                ends.append(twin(*moved, *case[4:]))
            grad.view(-1)[at] = (ends[0] - ends[1]) / 2e-6
        found.append(grad)
    return found


def _forward_with(mistake: str) -> tuple[Any, Any]:
    return (lambda *case: _forward(*case, mistake=mistake)), gradients


def _hand_with(mistake: str) -> tuple[Any, Any]:
    return forward, (lambda *case: _hand(*case, mistake=mistake))


def oracle(forward: Callable[..., Any], gradients: Callable[..., Any]) -> Any:
    """Output, rounds and gradients for many inputs; what is not finite raises."""

    def told(*case: Any) -> Any:
        given = _asking(case)  # type: ignore[arg-type]
        y = forward(*given)
        rounds = sum("Tanh" in type(n).__name__ for n in nodes_of(y))
        return [y, y.requires_grad, rounds, autograd.grad(y, given[:4], allow_unused=True)]

    def by_formula(*case: Any) -> Any:
        with by_hand("It") as work:
            found = gradients(*case)
        steps = sum("Tanh" in type(n).__name__ for n in nodes_of(twin(*_asking(case))))
        return [list(found), [str(g.dtype) for g in found], work.products <= 3 * steps + 2]

    wide = [each for _, each in _edges()]
    wide += [
        case(Drawn(n), 1 + n % 5, n % 8, n % 3, d)
        for n in range(12)
        for d in (torch.float64, torch.float32)
    ]
    wide += [
        (torch.tensor([bad, 1.0], dtype=torch.float64), *wide[0][1:])
        for bad in (math.nan, math.inf, -math.inf)
    ]
    return [tried(f, *each) for each in wide for f in (told, by_formula)]


EXERCISE = Exercise(
    "adaptive_depth",
    "As deep as the input asks for, and every round adds its share to the gradient.",
    check_adaptive_depth,
    (
        Wrong(
            "a fixed depth",
            None,
            "2 rounds of tanh; the statement asks for 0",
            _forward_with("fixed"),
        ),
        Wrong("a depth that is drawn", None, "the radius the graph has 7", (_at_random, gradients)),
        Wrong(
            "one round more at the border",
            None,
            "just the radius the graph has 1",
            _forward_with("border"),
        ),
        Wrong(
            "one round more than the budget",
            None,
            "For a budget of 0 the graph has 1",
            _forward_with("late"),
        ),
        Wrong(
            "asks the input only",
            None,
            "1 that takes 1 round the graph has 3",
            _forward_with("input"),
        ),
        Wrong(
            "the largest entry",
            None,
            "takes 2 rounds the graph has 1 round of",
            _forward_with("relaxed"),
        ),
        Wrong(
            "the state detached",
            None,
            "takes 2 rounds the graph has 1 round of",
            _forward_with("detached"),
        ),
        Wrong("W asks once", None, "another gradient of W", _forward_with("W once")),
        Wrong("nan ends the loop", None, "holds nan, forward gives", _forward_with("nan")),
        Wrong("nan ends the loop by hand", None, "holds nan, gradients gives", _hand_with("nan")),
        Wrong("the output normed", None, "the output is -0.1325", _forward_with("normed")),
        Wrong(
            "the last use only", None, "takes 2 rounds the gradient of W", _hand_with("last use")
        ),
        Wrong("a mean over the rounds", None, "norm is 0.5 of", _hand_with("mean")),
        Wrong("the condition has a gradient", None, "norm is 2.609 of", _hand_with("condition")),
        Wrong("states in one buffer", None, "norm is 3.352 of", _hand_with("buffer")),
        Wrong("the slope of tanh forgotten", None, "norm is 9.931 of", _hand_with("slope")),
        Wrong(
            "outer product transposed",
            None,
            "takes 1 round the gradient of W",
            _hand_with("transposed"),
        ),
        Wrong("W for its transpose", None, "norm is 0.9046 of", _hand_with("W")),
        Wrong(
            "backward() inside",
            None,
            "tensors were saved for a backward pass",
            (forward, _by_backward),
        ),
        Wrong("torch.func inside", None, "through torch.func", (forward, _by_func)),
        Wrong(
            "finite differences inside",
            None,
            "matrix products; a forward",
            (forward, _by_differences),
        ),
    ),
    right=(
        Right("a tape of states", answers=(forward, gradients)),
        Right("calling itself", answers=(deeper, recursive)),
    ),
    oracle=oracle,
)
