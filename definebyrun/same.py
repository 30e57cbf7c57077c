"""Two sequences or two pieces of code go in, what is the same in both comes out, as pairs of places.

Nothing here knows what a trace is; `align.py` asks these questions of two runs. The longest common sequence handles
a row of comparisons as one whole number (Crochemore and others, "A fast and practical bit-vector algorithm for the
longest common subsequence problem", 2001).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from .trace import Source

__all__ = ["Pairs", "Places", "common", "in_turn", "same_pieces"]

SPAN = 20_000
"""Of longer unlike sequences the longest common one is sought span by span: memory is SPAN²/8 bytes at most."""
ALIKE = 0.6
"""Lines of an edited piece of code are taken for the same line from this likeness on."""


class Pairs:
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


def common(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The longest common sequence of two, as pairs of places; where there is a choice, the earliest places.

    >>> common("abcd", "xbcbcd")
    [(1, 1), (2, 2), (3, 5)]
    """
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    pairs = [(i, i) for i in range(start)]
    for first in range(start, min(len(a), len(b)), SPAN):
        inside = _common(a[first : first + SPAN], b[first : first + SPAN])
        pairs += [(first + i, first + j) for i, j in inside]
    return pairs


def _common(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Bit j of a row is 0 where the common sequence of the ends of `a` and `b` grows by taking in b[-1 - j]."""
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


def in_turn(
    a: Iterable[tuple[Any, int]], b: Iterable[tuple[Any, int]]
) -> Iterator[tuple[int, int]]:
    """Numbers with equal keys: the first with the first, the second with the second, and so on."""
    waiting: dict[Any, deque[int]] = {}
    for key, number in a:
        waiting.setdefault(key, deque()).append(number)
    for key, number in b:
        if waiting.get(key):
            yield waiting[key].popleft(), number


# ---- places in the code ----


def same_pieces(a: Sequence[Source], b: Sequence[Source]) -> list[tuple[int, int]]:
    """Pieces of code that are the same in both runs: by title and text, then by title."""
    found = Pairs()
    for key in (lambda piece: (piece.title, piece.lines), lambda piece: piece.title):
        keyed = [
            [(key(piece), i) for i, piece in enumerate(pieces) if i not in done]
            for pieces, done in ((a, found.to_b), (b, found.to_a))
        ]
        for pair in in_turn(*keyed):
            found.add(*pair)
    return sorted(found.to_b.items())


def _same_lines(a: tuple[str, ...], b: tuple[str, ...]) -> dict[int, int]:
    """The lines of an edited piece of code, as a map from those in `b` to those in `a`."""
    found: dict[int, int] = {}
    for what, i, i_end, j, j_end in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if what == "equal" or (what == "replace" and i_end - i == j_end - j):
            found.update(zip(range(j, j_end), range(i, i_end), strict=True))
        elif what == "replace":
            for line in range(j, j_end):
                alike = [SequenceMatcher(None, a[k], b[line]).ratio() for k in range(i, i_end)]
                if alike and max(alike) >= ALIKE:
                    found[line] = i = i + alike.index(max(alike))
                    i += 1
    return found


class Places:
    """Says for a place in B's code which place in A's code it is; a place that A has not stays its own."""

    def __init__(self, a: Sequence[Source], b: Sequence[Source]) -> None:
        self._known: dict[tuple[int, int], tuple[Hashable, ...]] = {}
        self._shift: dict[int, tuple[int, int]] = {}
        for i, j in same_pieces(a, b):
            one, other = a[i], b[j]
            if one.lines == other.lines:
                self._shift[j] = (i, one.first - other.first)
                continue
            for line, to in _same_lines(one.lines, other.lines).items():
                self._known[j, other.first + line] = (i, one.first + to)

    def __call__(self, place: tuple[int, int]) -> tuple[Hashable, ...]:
        piece, line = place
        if piece in self._shift:
            to, by = self._shift[piece]
            return to, line + by
        return self._known.get(place, ("B", *place))
