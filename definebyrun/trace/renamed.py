"""A trace and new names go in, the trace with these names comes out: of tensors, and of modules with all in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .frozen import altered
from .trace import Trace

__all__ = ["renamed"]


def renamed(trace: Trace, names: Mapping[str, str]) -> Trace:
    """The trace in which each old name is the new one; the path of a module changes the names within it too.

    Raises `ValueError` for a name that nothing in the trace has, `TypeError` for names that are no text.
    """
    for old, new in names.items():
        if not isinstance(old, str) or not isinstance(new, str):
            raise TypeError(
                "names takes a dictionary from old names to new ones, such as {'fc': 'head'}"
            )
    found: set[str] = set()

    def new_name(name: str | None) -> str | None:
        """The new name: of the whole name, else of the longest path that it begins with."""
        for old in longest_first:
            if name is not None and (name == old or name.startswith((f"{old}.", f"{old}["))):
                found.add(old)
                return names[old] + name[len(old) :]
        return name

    longest_first = sorted(names, key=len, reverse=True)
    modules = {call.path for call in trace.calls}
    made = replace(
        trace,
        tensors=tuple(altered(t, name=new_name(t.name)) for t in trace.tensors),
        calls=tuple(altered(call, path=new_name(call.path)) for call in trace.calls),
        ops=tuple(
            altered(op, scope=new_name(op.scope), name=new_name(op.name) if op.module else op.name)
            for op in trace.ops
        ),
        stops=tuple(
            altered(stop, name=new_name(stop.name)) if stop.name in modules else stop
            for stop in trace.stops
        ),
    )
    for old in names:
        if old not in found:
            raise ValueError(f"nothing in this run is called {old!r}")
    return made
