"""Exercise `buckets`: what goes into which bucket."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, tried
from ..mistakes import then

__all__ = ["EXERCISE", "right_buckets"]

CASES = (
    ([7], 10), ([7], 7), ([7], 1), ([2, 3, 5], 5), ([5, 3], 8), ([3, 5], 100), ([10, 10, 10], 10), ([1, 2, 4], 3),
    ([3, 3, 3], 100), ([30, 10, 5, 20], 25), ([1, 1, 1, 1, 1], 2), ([64, 1024, 16, 128], 524),
)  # fmt: skip
"""Bytes of each parameter, and the cap; from the smallest up."""


def right_buckets(sizes: list[int], cap: int) -> list[list[int]]:
    """Positions bucket by bucket: from the last parameter on, closed when the cap is reached.

    >>> right_buckets([30, 10, 5, 20], 25)
    [[3, 2], [1, 0]]
    """
    out: list[list[int]] = [[]]
    for place in reversed(range(len(sizes))):
        if sum(sizes[i] for i in out[-1]) >= cap:
            out.append([])
        out[-1].append(place)
    return out


def check_buckets(buckets: Callable[..., Any]) -> None:
    """`buckets(sizes, cap)` lists positions bucket by bucket, last parameter first."""
    for sizes, cap in CASES:
        _ask(buckets, sizes, cap)
    draw = drawn()
    for _ in range(3):
        sizes = [draw.whole(1, 20) for _ in range(draw.whole(2, 7))]
        _ask(buckets, sizes, draw.whole(1, 40), f" ({draw})")


def _ask(buckets: Any, sizes: list[int], cap: int, seed: str = "") -> None:
    case = f"for sizes {sizes} and a cap of {cap}{seed}"
    given = forms.sequence(buckets(list(sizes), cap), "The list of buckets")
    out = [forms.wholes(bucket, f"Bucket {nth}") for nth, bucket in enumerate(given, start=1)]
    expect(
        [] not in out,
        f"Bucket {out.index([]) + 1 if [] in out else 0} is empty, {case}.",
        "Do not open a bucket before there is something for it.",
    )
    _all_once([place for bucket in out for place in bucket], sizes, case)
    _in_order(out, case)
    right = right_buckets(sizes, cap)
    for nth, (got, want) in enumerate(zip(out, right, strict=False), start=1):
        filled = sum(sizes[place] for place in got)
        before = filled - sizes[got[-1]]
        expect(
            len(got) <= len(want),
            f"Bucket {nth}, {got}, had {before} bytes before its last entry and was not closed, {case}.",
            "A bucket leaves as soon as it has reached the cap.",
        )
        expect(
            len(got) == len(want),
            f"Bucket {nth}, {got}, closes with {filled} bytes, {case}: it has not reached the cap.",
            "A bucket may go above the cap; it closes after the entry that reached it.",
        )


def _all_once(places: list[int], sizes: list[int], case: str) -> None:
    every = set(range(len(sizes)))
    expect(
        set(places) <= every,
        f"{next((p for p in places if p not in every), 0)} is no position of a parameter, {case}.",
        "A bucket lists positions in sizes, counted from 0, not sizes.",
    )
    twice = [place for place in places if places.count(place) > 1]
    expect(
        not twice,
        f"Parameter {twice[0] if twice else 0} is in the buckets more than once, {case}.",
        "A gradient is sent once. What is done with a bucket when it has left?",
    )
    lost = sorted(every - set(places))
    expect(
        not lost,
        f"Parameter {lost[0] if lost else 0} is in no bucket, {case}.",
        "What is left at the end is a bucket too, full or not.",
    )


def _in_order(out: list[list[int]], case: str) -> None:
    flat = [place for bucket in out for place in bucket]
    if flat == sorted(flat, reverse=True):
        return
    expect(
        flat != sorted(flat),
        f"The parameter that is used first comes first, {case}.",
        "Gradients are ready from the last layer to the first.",
    )
    turned = [place for bucket in out[::-1] for place in bucket]
    expect(
        turned != sorted(flat, reverse=True),
        f"The bucket that leaves last is listed first, {case}.",
        "In the order in which they leave.",
    )
    expect(
        [sorted(bucket, reverse=True) for bucket in out] == out,
        f"Inside a bucket of {out} the parameter that is used first comes first, {case}.",
        "In the order in which the gradients come, inside a bucket too.",
    )
    expect(False, f"The positions are not in the order of the gradients, {out}, {case}.",
           "From the last parameter to the first, with no gap and no jump.")  # fmt: skip


# ---- right answers, found in other ways ----


def by_counting_down(sizes: list[int], cap: int) -> Any:
    """What is left of the cap goes down; positions are taken from the end."""
    out, left = [], 0
    for place in range(len(sizes) - 1, -1, -1):
        if left <= 0:
            out.append([place])
            left = cap
        else:
            out[-1].append(place)
        left -= sizes[place]
    return out


def by_slices(sizes: list[int], cap: int) -> Any:
    """The border of each bucket is looked for; buckets come as tuples, one by one."""
    end = len(sizes)
    while end > 0:
        start = end - 1
        while start > 0 and sum(sizes[start:end]) < cap:
            start -= 1
        yield tuple(range(end - 1, start - 1, -1))
        end = start


# ---- wrong answers ----


def _buckets(sizes: list[int], cap: int, forward: bool = False, fits: bool = False, over: bool = False,
             count: bool = False, total: bool = False) -> list[list[int]]:  # fmt: skip
    out: list[list[int]] = [[]]
    for place in range(len(sizes)) if forward else reversed(range(len(sizes))):
        full = len(out[-1]) if count else sum(sizes[i] for i in out[-1])
        full = sum(sizes[place + 1 :]) if total else full
        if out[-1] and (full + sizes[place] > cap if fits else full > cap if over else full >= cap):
            out.append([])
        out[-1].append(place)
    return out


def _opened_early(sizes: list[int], cap: int) -> list[list[int]]:
    """A new bucket as soon as the last is full, whether or not something comes."""
    out: list[list[int]] = [[]]
    for place in reversed(range(len(sizes))):
        out[-1].append(place)
        if sum(sizes[i] for i in out[-1]) >= cap:
            out.append([])
    return out


def _never_emptied(sizes: list[int], cap: int) -> list[list[int]]:
    """One list for all buckets, which goes on growing."""
    out, bucket = [], []
    for place in reversed(range(len(sizes))):
        bucket.append(place)
        if sum(sizes[i] for i in bucket) >= cap:
            out.append(list(bucket))
    return out if out and len(out[-1]) == len(sizes) else [*out, bucket]


def _rest_lost(sizes: list[int], cap: int) -> list[list[int]]:
    return [b for b in right_buckets(sizes, cap) if sum(sizes[i] for i in b) >= cap]


def _mapped(change: Callable[[list[list[int]], list[int]], Any]) -> Callable[..., Any]:
    return lambda sizes, cap: change(right_buckets(sizes, cap), sizes)


WRONG = {
    "registration order": (partial(_buckets, forward=True), "The parameter that is used first"),
    "never above the cap": (partial(_buckets, fits=True), "closes with 10 bytes"),
    "one byte late": (partial(_buckets, over=True), "had 5 bytes before its last entry"),
    "opened early": (_opened_early, "Bucket 2 is empty, for sizes [7]"),
    "rest lost": (_rest_lost, "Parameter 0 is in no bucket, for sizes [7]"),
    "never emptied": (_never_emptied, "is in the buckets more than once"),
    "entries counted": (partial(_buckets, count=True), "had 8 bytes before its last entry"),
    "bytes never set back": (partial(_buckets, total=True), "closes with 3 bytes"),
    "the last bucket first": (_mapped(lambda out, sizes: out[::-1]), "leaves last is listed first"),
    "turned round inside": (_mapped(lambda out, sizes: [b[::-1] for b in out]), "Inside a bucket of [[2], [0, 1]]"),
    "sizes": (_mapped(lambda out, sizes: [[sizes[i] for i in b] for b in out]), "7 is no position"),
    "positions from the end": (
        _mapped(lambda out, sizes: [[len(sizes) - 1 - i for i in b] for b in out]), "The parameter that is used first"),
    "positions from 1": (_mapped(lambda out, sizes: [[i + 1 for i in b] for b in out]), "1 is no position"),
    "one for each": (_mapped(lambda out, sizes: [[i] for b in out for i in b]), "closes with 3 bytes"),
    "one list": (_mapped(lambda out, sizes: [i for b in out for i in b]), "Bucket 1 is a sequence"),
    "sizes emptied": (then(right_buckets, lambda sizes, cap: sizes.clear()), "sizes is not what it was"),
}  # fmt: skip


def oracle(buckets: Callable[..., Any]) -> Any:
    """The buckets for many sizes and caps, and the sizes afterwards."""

    def told(sizes: list[int], cap: int) -> Any:
        return [[int(place) for place in bucket] for bucket in buckets(sizes, cap)]

    draw = Drawn(0)
    wide = [(list(sizes), cap) for sizes, cap in CASES]
    wide += [
        ([draw.whole(1, 9) for _ in range(draw.whole(1, 9))], draw.whole(1, 30)) for _ in range(60)
    ]
    return [tried(told, *case) for case in wide]


EXERCISE = Exercise(
    "buckets",
    "From the last parameter on, and a bucket closes when it has reached its cap.",
    check_buckets,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("counting down", by_counting_down), Right("slice by slice", by_slices)),
    oracle=oracle,
)
