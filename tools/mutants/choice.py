"""A mutant goes in, the tests that it has to meet come out, those first that are most likely to fail soon.

`Coverage` knows which tests run which block, from one run of all tests. `Named` is told which file's tests to take.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType

from tools.mutants.operators import Block, Mutant, compiled, mutants_of
from tools.mutants.quick_tests import TestRun

__all__ = ["MAX_TEST_SECONDS", "Coverage", "Named", "Sources"]

MAX_QUICK_SECONDS = 3.0
"""A test that takes longer is not among the quick ones."""
MAX_TEST_SECONDS = 20.0
"""A mutant meets as many tests as take so long on the right code."""


@dataclass(frozen=True)
class Sources:
    """The files of a package, by their names inside it."""

    root: Path
    package: str

    @cached_property
    def texts(self) -> dict[str, str]:
        folder = self.root / self.package
        return {
            path.relative_to(folder).as_posix(): path.read_text("utf-8")
            for path in sorted(folder.rglob("*.py"))
        }

    def mutants(self) -> list[Mutant]:
        return [mutant for file, text in self.texts.items() for mutant in mutants_of(file, text)]

    def path(self, file: str) -> str:
        return str(self.root / self.package / file)

    def code(self, mutant: Mutant) -> CodeType:
        """The code of a file with this fault."""
        return compiled(self.texts[mutant.file], self.path(mutant.file), mutant.number)

    def module(self, file: str) -> str:
        """The module's full name.

        >>> Sources(Path("."), "p").module("a/b.py"), Sources(Path("."), "p").module("a/__init__.py")
        ('p.a.b', 'p.a')
        """
        parts = [self.package, *file.removesuffix(".py").split("/")]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def importers(self) -> dict[str, set[str]]:
        """For each file, the files whose source imports from it."""
        files = {self.module(file): file for file in self.texts}
        found: dict[str, set[str]] = defaultdict(set)
        for file, text in self.texts.items():
            package = [self.package, *file.split("/")[:-1]]
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ImportFrom):
                    above = package[: len(package) - node.level + 1] if node.level else []
                    module = ".".join([*above, *filter(None, [node.module])])
                    for name in (module, *(f"{module}.{alias.name}" for alias in node.names)):
                        if name in files:
                            found[files[name]].add(file)
        return found


class Coverage:
    """Which tests run which block; `blocks` says which file and place a block's number means."""

    def __init__(
        self, runs: Iterable[TestRun], blocks: Sequence[tuple[str, Block]], sources: Sources
    ) -> None:
        self._sources = sources
        self._by_block: dict[tuple[str, Block], list[TestRun]] = defaultdict(list)
        self._by_file: dict[str, dict[str, TestRun]] = defaultdict(dict)
        good = (run for run in runs if run.passed and run.seconds <= MAX_QUICK_SECONDS)
        for run in sorted(good, key=lambda run: run.seconds):
            for number in run.blocks:
                self._by_block[blocks[number]].append(run)
                self._by_file[blocks[number][0]][run.test] = run

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that run its block; of what runs at import, those that run anything in its file or in its importers."""
        found = self._by_block.get((mutant.file, mutant.block), []) if mutant.block else []
        if not found:
            files = {mutant.file, *self._sources.importers[mutant.file]}
            runs = {run.test: run for file in files for run in self._by_file[file].values()}
            found = sorted(runs.values(), key=lambda run: run.seconds)
        taken, chosen = 0.0, []
        for run in found:
            taken += run.seconds
            if taken > MAX_TEST_SECONDS:
                break
            chosen.append(run.test)
        return chosen


class Named:
    """The tests of the file that is named for a mutant."""

    def __init__(
        self, tests: Sequence[tuple[str, Path]], root: Path, by: Mapping[str, str]
    ) -> None:
        self._tests, self._root, self._by = tests, root, by

    def tests(self, mutant: Mutant) -> list[str]:
        file = self._root / self._by[mutant.name]
        return [test for test, path in self._tests if path == file]
