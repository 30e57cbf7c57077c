"""Exercise `paired`: which of two networks is better, by the accuracies of the same seeds, or it cannot be said."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray

from ...grading import Exercise, Mistake, Right, Wrong, apart, drawn, expect, forms, near, tried
from ...grading.forms import said

__all__ = ["EXERCISE"]

Compare = Callable[[Any, Any, float], Any]
UNSURE = "cannot be said"
CASES: tuple[tuple[str, list[float], list[float], float], ...] = (
    ("two seeds, b ahead by 0.25 in both", [0.5, 0.25], [0.75, 0.5], 12.7),
    ("two seeds, a ahead by 0.25 in both", [0.75, 0.5], [0.5, 0.25], 12.7),
    ("two seeds, no difference at all", [0.5, 0.75], [0.5, 0.75], 12.7),
    ("three seeds, b ahead in each", [0.91, 0.95, 0.93], [0.93, 0.96, 0.945], 4.303),
    ("two seeds, b ahead by 0.02 and by 0.04", [0.90, 0.92], [0.92, 0.96], 12.7),
    ("three seeds, a ahead in each", [0.93, 0.96, 0.945], [0.91, 0.95, 0.93], 4.303),
    ("four seeds whose best is b's and whose mean is a's", [0.95, 0.96, 0.94, 0.96], [0.90, 0.97, 0.89, 0.98], 3.182),
    ("four seeds that differ more than the networks", [0.80, 0.90, 0.70, 0.95], [0.82, 0.915, 0.72, 0.97], 3.182),
    ("five seeds and a wide quantile", [0.90, 0.91, 0.92, 0.93, 0.94], [0.92, 0.92, 0.95, 0.94, 0.955], 9.0),
    ("five seeds and a narrow quantile", [0.90, 0.91, 0.92, 0.93, 0.94], [0.91, 0.90, 0.935, 0.925, 0.95], 0.2),
    ("accuracies in per cent", [97.0, 98.0, 96.5], [97.5, 98.25, 97.25], 4.303),
)  # fmt: skip
"""In words, the accuracies of a and of b, and the quantile; the smallest first."""


def right(a: Any, b: Any, t: float) -> tuple[float, float, str]:
    """What must come out."""
    d = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    half = t * d.std(ddof=1) / len(d) ** 0.5
    low, high = float(d.mean() - half), float(d.mean() + half)
    return low, high, "b" if low > 0 else "a" if high < 0 else UNSURE


def check_paired(compare: Compare) -> None:
    """`compare(a, b, t)` gives the interval of the mean paired difference, and the verdict."""
    for words, a, b, t in CASES:
        _ask(compare, np.array(a), np.array(b), t, words)
    words, a, b, t = CASES[3]
    _ask(compare, list(a), list(b), t, f"{words}, as lists")
    draw = drawn()
    for _ in range(4):
        n = draw.whole(2, 9)
        start = draw.uniform(n, low=0.8, high=0.9).numpy()
        other = start + draw.whole(-3, 3) / 100 + draw.normal(n).numpy() / 100
        _ask(compare, start, other, draw.whole(5, 50) / 10, f"{n} seeds ({draw})")


def _ask(compare: Compare, a: Any, b: Any, t: float, words: str) -> None:
    kept = list(a), list(b)
    found = compare(a, b, t)
    where = f"for {words}, t = {t:g}"
    form = "return low, high, word"
    expect(
        (list(a), list(b)) == kept,
        f"a or b is not what it was, {where}.",
        "Sort no list of the caller's.",
    )
    if not isinstance(found, tuple | list) or len(found) != 3:
        missing = " Is a `return` missing?" if found is None else ""
        raise Mistake(f"The answer has three parts; yours is {said(found)}.{missing}", form)
    low, high = (forms.number(part, "An end of the interval") for part in found[:2])
    want = right(a, b, t)
    if not (near(low, want[0], 1e-5, 1e-9) and near(high, want[1], 1e-5, 1e-9)):
        _say_which(low, high, np.asarray(a, float), np.asarray(b, float), t, where)
    expect(
        isinstance(found[2], str) and found[2] in ("a", "b", UNSURE),
        f"The third part is {said(found[2])}, {where}.",
        f'One of the texts "a", "b" and "{UNSURE}".',
    )
    clear = "contains 0" if want[2] == UNSURE else "lies on one side of 0"
    expect(
        found[2] == want[2],
        f"The interval is right, {low:.4g} to {high:.4g}, and {clear}; your word is {found[2]!r}, {where}.",
        "Does it contain 0? If not: it is the interval of b minus a; which sign has it where b is better?",
    )


def _say_which(low: float, high: float, a: ndarray, b: ndarray, t: float, where: str) -> None:
    """The first of the usual mistakes that gives this interval."""
    known: list[tuple[dict[str, Any], str, str]] = [
        ({"swap": True}, "is that of a minus b", "A positive number says that b is better."),
        ({"quantile": 2.0}, "has 2 where t belongs", "2 is the quantile for many seeds; what is it for these few?"),
        ({"quantile": 1.96}, "has 1.96 where t belongs", "1.96 is for many seeds; what is it for these few?"),
        ({"ddof": 0}, "divides the squares by n", "The mean was computed from the same numbers: one is used up."),
        ({"root": 1.0}, "divides by n where its root belongs",
         "A mean of n numbers spreads less than one of them: by which factor?"),
        ({"root": 0.0}, "is that of one seed, not of the mean of all",
         "A mean of n numbers spreads less than one of them: by which factor?"),
        ({"ordered": True}, "pairs the best of a with the best of b", "What do a[i] and b[i] have in common?"),
        ({"unpaired": True}, "adds up the spreads of a and of b",
         "What the same seed does to both cancels in the difference, seed by seed."),
        ({"pooled": True}, "comes from the spread of all numbers together", "Whose spread is asked for?"),
    ]  # fmt: skip
    for switches, told, hint in known:
        made = _compare(a, b, t, **switches)[:2]
        if near(low, made[0], 1e-5, 1e-9) and near(high, made[1], 1e-5, 1e-9):
            raise Mistake(f"Your interval {told}, {where}.", hint)
    want = right(a, b, t)
    middle = apart((low + high) / 2, (want[0] + want[1]) / 2)
    expect(
        near(low + high, want[0] + want[1], 1e-5, 1e-9),
        f"The middle of your interval is {middle[0]}, not {middle[1]}, {where}.",
        "It is the mean of the differences, b minus a.",
    )
    half = apart((high - low) / 2, (want[1] - want[0]) / 2)
    raise Mistake(
        f"The middle is right; from it to an end it is {half[0]}, and should be {half[1]}, {where}.",
        "t times the standard error of the mean of the differences.",
    )


# ---- answers ----


def _compare(
    a: Any,
    b: Any,
    t: float,
    quantile: float = 0.0,
    ddof: int = 1,
    root: float = 0.5,
    swap: bool = False,
    ordered: bool = False,
    unpaired: bool = False,
    pooled: bool = False,
) -> tuple[float, float, str]:
    """The solution with its usual mistakes as switches."""
    a, b = np.array(a, dtype=float), np.array(b, dtype=float)
    if ordered:
        a, b = np.sort(a), np.sort(b)
    d = a - b if swap else b - a
    spread = d.std(ddof=ddof)
    if unpaired:
        spread = (a.var(ddof=ddof) + b.var(ddof=ddof)) ** 0.5
    if pooled:
        spread = np.concatenate([a, b]).std(ddof=ddof)
    half = (quantile or t) * spread / len(d) ** root
    low, high = float(d.mean() - half), float(d.mean() + half)
    return low, high, "b" if low > 0 else "a" if high < 0 else UNSURE


def _by_sums(a: Any, b: Any, t: float) -> list[Any]:
    """Sums in Python; the ends as NumPy numbers."""
    d = [float(y) - float(x) for x, y in zip(a, b, strict=True)]
    n = len(d)
    mean = sum(d) / n
    error = (sum((x - mean) ** 2 for x in d) / (n - 1) / n) ** 0.5
    ends = np.array([mean - t * error, mean + t * error])
    sure = ends.min() > 0 or ends.max() < 0
    return [*ends, ("b" if mean > 0 else "a") if sure else UNSURE]


def _by_covariance(a: Any, b: Any, t: float) -> tuple[Any, ...]:
    """The variance of a difference from the table of covariances."""
    table = np.cov(np.array([a, b], dtype=float))
    variance = max(table[0, 0] + table[1, 1] - 2 * table[0, 1], 0.0)
    half = t * np.sqrt(variance / len(a))
    mean = np.mean(b) - np.mean(a)
    word = {(True, False): "b", (False, True): "a"}.get((mean > half, -mean > half), UNSURE)
    return mean - half, mean + half, word


def _worded(
    word: Callable[[float, float, Any, Any], Any], a: Any, b: Any, t: float
) -> tuple[Any, ...]:
    low, high, _ = _compare(a, b, t)
    return low, high, word(low, high, a, b)


def _by_best(low: float, high: float, a: Any, b: Any) -> str:
    return "b" if max(b) > max(a) else "a"


def _by_mean(low: float, high: float, a: Any, b: Any) -> str:
    return "b" if low + high >= 0 else "a"


def _turned(low: float, high: float, a: Any, b: Any) -> str:
    return "a" if low > 0 else "b" if high < 0 else UNSURE


def _never_a(low: float, high: float, a: Any, b: Any) -> str:
    return "b" if low > 0 else UNSURE


def _as_published(a: Any, b: Any, t: float) -> tuple[Any, ...]:
    """The program of the statement."""
    low, high, _ = _compare(a, b, t, quantile=2.0, ddof=0, root=1.0, ordered=True)
    return low, high, "b" if low > 0 else "a"


def _sorts(a: Any, b: Any, t: float) -> tuple[Any, ...]:
    found = _compare(a, b, t)
    a.sort()
    return found


def _last_two(a: Any, b: Any, t: float) -> tuple[Any, ...]:
    return _compare(a[-2:], b[-2:], t)


SWITCHES: dict[str, tuple[dict[str, Any], str]] = {
    "2 for the quantile": ({"quantile": 2.0}, "has 2 where t belongs"),
    "1.96 for the quantile": ({"quantile": 1.96}, "has 1.96 where t belongs"),
    "n for n - 1": ({"ddof": 0}, "divides the squares by n,"),
    "n for its root": ({"root": 1.0}, "divides by n where its root belongs"),
    "the spread of one seed": ({"root": 0.0}, "is that of one seed"),
    "a minus b": ({"swap": True}, "that of a minus b"),
    "both sorted": ({"ordered": True}, "pairs the best of a"),
    "unpaired": ({"unpaired": True}, "adds up the spreads"),
    "all numbers together": ({"pooled": True}, "all numbers together"),
}


def oracle(compare: Compare) -> Any:
    """Ends and word for many pairs, as arrays and as lists, and what became of them."""

    def told(a: Any, b: Any, t: float) -> Any:
        low, high, word = compare(a, b, t)
        return [
            round(float(low) * 1e7) + 0,
            round(float(high) * 1e7) + 0,
            str(word),
            list(a),
            list(b),
        ]

    draw = np.random.default_rng(0)
    wide = [(np.array(a), np.array(b), t) for _, a, b, t in CASES]
    for n in (2, 3, 7, 24):
        for shift in (-0.02, 0.0, 0.005, 0.02):
            a = draw.uniform(0.8, 0.9, n)
            wide += [(a, a + shift + draw.normal(0, 0.01, n), t) for t in (0.5, 2.069, 12.7)]
    return [tried(told, form(a), form(b), t) for a, b, t in wide for form in (np.array, list)]


EXERCISE = Exercise(
    "paired",
    "The interval of the paired difference decides, and it may decide that nothing can be said.",
    check_paired,
    (
        *(
            Wrong(name, partial(_compare, **switch), says)
            for name, (switch, says) in SWITCHES.items()
        ),
        Wrong("as published", _as_published, "your word is 'a', for two seeds, no difference"),
        Wrong(
            "the best seed decides",
            partial(_worded, _by_best),
            "your word is 'a', for two seeds, no difference",
        ),
        Wrong(
            "the mean decides",
            partial(_worded, _by_mean),
            "your word is 'b', for two seeds, no difference",
        ),
        Wrong(
            "the other name", partial(_worded, _turned), "lies on one side of 0; your word is 'a'"
        ),
        Wrong("never a", partial(_worded, _never_a), "your word is 'cannot be said'"),
        Wrong("a truth value", partial(_worded, lambda low, *_: low > 0), "The third part is True"),
        Wrong("two seeds alone", _last_two, "The middle of your interval"),
        Wrong("a sorted in place", _sorts, "is not what it was"),
        Wrong("the interval alone", lambda *given: _compare(*given)[:2], "three parts; yours is ("),
        Wrong("no return", lambda *given: _compare(*given) and None, "Is a `return` missing?"),
    ),
    right=(Right("by sums", _by_sums), Right("by covariances", _by_covariance)),
    oracle=oracle,
)
