"""Frozen dataclasses go in, JSON comes out, and the way back: exact, and strictly JSON.

The annotations of the dataclasses say what a file may hold, so a new field needs no line here; a field whose name in a
file is another one says so: `field(metadata={"key": …})`. JSON has no word for `nan`, `inf` and `-inf`: they are
written as these strings. A complex number is `[real, imaginary]`.

How the format grows: a file with a key that this reader does not know is refused, unless the file itself says under
`"skippable"`, a list of keys, that a reader may leave it out. So a new field has a default, is written only where it
has another value, and its key is then listed there when older readers can do without it. When they cannot, or when a
known field gets a new meaning or a new word, the version goes up, and older readers say that they are too old. Such a
field has the metadata `SKIPPABLE`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["dump", "load"]

T = TypeVar("T")
Reader = Callable[[Any, frozenset[str]], Any]
"""From what a file holds, and the keys that may be left out, to what the dataclasses hold."""
NOT_FINITE = ("nan", "inf", "-inf")
LEAST_INT, MOST_INT = -(2**63), 2**64 - 1
"""The integers that a tensor can hold; no count, index or element lies outside."""


def dump(format_name: str, version: int, thing: Any) -> str:
    """A dataclass as JSON text that `load` reads; keys in the order of the fields, the format's name first."""
    skippable: set[str] = set()
    parts = _written(thing, skippable)
    if skippable:
        parts["skippable"] = sorted(skippable)
    return json.dumps({"format": format_name, "version": version, **parts}, allow_nan=False)


def load(format_name: str, version: int, kind: type[T], text: str) -> T:
    """The dataclass that a text of `dump` holds; `ValueError` in one sentence when it holds none."""
    try:
        found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
    except _Damage as damage:
        raise damage.error("it") from None
    except (ValueError, RecursionError):  # also a number of more digits than Python reads
        raise ValueError(f"this is no {format_name}: the text is not JSON") from None
    if not isinstance(found, dict) or found.pop("format", None) != format_name:
        raise ValueError(f'this is no {format_name}: it does not begin with "format"')
    written = found.pop("version", None)
    if type(written) is not int or written < 1:
        raise ValueError(f"this is no {format_name}: it has no version number")
    if written > version:
        raise ValueError(
            f"this {format_name} has version {written}, and this package reads up to {version}: "
            "install a newer definebyrun"
        )
    try:
        loaded: T = _record(kind, found, _skippable(found.pop("skippable", [])))
    except _Damage as damage:
        raise damage.error(format_name) from None
    except RecursionError:
        raise ValueError("this file is damaged: its parts lie too deep within each other") from None
    return loaded


def _skippable(found: Any) -> frozenset[str]:
    """The keys that a file says a reader may leave out."""
    if not isinstance(found, list) or not all(isinstance(key, str) for key in found):
        raise _Damage("must list the keys that are skippable")
    return frozenset(found)


class _Damage(Exception):
    """What is wrong with a part of a file; `keys` lead there, the innermost first."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.keys: list[str] = []

    def error(self, root: str) -> ValueError:
        return ValueError(
            f"this file is damaged: {'.'.join([root, *reversed(self.keys)])} {self.args[0]}"
        )


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise _Damage(f"has the part {twice[:30]!r} twice")
    return found


def _written(thing: Any, skippable: set[str]) -> Any:
    """A thing as lists, dicts, strings and finite numbers; adds the keys that older readers can do without."""
    if isinstance(thing, Sequence) and not isinstance(thing, str):
        return [_written(part, skippable) for part in thing]
    if isinstance(thing, float):
        return thing if math.isfinite(thing) else str(thing)
    if isinstance(thing, complex):
        return [_written(thing.real, skippable), _written(thing.imag, skippable)]
    if is_dataclass(thing):
        kind: Any = type(thing)
        parts = {key: _written(getattr(thing, name), skippable) for key, name in _keys(kind)}
        for key, name, default in _skippable_keys(kind):
            if getattr(thing, name) == default:
                del parts[key]
            else:
                skippable.add(key)
        return parts
    return thing


@cache
def _keys(kind: Any) -> tuple[tuple[str, str], ...]:
    """By key in a file: the field."""
    return tuple((each.metadata.get("key", each.name), each.name) for each in fields(kind))


@cache
def _skippable_keys(kind: Any) -> tuple[tuple[str, str, Any], ...]:
    """Key, name and default of each field that a reader can do without."""
    new = [each for each in fields(kind) if each.metadata.get("skippable")]
    return tuple((each.metadata.get("key", each.name), each.name, each.default) for each in new)


# ---- reading: one function for each annotation ----


@cache
def _fields(kind: Any) -> dict[str, tuple[str, Reader, bool]]:
    """By key in a file: the field, what reads it, and whether it must be there."""
    hints, default = get_type_hints(kind), {each.name: each.default for each in fields(kind)}
    return {
        key: (name, _reader(hints[name]), default[name] is MISSING) for key, name in _keys(kind)
    }


@cache
def _reader(hint: Any) -> Reader:
    """What makes a value of the kind that an annotation says from what a file holds."""
    if is_dataclass(hint):
        return partial(_record, hint)
    if get_origin(hint) is tuple:
        *inner, last = get_args(hint)
        if last is Ellipsis:
            return partial(_all_alike, _reader(inner[0]), _simple(inner[0]))
        return partial(_one_each, tuple(map(_reader, (*inner, last))))
    if get_origin(hint) is Literal:
        return partial(_word, get_args(hint))
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    inside = [part for part in kinds if is_dataclass(part) or get_origin(part) is tuple]
    return partial(_scalar, frozenset(kinds), _reader(inside[0]) if inside else None)


def _record(kind: Any, found: Any, skippable: frozenset[str]) -> Any:
    if not isinstance(found, dict):
        raise _Damage(f"cannot be {_short(found)}")
    known, parts = _fields(kind), {}
    for key, part in found.items():
        if key in known:
            name, read, _ = known[key]
            try:
                parts[name] = read(part, skippable)
            except _Damage as damage:
                damage.keys.append(key)
                raise
        elif key not in skippable:
            raise _Damage(f"has a part {key[:30]!r} that is not known")
    for key, (name, _, needed) in known.items():
        if needed and name not in parts:
            raise _Damage(f"has no {key!r}")
    return kind(**parts)


def _simple(hint: Any) -> frozenset[type]:
    """The kinds of JSON that stand for themselves where an annotation is this one."""
    kinds = frozenset(get_args(hint) if isinstance(hint, UnionType) else (hint,))
    return kinds & {bool, int, float}


def _all_alike(
    read: Reader, simple: frozenset[type], found: Any, skippable: frozenset[str]
) -> tuple[Any, ...]:
    if not isinstance(found, list):
        raise _Damage(f"cannot be {_short(found)}")
    kinds = set(map(type, found))
    if kinds <= simple and (
        int not in kinds or (min(found) >= LEAST_INT and max(found) <= MOST_INT)
    ):
        return tuple(found)  # a tensor's numbers, mostly
    return tuple([read(part, skippable) for part in found])


def _one_each(
    readers: tuple[Reader, ...], found: Any, skippable: frozenset[str]
) -> tuple[Any, ...]:
    if not isinstance(found, list) or len(found) != len(readers):
        raise _Damage(f"cannot be {_short(found)}")
    return tuple([read(part, skippable) for read, part in zip(readers, found, strict=True)])


def _word(words: tuple[str, ...], found: Any, skippable: frozenset[str]) -> str:
    if found not in words:
        raise _Damage(f"cannot be {_short(found)}, but one of {', '.join(map(repr, words))}")
    return str(found)


def _scalar(
    kinds: frozenset[Any], inside: Reader | None, found: Any, skippable: frozenset[str]
) -> Any:
    """A number, a text, nothing, or the one record or tuple that may stand there instead."""
    kind = type(found)
    if kind is int and kinds & {int, float} and not LEAST_INT <= found <= MOST_INT:
        raise _Damage("cannot be a number of more than 64 bits")
    if kind in kinds:
        if kind is str and not _is_text(found):
            raise _Damage("cannot be half of a character")
        return found
    if float in kinds and (kind is int or found in NOT_FINITE):
        return found if kind is int else float(found)
    if complex in kinds and kind is list and len(found) == 2:
        return complex(*(_reader(float)(part, skippable) for part in found))
    if found is None or inside is None:
        raise _Damage(f"cannot be {_short(found)}")
    return inside(found, skippable)


def _is_text(found: str) -> bool:
    """Whether a text can be written to a file: a JSON escape may also stand for half of a surrogate pair."""
    return found.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in found)


def _short(found: Any) -> str:
    """What stands in a file, in a few characters."""
    if isinstance(found, (list, dict)):
        return f"{'a list' if isinstance(found, list) else 'an object'} of {len(found)}"
    return repr(str(found)[:30])
