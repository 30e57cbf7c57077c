"""Exercise `same_bits`: whether two state dictionaries hold the same tensors, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...grading import Exercise, Right, Wrong, drawn, expect, tried
from ...grading.forms import said

__all__ = ["EXERCISE"]

State = dict[str, Tensor]
SameBits = Callable[[State, State], Any]
NAN = math.nan
BYTES = "The bits of a tensor are its bytes: view(torch.uint8)."


def strided(dtype: torch.dtype = torch.float64) -> Tensor:
    """Two rows of three numbers that do not lie side by side."""
    return torch.arange(6, dtype=dtype).reshape(3, 2).T


def _float32(numbers: Any) -> Tensor:
    """The same numbers whatever the default dtype is; whole numbers, truth values and complex ones keep their kind."""
    found = torch.tensor(numbers)
    return found.float() if found.is_floating_point() else found


def cases() -> tuple[tuple[str, State, State, bool, str], ...]:
    """In words, both states, whether they are the same, and what to look at; the smallest first."""
    t = _float32
    one, two = t([1.0, 2.0]), t([3.0])
    return (
        ("two states without a tensor", {}, {}, True, "Nothing in them differs."),
        ("the same number twice", {"w": t([1.5])}, {"w": t([1.5])}, True, BYTES),
        ("1.5 and 1.25", {"w": t([1.5])}, {"w": t([1.25])}, False, BYTES),
        ("two numbers without a dimension, equal", {"steps": t(3)}, {"steps": t(3)}, True,
         "view with another dtype wants a last dimension; reshape(-1) makes one."),
        ("two numbers without a dimension, 3 and 4", {"steps": t(3)}, {"steps": t(4)}, False, BYTES),
        ("nan in both", {"w": t([NAN, 1.0])}, {"w": t([NAN, 1.0])}, True,
         "A nan is no number equal to itself, but it has bits."),
        ("nan and 1", {"w": t([NAN])}, {"w": t([1.0])}, False, "A nan has bits as well, other ones than 1."),
        ("0 and -0", {"w": t([0.0])}, {"w": t([-0.0])}, False, "They are equal as numbers, and one bit is not."),
        ("numbers one bit apart", {"w": t([1.0])}, {"w": t([1.0]).nextafter(t([2.0]))}, False, "Every bit."),
        ("1.0 in float32 and in float64", {"w": t([1.0])}, {"w": t([1.0]).double()}, False, "The dtype is asked for."),
        ("four bytes that are 1.0, as float32 and as int32", {"w": t([1.0])}, {"w": t([1.0]).view(torch.int32)}, False,
         "The dtype is asked for, also where the bytes agree."),
        ("the shapes (2, 3) and (3, 2)", {"w": torch.zeros(2, 3)}, {"w": torch.zeros(3, 2)}, False, "Which shapes?"),
        ("the shapes () and (1,)", {"w": t(1.0)}, {"w": t([1.0])}, False, "The shape is asked for."),
        ("the same tensors, named in another order", {"a": one, "b": two}, {"b": two.clone(), "a": one.clone()}, True,
         "The order of the names does not matter."),
        ("tensors that have changed their names", {"a": two, "b": two + 1}, {"b": two.clone(), "a": two + 1}, False,
         "Compare under each name."),
        ("a name more in the first", {"a": one, "b": two}, {"a": one.clone()}, False, "Both have the same names."),
        ("a name more in the second", {"a": one}, {"a": one.clone(), "b": two}, False, "Both have the same names."),
        ("a difference in the first of two", {"a": one, "b": two}, {"a": one + 1, "b": two}, False, "Every name."),
        ("a difference in the last of two", {"a": one, "b": two}, {"a": one, "b": two + 1}, False, "Every name."),
        ("a strided tensor and one that is not", {"w": strided()}, {"w": strided().contiguous()}, True,
         "How the numbers lie in memory is no matter; view wants them side by side."),
        ("every second number of a tensor", {"w": torch.arange(6.0)[::2]}, {"w": torch.arange(6.0)[::2]}, True,
         "They do not lie side by side, and a row of them is still a view; contiguous() lays them so."),
        ("two strided ones", {"w": strided()}, {"w": strided() + t([0.0, 0.0, 1.0]).double()}, False, BYTES),
        ("tensors of truth values", {"mask": t([True, False])}, {"mask": t([True, False])}, True, "Any dtype."),
        ("tensors in bfloat16", {"w": one.bfloat16()}, {"w": one.bfloat16()}, True, "Any dtype."),
        ("complex tensors", {"w": t([1 + 2j])}, {"w": t([1 - 2j])}, False, "Any dtype."),
        ("tensors without an element", {"w": torch.zeros(0, 2)}, {"w": torch.zeros(0, 2)}, True, "No bit differs."),
        ("a parameter and its numbers", {"w": torch.nn.Parameter(one)}, {"w": one.clone()}, True,
         "A tensor that asks for a gradient has bits like any other."),
    )  # fmt: skip


def check_same_bits(same_bits: SameBits) -> None:
    """`same_bits(one, other)` is True exactly when both states have the same bits under the same names."""
    for words, one, other, same, hint in cases():
        _ask(same_bits, words, one, other, same, hint)
    draw = drawn()
    for shape in ((4,), (2, 3), ()):
        numbers = draw.normal(*shape)
        moved = numbers.clone()
        moved.view(-1)[-1:] = moved.view(-1)[-1:].nextafter(
            torch.tensor([math.inf], dtype=moved.dtype)
        )
        for other, same in ((numbers.clone(), True), (moved, False)):
            _ask(
                same_bits,
                f"drawn numbers of the shape {shape} ({draw})",
                {"w": numbers},
                {"w": other},
                same,
                BYTES,
            )


def _ask(same_bits: SameBits, words: str, one: State, other: State, same: bool, hint: str) -> None:
    found = same_bits(one, other)
    expect(
        isinstance(found, bool | np.bool_)
        or (isinstance(found, Tensor) and found.dtype == torch.bool and found.numel() == 1),
        f"The answer is True or False; yours is {said(found)}, for {words}.",
        "Is a `return` missing?" if found is None else "all(…) of truth values is one.",
    )
    names = "are the same" if same else "are not the same"
    expect(bool(found) == same, f"These {names}, and yours says {bool(found)}: {words}.", hint)


# ---- answers ----


def _bits(t: Tensor) -> Tensor:
    return t.detach().contiguous().reshape(-1).view(torch.uint8)


def _same_names(one: State, other: State) -> bool:
    return one.keys() == other.keys()


def _bitwise(a: Tensor, b: Tensor) -> bool:
    return torch.equal(_bits(a), _bits(b))


def _same_bits(one: State, other: State, names: Any = _same_names, dtype: bool = True, shape: bool = True,
               bits: Any = _bitwise, join: Any = all) -> Any:  # fmt: skip
    """The solution with its usual mistakes as switches."""
    return names(one, other) and join(
        (not dtype or t.dtype == other[name].dtype)
        and (not shape or t.shape == other[name].shape)
        and bits(t, other[name])
        for name, t in one.items()
        if name in other
    )


def _by_bytes(one: State, other: State) -> bool:
    """Dtype, shape and bytes of each tensor as plain data."""

    def plain(state: State) -> dict[str, Any]:
        return {
            name: (
                str(t.dtype),
                list(t.shape),
                bytes(t.detach().reshape(-1).clone().view(torch.uint8).tolist()),
            )
            for name, t in state.items()
        }

    return plain(one) == plain(other)


def _by_names(one: State, other: State) -> bool:
    """Goes through the sorted names, and leaves at the first difference."""
    if sorted(one) != sorted(other):
        return False
    for name in sorted(one):
        a, b = one[name].detach(), other[name].detach()
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return False
        if a.numel() and bool(
            (a.flatten().clone().view(torch.int8) != b.flatten().clone().view(torch.int8)).any()
        ):
            return False
    return True


def _last_alone(truths: Any) -> bool:
    found = list(truths)
    return found[-1] if found else True


def _in_order(one: State, other: State) -> Any:
    same_names = list(one) == list(other)
    return same_names and _same_bits(one, other)


def _by_place(one: State, other: State) -> Any:
    pairs = zip(one.values(), other.values(), strict=False)
    same = all(
        a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bits(a), _bits(b))
        for a, b in pairs
    )
    return len(one) == len(other) and same


def _without_dimension_skipped(a: Tensor, b: Tensor) -> bool:
    return a.dim() == 0 or torch.equal(_bits(a), _bits(b))


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "torch.equal": ({"bits": torch.equal}, "and yours says False: nan in both"),
    "by ==": ({"bits": lambda a, b: bool((a == b).all())}, "and yours says False: nan in both"),
    "equal, nan too": (
        {"bits": lambda a, b: bool(((a == b) | ((a != a) & (b != b))).all())},
        "and yours says True: 0 and -0",
    ),
    "within a tolerance": (
        {"bits": lambda a, b: torch.allclose(a.double(), b.double(), rtol=1e-5, equal_nan=True)
            and torch.equal(a.double().signbit(), b.double().signbit())},
        "and yours says True: numbers one bit apart",
    ),
    "no dtype": ({"dtype": False}, "four bytes that are 1.0, as float32"),
    "no shape": ({"shape": False}, "and yours says True: the shapes (2, 3) and (3, 2)"),
    "names of the first": ({"names": lambda a, b: a.keys() <= b.keys()}, "a name more in the second"),
    "names of the second": ({"names": lambda a, b: b.keys() <= a.keys()}, "a name more in the first"),
    "any of them": ({"join": lambda truths: any(list(truths) or [True])}, "a difference in the first of two"),
    "the last alone": ({"join": _last_alone}, "a difference in the first of two"),
    "no dimension, no bits": ({"bits": _without_dimension_skipped}, "without a dimension, 3 and 4"),
}  # fmt: skip


def oracle(same_bits: SameBits) -> Any:
    """The answer for many pairs of states, both ways round, and the states afterwards."""

    def told(one: State, other: State) -> Any:
        return [bool(same_bits(one, other)), bool(same_bits(other, one)), list(one), list(other)]

    pairs = [case[1:3] for case in cases()]
    base = torch.arange(6.0)
    wide = [base, base.double(), base.half(), base.int(), base.reshape(2, 3), base.reshape(2, 3).T, base[::2], base[:0],
            torch.tensor(NAN), torch.tensor(-NAN), base.bool(), base.to(torch.complex64)]  # fmt: skip
    pairs += [({"x": a}, {"x": b}) for a in wide for b in wide]
    pairs += [({"x": base, "y": a}, {"y": b, "x": base}) for a in wide[:3] for b in wide[:3]]
    pairs += [({"x": base}, {"y": base})]
    return [tried(told, one, other) for one, other in pairs]


EXERCISE = Exercise(
    "same_bits",
    "Names, dtypes, shapes, and then every bit.",
    check_same_bits,
    (
        *(
            Wrong(name, partial(_same_bits, **fault), says)
            for name, (fault, says) in FAULTS.items()
        ),
        Wrong(
            "names in order",
            _in_order,
            "and yours says False: the same tensors, named in another order",
        ),
        Wrong(
            "by their places",
            _by_place,
            "and yours says False: the same tensors, named in another order",
        ),
        Wrong(
            "no return",
            lambda *given: [_same_bits(*given)].clear(),
            "The answer is True or False; yours is None",
        ),
        Wrong(
            "the states themselves",
            lambda one, other: one,
            "The answer is True or False; yours is {}",
        ),
    ),
    right=(Right("as bytes", _by_bytes), Right("name by name", _by_names)),
    oracle=oracle,
)
