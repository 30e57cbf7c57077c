"""Exercise `divide`: the rule of a quotient of two scalars, a number and two edges with their slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...grading import Drawn, Exercise, Right, Wrong, apart, drawn, expect, forms, near, tried
from ...pieces.scalar_engine import Scalar
from ..mistakes import then

__all__ = ["EXERCISE"]

Divide = Callable[[Scalar, Scalar], Any]
CASES = ((3.0, 2.0), (1.0, 4.0), (3.0, 1.0), (-3.0, 0.5), (5.0, -4.0), (0.0, 2.0), (1e6, 1e3))
"""From the smallest up; then with signs, with 0 on top, and large."""
SLOPE_HINTS = (
    "Hold the other input, and nudge this one: how far does the quotient move?",
    "With a larger b the quotient of two positive numbers is smaller. What does 1 / b become for twice the b?",
)


def check_divide(divide: Divide) -> None:
    """`divide(a, b)` gives a scalar with the quotient and an edge to each input."""
    for top, below in CASES:
        _judge(divide, Scalar(top), Scalar(below))
    twice = Scalar(3.0)
    _judge(divide, twice, twice, " and the same scalar")
    result = Scalar(2.0)
    _judge(divide, result * result, result, " that a * a and a are")
    draw = drawn()
    for _ in range(2):
        top, below = draw.whole(-90, 90) / 10, draw.whole(11, 40) / 10
        _judge(divide, Scalar(top), Scalar(below), f" ({draw})")


def _judge(divide: Divide, a: Scalar, b: Scalar, source: str = "") -> None:
    where = f"for {a.data:g} and {b.data:g}{source}"
    before = _content(a), _content(b)
    made = divide(a, b)
    changed = _content(a) != before[0] or _content(b) != before[1]
    expect(
        not changed,
        f"Your function has changed one of its inputs, {where}.",
        "A rule makes a new scalar; gradients come with the walk back.",
    )
    expect(
        hasattr(made, "data") and hasattr(made, "edges"),
        f"divide returns a Scalar; yours returned {forms.said(made)}, {where}.",
        "Compare with the last line of __mul__.",
    )
    number = forms.number(made.data, "The number of the result")
    right = a.data / b.data
    mine, theirs = apart(number, right)
    expect(near(number, right), f"The number is {mine}, not {theirs}, {where}.", "a / b, as it is.")
    _judge_edges(made.edges, a, b, where)


def _judge_edges(edges: Any, a: Scalar, b: Scalar, where: str) -> None:
    found = [forms.sequence(pair, "An edge", 2) for pair in forms.sequence(edges, "edges")]
    words = [_word(source, a, b) for source, _ in found]
    expect(
        len(found) == 2,
        f"The result has edges to {words}, {where}.",
        "One edge for each use of an input: one for the top and one for the bottom.",
    )
    for nth, (name, scalar, slope) in enumerate(
        (("a", a, 1 / b.data), ("b", b, -a.data / b.data**2))
    ):
        source, given = found[nth]
        expect(
            source is scalar,
            f"The edge of {name} leads to {words[nth]}, {where}.",
            "The first edge is that of a, the second that of b; nothing lies between.",
        )
        got = forms.number(given, f"The slope towards {name}")
        mine, theirs = apart(got, slope)
        expect(
            near(got, slope),
            f"The slope towards {name} is {mine}; a nudge of {name} measures {theirs}, {where}.",
            SLOPE_HINTS[nth],
        )


def _word(source: Any, a: Scalar, b: Scalar) -> str:
    return "a" if source is a else "b" if source is b else forms.said(source)


def _content(scalar: Scalar) -> tuple[Any, ...]:
    return scalar.data, tuple(scalar.edges), scalar.grad


# ---- answers ----


def quotient(
    number: Callable[[float, float], Any] = lambda a, b: a / b,
    to_a: Callable[[float, float], Any] = lambda a, b: 1 / b,
    to_b: Callable[[float, float], Any] = lambda a, b: -a / b**2,
    edges: Callable[[Any, Any], Any] = lambda first, second: (first, second),
) -> Divide:
    """The solution with its usual mistakes as switches."""

    def divide(a: Scalar, b: Scalar) -> Scalar:
        x, y = a.data, b.data
        return Scalar(number(x, y), *edges((a, to_a(x, y)), (b, to_b(x, y))))

    return divide


def _in_two_steps(a: Scalar, b: Scalar) -> Scalar:
    return a * Scalar(1 / b.data, (b, -1 / b.data**2))


def _sends_already(a: Scalar, b: Scalar) -> None:
    a.grad += 1 / b.data


def _by_powers(a: Scalar, b: Scalar) -> Scalar:
    return Scalar(a.data * b.data**-1, (a, b.data**-1), (b, -a.data * b.data**-2))


def _by_the_result(a: Scalar, b: Scalar) -> Scalar:
    result = Scalar(np.float64(a.data) / b.data)
    result.edges = [[a, 1 / b.data], [b, -result.data / b.data]]
    return result


def told(divide: Divide) -> Any:
    """The oracle: the number, where the edges lead and how steep, for numbers of all sizes and signs."""

    def said(top: float, below: float, same: bool = False) -> Any:
        a = Scalar(top)
        b = a if same else Scalar(below)
        made = divide(a, b)
        edges = [[_word(source, a, b), float(slope)] for source, slope in made.edges]
        return [float(made.data), edges, a.data, b.data, a.grad, b.grad, a.edges, b.edges]

    draw = Drawn(3)
    pairs = [*CASES, (1e-9, 3.0), (2.0, 1e9), (-1.0, -1.0), (7.0, 7.0)]
    pairs += [(draw.whole(-50, 50) / 7, draw.whole(1, 50) / 7) for _ in range(6)]
    return [tried(lambda pair=pair: said(*pair)) for pair in pairs] + [
        tried(lambda: said(2.5, 2.5, same=True))
    ]


EXERCISE = Exercise(
    "divide",
    "A quotient knows how steep it is in its top and in its bottom.",
    check_divide,
    (
        Wrong("no minus", quotient(to_b=lambda a, b: a / b**2), "The slope towards b is 0.75;"),
        Wrong("not squared", quotient(to_b=lambda a, b: -a / b), "The slope towards b is -1.5; a"),
        Wrong("without a", quotient(to_b=lambda a, b: -1 / b**2), "b is -0.25; a nudge"),
        Wrong("that of a product", quotient(to_b=lambda a, b: a, to_a=lambda a, b: b), "a is 2; a"),
        Wrong("1 towards b", quotient(to_b=lambda a, b: 1.0), "b is 1; a"),
        Wrong("1 towards a", quotient(to_a=lambda a, b: 1.0), "a is 1; a nudge"),
        Wrong("whole numbers", quotient(number=lambda a, b: a // b), "The number is 1, not 1.5"),
        Wrong("the wrong way round", quotient(number=lambda a, b: b / a), "is 0.6667, not 1.5"),
        Wrong("b first", quotient(edges=lambda a, b: (b, a)), "The edge of a leads to b"),
        Wrong("a alone", quotient(edges=lambda a, b: (a,)), "edges to ['a'], for 3 and 2."),
        Wrong("no edges", quotient(edges=lambda a, b: ()), "edges to []"),
        Wrong(
            "each source once",
            quotient(edges=lambda a, b: dict([a, b]).items()),
            "edges to ['a'], for 3 and 3 and the same scalar",
        ),
        Wrong("a step between", _in_two_steps, "The edge of b leads to <"),
        Wrong("a number", lambda a, b: a.data / b.data, "yours returned 1.5, for"),
        Wrong("sends gradients already", then(quotient(), _sends_already), "changed one of its"),
        Wrong(
            "pairs turned round",
            quotient(edges=lambda a, b: (a[::-1], b[::-1])),
            "The edge of a leads to 0.5",
        ),
    ),
    right=(Right("by powers", _by_powers), Right("by the result, lists", _by_the_result)),
    oracle=told,
)
