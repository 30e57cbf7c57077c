"""Exercise `shard`: who gets which rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import DistributedSampler

from ...grading import Exercise, Right, Wrong, counted, drawn, expect, forms, tried

__all__ = ["EXERCISE"]

SIZES = (
    (1, 1),
    (3, 1),
    (1, 2),
    (2, 2),
    (3, 2),
    (4, 2),
    (2, 3),
    (7, 1),
    (5, 4),
    (2, 5),
    (12, 3),
    (10, 4),
)
"""Rows and ranks; from the smallest up."""
DEALT = "Deal like cards, row 0 to rank 0 and row 1 to rank 1; what is padded begins at row 0."


def dealt(count: int, rank: int, world: int) -> list[int]:
    """What `DistributedSampler` gives a rank."""
    sampler = DistributedSampler(range(count), num_replicas=world, rank=rank, shuffle=False)  # type: ignore[arg-type]
    return list(sampler)


def check_shard(shard: Callable[..., Any]) -> None:
    """`shard(count, rank, world, pad)` lists a rank's rows; padded, as DistributedSampler deals them."""
    for count, world in SIZES:
        _ask(shard, count, world)
    draw = drawn()
    _ask(shard, draw.whole(1, 30), draw.whole(1, 8), f" ({draw})")


def _ask(shard: Any, count: int, world: int, seed: str = "") -> None:
    case = f"{counted(count, 'row')} for {counted(world, 'rank')}{seed}"
    _once_each(
        [_rows(shard, count, rank, world, False, case) for rank in range(world)], count, case
    )
    padded = [_rows(shard, count, rank, world, True, case) for rank in range(world)]
    lengths = {len(own) for own in padded}
    expect(
        len(lengths) == 1,
        f"With padding, {case}: the ranks get {' or '.join(map(str, sorted(lengths)))} rows, not all as many.",
        "Lengthen the list of rows before you deal it out; 2 rows may have to fill 5 places.",
    )
    each = -(-count // world)
    expect(
        lengths == {each},
        f"With padding, {case}: each rank gets {counted(min(lengths), 'row')}, which is another number.",
        "No row is left out, and nobody gets more than it takes for that.",
    )
    for rank, own in enumerate(padded):
        right = dealt(count, rank, world)
        expect(
            own == right,
            f"With padding, {case}: rank {rank} gets {own}, and DistributedSampler gives it {right}.",
            DEALT,
        )


def _rows(shard: Any, count: int, rank: int, world: int, pad: bool, case: str) -> list[int]:
    how = "With" if pad else "Without"
    rows = forms.wholes(shard(count, rank, world, pad), "The list of rows")
    outside = [row for row in rows if not 0 <= row < count]
    expect(
        not outside,
        f"{how} padding, {case}: rank {rank} gets the row {outside[0] if outside else 0}, which there is not.",
        f"Rows have the numbers 0 to {count - 1} here.",
    )
    return rows


def _once_each(shards: list[list[int]], count: int, case: str) -> None:
    times = Counter(row for own in shards for row in own)
    twice = [row for row in times if times[row] > 1]
    expect(
        not twice,
        f"Without padding, {case}: row {twice[0] if twice else 0} was dealt out more than once.",
        "Without padding nothing is lengthened; some ranks get a row less.",
    )
    missing = [row for row in range(count) if row not in times]
    expect(
        not missing,
        f"Without padding, {case}: row {missing[0] if missing else 0} was dealt out to nobody.",
        "Some ranks get a row more than others.",
    )


# ---- right answers, found in other ways ----


def by_remainder(count: int, rank: int, world: int, pad: bool) -> Any:
    """Places are counted, and each is a row."""
    places = world * math.ceil(count / world) if pad else count
    return (place % count for place in range(rank, places, world))


def in_blocks_where_free(count: int, rank: int, world: int, pad: bool) -> Any:
    """By the sampler itself; without padding, neighbours go to one rank."""
    if pad:
        return tuple(dealt(count, rank, world))
    return np.array_split(np.arange(count), world)[rank]


# ---- wrong answers ----


def _shard(count: int, rank: int, world: int, pad: bool, blocks: bool = False, short: str = "", filler: Any = None,
           always: bool = False, never: bool = False, first: int = 0) -> list[int]:  # fmt: skip
    rows, each = list(range(first, count + first)), -(-count // world)
    each = count // world + 1 if short == "one more" else each
    if short == "drop" or (short == "drop padded" and pad):
        rows = rows[: count // world * world]
    elif filler is not None and pad:
        rows += [filler(rows)] * (each * world - count)
    elif (pad or always) and not never:
        rows = ((rows + rows) if short == "once" else rows * world * 2)[: each * world]
    return rows[rank * each : (rank + 1) * each] if blocks else rows[rank::world]


def _own_row_again(count: int, rank: int, world: int, pad: bool) -> list[int]:
    """A rank that has a row less takes one of its own again."""
    rows = list(range(count))[rank::world]
    lacks = pad and len(rows) < -(-count // world)
    return rows + (rows[:1] or [0]) if lacks else rows


def _reversed_padding(count: int, rank: int, world: int, pad: bool) -> list[int]:
    rows = list(range(count))
    lacking = -count % world if pad else 0
    rows += [rows[-1 - n % count] for n in range(lacking)]
    return rows[rank::world]


WRONG = {
    "in blocks": (partial(_shard, blocks=True), "With padding, 3 rows for 2 ranks: rank 0 gets [0, 1]"),
    "never padded": (partial(_shard, never=True), "1 row for 2 ranks: the ranks get 0 or 1 rows"),
    "always padded": (partial(_shard, always=True), "row 0 was dealt out more than once"),
    "rest dropped": (partial(_shard, short="drop"), "row 0 was dealt out to nobody"),
    "rest dropped instead of padded": (partial(_shard, short="drop padded"), "each rank gets 0 rows"),
    "padded once": (partial(_shard, short="once"), "2 rows for 5 ranks: the ranks get 0 or 1 rows"),
    "padded with the last": (partial(_shard, filler=lambda rows: rows[-1]), "3 rows for 2 ranks: rank 1 gets [1, 2]"),
    "padded with the first": (partial(_shard, filler=lambda rows: rows[0]), "5 rows for 4 ranks: rank 2 gets [2, 0]"),
    "padded with its own": (_own_row_again, "3 rows for 2 ranks: rank 1 gets [1, 1]"),
    "padded from the end": (_reversed_padding, "3 rows for 2 ranks: rank 1 gets [1, 2]"),
    "padded with -1": (partial(_shard, filler=lambda rows: -1), "gets the row -1, which there is not"),
    "padded always by one": (partial(_shard, short="one more"), "1 row for 1 rank: each rank gets 2 rows"),
    "counts from 1": (partial(_shard, first=1), "gets the row 1, which there is not"),
    "all for everybody": (lambda count, rank, world, pad: list(range(count)), "row 0 was dealt out more than once"),
    "how many": (lambda *given: len(_shard(*given)), "The list of rows is a sequence"),
}  # fmt: skip


def oracle(shard: Callable[..., Any]) -> Any:
    """Padded rows of each rank; of the others only that each is there once, since who gets which is free."""

    def told(count: int, world: int) -> Any:
        padded = [[int(row) for row in shard(count, rank, world, True)] for rank in range(world)]
        plain = [int(row) for rank in range(world) for row in shard(count, rank, world, False)]
        return [padded, sorted(plain)]

    wide = [*SIZES, *((count, world) for count in (1, 2, 3, 7, 20) for world in (1, 2, 3, 7, 16))]
    return [tried(told, *case) for case in wide]


EXERCISE = Exercise(
    "shard",
    "Each row once, or as many for everybody: you cannot have both.",
    check_shard,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(
        Right("by remainders", by_remainder),
        Right("in blocks where that is free", in_blocks_where_free),
    ),
    oracle=oracle,
)
