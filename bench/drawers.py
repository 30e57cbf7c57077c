"""The drawers that the bench measures: each takes one model from nothing to a finished SVG; a clock notes the parts.

Every drawer is used as its own documentation shows it, with its own defaults. The layout is Graphviz's `dot` for all
of them, in this process, through `drawing.layout.run_dot`: the time it takes is noted as `layout`, wherever in its
work a drawer asks for it. The rest of a pass is `build` (the run, and what the drawer learns from it) and `write`
(everything else up to the picture). What a drawer has asked for can be asked of the program too: `by_program`.
"""

from __future__ import annotations

import importlib
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import graphviz

import definebyrun as dbr
from bench.models import Case
from definebyrun.drawing import layout, svg

__all__ = ["TOOLS", "Asked", "Clock", "Tool", "by_program"]


@dataclass(frozen=True)
class Asked:
    """A layout that a drawer has asked for: of which engine, in which form, with which flags."""

    dot: str
    engine: str = "dot"
    kind: str = "svg"
    flags: tuple[str, ...] = ()


@dataclass
class Clock:
    """Notes what each part of a pass takes, in milliseconds; `tell` hears of every part as soon as it is known."""

    tell: Callable[[dict[str, float]], None] = lambda parts: None
    parts: dict[str, float] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    _since: float = field(default_factory=time.perf_counter)

    def lap(self, part: str) -> None:
        """The time since the last lap, or layout, belongs to this part."""
        now = time.perf_counter()
        self.parts[part] = self.parts.get(part, 0.0) + 1000 * (now - self._since)
        self.tell(self.parts)
        self._since = time.perf_counter()

    def lay_out(self, dot: str, form: str = "svg") -> str:
        """What Graphviz makes of this DOT; what went before belongs to `write`."""
        self.lap("write")
        laid_out = layout.run_dot(dot, form)
        self.asked.append(Asked(dot, kind=form))
        self.lap("layout")
        return laid_out


def by_program(asked: Asked) -> bytes:
    """The same layout as its users get it: from the program, a process for each picture, as `graphviz` asks for it."""
    if (asked.engine, asked.kind) == ("dot", "svg"):
        return graphviz.pipe("dot", "svg", asked.dot.encode(), quiet=True)
    command = [asked.engine, *asked.flags, f"-T{asked.kind}"]
    return subprocess.run(command, input=asked.dot.encode(), capture_output=True, check=True).stdout


@dataclass(frozen=True)
class Tool:
    """A drawer: what it shows, whether a pass runs backward too, what must be installed, one pass of it."""

    shows: str
    runs_backward: bool
    needs: str
    draw: Callable[[Case, Clock], tuple[str, str]]
    """A pass; gives the DOT that a user would get, and the SVG (or what the drawer shows in its place)."""

    @property
    def backward(self) -> bool:
        return "backward" in self.shows

    @property
    def asks_program(self) -> bool:
        """Whether its users get its layouts from the program `dot`; definebyrun's come from the library, in process."""
        return self.needs != "definebyrun"


def plain(case: Case, backward: bool = True) -> None:
    """What the learner runs without any drawer."""
    loss = case.forward()
    if backward:
        loss.backward()


def definebyrun(case: Case, clock: Clock, fold: bool) -> tuple[str, str]:
    with patch.object(svg, "run_dot", clock.lay_out):
        with dbr.record() as tape:
            plain(case)
        len(tape.ops)
        clock.lap("build")
        if not fold:
            tape = tape.unfolded()
        try:
            picture = tape.svg()
        except dbr.LayoutError:  # too large for it: it says so and shows the text
            picture = tape._repr_html_()
        clock.lap("write")
    return (tape.dot() if clock.asked else ""), picture


def torchviz(case: Case, clock: Clock) -> tuple[str, str]:
    drawer = importlib.import_module("torchviz")
    loss = case.forward()
    clock.lap("build")
    dot = drawer.make_dot(loss, params=dict(case.module.named_parameters())).source
    return dot, clock.lay_out(dot)


def torchview(case: Case, clock: Clock) -> tuple[str, str]:
    drawer = importlib.import_module("torchview")
    graphs = importlib.import_module("torchview.computation_graph").ComputationGraph
    fill = graphs.fill_visual_graph

    def filled(graph: Any) -> None:
        clock.lap("build")
        fill(graph)

    with patch.object(graphs, "fill_visual_graph", filled):
        graph = drawer.draw_graph(case.module, input_data=case.x, device="cpu", mode="train")
    dot = graph.visual_graph.source
    return dot, clock.lay_out(dot)


def torchlens(case: Case, clock: Clock, picture: str) -> tuple[str, str]:
    """torchlens calls the program `dot` by itself, so Graphviz in this process answers in the program's place."""
    lens = importlib.import_module("torchlens")
    utils = importlib.import_module("torchlens.visualization._render_utils")
    if picture == "draw":
        log = lens.trace(case.module, case.x)
    else:
        options = lens.options.CaptureOptions(save_grads=True)
        log = lens.trace(case.module, case.x, capture=options)
        log.log_backward(log[log.output_layers[0]].out.sum())
    clock.lap("build")
    answer = partial(_as_program, clock)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(utils, "run_bounded_subprocess", answer),
    ):
        place = Path(folder) / "graph"
        dot = getattr(log, picture)(
            vis_outpath=str(place), vis_fileformat="svg", vis_save_only=True
        )
        svg = place.with_suffix(".svg").read_text("utf-8")
    clock.lap("write")
    return dot, svg


def _as_program(clock: Clock, command: list[str], **_: Any) -> subprocess.CompletedProcess:
    engine, kind = Path(command[0]).name, next(a for a in command if a.startswith("-T"))[2:]
    dot = Path(command[-1]).read_text("utf-8")
    if (engine, kind) == ("dot", "svg"):
        said = clock.lay_out(dot).encode()
    else:  # places for its own use, or another engine for a graph that it thinks too large for dot
        import pygraphviz

        clock.lap("write")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = pygraphviz.AGraph(string=dot)
            said = graph.draw(format=kind, prog=engine, args=" ".join(_flags(command)))
        clock.asked.append(Asked(dot, engine, kind, tuple(_flags(command))))
        clock.lap("layout")
    if "-o" in command:
        Path(command[command.index("-o") + 1]).write_bytes(said)
        said = b""
    return subprocess.CompletedProcess(command, 0, said, b"")


def _flags(command: list[str]) -> list[str]:
    return [a for a in command[1:-1] if a.startswith(("-n", "-G", "-N", "-E"))]


TOOLS = {
    "definebyrun": Tool(
        "forward and backward, values and gradients; large graphs as it shows them by itself",
        True,
        "definebyrun",
        lambda case, clock: definebyrun(case, clock, fold=True),
    ),
    "definebyrun, all of it": Tool(
        "forward and backward, values and gradients; every operation, whatever the size",
        True,
        "definebyrun",
        lambda case, clock: definebyrun(case, clock, fold=False),
    ),
    "torchviz": Tool("the backward graph", False, "torchviz", torchviz),
    "torchview": Tool("the forward pass of modules", False, "torchview", torchview),
    "torchlens draw": Tool(
        "the forward pass of a module",
        False,
        "torchlens",
        lambda case, clock: torchlens(case, clock, "draw"),
    ),
    "torchlens draw_backward": Tool(
        "the backward graph, with the shapes of gradients",
        True,
        "torchlens",
        lambda case, clock: torchlens(case, clock, "draw_backward"),
    ),
    "torchlens draw_combined": Tool(
        "forward and backward, with the shapes of gradients",
        True,
        "torchlens",
        lambda case, clock: torchlens(case, clock, "draw_combined"),
    ),
}
