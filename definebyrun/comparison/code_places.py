"""The source code of two runs goes in, which line is which in the other run comes out.

Two pieces of code are the same by title and text, or by title alone; the lines of an edited piece are paired by
`difflib`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher

from ..trace import Source
from .sequences import Pairs, pair_by_key

__all__ = ["LinePairs", "same_pieces"]

MIN_LINE_RATIO = 0.6
"""Lines of an edited piece of code are taken for the same line from this likeness on."""


def same_pieces(a: Sequence[Source], b: Sequence[Source]) -> list[tuple[int, int]]:
    """Pieces of code that are the same in both runs: by title and text, then by title."""
    found = Pairs()
    for key in (lambda piece: (piece.title, piece.lines), lambda piece: piece.title):
        keyed = [
            [(key(piece), i) for i, piece in enumerate(pieces) if i not in done]
            for pieces, done in ((a, found.to_b), (b, found.to_a))
        ]
        for pair in pair_by_key(*keyed):
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
                if alike and max(alike) >= MIN_LINE_RATIO:
                    found[line] = i = i + alike.index(max(alike))
                    i += 1
    return found


class LinePairs:
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
