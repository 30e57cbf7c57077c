"""DOT goes in, Graphviz's output for it comes out, by pygraphviz: as a function, and as a program of its own.

The program imports nothing of this package, so that a process that only lays out starts in a tenth of a second.
"""

import sys
import warnings

__all__ = ["run"]


def run(dot: str, form: str) -> str:
    """What `dot -T<form>` prints for a graph; raises `ValueError` or `OSError` when it fails.

    >>> '"_gvid"' in run("digraph { a -> b }", "json0")
    True
    """
    import pygraphviz

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = pygraphviz.AGraph(string=dot)
        graph.number_of_nodes = lambda: 0  # it counts only to write a warning, past `warnings`
        laid_out: bytes = graph.draw(format=form, prog="dot")
    return laid_out.decode()


if __name__ == "__main__":
    sys.stdout.buffer.write(run(sys.stdin.buffer.read().decode(), sys.argv[1]).encode())
