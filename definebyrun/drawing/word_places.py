"""Links, their routes and the boxes of cards go in; out comes where the words at the ends of arrows stand, free of each
other and of the cards.

A word stands beside its arrow, as near to the end as there is room. Where there is none it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import hypot

from ..cards.model import Link, times_label
from .geometry import Box, Point, Route

__all__ = ["Word", "place_words"]

Word = tuple[float, float, bool, str]
"""Where a word begins, or ends if so, on its base line; and the word."""

WORD_CHAR_WIDTH, WORD_HEIGHT = 6.4, 11.0
"""Points: of a character of small print, of a word."""
DISTANCES = (11.0, 22.0, 33.0, 46.0, 60.0)
"""Points along an arrow from its end, to one of which a word stands beside it."""
GAP = 6.0
"""Points between an arrow and a word beside it."""
LIFT = 5.0
"""Points by which a word beside a slanting arrow is nearer to the side on which there is more room."""
LEVEL = 3.0
"""An arrow that runs so many times as far across as down has words above and below it."""
SAMPLES = 8
"""Points that are looked at on each curve of a route."""


def place_words(
    links: Sequence[Link], routes: dict[str, Route], boxes: Sequence[Box]
) -> dict[str, list[Word]]:
    """By link: its words, placed; how many links an arrow stands for is said at its beginning.

    >>> down = Route([(50.0, 0.0), (50.0, 20.0), (50.0, 40.0), (50.0, 60.0)], (50.0, 67.0))
    >>> place_words([Link("e0", "n0", "n1", 1, tail_word="p", head_word="0")], {"e0": down}, [])
    {'e0': [(56.0, 15.0, False, 'p'), (56.0, 60.0, False, '0')]}
    """
    taken = list(boxes)
    found: dict[str, list[Word]] = {}
    worded = [link for link in links if not link.back and _has_words(link)]
    lines = {link.id: _line(routes[link.id]) for link in worded}
    for link in sorted(
        worded, key=lambda link: _length(lines[link.id])
    ):  # long ones have more room
        line = lines[link.id]
        beginning = " ".join(filter(None, (link.tail_word, times_label(link))))
        for words, way in ((beginning, line), (link.head_word, line[::-1])):
            word = _free(words, way, taken) if words else None
            if word is not None:
                found.setdefault(link.id, []).append(word)
                taken.append(_box(word))
    return found


def _has_words(link: Link) -> bool:
    return bool(link.tail_word or link.head_word or link.times > 1)


def _length(line: list[Point]) -> float:
    return sum(hypot(bx - ax, by - ay) for (ax, ay), (bx, by) in pairwise(line))


def _line(route: Route) -> list[Point]:
    """Points along a route, from its beginning to its tip."""
    line = [route.points[0]]
    for i in range(0, len(route.points) - 1, 3):
        a, b, c, d = route.points[i : i + 4]
        for step in range(1, SAMPLES + 1):
            t = step / SAMPLES
            parts = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            line.append(
                (
                    sum(part * point[0] for part, point in zip(parts, (a, b, c, d), strict=True)),
                    sum(part * point[1] for part, point in zip(parts, (a, b, c, d), strict=True)),
                )
            )
    return line if route.tip is None else [*line, route.tip]


def _free(words: str, line: list[Point], taken: list[Box]) -> Word | None:
    """The first place beside a line at which words overlap nothing."""
    for distance in DISTANCES:
        for word in _beside(words, line, distance):
            if not any(_overlap(_box(word), other) for other in taken):
                return word
    return None


def _beside(words: str, line: list[Point], distance: float) -> Iterator[Word]:
    """Both places beside a line at a distance from its beginning, the one that is farther from the card first."""
    (x, y), (dx, dy) = _point_at(line, distance)
    if abs(dx) > LEVEL * abs(dy):
        start = x - len(words) * WORD_CHAR_WIDTH / 2
        yield start, y - GAP, False, words
        yield start, y + GAP + WORD_HEIGHT - 2, False, words
        return
    lean = max(-1.0, min(1.0, dx / dy))  # above 0 where it runs down to the right
    right = x + GAP, y + 4 - LIFT * lean, False, words
    left = x - GAP, y + 4 + LIFT * lean, True, words
    # the lower of both at the card above it, the upper at the card below it
    yield from (left, right) if (lean > 0) == (dy > 0) and lean else (right, left)


def _point_at(line: list[Point], distance: float) -> tuple[Point, Point]:
    """The point of a line at a distance from its beginning, and the direction there."""
    for (ax, ay), (bx, by) in pairwise(line):
        length = hypot(bx - ax, by - ay)
        if length >= distance and length:
            part = distance / length
            return (ax + part * (bx - ax), ay + part * (by - ay)), (bx - ax, by - ay)
        distance -= length
    (ax, ay), (bx, by) = line[-2:]
    return (bx, by), (bx - ax, by - ay)


def _box(word: Word) -> Box:
    """What a word covers."""
    x, y, is_end, words = word
    width = len(words) * WORD_CHAR_WIDTH
    return x - width * is_end, y - WORD_HEIGHT + 2, width, WORD_HEIGHT


def _overlap(one: Box, other: Box) -> bool:
    (ax, ay, aw, ah), (bx, by, bw, bh) = one, other
    return ax < bx + bw and bx < ax + aw and ay < by + bh and by < ay + ah
