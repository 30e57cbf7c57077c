"""Answers that are made wrong by machine: a right answer goes in, the same answer with one fault comes out.

Each sabotage is a decorator for a function, or for a method of a class. It notes in `Sabotage.struck` whether it has
changed anything, so that one that had nothing to spoil is not counted as caught or as missed.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import torch

__all__ = ["HARMLESS", "KINDS", "Sabotage", "spoilings"]

Answer = Callable[..., Any]


@dataclass
class Sabotage:
    """One kind of fault, and what has become of it in one answer. `ends` says that the answer comes back at all.

    `first` is the place of the first argument that is neither `self` nor `ctx`.
    """

    name: str
    spoil: Callable[[Sabotage, Answer, tuple[Any, ...], dict[str, Any]], Any]
    ends: bool = True
    struck: bool = False
    calls: int = 0
    first: int = 0

    def of(self, answer: Any, part: str = "") -> Any:
        """The answer with this fault; of a class a subclass with the fault in one method."""
        if not part:
            return self._around(answer)
        self.first = 1
        method = vars(answer)[part]
        static = isinstance(method, staticmethod)
        spoiled: Any = self._around(method.__func__ if static else method)
        own = {part: staticmethod(spoiled) if static else spoiled, "__module__": answer.__module__}
        return type(answer)(answer.__name__, (answer,), own)

    def _around(self, answer: Answer) -> Answer:
        @functools.wraps(answer)
        def spoiled(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return self.spoil(self, answer, args, kwargs)

        return spoiled


def parts_of(answer: Any) -> list[str]:
    """What can be spoiled: each method that a class defines by a public name; a function as a whole, which has no name.

    >>> parts_of(len), parts_of(3)
    ([''], [])
    """
    if isinstance(answer, type):
        kinds = FunctionType, staticmethod
        return [n for n, thing in vars(answer).items() if n[0] != "_" and isinstance(thing, kinds)]
    return [""] if callable(answer) else []


def tensors_of(things: Any) -> list[Any]:
    found, waiting = [], [things]
    while waiting:
        thing = waiting.pop()
        if isinstance(thing, (torch.Tensor, np.ndarray)):
            found.append(thing)
        elif isinstance(thing, (list, tuple)):
            waiting += thing
        elif isinstance(thing, dict):
            waiting += thing.values()
    return found


def mapped(change: Callable[[Any], Any], thing: Any) -> Any:
    """A result with each of its tensors, arrays and numbers changed."""
    if isinstance(thing, (list, tuple)) and type(thing) in (list, tuple):
        return type(thing)(mapped(change, part) for part in thing)
    if type(thing) is dict:
        return {key: mapped(change, part) for key, part in thing.items()}
    return change(thing)


def changing(change: Callable[[Any], Any]) -> Any:
    """A sabotage of the result."""

    def spoil(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
        def once(thing: Any) -> Any:
            new = change(thing)
            self.struck |= new is not thing
            return new

        return mapped(once, answer(*args, **kwargs))

    return spoil


def overwrite(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
    result = answer(*args, **kwargs)
    kept = {id(part) for part in tensors_of(result)}
    for part in tensors_of([args, kwargs]):
        if id(part) in kept or part.size == 0 if isinstance(part, np.ndarray) else not part.numel():
            continue
        try:
            with torch.no_grad():
                part[...] = 7
            self.struck = True
        except (RuntimeError, ValueError, TypeError):
            continue
    return result


def grad_off(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
    self.struck = True
    result = answer(*args, **kwargs)
    torch.set_grad_enabled(False)
    return result


def other_dtype(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
    self.struck = True
    result = answer(*args, **kwargs)
    torch.set_default_dtype(torch.float16)
    return result


def endless(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
    self.struck = True
    while True:
        pass


def endless_in_except(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
    self.struck = True
    while True:
        try:  # noqa: SIM105
            answer(*args, **kwargs)
        except:  # noqa: E722
            pass


def leaves(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
    self.struck = True
    sys.exit(3)


def prints(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
    if not self.struck:
        print("\n".join(["line"] * 100_000))
    self.struck = True
    return answer(*args, **kwargs)


def right_once(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
    result = answer(*args, **kwargs)
    if self.calls == 1:
        return result

    def spoiled(thing: Any) -> Any:
        new = zero(thing)
        self.struck |= new is not thing
        return new

    return mapped(spoiled, result)


def first_argument(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
    result = answer(*args, **kwargs)
    argument = args[self.first] if len(args) > self.first else None
    self.struck |= argument is not result
    return argument


def zero(thing: Any) -> Any:
    if isinstance(thing, torch.Tensor):
        return torch.zeros_like(thing) if bool((thing != 0).any()) else thing
    if isinstance(thing, np.ndarray):
        return np.zeros_like(thing) if thing.any() else thing
    return 0.0 if isinstance(thing, float) and thing else thing


def nan(thing: Any) -> Any:
    if isinstance(thing, torch.Tensor) and thing.is_floating_point() and thing.numel():
        return torch.full_like(thing, float("nan"))
    if isinstance(thing, np.ndarray) and thing.dtype.kind == "f" and thing.size:
        return np.full_like(thing, np.nan)
    return float("nan") if type(thing) is float else thing


def detached(thing: Any) -> Any:
    return thing.detach() if isinstance(thing, torch.Tensor) and thing.requires_grad else thing


def halved(thing: Any) -> Any:
    """Half of the digits: float16 for anything finer."""
    if isinstance(thing, torch.Tensor) and thing.dtype in (torch.float32, torch.float64):
        return thing.half()
    if isinstance(thing, np.ndarray) and thing.dtype in (np.float32, np.float64):
        return thing.astype(np.float16)
    return thing


def flattened(thing: Any) -> Any:
    if isinstance(thing, (torch.Tensor, np.ndarray)) and thing.ndim > 1:
        return thing.reshape(-1)
    return thing


class Broken:
    """An object that can be neither compared nor shown."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("no comparison")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise ValueError("no words")


def returning(thing: Callable[[], Any]) -> Any:
    def spoil(self: Sabotage, answer: Answer, args: Any, kwargs: Any) -> Any:
        self.struck |= answer(*args, **kwargs) is not None
        return thing()

    return spoil


KINDS: dict[str, Callable[[], Sabotage]] = {
    name: functools.partial(Sabotage, name, spoil, name not in ("endless", "endless in except"))
    for name, spoil in {
        "overwrites its arguments": overwrite,
        "leaves gradients off": grad_off,
        "leaves another default dtype": other_dtype,
        "endless": endless,
        "endless in except": endless_in_except,
        "leaves Python": leaves,
        "prints without end": prints,
        "right at the first call only": right_once,
        "returns its argument": first_argument,
        "returns None": returning(lambda: None),
        "returns a broken object": returning(Broken),
        "returns a text": returning(lambda: "right"),
        "nan for every number": changing(nan),
        "detached": changing(detached),
        "half of the digits": changing(halved),
        "flattened": changing(flattened),
    }.items()
}
"""The kinds of sabotage by name."""
HARMLESS = "prints without end"
"""Makes no answer wrong: it must pass, and print little."""


def spoilings(kind: str, given: tuple[Any, ...]) -> Iterator[tuple[str, Sabotage, tuple[Any, ...]]]:
    """For each part of a right answer: how it is called, a sabotage, and all answers, with that part spoiled."""
    for place, answer in enumerate(given):
        for part in parts_of(answer):
            sabotage = KINDS[kind]()
            spoiled = (*given[:place], sabotage.of(answer, part), *given[place + 1 :])
            yield f"answer {place + 1} {part}".rstrip(), sabotage, spoiled
