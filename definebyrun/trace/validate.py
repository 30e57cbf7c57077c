"""The lists of a trace that was read from a file go in; a `ValueError` comes out where they cannot be those of a run.

Each record is checked alone, by what `references.py` says of its fields, and each value by its shape and dtype. How the
records fit together is checked in `consistency.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from .frozen import Record
from .references import FIELDS, Moment, Nested, Plain, indices
from .value import Value

__all__ = ["Lists", "damaged", "validate"]

Lists = Mapping[str, Sequence[Any]]
"""The lists of a trace by name, as `references.LISTS` has them."""


def damaged(what: str) -> ValueError:
    """The error for a file in which something is wrong."""
    return ValueError(f"this file is damaged: {what}")


def validate(lists: Lists, root: int | None, sides: tuple[str, ...]) -> None:
    """Raises `ValueError` for a record that cannot stand in these lists."""
    if sides and (len(sides) != 2 or len({*map(str.strip, sides), ""}) != 3):
        raise damaged("sides must be the names of two runs, or empty")
    if root is not None and not 0 <= root < len(lists["tensors"]):
        raise damaged(f"root speaks of tensors[{root}], which it does not hold")
    for name, records in lists.items():
        for i, record in enumerate(records):
            where = f"{name}[{i}]"
            _check(record, where, lists)
            if getattr(record, "index", i) != i:
                raise damaged(f"its {name} are not numbered in order")
            if getattr(record, "side", "") and not sides:
                raise damaged(f"{where} is of one run, and this is no comparison")
            other = getattr(record, "other", None)
            if other is not None:
                _check(other, f"{where}.other", lists)
                alone = record.side or not sides or other.side or other.other is not None
                if alone or getattr(other, "index", i) != i:
                    raise damaged(f"{where} cannot have another side")


def _check(record: Record, where: str, lists: Lists) -> None:
    """Check the numbers, indices and values of one record."""
    for name, field in FIELDS[type(record)].items():
        found = getattr(record, name)
        if isinstance(field, Plain):
            if found is not None and found < field.least:
                raise damaged(f"{where}.{name} cannot be {found}")
        elif isinstance(field, Moment):
            if not 0 <= found <= len(lists[field.of]) + field.beyond:
                raise damaged(f"{where}.{name} cannot be {found}")
        elif isinstance(field, Nested):
            for i, part in enumerate(found):
                _check(part, f"{where}.{name}[{i}]", lists)
    for name, of, i in indices(record):
        if i < 0 or (of in lists and i >= len(lists[of])):
            raise damaged(f"{where}.{name} speaks of {of}[{i}], which it does not hold")
    for name, value in _values(record):
        wrong = _wrong_value(value)
        if wrong:
            raise damaged(f"{where}.{name}: {wrong}")


def _values(record: Record) -> Iterator[tuple[str, Value]]:
    """Every value in a record, after the name of its field."""
    for name in _VALUE_FIELDS[type(record)]:
        waiting = [getattr(record, name)]
        while waiting:
            part = waiting.pop()
            if isinstance(part, Value):
                yield name, part
            elif isinstance(part, tuple):
                waiting += part


_VALUE_FIELDS = {
    kind: [each.name for each in fields(kind) if "Value" in str(each.type)]  # type: ignore[arg-type]
    for kind in FIELDS
}


def _wrong_value(value: Value) -> str:
    """What is wrong with a value; empty when nothing is."""
    if any(size < 0 for size in value.shape):
        return f"a tensor cannot have the shape {value.shape}"
    if not _DTYPE.fullmatch(value.dtype):
        return f"{value.dtype[:30]!r} is no dtype"
    if value.data is None:
        low, high = value.low, value.high
        if (low is None) != (high is None) or (low is not None and high is not None and low > high):
            return f"a range cannot go from {low} to {high}"
        return ""
    if value.low is not None or value.high is not None:
        return "a value has its content or its range, not both"
    if len(value.data) != math.prod(value.shape):
        return f"{len(value.data)} numbers do not fill the shape {value.shape}"
    allowed = _numbers_of(value.dtype)
    found = set(map(type, value.data))
    if not found <= allowed:
        return (
            f"a {value.dtype} tensor does not hold {next(iter(found - allowed)).__name__} numbers"
        )
    return ""


_DTYPE = re.compile("[a-z][a-z0-9_]*")


def _numbers_of(dtype: str) -> set[type]:
    """The kinds of numbers that a tensor of a dtype holds; a dtype of the future holds whole numbers, or floats."""
    if dtype == "bool":
        return {bool}
    if dtype.startswith("complex"):
        return {complex}
    return {int, float} if "float" in dtype or "int" not in dtype else {int}
