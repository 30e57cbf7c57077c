"""Pauses Python's garbage collector while a recording or a drawing goes on.

Nearly all objects that a recording makes live to its end, and a full collection goes through all of them again and
again: the longer the recording, the dearer each operation would be. So full collections wait. The youngest generation,
where the program's garbage may be, is still collected, but 30 times less often: a recording allocates about 30 objects
for each one of the program. A drawing runs no code of the program and leaves next to no garbage, so it is not
interrupted at all. `gc.collect()` works in both.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["no_collections", "no_full_collections"]

NEVER_THRESHOLD = 2**30
YOUNG_THRESHOLD_FACTOR = 30
"""How many objects a recording allocates for each one of the program, at least: about 30 for each operation."""

Thresholds = tuple[int, int, int]


class _Paused:
    """How many recordings and drawings are going on in all threads, and the collector's settings before the first."""

    lock = Lock()
    count = 0
    before: Thresholds = (0, 0, 0)
    during: Thresholds = (0, 0, 0)
    drawings = 0
    enabled = True


@contextmanager
def no_full_collections() -> Iterator[None]:
    """A region in which no full collection starts by itself; the last region to end puts the thresholds back.

    >>> before = gc.get_threshold()
    >>> with no_full_collections(), no_full_collections():
    ...     gc.get_threshold() == (30 * before[0], before[1], NEVER_THRESHOLD)
    True
    >>> gc.get_threshold() == before
    True
    """
    with _Paused.lock:
        _Paused.count += 1
        if _Paused.count == 1:
            young, middle, _ = _Paused.before = gc.get_threshold()
            _Paused.during = YOUNG_THRESHOLD_FACTOR * young, middle, NEVER_THRESHOLD
            gc.set_threshold(*_Paused.during)
    try:
        yield
    finally:
        with _Paused.lock:
            _Paused.count -= 1
            if _Paused.count == 0:  # what the program has set stays
                each = zip(gc.get_threshold(), _Paused.during, _Paused.before, strict=True)
                gc.set_threshold(*[old if now == ours else now for now, ours, old in each])


@contextmanager
def no_collections() -> Iterator[None]:
    """A region in which no collection starts by itself; the last region to end enables the collector if it was.

    >>> with no_collections(), no_collections():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    with _Paused.lock:
        _Paused.drawings += 1
        if _Paused.drawings == 1:
            _Paused.enabled = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _Paused.lock:
            _Paused.drawings -= 1
            if _Paused.drawings == 0 and _Paused.enabled:
                gc.enable()
