"""A function and a limit go in; its result comes out, or `Stopped`, when it was still running at the limit.

A watcher thread raises an exception in the thread that runs the function (`PyThreadState_SetAsyncExc`). No signal is
used, so it works in any thread, in Jupyter and on Windows. It cannot stop one call into C that never returns, such as
`time.sleep` or `sum(itertools.repeat(0))`: there Python code is not reached. Where no thread can be started (Pyodide),
the function runs without a limit.

The limit counts the processor time of the running thread where the system tells it (Linux), so that a busy machine
stops nobody; elsewhere, and for code that waits, it counts seconds, generously.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock, Thread, get_ident
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["LIMIT_SECONDS", "Stopped", "limited"]

Result = TypeVar("Result")
LIMIT_SECONDS = 20.0
"""Processor time that a check may take; the slowest right answer of the course takes a twentieth of it."""
LOOK_SECONDS = 0.05
"""How often the watcher looks, and how often it raises again while the code goes on."""
UNCLOCKED_FACTOR = 3
"""Where the processor time of a thread is not known, code may take so many times the limit in seconds."""
WAITING_FACTOR, WAITING_SECONDS = 10, 5.0
"""Code that mostly waits, for a busy machine too, may take so many times the limit, and so many seconds more."""
MAX_GROWTH_BYTES = 3 * 2**30
"""Memory that a check may add to the process; a graph or a list that grows for ever is stopped by it."""

_ACTUAL = ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
_raise_in = ctypes.PYFUNCTYPE(None, ctypes.c_ulong, ctypes.py_object)(_ACTUAL)
_clear_in = ctypes.PYFUNCTYPE(None, ctypes.c_ulong, ctypes.c_void_p)(_ACTUAL)


class Stopped(Exception):
    """The function was still running at the limit; `where` is the traceback of the place that it had reached.

    `reason` is `time` or `memory`.
    """

    def __init__(self, where: TracebackType | None, reason: str) -> None:
        super().__init__(f"still running at the limit of {reason}")
        self.where, self.reason = where, reason


def limited(function: Callable[[], Result], limit_seconds: float = LIMIT_SECONDS) -> Result:
    """Call a function; raise `Stopped` when it has not come back at the limit. Its own exceptions pass through.

    >>> limited(lambda: 3)
    3
    >>> def endless():
    ...     while True:
    ...         pass
    >>> limited(endless, 0.1)
    Traceback (most recent call last):
    definebyrun_course.grading.limit.Stopped: still running at the limit of time
    """
    watch = _Watch(limit_seconds)
    late, result, struck = watch.late, None, None
    stopped = True
    try:
        watch.start()
        result = function()
        stopped = False
    except late as error:
        late.__init__ = object.__init__  # type: ignore[method-assign,assignment]
        struck = error
    except BaseException:
        stopped = False
        raise
    finally:
        # First the exception stops raising the next one. What is still pending, or is raised while this runs, strikes
        # below: one of each at most, since the watcher waits between two. An attribute is set without a check for it.
        late.__init__ = object.__init__  # type: ignore[method-assign,assignment]
        try:
            watch.end()
        except late:
            try:
                watch.end()
            except late:
                watch.end()
        if watch.raised:
            _settle()
    if stopped:
        raise Stopped(_first(struck), watch.reason)
    return result  # type: ignore[return-value]


def _settle() -> None:
    """Let one last exception strike, since CPython up to 3.12 looks for one at every step until one has.

    An exception that was taken back does not end that; under a tracer (a debugger, coverage) 3.11 then hangs for ever.
    """

    class Last(BaseException):
        """Nothing else is taken for it."""

    try:
        _raise_in(get_ident(), Last)
        for _ in range(1000):
            pass
    except Last:
        pass


def _first(error: BaseException | None) -> TracebackType | None:
    """Where the first of the exceptions was raised: later ones strike in handlers, on the way out."""
    if error is None:
        return None
    while isinstance(error.__context__, type(error)):
        error = error.__context__
    return error.__traceback__


class _Watch:
    """Looks at one thread until `end`; raises `late` in it from the limit on, again and again."""

    def __init__(self, limit_seconds: float) -> None:
        class Late(BaseException):
            """A class of its own for each call, so that nothing is taken for it."""

        self.late, self.reason = Late, "time"
        self._limit, self._thread = limit_seconds, get_ident()
        self._lock, self._ended, self.raised = Lock(), False, False
        self._unraisable = sys.unraisablehook
        self._clock = _thread_clock(self._thread)

    def start(self) -> None:
        with suppress(RuntimeError):  # no threads here
            Thread(target=self._look, name="limit of an exercise", daemon=True).start()

    def end(self) -> None:
        """Raise nothing more, and take back what is pending."""
        with self._lock:
            self._ended = True
            if self.raised:
                _clear_in(self._thread, None)
                sys.unraisablehook = self._unraisable

    def _look(self) -> None:
        used, memory = self._clock(), _resident_bytes()
        latest = time.monotonic() + self._limit * UNCLOCKED_FACTOR
        if self._clock is not _no_clock:
            latest = time.monotonic() + self._limit * WAITING_FACTOR + WAITING_SECONDS
        while self._clock() - used < self._limit and time.monotonic() < latest:
            time.sleep(min(LOOK_SECONDS, self._limit))
            if self._ended:
                return
            if _resident_bytes() - memory > MAX_GROWTH_BYTES:
                self.reason = "memory"
                break
        # The next one is pending before the code can handle this one: a bare `except` in a loop would swallow an
        # exception that is merely repeated. `partial` runs in C, so no line of Python comes between.
        again = staticmethod(partial(_raise_in, self._thread, self.late))
        self.late.__init__ = again  # type: ignore[method-assign]
        while True:
            with self._lock:
                if self._ended:
                    return
                if not self.raised:
                    # an exception that strikes in a finalizer is only printed: say nothing, in C, where none strikes
                    say_nothing: Callable[[Any], None] = deque[Any](maxlen=0).append
                    self.raised, sys.unraisablehook = True, say_nothing
                _raise_in(self._thread, self.late)
            time.sleep(LOOK_SECONDS)


def _no_clock() -> float:
    """For systems that do not tell how much processor time another thread has used."""
    return 0.0


def _thread_clock(thread: int) -> Callable[[], float]:
    """The processor time of a thread, in seconds."""
    try:
        clock = time.pthread_getcpuclockid(thread)
        time.clock_gettime(clock)
    except (AttributeError, OSError):
        return _no_clock
    return partial(time.clock_gettime, clock)


def _resident_bytes() -> int:
    """The memory that this process holds now; 0 where Linux's `/proc` is not there."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0
