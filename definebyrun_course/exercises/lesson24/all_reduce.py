"""Exercise `all_reduce`: the all-reduce, simulated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    apart,
    counted,
    drawn,
    expect,
    forms,
    near,
    shown,
    tried,
)

__all__ = ["EXERCISE"]

Gradients = list[list[Tensor | None]]
CASES: tuple[tuple[int, tuple[tuple[tuple[int, ...], str], ...]], ...] = (
    (1, (((), "x"),)),
    (2, (((), "xx"),)),
    (2, (((3,), "xx"), ((2,), "xx"))),
    (2, (((1,), "x."), ((2,), ".x"), ((3,), ".."))),
    (3, (((2, 4), "xxx"), ((1, 2), ".xx"), ((3,), "..x"), ((), "..."), ((2, 2), "x.x"))),
    (1, (((2,), "x"), ((2,), "."))),
    (4, (((3, 1), "xxxx"), ((2,), ".x.."))),
    (2, ()),
)
"""Number of ranks, and for each parameter its shape and which ranks have a gradient; the smallest first."""


def gradients_of(
    case: tuple[int, tuple[tuple[tuple[int, ...], str], ...]], draw: Drawn, dtype: torch.dtype
) -> Gradients:
    world, columns = case
    return [
        [
            draw.normal(*shape, dtype=dtype) if there[rank] == "x" else None
            for shape, there in columns
        ]
        for rank in range(world)
    ]


def check_all_reduce(mean_of_ranks: Callable[..., Any]) -> None:
    """`mean_of_ranks(gradients)` gives each rank the means; a missing gradient counts as zeros."""
    for dtype in (torch.float64, torch.float32):
        for nth, case in enumerate(CASES):
            _ask(mean_of_ranks, gradients_of(case, Drawn(nth), dtype))
    draw = drawn()
    world = draw.whole(2, 4)
    columns = tuple(
        ((draw.whole(1, 3), n + 1), "".join("x."[draw.whole(0, 1)] for _ in range(world)))
        for n in range(3)
    )
    _ask(mean_of_ranks, gradients_of((world, columns), draw, torch.float64), f" ({draw})")


def _ask(mean_of_ranks: Any, given: Gradients, seed: str = "") -> None:
    out, world = mean_of_ranks(given), len(given)
    where = f"with {counted(world, 'rank')}{seed}"
    ranks = forms.sequence(out, "The answer")
    expect(
        len(ranks) == world,
        f"There is a list of gradients for each rank; yours are {len(ranks)} list(s), {where}.",
        "After an all-reduce every rank holds all the means.",
    )
    columns = len(given[0])
    held = [forms.sequence(own, f"What rank {rank} holds") for rank, own in enumerate(ranks)]
    for rank, own in enumerate(held):
        expect(
            len(own) == columns,
            f"Rank {rank} holds {len(own)} of {counted(columns, 'gradient')}, {where}.",
            "All parameters, in the order in which they came.",
        )
    for nth in range(columns):
        _column([own[nth] for own in given], [own[nth] for own in held], where)
    _are_their_own(given, held, where)


def _column(given: list[Tensor | None], held: list[Any], where: str) -> None:
    there, world = [g for g in given if g is not None], len(given)
    case = f"for the gradients {_told(given)} {where}"
    if not there:
        some = [g for g in held if g is not None]
        expect(not some, f"A gradient that no rank has stays None; yours became {_told(some)}, {where}.",
               "A parameter without any gradient is skipped by the optimizer; one with zeros is not.")  # fmt: skip
        return
    lost = [rank for rank, g in enumerate(held) if g is None]
    expect(
        not lost,
        f"Rank {lost[0] if lost else 0} holds None afterwards, {case}.",
        "Somebody has a gradient, so afterwards everybody has: with find_unused_parameters=True a missing one "
        "takes part as zeros.",
    )
    total: Any = sum(there)
    for rank, found in enumerate(held):
        forms.tensor(found, f"For rank {rank} your function", tuple(total.shape))
        right = total / world
        if not near(found, right, rtol=1e-5, atol=1e-6):
            _say_which(found, given, there, f"Rank {rank}", case)
        expect(
            found.dtype == total.dtype,
            f"The gradients are {total.dtype}, and the means are {found.dtype}, {where}.",
            "A mean of tensors of one dtype has that dtype.",
        )


def _say_which(
    found: Tensor, given: list[Tensor | None], there: list[Tensor], who: str, case: str
) -> None:
    total: Any = sum(there)
    known = [
        (total, "holds the sum", "The joined batch has the mean of the means."),
        *((g, "holds one rank's own gradient", "All ranks hold the same afterwards.") for g in there),
    ]  # fmt: skip
    if len(there) < len(given):
        known.insert(0, (total / len(there), "holds the sum divided by those who had a gradient",
                         "With find_unused_parameters=True a missing gradient takes part as zeros."))  # fmt: skip
    for value, words, hint in known:
        expect(not near(found, value, rtol=1e-5, atol=1e-6), f"{who} {words}, {case}.", hint)
    texts = apart(found, total / len(given))
    expect(
        False,
        f"{who} holds {texts[0]}, {case}.",
        "Which gradients belong together, and how many ranks are there?",
    )


def _told(gradients: list[Any]) -> str:
    return ", ".join(
        "None" if g is None else shown(g, 3) if isinstance(g, Tensor) else forms.said(g)
        for g in gradients
    )


def _are_their_own(given: Gradients, held: list[list[Any]], where: str) -> None:
    tensors = [("what came in", g) for own in given for g in own if g is not None]
    tensors += [(f"rank {rank}", g) for rank, own in enumerate(held) for g in own if g is not None]
    seen: dict[int, str] = {}
    for owner, tensor in tensors:
        memory = tensor.untyped_storage().data_ptr()
        other = seen.setdefault(memory, owner)
        is_shared = memory and other != owner
        expect(
            not is_shared,
            f"A tensor of {owner} shares its memory with {other}, {where}.",
            "When one rank writes into its gradients, the others must not change: each has tensors of its own.",
        )


# ---- right answers, found in other ways ----


def by_stacking(gradients: Gradients) -> Any:
    """Missing ones are filled up with zeros, and the mean is taken over a new axis."""
    means: list[Any] = []
    for column in zip(*gradients, strict=True):
        like = next((g for g in column if g is not None), None)
        if like is None:
            means.append(None)
            continue
        means.append(
            torch.stack([torch.zeros_like(like) if g is None else g for g in column]).mean(0)
        )
    return tuple(tuple(None if m is None else m + 0 for m in means) for _ in gradients)


def by_a_ring(gradients: Gradients) -> Any:
    """Sums are passed from rank to rank."""
    out: list[list[Any]] = [[None] * len(own) for own in gradients]
    for place in range(len(gradients[0])):
        carried = None
        for own in gradients:
            if own[place] is not None:
                carried = own[place].clone() if carried is None else carried + own[place]  # type: ignore[union-attr]
        for own in out:
            own[place] = None if carried is None else carried.div(len(gradients))
    return out


# ---- wrong answers ----


def _means(gradients: Gradients, total: bool = False, missing: str = "zeros", share: bool = False, turned: bool = False,
           first: bool = False, over: str = "ranks", dtype: Any = None, flat: bool = False,
           alone: bool = False) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    means: list[Any] = []
    for column in zip(*gradients, strict=True):
        there = [g for g in column if g is not None]
        count = {"ranks": len(column), "there": len(there), "columns": len(gradients[0])}[over]
        none = not there or (missing == "none" and len(there) < len(column))
        if none and missing == "zeros for all":
            means.append(torch.zeros(1))
            continue
        mean = None if none else there[0] if first else sum(there) / (1 if total else count)  # type: ignore[arg-type]
        mean = mean.mean() if flat and mean is not None else mean
        means.append(mean if mean is None or dtype is None else mean.to(dtype))
    if alone and len(gradients) == 1:
        return [list(own) for own in gradients]
    if turned:
        return [[m] * len(gradients) for m in means]
    return [[g if share or g is None else g.clone() for g in means] for _ in gradients]


def _in_place(gradients: Gradients) -> Any:
    for rank in gradients[1:]:
        for total, g in zip(gradients[0], rank, strict=True):
            if total is not None and g is not None:
                total += g
    return [[g if g is None else g / len(gradients) for g in gradients[0]] for _ in gradients]


def _keeps_none(gradients: Gradients) -> Any:
    """A rank that had None has None afterwards."""
    out = _means(gradients)
    return [
        [None if g is None else m for g, m in zip(*both, strict=True)]
        for both in zip(gradients, out, strict=True)
    ]


WRONG = {
    "sum": (partial(_means, total=True), "Rank 0 holds the sum, for"),
    "changes its input": (_in_place, "is not what it was"),
    "one tensor for all": (partial(_means, share=True), "A tensor of rank 1 shares its memory with rank 0"),
    "what came in": (partial(_means, alone=True), "A tensor of rank 0 shares its memory with what came in"),
    "None skipped": (partial(_means, over="there"), "divided by those who had a gradient"),
    "None wins": (partial(_means, missing="none"), "Rank 0 holds None afterwards"),
    "None stays": (_keeps_none, "Rank 1 holds None afterwards"),
    "zeros where all have None": (partial(_means, missing="zeros for all"), "stays None; yours became [0]"),
    "the first rank's": (partial(_means, first=True), "holds one rank's own gradient"),
    "divided by the parameters": (partial(_means, over="columns"), "Rank 0 holds the sum, for"),
    "one list": (lambda gradients: _means(gradients)[0], "What rank 0 holds is a sequence"),
    "one list of two": (lambda gradients: _means(gradients)[:1], "yours are 1 list(s), with 2 ranks"),
    "turned round": (partial(_means, turned=True), "yours are 1 list(s), with 2 ranks"),
    "float32": (partial(_means, dtype=torch.float32), "the means are torch.float32"),
    "a single number": (partial(_means, flat=True), "returns the shape (3,) here; yours returned ()"),
}  # fmt: skip


def oracle(mean_of_ranks: Callable[..., Any]) -> Any:
    """What each rank holds, whether anything is shared, and the gradients afterwards."""

    def told(gradients: Gradients) -> Any:
        out = [list(own) for own in mean_of_ranks(gradients)]
        held = [g for own in (*gradients, *out) for g in own if isinstance(g, Tensor)]
        return [out, len({g.untyped_storage().data_ptr() for g in held}) == len(held)]

    big = ((7, (((2,), "x......"), ((1, 3), "xxxxxxx"))), (3, (((0,), "xxx"),)))
    wide = [(case, dtype) for case in (*CASES, big[0]) for dtype in (torch.float32, torch.float64)]
    return [
        tried(told, gradients_of(case, Drawn(nth), dtype), dtypes=True)
        for nth, (case, dtype) in enumerate(wide)
    ]


EXERCISE = Exercise(
    "all_reduce",
    "Every rank holds the means; who has no gradient takes part with zeros.",
    check_all_reduce,
    tuple(Wrong(name, answer, says) for name, (answer, says) in WRONG.items()),
    right=(Right("by stacking", by_stacking), Right("passed round", by_a_ring)),
    oracle=oracle,
)  # fmt: skip
