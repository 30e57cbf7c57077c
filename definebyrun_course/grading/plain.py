"""What an answer has done, as plain data that can be compared: the oracles of exercises are made of it.

Two answers with the same data are the same answer. So an oracle takes in what the statement cares about, and no more:
dtypes and `requires_grad` only where it is asked to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from .surroundings import Surroundings

__all__ = ["plain", "tried"]

DIGITS = {torch.float64: 6, torch.float32: 3}
"""Digits that are compared: fewer than two right answers may differ in. Other floats have one."""
MAX_DEPTH = 8


def plain(thing: Any, dtypes: bool = False, asks: bool = False, depth: int = 0) -> Any:
    """A result as nested lists and dicts of rounded numbers and names; the dtype and `requires_grad` if asked for.

    >>> plain((torch.tensor([1.23456789]), 2, None))
    [{'shape': [1], 'numbers': [1.23]}, 2, None]
    """
    if isinstance(thing, (torch.Tensor, np.ndarray, np.generic)):
        return _numbers(thing, dtypes, asks)
    if isinstance(thing, float):
        return _rounded(thing, DIGITS[torch.float64])
    if thing is None or isinstance(thing, (bool, int, str)):
        return thing
    if depth > MAX_DEPTH:
        return "deeper"
    if isinstance(thing, nn.Module):
        parts = {**dict(thing.named_parameters()), **dict(thing.named_buffers())}
        inside = {name: plain(part, dtypes, True) for name, part in parts.items()}
        return {"training": thing.training, **inside}
    if isinstance(thing, Mapping):
        return {
            str(plain(key)): plain(value, dtypes, asks, depth + 1) for key, value in thing.items()
        }
    if isinstance(thing, (list, tuple)):
        return [plain(part, dtypes, asks, depth + 1) for part in thing]
    return f"of type {type(thing).__name__}"


def tried(
    function: Callable[..., Any], *args: Any, dtypes: bool = False, asks: bool = False
) -> Any:
    """What a call returns, and its arguments after it; the type of the exception if it raises one.

    What the call leaves changed for the whole notebook is named and put back.

    >>> tried(lambda x: 1 / x, 4), tried(lambda x: 1 / x, 0)
    ({'returns': 0.25, 'arguments': [4]}, {'raises': 'ZeroDivisionError', 'arguments': [0]})
    """
    around = Surroundings(silent=False)
    try:
        found: dict[str, Any] = {"returns": plain(function(*args), dtypes, asks)}
    except Exception as error:
        found = {"raises": type(error).__name__}
    left = around.put_back()
    if left:
        found["left"] = [state.name for state in left]
    found["arguments"] = [
        _of_tensor(arg) if isinstance(arg, torch.Tensor) else plain(arg, True, True) for arg in args
    ]
    return found


def _of_tensor(tensor: torch.Tensor) -> dict[str, Any]:
    grad = tensor.grad if tensor.is_leaf else None
    hooks = len(tensor._backward_hooks or ())
    return {"itself": plain(tensor, True, True), "grad": plain(grad), "hooks": hooks}


def _numbers(thing: Any, dtypes: bool, asks: bool) -> dict[str, Any]:
    tensor = (
        thing.detach() if isinstance(thing, torch.Tensor) else torch.from_numpy(np.array(thing))
    )
    digits = DIGITS.get(tensor.dtype, 1) if tensor.is_floating_point() else None
    numbers = tensor.tolist()
    found = {
        "shape": list(tensor.shape),
        "numbers": numbers if digits is None else _rounded(numbers, digits),
    }
    if dtypes:
        found["dtype"] = str(tensor.dtype)
    if asks and isinstance(thing, torch.Tensor):
        found["asks"] = thing.requires_grad
    return found


def _rounded(numbers: Any, digits: int) -> Any:
    if isinstance(numbers, list):
        return [_rounded(number, digits) for number in numbers]
    if not isinstance(numbers, float) or not math.isfinite(numbers):
        return str(numbers)
    return float(f"{numbers:.{digits - 1}e}") + 0.0
