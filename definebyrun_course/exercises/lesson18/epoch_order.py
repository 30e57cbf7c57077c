"""Exercise `epoch_order`: the order of an epoch as a function of seed and epoch, without a state to keep."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, tried

__all__ = ["EXERCISE"]

Order = Callable[[int, int, int], Any]
LARGE = 2**31 - 1
PAIRS = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (5, 3), (3, 5), (7, 4), (1000, 0), (0, 1000), (1, 1000),
         (0, 65536), (0, LARGE), (LARGE, 0), (LARGE, 1), (1, LARGE), (LARGE, LARGE))  # fmt: skip
"""Seeds and epochs; among them pairs with one sum, with one product, and with the same digits in a row."""
MANY = 60
"""Of so many examples two orders are equal by chance once in 10^81."""
OWN = "torch.Generator() makes one of your own; randperm takes it as generator=."


def check_epoch_order(order: Order) -> None:
    """`order(n, seed, epoch)` is a permutation that depends on its three arguments alone."""
    for n, seed, epoch in (
        (1, 0, 0),
        (2, 0, 1),
        (3, 1, 1),
        (7, 2, 3),
        (MANY, 0, 1),
        (5, LARGE, LARGE),
    ):
        _is_an_order(order, n, seed, epoch)
    _others_stay(order)
    _tells_pairs_apart(order, list(dict.fromkeys(PAIRS)))
    _begins_anywhere(order)
    draw = drawn()
    seed, epoch, step = draw.whole(0, 10**6), draw.whole(5, 10**4), draw.whole(1, 5)
    _is_an_order(order, draw.whole(2, 40), seed, epoch, f" ({draw})")
    near_by = [
        (seed, epoch),
        (seed + step, epoch - step),
        (epoch, seed),
        (seed, epoch + step),
        (seed + step, epoch),
    ]
    _tells_pairs_apart(order, list(dict.fromkeys(near_by)), f" ({draw})")


def _call(order: Order, n: int, seed: int, epoch: int) -> Tensor:
    return forms.tensor(order(n, seed, epoch), "order", (n,))


def _is_an_order(order: Order, n: int, seed: int, epoch: int, said: str = "") -> None:
    where = f"for n = {n}, seed {seed}, epoch {epoch}{said}"
    found = _call(order, n, seed, epoch)
    expect(
        found.dtype == torch.int64,
        f"The order is a tensor of {found.dtype}, {where}.",
        "Rows are chosen by whole numbers, int64: what randperm gives.",
    )
    expect(
        sorted(found.tolist()) == list(range(n)),
        f"The order is {found.tolist()[:7]}, {where}: each of 0 to {n - 1} has to occur once.",
        "A permutation, not a draw for each place.",
    )
    again = _call(order, n, seed, epoch)
    expect(
        torch.equal(found, again),
        f"Asked twice, your function gives {found.tolist()[:5]} and {again.tolist()[:5]}, {where}.",
        "A function of its three arguments, and of nothing else.",
    )


def _others_stay(order: Order) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1:3]
    _call(order, 6, 3, 2)
    expect(
        torch.equal(before[0], torch.get_rng_state()),
        "PyTorch's global generator has moved: dropout draws from it, and follows your order now.",
        OWN,
    )
    expect(
        random.getstate() == before[1],
        "Python's generator has moved: somebody else draws from it.",
        OWN,
    )
    after = np.random.get_state()[1:3]
    expect(
        np.array_equal(after[0], before[2][0]) and after[1] == before[2][1],
        "NumPy's global generator has moved: somebody else draws from it.",
        "np.random.default_rng makes one of your own.",
    )


def _tells_pairs_apart(order: Order, pairs: list[tuple[int, int]], said: str = "") -> None:
    seen: dict[tuple[int, ...], tuple[int, int]] = {}
    for seed, epoch in pairs:
        found = tuple(_call(order, MANY, seed, epoch).tolist())
        one = seen.setdefault(found, (seed, epoch))
        expect(
            one == (seed, epoch),
            f"Seed {one[0]}, epoch {one[1]} and seed {seed}, epoch {epoch} have one and the same order{said}.",
            "What does your generator begin with? Other for each pair; and manual_seed takes 32 bits on a CPU.",
        )


def _begins_anywhere(order: Order) -> None:
    """What is asked before, and whatever the global generators are, changes nothing."""
    calls = [(9, 4, epoch) for epoch in range(3)]
    forward = [_call(order, *call).tolist() for call in calls]
    state = torch.get_rng_state()
    try:
        torch.manual_seed(12345)
        backward = [_call(order, *call).tolist() for call in reversed(calls)]
    finally:
        torch.set_rng_state(state)
    expect(
        forward == backward[::-1],
        "Asked for epochs 0 to 2, and for 2 to 0 after somebody has called torch.manual_seed, it gives other orders.",
        "Another process asks for epoch 7 first. What does your function read beside its arguments?",
    )


# ---- answers ----


def _order(n: int, seed: int, epoch: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(n))


def _by_one_number(one: Callable[[int, int], int], n: int, seed: int, epoch: int) -> Tensor:
    """A generator of its own, seeded by one number that is made of two."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(one(seed, epoch)))


def _by_keys(n: int, seed: int, epoch: int) -> Tensor:
    """The 32 bits that PyTorch's generator takes come from a hash of both; an array of int64 in between."""
    key = int.from_bytes(hashlib.sha256(f"{seed} {epoch}".encode()).digest()[:4], "little")
    return torch.randperm(n, generator=torch.Generator().manual_seed(key))


def _by_sorting(n: int, seed: int, epoch: int) -> Tensor:
    """Sorts drawn numbers; Python's own generator is seeded by a text."""
    source = random.Random(f"{seed}, {epoch}")
    return torch.tensor([source.random() for _ in range(n)], dtype=torch.float64).argsort()


def _published(n: int, seed: int, epoch: int) -> Tensor:
    torch.manual_seed(seed + epoch)
    return torch.randperm(n)


def _global_put_back(n: int, seed: int, epoch: int) -> Tensor:
    """The generator is put back, the sum stays."""
    with torch.random.fork_rng(devices=[]):
        return _published(n, seed, epoch)


def _global_pairs(n: int, seed: int, epoch: int) -> Tensor:
    torch.manual_seed(seed * 2**31 + epoch)
    return torch.randperm(n)


def _global_numpy(n: int, seed: int, epoch: int) -> Tensor:
    np.random.seed((seed * 7919 + epoch) % 2**32)
    return torch.from_numpy(np.random.permutation(n))


def _global_python(n: int, seed: int, epoch: int) -> Tensor:
    random.seed(f"{seed}, {epoch}")
    rows = list(range(n))
    random.shuffle(rows)
    return torch.tensor(rows)


def _drawn_places(n: int, seed: int, epoch: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng([seed, epoch]).integers(n, size=n))


def _from_one(n: int, seed: int, epoch: int) -> Tensor:
    return _order(n, seed, epoch) + 1


def _unseeded(n: int, seed: int, epoch: int) -> Tensor:
    own = torch.Generator()
    own.seed()
    return torch.randperm(n, generator=own)


def _with_the_global_seed(n: int, seed: int, epoch: int) -> Tensor:
    return torch.from_numpy(
        np.random.default_rng([seed, epoch, torch.initial_seed()]).permutation(n)
    )


def _none(n: int, seed: int, epoch: int) -> None:
    _order(n, seed, epoch)


def _float(n: int, seed: int, epoch: int) -> Tensor:
    return _order(n, seed, epoch).double()


def _as_list(n: int, seed: int, epoch: int) -> list[int]:
    return [int(row) for row in _order(n, seed, epoch)]


ONES: dict[str, tuple[Callable[[int, int], int], str]] = {
    "the sum": (lambda s, e: s + e, "Seed 0, epoch 1 and seed 1, epoch 0"),
    "the product": (lambda s, e: s * e, "Seed 0, epoch 0 and seed 0, epoch 1"),
    "the seed alone": (lambda s, e: s, "Seed 0, epoch 0 and seed 0, epoch 1"),
    "the epoch alone": (lambda s, e: e, "Seed 0, epoch 0 and seed 1, epoch 0"),
    "a thousand epochs": (lambda s, e: s * 1000 + e, "Seed 1, epoch 0 and seed 0, epoch 1000"),
    "65,536 epochs": (lambda s, e: s * 65536 + e, "Seed 1, epoch 0 and seed 0, epoch 65536"),
    "exclusive or": (lambda s, e: s ^ e, "Seed 0, epoch 1 and seed 1, epoch 0"),
    "as many as the seeds": (lambda s, e: s * 2**31 + e, "Seed 0, epoch 0 and seed 2, epoch 0"),
}


def oracle(order: Order) -> Any:
    """Which orders are permutations, which are equal, and whether the global generators have moved."""

    def told(n: int, pairs: list[tuple[int, int]]) -> Any:
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        found = [order(n, seed, epoch) for seed, epoch in pairs]
        rows = [part.tolist() for part in found]
        drawn_after = torch.rand(1).item(), random.random(), float(np.random.rand())
        torch.manual_seed(2)
        again = [order(n, seed, epoch) for seed, epoch in reversed(pairs)][::-1]
        kinds = [str(part.dtype) for part in found]
        classes = [rows.index(row) for row in rows] if n > 20 else []
        return [kinds, [sorted(row) == list(range(n)) for row in rows], classes,
                rows == [part.tolist() for part in again], list(drawn_after)]  # fmt: skip

    pairs = list(dict.fromkeys(PAIRS))
    return [tried(told, n, pairs) for n in (1, 2, 3, 7, 60)]


EXERCISE = Exercise(
    "epoch_order",
    "Seed and epoch say the order, and nobody else's generator knows of it.",
    check_epoch_order,
    (
        *(Wrong(name, partial(_by_one_number, one), says) for name, (one, says) in ONES.items()),
        Wrong("as it was", _published, "PyTorch's global generator has moved"),
        Wrong("the global one put back", _global_put_back, "Seed 0, epoch 1 and seed 1, epoch 0"),
        Wrong("the global one, pairs apart", _global_pairs, "PyTorch's global generator has moved"),
        Wrong("NumPy's global one", _global_numpy, "NumPy's global generator has moved"),
        Wrong("Python's global one", _global_python, "Python's generator has moved"),
        Wrong("a draw for each place", _drawn_places, "for n = 2, seed 0, epoch 1: each of 0 to 1"),
        Wrong("from 1 to n", _from_one, "The order is [1], for n = 1"),
        Wrong("no seed", _unseeded, "Asked twice"),
        Wrong(
            "the global seed as well",
            _with_the_global_seed,
            "after somebody has called torch.manual_seed",
        ),
        Wrong("in float64", _float, "a tensor of torch.float64"),
        Wrong("a list", _as_list, "order returns a tensor; yours returned [0]"),
        Wrong("no return", _none, "Is a `return` missing?"),
    ),
    right=(Right("by a hash", _by_keys), Right("by sorting", _by_sorting)),
    oracle=oracle,
)
