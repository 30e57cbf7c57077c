"""Exercise `twins`: hidden units that gradient descent cannot tell apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy import ndarray

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, tried
from ..lesson15.arrays import numbers
from ..mistakes import then

__all__ = ["EXERCISE"]

Layer = tuple[ndarray, ndarray, ndarray]
Pairs = set[tuple[int, int]]


def layer(inputs: int, hidden: int, classes: int, seed: int = 0) -> Layer:
    """Weights and biases; no two units are alike."""
    return (
        numbers(inputs, hidden, seed=3 * seed) + np.arange(hidden) / 8,
        numbers(hidden, seed=3 * seed + 1) + np.arange(hidden) / 8,
        numbers(hidden, classes, seed=3 * seed + 2) + np.arange(hidden)[:, None] / 8,
    )


def made(one: int, *others: int, sizes: tuple[int, int, int] = (3, 5, 2), W1: Any = None, b1: Any = None,
         W2: Any = None) -> Layer:  # fmt: skip
    """A layer in which `others` are copies of the unit `one`; a function changes a part of the copies."""
    parts = layer(*sizes)
    for other in others:
        parts[0][:, other] = parts[0][:, one] if W1 is None else W1(parts[0][:, one])
        parts[1][other] = parts[1][one] if b1 is None else b1(parts[1][one])
        parts[2][other] = parts[2][one] if W2 is None else W2(parts[2][one])
    return parts


def cases() -> list[tuple[str, Layer, Pairs, str]]:
    """A layer in words, the layer, its twins, and what to look at; from the smallest up."""
    more = lambda w: w + 0.5  # noqa: E731
    near = lambda w: w * (1 + 1e-9)  # noqa: E731
    turned = lambda w: w[::-1]  # noqa: E731
    both = made(0, 3, sizes=(2, 6, 3))
    for part, axis in zip(both, (1, 0, 0), strict=True):
        np.swapaxes(part, 0, axis)[5] = np.swapaxes(part, 0, axis)[2]
    return [
        ("one unit", layer(2, 1, 3), set(), "A unit is no twin of itself."),
        ("two different units", layer(3, 2, 1), set(), "Is there anything in them that is equal?"),
        ("two equal units", made(0, 1, sizes=(3, 2, 2)), {(0, 1)}, "Everything is equal, so they stay equal."),
        ("two units that differ in their incoming weights alone", made(0, 1, sizes=(3, 2, 2), W1=more), set(),
         "They give different h."),
        ("two units that differ in one incoming weight alone",
         made(0, 1, sizes=(3, 2, 2), W1=lambda w: w + np.array([0, 0, 0.37])), set(), "They give different h."),
        ("two units that differ in their bias alone", made(0, 1, sizes=(3, 2, 2), b1=more), set(),
         "They give different h."),
        ("two units that differ in their outgoing weights alone", made(0, 1, sizes=(3, 2, 2), W2=more), set(),
         "They get different dh, and part at the first step."),
        ("two units of opposite incoming weights", made(0, 1, sizes=(3, 2, 2), W1=np.negative), set(),
         "w and -w are not equal."),
        ("two units of which one has twice the other's weights and bias",
         made(0, 1, sizes=(3, 2, 2), W1=lambda w: 2 * w, b1=lambda b: 2 * b, W2=lambda w: 2 * w), set(),
         "Proportional is not equal."),
        ("two units with the same weights in another order", made(0, 1, sizes=(3, 2, 2), W1=turned, W2=turned), set(),
         "Weight by weight: a sum does not see the order."),
        ("two units whose incoming weights differ by a billionth", made(0, 1, sizes=(3, 2, 2), W1=near), set(),
         "The smallest difference grows: gradient descent can tell them apart."),
        ("two units that share one of their outgoing weights",
         made(0, 1, sizes=(3, 2, 2), W2=lambda w: w + np.array([0, 0.37])), set(),
         "Every outgoing weight counts: they get different dh."),
        ("two units of opposite biases", made(0, 1, sizes=(3, 2, 2), b1=np.negative), set(), "b and -b are not equal."),
        ("two units with the incoming weights 1, 2 and 2, 1",
         (np.array([[1.0, 2.0], [2.0, 1.0]]), np.full(2, 0.5), np.ones((2, 1))), set(),
         "Weight by weight: a sum does not see the order."),
        ("two units of which one has a weight of 1e-30, and the other 0",
         (np.array([[0.0, 1e-30]]), np.ones(2), np.ones((2, 1))), set(), "Equal means equal, without any tolerance."),
        ("two units of which one has a weight of 0.0, and the other -0.0",
         (np.array([[0.0, -0.0]]), np.ones(2), np.ones((2, 1))), {(0, 1)}, "As numbers, 0.0 and -0.0 are equal."),
        ("the units 1, 2 and 4 of five equal", made(1, 2, 4), {(1, 2), (1, 4), (2, 4)},
         "Three equal units make three pairs."),
        ("the units 0 and 3, and the units 2 and 5 of six equal", both, {(0, 3), (2, 5)},
         "Two families of twins are two pairs."),
    ]  # fmt: skip


def check_twins(twins: Callable[..., Any]) -> None:
    """`twins(W1, b1, W2)` is the set of pairs of hidden units that stay equal under gradient descent."""
    for dtype in (np.float64, np.float32):
        for words, parts, want, hint in cases():
            if dtype is np.float32 and "billionth" in words:
                continue
            _ask(twins, words, [part.astype(dtype) for part in parts], want, hint)
    draw = drawn()
    hidden = draw.whole(3, 7)
    W1, b1, W2 = layer(draw.whole(1, 4), hidden, draw.whole(1, 3), draw.seed)
    kind = [draw.whole(0, 2) for _ in range(hidden)]
    parts = [W1[:, kind], b1[kind], W2[kind]]
    want = {(i, j) for i, j in combinations(range(hidden), 2) if kind[i] == kind[j]}
    _ask(twins, f"units that are alike where these numbers are: {kind} ({draw})", parts, want,
         "Go through all pairs.")  # fmt: skip


def _ask(twins: Any, words: str, parts: list[ndarray], want: Pairs, hint: str) -> None:
    found = _pairs(twins(*parts))
    odd = sorted(pair for pair in found if pair[0] >= pair[1])
    expect(
        not odd,
        f"With {words}, your set holds {_told(odd)}: a pair is (i, j) with i < j.",
        "Each pair once, the smaller number first.",
    )
    expect(
        found == want,
        f"With {words}, the twins are {_told(want)}; yours are {_told(found)}.",
        hint,
    )


def _pairs(answer: Any) -> Pairs:
    found = set()
    for pair in forms.collection(answer, "The set"):
        two = forms.wholes(pair, "A pair", 2)
        found.add((two[0], two[1]))
    return found


def _told(pairs: Any) -> str:
    return ", ".join(map(str, sorted(pairs))) or "none"


# ---- right answers, found in other ways ----


def by_unique(W1: ndarray, b1: ndarray, W2: ndarray) -> Any:
    units = np.column_stack([W1.T, b1, W2])
    _, family = np.unique(units, axis=0, return_inverse=True)
    i, j = np.triu_indices(len(units), k=1)
    same = family[i] == family[j]
    return list(zip(i[same], j[same], strict=True))


def by_bytes(W1: ndarray, b1: ndarray, W2: ndarray) -> set[tuple[int, int]]:
    seen: dict[Any, list[int]] = {}
    pairs = set()
    for unit in range(len(b1)):
        key = (tuple(W1[:, unit]), b1[unit], tuple(W2[unit]))
        pairs |= {(other, unit) for other in seen.get(key, [])}
        seen.setdefault(key, []).append(unit)
    return pairs


# ---- wrong answers ----


def _twins(W1: ndarray, b1: ndarray, W2: ndarray, parts: str = "ibo", itself: bool = False,
           of: Any = None, alike: Any = np.array_equal, both: bool = False,
               next_only: bool = False) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    rows = {"i": W1, "b": b1[None], "o": W2.T}
    units = np.vstack([rows[part] for part in parts]).T
    units = units if of is None else of(units)
    pairs = [
        (i, j) for j in range(len(units)) for i in range(j + itself) if not next_only or j == i + 1
    ]
    found = {(i, j) for i, j in pairs if alike(units[i], units[j])}
    return found | {(j, i) for i, j in found} if both else found


def _sums(W1: ndarray, b1: ndarray, W2: ndarray) -> Any:
    total = W1.sum(axis=0) + b1 + W2.sum(axis=1)
    return {(i, j) for i, j in combinations(range(len(b1)), 2) if np.isclose(total[i], total[j])}


def _by_rows(W1: ndarray, b1: ndarray, W2: ndarray) -> Any:
    """Takes the rows of W1 for the units."""
    return {(i, j) for i, j in combinations(range(len(W1)), 2) if np.array_equal(W1[i], W1[j])}


def _proportional(one: ndarray, two: ndarray) -> bool:
    return bool(np.isclose(abs(one @ two), np.linalg.norm(one) * np.linalg.norm(two)))


def _families(W1: ndarray, b1: ndarray, W2: ndarray) -> Any:
    pairs = _twins(W1, b1, W2)
    return {unit for pair in pairs for unit in pair}


def _part(W1: ndarray, b1: ndarray, W2: ndarray, of: Any = lambda *parts: parts) -> Any:
    """Compares what `of` makes of the three parts, number by number."""
    return _twins(*of(W1, b1, W2))


WRONG = {
    "one outgoing weight": (
        partial(_part, of=lambda W1, b1, W2: (W1, b1, W2[:, :1])), "share one of their outgoing weights"),
    "size of the bias": (partial(_part, of=lambda W1, b1, W2: (W1, abs(b1), W2)), "of opposite biases"),
    "equal sums of each part": (
        partial(_part, of=lambda W1, b1, W2: (W1.sum(0)[None], b1, W2.sum(1)[:, None])), "1, 2 and 2, 1"),
    "a tolerance of 1e-15": (
        partial(_twins, alike=lambda a, b: abs(a - b).max() < 1e-15), "a weight of 1e-30"),
    "equal bytes": (partial(_twins, alike=lambda a, b: a.tobytes() == b.tobytes()), "and the other -0.0"),
    "incoming only": (partial(_twins, parts="ib"), "outgoing weights alone, the twins are none"),
    "bias forgotten": (partial(_twins, parts="io"), "differ in their bias alone"),
    "outgoing only": (partial(_twins, parts="o"), "in their incoming weights alone, the twins are none"),
    "bias only": (partial(_twins, parts="b"), "in their incoming weights alone, the twins are none"),
    "itself": (partial(_twins, itself=True), "your set holds (0, 0)"),
    "both orders": (partial(_twins, both=True), "your set holds (1, 0)"),
    "equal sums": (_sums, "same weights in another order"),
    "sizes": (partial(_twins, of=np.abs), "opposite incoming weights"),
    "in proportion": (partial(_twins, alike=_proportional), "twice the other's"),
    "nearly equal": (partial(_twins, alike=np.allclose), "by a billionth"),
    "a tolerance of 0.6": (
        partial(_twins, alike=lambda a, b: abs(a - b).max() < 0.6),
            "in their incoming weights alone, the twins are none"),
    "one weight is enough": (
        partial(_twins, alike=lambda a, b: bool((a == b).any())),
            "in their incoming weights alone, the twins are none"),
    "neighbours only": (partial(_twins, next_only=True), "yours are (1, 2)."),
    "rows for units": (_by_rows, "two equal units, the twins are (0, 1); yours are none"),
    "units, not pairs": (_families, "A pair is a sequence"),
    "weights overwritten": (then(_twins, lambda W1, b1, W2: W1.fill(0)), "W1 is not what it was"),
}  # fmt: skip


def oracle(twins: Callable[..., Any]) -> Any:
    """The pairs for many layers, and the arguments afterwards."""

    def told(*parts: ndarray) -> Any:
        pairs = [tuple(map(int, pair)) for pair in forms.collection(twins(*parts))]
        return [[*pair] for pair in sorted(set(pairs))]

    wide: list[Any] = [parts for _, parts, _, _ in cases()]
    wide += [made(0, 2, sizes=(i, h, c)) for i, h, c in ((1, 3, 1), (7, 3, 2), (2, 7, 1))]
    wide += [tuple(part * scale for part in made(1, 3)) for scale in (1e-12, 1e12)]
    return [tried(told, *(part.copy() for part in parts)) for parts in wide]


EXERCISE = Exercise(
    "twins",
    "Equal in what comes in, in the bias and in what goes out: equal for ever.",
    check_twins,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by np.unique, a list", by_unique), Right("by a dictionary", by_bytes)),
    oracle=oracle,
)
