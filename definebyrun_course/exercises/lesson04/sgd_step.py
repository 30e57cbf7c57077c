"""Exercise `sgd_step`: a step of gradient descent that changes leaves, where every operation is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...grading import Exercise, Right, Wrong, apart, drawn, expect, forms, near, tried
from ...pieces.scalar_engine import Scalar, backward, count_uses

__all__ = ["EXERCISE"]

Step = Callable[[list[Scalar], float], Any]
Loss = Callable[[list[Scalar]], Scalar]
STEPS = 4
MAX_REACHED = 200
"""So many scalars has the graph of no loss here, unless it grows from step to step."""


def _squares(p: list[Scalar]) -> Scalar:
    return sum((x * x for x in p), Scalar(0.0))


def _first_alone(p: list[Scalar]) -> Scalar:
    return p[0] * p[0] * 0.5 + 1.0


def _crossed(p: list[Scalar]) -> Scalar:
    return (p[0] * p[1] + p[-1] * 3.0 + -1.0) * (p[0] + p[-1]) + p[0] * p[0]


CASES: tuple[tuple[str, Loss, tuple[float, ...], float], ...] = (
    ("the loss p * p", _squares, (1.0,), 0.2),
    ("the loss p * p", _squares, (-3.0,), 0.05),
    ("the sum of p * p", _squares, (1.0, -2.0, 0.5), 0.3),
    ("a loss that the second parameter has no part in", _first_alone, (2.0, 7.0), 0.5),
    ("a loss that multiplies parameters", _crossed, (0.5, -1.0, 0.25), 0.1),
)


def check_sgd_step(step: Step) -> None:
    """`step(parameters, lr)` is plain gradient descent, step after step, on leaves that stay leaves."""
    for what, loss, start, lr in CASES:
        _judge(step, what, loss, start, lr)
    draw = drawn()
    start = tuple(draw.whole(-20, 20) / 16 + 0.03 for _ in range(draw.whole(2, 4)))
    _judge(step, "a loss that multiplies parameters", _crossed, start, 0.07, f" ({draw})")


def _judge(
    step: Step, what: str, loss: Loss, start: tuple[float, ...], lr: float, source: str = ""
) -> None:
    parameters, numbers = [Scalar(number) for number in start], list(start)
    for nth in range(1, STEPS + 1):
        where = f"in step {nth} for {what}, from {[*map(float, start)]}, lr {lr:g}{source}"
        grads = _gradients(loss, numbers)
        backward(loss(parameters))
        kept = [*parameters]
        step(parameters, lr)
        before, numbers = numbers, [p - lr * g for p, g in zip(numbers, grads, strict=True)]
        expect(
            all(map(lambda p, q: p is q, parameters, kept)),
            f"There are other scalars in the list than before, {where}.",
            "Who else holds the old ones? Change what is in them.",
        )
        _judge_numbers(parameters, before, numbers, nth, where)
        for p in parameters:
            expect(
                not p.edges,
                f"A parameter has edges after your step, {where}, so it is no leaf.",
                "A result of + or * remembers where it came from. A parameter shall not.",
            )


def _judge_numbers(
    parameters: list[Scalar], before: list[float], wanted: list[float], nth: int, where: str
) -> None:
    for p, old, want in zip(parameters, before, wanted, strict=True):
        got = forms.number(p.data, "The number of a parameter")
        still = near(got, old) and not near(want, old)
        expect(
            not still,
            f"A parameter is still {got:g}, {where}.",
            "The scalars that are in the list have to move; new ones are seen by nobody.",
        )
        mine, theirs = apart(got, want)
        hint = (
            "The number minus lr times the gradient."
            if nth == 1
            else "The first steps were right. What does backward do to a gradient that is there already?"
        )
        expect(near(got, want), f"A parameter goes to {mine}, not to {theirs}, {where}.", hint)


def _gradients(loss: Loss, numbers: list[float]) -> list[float]:
    """Those of the loss, from leaves that are made for the purpose."""
    leaves = [Scalar(number) for number in numbers]
    backward(loss(leaves))
    return [leaf.grad for leaf in leaves]


# ---- answers ----


def descend(
    moved: Callable[[float, float, float], float] = lambda number, lr, grad: number - lr * grad,
    reset: Callable[[float], Any] | None = lambda grad: 0.0,
    part: slice = slice(None),
) -> Step:
    """The solution with its usual mistakes as switches."""

    def step(parameters: list[Scalar], lr: float) -> None:
        for p in parameters[part]:
            p.data = moved(p.data, lr, p.grad)
        for p in parameters:
            if reset is not None:
                p.grad = reset(p.grad)

    return step


def _new_scalars(parameters: list[Scalar], lr: float) -> list[Scalar]:
    return [p + p.grad * -lr for p in parameters]


def _into_the_list(parameters: list[Scalar], lr: float) -> None:
    parameters[:] = [Scalar(p.data - lr * p.grad) for p in parameters]


def _a_name_alone(parameters: list[Scalar], lr: float) -> None:
    for p in parameters:
        p = p + p.grad * -lr
        p.grad = 0.0


def _with_a_history(parameters: list[Scalar], lr: float) -> None:
    for p in parameters:
        moved = Scalar(p.data) + p.grad * -lr
        p.data, p.edges, p.grad = moved.data, moved.edges, 0.0


def _scalar_in_data(parameters: list[Scalar], lr: float) -> None:
    for p in parameters:
        p.data, p.grad = Scalar(p.data) + p.grad * -lr, 0.0


def _first_resets_all(parameters: list[Scalar], lr: float) -> None:
    for p in parameters:
        p.data -= lr * p.grad
        for q in parameters:
            q.grad = 0.0


def _in_two_lists(parameters: list[Scalar], lr: float) -> None:
    moved = [p.data - lr * p.grad for p in parameters]
    for p, number in zip(parameters, moved, strict=True):
        p.__init__(number)  # type: ignore[misc]


def _backwards(parameters: list[Scalar], lr: float) -> None:
    for p in reversed(parameters):
        setattr(p, "data", p.data + p.grad * -lr)  # noqa: B010
        p.grad *= 0


def told(step: Step) -> Any:
    """The oracle: where the parameters go, step after step, and whether the graph grows."""

    def run(loss: Loss, start: tuple[float, ...], lr: float) -> Any:
        parameters, found = [Scalar(number) for number in start], []
        kept = [*parameters]
        for _ in range(6):
            end = loss(parameters)
            reached = len(count_uses(end))
            backward(end)
            step(parameters, lr)
            found.append([*(round(float(p.data), 9) for p in kept), reached])
            if reached > MAX_REACHED:
                break
        same = len(parameters) == len(kept) and all(map(lambda p, q: p is q, parameters, kept))
        return [found, same, [len(p.edges) for p in kept]]

    wide = [*((loss, start, lr) for _, loss, start, lr in CASES)]
    wide += [(_squares, (1e6, 1e-6), 0.1), (_squares, tuple(n / 7 for n in range(-3, 4)), 0.45)]
    return [tried(run, *case) for case in wide]


EXERCISE = Exercise(
    "sgd_step",
    "The number moves inside the leaf, and the next gradient starts at 0.",
    check_sgd_step,
    (
        Wrong("new scalars", _new_scalars, "A parameter is still 1, in step 1"),
        Wrong("a name alone", _a_name_alone, "A parameter is still 1, in step 1"),
        Wrong("into the list", _into_the_list, "it was given: parameters"),
        Wrong("with a history", _with_a_history, "has edges after your step, in step 1"),
        Wrong("a scalar in data", _scalar_in_data, "The number of a parameter is a number"),
        Wrong("no reset", descend(reset=None), "goes to -0.04, not to 0.36, in step 2"),
        Wrong(
            "halves the gradient", descend(reset=lambda grad: grad / 2), "to 0.16, not to 0.36, in"
        ),
        Wrong("up the hill", descend(moved=lambda p, lr, g: p + lr * g), "goes to 1.4, not to 0.6"),
        Wrong("without lr", descend(moved=lambda p, lr, g: p - g), "goes to -1, not to 0.6"),
        Wrong("the gradient itself", descend(moved=lambda p, lr, g: -lr * g), "goes to -0.4, not"),
        Wrong(
            "a rate of its own",
            descend(moved=lambda p, lr, g: p - 0.2 * g),
            "goes to -1.8, not to -2.7",
        ),
        Wrong(
            "the first one only", descend(part=slice(0, 1)), "A parameter is still -2, in step 1"
        ),
        Wrong("reset too early", _first_resets_all, "A parameter is still -2, in step 1"),
        Wrong("None for none", descend(reset=lambda grad: None), "TypeError"),
    ),
    right=(
        Right("in two lists", _in_two_lists),
        Right("backwards, without a minus", _backwards),
    ),
    oracle=told,
    allows={"returns its argument": "what a step returns is not used"},
)
