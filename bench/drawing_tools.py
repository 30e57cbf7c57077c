"""The drawing tools that the bench measures: each takes one model from nothing to a finished SVG, in parts.

Every tool is used as its own documentation shows it, with its own defaults. Graphviz lays out in this process for all
of them, through `pygraphviz`; the time of that is `layout`. The rest of a pass is `build` (the run, and what the tool
learns from it) and `write` (everything else up to the picture).
"""

from __future__ import annotations

import importlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pygraphviz

import definebyrun as dbr
from bench.models import Case

__all__ = ["TOOLS", "Clock", "Tool"]


@dataclass
class Clock:
    """Adds up the milliseconds of each part of a pass, and keeps the last DOT that Graphviz was given."""

    parts: dict[str, float] = field(default_factory=dict)
    dot: str = ""
    _since: float = field(default_factory=time.perf_counter)

    def lap(self, part: str) -> None:
        """The time since the last lap belongs to this part."""
        now = time.perf_counter()
        self.parts[part] = self.parts.get(part, 0.0) + 1000 * (now - self._since)
        self._since = now

    @contextmanager
    def timing_layouts(self) -> Iterator[None]:
        """What `pygraphviz` does in this block is `layout`; what went before it is `write`."""
        clock = self

        class TimedGraph(pygraphviz.AGraph):
            def __init__(self, *, string: str) -> None:
                clock.lap("write")
                clock.dot = string
                super().__init__(string=string)

            def draw(self, **how: Any) -> bytes:
                drawn: bytes = super().draw(**how)
                clock.lap("layout")
                return drawn

        with patch.object(pygraphviz, "AGraph", TimedGraph):
            yield


@dataclass(frozen=True)
class Tool:
    """A drawing tool: one pass of it, which gives a picture (or a text), and the package that it needs."""

    draw: Callable[[Case, Clock], str]
    needs: str = "definebyrun"
    runs_backward: bool = False
    """Whether a pass runs backward too."""
    shows_backward: bool = True
    """Whether the picture has the backward graph."""


def lay_out(dot: str, form: str = "svg", engine: str = "dot", arguments: str = "") -> str:
    """What Graphviz prints for this DOT."""
    graph = pygraphviz.AGraph(string=dot)
    graph.number_of_nodes = lambda: 0  # counted for a warning alone
    return graph.draw(format=form, prog=engine, args=arguments).decode()


def picture_of(tape: dbr.Tape) -> str:
    """The picture; of a graph that is too large for it, the text that is shown in its place."""
    try:
        return tape.svg()
    except dbr.LayoutError:
        return tape._repr_html_()


def recorded(case: Case, clock: Clock, whole: bool) -> str:
    with dbr.record() as tape:
        case.forward().backward()
    len(tape.ops)
    clock.lap("build")
    return picture_of(tape.unfolded() if whole else tape)


def drawn(case: Case, clock: Clock, whole: bool) -> str:
    loss = case.forward()
    clock.lap("build")
    tape = dbr.draw(loss)
    return picture_of(tape.unfolded() if whole else tape)


def torchviz(case: Case, clock: Clock) -> str:
    make_dot = importlib.import_module("torchviz").make_dot
    loss = case.forward()
    clock.lap("build")
    return lay_out(make_dot(loss, params=dict(case.module.named_parameters())).source)


def torchview(case: Case, clock: Clock) -> str:
    draw_graph = importlib.import_module("torchview").draw_graph
    graphs = importlib.import_module("torchview.computation_graph").ComputationGraph
    fill = graphs.fill_visual_graph

    def fill_after_the_run(graph: Any) -> None:
        clock.lap("build")
        fill(graph)

    with patch.object(graphs, "fill_visual_graph", fill_after_the_run):
        graph = draw_graph(case.module, input_data=case.x, device="cpu", mode="train")
    return lay_out(graph.visual_graph.source)


def torchlens(case: Case, clock: Clock, picture: str) -> str:
    """What it learns of a module, drawn by one of its methods."""
    lens = importlib.import_module("torchlens")
    if picture == "draw":
        log = lens.trace(case.module, case.x)
    else:
        options = lens.options.CaptureOptions(save_grads=True)
        log = lens.trace(case.module, case.x, capture=options)
        log.log_backward(log[log.output_layers[0]].out.sum())
    clock.lap("build")
    return drawn_by_torchlens(log, picture)


def drawn_by_torchlens(log: Any, picture: str = "draw") -> str:
    """The SVG of what torchlens has learned, by one of its methods that draw.

    torchlens starts the program `dot` itself, so Graphviz in this process answers in the program's place.
    """
    utils = importlib.import_module("torchlens.visualization._render_utils")
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(utils, "run_bounded_subprocess", as_program),
    ):
        path = Path(folder) / "graph.svg"
        draw = getattr(log, picture)
        draw(vis_outpath=str(path.with_suffix("")), vis_fileformat="svg", vis_save_only=True)
        return path.read_text("utf-8")


def as_program(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
    """What the program would do that this command starts: lay out a file, print the result or write it to a file."""
    form = next(word for word in command if word.startswith("-T"))[2:]
    flags = [word for word in command[1:-1] if word.startswith(("-n", "-G", "-N", "-E"))]
    dot = Path(command[-1]).read_text("utf-8")
    printed = lay_out(dot, form, Path(command[0]).name, " ".join(flags)).encode()
    if "-o" in command:
        Path(command[command.index("-o") + 1]).write_bytes(printed)
        printed = b""
    return subprocess.CompletedProcess(command, 0, printed, b"")


TOOLS = {
    "definebyrun": Tool(partial(recorded, whole=False), runs_backward=True),
    "definebyrun, all of it": Tool(partial(recorded, whole=True), runs_backward=True),
    "definebyrun draw": Tool(partial(drawn, whole=False)),
    "definebyrun draw, all of it": Tool(partial(drawn, whole=True)),
    "torchviz": Tool(torchviz, "torchviz"),
    "torchview": Tool(torchview, "torchview", shows_backward=False),
    "torchlens draw": Tool(partial(torchlens, picture="draw"), "torchlens", shows_backward=False),
    "torchlens draw_backward": Tool(
        partial(torchlens, picture="draw_backward"), "torchlens", runs_backward=True
    ),
    "torchlens draw_combined": Tool(
        partial(torchlens, picture="draw_combined"), "torchlens", runs_backward=True
    ),
}
