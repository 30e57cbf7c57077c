"""Exercise `worst_error`: a checker of rules."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, shown
from ...pieces.engine_rules import Array
from .planted import Planted, Rule, arrays_of, nan_rule, planted_rules, right_rules

__all__ = ["EXERCISE"]

WorstError = Callable[[Rule, list[Array]], Any]
SMALL_ERROR, LARGE_ERROR = 1e-7, 1e-2
RELATIVE = 1e-4


def check_worst_error(worst_error: WorstError) -> None:
    """`worst_error(rule, arrays)` is the largest difference: near 0 for right rules, as large as it is for others."""
    a, b = arrays_of(np.random.default_rng(0))
    for name, rule, arrays in right_rules(a, b):
        _judge_right(worst_error, name, rule, arrays)
    for planted in planted_rules(a, b):
        _judge_planted(worst_error, planted, "")
    error = forms.number(worst_error(nan_rule, [a[0]]), "worst_error(rule, arrays)")
    expect(
        not error < LARGE_ERROR,
        f"A rule whose gradient holds nan gets through your checker, with an error of {error:.2g}.",
        "Every comparison with nan is false: what does max(0.0, nan) give?",
    )
    draw = drawn()
    a, b = arrays_of(np.random.default_rng(draw.seed))
    for planted in planted_rules(a, b):
        _judge_planted(worst_error, planted, f" ({draw})")


def _judge_right(worst_error: WorstError, name: str, rule: Rule, arrays: list[Array]) -> None:
    error = forms.number(worst_error(rule, arrays), "worst_error(rule, arrays)")
    shapes = " and ".join(str(array.shape) for array in arrays)
    expect(
        abs(error) < SMALL_ERROR,
        f"The rule of {name} is right, and for arrays of shape {shapes} your checker finds an error of {error:.2g}.",
        "Move one element by 1e-6 up, and by 1e-6 down; weigh both results by the gradient, and add up each.",
    )


def _judge_planted(worst_error: WorstError, planted: Planted, source: str) -> None:
    error = forms.number(worst_error(planted, list(planted.arrays)), "worst_error(rule, arrays)")
    expect(
        not planted.alike(),
        "The gradient of the result that you give to the rule is the same number everywhere.",
        "With such a gradient some wrong rules look right. Elements that differ tell them apart.",
    )
    worst = planted.worst()
    expect(
        worst > LARGE_ERROR and error > LARGE_ERROR,
        f"A rule that {planted.what} gets through your checker, with an error of {error:.2g}{source}.",
        "Check every element of every input, whether the rule gives more or less than it should.",
    )
    expect(
        abs(error - worst) < RELATIVE * worst,
        f"For a rule that {planted.what}, on {shown(planted.arrays[0])}, the largest difference is {worst:.5g} "
        f"with the gradient that you gave to it; you say {error:.5g}{source}.",
        "The largest of all differences, as it is: not a mean, not a part of something, not the last one.",
    )


# ---- answers ----


def checker(
    inputs: int | None = None,
    weights: Callable[[Array], Array] = np.cos,
    first: int = 0,
    steps: tuple[float, float, float] = (1e-6, -1e-6, 2e-6),
    joined: Callable[[list[float]], float] = np.max,
    off: Callable[[float, float], float] = lambda said, seen: abs(said - seen),
) -> WorstError:
    """The solution with its usual mistakes as switches."""

    def worst_error(rule: Rule, arrays: list[Array]) -> float:
        result, *to_inputs = rule(*arrays)
        grad = weights(np.arange(np.size(result), dtype=float)).reshape(np.shape(result))
        errors = []
        for nth, to_input in enumerate(to_inputs[:inputs]):
            said = np.broadcast_to(to_input(grad), arrays[nth].shape)
            for place in list(np.ndindex(arrays[nth].shape))[first:]:
                ends = []
                for step in steps[:2]:
                    moved = [array.copy() for array in arrays]
                    moved[nth][place] += step
                    ends.append((grad * rule(*moved)[0]).sum())
                errors.append(off(said[place], (ends[0] - ends[1]) / steps[2]))
        return float(joined(errors))

    return worst_error


def _of_one(rule: Rule, arrays: list[Array], nth: int) -> float:
    def alone(x: Array) -> tuple[Any, ...]:
        result, *to_inputs = rule(*arrays[:nth], x, *arrays[nth + 1 :])
        return result, to_inputs[nth]

    return checker()(alone, [arrays[nth]])


def _in_place(rule: Rule, arrays: list[Array]) -> float:
    """Moves the caller's arrays, and back by the same step: what is left of it is a rounding error."""
    result, *to_inputs = rule(*arrays)
    grad = np.cos(np.arange(np.size(result), dtype=float)).reshape(np.shape(result))
    errors = []
    for array, to_input in zip(arrays, to_inputs, strict=True):
        said = np.broadcast_to(to_input(grad), array.shape).copy()
        for place in np.ndindex(array.shape):
            array[place] += 1e-6
            up = (grad * rule(*arrays)[0]).sum()
            array[place] -= 2e-6
            down = (grad * rule(*arrays)[0]).sum()
            array[place] += 1e-6
            errors.append(abs(said[place] - (up - down) / 2e-6))
    return max(errors)


def _square_arrays(rule: Rule, arrays: list[Array]) -> float:
    """As many columns as rows."""
    result, *to_inputs = rule(*arrays)
    grad = np.cos(np.arange(np.size(result), dtype=float)).reshape(np.shape(result))
    errors = []
    for nth, to_input in enumerate(to_inputs):
        for place in itertools.product(range(len(arrays[nth])), repeat=arrays[nth].ndim):
            up, down = ([array.copy() for array in arrays] for _ in range(2))
            up[nth][place] += 1e-6
            down[nth][place] -= 1e-6
            seen = ((grad * rule(*up)[0]).sum() - (grad * rule(*down)[0]).sum()) / 2e-6
            errors.append(abs(to_input(grad)[place] - seen))
    return max(errors)


def _whole_jacobian(rule: Rule, arrays: list[Array]) -> Any:
    """A gradient with a single 1 for each element of the result, against a column of differences for each input's."""
    result, *to_inputs = rule(*arrays)
    ones = np.eye(np.size(result)).reshape(np.size(result), *np.shape(result))
    errors = []
    for nth, (array, to_input) in enumerate(zip(arrays, to_inputs, strict=True)):
        said = np.stack([np.broadcast_to(to_input(one), array.shape).reshape(-1) for one in ones])
        for number in range(array.size):
            step = 1e-6 * np.eye(array.size)[number].reshape(array.shape)
            ends = [rule(*arrays[:nth], array + s, *arrays[nth + 1 :])[0] for s in (step, -step)]
            errors.append(np.abs(said[:, number] - np.reshape(ends[0] - ends[1], -1) / 2e-6))
    return np.concatenate(errors).max()


def _drawn_weights(rule: Rule, arrays: list[Array]) -> Any:
    rng = np.random.default_rng(7)
    return np.array([checker(weights=lambda n: rng.uniform(1, 2, size=n.shape))(rule, arrays)])


def told(worst_error: WorstError) -> Any:
    """The oracle: what is said of right rules and, as a part of the difference there is, of wrong ones."""
    found: list[Any] = []
    for seed in range(3):
        a, b = arrays_of(np.random.default_rng(seed))
        kept = a.copy(), b.copy()
        for _, rule, arrays in right_rules(a, b):
            found.append(
                _said(
                    lambda rule=rule, arrays=arrays: (
                        abs(forms.number(worst_error(rule, arrays))) < SMALL_ERROR
                    )
                )
            )
        for planted in planted_rules(a, b):
            found.append(_said(lambda planted=planted: _part(worst_error, planted)))
        found.append(
            _said(lambda a=a: not forms.number(worst_error(nan_rule, [a[0]])) < LARGE_ERROR)
        )
        found.append([np.array_equal(a, kept[0]), np.array_equal(b, kept[1])])
    return found


def _part(worst_error: WorstError, planted: Planted) -> list[Any]:
    error = forms.number(worst_error(planted, planted.arrays))
    worst = planted.worst()
    return [worst > LARGE_ERROR, planted.alike(), round(error / worst, 3) if worst else error]


def _said(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        return type(error).__name__


EXERCISE = Exercise(
    "worst_error",
    "Every element of every input, with a gradient whose elements differ.",
    check_worst_error,
    (
        Wrong("first input only", checker(inputs=1), "that is wrong for its second input gets"),
        Wrong(
            "last input only",
            lambda r, a: _of_one(r, a, len(a) - 1),
            "that is wrong for its first input gets",
        ),
        Wrong("gradient of ones", checker(weights=np.ones_like), "same number everywhere"),
        Wrong(
            "gradient of zeros",
            checker(weights=np.zeros_like),
            "a factor 2 gets through your checker, with an error of 0.",
        ),
        Wrong(
            "not the first element",
            lambda r, a: checker(first=int(a[0].size > 1))(r, a),
            "you say 0.67402",
        ),
        Wrong("the mean", checker(joined=np.mean), "you say 1.0311"),
        Wrong(
            "twice the difference",
            checker(off=lambda said, seen: 2 * abs(said - seen)),
            "you say 2.1287",
        ),
        Wrong(
            "relative",
            checker(off=lambda said, seen: abs(said - seen) / max(abs(seen), 1e-12)),
            "you say 0.5",
        ),
        Wrong(
            "without its sign",
            checker(off=lambda said, seen: said - seen),
            "leaves out a factor 2 gets through your checker, with an error of -",
        ),
        Wrong(
            "on one side",
            checker(steps=(1e-6, 0.0, 1e-6)),
            "your checker finds an error of 1e-06",
        ),
        Wrong(
            "a step of 0.01",
            checker(steps=(1e-2, -1e-2, 2e-2)),
            "of shape (2, 3) and (2, 3) your checker finds",
        ),
        Wrong("divided by one step", checker(steps=(1e-6, -1e-6, 1e-6)), "finds an error of 2.1"),
        Wrong("square arrays", _square_arrays, "IndexError"),
        Wrong(
            "nan is swallowed",
            checker(joined=lambda errors: max([0.0, *errors])),
            "holds nan gets through",
        ),
        Wrong("the caller's arrays are moved", _in_place, "it was given: arrays[0]"),
        Wrong("all errors", lambda r, a: [checker()(r, a)] * 2, "is a number; this is ["),
    ),
    right=(
        Right("the whole Jacobian", _whole_jacobian),
        Right("weights that are drawn", _drawn_weights),
    ),
    oracle=told,
)
