"""Frozen dataclasses go in, JSON comes out, and the way back: exact, and strictly JSON.

The annotations of the dataclasses say what a file may hold, so a new field needs no line here; a field whose name in a
file is another one says so: `field(metadata={"key": …})`. JSON has no word for `nan`, `inf` and `-inf`: they are
written as these strings. A complex number is `[real, imaginary]`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["dump", "load"]

NOT_FINITE = ("nan", "inf", "-inf")


def dump(format_name: str, version: int, thing: Any) -> str:
    """A dataclass as JSON text that `load` reads; keys in the order of the fields, the format's name first."""
    return json.dumps(
        {"format": format_name, "version": version, **_written(thing)}, allow_nan=False
    )


def load(format_name: str, version: int, kind: type, text: str) -> Any:
    """The dataclass that a text of `dump` holds; `ValueError` in one sentence when it holds none."""
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError(f"this is no {format_name}: the text is not JSON") from None
    if not isinstance(found, dict) or found.get("format") != format_name:
        raise ValueError(f'this is no {format_name}: it does not begin with "format"')
    if type(found.get("version")) is not int:
        raise ValueError(f"this is no {format_name}: it has no version number")
    if found["version"] > version:
        raise ValueError(
            f"this {format_name} has version {found['version']}, and this package reads up to {version}: "
            "install a newer definebyrun"
        )
    parts = {key: part for key, part in found.items() if key not in ("format", "version")}
    return _read(kind, parts, format_name)


def _refuse(word: str) -> Any:
    raise json.JSONDecodeError(f"{word} is not JSON", word, 0)


@cache
def _saved_fields(kind: type) -> dict[str, tuple[Any, Field[Any]]]:
    hints = get_type_hints(kind)
    return {
        field.metadata.get("key", field.name): (hints[field.name], field)
        for field in fields(kind)
        if field.init
    }


def _written(thing: Any) -> Any:
    """A thing as lists, dicts, strings and finite numbers."""
    if isinstance(thing, Sequence) and not isinstance(thing, str):
        return [_written(part) for part in thing]
    if isinstance(thing, float):
        return thing if math.isfinite(thing) else str(thing)
    if isinstance(thing, complex):
        return [_written(thing.real), _written(thing.imag)]
    if is_dataclass(thing):
        known = _saved_fields(type(thing))
        return {key: _written(getattr(thing, field.name)) for key, (_, field) in known.items()}
    return thing


def _read(kind: Any, found: Any, where: str) -> Any:
    """What an annotation says, made from what the file holds; `where` is for the error."""
    if is_dataclass(kind):
        return _read_fields(kind, found, where)
    if get_origin(kind) is tuple:
        return _read_tuple(get_args(kind), found, where)
    kinds = get_args(kind) if get_origin(kind) is UnionType else (kind,)
    if type(found) in kinds:
        return found
    if float in kinds and (type(found) is int or found in NOT_FINITE):
        return found if type(found) is int else float(found)
    if complex in kinds and isinstance(found, list) and len(found) == 2:
        return complex(*(_read(float, part, where) for part in found))
    inner = [part for part in kinds if is_dataclass(part) or get_origin(part) is tuple]
    if found is None or not inner:
        raise _damaged(where, found)
    return _read(inner[0], found, where)


def _read_fields(kind: type, found: Any, where: str) -> Any:
    known = _saved_fields(kind)
    if not isinstance(found, dict):
        raise _damaged(where, found)
    for name in found:
        if name not in known:
            raise ValueError(f"this file is damaged: {where} has a part {name!r} that is not known")
    parts = {}
    for key, (hint, field) in known.items():
        if key in found:
            parts[field.name] = _read(hint, found[key], f"{where}.{key}")
        elif field.default is MISSING:
            raise ValueError(f"this file is damaged: {where} has no {key!r}")
    return kind(**parts)


def _read_tuple(inside: tuple[Any, ...], found: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(found, list):
        raise _damaged(where, found)
    if inside[-1] is Ellipsis:
        return tuple(_read(inside[0], part, where) for part in found)
    if len(found) != len(inside):
        raise _damaged(where, found)
    return tuple(_read(hint, part, where) for hint, part in zip(inside, found, strict=True))


def _damaged(where: str, found: Any) -> ValueError:
    return ValueError(f"this file is damaged: {where} cannot be {str(found)[:30]!r}")
