"""Two sequences go in, what is the same in both comes out, as pairs of positions.

Nothing here knows what a trace is; `alignment.py` asks these questions of two runs. The longest common subsequence
handles a row of comparisons as one integer (Crochemore and others, "A fast and practical bit-vector algorithm for the
longest common subsequence problem", 2001).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

__all__ = [
    "Matching",
    "Order",
    "longest_common_subsequence",
    "merge_order",
    "pair_by_key",
    "side_by_side",
]

Part = TypeVar("Part")
MAX_LCS_ITEMS = 20_000
"""Of longer sequences the longest common one is sought piece by piece: a row of bits an item, so 50 MB at most."""


class Matching:
    """A map from numbers in A to numbers in B, one to one; `to_a` is the way back."""

    def __init__(self) -> None:
        self.to_b: dict[int, int] = {}
        self.to_a: dict[int, int] = {}

    def add(self, a: int | None, b: int | None) -> bool:
        """Pair two numbers when neither is paired yet; say whether that was so."""
        if a is None or b is None or a in self.to_b or b in self.to_a:
            return False
        self.to_b[a], self.to_a[b] = b, a
        return True

    def has(self, a: int, b: int) -> bool:
        """Whether these two are a pair."""
        return self.to_b.get(a) == b


# ---- sequences ----


def longest_common_subsequence(
    a: Sequence[Hashable], b: Sequence[Hashable]
) -> list[tuple[int, int]]:
    """The longest common subsequence of two, as pairs of positions; where there is a choice, the earliest ones.

    >>> longest_common_subsequence("abcd", "xbcbcd")
    [(1, 1), (2, 2), (3, 5)]
    """
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    pairs = [(i, i) for i in range(start)]
    for first in range(start, min(len(a), len(b)), MAX_LCS_ITEMS):
        inside = _common(a[first : first + MAX_LCS_ITEMS], b[first : first + MAX_LCS_ITEMS])
        pairs += [(first + i, first + j) for i, j in inside]
    return pairs


def _common(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """The pairs, found from one row of bits for each item of `a`.

    Bit j of a row is 0 where the common subsequence of the ends of `a` and `b` grows by taking in b[-1 - j].
    """
    where: dict[Hashable, int] = {}
    for bit, item in enumerate(reversed(b)):
        where[item] = where.get(item, 0) | 1 << bit
    full = (1 << len(b)) - 1
    rows = [full]
    for item in reversed(a):
        row = rows[-1]
        taken = row & where.get(item, 0)
        rows.append(((row + taken) | (row - taken)) & full)

    def length(i: int, j: int) -> int:
        left = len(b) - j
        return left - (rows[len(a) - i] & ((1 << left) - 1)).bit_count()

    i = j = 0
    left = length(0, 0)
    while left:
        if a[i] == b[j]:
            yield i, j
            i, j, left = i + 1, j + 1, left - 1
        elif length(i + 1, j) == left:
            i += 1
        else:
            j += 1


def pair_by_key(
    a: Iterable[tuple[Any, int]], b: Iterable[tuple[Any, int]]
) -> Iterator[tuple[int, int]]:
    """Numbers with equal keys: the first with the first, the second with the second, and so on."""
    waiting: dict[Any, deque[int]] = {}
    for key, number in a:
        waiting.setdefault(key, deque()).append(number)
    for key, number in b:
        if waiting.get(key):
            yield waiting[key].popleft(), number


# ---- orders ----


Order = list[tuple[int | None, int | None]]
"""Numbers in A and in B, side by side; None where one of them has nothing."""


def merge_order(size_a: int, size_b: int, same: Matching) -> Order:
    """The numbers of both: all of A in A's order, those that only B has after what came before them in B.

    >>> same = Matching()
    >>> same.add(0, 0), same.add(1, 2)
    (True, True)
    >>> merge_order(2, 3, same)
    [(0, 0), (None, 1), (1, 2)]
    """
    order: Order = []
    done: set[int] = set()
    next_b = 0

    def take_unpaired() -> None:
        """Take what only B has, up to the next number whose pair is still to come."""
        nonlocal next_b
        while next_b < size_b and (next_b not in same.to_a or next_b in done):
            if next_b not in same.to_a:
                order.append((None, next_b))
            next_b += 1

    for i in range(size_a):
        j = same.to_b.get(i)
        if j is not None:
            take_unpaired()
            done.add(j)
        order.append((i, j))
    take_unpaired()
    return order


def side_by_side(
    a: list[Part], b: list[Part], key: Callable[[Part], Hashable]
) -> list[tuple[Part | None, Part | None]]:
    """Parts with equal keys in pairs, in A's order; what only B has comes after what it follows in B."""
    same = Matching()
    for pair in pair_by_key(
        ((key(p), i) for i, p in enumerate(a)), ((key(p), j) for j, p in enumerate(b))
    ):
        same.add(*pair)
    return [
        (None if i is None else a[i], None if j is None else b[j])
        for i, j in merge_order(len(a), len(b), same)
    ]
