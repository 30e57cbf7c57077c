"""Lesson 24 holds in real processes: equal gradients, buckets, `no_sync`, and a worker that is killed from outside.

The scripts are made of the lesson's own cells. A start of `torchrun` takes seconds, so many cases share one.
"""

# ruff: noqa: F821  (what runs in the workers uses names that the lesson defines)

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from definebyrun_course.exercises.lesson24.buckets import right_buckets
from tests.course.lesson_code import cells

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="torchrun needs libuv there, and Windows knows no SIGKILL"
)

LAUNCH = ("imports", "head", "write", "launcher", "torchrun", "frame")
HANDS = ("averaged", "data", "watch", "shuffled", "events", "quiet", "cases", "unsynced")
LATER = ("route", "four-buckets", "evaluate-alone", "evaluate-ways", "accumulated", "reentrant")
TRAIN = ("batch", "checkpoint", "resume", "train", "learn", "note")
LIMIT = 500
"""Seconds before a start is given up: far more than it needs, on any machine."""


def lesson(folder: Path, *names: str) -> dict[str, Any]:
    """What these cells define, with a folder of the test's own; the files of earlier runs are gone with it."""
    defined = cells("24", *LAUNCH, *names)
    defined["temporary"].cleanup()
    defined["folder"] = folder
    return defined


# These run in the workers: their source goes into a script, beside the lesson's own functions.


def many(rank: int, world: int) -> list:
    """Random networks and batches: how far by hand, DDP and both weightings are from one process."""
    import random

    found, chance = [], random.Random(14)
    for _ in range(25):
        seed, width, depth = (
            chance.randrange(1000),
            chance.choice([1, 3, 16]),
            chance.choice([0, 2]),
        )
        sizes = [chance.randint(1, 9) for _ in range(world)]
        equal = [max(sizes)] * world
        loss = chance.choice(["mean", "smooth"])
        gaps = []
        for cut, factor in [
            (equal, 1.0),
            (sizes, sizes[rank] * world / sum(sizes)),
            (sizes, 1.0),
        ]:
            first = sum(cut[:rank])
            x, y = rows(sum(cut))
            mine = slice(first, first + cut[rank])
            joined = graph(seed, width, depth)
            cost(joined, x, y, loss).backward()
            by_hand = graph(seed, width, depth)
            averaged(by_hand, factor * cost(by_hand, x[mine], y[mine], loss))
            by_ddp = graph(seed + rank, width, depth)  # DDP sends rank 0's weights
            model = DDP(by_ddp)  # kept: without it the hooks are gone before backward
            (factor * cost(model, x[mine], y[mine], loss)).backward()
            gaps.append([apart(joined, by_hand), apart(joined, by_ddp)])
        found.append([sizes, gaps])
    return found


def graph(seed: int, width: int, depth: int) -> object:
    torch.manual_seed(seed)
    middle = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Tanh())]
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), *middle, nn.Linear(width, 1))


def cost(model, x, y, loss):
    square = (model(x) - y).square()
    return square.mean() if loss == "mean" else (square + 1).sqrt().mean()


def apart(one, other) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a.grad - b.grad).abs().max().item() for a, b in pairs)


def together() -> None:
    rank, world = start()
    found = {"many": many(rank, world), "traced": traced(rank, world)}
    found |= {"buckets": four_buckets(rank, world), "ways": evaluate_ways(rank, world)}
    found |= {"accumulated": accumulated(rank, world), "twice": reentrant(rank, world)}
    found["alone"] = evaluate_alone(rank, world)
    finish(rank, **found, unsynced=unsynced(rank, world), drifted=drifted(rank, world))


def with_pid() -> None:
    """The lesson's training, in a process that says who it is."""
    note(f"{sys.argv[1]}-{os.environ['RANK']}.pid", os.getpid())
    main()


def fails() -> None:
    raise ValueError(f"no rank {os.environ['RANK']} today")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, list[dict]]:
    """The lesson's names, and what two processes found."""
    defined = lesson(tmp_path_factory.mktemp("together"), *HANDS, *LATER, "step", "drifted")
    names = "start finish averaged rows network error watch shuffled traced quiet cases unsynced"
    names += " step distance drifted route four_buckets accumulated reentrant"
    parts = [defined[name] for name in f"{names} evaluate_alone evaluate_ways".split()]
    defined["write"]("together.py", *parts, graph, cost, apart, many, together)
    defined["torchrun"]("together.py", limit=LIMIT)
    return defined, defined["results"]()


def test_gradients_equal_those_of_one_process_on_the_joined_batch(found: tuple) -> None:
    for kept in found[1]:
        for sizes, (equal, weighted, _) in kept["many"]:
            assert max(*equal, *weighted) < 1e-12, sizes


def test_a_mean_of_means_is_not_the_mean_when_batches_differ_in_size(found: tuple) -> None:
    for kept in found[1]:
        uneven = [plain for sizes, (_, _, plain) in kept["many"] if len({*sizes}) > 1]
        assert len(uneven) > 10
        assert all(min(gaps) > 1e-9 for gaps in uneven)


def test_the_first_step_has_one_bucket_and_later_ones_follow_the_gradients(found: tuple) -> None:
    defined, (kept, other) = found
    net = defined["shuffled"]()
    used = [*net.first.parameters(), *net.middle.parameters(), *net.last.parameters()]
    names = {id(p): name for name, p in net.named_parameters()}
    # Backward the bias of a layer is ready before its weight, so going forward the weight comes first, as here.
    filled = right_buckets([p.numel() * 8 for p in used], 524)
    for log in (kept["traced"], other["traced"]):
        first, *later = [[event for event in step if not isinstance(event, str)] for step in log]
        assert [sorted(bucket[1]) for bucket in first] == [sorted(names.values())]
        for buckets in later:
            assert [b[1] for b in buckets] == [[names[id(used[i])] for i in b] for b in filled]
    events = kept["traced"][1]
    leaves = next(place for place, event in enumerate(events) if not isinstance(event, str))
    assert leaves < events.index("first.weight"), "sent while the backward pass goes on"


def test_the_forward_pass_decides_whether_no_sync_holds(found: tuple) -> None:
    sent = {what: list(counts) for what, (counts, _) in found[1][0]["unsynced"].items()}
    assert sent == {
        "nothing": [1, 2],
        "all of the first half": [0, 1],
        "the first forward": [0, 1],
        "the first backward": [1, 2],
        "both forwards": [0, 0],
    }


def test_buckets_leave_in_one_order_although_the_graphs_have_two(found: tuple) -> None:
    for kept in found[1]:
        assert kept["buckets"] == {
            False: [["abcd"], ["d", "c", "b", "a"], ["d", "c", "b", "a"]],
            True: [["d", "c", "b", "a"]] * 3,
        }


def test_accumulation_without_sending_gives_the_same_gradient_for_a_quarter_of_the_messages(
    found: tuple,
) -> None:
    loud, quiet = found[1][0]["accumulated"].values()
    assert (loud[0], loud[1]) == (4 * quiet[0], 4 * quiet[1])
    assert all(torch.allclose(a, b) for a, b in zip(loud[2], quiet[2], strict=True))


def test_an_evaluation_on_one_rank_waits_and_the_module_itself_does_not(found: tuple) -> None:
    kept, other = found[1]
    assert kept["alone"] == "gave up waiting for rank 1"
    assert other["alone"] == "nothing to evaluate"
    assert set(kept["ways"].values()) == {"passed"}


def test_a_layer_in_two_reentrant_checkpoints_is_ready_twice(found: tuple) -> None:
    plain, static, other = found[1][0]["twice"].values()
    assert "mark a variable ready only once" in plain
    assert static == other


def test_weights_are_compared_once_and_never_again(found: tuple) -> None:
    nothing, moved, half = found[1][1]["drifted"].values()
    assert nothing == [0, 0, 0, 0]
    for distances in (moved, half):
        assert distances[0] == 0
        assert all(distance > 1e-3 for distance in distances[1:])


def in_the_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Exception]]:
    failures: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failures


def test_a_run_whose_worker_is_killed_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    defined = lesson(tmp_path, *TRAIN)
    numbers = torch.Generator().manual_seed(0)
    x = torch.randn(320, 64, generator=numbers, dtype=torch.float64)
    torch.save((x, torch.randint(10, (320,), generator=numbers)), tmp_path / "digits.pt")
    names = "start batch save checkpoint resume classifier learn note train main"
    defined["write"]("train.py", *(defined[name] for name in names.split()), with_pid)

    def run(name: str) -> None:
        options = ["--max-restarts=1"] if name == "killed" else []
        defined["torchrun"]("train.py", name, "150", "-1", options=options, limit=LIMIT)

    run("whole")
    thread, failures = in_the_background(lambda: run("killed"))
    notes = tmp_path / "killed-1.txt"
    while thread.is_alive() and (not notes.exists() or len(notes.read_text().splitlines()) < 20):
        time.sleep(0.01)
    os.kill(int((tmp_path / "killed-1.pid").read_text().split()[0]), signal.SIGKILL)
    thread.join()

    assert not failures, failures
    lines = [line.split() for line in notes.read_text().splitlines()]
    assert {life for life, _, _ in lines} == {"0", "1"}, "killed too late: nothing was resumed"
    opened = Counter(step for _, step, word in lines if word == "open")
    assert len(opened) == 150
    assert sum(opened.values()) <= 151, "more than the open step was lost"
    whole, killed = (torch.load(tmp_path / f"{name}.pt") for name in ("whole", "killed"))
    assert whole["step"] == killed["step"] == 150
    for name, weight in whole["model"].items():
        assert torch.equal(weight, killed["model"][name]), name
    for state, other in zip(whole["random"], killed["random"], strict=True):
        assert torch.equal(state, other)
    assert not torch.equal(*whole["random"]), "each rank draws from a state of its own"


def test_a_script_that_fails_is_reported_with_its_own_error(tmp_path: Path) -> None:
    defined = lesson(tmp_path)
    defined["write"]("fails.py", fails)
    with pytest.raises(RuntimeError, match=r"(?s)fails\.py failed.*no rank [01] today"):
        defined["torchrun"]("fails.py", limit=LIMIT)
