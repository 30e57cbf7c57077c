"""A recording or a drawing goes on; the garbage collector waits until it has ended.

Nearly all that a recording makes lives to its end, and a full collection goes through all of it again and again: the
longer the recording, the dearer each operation would be. Young garbage is collected, it may be the learner's, but for
thirty times as many new objects: about so many more are made, and most of what is gone through is the recording's.
A drawing runs no code of the learner's and leaves next to no garbage: no collection has anything to find there.
`gc.collect()` works in both.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["no_collections", "no_full_collections"]

NEVER_THRESHOLD = 2**30
YOUNG_THRESHOLD_FACTOR = 30
"""A recording makes so many times the objects of a plain run, or more: about thirty for each operation."""

Thresholds = tuple[int, int, int]


class _Waiting:
    """How many recordings and drawings are going on, in all threads, and how the collector was set before the first."""

    lock = Lock()
    count = 0
    before: Thresholds = (0, 0, 0)
    during: Thresholds = (0, 0, 0)
    drawings = 0
    enabled = True


@contextmanager
def no_full_collections() -> Iterator[None]:
    """A region without full collections by themselves; the last one to be left puts the threshold back.

    >>> before = gc.get_threshold()
    >>> with no_full_collections(), no_full_collections():
    ...     gc.get_threshold() == (30 * before[0], before[1], NEVER_THRESHOLD)
    True
    >>> gc.get_threshold() == before
    True
    """
    with _Waiting.lock:
        _Waiting.count += 1
        if _Waiting.count == 1:
            young, middle, _ = _Waiting.before = gc.get_threshold()
            _Waiting.during = YOUNG_THRESHOLD_FACTOR * young, middle, NEVER_THRESHOLD
            gc.set_threshold(*_Waiting.during)
    try:
        yield
    finally:
        with _Waiting.lock:
            _Waiting.count -= 1
            if _Waiting.count == 0:  # what the learner's code has set stays
                each = zip(gc.get_threshold(), _Waiting.during, _Waiting.before, strict=True)
                gc.set_threshold(*[old if now == ours else now for now, ours, old in each])


@contextmanager
def no_collections() -> Iterator[None]:
    """A region without any collection by itself; the last one to be left switches the collector on where it was.

    >>> with no_collections(), no_collections():
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
