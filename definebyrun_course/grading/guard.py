"""A learner's function goes in; out comes one that runs it and says what it changed that was not its own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .arguments import Noted
from .surroundings import Surroundings
from .verdict import Mistake

__all__ = ["NOTHING", "Guarded"]

NOTHING = object()
"""What a function has returned that has not been called."""


class Guarded:
    """A function that is watched: each call must leave its arguments and the notebook as they were.

    `may_change` are positions of arguments that the exercise asks it to change; `...` in it stands for all.
    `returned` is what the last call gave.
    """

    def __init__(self, function: Callable[..., Any], may_change: tuple[Any, ...] = ()) -> None:
        self._function, self._may_change = function, may_change
        functools.update_wrapper(self, function)
        self._names = _names(function)
        self.returned: Any = NOTHING

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        watched = ... not in self._may_change
        kept = tuple(
            None if place in self._may_change else argument for place, argument in enumerate(args)
        )
        noted = Noted(kept, kwargs, self._names) if watched else None
        around = Surroundings(silent=False)
        try:
            self.returned = result = self._function(*args, **kwargs)
        finally:
            left = around.put_back()
        if left:
            raise Mistake(
                f"Your function left something changed for the whole notebook: {left[0].name}.",
                left[0].advice,
            )
        changed = None if noted is None else noted.changed()
        if noted is not None and changed is not None:
            noted.put_back()
            path, what = changed
            of = "" if what in ("numbers", "entries") else f", its {what}"
            raise Mistake(
                f"Your function changed what it was given: {path}{of} is not what it was before the call.",
                "Operations whose name ends in _ write into the tensor itself, and so do `x[i] = …`, `+=` and `.data`: "
                "work on something new.",
            )
        return result


def _names(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in positional]
