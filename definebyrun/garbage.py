"""A recording or a drawing goes on; the garbage collector waits until it has ended.

Nearly all that a recording makes lives to its end, and a full collection goes through all of it again and again: the
longer the recording, the dearer each operation would be. Young garbage is collected as ever, it may be the learner's.
A drawing runs no code of the learner's and leaves next to no garbage: no collection has anything to find there.
`gc.collect()` works in both.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["collections_wait", "full_collections_wait"]

NEVER = 2**30


class _Waiting:
    """How many recordings and drawings are going on, in all threads, and how the collector was set before the first."""

    lock = Lock()
    count = 0
    before = 0
    drawings = 0
    enabled = True


@contextmanager
def full_collections_wait() -> Iterator[None]:
    """A region without full collections by themselves; the last one to be left puts the threshold back.

    >>> before = gc.get_threshold()
    >>> with full_collections_wait(), full_collections_wait():
    ...     gc.get_threshold() == (*before[:2], NEVER)
    True
    >>> gc.get_threshold() == before
    True
    """
    with _Waiting.lock:
        _Waiting.count += 1
        if _Waiting.count == 1:
            *young, _Waiting.before = gc.get_threshold()
            gc.set_threshold(*young, NEVER)
    try:
        yield
    finally:
        with _Waiting.lock:
            _Waiting.count -= 1
            *young, old = gc.get_threshold()
            if _Waiting.count == 0 and old == NEVER:  # else the learner's code has set it
                gc.set_threshold(*young, _Waiting.before)


@contextmanager
def collections_wait() -> Iterator[None]:
    """A region without any collection by itself; the last one to be left switches the collector on where it was.

    >>> with collections_wait(), collections_wait():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    with _Waiting.lock:
        _Waiting.drawings += 1
        if _Waiting.drawings == 1:
            _Waiting.enabled = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _Waiting.lock:
            _Waiting.drawings -= 1
            if _Waiting.drawings == 0 and _Waiting.enabled:
                gc.enable()
