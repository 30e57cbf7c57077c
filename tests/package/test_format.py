"""Values and bytes in a few characters: what just fits, what just does not, and numbers that are no numbers."""

from __future__ import annotations

import math

import pytest

from definebyrun.text.format import format_bytes, format_number, format_value
from definebyrun.trace.value import Value

KIB, MIB, GIB = 2**10, 2**20, 2**30


@pytest.mark.parametrize(
    ("nbytes", "said"),
    [
        *((0, "0 B"), (1023, "1023 B"), (KIB, "1 KiB"), (1536, "1.5 KiB")),
        *((99.5 * KIB, "99.5 KiB"), (100.4 * KIB, "100 KiB"), (1023 * KIB, "1023 KiB")),
        *((MIB, "1 MiB"), (512.4 * MIB, "512 MiB"), (GIB, "1 GiB"), (2.5 * GIB, "2.5 GiB")),
    ],
)
def test_bytes_have_the_largest_unit_of_which_there_is_a_whole_one(
    nbytes: float, said: str
) -> None:
    assert format_bytes(nbytes) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        *((0.0, "0"), (-0.0, "0"), (1 / 3, "0.3333"), (12345678.0, "1.235e+07")),
        *((7, "7"), (True, "True"), (math.nan, "nan"), (-math.inf, "-inf")),
        *((1 + 2j, "1+2j"), (-0.5 - 1j, "-0.5-1j"), (complex(2, -0.0), "2+0j")),
    ],
)
def test_a_number_has_four_digits_and_no_minus_before_nothing(
    number: complex | float | int | bool, said: str
) -> None:
    assert format_number(number) == said


def values(*numbers: float) -> Value:
    return Value((len(numbers),), "float32", numbers)


@pytest.mark.parametrize("width", range(8, 24))
def test_a_value_is_as_long_as_there_is_room(width: int) -> None:
    assert len(format_value(values(*[1.5] * 40), width)) <= width
    assert len(format_value(values(*map(float, range(40))), width)) <= width
    assert len(format_value(values(math.nan, *[1.5] * 40), width)) <= width
    assert len(format_value(Value((40, 30, 20, 10), "complex128"), width)) <= width


@pytest.mark.parametrize(
    ("value", "width", "said"),
    [
        (values(1.0, 2.0, 3.0), 9, "[1, 2, 3]"),
        (values(1.0, 2.0, 3.0), 8, "3 [1, 3]"),
        (values(*[0.25] * 12), 12, "12, all 0.25"),
        (values(*[0.25] * 12), 11, "12 float32"),
        (values(*map(float, range(30))), 13, "30 in [0, 29]"),
        (values(*map(float, range(30))), 12, "30 [0, 29]"),
        (values(*map(float, range(30))), 9, "30"),
        (values(*[-1.2345e-7, -0.0] * 20), 16, "40 [-1.2e-07, 0]"),
        (values(*[0.0, 1.2345e-7] * 20), 16, "40 [0, 1.2e-07]"),
        (values(*[math.nan] * 30), 22, "30, all nan"),
        (Value((30,), "float32", None, math.nan, math.nan), 22, "30 in [nan, nan]"),
        (values(*[math.nan, 1.0, 4.0] * 9), 20, "27 in [1, 4], 9 nan"),
        (values(*[math.nan, 1.0, 4.0] * 9), 18, "27, 9 nan"),
        (values(*[math.nan, 1.0, 4.0] * 9), 19, "27 in [1, 4], 9 nan"),
        (Value((), "float32"), 22, "scalar float32"),
        (None, 22, "not yet"),
    ],
)
def test_what_does_not_fit_is_said_in_fewer_characters(
    value: Value | None, width: int, said: str
) -> None:
    assert format_value(value, width) == said
