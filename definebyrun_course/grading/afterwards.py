"""What a check has opened is closed when it is over, also when the limit has struck.

At the limit an exception is raised again and again until the check has ended (`limit`), in its `finally` blocks too: a
folder would stay, a replaced function would stay replaced. `judge` closes what they have left open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["close_all", "closed_by"]

Close = Callable[[], Any]
_open: list[Close] = []


@contextmanager
def closed_by(close: Close) -> Iterator[None]:
    """A region after which `close` is called, at the latest by `judge`; it may be called twice.

    >>> with closed_by(lambda: print("closed")):
    ...     print("open")
    open
    closed
    """
    _open.append(close)
    try:
        yield
    finally:
        if close in _open:  # else it is garbage that is collected after `close_all`
            close()
            _open.remove(close)


def close_all() -> None:
    """Close what is still open, the latest first."""
    while _open:
        _open.pop()()
