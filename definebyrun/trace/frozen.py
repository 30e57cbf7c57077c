"""A class of fields goes in, a frozen dataclass with slots comes out whose objects are made three times as fast.

A frozen dataclass sets each of its fields through `object.__setattr__`, which is most of what making one takes, and a
recording makes about ten for every operation. Here an object is open while it is made, and frozen from then on; a
draft stays open until it is sealed.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self, TypeVar, dataclass_transform

__all__ = ["Record", "altered", "frozen", "sealed"]

Kind = TypeVar("Kind", bound=type)
R = TypeVar("R", bound="Record")


class Record:
    """The base of the classes that `frozen` makes."""

    __slots__ = ()

    if TYPE_CHECKING:

        @staticmethod
        def draft(*args: Any, **values: Any) -> Any:
            """An object whose fields can still be set, until `sealed` freezes it; arguments as for the class."""

        def __replace__(self, /, **changes: Any) -> Self:
            """The same with other values in some of its fields, as `copy.replace` asks for it."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: Kind) -> Kind:
    """`dataclass(frozen=True, slots=True)`, made to make objects quickly.

    >>> @frozen
    ... class Point(Record):
    ...     x: int
    ...     y: int = 0
    >>> Point(1), Point(1) == Point(y=0, x=1)
    (Point(x=1, y=0), True)
    >>> Point(1).x = 2
    Traceback (most recent call last):
    dataclasses.FrozenInstanceError: cannot assign to field 'x'
    >>> draft = Point.draft(1)
    >>> draft.y = 5
    >>> sealed([draft], Point)
    (Point(x=1, y=5),)
    """
    shut: Any = dataclass(frozen=True, slots=True, init=False)(cls)
    names = [each.name for each in fields(shut)]
    # the same bases and the same slots, so the same layout: an open object can become a shut one
    opened = type(cls.__name__, cls.__bases__, {"__slots__": tuple(names)})
    defaults: dict[str, Any] = {}
    heads = []
    for each in fields(shut):
        if each.default_factory is not MISSING:
            raise TypeError(f"{cls.__name__}.{each.name}: a frozen field has a plain default")
        if each.default is not MISSING:
            defaults[f"_{each.name}"] = each.default
        if each.kw_only and "*" not in heads:
            heads.append("*")
        heads.append(each.name if each.default is MISSING else f"{each.name}=_{each.name}")
    made = [" self = _opened()", *(f" self.{name} = {name}" for name in names)]
    lines = [
        f"def __new__(cls, {', '.join(heads)}):",
        *(*made, " self.__class__ = _shut", " return self"),
        f"def draft({', '.join(heads)}):",
        *(*made, " return self"),
        "def __reduce__(self):",
        f" return _unpickled, (_shut, ({' '.join(f'self.{name},' for name in names)}))",
        "def __replace__(self, /, **changes):",
        " made = _opened()",
        *(f" made.{name} = self.{name}" for name in names),
        " for name, value in changes.items():",
        "  setattr(made, name, value)",
        " made.__class__ = _shut",
        " return made",
    ]
    space: dict[str, Any] = {"_opened": opened, "_shut": shut, "_unpickled": _unpickled}
    exec("\n".join(lines), space | defaults, space)
    for name in ("__new__", "__reduce__", "__replace__", "draft"):
        space[name].__qualname__ = f"{cls.__qualname__}.{name}"
        setattr(shut, name, staticmethod(space[name]) if name == "draft" else space[name])
    return shut  # type: ignore[no-any-return]  # the same class with slots


def _unpickled(kind: type[R], values: tuple[Any, ...]) -> R:
    """A record with these values, in the order of its fields."""
    return kind(**dict(zip((each.name for each in fields(kind)), values, strict=True)))  # type: ignore[arg-type]


def sealed(drafts: list[Any], kind: type[R]) -> tuple[R, ...]:
    """Drafts of a frozen kind, frozen."""
    for draft in drafts:
        draft.__class__ = kind
    return tuple(drafts)


def altered(record: R, **changes: Any) -> R:
    """A record with other values in some of its fields, as `dataclasses.replace` gives it, but quickly."""
    return record.__replace__(**changes)
