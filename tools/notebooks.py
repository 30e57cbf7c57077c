"""Makes notebooks/NN-slug.ipynb from chapters/NN-slug.md: converts, executes, stores the outputs, reproducibly.

    python -m tools.notebooks                  what changed since the notebook was made
    python -m tools.notebooks --all            every lesson
    python -m tools.notebooks --only NAME      one lesson, in any case
    python -m tools.notebooks --measure        what was measured is measured anew (with --all or --only)

A notebook is written only when every cell of it ran; otherwise the old one stays and the report says what failed.
A cell tagged nbval-ignore-output shows a measurement: it runs each time, and what it showed first is kept as long as no
code up to it changes, so that running everything again changes no byte. --measure stores what it shows now.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Literal

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from tools import ROOT, kernels
from tools.chapters import METADATA, ChapterError, Lesson, find, lessons, notebook

__all__ = ["execute", "keep_measured", "make", "normalise", "plan", "write"]

CELL_TIMEOUT_S = 300
MEASURED = "nbval-ignore-output"
APART = getattr(os, "setpgrp", None)  # a process group of its own, where there are such
CELL_FILE = re.compile(r"(?:[A-Za-z]:)?[^\s\"'<>]*ipykernel_\d+[/\\]\d+\.py")

Need = Literal["nothing", "text", "run"]
"""What a lesson's notebook needs: nothing, the chapter's new text with the outputs kept, or to be executed."""

Did = Literal["up to date", "text taken over, outputs kept", "executed"]
"""What was done about it."""


class CellError(Exception):
    """A cell that did not run: which one, its first line, and the error, ready to be shown."""


def execute(book: NotebookNode, folder: Path, label: str = "notebook") -> NotebookNode:
    """Run every cell in a fresh kernel whose working folder is `folder`; `CellError` when one fails."""
    current: list[tuple[NotebookNode, int]] = []
    client = NotebookClient(
        book,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=lambda cell, cell_index: current.append((cell, cell_index)),
    )
    try:
        client.execute()
    except Exception as error:
        if not current:
            raise CellError(
                f"{label}: no kernel started: {type(error).__name__}: {error}"
            ) from error
        cell, index = current[-1]
        number = sum(
            other.cell_type == "code" and other.id != "setup" for other in book.cells[: index + 1]
        )
        first = next((line for line in cell.source.splitlines() if line.strip()), "")
        raise CellError(
            f"{label}: code cell {number} (id {cell.id}) stopped\n    {first.strip()}\n    {_what(cell, error)}"
        ) from error
    return normalise(book)


def _what(cell: NotebookNode, error: Exception) -> str:
    """Type and message of what stopped a cell, as one line: its own error, or the kernel's."""
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            return f"{output.ename}: {' '.join(output.evalue.split())}"
    if "Timeout" in type(error).__name__:
        return f"it ran longer than {CELL_TIMEOUT_S} seconds"
    if "DeadKernel" in type(error).__name__:
        return "the kernel died (out of memory, or a crash in compiled code)"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def normalise(book: NotebookNode) -> NotebookNode:
    """Take out what differs between two machines: versions of kernel and Python, the files of cells."""
    book.metadata = nbformat.from_dict(METADATA)
    for cell in book.cells:
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = CELL_FILE.sub("<cell>", output.text)
            if "traceback" in output:
                output.traceback = [CELL_FILE.sub("<cell>", line) for line in output.traceback]
    return book


def code(book: NotebookNode) -> list[tuple]:
    """What decides whether stored outputs still belong to a notebook: its code cells, and what marks them."""
    return [(c.source, dict(c.metadata)) for c in book.cells if c.cell_type == "code"]


def plan(lesson: Lesson) -> tuple[Need, NotebookNode]:
    """What a lesson needs, and its notebook so far, with the outputs that are still right."""
    fresh = notebook(lesson)
    try:
        stored = nbformat.read(lesson.notebook, as_version=4)
    except (OSError, ValueError):
        return "run", fresh
    ran = all(c.execution_count for c in stored.cells if c.cell_type == "code" and c.source.strip())
    if code(stored) != code(fresh) or not ran:
        return "run", fresh
    kept = iter([c for c in stored.cells if c.cell_type == "code"])
    for cell in fresh.cells:
        if cell.cell_type == "code":
            old = next(kept)
            cell.outputs, cell.execution_count = old.outputs, old.execution_count
    return ("nothing" if fresh == stored else "text"), fresh


def keep_measured(book: NotebookNode, path: Path) -> NotebookNode:
    """Give the measuring cells the outputs stored at `path`, up to the first code cell that differs from there."""
    try:
        stored = nbformat.read(path, as_version=4)
    except (OSError, ValueError):
        return book
    cells = ([c for c in b.cells if c.cell_type == "code"] for b in (book, stored))
    for cell, old in zip(*cells, strict=False):
        if (cell.source, dict(cell.metadata)) != (old.source, dict(old.metadata)):
            break
        if MEASURED in cell.metadata.get("tags", []) and old.outputs:
            cell.outputs = old.outputs
    return book


def write(book: NotebookNode, path: Path) -> None:
    """Put the notebook in place whole: a reader or a second run never sees half of it."""
    nbformat.validate(book)
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(nbformat.writes(book, version=4) + "\n", encoding="utf-8", newline="\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def make(lesson: Lesson, everything: bool = False, measure: bool = False) -> tuple[Did, float]:
    """Bring one lesson's notebook up to date; what was done, and in how many seconds."""
    need, book = plan(lesson)
    if need == "nothing" and not everything:
        return "up to date", 0.0
    if need == "text" and not everything:
        write(book, lesson.notebook)
        return "text taken over, outputs kept", 0.0
    start = time.perf_counter()
    kernels.settle()
    lesson.notebook.parent.mkdir(exist_ok=True)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    ran = execute(book, lesson.notebook.parent, f"chapters/{lesson.chapter.name}")
    write(ran if measure else keep_measured(ran, lesson.notebook), lesson.notebook)
    return "executed", time.perf_counter() - start


def make_all(chosen: list[Lesson], jobs: int, everything: bool, measure: bool) -> int:
    """Make these notebooks, several at a time, and report each; how many failed.

    Ctrl-C reaches this process alone, which then ends the others: nbclient would take it for a cell's error.
    """
    failed = 0
    with ProcessPoolExecutor(max(1, min(jobs, len(chosen))), initializer=APART) as pool:
        running = {pool.submit(make, x, everything, measure): x for x in chosen}
        try:
            for done in as_completed(running):
                lesson = running[done]
                try:
                    did, seconds = done.result()
                    took = f" in {seconds:.0f} s" if seconds else ""
                    print(f"  {lesson.name}: {did}{took}", flush=True)
                except (CellError, ChapterError) as error:
                    failed += 1
                    state = "is left as it was" if lesson.notebook.exists() else "is not written"
                    print(
                        f"✗ {error}\n  notebooks/{lesson.notebook.name} {state}.", file=sys.stderr
                    )
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():
                worker.kill()  # its kernel notices and ends
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.notebooks", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--all", action="store_true", help="execute every lesson, changed or not")
    parser.add_argument("--only", metavar="NAME", help="execute one lesson, changed or not")
    parser.add_argument("--measure", action="store_true", help="store new measurements, too")
    parser.add_argument(
        "--jobs", type=int, default=2, help="how many lessons run at the same time (2)"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        chosen = [find(options.only, options.root)] if options.only else lessons(options.root)
        for lesson in chosen:
            notebook(lesson)  # refuse before anything runs
    except (ChapterError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    kernels.settle()
    everything = options.all or bool(options.only)
    failed = make_all(chosen, options.jobs, everything, options.measure)
    known = {lesson.notebook for lesson in lessons(options.root)}
    for orphan in sorted({*(options.root / "notebooks").glob("*.ipynb")} - known):
        name = orphan.stem
        print(f"  notebooks/{name}.ipynb has no chapter: remove it, or write chapters/{name}.md.")
    counted = "1 notebook" if len(chosen) == 1 else f"{len(chosen)} notebooks"
    print(f"{failed} of {counted} failed." if failed else f"{counted} in step with the chapters.")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped; notebooks that were not finished are as they were.")
