"""The mutants of a package, and what its quick tests say of each.

One process collects the tests; others are forked from it and give functions the mutant's code where they are. What runs
when the package is imported or the tests are collected cannot be exchanged like that: such a mutant is imported by a
process that has imported nothing of the package yet.
"""

from __future__ import annotations

import gc
import importlib
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any

from tools.mutants.choice import MAX_TEST_SECONDS, Coverage, Named, Sources
from tools.mutants.forks import Crash, Hang, Task, run_all
from tools.mutants.operators import Block, Mutant
from tools.mutants.quick_tests import Session, TestRun, collect, first_failure, run_each
from tools.mutants.swap import Functions, NotInFunctions, counting_blocks, mark_in

__all__ = ["Package", "Sources", "Verdict"]

ALL_TESTS_SECONDS = 1800.0
ANEW = "anew"
"""Said of a mutant that has to be imported."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant (killed, survived, hung, crashed), and why: the test that killed it, say."""

    mutant: Mutant
    outcome: str
    why: str = ""


@dataclass(frozen=True)
class Package:
    """A package and its tests.

    `cache` is a folder in which the runs on the right code are kept for the next time. `by` says for some mutants which
    file's tests have to kill them: then only these are tried, and nothing is run on the right code before.
    """

    sources: Sources
    tests: tuple[str, ...]
    cache: Path
    say: Callable[[str], None]
    by: Mapping[str, str] = field(default_factory=dict)
    imported: tuple[str, ...] = ("torch",)
    workers: int = 2
    limit_seconds: float = 6 * MAX_TEST_SECONDS
    """A mutant hangs when its tests take longer; the machine may be busy."""
    outcomes: tuple[str, ...] = ("killed", "survived", "hung", "crashed", "equivalent")
    count: int | None = 300

    def mutants(self) -> list[Mutant]:
        mutants = self.sources.mutants()
        return [each for each in mutants if each.name in self.by] if self.by else mutants

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
        late = {mutant: tests for mutant, result, tests in found if result == ANEW}
        if late:
            self.say(f"Importing {len(late)} mutants")
        tasks = (
            Task(mutant, partial(self._anew, mutant, tests), self.limit_seconds)
            for mutant, tests in late.items()
        )
        anew = dict(run_all(tasks, self.workers))
        return [_verdict(mutant, anew.get(mutant, result)) for mutant, result, _ in found]

    # ---- in a process that has collected all tests ----

    def _collected(self, mutants: Sequence[Mutant]) -> list[tuple[Mutant, Any, list[str]]]:
        """For each mutant the test that killed it, if one did, or `ANEW`; and the tests that it had to meet."""
        counting: dict[str, CodeType] = {}
        blocks: list[tuple[str, Block]] = []
        for file, text in self.sources.texts.items():
            counting[file], begins = counting_blocks(text, self.sources.path(file), len(blocks))
            blocks += [(file, block) for block in begins]
        ran = mark_in(len(blocks))
        sys.meta_path.insert(0, _Finder(self.sources, counting))
        found: list[Any] = []

        def loop(session: Session) -> None:
            at_import = {blocks[number] for number, mark in enumerate(ran) if mark}
            items = {item.nodeid: item for item in session.items}
            choice: Coverage | Named
            if self.by:
                tests = [(name, item.path) for name, item in items.items()]
                choice = Named(tests, self.sources.root, self.by)
            else:
                choice = Coverage(self._runs(session, ran), blocks, self.sources)
            functions = Functions()
            gc.freeze()  # a collection in a forked process would copy all memory
            self.say(f"Trying {len(mutants)} mutants")

            def tried(mutant: Mutant, tests: list[str]) -> str | None:
                if (mutant.file, mutant.block) in at_import:
                    return ANEW
                try:
                    functions.swap(counting[mutant.file], self.sources.code(mutant))
                except NotInFunctions:
                    return ANEW
                return first_failure(session, [items[test] for test in tests], MAX_TEST_SECONDS)

            chosen = {mutant: choice.tests(mutant) for mutant in mutants}
            tasks = (
                Task(mutant, partial(tried, mutant, tests), self.limit_seconds)
                for mutant, tests in chosen.items()
            )
            found.extend((m, result, chosen[m]) for m, result in run_all(tasks, self.workers))

        collect(tuple(sorted({*self.by.values()})) or self.tests, loop)
        return found

    def _runs(self, session: Session, ran: bytearray) -> list[TestRun]:
        """All tests on the right code; those of a file that has not changed are known from the last time."""
        runs: list[TestRun] = []
        tasks: list[Task] = []
        for file in sorted({item.path for item in session.items}):
            items = [item for item in session.items if item.path == file]
            kept = self.cache / f"{self._key(file)}.pickle"
            if kept.is_file():
                runs += pickle.loads(kept.read_bytes())
            else:
                tasks.append(Task(kept, partial(run_each, session, items, ran), ALL_TESTS_SECONDS))
        self.say(f"Running the tests of {len(tasks)} files on the right code")
        self.cache.mkdir(parents=True, exist_ok=True)
        for kept, found in run_all(iter(tasks), self.workers):
            if not isinstance(found, list):
                raise RuntimeError(f"the tests were not run: {found}")
            kept.write_bytes(pickle.dumps(found))
            runs += found
        failed = [run.test for run in runs if not run.passed]
        if failed:
            self.say(f"Left out, since they fail on the right code: {', '.join(failed)}")
        return runs

    def _key(self, file: Path) -> str:
        """What a file's runs depend on: the package, the tests in it, and the helpers of all tests."""
        helpers = sorted(self.sources.root.glob("tests/*.py"))
        content = [path.read_text("utf-8") for path in (file, *helpers)]
        return sha256(repr((file.name, content, self.sources.texts)).encode()).hexdigest()[:24]

    # ---- in a process that has imported nothing of the package ----

    def _anew(self, mutant: Mutant, tests: list[str]) -> str | None:
        """The test that kills it, if one does."""
        sys.meta_path.insert(0, _Finder(self.sources, {mutant.file: self.sources.code(mutant)}))
        files = sorted({test.partition("::")[0] for test in tests})
        killers: list[str | None] = []

        def loop(session: Session) -> None:
            killers.append(first_failure(session, session.items, MAX_TEST_SECONDS))

        try:
            collect(files, loop, tests)
        except RuntimeError:
            return "the import"
        return killers[0]


class _Loader(SourceFileLoader):
    """Loads a module whose code is given."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


class _Finder:
    """Finds some modules of the package, and gives them another code when they are imported."""

    def __init__(self, sources: Sources, codes: Mapping[str, CodeType]) -> None:
        self._codes = {sources.module(file): (sources.path(file), codes[file]) for file in codes}

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name not in self._codes:
            return None
        path, code = self._codes[name]
        return spec_from_file_location(name, path, loader=_Loader(name, path, code))


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
