"""The figures: each function prepares one, and gives the function that measures one pass of it, in milliseconds.

Each runs in a process of its own, on one thread, after a fixed seed. What belongs together (a plain run and the
recorded one) is measured in the same pass, one after the other.
"""

from __future__ import annotations

import gc
import importlib
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import pygraphviz
import torch

import definebyrun as dbr
from bench.default_pictures import default_pictures
from bench.drawing_tools import TOOLS, Clock
from bench.floor import Floor
from bench.models import MODELS, RECORDED, Case

__all__ = ["default_pictures", "ours", "picture", "recording"]

Facts = dict[str, Any]


def prepare(name: str) -> Case:
    """The model, with everything else as quiet as it can be."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return (MODELS | RECORDED)[name]()


def milliseconds(run: Callable[[], object]) -> float:
    """What one run takes; the garbage of earlier ones is collected before."""
    gc.collect()
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def picture(tool_name: str, model: str) -> Callable[[], Facts]:
    """One drawing tool on one model: the parts of a pass, less the plain run that is measured before it, and sizes."""
    tool, case = TOOLS[tool_name], prepare(model)
    importlib.import_module(tool.needs)

    def plain() -> None:
        loss = case.forward()
        if tool.runs_backward:
            loss.backward()

    def measure() -> Facts:
        case.forget()
        bare = milliseconds(plain)
        case.forget()
        gc.collect()
        clock = Clock()
        with clock.timing_layouts():
            drawn = tool.draw(case, clock)
            clock.lap("write")
        parts = {part: clock.parts.get(part, 0.0) for part in ("build", "write", "layout")}
        total = sum(parts.values())
        parts["build"] = max(parts["build"] - bare, 0.0)
        return {"total": total, "parts": parts} | sizes(clock.dot, drawn)

    return measure


def sizes(dot: str, drawn: str) -> Facts:
    """How many nodes Graphviz sees, and the bytes of the DOT and the SVG: None where there is a text and no picture."""
    if not dot:
        return {"nodes": None, "dot_bytes": None, "svg_bytes": None}
    nodes = pygraphviz.AGraph(string=dot).number_of_nodes()
    return {"nodes": nodes, "dot_bytes": len(dot.encode()), "svg_bytes": len(drawn.encode())}


def recording(model: str) -> Callable[[], Facts]:
    """The plain run, the recorded one, and the floor of recording; of `RECORDED` models of modules, a training step."""
    case = prepare(model)
    parameters = list(case.module.parameters())
    steps = model in RECORDED and bool(parameters)
    optimizer = torch.optim.SGD(parameters, lr=0.01) if steps else None
    operations = 0

    def plain() -> None:
        case.forward().backward()
        if optimizer is not None:
            optimizer.step()

    def recorded() -> None:
        nonlocal operations
        with dbr.record() as tape:
            plain()
        operations = len(tape.ops)

    def at_the_floor() -> None:
        with Floor():
            plain()

    def nothing() -> None:
        with dbr.record():
            pass

    def measure() -> Facts:
        facts: Facts = {}
        for key, run in (("plain", plain), ("recorded", recorded), ("floor", at_the_floor)):
            case.forget()
            facts[key] = milliseconds(run)
        return facts | {
            "nothing": milliseconds(nothing),
            "added": facts["recorded"] - facts["plain"],
            "floor_added": facts["floor"] - facts["plain"],
            "operations": operations,
        }

    return measure


def ours(model: str) -> Callable[[], Facts]:
    """All that this package adds to the plain run of one model, recorded only or drawn too, by figure."""
    record = recording(model)
    measures = {"record": lambda: record()["added"]}
    for name, tool in TOOLS.items():
        if tool.needs == "definebyrun" and model in MODELS:
            measure = picture(name, model)
            measures[name] = lambda measure=measure: sum(measure()["parts"].values())
    return lambda: {name: steady(measure) for name, measure in measures.items()}


def steady(measure: Callable[[], float]) -> float:
    """The median of as many passes as fit into a tenth of a second, one at least."""
    found, start = [measure()], time.perf_counter()
    while time.perf_counter() < start + 0.1:
        found.append(measure())
    return median(found)
