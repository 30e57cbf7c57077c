"""A trace and a choice of modules go in, the calls to fold come out: by level, path, pattern, class or function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, TypeAlias, cast

from ..trace import ModuleCall, Trace
from ..trace.records import FUNCTION
from .modules import call_depths, outermost

__all__ = ["Modules", "folded_into"]

Which: TypeAlias = str | type | Callable[[ModuleCall], Any]
Modules: TypeAlias = bool | int | Which | Iterable[Which]
"""What `Tape.fold` takes: a number of levels that stay open, or one or more of paths, patterns, classes, functions."""


def folded_into(trace: Trace, modules: Modules) -> list[int | None]:
    """By call: the call that it is folded into, if any.

    Raises `ValueError` for a negative number of levels, and for a path, a pattern or a class that no module of the run
    has; `TypeError` for anything else.
    """
    if isinstance(modules, int):
        if modules < 0:
            raise ValueError(f"modules is a number of levels that stay open, so not {modules}")
        level = int(modules)
        depths = zip(call_depths(trace), trace.calls, strict=True)
        wanted = [depth == level and call.kind != FUNCTION for depth, call in depths]
    else:
        wanted = [False] * len(trace.calls)
        for which in _each(modules):
            wanted = [a or b for a, b in zip(wanted, _chosen(trace, which), strict=True)]
    return outermost(trace, wanted)


def _each(modules: object) -> Iterable[object]:
    """What was asked for, one by one."""
    if isinstance(modules, (str, type)) or not isinstance(modules, Iterable):
        return [modules]
    return cast(Iterable[object], modules)


def _chosen(trace: Trace, which: object) -> list[bool]:
    """By call: whether it is one of those that a path, a pattern, a class or a function means."""
    calls = trace.calls
    if isinstance(which, type):
        found = [call.kind == which.__name__ for call in calls]
        meant = f"is of the class {which.__name__}"
    elif isinstance(which, str):
        found = [which in (call.path, call.kind) for call in calls]
        meant = f"has the path {which!r}"
        if not any(found) and any(sign in which for sign in "*?["):
            found = [fnmatchcase(call.path, which) for call in calls]
            meant = f"has a path like {which!r}"
    elif callable(which) and not hasattr(
        which, "forward"
    ):  # a module itself is no function of its calls
        return [bool(which(call)) for call in calls]
    else:
        raise TypeError(
            "modules takes True, a number of levels, paths such as 'model.fc', patterns such as 'model.*', classes, or "
            f"a function of a module call, not {type(which).__name__}"
        )
    if not any(found):
        modules = [call for call in calls if call.kind != FUNCTION]
        called = [call.kind if isinstance(which, type) else call.path for call in modules]
        there = ", ".join(list(dict.fromkeys(called))[:8]) or "none"
        raise ValueError(f"no module of this run {meant}; there are: {there}")
    return found
