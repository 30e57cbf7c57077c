"""The quick tests of the package, run by pytest inside this process: all of them once, then some for each mutant.

`Session` is a pytest plugin that takes the place of pytest's own loop. It collects once; what happens then to the tests
that were collected happens in forked processes, so that no mutant changes anything for the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pytest

__all__ = ["Session", "TestRun", "collect", "first_failure", "run_each"]

NOT_NEEDED = ("cacheprovider", "nbval", "xdist", "faulthandler")
OPTIONS = ("-q", "--assert=plain", *(f"-pno:{plugin}" for plugin in NOT_NEEDED))
"""Plain, or pytest itself would read the files of the package that hold examples, in place of the mutant."""
SETTINGS = ("-o", "addopts=--doctest-modules", "-o", "testpaths=tests")


@dataclass(frozen=True)
class TestRun:
    """One test on the right code: whether it passed, seconds of the processor, and the numbers of the blocks it ran."""

    __test__ = False

    test: str
    passed: bool
    seconds: float
    blocks: tuple[int, ...]


class Session:
    """Collects, calls `loop` with the tests, and does nothing else; `keep` names the tests and their order."""

    def __init__(self, loop: Callable[[Session], Any], keep: Sequence[str] | None = None) -> None:
        self.loop, self.keep = loop, keep
        self.items: list[pytest.Item] = []
        self.failed: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.keep is not None:
            order = {name: place for place, name in enumerate(self.keep)}
            items[:] = sorted(
                (item for item in items if item.nodeid in order), key=lambda i: order[i.nodeid]
            )

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("a file could not be imported")
        self.items = session.items
        self.loop(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def run(self, item: pytest.Item, following: pytest.Item | None) -> bool:
        """Whether a test passes, or is skipped."""
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        return item.nodeid not in self.failed


def collect(
    paths: Sequence[str], loop: Callable[[Session], Any], keep: Sequence[str] | None = None
) -> None:
    """Collect tests and call `loop`; raises `RuntimeError` where the collection fails."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutants",
        database=None,
        deadline=None,
        derandomize=True,
        phases=[
            Phase.explicit,
            Phase.generate,
        ],  # the first failure is enough: it is not made small
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
    session = Session(loop, keep)
    status = pytest.main([*OPTIONS, *SETTINGS, *paths], plugins=[session])
    if status not in (0, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest did not collect the tests: {status!r}")


def run_each(session: Session, items: Sequence[pytest.Item], ran: bytearray) -> list[TestRun]:
    """Run tests one after the other; `ran` is where the blocks of the package write that they run."""
    found = []
    for item, following in zip_longest(items, items[1:]):
        ran[:] = bytes(len(ran))
        start = _processor_seconds()
        passed = session.run(item, following)
        seconds = _processor_seconds() - start
        blocks = tuple(number for number, mark in enumerate(ran) if mark)
        found.append(TestRun(item.nodeid, passed, seconds, blocks))
    return found


def _processor_seconds() -> float:
    """What this process and its children have used: a busy machine does not make a test slow."""
    return sum(os.times()[:4])


def first_failure(session: Session, items: Sequence[pytest.Item], max_seconds: float) -> str | None:
    """The first of these tests that fails; None when none does, or none within so many seconds of the processor."""
    end = _processor_seconds() + max_seconds
    for item, following in zip_longest(items, items[1:]):
        if not session.run(item, following):
            return item.nodeid
        if _processor_seconds() > end:
            return None
    return None
