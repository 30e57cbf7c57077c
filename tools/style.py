"""Checks the style of all code: `python -m tools.style`, or `--fix` to put right what ruff can put right.

Python files as they are; the code cells of lessons too, which are laid out in their chapters. The stub of an
exercise keeps its own layout: ruff would pull `def f(x):` and its dots into one line.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import nbformat
from nbformat import NotebookNode

from tools import ROOT
from tools.chapters import SETUP, ChapterError, Lesson, back, lessons, notebook

__all__ = ["complaints", "tidy"]


def ruff(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "ruff", *arguments],
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def laid_out(book: NotebookNode) -> list[NotebookNode]:
    """The cells whose layout ruff decides."""
    stubs = [c for c in book.cells if "exercise" in c.metadata.get("tags", [])]
    return [c for c in book.cells if c.cell_type == "code" and c.id != SETUP and c not in stubs]


def tidy(lesson: Lesson) -> NotebookNode:
    """The lesson's notebook with its cells laid out by `ruff format`."""
    book = notebook(lesson)
    cells = laid_out(book)
    given = nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=book.metadata))
    done = ruff("format", "--stdin-filename", f"notebooks/{lesson.name}.ipynb", "-", given=given)
    if done.returncode:
        raise ChapterError(
            f"ruff cannot read chapters/{lesson.chapter.name}: {done.stderr.strip()}"
        )
    for cell, new in zip(cells, nbformat.reads(done.stdout, as_version=4).cells, strict=True):
        cell.source = new.source
    return book


def complaints(lesson: Lesson) -> list[str]:
    """What ruff has to say about a lesson's code: its rules, and the cells that it would lay out otherwise."""
    book = notebook(lesson)
    name = f"notebooks/{lesson.name}.ipynb"
    given = nbformat.writes(book)
    said = ruff(
        "check", "--quiet", "--output-format=concise", "--stdin-filename", name, "-", given=given
    )
    found = [line for line in said.stdout.splitlines() if line.strip()]
    for cell, new in zip(book.cells, tidy(lesson).cells, strict=True):
        if cell.source != new.source:
            first = cell.source.splitlines()[0]
            found.append(
                f"chapters/{lesson.chapter.name}: cell {cell.id} ({first}) is not laid out as ruff does"
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.style", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--fix", action="store_true", help="change the files instead of complaining"
    )
    options = parser.parse_args()
    if options.fix:
        ruff("check", "--fix-only", ".")
        ruff("format", ".")
        for lesson in lessons():
            text = back(lesson, tidy(lesson))
            if text != lesson.chapter.read_text(encoding="utf-8"):
                lesson.chapter.write_text(text, encoding="utf-8", newline="\n")
                print(f"  chapters/{lesson.chapter.name} is laid out anew; run make notebooks")
    found = [line for lesson in lessons() for line in complaints(lesson)]
    checked = ruff("check", "--quiet", "--output-format=concise", ".")
    formatted = ruff("format", "--check", ".")
    found += [line for line in (checked.stdout + formatted.stdout).splitlines() if ":" in line]
    for line in found:
        print(line, file=sys.stderr)
    if found or checked.returncode or formatted.returncode:
        print(
            f"{len(found)} places are not in style; make lint FIX=1 puts right what it can.",
            file=sys.stderr,
        )
        return 1
    print("The style of all code is in order.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
