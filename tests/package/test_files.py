"""What a file may hold, to the last bit: whole numbers of 64 bits, and numbers of the kind that a dtype says."""

from __future__ import annotations

import pytest

import definebyrun as dbr
from definebyrun.trace import TensorVersion, Trace
from definebyrun.trace.value import Value

LEAST, MOST = -(2**63), 2**64 - 1


def trace(value: Value) -> Trace:
    return Trace((TensorVersion(0, "x", "constant", value),))


@pytest.mark.parametrize("number", [LEAST, -1, 0, MOST])
def test_whole_numbers_of_64_bits_are_read(number: int) -> None:
    listed = trace(Value((2,), "int64", (number, 0)))
    ranged = trace(Value((5000,), "int64", None, min(number, 0), max(number, 0)))
    for given in (listed, ranged):
        assert dbr.load(given.json()).trace == given


@pytest.mark.parametrize("number", [LEAST - 1, MOST + 1])
def test_longer_whole_numbers_are_refused_in_one_sentence(number: int) -> None:
    listed = trace(Value((2,), "int64", (number, 0)))
    ranged = trace(Value((5000,), "int64", None, min(number, 0), max(number, 0)))
    for given in (listed, ranged):
        with pytest.raises(ValueError, match="cannot be a number of more than 64 bits"):
            dbr.load(given.json())


@pytest.mark.parametrize(
    ("dtype", "data", "kind"),
    [
        ("int64", (1, 2.5), "float"),
        ("uint8", (True, 2), "bool"),
        ("bool", (True, 1), "int"),
        ("float32", (1.0, True), "bool"),
        ("complex64", (1j, 1.0), "float"),
    ],
)
def test_a_tensor_that_holds_numbers_of_another_kind_is_refused(
    dtype: str, data: tuple[object, ...], kind: str
) -> None:
    said = f"a {dtype} tensor does not hold {kind} numbers"
    with pytest.raises(ValueError, match=said):
        dbr.load(trace(Value((2,), dtype, data)).json())


@pytest.mark.parametrize(
    ("dtype", "data"),
    [("float16", (1.0, 2)), ("float8_e4m3fn", (1.0,)), ("int4", (1,)), ("future", (1.5, 2))],
)
def test_a_tensor_of_a_known_or_future_dtype_is_read(dtype: str, data: tuple[object, ...]) -> None:
    given = trace(Value((len(data),), dtype, data))
    assert dbr.load(given.json()).trace == given
