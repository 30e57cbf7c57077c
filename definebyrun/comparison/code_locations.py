"""The source code of two runs goes in, which line of one is which line of the other comes out.

Two pieces of code are the same by title and text, or by title alone; the lines of an edited piece are paired by
`difflib`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from difflib import SequenceMatcher

from ..trace import Source
from .sequences import Matching, pair_by_key

__all__ = ["LocationsInA", "same_pieces"]

MIN_LINE_RATIO = 0.6
"""Lines of an edited piece of code are taken for the same line from this `SequenceMatcher.ratio` on."""


def same_pieces(a: Sequence[Source], b: Sequence[Source]) -> list[tuple[int, int]]:
    """Pieces of code that are the same in both runs: by title and text, then by title."""
    found = Matching()
    keys: list[Callable[[Source], Hashable]] = [
        lambda piece: (piece.title, piece.lines),
        lambda piece: piece.title,
    ]
    for key in keys:
        left_a = [(key(piece), i) for i, piece in enumerate(a) if i not in found.to_b]
        left_b = [(key(piece), j) for j, piece in enumerate(b) if j not in found.to_a]
        for pair in pair_by_key(left_a, left_b):
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
                ratios = [SequenceMatcher(None, a[k], b[line]).ratio() for k in range(i, i_end)]
                if ratios and max(ratios) >= MIN_LINE_RATIO:
                    found[line] = i = i + ratios.index(max(ratios))
                    i += 1
    return found


class LocationsInA:
    """Maps a location in B's code, a (piece, line), to the same line in A's; one that A has not stays B's own."""

    def __init__(self, a: Sequence[Source], b: Sequence[Source]) -> None:
        self._edited: dict[tuple[int, int], tuple[Hashable, ...]] = {}
        self._unchanged: dict[int, tuple[int, int]] = {}  # by piece: A's piece, the shift of lines
        for i, j in same_pieces(a, b):
            one, other = a[i], b[j]
            if one.lines == other.lines:
                self._unchanged[j] = (i, one.first - other.first)
                continue
            for line, to in _same_lines(one.lines, other.lines).items():
                self._edited[j, other.first + line] = (i, one.first + to)

    def __call__(self, location: tuple[int, int]) -> tuple[Hashable, ...]:
        piece, line = location
        if piece in self._unchanged:
            to, shift = self._unchanged[piece]
            return to, line + shift
        return self._edited.get(location, ("B", *location))
