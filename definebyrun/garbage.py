"""A recording or a drawing goes on; the garbage collector's full collections wait until it has ended.

Nearly all that a recording makes lives to its end, and a full collection goes through all of it again and again: the
longer the recording, the dearer each operation would be. Young garbage is collected as ever, `gc.collect()` works.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["full_collections_wait"]

NEVER = 2**30


class _Waiting:
    """How many recordings are going on, in all threads, and what the collector was told before the first of them."""

    lock = Lock()
    count = 0
    before = 0


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
