"""A progress bar that leaves nothing behind: items go in and come out, and whoever watches sees how many are done.

Nothing is written where nobody watches: in a test, under a tool that executes notebooks, into a pipe or a file. It does
not estimate the time that is left. Built up in lesson 17.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

__all__ = ["progress", "screen"]

T = TypeVar("T")
WIDTH = 32
"""Characters that the bar takes at most; a terminal's line is wiped over this width."""


def screen() -> Callable[[str], None] | None:
    """A function that shows one short text in place of the last one, or None when nobody watches.

    A notebook front end with a person before it says with every cell that it can answer `input()` (`allow_stdin` in
    Jupyter's messages); nbclient, nbval and papermill say that they cannot. A script asks whether stderr is a terminal.
    """
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    if kernel is None:
        if not (sys.stderr and sys.stderr.isatty()):
            return None
        return lambda text: print(f"\r{text:<{WIDTH}}", end="\r", file=sys.stderr, flush=True)
    if not kernel.get_parent("shell").get("content", {}).get("allow_stdin"):
        return None
    from IPython.display import display

    handle = display({}, raw=True, display_id=True)
    return lambda text: handle.update({"text/plain": text} if text else {}, raw=True)


def progress(items: Collection[T]) -> Iterator[T]:
    """Yield the items one by one and show how many are done; at the end, or at a `break`, the bar is gone.

    Raises `TypeError` for something that has no length. At most a hundred updates are shown.

    >>> [2 * number for number in progress([1, 2, 3])]
    [2, 4, 6]
    """
    try:
        total = len(items)
    except TypeError:
        raise TypeError(
            f"progress needs items with a length; a {type(items).__name__} has none: give it a list."
        ) from None
    show, shown = screen() or (lambda text: None), -1
    try:
        for done, item in enumerate(items):
            if 100 * done // total > shown:
                shown = 100 * done // total
                show(f"{'█' * (shown // 5):░<20} {done}/{total}")
            yield item
    finally:
        show("")
