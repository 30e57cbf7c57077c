"""Questions go in, what a process of its own has found comes out; several such processes take turns.

A machine is not always as fast: what is set against each other has to be measured in the same minutes.
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
from collections.abc import Callable, Collection, Iterator
from statistics import median, quantiles
from typing import Any
from weakref import finalize

from bench.tables import ROOT

__all__ = [
    "Answering",
    "ask",
    "heard",
    "is_known",
    "say",
    "summary",
    "sums_of",
    "take_turns",
    "turns",
]

Facts = dict[str, Any]
SECONDS, MOST = 0.8, 6
"""What each process gets at least: so much time, or so many passes."""
MORE = 10
"""At most so many times as much, while what it adds is not known."""
LEAST = 3
"""Passes, unless they take as long as is spent at most."""


# ---- in the process that measures ----


def say(**facts: Any) -> None:
    """A line for the process that waits for us; the last one counts."""
    print(json.dumps(facts), flush=True)


def turns() -> Iterator[None]:
    """Goes on whenever it is this process's turn, until nobody asks any more."""
    say(waits=True)
    for _ in sys.stdin:
        yield
        say(waits=True)


# ---- in the process that asks ----


class Answering:
    """A process that runs some code and says what it finds, until it ends or waits for its next turn."""

    def __init__(self, code: str) -> None:
        self.state = ""
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            start_new_session=True,
        )
        self._left = finalize(self, _stop, self._process)  # the bench was interrupted

    def answer(self, limit: float) -> Facts:
        """What it says now; `state` tells why there is no more of it, and is not there where it waits for a turn."""
        assert self._process.stdout is not None
        late = threading.Timer(limit, _stop, [self._process])
        late.start()
        facts: Facts = {}
        for line in self._process.stdout:
            facts |= heard(line)
            if facts.pop("waits", False):
                late.cancel()
                return facts
        status = self._process.wait()
        over = late.finished.is_set()  # it has not been cancelled
        late.cancel()
        self._errors.seek(0)
        why = f"> {limit:g} s" if over else cause(self._errors.read(), status)
        self.state = why if status else "drawn"
        return facts | {"state": self.state}

    def turn(self, limit: float) -> Facts:
        """Let it measure once more."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, and will say why
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self.answer(limit)

    def end(self) -> None:
        """Nobody asks any more."""
        with contextlib.suppress(OSError):
            self._process.communicate()
        self._errors.close()
        self._left.detach()


def _stop(process: subprocess.Popen[str]) -> None:
    """Stop a process, and what it has started: a `dot`, say."""
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def ask(code: str, limit: float) -> Facts:
    """All that one process finds within `limit` seconds, and its `state`."""
    asked = Answering(code)
    try:
        return asked.answer(limit)
    finally:
        asked.end()


def heard(said: str) -> Facts:
    """All facts, later ones over earlier ones."""
    facts: Facts = {}
    for line in said.splitlines():
        if line.startswith("{") and line.endswith("}"):
            facts |= json.loads(line)
    return facts


def cause(words: str, status: int) -> str:
    """The name of the exception that ended a process."""
    if status < 0:
        return f"killed by signal {-status}"
    last = next((line for line in reversed(words.splitlines()) if line[:1].isalpha()), "")
    return last.partition(":")[0].rpartition(".")[2] or f"exit status {status}"


def take_turns(
    asked: dict[str, Answering],
    limit: float,
    together: Callable[[dict[str, float]], Collection[str]],
) -> dict[str, list[Facts]]:
    """The passes of each, one after the other, round after round, until what they add is known.

    `together` is told what each adds so far, and says which are set against each other: these stop together.
    """
    found: dict[str, list[Facts]] = {name: [] for name in asked}
    spent = dict.fromkeys(asked, 0.0)
    going = list(asked)
    while going:
        for name in going:
            start = time.perf_counter()
            facts = asked[name].turn(limit)
            spent[name] += time.perf_counter() - start
            if "turn" not in facts:  # it has ended
                spent[name] = MORE * SECONDS
            else:
                found[name].append(facts["turn"])
        unknown = {name for name in going if not _enough(found[name], spent[name])}
        group = {name for name in together(sums_of(found)) if spent[name] < MORE * SECONDS}
        going = [name for name in asked if name in unknown or (unknown & group and name in group)]
    return found


def sums_of(found: dict[str, list[Facts]]) -> dict[str, float]:
    """What each adds to the plain run by its passes so far, if there are any."""
    return {name: median(map(added, passes)) for name, passes in found.items() if passes}


def _enough(passes: list[Facts], spent: float) -> bool:
    if spent >= MORE * SECONDS or len(passes) >= MORE * MOST:
        return True
    if len(passes) < LEAST or (spent < SECONDS and len(passes) < MOST):
        return False
    sums = [added(each) for each in passes]
    return is_known(sums, max(0.05 * median(sums), 0.3))


def added(turn: Facts) -> float:
    """What a pass has added to the plain run beside it, with the layout that the drawer's users get."""
    parts = turn["parts"]
    layout = turn.get("program", parts.get("layout", 0.0))
    return parts["build"] - turn["plain"] + parts.get("write", 0.0) + layout


def is_known(numbers: list[float], within: float) -> bool:
    """Whether the median of these is known: its error, by the spread of the middle half, is at most `within`.

    >>> is_known([10.0, 10.2, 9.8, 10.1, 9.9], 0.5), is_known([10.0, 30.0, 2.0, 20.0, 5.0], 0.5)
    (True, False)
    """
    low, _, high = quantiles(numbers, n=4)
    return 0.93 * (high - low) / len(numbers) ** 0.5 <= within  # 1.25 standard errors of a mean


def summary(passes: list[Facts]) -> Facts:
    """What several passes say together: medians of the parts and of the whole.

    >>> one = {"plain": 5.0, "parts": {"build": 8.0, "write": 1.0, "layout": 2.0}}
    >>> summary([one])
    {'parts': {'build': 3.0, 'write': 1.0, 'layout': 2.0}, 'total': 11.0, 'fastest': 11.0, 'passes': 1}
    """
    totals = [sum(each["parts"].values()) for each in passes]
    build = median(each["parts"].get("build", 0.0) - each["plain"] for each in passes)
    parts = {
        part: median(p["parts"].get(part, 0.0) for p in passes) for part in ("write", "layout")
    }
    facts = {
        "parts": {"build": max(build, 0.0)} | parts,
        "total": median(totals),
        "fastest": min(totals),
        "passes": len(passes),
    }
    programs = [each["program"] for each in passes if "program" in each]
    return facts | ({"program": median(programs)} if programs else {})
