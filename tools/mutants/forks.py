"""Functions go in, what became of them in a process of their own comes out: its result, a crash, or that it hung.

A process is forked, so that all that is imported already is there at once. `fork` is safe only while one thread runs:
OpenMP is held to one (`tools.kernels`), and nothing here starts another. Not for Windows, which cannot fork.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

__all__ = ["Crash", "Hang", "Task", "can_fork", "run_all"]

MAX_GROWTH_BYTES = 4 * 2**30
"""A process may take so much more memory than it began with."""
POLL_SECONDS = 0.004


def can_fork() -> bool:
    return hasattr(os, "fork")


@dataclass(frozen=True)
class Crash:
    """The call raised, or its process ended; `reason` is all that is known."""

    reason: str


class Hang:
    """The time was over."""


@dataclass(frozen=True)
class Task:
    """What to call in a process of its own, and how long it may take."""

    name: Any
    call: Callable[[], Any]
    limit_seconds: float


@dataclass(frozen=True)
class _Running:
    task: Task
    process: int
    result: BinaryIO
    deadline: float

    def outcome(self) -> Any:
        """What the call gave."""
        self.result.seek(0)
        try:
            return pickle.load(self.result)
        except EOFError:
            return Crash("its process has ended")


def run_all(tasks: Iterator[Task], workers: int) -> Iterator[tuple[Any, Any]]:
    """The name of each task and what its call gave, a `Crash` or a `Hang`, as they end; so many run at a time."""
    running: list[_Running] = []
    more = True
    try:
        while more or running:
            while more and len(running) < workers:
                task = next(tasks, None)
                more = task is not None
                if task is not None:
                    running.append(_fork(task))
            ended = [each for each in running if _has_ended(each.process)]
            late = [
                each for each in running if each not in ended and time.monotonic() > each.deadline
            ]
            for each in (*ended, *late):
                running.remove(each)
                if each in late:
                    _kill(each.process)
                with each.result:
                    found = Hang() if each in late else each.outcome()
                yield each.task.name, found
            if not (ended or late):
                time.sleep(POLL_SECONDS)
    finally:
        for each in running:
            _kill(each.process)
            each.result.close()


def _fork(task: Task) -> _Running:
    result = tempfile.TemporaryFile()  # noqa: SIM115
    process = os.fork()
    if process == 0:
        os.setsid()
        _hold(task.limit_seconds)
        try:
            found = task.call()
        except BaseException:
            found = Crash(traceback.format_exc())
        pickle.dump(found, result)
        result.flush()
        os._exit(0)
    return _Running(task, process, result, time.monotonic() + task.limit_seconds)


def _hold(limit_seconds: float) -> None:
    """Nothing is printed, no endless loop goes on when nobody waits for it any more, and the memory does not grow."""
    import resource

    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(quiet, stream)
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit_seconds) + 1, most))
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (now + MAX_GROWTH_BYTES, most))


def _has_ended(process: int) -> bool:
    return os.waitpid(process, os.WNOHANG)[0] != 0


def _kill(process: int) -> None:
    """The process, and what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)  # before it has become the leader of its group
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, 0)
