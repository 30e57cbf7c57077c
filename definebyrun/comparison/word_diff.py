"""Two texts go in that say the same of two runs, one comes out: what is equal once, what differs as `A 3 · B 5`."""

from __future__ import annotations

import re
from itertools import groupby

__all__ = ["NOTHING", "SIDES", "Names", "of_run", "short_names", "split_words", "word_diff"]

Names = tuple[str, ...]
"""What two runs are called: two words."""
SIDES = ("A", "B")
"""What they are called where nobody has named them."""
MAX_NAME_CHARS = 14
"""A longer name is cut where there is little room."""
NOTHING = "–"
"""What stands for a run that says nothing here."""
UNIT = re.compile(r" (?:B|[KMG]iB)\b")
"""A number of bytes and its unit stay one word."""
CALL = re.compile(r"([\w.]+)\(([^()]+)\)")
"""The name of a function and its arguments."""


def word_diff(a: str, b: str, names: Names = SIDES) -> str:
    """Two texts as one: words outside brackets that differ are shown for both runs, which have these names.

    >>> word_diff("y = mul(x, w) → [1, 2]", "y = mul(x, w) → [3, 4]")
    'y = mul(x, w) → A [1, 2] · B [3, 4]'
    >>> word_diff("grad not yet", "grad 1")
    'grad A not yet · B 1'
    >>> word_diff("h = mul(x, 2)", "h = mul(x, 3)")
    'h = mul(x, A 2 · B 3)'
    >>> word_diff("grad 1", "grad 2", ("train", "eval"))
    'grad train 1 · eval 2'
    """
    if a == b:
        return a
    one, other = split_words(a), split_words(b)
    if len(one) != len(other):
        start = _equal(one, other)
        end = _equal(one[start:][::-1], other[start:][::-1])
        middle = [part[start : len(part) - end] for part in (one, other)]
        return " ".join([*one[:start], _pair(middle[0], middle[1], names), *one[len(one) - end :]])
    found: list[str] = []
    for same, pairs in groupby(zip(one, other, strict=True), key=lambda pair: pair[0] == pair[1]):
        left, right = zip(*pairs, strict=True)
        found += left if same else [_pair(list(left), list(right), names)]
    return " ".join(found)


def _pair(a: list[str], b: list[str], names: Names) -> str:
    """Words of both runs: `A 3 · B 5`, or inside the brackets of a call that both make; punctuation stays outside."""
    left, right = " ".join(a), " ".join(b)
    mark = left[-1:] if left[-1:] == right[-1:] and left[-1:] in (",", ".", ";", ":") else ""
    left, right = (part.removesuffix(mark) or NOTHING for part in (left, right))
    calls = CALL.fullmatch(left), CALL.fullmatch(right)
    if calls[0] and calls[1] and calls[0][1] == calls[1][1]:
        given = [split_words(call[2], ",") for call in calls if call]
        if len(given[0]) == len(given[1]):
            inside = (word_diff(one, other, names) for one, other in zip(*given, strict=True))
            return f"{calls[0][1]}({', '.join(inside)}){mark}"
    return f"{of_run(names[0], left)} · {of_run(names[1], right)}{mark}"


def of_run(name: str, words: str) -> str:
    """Words with the name of their run before them.

    >>> of_run("A", "3"), of_run("rank 0", "3")
    ('A 3', 'rank 0: 3')
    """
    return f"{name} {words}" if name.isalpha() else f"{name}: {words}"


def short_names(names: Names) -> Names:
    """The same names with no more characters than cards have room for; as they are, where they would be one then.

    >>> short_names(("train", "torch.compile, dynamic"))
    ('train', 'torch.compile…')
    """
    short = tuple([n if len(n) <= MAX_NAME_CHARS else f"{n[: MAX_NAME_CHARS - 1]}…" for n in names])
    return short if len(set(short)) == len(short) else names


def _equal(a: list[str], b: list[str]) -> int:
    """How many words are equal from the start on."""
    return next(
        (i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]),
        min(len(a), len(b)),
    )


def split_words(line: str, cut: str = " ") -> list[str]:
    """A text cut at the blanks, or commas, that lie in no bracket and before no unit."""
    found, depth, start = [], 0, 0
    for position, sign in enumerate(line):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == cut and depth <= 0 and not UNIT.match(line, position):
            found.append(line[start:position].lstrip())
            start = position + 1
    return [*found, line[start:].lstrip()]
