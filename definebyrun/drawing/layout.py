"""DOT goes in, Graphviz's SVG comes out: from pygraphviz, whose wheels carry Graphviz, else from a `dot` on the PATH.

Nothing is drawn here. Where neither engine is there, `LayoutError` says in one sentence what to install.
"""

from __future__ import annotations

import os
import warnings

import graphviz

__all__ = ["LayoutError", "to_svg"]

MISSING = "No layout engine was found, so there is no picture: run `pip install pygraphviz`, or install Graphviz."


class LayoutError(RuntimeError):
    """No engine is there, or it failed; the message says what to do."""


def to_svg(dot: str) -> str:
    """Lay out a graph; raises `LayoutError` when no engine is there."""
    try:
        import pygraphviz
    except ImportError:
        return _by_executable(dot)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = pygraphviz.AGraph(string=dot)
        graph.number_of_nodes = lambda: 0  # it counts only to write a warning, past `warnings`
        try:
            return graph.draw(format="svg", prog="dot").decode()
        except (ValueError, OSError) as error:
            raise LayoutError(f"Graphviz could not lay out this graph: {error}") from None


def _by_executable(dot: str) -> str:
    try:
        return graphviz.pipe("dot", "svg", dot.encode(), quiet=True).decode()
    except graphviz.ExecutableNotFound:
        raise LayoutError(MISSING) from None
    except graphviz.CalledProcessError as error:
        words = os.fsdecode(error.stderr or b"").strip() or f"exit status {error.returncode}"
        raise LayoutError(f"Graphviz could not lay out this graph: {words}") from None
