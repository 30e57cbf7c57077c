"""Answers in any form go in, plain numbers, lists and tensors come out; what cannot be read gets a sentence of its own.

A number may be an `int`, a `float`, a NumPy scalar or a tensor with one element; a sequence may be a list, a tuple, an
array, a tensor or a generator. `bool` is no number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import islice
from numbers import Number
from typing import Any

import numpy as np
import torch

from .verdict import Mistake

__all__ = [
    "array",
    "collection",
    "number",
    "numbers",
    "said",
    "sequence",
    "tensor",
    "whole",
    "wholes",
]

MAX_SAID_CHARS = 60
MAX_ENTRIES = 100_000
NUMBER = "An int, a float, or a tensor or an array that holds one number; a truth value, a text and a list are none."
SEQUENCE = "A list, a tuple, an array or a generator, whose entries have an order; a set and a dictionary have none."
ENTRIES = "Which entries does the statement name? Print yours beside them."
TENSOR = "Compute with tensors up to the return: item(), tolist() and float() leave them."
ARRAY = "np.asarray makes an array of a list of numbers."
NOTHING_RETURNED = "A function whose last line is no return gives None back."
SHAPE = "Print the shape after each line, for that case: which line makes it another one?"
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""A verdict on one answer is the same in every run, so it holds no address."""


def said(thing: Any, limit_chars: int = MAX_SAID_CHARS) -> str:
    """A thing on one line, as short as a verdict needs it; also where its `repr` raises.

    >>> said([1.0, 2.5]), said(torch.ones(2, 3)), said("x" * 100, 10)
    ('[1.0, 2.5]', '[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]', "'xxxxxxxx…")
    """
    if isinstance(thing, torch.Tensor) and thing.numel() > 6:
        return f"a tensor of shape {tuple(thing.shape)}"
    if isinstance(thing, np.ndarray) and thing.size > 6:
        return f"an array of shape {thing.shape}"
    if isinstance(thing, torch.Tensor):
        try:
            thing = thing.detach().tolist()
        except Exception:
            return "a tensor that cannot be read"
    if isinstance(thing, np.generic):
        thing = thing.item()
    try:
        text = ADDRESS.sub("", " ".join(repr(thing).split()))
    except Exception:
        text = f"an object of type {type(thing).__name__}"
    return text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…"


def number(answer: Any, what: str = "The answer") -> float:
    """A real number, given in any form.

    >>> number(3), number(np.float32(0.5)), number(torch.tensor([2.0]))
    (3.0, 0.5, 2.0)
    >>> number("three")
    Traceback (most recent call last):
    definebyrun_course.grading.verdict.Mistake: The answer is a number; this is 'three'.
    """
    value = _scalar(answer)
    if value is None:
        raise Mistake(f"{what} is a number; this is {said(answer)}.", NUMBER)
    return float(value)


def whole(answer: Any, what: str = "The answer") -> int:
    """A whole number, given in any form: `8000`, `8000.0`, `np.int64(8000)`, `torch.tensor(8000)`."""
    value = _scalar(answer)
    if value is None or not math.isfinite(value) or value != int(value):
        raise Mistake(f"{what} is a whole number; this is {said(answer)}.", NUMBER)
    return int(value)


def sequence(answer: Any, what: str = "The answer", length: int | None = None) -> list[Any]:
    """The entries of a list, tuple, array, tensor, generator …, in order."""
    if isinstance(answer, (torch.Tensor, np.ndarray)):
        if answer.ndim == 0:
            raise Mistake(
                f"{what} is a sequence; this is the single number {said(answer)}.", SEQUENCE
            )
        found = list(answer)
    elif isinstance(answer, (str, bytes, dict, set, frozenset)) or not isinstance(answer, Iterable):
        raise Mistake(
            f"{what} is a sequence, such as a list; this is {said(answer)}.",
            NOTHING_RETURNED if answer is None else SEQUENCE,
        )
    else:
        found = list(islice(answer, MAX_ENTRIES))
    if length is not None and len(found) != length:
        raise Mistake(f"{what} has {length} entries; yours has {len(found)}.", ENTRIES)
    return found


def collection(answer: Any, what: str = "The answer") -> list[Any]:
    """The entries of a sequence or a set, where the order does not matter."""
    return list(answer) if isinstance(answer, (set, frozenset)) else sequence(answer, what)


def numbers(answer: Any, what: str = "The answer", length: int | None = None) -> list[float]:
    """A sequence of real numbers."""
    return [number(part, f"Entry {i + 1}") for i, part in enumerate(sequence(answer, what, length))]


def wholes(answer: Any, what: str = "The answer", length: int | None = None) -> list[int]:
    """A sequence of whole numbers."""
    return [whole(part, f"Entry {i + 1}") for i, part in enumerate(sequence(answer, what, length))]


def tensor(
    answer: Any, what: str = "Your function", shape: tuple[int, ...] | None = None
) -> torch.Tensor:
    """A tensor, of a shape if one is given; anything else gets a sentence."""
    if not isinstance(answer, torch.Tensor):
        missing = " Is a `return` missing?" if answer is None else ""
        hint = NOTHING_RETURNED if answer is None else TENSOR
        raise Mistake(f"{what} returns a tensor; yours returned {said(answer)}.{missing}", hint)
    _shaped(tuple(answer.shape), shape, what)
    return answer


def array(answer: Any, what: str = "Your function", shape: tuple[int, ...] | None = None) -> Any:
    """A NumPy array, of a shape if one is given; a tensor, a list or a number is made one."""
    if answer is None:
        raise Mistake(
            f"{what} returns an array; yours returned None. Is a `return` missing?",
            NOTHING_RETURNED,
        )
    try:
        found = answer.detach().numpy() if isinstance(answer, torch.Tensor) else np.asarray(answer)
    except (ValueError, TypeError, RuntimeError):
        found = None
    if found is None or found.dtype.kind not in "biufc":
        raise Mistake(f"{what} returns an array of numbers; yours returned {said(answer)}.", ARRAY)
    _shaped(found.shape, shape, what)
    return found


def _shaped(found: tuple[int, ...], shape: tuple[int, ...] | None, what: str) -> None:
    if shape is not None and found != shape:
        raise Mistake(f"{what} returns the shape {shape} here; yours returned {found}.", SHAPE)


def _scalar(answer: Any) -> float | None:
    if isinstance(answer, (torch.Tensor, np.ndarray)):
        if answer.dtype in (torch.bool, np.dtype(bool)) or math.prod(answer.shape) != 1:
            return None
        try:
            answer = answer.item()
        except (RuntimeError, ValueError):
            return None
    if isinstance(answer, (bool, np.bool_)) or not isinstance(answer, (Number, np.generic)):
        return None
    try:
        return None if isinstance(answer, complex) else float(answer)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
