"""Cards, links and clusters go in, what Graphviz makes of them comes out: as DOT without texts, and laid out.

The engine is pygraphviz, whose wheels carry Graphviz, else a `dot` on the PATH. Nothing is drawn here. Where neither
is there, `LayoutError` says in one sentence what to install. A layout that may take long is run in a process of its
own, which can be stopped: by Ctrl-C, and by a limit of time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from importlib.util import find_spec

import graphviz

from ..cards.clusters import Cluster
from ..cards.model import LEAF_KINDS, Card, Link, back_label
from . import layout_process
from .leaf_groups import LeafGroup, Sizes, spaced_links, without_clusters
from .metrics import small_print_width

__all__ = [
    "CLUSTER",
    "EDGE",
    "GRAPH",
    "NODE",
    "RIGHT",
    "STRAIGHT",
    "LayoutError",
    "TooLargeError",
    "layout_dot",
    "run_dot",
]

MISSING = "No layout engine was found, so there is no picture: run `pip install pygraphviz`, or install Graphviz."
FAILED = "Graphviz could not lay out this graph: {}"
STOPPED = (
    "The layout of this graph took too long and was stopped: only the text is shown. "
    "A smaller picture of it is made by .fold(…)."
)
POINTS_PER_INCH = 72

# What decides where things come to stand; `dot.py` says the same, and how they look.
GRAPH = {"nodesep": "0.3", "rankdir": "TB", "ranksep": "0.45"}
CLOSER = {"nodesep": "0.15"}
NODE = {"fixedsize": "true", "shape": "box"}
EDGE = {"arrowsize": "0.7", "penwidth": "1.2"}
CLUSTER = "labeljust=l margin=9"
RIGHT = {"rankdir": "LR", "ranksep": "0.6"}
STRAIGHT = "splines=line nslimit=1 mclimit=0.1 "
"""Links are straight, and what is polished in rounds (crossings, places within a rank) is polished in few."""


class LayoutError(RuntimeError):
    """No engine is there, or it failed; the message says what to do."""


class TooLargeError(LayoutError):
    """The layout would take too long, or took too long; a smaller picture of the same run can still be laid out."""


def layout_dot(
    cards: Sequence[Card],
    links: Sequence[Link],
    clusters: Sequence[Cluster],
    sizes: Sizes,
    groups: dict[str, LeafGroup],
    large: bool,
    settings: str = "",
    column: bool = False,
    right: bool = False,
    close: bool = False,
) -> str:
    """What a layout needs, as DOT: no text, and one node for each group. If `large`, modules stand below each other.

    `settings` are further attributes of the graph, such as `STRAIGHT`. In a `column` what is computed runs straight
    down. With `right` data flows from left to right, not down. If `close`, the cards of one rank stand closer together.

    Without text no font is looked up: the empty label of all nodes stands in the first lines, as a default, because
    Graphviz forgets one that is given to each.
    """
    apart = spaced_links(cards, links, clusters, groups) if large else set()
    within = [link for group in groups.values() for link in group.links]
    hidden_links, hidden = {link.id for link in within}, {link.tail for link in within}
    hidden.update(other.card for group in groups.values() for other in group.beside)
    leaves = {card.id for card in cards if card.kind in LEAF_KINDS}
    graph = GRAPH | (RIGHT if right else {}) | (CLOSER if close else {})
    lines = [
        "digraph {\n",
        f"graph [{settings}{_attributes(graph)}]\n",
        f'node [{_attributes(NODE)} label=""]\n',
        f"edge [{_attributes(EDGE)}]\n",
    ]
    for name in (card.id for card in cards if card.id not in hidden):
        width, height = groups[name].size if name in groups else sizes[name]
        height, width = height / POINTS_PER_INCH, width / POINTS_PER_INCH
        lines.append(f"{name} [height={height:.3f} width={width:.3f}]\n")
    lines += _nested(without_clusters(clusters, groups), hidden)
    for link in links:
        if link.id not in hidden_links:
            heavy = column and link.tail not in leaves
            lines.append(_edge(link, groups, link.id in apart, heavy))
    for card in cards:
        if card.after and not {card.after, card.id} & hidden:
            lines.append(f"{card.after} -> {card.id} [style=invis id=i{card.id}]\n")
    return "".join(lines) + "}\n"


def _attributes(values: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def _edge(link: Link, groups: dict[str, LeafGroup], apart: bool, heavy: bool) -> str:
    look = f"label={_empty_label(len(back_label(link)))} constraint=false " if link.back else ""
    look += "arrowhead=none headport=n " if link.head in groups else ""
    look += "tailport=s " if link.tail in groups else ""
    look += "minlen=2 " if apart else ""
    look += "weight=20 " if heavy else ""
    return f"{link.tail} -> {link.head} [{look}id={link.id}]\n"


def _nested(clusters: Sequence[Cluster], hidden: Collection[str]) -> list[str]:
    """Subgraphs within each other, each with an empty label."""
    lines: dict[str | None, list[str]] = {None: []}
    for cluster in clusters:
        lines[cluster.id] = [
            f"subgraph cluster_{cluster.id} {{\n",
            f"{CLUSTER} label={_empty_label(len(cluster.label))}\n",
            *(f"{card}\n" for card in cluster.cards if card not in hidden),
        ]
    for cluster in reversed(clusters):  # inner ones come last
        lines[cluster.outer] += [*lines[cluster.id], "}\n"]
    return lines[None]


def _empty_label(characters: int) -> str:
    """A label that takes the room of our own small print, 12 points high."""
    return (
        '<<TABLE BORDER="0" CELLPADDING="0" CELLSPACING="0" FIXEDSIZE="TRUE" '
        f'WIDTH="{small_print_width(characters)}" HEIGHT="12"><TR><TD></TD></TR></TABLE>>'
    )


def run_dot(dot: str, form: str, seconds: float | None = None) -> str:
    """What `dot -T<form>` prints for a graph; raises `LayoutError` when no engine is there, or it fails.

    With `seconds` it is run in a process of its own, and is stopped after that time, which raises `TooLargeError`.
    """
    if seconds is not None:
        return _run_apart(dot, form, seconds)
    try:
        import pygraphviz  # noqa: F401
    except ImportError:
        return _run_program(dot, form)
    try:
        return layout_process.run(dot, form)
    except (ValueError, OSError) as error:
        raise LayoutError(FAILED.format(error)) from None


def _run_program(dot: str, form: str) -> str:
    """The same by the program `dot` of the PATH."""
    try:
        laid_out: bytes = graphviz.pipe("dot", form, dot.encode(), quiet=True)
    except graphviz.ExecutableNotFound:
        raise LayoutError(MISSING) from None
    except graphviz.CalledProcessError as error:
        words = os.fsdecode(error.stderr or b"").strip() or f"exit status {error.returncode}"
        raise LayoutError(FAILED.format(words)) from None
    return laid_out.decode()


def _run_apart(dot: str, form: str, seconds: float) -> str:
    """The same in a process that imports the layout engine and nothing else, or by the program `dot`."""
    if find_spec("pygraphviz") is None:
        command = ["dot", f"-T{form}"]
    else:
        command = [sys.executable, "-P", layout_process.__file__, form]
    paths = os.pathsep.join(
        filter(None, sys.path)
    )  # pygraphviz may lie where only this process looks
    try:
        done = subprocess.run(
            command,
            input=dot.encode(),
            capture_output=True,
            timeout=seconds,
            env={**os.environ, "PYTHONPATH": paths},
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise TooLargeError(STOPPED) from None
    except subprocess.CalledProcessError as error:
        said = os.fsdecode(error.stderr).strip().rpartition("\n")[2]
        words = said if said and error.returncode > 0 else f"exit status {error.returncode}"
        raise LayoutError(FAILED.format(words)) from None
    except (OSError, ValueError) as error:  # no `dot`; or no processes at all, as in a browser
        missing = command[0] == "dot" and isinstance(error, FileNotFoundError)
        raise LayoutError(MISSING if missing else FAILED.format(error)) from None
    return done.stdout.decode()
