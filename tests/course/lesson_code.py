"""The code of a lesson as the lesson prints it, to hold it against something else: `cells("20", "checker")`."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tools import chapters


@contextmanager
def as_it_was() -> Iterator[None]:
    """A region after which default dtype and number of threads are as before."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)


def cells(lesson: str, *names: str) -> dict[str, Any]:
    """Run the cells of a lesson that bear these names, in the lesson's order; what they define.

    A cell has a name by `:name:` in its chapter, and everything it needs stands in the cells that are named with it.
    Default dtype and threads, which a lesson sets for its notebook, are put back: tests of another file follow in this
    process.
    """
    code = {
        cell.id: cell.source
        for cell in chapters.notebook(chapters.find(lesson)).cells
        if cell.cell_type == "code"
    }
    missing = set(names) - set(code)
    assert not missing, f"lesson {lesson} has no cell named {', '.join(sorted(missing))}"
    defined: dict[str, Any] = {"__name__": "__main__"}
    with as_it_was():
        for name, source in code.items():
            if name in names:
                file = f"<{lesson} {name}>"  # known to linecache, so that inspect finds the source
                linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
                exec(compile(source, file, "exec"), defined)
    return defined
