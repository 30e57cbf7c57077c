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
from ..graphs import beside
from ..measures import by_hand
from .adaptive_depth_cases import Case, asking, by_autograd, case, edges, rounds_of, twin
from .adaptive_depth_training import epoch, epochs, judge_train, trained

__all__ = ["EXERCISE"]

NAMES = ("x", "W", "b", "v")
DEPTH = "The loop is asked again in every round: has the state become small, is the budget used up?"
SHARED = "W and b are used in every round: what does each of the rounds add to their gradients?"


def check_adaptive_depth(
    forward: Callable[..., Any], gradients: Callable[..., Any], train: Callable[..., Any]
) -> None:
    """`forward` builds a graph as deep as its input asks for; `gradients` goes back by hand; `train` is an epoch."""
    *cases, huge = edges()
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
    for each in epochs():
        judge_train(train, f"an epoch of {counted(len(each[0]), 'input')}", each)
    _judge_not_finite(train, "train")
    norms = tuple(draw.uniform(4, low=0.2, high=3.0).tolist())
    judge_train(train, f"an epoch {draw}", epoch(draw, draw.whole(2, 4), norms))


def _judge_forward(forward: Callable[..., Any], words: str, case: Case) -> None:
    given = asking(case)
    want = twin(*given)
    y = forms.tensor(forward(*given), "forward", ())
    expect(
        y.requires_grad,
        f"For {words} the output has no graph.",
        "Compute with tensors, up to the return.",
    )
    rounds = [rounds_of(each) for each in (y, want)]
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
        x, *rest = case(Drawn(2), 2, 2, 1)
        x[1] = bad
        given: tuple[Any, ...] = (x, *rest)
        if name == "forward":
            given = asking((x, *rest))
        elif name == "train":
            given = torch.stack([x * 0, x]), torch.zeros(2), *rest, 0.1
        try:
            function(*given)
        except ValueError:
            continue
        raise Mistake(
            f"For an x that holds {bad}, {name} gives an answer; a ValueError is asked for.",
            "What does nan > radius say? So a loop that asks that ends without a word.",
        )


def _judge_gradients(gradients: Callable[..., Any], words: str, case: Case) -> None:
    steps = rounds_of(twin(*asking(case)))
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
    wanted = by_autograd(case)
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


def train(
    inputs: Tensor,
    targets: Tensor,
    W: Tensor,
    b: Tensor,
    v: Tensor,
    radius: float,
    budget: int,
    rate: float,
) -> Any:
    """The output is v · h, and h is the gradient of v."""
    losses = torch.zeros(len(inputs), dtype=v.dtype)
    for i in range(len(inputs)):
        _, dW, db, h = gradients(inputs[i], W, b, v, radius, budget)
        error = v @ h - targets[i]
        losses[i] = error**2
        W, b, v = W - 2 * rate * error * dW, b - 2 * rate * error * db, v - 2 * rate * error * h
    return W, b, v, losses.mean().item()


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


def one_by_one(inputs: Tensor, targets: Tensor, *rest: Any) -> Any:
    """Calls itself with what is left of the epoch."""

    def go_on(i: int, total: float, *parameters: Tensor) -> Any:
        if i == len(inputs):
            return *parameters, total / i
        error = deeper(inputs[i], *parameters, *rest[3:5]) - targets[i]
        slopes = recursive(inputs[i], *parameters, *rest[3:5])[1:]
        moved = (p - rest[5] * (error + error) * g for p, g in zip(parameters, slopes, strict=True))
        return go_on(i + 1, total + float(error) ** 2, *moved)

    return go_on(0, 0.0, *rest[:3])


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
    return by_autograd(case)  # type: ignore[arg-type]


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


def _forward_with(mistake: str) -> tuple[Any, ...]:
    return (lambda *case: _forward(*case, mistake=mistake)), gradients, train


def _hand_with(mistake: str) -> tuple[Any, ...]:
    return forward, (lambda *case: _hand(*case, mistake=mistake)), train


def _train(
    inputs: Tensor, targets: Tensor, W: Tensor, b: Tensor, v: Tensor, *rest: Any, mistake: str
) -> Any:
    *depth, rate = rest
    now = first = [W, b, v]
    losses = []
    for x, target in zip(inputs, targets, strict=True):
        _, *slopes = gradients(x, *(first if mistake in ("stale", "batch") else now), *depth)
        error = forward(x, *(first if mistake == "batch" else now), *depth) - target
        losses.append(float(error**2))
        step = rate * error * (1 if mistake == "half" else 2)
        if mistake == "in place":
            for p, g in zip(now, slopes, strict=True):
                p -= step * g
        elif mistake == "one after the other":
            for i in (2, 1, 0):
                p = now[i] - step * gradients(x, *now, *depth)[i + 1]
                now = [*now[:i], p, *now[i + 1 :]]
        else:
            now = [p - step * g for p, g in zip(now, slopes, strict=True)]
        if mistake == "afterwards":
            losses[-1] = float((forward(x, *now, *depth) - target) ** 2)
    loss = {"last": losses[-1], "sum": sum(losses)}.get(mistake, sum(losses) / len(losses))
    return *now, loss


def _trained(*epoch: Any) -> Any:
    return (lambda parameters, loss, _: (*parameters, loss))(*trained(*epoch))


def _train_with(mistake: str) -> tuple[Any, ...]:
    return forward, gradients, (lambda *epoch: _train(*epoch, mistake=mistake))


def oracle(
    forward: Callable[..., Any], gradients: Callable[..., Any], train: Callable[..., Any]
) -> Any:
    """Output, rounds and gradients for many inputs; what is not finite raises. Parameters and losses of epochs."""

    def told(*case: Any) -> Any:
        given = asking(case)  # type: ignore[arg-type]
        y = forward(*given)
        rounds = rounds_of(y)
        return [y, y.requires_grad, rounds, autograd.grad(y, given[:4], allow_unused=True)]

    def by_formula(*case: Any) -> Any:
        with by_hand("It") as work:
            found = gradients(*case)
        steps = rounds_of(twin(*asking(case)))
        return [list(found), [str(g.dtype) for g in found], work.products <= 3 * steps + 2]

    def of_epoch(*given: Any) -> Any:
        with by_hand("It"):
            *parameters, loss = train(*given)
        return [parameters, [str(p.dtype) for p in parameters], float(loss)]

    wide = [each for _, each in edges()]
    wide += [
        case(Drawn(n), 1 + n % 5, n % 8, n % 3, d)
        for n in range(12)
        for d in (torch.float64, torch.float32)
    ]
    wide += [
        (torch.tensor([bad, 1.0], dtype=torch.float64), *wide[0][1:])
        for bad in (math.nan, math.inf, -math.inf)
    ]
    trainings = [*epochs(), *(epoch(Drawn(n), 1 + n % 4, (0.3, 2.0, 0.8)) for n in range(8))]
    trainings += [
        (torch.tensor([[0.1, 0.1], [bad, 1.0]]).double(), torch.zeros(2), *wide[0][1:], 0.1)
        for bad in (math.nan, math.inf)
    ]
    found = [tried(f, *each) for each in wide for f in (told, by_formula)]
    return found + [tried(of_epoch, *each) for each in trainings]


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
        Wrong(
            "a depth that is drawn",
            None,
            "the radius the graph has 7",
            (_at_random, gradients, train),
        ),
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
            "backward pass is asked for by hand, and autograd was used: tensors",
            (forward, _by_backward, train),
        ),
        Wrong("torch.func inside", None, "through torch.func", (forward, _by_func, train)),
        Wrong(
            "finite differences inside",
            None,
            "matrix products; a forward",
            (forward, _by_differences, train),
        ),
        Wrong(
            "the last input's loss", None, "the loss is 0.4211; the mean of", _train_with("last")
        ),
        Wrong("the sum of the losses", None, "the loss is 3.498; the mean of", _train_with("sum")),
        Wrong(
            "losses after the steps",
            None,
            "the loss is 0.3948; the mean of",
            _train_with("afterwards"),
        ),
        Wrong(
            "the factor 2 forgotten", None, "v takes a step of norm 0.01919", _train_with("half")
        ),
        Wrong("one step for all", None, "W takes a step of norm 0.1322", _train_with("batch")),
        Wrong(
            "gradients of the first parameters",
            None,
            "W takes a step of norm 0.1406",
            _train_with("stale"),
        ),
        Wrong(
            "a parameter after the other",
            None,
            "W takes a step of norm 0.04703",
            _train_with("one after the other"),
        ),
        Wrong(
            "parameters written in place",
            None,
            "argument 5 is not what it was",
            _train_with("in place"),
        ),
        Wrong(
            "autograd trains",
            None,
            "Training is asked for by hand",
            (forward, gradients, _trained),
        ),
    ),
    right=(
        Right("a tape of states", answers=(forward, gradients, train)),
        Right("calling itself", answers=(deeper, recursive, one_by_one)),
    ),
    oracle=oracle,
)
