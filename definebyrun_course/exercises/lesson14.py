"""Exercises of lesson 14, More than one process: all of them checked in one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DistributedSampler

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]


# ---- 14.1: the all-reduce, simulated ----


def check_all_reduce(mean_of_ranks: Callable[[list], Any]) -> None:
    """`mean_of_ranks(gradients)` gives each rank the means; a missing gradient counts as zeros."""
    for world, shape in ((2, (3,)), (3, (2, 4)), (1, ())):
        given = [[torch.full(shape, r + 1.0), torch.arange(5.0) * r] for r in range(world)]
        kept = [[g.clone() for g in own] for own in given]
        out = mean_of_ranks(given)
        expect(len(out) == world, f"For {world} ranks the answer is {world} lists of tensors.")
        for i in range(2):
            total = sum(own[i] for own in kept)
            expect(
                world == 1 or not torch.allclose(out[-1][i], total),
                "These are the sums of the gradients.",
                "The joined batch has the mean of the means.",
            )
            expect(
                all(torch.allclose(own[i], total / world) for own in out),
                f"With {world} ranks, not every rank holds the means.",
            )
            expect(
                all(torch.equal(own[i], was[i]) for own, was in zip(given, kept, strict=True)),
                "Your function changed the gradients that it was given.",
                "Return new tensors.",
            )
        expect(
            world == 1 or out[0][0].data_ptr() != out[1][0].data_ptr(),
            "Two ranks share one tensor.",
        )
    one, six = torch.tensor([1.0]), torch.tensor([6.0])
    here, there = mean_of_ranks([[one, None, None], [one, six, None]])
    expect(
        here[1] is not None and there[1] is not None,
        "Rank 1 had a gradient where rank 0 had None; afterwards both have one.",
    )
    expect(
        here[1].item() != 6.0,
        "None and 6 gave 6: you divided by those who had a gradient.",
        "With find_unused_parameters=True a missing gradient takes part as zeros.",
    )
    expect(here[2] is None and there[2] is None, "A gradient that no rank has stays None.")


def _means(
    gradients: list, total: bool = False, missing: str = "zeros", share: bool = False
) -> list:
    means: list[Any] = []
    for column in zip(*gradients, strict=True):
        there = [g for g in column if g is not None]
        count = len(there) if missing == "skipped" else len(column)
        none = not there or (missing == "none" and len(there) < len(column))
        means.append(None if none else sum(there) / (1 if total else count))
    return [[g if share or g is None else g.clone() for g in means] for _ in gradients]


def _in_place(gradients: list) -> list:
    for rank in gradients[1:]:
        for total, g in zip(gradients[0], rank, strict=True):
            total += g
    return [[g / len(gradients) for g in gradients[0]] for _ in gradients]


# ---- 14.2: factors for batches of unequal size ----


def check_factors(factors: Callable[[list[int]], Any]) -> None:
    """`factors(sizes)` gives each rank the number by which it multiplies its mean loss."""
    for sizes in ([6, 6], [9, 3], [1, 2, 5], [4], [7, 0, 3]):
        out, world = factors(list(sizes)), len(sizes)
        means = [(i + 2.0) ** 2 for i in range(world)]
        got = sum(f * mean for f, mean in zip(out, means, strict=True)) / world
        want = sum(n * mean for n, mean in zip(sizes, means, strict=True)) / sum(sizes)
        expect(
            world == 1 or abs(got * world - want) > 1e-9,
            f"For {sizes} the averaged gradient is {world} times too small.",
            "DDP divides by the number of processes after you have weighted.",
        )
        expect(
            len(set(sizes)) == 1 or any(f != out[0] for f in out),
            f"For {sizes} all factors are alike: a row of a small batch counts more than others.",
        )
        expect(
            abs(got - want) < 1e-9,
            f"For {sizes} the averaged gradient is not that of the joined batch.",
            "How much should one row count in the end, and how much does it count now?",
        )


# ---- 14.3: who gets which rows ----


def check_shard(shard: Callable[[int, int, int, bool], Any]) -> None:
    """`shard(count, rank, world, pad)` lists a rank's rows; padded, as DistributedSampler deals them."""
    for count, world in ((10, 4), (12, 3), (7, 1), (5, 4), (2, 5)):
        case = f"{count} rows for {world} ranks"
        plain = [[*shard(count, rank, world, False)] for rank in range(world)]
        dealt = sorted(row for own in plain for row in own)
        expect(
            len(dealt) == len(set(dealt)), f"Without padding, {case}: a row was dealt out twice."
        )
        expect(dealt == [*range(count)], f"Without padding, {case}: rows are missing.")
        padded = [[*shard(count, rank, world, True)] for rank in range(world)]
        expect(
            len({len(own) for own in padded}) == 1,
            f"With padding, {case}: the ranks get different numbers of rows.",
            "Lengthen the list of rows before you deal it out; 2 rows may have to fill 5 places.",
        )
        right = [[*DistributedSampler(range(count), world, r, shuffle=False)] for r in range(world)]
        expect(
            padded == right,
            f"With padding, {case}: rank 0 gets {padded[0]}, right is {right[0]}.",
            "Deal like cards, row 0 to rank 0 and row 1 to rank 1; what is padded begins at row 0.",
        )


def _shard(
    count: int, rank: int, world: int, pad: bool, blocks: bool = False, short: str = ""
) -> list[int]:
    rows, each = list(range(count)), -(-count // world)
    if short == "drop":
        rows = rows[: count // world * world]
    elif pad and short != "never":
        rows = ((rows + rows) if short == "once" else rows * world * 2)[: each * world]
    return rows[rank * each : (rank + 1) * each] if blocks else rows[rank::world]


# ---- 14.4: what goes into which bucket ----


def check_buckets(buckets: Callable[[list[int], int], Any]) -> None:
    """`buckets(sizes, cap)` lists positions bucket by bucket, last parameter first."""
    for sizes, cap in (
        ([30, 10, 5, 20], 25),
        ([64, 1024, 16, 128], 524),
        ([10, 10, 10], 10),
        ([3, 3, 3], 100),
        ([7], 1),
    ):
        out, right = [[*bucket] for bucket in buckets(list(sizes), cap)], _buckets(sizes, cap)
        case, flat = f"For sizes {sizes} and a cap of {cap}", [i for own in out for i in own]
        expect(
            all(out),
            f"{case} bucket {out.index([])} is empty." if [] in out else "",
            "Do not open a bucket before there is something for it.",
        )
        expect(
            sorted(flat) == [*range(len(sizes))],
            f"{case} parameters are missing or twice there.",
            "What is left at the end is a bucket too, full or not.",
        )
        expect(
            flat != sorted(flat) or len(flat) == 1,
            f"{case} the first parameter comes first.",
            "Gradients are ready from the last layer to the first.",
        )
        for got, want in zip(out, right, strict=False):
            expect(
                len(got) <= len(want), f"{case} the bucket {got} was full before its last entry."
            )
            expect(
                len(got) == len(want),
                f"{case} the bucket {got} closes too early: it has not reached the cap.",
            )
        expect(out == right, f"{case} the order inside a bucket, {out}, is not right.")


def _buckets(
    sizes: list[int], cap: int, forward: bool = False, fits: bool = False, over: bool = False
) -> list[list[int]]:
    out: list[list[int]] = [[]]
    for place in range(len(sizes)) if forward else reversed(range(len(sizes))):
        full = sum(sizes[i] for i in out[-1])
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


# ---- 14.5: a file that is whole or not there ----


class _Spy:
    """Looks at the file while it is being pickled; may fail there."""

    def __init__(self, path: Path, fail: bool = False) -> None:
        self.path, self.fail, self.saw = path, fail, False

    def __reduce__(self) -> Any:
        self.saw = _content(self.path) == "old"
        if self.fail:
            raise InterruptedError("killed while writing")
        return (int, (1,))


def _content(path: Path) -> Any:
    """What the file holds, None if it cannot be loaded."""
    try:
        return torch.load(path)["what"]
    except Exception:
        return None


def check_save(save_whole: Callable[[str, dict], Any]) -> None:
    """`save_whole(path, state)` writes a file in which a reader finds the old or the new state, whole."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "checkpoint.pt")
        save_whole(str(path), {"what": "old"})
        spy = _Spy(path)
        save_whole(str(path), {"what": "new", "spy": spy})
        expect(
            spy.saw,
            "While the new state was being written, the old file was already gone.",
            "Write beside it, and touch the old one only when the new one is whole.",
        )
        expect(
            [*Path(name).iterdir()] == [path],
            "After a save, another file is left in the folder.",
            "Move the new file into the place of the old one; do not copy it.",
        )
        save_whole(str(path), {"what": "new"})
        expect(_content(path) == "new", "After a later save, the file does not hold the new state.")
        try:
            save_whole(str(path), {"what": "last", "spy": _Spy(path, fail=True)})
        except InterruptedError:
            return
        expect(False, "Writing failed, and your function said nothing.", "Let the error pass.")


def _save(path: str, state: dict, way: str = "replace") -> None:
    part = f"{path}.part"
    try:
        torch.save(state, path if way == "in place" else part)
        if way == "copied":
            Path(path).write_bytes(Path(part).read_bytes())
        elif way != "in place":
            os.replace(part, path)
    except InterruptedError:
        if way != "swallowed":
            raise


EXERCISES = (
    Exercise(
        "14.1",
        "Every rank holds the means; who has no gradient takes part with zeros.",
        check_all_reduce,
        (
            Wrong("sum", partial(_means, total=True), "These are the sums"),
            Wrong("changes its input", _in_place, "changed the gradients"),
            Wrong("one tensor for all", partial(_means, share=True), "share one tensor"),
            Wrong("None skipped", partial(_means, missing="skipped"), "None and 6 gave 6"),
            Wrong("None wins", partial(_means, missing="none"), "afterwards both have one"),
        ),
    ),
    Exercise(
        "14.2",
        "Every row counts the same, whatever process it is on.",
        check_factors,
        (
            Wrong("plain mean", lambda sizes: [1.0] * len(sizes), "all factors are alike"),
            Wrong("no world", lambda s: [n / sum(s) for n in s], "2 times too small"),
            Wrong("rows", lambda sizes: sizes, "not that of the joined batch"),
        ),
    ),
    Exercise(
        "14.3",
        "Each row once, or as many for everybody: you cannot have both.",
        check_shard,
        (
            Wrong("in blocks", partial(_shard, blocks=True), "right is [0, 4, 8]"),
            Wrong("never padded", partial(_shard, short="never"), "different numbers"),
            Wrong("rest dropped", partial(_shard, short="drop"), "rows are missing"),
            Wrong("padded once", partial(_shard, short="once"), "2 rows for 5 ranks"),
            Wrong("always padded", lambda c, r, w, p: _shard(c, r, w, True), "dealt out twice"),
        ),
    ),
    Exercise(
        "14.4",
        "From the last parameter on, and a bucket closes when it has reached its cap.",
        check_buckets,
        (
            Wrong("registration order", partial(_buckets, forward=True), "comes first"),
            Wrong("never above the cap", partial(_buckets, fits=True), "closes too early"),
            Wrong("one byte late", partial(_buckets, over=True), "was full before"),
            Wrong("opened early", _opened_early, "bucket 2 is empty"),
            Wrong("rest lost", lambda s, c: _buckets(s, c)[:-1], "missing or twice"),
        ),
    ),
    Exercise(
        "14.5",
        "Whenever the process dies, a whole file is there.",
        check_save,
        (
            Wrong("in place", partial(_save, way="in place"), "already gone"),
            Wrong("copied over", partial(_save, way="copied"), "another file is left"),
            Wrong("error swallowed", partial(_save, way="swallowed"), "said nothing"),
        ),
    ),
)
