"""A tensor's content at one moment, as data free of torch: all of it when it is small, its range when it is large."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from .frozen import Record, frozen

numpy: Any = None
with suppress(ImportError):  # PyTorch can do without, and so can this package
    numpy = import_module("numpy")

__all__ = ["Number", "Numbers", "Value", "numpy_bounds", "sum_values"]

Number = bool | int | float | complex
NUMPY_FROM_BYTES = 400
"""From so many bytes on, NumPy finds the smallest and largest number, where it is installed."""
_SIZES = {code: array(code).itemsize for code in "fdqi"}


class Numbers(Sequence[Number]):
    """Numbers kept as the bytes of an array until somebody reads them; equal to a tuple of the same numbers.

    A recording copies many tensors that nobody will look at: bytes are copied much faster than objects are made.

    >>> Numbers("i", bytes([1, 0, 0, 0, 2, 0, 0, 0])) == (1, 2)
    True
    """

    __slots__ = ("_bounds", "_code", "_raw")

    def __init__(self, code: str, raw: bytes) -> None:
        self._code, self._raw = code, raw
        self._bounds: tuple[float, float] | None = None

    def bounds(self) -> tuple[float, float]:
        """The smallest and largest number, as `Value.bounds` gives them; there is at least one."""
        if self._bounds is None:
            quick = (
                numpy_bounds(self._raw, self._code) if len(self._raw) >= NUMPY_FROM_BYTES else None
            )
            self._bounds = quick or _bounds(self._read())
        return self._bounds

    def _read(self) -> array[Any]:
        return array(self._code, self._raw)

    def __len__(self) -> int:
        return len(self._raw) // _SIZES[self._code]

    def __iter__(self) -> Iterator[Number]:
        return iter(self._read())

    def __getitem__(self, at: Any) -> Any:
        found = self._read()[at]
        return tuple(found) if isinstance(at, slice) else found

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Numbers) and (self._code, self._raw) == (other._code, other._raw):
            return True
        return (
            tuple(self) == tuple(other) if isinstance(other, (Numbers, tuple)) else NotImplemented
        )

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


def numpy_bounds(memory: Any, code: str) -> tuple[float, float] | None:
    """The smallest and largest number in a buffer, by NumPy, which is quick with many; None where it is not there.

    >>> numpy_bounds(array("d", [1.0, -2.0, 3.0]), "d")
    (-2.0, 3.0)
    """
    if numpy is None:
        return None
    found = numpy.frombuffer(memory, code)
    # as `min` and `max` find them, nan too, but without a warning
    return float(found[found.argmin()]), float(found[found.argmax()])


def _bounds(numbers: Sequence[Any]) -> tuple[float, float]:
    """The smallest and largest number; `nan` for both where one is, which `min` and `max` may pass over."""
    low, high, whole = float(min(numbers)), float(max(numbers)), float(sum(numbers))
    if whole == whole and high - low == high - low:
        return low, high
    broken = any(n != n for n in numbers)  # the sum of inf and -inf is no number either
    return (math.nan, math.nan) if broken else (low, high)


@frozen
class Value(Record):
    """A tensor's content at one moment: all of it when it is small, its range when it is large.

    `data` is the content in row-major order, or None for more than `MAX_KEPT_ELEMENTS`; `low` and `high` are then the
    smallest and largest element, where that is known (up to `MAX_RANGED_ELEMENTS`; both limits stand in
    `recorder/snapshot.py`). `bounds` has it either way.

    >>> Value((2, 2), "float32", (1.0, 2.0, 3.0, 4.0)).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """

    shape: tuple[int, ...]
    dtype: str
    data: tuple[Number, ...] | Numbers | None = None
    low: float | None = None
    high: float | None = None

    def tolist(self) -> Any:
        """The content as nested lists, as `torch.Tensor.tolist` gives it; `ValueError` when it was not kept."""
        if self.data is None:
            raise ValueError(
                f"only the range of this {'×'.join(map(str, self.shape))} tensor was kept, not its content"
            )
        flat: list[Any] = list(self.data)
        if not self.shape:
            return flat[0]
        for size in reversed(self.shape[1:]):
            flat = [flat[i : i + size] for i in range(0, len(flat), size)] if size else []
        return flat

    def bounds(self) -> tuple[float, float] | None:
        """The smallest and largest element, `nan` for both where one of them is; None where that is not known.

        >>> Value((2,), "float32", (1.0, -2.0)).bounds()
        (-2.0, 1.0)
        """
        if self.data is None:
            return None if self.low is None or self.high is None else (self.low, self.high)
        if isinstance(self.data, Numbers):
            return self.data.bounds()
        if not self.data or type(self.data[0]) is complex:
            return None
        return _bounds(self.data)

    def item(self) -> Number:
        """The content of a one-element value, as `torch.Tensor.item` gives it; `ValueError` for any other."""
        if self.data is None or len(self.data) != 1:
            raise ValueError(
                f"only a value with one element has an item; this one has the shape {self.shape}"
            )
        return self.data[0]


def sum_values(parts: Sequence[Value]) -> Value:
    """The sum of several values of one shape; only its shape where a part's content was not kept.

    >>> sum_values([Value((2,), "float32", (1.0, 5.0)), Value((2,), "float32", (2.0, 0.5))]).tolist()
    [3.0, 5.5]
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if any(part.data is None or part.shape != first.shape for part in parts):
        return Value(first.shape, first.dtype)
    data = tuple(map(sum, zip(*(part.data or () for part in parts), strict=True)))
    return Value(first.shape, first.dtype, data)
