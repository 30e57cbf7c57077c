"""How long a lesson takes, counted: `python -m tools.clock 01` prints what its **Time** line must say.

Reads the executed notebook, runs nothing. Only the main path counts: not the exercises, not what goes deeper.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from math import ceil

import nbformat
from nbformat import NotebookNode

from tools import chapters
from tools.chapters import Lesson

__all__ = ["Minutes", "count", "main_path"]

WORDS_A_MINUTE = 180
FOLDED = {"hide-input", "hide-cell"}
ASKS = re.compile(r"^> \*\*Predict\.\*\*", re.MULTILINE)
OFF_THE_PATH = ("Exercises", "Going deeper", "What is next", "Further reading")
UNCOUNTED = (chapters.SETUP, chapters.OPEN)
WRITES = "*Write it.*"
"""Stands under the heading of an exercise in which the reader writes what the lesson built."""


@dataclass(frozen=True)
class Minutes:
    """A lesson's times, each up to the next five minutes."""

    read: int
    work: int
    exercises: int

    def __str__(self) -> str:
        return f"read {self.read} minutes · work through {self.work} · exercises {self.exercises}"


def main_path(book: NotebookNode) -> list[NotebookNode]:
    """The cells of the main path, without the set-up; each section is on it or off it as a whole."""
    found, section = [], ""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^## (.*?)\s*$", cell.source, re.MULTILINE)
            section = headings[-1] if headings else section
        if not section.startswith(OFF_THE_PATH) and cell.id not in UNCOUNTED:
            found.append(cell)
    return found


def count(book: NotebookNode) -> Minutes:
    """Minutes to read a lesson, to work through it, and for its exercises.

    Words take a minute for 180, visible lines of code a minute for 15 (for 30 when they are only read), folded ones
    for 60, printed lines for 20. A prediction or a player takes 1.5 minutes, a drawing 0.5, a plot 1; any of these
    pictures 0.5 when it is only read. An exercise takes 10 minutes, 20 where the reader writes what the lesson built.
    """
    words = visible = folded = printed = drawings = players = plots = predictions = 0
    for cell in main_path(book):
        if cell.cell_type == "markdown":
            words += len(re.sub(r"<[^>]*>|\]\([^)]*\)|[|#>*`]", " ", cell.source).split())
            predictions += len(ASKS.findall(cell.source))
            continue
        lines = sum(bool(line.strip()) for line in cell.source.splitlines())
        if FOLDED.isdisjoint(cell.metadata.get("tags", [])):
            visible += lines
        else:
            folded += lines
        for output in cell.outputs:
            data = output.get("data", {})
            page = data.get("text/html", "")
            plots += "image/svg+xml" in data
            players += "data-steps=" in page
            drawings += "dbr-graph" in page and "data-steps=" not in page
            text = output.get("text") or ("" if len(data) > 1 else data.get("text/plain", ""))
            printed += len(text.splitlines())
    pictures = drawings + players + plots
    work = words / WORDS_A_MINUTE + visible / 15 + folded / 60 + printed / 20
    work += 1.5 * (predictions + players) + 0.5 * drawings + plots
    read = words / WORDS_A_MINUTE + visible / 30 + 0.5 * pictures
    text = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    exercises = len(re.findall(r"^### \d\d\.\d", text, re.MULTILINE))
    return Minutes(_up(read), _up(work), 10 * (exercises + text.count(WRITES)))


def _up(minutes: float) -> int:
    return 5 * ceil(round(minutes) / 5)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("name one lesson: python -m tools.clock 01")
    lesson: Lesson = chapters.find(sys.argv[1])
    print(count(nbformat.read(lesson.notebook, as_version=4)))


if __name__ == "__main__":
    main()
