"""Wrong answers that are made of a right one, in the exercises of all lessons."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["then"]


def then(answer: Callable[..., Any], act: Callable[..., Any]) -> Callable[..., Any]:
    """The answer that does something to its arguments afterwards which it should not do.

    >>> given = [1, 2]
    >>> then(len, list.clear)(given), given
    (2, [])
    """

    @functools.wraps(answer)
    def both(*args: Any, **kwargs: Any) -> Any:
        result = answer(*args, **kwargs)
        act(*args, **kwargs)
        return result

    return both
