"""The name of a figure goes in, what a process of its own measures comes out, one pass at a time; processes take turns.

A machine is not always equally fast: what is divided by each other has to be measured in the same minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from weakref import finalize

from bench.tables import ROOT

__all__ = ["PEERS", "Worker", "answer", "take_turns"]

Facts = dict[str, Any]
PEERS = ROOT / "_build" / "peers"
"""Where the other drawing tools are installed."""
START_SECONDS = 120
"""What a process may take until it has imported everything."""
CODE = """
import sys
sys.path.insert(0, {package!r})
import definebyrun
sys.path[0] = {root!r}  # `bench` is the one of this folder, also when the package is not
sys.path.append({peers!r})
from bench import figures
from bench.processes import answer
answer(figures.{figure}(*{arguments!r}))
"""


def answer(measure: Callable[[], Facts]) -> None:
    """In the process that measures: a pass for every line of its input, and a line of JSON for every pass."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as said:
        os.dup2(2, 1)  # what a tool prints is no answer
        print("{}", file=said)
        for _ in sys.stdin:
            print(json.dumps(measure()), file=said)


class Worker:
    """A process that prepares one figure, a function of `bench.figures`, and measures it whenever it is asked.

    `package` is the folder that it imports `definebyrun` from. `state` says why it has ended, and is empty before.
    """

    def __init__(self, figure: str, *arguments: str, package: Path = ROOT) -> None:
        self.state = ""
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        code = CODE.format(
            package=str(package),
            root=str(ROOT),
            peers=str(PEERS),
            figure=figure,
            arguments=arguments,
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            start_new_session=True,
        )
        self._kill = finalize(self, _kill, self._process)  # also when the bench is interrupted

    def start(self) -> None:
        """Wait until everything is imported and prepared."""
        self._read(START_SECONDS)

    def measure(self, limit_seconds: float) -> Facts | None:
        """What one pass finds; None where the process has ended, or was stopped because the time was over."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended: reading finds out why
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._read(limit_seconds)

    def end(self) -> None:
        """Stop the process, and what it has started."""
        self._kill()
        with contextlib.suppress(OSError):
            self._process.communicate()
        self._errors.close()

    def _read(self, limit_seconds: float) -> Facts | None:
        assert self._process.stdout is not None
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            _kill(self._process)

        late = threading.Timer(limit_seconds, stop)
        late.start()
        line = self._process.stdout.readline()
        late.cancel()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        error = error_name(self._errors.read(), status)
        self.state = self.state or (f"> {limit_seconds:g} s" if stopped.is_set() else error)
        return None


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def error_name(printed: str, status: int) -> str:
    """The name of the exception that ended a process, by what it printed and its exit status.

    >>> error_name("Traceback …\\nmodule.DeepError: too deep", 1), error_name("", -11), error_name("", 3)
    ('DeepError', 'killed by signal 11', 'exit status 3')
    """
    if status < 0:
        return f"killed by signal {-status}"
    last = next((line for line in reversed(printed.splitlines()) if line[:1].isalpha()), "")
    return last.partition(":")[0].rpartition(".")[2] or f"exit status {status}"


def take_turns(
    workers: Mapping[str, Worker], passes: int, seconds: float, limit_seconds: float
) -> dict[str, list[Facts]]:
    """What the passes of each find: round after round, each one pass, in the other direction every second time.

    A worker whose passes have taken more than `seconds` is not asked again.
    """
    found: dict[str, list[Facts]] = {name: [] for name in workers}
    left = dict.fromkeys(workers, seconds)
    for number in range(passes):
        for name in list(workers)[:: -1 if number % 2 else 1]:
            if left[name] <= 0 or workers[name].state:
                continue
            start = time.perf_counter()
            facts = workers[name].measure(limit_seconds)
            left[name] -= time.perf_counter() - start
            if facts is not None:
                found[name].append(facts)
    return found
