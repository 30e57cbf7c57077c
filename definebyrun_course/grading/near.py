"""Numbers are held against each other within a tolerance, and shown with as many digits as it takes to tell them apart.

The tolerance is float32's, whatever the dtypes: an exercise that does not ask for a dtype takes both. Half precision is
outside it, unless the numbers are exact there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

__all__ = ["ATOL", "RTOL", "apart", "counted", "near", "shown"]

RTOL, ATOL = 2e-5, 1e-7
MAX_ROWS, MAX_COLUMNS = 3, 3
MAX_DIGITS = 17


def near(found: Any, want: Any, rtol: float = RTOL, atol: float = ATOL) -> bool:
    """Whether two tensors, arrays or numbers have one shape and the same numbers; `nan` is `nan`.

    >>> near(torch.ones(2), np.ones(2)), near(1.0, 1.001), near(np.ones((2, 1)), np.ones(2))
    (True, False, False)
    """
    one, two = _array(found), _array(want)
    if one is None or two is None or one.shape != two.shape:
        return False
    return bool(np.allclose(one, two, rtol=rtol, atol=atol, equal_nan=True))


def shown(thing: Any, digits: int = 4) -> str:
    """A tensor, an array, a number or a list of these, short enough for a verdict: at most three by three.

    >>> shown(torch.tensor([[1 / 3, -0.0], [1000.0, 2.0]])), shown(np.zeros(9)), shown([1.0, 2])
    ('[[0.3333, 0], [1000, 2]]', 'an array of shape (9,)', '[1, 2]')
    """
    if isinstance(thing, (torch.Tensor, np.ndarray)):
        kind = "a tensor" if isinstance(thing, torch.Tensor) else "an array"
        shape = tuple(thing.shape)
        small = len(shape) <= 2 and max(shape[-1:], default=0) <= MAX_COLUMNS
        if not small or (len(shape) == 2 and shape[0] > MAX_ROWS):
            return f"{kind} of shape {shape}"
        array = _array(thing)
        return f"{kind} of shape {shape}" if array is None else _written(array.tolist(), digits)
    return _written(thing, digits)


def apart(one: Any, two: Any) -> tuple[str, str]:
    """Two numbers, or two lists of them, with so many digits that they look as different as they are.

    >>> apart(0.99039, 0.99041), apart([1.0, 2.0], [1.0, 2.5]), apart(3, 3)
    (('0.99039', '0.99041'), ('[1, 2]', '[1, 2.5]'), ('3', '3'))
    """
    for digits in range(4, MAX_DIGITS):
        texts = shown(one, digits), shown(two, digits)
        if texts[0] != texts[1]:
            return texts
    return shown(one), shown(two)


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number of things in words; another plural than with s is named.

    >>> counted(1, "node"), counted(2_000, "node"), counted(3, "batch", "batches")
    ('1 node', '2,000 nodes', '3 batches')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _written(thing: Any, digits: int) -> str:
    if isinstance(thing, (list, tuple)):
        inside = ", ".join(_written(part, digits) for part in thing)
        return f"[{inside}]"
    if isinstance(thing, (torch.Tensor, np.ndarray)):
        return shown(thing, digits)
    if isinstance(thing, (bool, complex)) or not isinstance(thing, (int, float, np.number)):
        return repr(thing)
    if not math.isfinite(thing):
        return str(float(thing))
    text = f"{float(thing):.{digits}g}"
    return "0" if float(text) == 0 else text


def _array(thing: Any) -> Any:
    """The numbers as an array of float64 (complex where they are complex); None where there are none."""
    try:
        if isinstance(thing, torch.Tensor):
            thing = thing.detach().cpu()
            return thing.to(torch.complex128 if thing.is_complex() else torch.float64).numpy()
        array = np.asarray(thing)
        return array.astype(complex if array.dtype.kind == "c" else float)
    except (TypeError, ValueError, RuntimeError):
        return None
