"""Executes the lessons with the PyTorch that is here, and says where they print something else than is stored.

`python -m tools.compare_outputs` is what `make torch` runs in the environment of another PyTorch. A lesson whose
asserts fail is a failure; so is a difference that `known_differences.toml` does not list for this version. Pictures
are not compared, nor what is measured.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbformat import NotebookNode

from tools import kernels
from tools.chapters import Lesson, lessons, notebook
from tools.notebooks import MEASURED, CellError, execute

__all__ = ["KNOWN", "Difference", "differences", "known", "printed"]

KNOWN = Path(__file__).with_name("known_differences.toml")


@dataclass(frozen=True)
class Difference:
    """A cell of a lesson that prints something else than is stored."""

    lesson: str
    cell: str
    stored: str
    now: str

    def __str__(self) -> str:
        return f"{self.lesson}, cell {self.cell}\n  stored: {self.stored!r}\n  now:    {self.now!r}"


def printed(cell: NotebookNode) -> str:
    """What a cell has printed, and the text of what it shows; not what libraries say on standard error."""
    texts = []
    for output in cell.get("outputs", []):
        if output.get("name") == "stderr":
            continue
        data = output.get("data", {})
        texts.append(output.get("text") or data.get("text/plain") or output.get("evalue", ""))
    return "".join(texts)


def differences(lesson: str, stored: NotebookNode, now: NotebookNode) -> list[Difference]:
    """The cells of two runs of a lesson that print different texts; of each the first line that differs."""
    found = []
    for old, new in zip(stored.cells, now.cells, strict=True):
        if old.cell_type != "code" or MEASURED in old.metadata.get("tags", []):
            continue
        lines = printed(old).splitlines(), printed(new).splitlines()
        if lines[0] != lines[1]:
            before, after = (text + [""] * (1 + max(map(len, lines)) - len(text)) for text in lines)
            at = next(
                i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]
            )
            found.append(Difference(lesson, old.id, before[at], after[at]))
    return found


def known(version: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What is listed for this version, by lesson and cell: `2.14` stands for all of 2.14 and what follows."""
    listed = tomllib.loads(KNOWN.read_text("utf-8")).get("difference", [])
    here = _numbers(version)
    return {
        (each["lesson"], each["cell"]): each for each in listed if _numbers(each["since"]) <= here
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.partition("+")[0])[:2]))


def run(lesson: Lesson) -> list[Difference] | str:
    """What differs in a lesson, or why it stopped."""
    kernels.settle()
    stored = nbformat.read(lesson.notebook, as_version=4)
    try:
        now = execute(notebook(lesson), lesson.notebook.parent, lesson.name)
    except CellError as error:
        return str(error)
    return differences(lesson.name[:2], stored, now)


def main() -> int:
    chosen = [lesson for lesson in lessons() if sys.argv[1:] in ([], [lesson.name[:2]])]
    listed, failed = known(torch.__version__), 0
    met: set[tuple[str, str]] = set()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for lesson, found in zip(chosen, pool.map(run, chosen), strict=True):
            if isinstance(found, str):
                failed += 1
                print(f"✗ {found}", flush=True)
                continue
            new = [each for each in found if (each.lesson, each.cell) not in listed]
            met.update((each.lesson, each.cell) for each in found)
            failed += len(new)
            print(f"  {lesson.name}: {len(found) - len(new)} known differences", flush=True)
            for each in new:
                print(f"✗ {each}", flush=True)
    gone = [key for key in listed if key not in met and (not sys.argv[1:] or key[0] == sys.argv[1])]
    for lesson_number, cell in gone:
        print(f"  listed, and not met: lesson {lesson_number}, cell {cell}")
    print(f"torch {torch.__version__}: {failed or 'no'} differences that are not listed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
