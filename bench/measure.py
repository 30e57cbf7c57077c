"""Measures the drawing tools and what recording costs: `python -m bench.measure`, with `--save` for the book's page.

Each figure is measured in processes of its own, within a time limit. No test depends on a time. What is saved
(`bench/numbers.json`) holds no date and no name of a machine; *How the drawings compare* is made from it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

import pygraphviz

import definebyrun
from bench.drawing_tools import TOOLS
from bench.models import MODELS, RECORDED
from bench.processes import PEERS, Worker, take_turns
from bench.tables import OURS, PLACE, ROOT, report, span, words
from tools import kernels

Facts = dict[str, Any]


class Turns(NamedTuple):
    """How long a process is asked: for so many passes, or until they have taken so much time."""

    passes: int
    seconds: float


LIMIT_SECONDS = 30
"""For one picture of one drawing tool."""
FEW, MORE = Turns(passes=4, seconds=4), Turns(passes=9, seconds=6)
"""In one process: of every tool, then of those that are divided by each other. The first pass warms up."""
MORE_SITTINGS = 2
"""So often those get new processes: where things come to lie in memory makes a twentieth of the time."""
RECORDING = Turns(passes=21, seconds=10)
SMALLER = {
    "RNN, 1,000 steps": "RNN, 200 steps",
    "chain of 20,000 operations": "chain of 2,000 operations",
}
"""Where a tool does not finish the smaller model, it is not asked for the larger."""


class Answer(NamedTuple):
    """What the passes of one process have found, and why it has ended, if it has."""

    passes: list[Facts]
    state: str


def medians(passes: list[Any]) -> Any:
    """The facts of several passes in one: of every number the median.

    >>> medians([{"a": 1.0, "parts": {"b": 5.0}}, {"a": 9.0, "parts": {"b": 7.0}}, {"a": 2.0, "parts": {"b": 6.0}}])
    {'a': 2.0, 'parts': {'b': 6.0}}
    """
    first = passes[0]
    if isinstance(first, dict):
        return {key: medians([facts[key] for facts in passes]) for key in first}
    return median(passes) if isinstance(first, float) else first


def ask(figure: str, asked: Mapping[str, tuple[str, ...]], turns: Turns) -> dict[str, Answer]:
    """What new processes find in turns, one for each name, without the first pass of each, unless there is no other."""
    workers = {name: Worker(figure, *arguments) for name, arguments in asked.items()}
    try:
        for worker in workers.values():
            worker.start()
        found = take_turns(workers, *turns, LIMIT_SECONDS)
        return {
            name: Answer(found[name][1:] or found[name], workers[name].state) for name in workers
        }
    finally:
        for worker in workers.values():
            worker.end()


def pictures(model: str, smaller: Mapping[str, str]) -> list[Facts]:
    """The rows of all tools for one model; `smaller` says how each ended on the smaller model of the same kind."""
    rows: dict[str, Facts] = {tool: {"model": model, "tool": tool, "state": ""} for tool in TOOLS}
    for tool, row in rows.items():
        if TOOLS[tool].needs != OURS and not (PEERS / TOOLS[tool].needs).is_dir():
            row["state"] = "not installed"
        elif smaller.get(tool, "drawn") != "drawn":
            row["state"] = "not tried"
    passes: dict[str, list[Facts]] = {tool: [] for tool in TOOLS}
    asked = [tool for tool in TOOLS if not rows[tool]["state"]]
    for turns in (FEW, *[MORE] * MORE_SITTINGS):
        found = ask("picture", {tool: (tool, model) for tool in asked}, turns)
        for tool, answer in found.items():
            passes[tool] += answer.passes
            rows[tool]["state"] = answer.state
        asked = divided({tool: medians(facts) for tool, facts in passes.items() if facts})
    for tool, row in rows.items():
        if passes[tool]:
            row |= medians(passes[tool]) | {"passes": len(passes[tool]), "state": "drawn"}
    return list(rows.values())


def divided(rows: Mapping[str, Facts]) -> list[str]:
    """The tools whose times are divided by each other: ours, torchviz, the fastest other with the backward graph."""
    others = [tool for tool in rows if TOOLS[tool].needs != OURS and TOOLS[tool].shows_backward]
    fastest = min(others, key=lambda tool: sum(rows[tool]["parts"].values()), default="")
    return [tool for tool in rows if TOOLS[tool].needs == OURS or tool in ("torchviz", fastest)]


def recording(model: str) -> Facts:
    """What recording costs: one process, since one pass has all that is divided by each other."""
    passes, state = ask("recording", {model: (model,)}, RECORDING)[model]
    return {"model": model} | (
        medians(passes) | {"passes": len(passes)} if passes else {"state": state}
    )


def rounded(facts: Any) -> Any:
    """Milliseconds to a hundredth: a file that can be read."""
    if isinstance(facts, dict):
        return {key: rounded(value) for key, value in facts.items()}
    return round(facts, 2) if isinstance(facts, float) else facts


def as_json(data: Facts) -> str:
    """A line for each row, so that a diff shows which figures have changed."""

    def written(value: Any) -> str:
        if isinstance(value, list):
            return "[\n  " + ",\n  ".join(map(written, value)) + "\n ]"
        return json.dumps(value, ensure_ascii=False)

    return "{\n " + ",\n ".join(f'"{key}": {written(data[key])}' for key in data) + "\n}\n"


def machine() -> Facts:
    """What the numbers depend on, and nothing that tells whose machine it is."""
    versions = {"definebyrun": definebyrun.__version__}
    versions |= {name: importlib.metadata.version(name) for name in ("torch", "pygraphviz")}
    for path in sorted(PEERS.glob("torch*.dist-info")):
        name, _, version = path.name.removesuffix(".dist-info").partition("-")
        versions[name] = version
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "graphviz": pygraphviz.__graphviz_version__,
        "versions": versions,
        "limit": LIMIT_SECONDS,
    }


def everything(only: str) -> Facts:
    """All figures whose model has `only` in its name, with a line of progress for each."""
    rows: list[Facts] = []
    for model in (name for name in MODELS if only in name):
        smaller = {row["tool"]: row["state"] for row in rows if row["model"] == SMALLER.get(model)}
        for row in map(rounded, pictures(model, smaller)):
            rows.append(row)
            print(f"{model}, {row['tool']}: {words(row)}", flush=True)
    costs: list[Facts] = []
    for model in (name for name in MODELS | RECORDED if only in name):
        costs.append(rounded(recording(model)))
        print(f"{model}, recorded: {span(costs[-1].get('recorded'))}", flush=True)
    return {
        "machine": machine(),
        "tools": {name: {"backward": tool.shows_backward} for name, tool in TOOLS.items()},
        "pictures": rows,
        "recording": costs,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.measure", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--save", action="store_true", help="write bench/numbers.json for the book")
    parser.add_argument("--only", default="", help="only models with this in their name")
    options = parser.parse_args()
    if options.save and options.only:
        parser.error("what is saved is the whole of one run: leave out --only")
    kernels.settle(fast=True)
    start = time.perf_counter()
    data = everything(options.only)
    print(report(data))
    print(f"\nThis took {(time.perf_counter() - start) / 60:.1f} minutes.")
    if options.save:
        PLACE.write_text(as_json(data), encoding="utf-8")
        print(f"Saved in {PLACE.relative_to(ROOT)}; make book puts it on its page.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
