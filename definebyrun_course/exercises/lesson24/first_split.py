"""Exercise `first_split`: the first place at which the ranks of a run are not in the same collective."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms, tried
from ..mistakes import then

__all__ = ["EXERCISE"]

Logs = list[list[str]]
NAMES = ("all_reduce", "broadcast", "barrier", "all_gather")
CASES: tuple[Logs, ...] = (
    [[]],
    [["barrier"]],
    [[], []],
    [["broadcast"], ["broadcast"]],
    [["broadcast"], ["barrier"]],
    [["barrier"], []],
    [[], ["barrier"]],
    [["all_reduce", "barrier"], ["all_reduce"]],
    [["all_reduce", "broadcast"], ["all_reduce", "barrier"], ["all_reduce", "broadcast"]],
    [["barrier", "broadcast", "all_reduce"], ["barrier", "all_reduce", "broadcast"]],
    [["all_reduce"] * 3, ["all_reduce"] * 2, ["all_reduce"] * 3, ["all_reduce"] * 2],
    [["all_reduce", "barrier"], ["all_reduce"], ["all_reduce", "broadcast"], ["all_reduce"]],
    [["all_reduce", "barrier", "all_reduce"], ["all_reduce", "all_reduce"], ["all_reduce"]],
)
"""From the smallest up; equal logs among them, and logs that only end earlier."""


def check_first_split(first_split: Callable[..., Any]) -> None:
    """`first_split(logs)` gives the place and who stands where, or None."""
    for logs in CASES:
        _ask(first_split, logs)
    draw = drawn()
    logs = [["all_reduce"] * draw.whole(3, 6) for _ in range(draw.whole(3, 5))]
    logs[draw.whole(0, 2)][draw.whole(0, 2)] = "broadcast"
    _ask(first_split, logs, f" ({draw})")


def _ask(first_split: Any, logs: Logs, seed: str = "") -> None:
    said = [f"rank {rank}: {', '.join(log) or 'nothing'}" for rank, log in enumerate(logs)]
    where = f"for {'; '.join(said)}{seed}"
    found, want = first_split([list(log) for log in logs]), _split(logs)
    if want is None:
        expect(
            found is None,
            f"All logs are equal, and yours is {forms.said(found)}, {where}.",
            "Equal to the end: nothing to report.",
        )
        return
    expect(
        found is not None,
        f"The ranks are not all in the same call, and yours is None, {where}.",
        "A rank without a call at a place where another has one is a difference, too.",
    )
    pair = forms.sequence(found, "The answer", 2)
    place = forms.whole(pair[0], "The place")
    expect(
        place == want[0],
        f"The place is {place}; the first difference is elsewhere, {where}.",
        "Counted from 0, and the first one.",
    )
    _groups_are_right(pair[1], want[1], where)


def _groups_are_right(groups: Any, want: dict[str | None, list[int]], where: str) -> None:
    expect(
        isinstance(groups, dict),
        f"Who stands where is a dictionary; yours is {forms.said(groups)}, {where}.",
        "From a name, or None, to ranks.",
    )
    expect(
        set(groups) == set(want),
        f"The names at that place are {forms.said(sorted(map(str, groups)))}, {where}.",
        "Every name that stands there, and None where a rank has made no call.",
    )
    for name, ranks in want.items():
        mine = [
            forms.whole(rank, "A rank") for rank in forms.sequence(groups[name], f"Under {name!r}")
        ]
        expect(
            mine == ranks,
            f"Under {name!r} stand the ranks {mine}, {where}.",
            "The ranks that made this call there, in rising order.",
        )


# ---- answers ----


def _split(logs: Logs, **switches: Any) -> Any:
    """The solution, with its usual mistakes as switches."""
    length = (min if switches.get("shortest") else max)(map(len, logs))
    places = reversed(range(length)) if switches.get("last") else range(length)
    for place in places:
        groups: dict[str | None, list[int]] = {}
        for rank, log in enumerate(logs):
            if place < len(log):
                groups.setdefault(log[place], []).append(rank)
            elif not switches.get("forgets"):
                groups.setdefault(None, []).append(rank)
        if len(groups) > 1 or (
            switches.get("forgets") and sum(map(len, groups.values())) < len(logs)
        ):
            if switches.get("counts"):
                return place, {name: len(ranks) for name, ranks in groups.items()}
            if switches.get("backwards"):
                groups = {name: ranks[::-1] for name, ranks in groups.items()}
            if switches.get("names"):
                return place, list(groups)
            return place + switches.get("more", 0), groups
    return {} if switches.get("empty") else None


def _by_columns(logs: Logs) -> Any:
    for place, column in enumerate(zip_longest(*logs)):
        if len(set(column)) > 1:
            groups = defaultdict(list)
            for rank, name in enumerate(column):
                groups[name].append(rank)
            return [place, dict(groups)]
    return None


def _from_the_first_log(logs: Logs) -> Any:
    """Compares every rank with rank 0."""

    def at(rank: int, place: int) -> str | None:
        return (logs[rank] + [None] * (place + 1))[place]  # type: ignore[list-item]

    ranks = range(len(logs))
    for place in range(sum(map(len, logs))):
        here = [at(rank, place) for rank in ranks]
        if any(name != here[0] for name in here):
            return place, {name: [r for r in ranks if here[r] == name] for name in here}
    return None


def _odd_one(logs: Logs) -> Any:
    found = _split(logs)
    if found is None:
        return None
    rare = min(found[1], key=lambda name: len(found[1][name]))
    return found[0], {rare: found[1][rare]}


WRONG = {
    "up to the shortest log": (
        {"shortest": True},
        "and yours is None, for rank 0: barrier; rank 1: nothing",
    ),
    "the last difference": (
        {"last": True},
        "the first difference is elsewhere, for rank 0: barrier, broadcast",
    ),
    "counted from 1": ({"more": 1}, "The place is 1; the first difference is elsewhere"),
    "no None": (
        {"forgets": True},
        "The names at that place are ['barrier'], for rank 0: barrier; rank 1: nothing",
    ),
    "how many": ({"counts": True}, "Under 'broadcast' is a sequence"),
    "falling": ({"backwards": True}, "stand the ranks [2, 0]"),
    "names alone": ({"names": True}, "Who stands where is a dictionary"),
    "an empty dictionary": ({"empty": True}, "All logs are equal, and yours is {}"),
}


def oracle(first_split: Callable[..., Any]) -> Any:
    """The pairs for many logs, and the logs afterwards."""

    def told(logs: Logs) -> Any:
        given = [list(log) for log in logs]
        found = first_split(given)
        if found is None:
            return [None, given == logs]
        place, groups = found
        plain = sorted((str(name), [int(rank) for rank in ranks]) for name, ranks in groups.items())
        return [int(place), plain, given == logs]

    draw, wide = Drawn(0), list(CASES)
    for _ in range(40):
        base = [NAMES[draw.whole(0, 3)] for _ in range(draw.whole(0, 6))]
        logs = [
            base[: draw.whole(max(0, len(base) - 1), len(base))] for _ in range(draw.whole(1, 6))
        ]
        if logs[0] and draw.whole(0, 1):
            logs[0] = [*logs[0]]
            logs[0][draw.whole(0, len(logs[0]) - 1)] = "barrier"
        wide.append(logs)
    return [tried(told, logs) for logs in wide]


EXERCISE = Exercise(
    "first_split",
    "Where the ranks part, and who called what.",
    check_first_split,
    (
        *(
            Wrong(name, lambda logs, s=switch: _split(logs, **s), says)
            for name, (switch, says) in WRONG.items()
        ),
        Wrong("the rarest alone", _odd_one, "The names at that place are ['broadcast'], for"),
        Wrong("logs emptied", then(_split, lambda logs: logs.clear()), "is not what it was"),
    ),
    right=(Right("by columns", _by_columns), Right("against rank 0", _from_the_first_log)),
    oracle=oracle,
)
