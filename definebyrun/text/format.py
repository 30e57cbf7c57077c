"""A value, or a number of bytes, goes in, and the few characters come out that say it to people.

A small tensor is written out, a larger one by its shape and range; never more than there is room for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..trace.value import Value, sum_values

__all__ = [
    "SENTENCE_CHARS",
    "adds_up",
    "enumerated",
    "format_bytes",
    "format_number",
    "format_value",
    "sentence_value",
    "shows_numbers",
]

SENTENCE_CHARS = 40
"""The most characters of a value within a sentence."""


def format_number(value: complex | float | int | bool) -> str:
    """A number as people write it, four significant digits: `0.3333`, `6`, `-2.5e-07`, `True`.

    >>> [format_number(v) for v in (1.0, -0.0, 1 / 3, 12345678.0, True)]
    ['1', '0', '0.3333', '1.235e+07', 'True']
    """
    if type(value) is float:  # most of all
        return f"{value:.4g}" if value else "0"
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, complex):
        sign = "-" if value.imag < 0 else "+"
        return f"{format_number(value.real)}{sign}{format_number(abs(value.imag))}j"
    return f"{value + 0.0:.4g}" if value else "0"


def format_value(value: Value | None, width: int = 22) -> str:
    """A value in at most about `width` characters: its content when that fits, else its shape and range.

    >>> format_value(Value((3,), "float32", (0.5, -2.0, 6.0)))
    '[0.5, -2, 6]'
    >>> format_value(Value((64, 10), "float32", None, -1.5, 2.25))
    '64×10 in [-1.5, 2.25]'
    >>> format_value(Value((3, 2), "float32", (0.6, 0.8, float("nan"), float("nan"), 1.0, 2.0)))
    '3×2 in [0.6, 2], 2 nan'
    """
    if value is None:
        return "not yet"
    if value.data is not None and len(value.data) * 2 <= width + 2:
        text = _nested(value.tolist())
        if len(text) <= width:
            return text
    shape = _shape(value.shape)
    bounds = value.bounds()
    if bounds is None:
        return _without_numbers(shape, value, width)
    low, high = bounds
    if low != low:
        return _with_nan(value, shape, width)
    for text in _ranged(shape, low, high):
        if len(text) <= width:
            return text
    return _without_numbers(shape, value, width)


def _without_numbers(shape: str, value: Value, width: int) -> str:
    """Shape and dtype; where there is no room for both, the shape."""
    text = f"{shape} {value.dtype}"
    return text if len(text) <= width else shape[:width]


def shows_numbers(value: Value, text: str) -> bool:
    """Whether a text that `format_value` made of a value tells some of its numbers.

    >>> value = Value((3, 2), "float32", None, -1.5, 2.25)
    >>> [shows_numbers(value, format_value(value, width)) for width in (18, 11, 8)]
    [True, False, False]
    """
    return not f"{_shape(value.shape)} {value.dtype}".startswith(text)


@lru_cache(maxsize=1024)
def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


@lru_cache(maxsize=4096)  # a gradient is shown where it leaves and where it arrives
def _ranged(shape: str, low: float, high: float) -> tuple[str, str]:
    """A shape and a range, in more and in fewer characters."""
    full = f"{shape} in [{format_number(low)}, {format_number(high)}]"
    if low == high:
        full = f"{shape}, all {format_number(low)}"
    return full, f"{shape} [{low + 0.0:.2g}, {high + 0.0:.2g}]"


def _with_nan(value: Value, shape: str, width: int) -> str:
    """A value that holds NaN: how many, and the range of the other numbers."""
    whole = value.data or ()
    numbers = [
        n for n in whole if n == n and not isinstance(n, complex)
    ]  # complex ones have no range
    if not numbers:
        return f"{shape}, all nan" if whole else f"{shape} in [nan, nan]"
    low, high = format_number(float(min(numbers))), format_number(float(max(numbers)))
    count = f"{len(whole) - len(numbers)} nan"
    text = f"{shape} in [{low}, {high}], {count}"
    return text if len(text) <= width else f"{shape}, {count}"[:width]


def sentence_value(value: Value | None) -> str:
    """A value as a sentence says it."""
    return format_value(value, SENTENCE_CHARS)


def enumerated(words: list[str]) -> str:
    """Words as people list them; there is at least one.

    >>> enumerated(["x"]), enumerated(["x", "w", "b"])
    ('x', 'x, w and b')
    """
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def adds_up(parts: list[Value], value: Value) -> bool:
    """Whether a value is the sum of parts, as far as their numbers are known.

    >>> one, two = (Value((), "float32", (float(n),)) for n in (1, 2))
    >>> adds_up([one, one], two), adds_up([one, two], two)
    (True, False)
    """
    total = sum_values(parts)
    return total.data is None or sentence_value(total) == sentence_value(value)


def _nested(content: Any) -> str:
    """Numbers in lists in lists, as `Value.tolist` gives them."""
    if isinstance(content, list):
        return "[" + ", ".join(map(_nested, content)) + "]"
    return format_number(content)


def format_bytes(nbytes: float) -> str:
    """Bytes as people write them.

    >>> format_bytes(24), format_bytes(4096), format_bytes(3_500_000)
    ('24 B', '4 KiB', '3.34 MiB')
    """
    if nbytes < 1024:
        return f"{nbytes} B"
    for unit in ("KiB", "MiB"):
        nbytes /= 1024
        if nbytes < 1024:
            return f"{nbytes:.3g} {unit}" if nbytes < 100 else f"{nbytes:.0f} {unit}"
    return f"{nbytes / 1024:.3g} GiB"
