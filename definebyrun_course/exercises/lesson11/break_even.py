"""Exercise `break_even`: after how many calls a compilation is earned back, with an interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, tried

__all__ = ["EXERCISE"]

BreakEven = Callable[[float, list[float], list[float]], Any]
Case = tuple[str, float, list[float], list[float]]

CASES: tuple[Case, ...] = (
    ("two rounds that agree", 10.0, [4.0, 4.0], [2.0, 2.0]),
    ("two rounds that agree and a break-even between two calls", 11.0, [4.0, 4.0], [2.0, 2.0]),
    ("a first call that costs no more than the others", 2.0, [4.0, 4.0], [2.0, 2.0]),
    ("a compiled call that is slower", 10.0, [2.0, 2.0], [4.0, 4.0]),
    ("a compiled call that is as fast", 10.0, [2.0, 2.0], [2.0, 2.0]),
    ("savings of 1, 2, 3 and 4", 100.0, [4.0, 6.0, 8.0, 10.0], [3.0, 4.0, 5.0, 6.0]),
    ("savings of 5, -1, 2 and 1", 100.0, [8.0, 3.0, 7.0, 7.0], [3.0, 4.0, 5.0, 6.0]),
    ("a machine that became slower, the saving being the same", 50.0, [4.0, 40.0], [2.0, 38.5]),
)
"""From the smallest up."""
INVERTED = (
    "A larger saving pays earlier: which of the two belongs to the mean plus two standard errors?"
)


def interval(
    first: float, eager: Sequence[float], compiled: Sequence[float]
) -> tuple[float, float]:
    """The right answer."""
    savings = [e - c for e, c in zip(eager, compiled, strict=True)]
    mean, later = statistics.fmean(savings), statistics.fmean(compiled)
    error = 2 * statistics.stdev(savings) / math.sqrt(len(savings))
    few, many = (_calls(first - later, saving) for saving in (mean + error, mean - error))
    return few, many


def _calls(price: float, saving: float) -> float:
    return math.inf if saving <= 0 else max(1, math.ceil(price / saving))


def check_break_even(break_even: BreakEven) -> None:
    """`break_even(first, eager, compiled)` gives the fewest and the most calls until compiling has paid."""
    for case in CASES:
        _judge(break_even, case)
    draw = drawn()
    _judge(break_even, _random(draw, str(draw)))


def _random(draw: Drawn, name: str) -> Case:
    """Times whose break-even is not so near a whole number that rounding decides."""
    while True:
        rounds = draw.whole(5, 9)
        compiled = draw.uniform(rounds, low=10, high=12).tolist()
        savings = draw.uniform(rounds, low=1, high=5).tolist()
        eager = [c + one for c, one in zip(compiled, savings, strict=True)]
        first = float(draw.uniform(low=500, high=900))
        savings = [e - c for e, c in zip(eager, compiled, strict=True)]
        error = 2 * statistics.stdev(savings) / math.sqrt(rounds)
        saved = [statistics.fmean(savings) + error, statistics.fmean(savings) - error]
        exact = [(first - statistics.fmean(compiled)) / one for one in saved if one > 0]
        if all(abs(one - round(one)) > 1e-3 for one in exact):
            return f"times drawn at random ({name})", first, eager, compiled


def _judge(break_even: BreakEven, case: Case) -> None:
    what, first, eager, compiled = case
    want = interval(first, eager, compiled)
    found = forms.sequence(
        break_even(first, list(eager), list(compiled)), "What break_even returns", 2
    )
    for name, answer, right in zip(("few", "many"), found, want, strict=True):
        mine = forms.number(answer, name)
        where = f"For {what}, `{name}` is {mine:g}"
        expect(not math.isnan(mine), f"{where}.", "What was divided by what?")
        if right == math.inf:
            expect(
                mine == math.inf,
                f"{where}, and that saving is not positive.",
                "Then no number of calls is enough: math.inf.",
            )
            continue
        expect(mine != math.inf, f"{where}, and that saving is positive.", "It pays at some time.")
        expect(mine == int(mine), f"{where}.", "Calls are whole numbers.")
        expect(mine >= 1, f"{where}.", "The least n is 1: the first call is one, too.")
        expect(
            mine == right,
            f"{where}, which is not the least n.",
            _hint(found, want, first, eager, compiled),
        )


def _hint(
    found: list[Any],
    want: tuple[float, float],
    first: float,
    eager: list[float],
    compiled: list[float],
) -> str:
    mine = tuple(forms.number(one) for one in found)
    if mine == want[::-1]:
        return INVERTED
    if mine[0] == mine[1] and want[0] != want[1]:
        return "Both entries are equal: where is the standard error?"
    return (
        "Put your n and n - 1 into the inequality. The first compiled call is one of the n. The standard error is "
        "that of the mean of the paired differences."
    )


# ---- answers ----


def _numpy(first: float, eager: list[float], compiled: list[float]) -> Any:
    savings = np.subtract(eager, compiled)
    error = 2 * np.std(savings, ddof=1) / np.sqrt(savings.size)
    limits = savings.mean() + np.array([error, -error])
    price = first - np.mean(compiled)
    return [np.maximum(np.ceil(price / one), 1) if one > 0 else np.inf for one in limits]


def _by_steps(first: float, eager: list[float], compiled: list[float]) -> Any:
    """From one call on, until the inequality holds; doubled first, then halved."""
    later = sum(compiled) / len(compiled)
    savings = [e - c for e, c in zip(eager, compiled, strict=True)]
    error = 2 * (statistics.variance(savings) / len(savings)) ** 0.5
    found: list[float] = []
    for saving in (statistics.fmean(savings) + error, statistics.fmean(savings) - error):
        if saving <= 0:
            found.append(math.inf)
            continue
        low, high = 0, 1
        while high * saving < first - later:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if middle * saving >= first - later else (middle, high)
        found.append(high)
    return tuple(found)


def _with(
    spread: Callable[[list[float]], float] = statistics.stdev,
    price: Callable[[float, float], float] = lambda first, later: first - later,
    errors: float = 2.0,
    whole: Callable[[float], float] = math.ceil,
    least: float = 1,
    never: float = math.inf,
    root: bool = True,
    turned: bool = False,
    centre: Callable[[list[float]], float] = statistics.fmean,
) -> BreakEven:
    """The solution, with one step replaced."""

    def break_even(first: float, eager: list[float], compiled: list[float]) -> Any:
        savings = [e - c for e, c in zip(eager, compiled, strict=True)]
        error = errors * spread(savings) / (math.sqrt(len(savings)) if root else 1)
        limits = [centre(savings) + error, centre(savings) - error]
        bought = price(first, statistics.fmean(compiled))
        found = [never if one <= 0 else max(least, whole(bought / one)) for one in limits]
        return tuple(found[::-1] if turned else found)

    return break_even


def _unpaired(first: float, eager: list[float], compiled: list[float]) -> Any:
    """The errors of the two means, as if the rounds were not paired."""
    variances = statistics.variance(eager) + statistics.variance(compiled)
    error = 2 * math.sqrt(variances / len(eager))
    saving = statistics.fmean(eager) - statistics.fmean(compiled)
    price = first - statistics.fmean(compiled)
    return _calls(price, saving + error), _calls(price, saving - error)


def told(break_even: BreakEven) -> Any:
    """The oracle: the pairs for many times."""

    def asked(first: float, eager: list[float], compiled: list[float]) -> Any:
        return [float(one) for one in break_even(first, list(eager), list(compiled))]

    draw = Drawn(0)
    cases = [case[1:] for case in CASES] + [_random(draw, "")[1:] for _ in range(4)]
    return [tried(asked, *case) for case in cases]


EXERCISE = Exercise(
    "break_even",
    "A break-even has an interval, and sometimes no end.",
    check_break_even,
    (
        Wrong(
            "one number",
            lambda f, e, c: interval(f, e, c)[0],
            "What break_even returns is a sequence",
        ),
        Wrong(
            "one more first call",
            _with(price=lambda first, later: first),
            "For two rounds that agree, `few` is 5",
        ),
        Wrong("rounded down", _with(whole=math.floor), "`few` is 4, which"),
        Wrong("not rounded", _with(whole=float), "`few` is 4.5"),
        Wrong("less than one call", _with(least=0), "than the others, `few` is 0"),
        Wrong(
            "a negative number of calls",
            _with(never=-1),
            "`few` is -1, and that saving is not positive",
        ),
        Wrong("never as None", _with(never=float("nan")), "`few` is nan"),
        Wrong("without an error", _with(errors=0.0), "where is the standard error"),
        Wrong("one standard error", _with(errors=1.0), "`few` is 31"),
        Wrong("the deviation itself", _with(root=False), "`few` is 19"),
        Wrong("divided by N", _with(spread=statistics.pstdev), "`few` is 27"),
        Wrong("turned round", _with(turned=True), "which of the two belongs to the mean plus"),
        Wrong("the median", _with(centre=statistics.median), "For savings of 5, -1, 2 and 1"),
        Wrong("not paired", _unpaired, "`few` is 18"),
    ),
    right=(
        Right("numpy", _numpy),
        Right("step by step", _by_steps),
    ),
    oracle=told,
)
