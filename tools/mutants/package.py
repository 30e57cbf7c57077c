"""The mutants of a package, and what its quick tests say of each.

One process collects the tests; others are forked from it and give functions the mutant's code where they are. What runs
at import cannot be exchanged like that: a process that has imported nothing of the package imports the mutant. So does
one for what no test has killed, since a test may have computed something when it was collected.
"""

from __future__ import annotations

import gc
import importlib.machinery
import importlib.util
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tools.mutants.choice import MAX_TEST_SECONDS, Coverage, Nearness, Sources
from tools.mutants.forks import Crash, Hang, Task, run_all
from tools.mutants.operators import Block, Mutant
from tools.mutants.quick_tests import Session, TestRun, collect, first_failure, run_each
from tools.mutants.swap import Functions, NotInFunctions, counting_blocks, mark_in

__all__ = ["Package", "Sources", "Verdict"]

ALL_TESTS_SECONDS = 1800.0


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant (killed, survived, hung, crashed), and why: the test that killed it, say."""

    mutant: Mutant
    outcome: str
    why: str = ""


@dataclass(frozen=True)
class Package:
    """A package and its tests.

    `cache` is a folder in which the runs on the right code are kept for the next time. A `quick` one does without these
    runs, and without what runs at import: for a few mutants.
    """

    sources: Sources
    tests: tuple[str, ...]
    cache: Path
    say: Callable[[str], None]
    quick: bool = False
    imported: tuple[str, ...] = ("torch",)
    workers: int = 2
    limit_seconds: float = 6 * MAX_TEST_SECONDS
    """A mutant hangs when its tests take longer; the machine may be busy."""

    def mutants(self) -> list[Mutant]:
        return [each for each in self.sources.mutants() if each.block or not self.quick]

    def run(self, mutants: Sequence[Mutant]) -> list[Verdict]:
        """This process must not have imported the package: its processes do."""
        if self.sources.package in sys.modules:
            raise RuntimeError(f"{self.sources.package} is imported already")
        for name in self.imported:  # once, for all processes
            importlib.import_module(name)
        task = Task("collected", partial(self._collected, mutants), ALL_TESTS_SECONDS)
        ((_, found),) = run_all(iter([task]), 1)
        if not isinstance(found, list):
            raise RuntimeError(f"the tests were not run: {found}")
        verdicts = [_verdict(mutant, result) for mutant, result, _ in found]
        again = {mutant: tests for mutant, result, tests in found if result is None}
        if self.quick:
            return verdicts
        self.say(f"Importing {len(again)} mutants anew")
        tasks = (
            Task(mutant, partial(self._anew, mutant, tests), self.limit_seconds)
            for mutant, tests in again.items()
        )
        anew = {mutant: _verdict(mutant, result) for mutant, result in run_all(tasks, self.workers)}
        return [anew.get(verdict.mutant, verdict) for verdict in verdicts]

    # ---- in a process that has collected all tests ----

    def _collected(self, mutants: Sequence[Mutant]) -> list[tuple[Mutant, Any, list[str]]]:
        """For each mutant the test that killed it, if one did without a new import; and those that it had to meet."""
        found: list[Any] = []
        collect(self.tests, lambda session: found.extend(self._swapped(session, mutants)))
        return found

    def _swapped(
        self, session: Session, mutants: Sequence[Mutant]
    ) -> Iterator[tuple[Mutant, Any, list[str]]]:
        functions = Functions()
        gc.freeze()  # a collection in a forked process would copy all memory
        items = {item.nodeid: item for item in session.items}
        choice: Coverage | Nearness
        if self.quick:
            choice = Nearness([(name, item.path) for name, item in items.items()], self.sources)
        else:
            choice = self._cover(session, functions)
        self.say(f"Trying {len(mutants)} mutants")

        def tried(mutant: Mutant, tests: list[str]) -> str | None:
            code = self.sources.code
            try:
                functions.swap(code(mutant.file), code(mutant.file, mutant.number))
            except NotInFunctions:
                return None
            return first_failure(session, [items[test] for test in tests], MAX_TEST_SECONDS)

        chosen = {mutant: choice.tests(mutant) for mutant in mutants}
        tasks = (
            Task(m, partial(tried, m, tests), self.limit_seconds) for m, tests in chosen.items()
        )
        for mutant, result in run_all(tasks, self.workers):
            yield mutant, result, chosen[mutant]

    def _cover(self, session: Session, functions: Functions) -> Coverage:
        codes: list[tuple[CodeType, CodeType]] = []
        blocks: list[tuple[str, Block]] = []
        for file, text in self.sources.texts.items():
            counting, begins = counting_blocks(text, self.sources.path(file), len(blocks))
            codes.append((self.sources.code(file), counting))
            blocks += [(file, block) for block in begins]

        def covered(items: list[Any]) -> list[TestRun]:
            ran = bytearray(len(blocks))
            mark_in(ran)
            for right, counting in codes:
                functions.swap(right, counting)
            return run_each(session, items, ran)

        runs: list[TestRun] = []
        tasks: list[Task] = []
        for file in sorted({item.path for item in session.items}):
            items = [item for item in session.items if item.path == file]
            kept = self.cache / f"{self._key(file)}.pickle"
            if kept.is_file():
                runs += pickle.loads(kept.read_bytes())
            else:
                tasks.append(Task(kept, partial(covered, items), ALL_TESTS_SECONDS))
        self.say(f"Running the tests of {len(tasks)} files on the right code")
        self.cache.mkdir(parents=True, exist_ok=True)
        for kept, found in run_all(iter(tasks), self.workers):
            if not isinstance(found, list):
                raise RuntimeError(f"the tests were not run: {found}")
            kept.write_bytes(pickle.dumps(found))
            runs += found
        for run in runs:
            if not run.passed:
                self.say(f"  left out, since it fails on the right code: {run.test}")
        return Coverage(runs, blocks, self.sources)

    def _key(self, file: Path) -> str:
        """What a file's runs depend on: the package, the tests in it, and the helpers of all tests."""
        helpers = sorted(self.sources.root.glob("tests/*.py"))
        content = [path.read_text("utf-8") for path in (file, *helpers)]
        return sha256(repr((file.name, content, self.sources.texts)).encode()).hexdigest()[:24]

    # ---- in a process that has imported nothing of the package ----

    def _anew(self, mutant: Mutant, tests: list[str]) -> str | None:
        module, path = self.sources.module(mutant.file), self.sources.path(mutant.file)
        code = self.sources.code(mutant.file, mutant.number)
        sys.meta_path.insert(0, _MutantLoader(module, path, code))
        files = sorted({test.partition("::")[0] for test in tests})
        killers: list[str | None] = []

        def loop(session: Session) -> None:
            killers.append(first_failure(session, session.items, MAX_TEST_SECONDS))

        try:
            collect(files, loop, tests)
        except RuntimeError:
            return "the import"
        return killers[0]


class _MutantLoader(importlib.machinery.SourceFileLoader):
    """Finds one module, and gives it the mutant's code."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def find_spec(
        self, name: str, path: object = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        return self._code


def _verdict(mutant: Mutant, found: Any) -> Verdict:
    """What a process has said, or what became of it."""
    match found:
        case Hang():
            return Verdict(mutant, "hung")
        case Crash(reason):
            return Verdict(mutant, "crashed", reason)
        case None:
            return Verdict(mutant, "survived")
    return Verdict(mutant, "killed", found)
