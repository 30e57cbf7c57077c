"""A learner's function goes in; out comes one that runs it and says what it changed that was not its own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .arguments import Noted
from .surroundings import State, Surroundings
from .verdict import Mistake

__all__ = ["NOTHING", "Guarded", "expect_nothing_left", "untouched"]

NOTHING = object()
"""What a function has returned that has not been called."""


class Guarded:
    """A function that is watched: each call must leave its arguments and the notebook as they were.

    `may_change` are positions of arguments that the exercise asks it to change; `...` in it stands for all.
    `returned` is what the last call gave, `raised` the exception that it ended in, `left` what it left changed then.
    """

    def __init__(self, function: Callable[..., Any], may_change: tuple[Any, ...] = ()) -> None:
        self._function, self._may_change = function, may_change
        functools.update_wrapper(self, function)
        self._names = _names(function)
        self.returned: Any = NOTHING
        self.raised: BaseException | None = None
        self.left: list[State] = []

    def __repr__(self) -> str:
        return repr(self._function)

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
        except BaseException as error:
            self.raised, self.left = error, around.put_back()
            raise
        expect_nothing_left(around.put_back())
        if noted is not None:
            _expect_unchanged(noted, "what it was given")
        return result


def expect_nothing_left(left: list[State]) -> None:
    """Raise a `Mistake` that names the first of these states, which an answer has left changed."""
    if left:
        raise Mistake(
            f"Your code left something changed for the whole notebook: {left[0].name}.",
            left[0].advice,
        )


@contextmanager
def untouched(**things: Any) -> Iterator[None]:
    """A region at whose end these things hold what they held before; else a `Mistake` names the one that does not.

    For what a function reaches without being given it: parameters of a model, leaves of a graph.
    """
    noted = Noted((), things, [])
    yield
    _expect_unchanged(noted, "what it should leave alone")


def _expect_unchanged(noted: Noted, role: str) -> None:
    changed = noted.changed()
    if changed is None:
        return
    noted.put_back()
    path, what = changed
    of = "" if what in ("numbers", "entries") else f", its {what},"
    raise Mistake(
        f"Your function changed {role}: {path}{of} is not what it was before the call.",
        _advice(what),
    )


def _advice(what: str) -> str:
    if what == ".grad":
        return (
            "A .grad belongs to the caller. backward() adds to that of every leaf that it reaches: "
            "what gives gradients back instead?"
        )
    if what == "requires_grad":
        return "The flag is the caller's: work on x.detach(), which is another tensor with the same numbers."
    if what == "mode":
        return "Each module has a mode of its own: put all of them back, after an error too: try … finally."
    if what.startswith("hooks"):
        return "Put it back before you return, after an error too: try … finally."
    return (
        "Operations whose name ends in _ write into the tensor itself, and so do `x[i] = …`, `+=` and `.data`: "
        "work on something new."
    )


def _names(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in positional]
