"""Measures the drawings and what recording costs: `python -m bench.measure`, with `--save` for the book's page.

Each measurement runs in a process of its own, on one thread, within a time limit. No test depends on a time. What is
saved (`bench/numbers.json`) holds no date and no name of a machine; *How the drawings compare* is made from it.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Collection
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import graphviz

from bench.tables import PLACE, ROOT, report, span, words
from bench.turns import Answering, ask, say, summary, sums_of, take_turns, turns
from tools import kernels

if TYPE_CHECKING:
    from bench import drawers

PEERS = ROOT / "_build" / "peers"
LIMIT = 60
"""Seconds for one picture of one drawer; what recording costs has more, since it runs everything several times."""
LONGER = 240
SLOW = 8000
"""Milliseconds: a drawer that takes so long is not asked twice: warming up hardly matters to it."""
SITTINGS = 3
"""How often those that are set against each other get new processes: where things lie in memory makes a twentieth."""
SMALLER = {
    "RNN, 1,000 steps": "RNN, 200 steps",
    "chain of 20,000 operations": "chain of 2,000 operations",
}
"""Where the smaller one already ran into the limit or an error, the larger is not tried."""
SIZES = (100, 200, 500, 1000, 2000, 5000, 10000, 20000)
DRAWN, OVERHEAD, GROWTH = "drawn", "overhead", "growth"


# ---- in the process of one measurement ----


def several(run: Callable[[], Any], seconds: float, most: int) -> list[Any]:
    """What `run` gives, at least three times, then until the time is over or `most` is reached."""
    found: list[Any] = []
    start = time.perf_counter()
    while len(found) < 3 or (time.perf_counter() < start + seconds and len(found) < most):
        found.append(run())
    return found


def timed(run: Callable[[], Any]) -> float:
    """Milliseconds of one run; the rubbish of earlier ones is taken away before."""
    gc.collect()
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def prepare(name: str) -> Any:
    """The model, on one thread, after a fixed seed."""
    import torch

    from bench.models import MODELS, STEPS

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return (MODELS | STEPS)[name]()


def drawn(tool: str, name: str) -> None:
    """One drawer on one model: the parts of a pass, its sizes, and the plain run in the same process."""
    from bench.drawers import TOOLS, Clock, by_program, plain

    case = prepare(name)

    def bare(backward: bool) -> float:
        case.forget()
        return timed(lambda: plain(case, backward))

    bare(True)
    run = median(several(lambda: bare(True), 0.3, 15))
    forward = median(several(lambda: bare(False), 0.3, 15))
    say(plain=run, forward=forward)

    case.forget()
    clock = Clock(lambda parts: say(parts=parts))
    dot, picture = TOOLS[tool].draw(case, clock)
    say(
        nodes=nodes(clock.asked[-1].dot) if clock.asked else None,
        engine=engine_of(clock.asked),
        dot_bytes=len(dot.encode()) if dot else None,
        svg_bytes=len(picture.encode()) if clock.asked else None,
        text_bytes=None if clock.asked else len(picture.encode()),
    )
    by_itself = TOOLS[tool].asks_program and shutil.which("dot")

    def laid_out(clock: Clock) -> dict[str, float]:
        if not (by_itself and clock.asked):
            return {}
        return {"program": timed(lambda: [by_program(asked) for asked in clock.asked])}

    def once() -> dict[str, Any]:
        taken = bare(TOOLS[tool].runs_backward)  # turn by turn: a machine is not always as fast
        case.forget()
        gc.collect()
        clock = Clock()
        TOOLS[tool].draw(case, clock)
        return {"plain": taken, "parts": clock.parts} | laid_out(clock)

    if sum(clock.parts.values()) >= SLOW:
        first = {"plain": run if TOOLS[tool].runs_backward else forward, "parts": clock.parts}
        say(**summary([first]))
        say(**laid_out(clock))
        return
    for _ in turns():
        say(turn=once())


def engine_of(asked: list[drawers.Asked]) -> str:
    """The engine of the picture: another one where a drawer has asked for that."""
    return next((each.engine for each in reversed(asked) if each.engine != "dot"), "dot")


def nodes(dot: str) -> int:
    """How many nodes Graphviz sees in this DOT."""
    import pygraphviz

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pygraphviz.AGraph(string=dot).number_of_nodes()


def overhead(name: str) -> None:
    """The plain run and the recorded one, turn by turn."""
    import torch

    import definebyrun as dbr
    from bench.drawers import plain
    from bench.models import STEPS

    case = prepare(name)
    optimizer = None
    if name in STEPS:
        optimizer = torch.optim.SGD(case.module.parameters(), lr=0.01)

    def work() -> None:
        plain(case)
        if optimizer is not None:
            optimizer.step()

    def recorded() -> None:
        with dbr.record() as tape:
            work()
        counts.append(len(tape.ops))

    def pair() -> tuple[float, float]:
        case.forget()
        bare = timed(work)
        case.forget()
        return bare, timed(recorded)

    counts: list[int] = []
    pair()
    pairs = several(pair, 4.0, 25)
    say(
        plain=median(bare for bare, _ in pairs),
        recorded=median(taken for _, taken in pairs),
        ops=counts[-1],
        passes=len(pairs),
    )


def growth() -> None:
    """What the recorder adds to chains of growing length."""
    import torch

    import definebyrun as dbr
    from bench.models import chain

    prepare("MLP, 2 layers")
    x = torch.randn(4, 32, requires_grad=True)

    def recorded(length: int) -> None:
        with dbr.record():
            chain(x, length).sum().backward()

    def pair(length: int) -> tuple[float, float]:
        bare = timed(lambda: chain(x, length).sum().backward())
        return bare, timed(lambda: recorded(length))

    pair(SIZES[0])
    added = []
    for length in SIZES:
        pairs = several(partial(pair, length), 1.0, 15)
        added.append(median(taken for _, taken in pairs) - median(bare for bare, _ in pairs))
    say(sizes=list(SIZES), added=added)


# ---- in the process that asks ----


def code(*question: str) -> str:
    """What a process of its own runs to answer: a function of this module, with what it is asked about."""
    return (
        f"import sys; sys.path.append({str(PEERS)!r}); from bench import measure; "
        f"measure.{question[0]}(*{question[1:]!r})"
    )


def installed(package: str) -> bool:
    return package == "definebyrun" or (PEERS / package).is_dir()


def pictures(name: str, before: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of all drawers for one model; `before` says what came of the smaller model of the same kind."""
    from bench.drawers import TOOLS

    rows: dict[str, dict[str, Any]] = {}
    for tool, about in TOOLS.items():
        row = rows[tool] = {"model": name, "tool": tool}
        if not installed(about.needs):
            row["state"] = "not installed"
        elif before.get(tool, "drawn") != "drawn":
            row["state"] = "not tried"
    passes: dict[str, list[Any]] = {tool: [] for tool in TOOLS}
    wanted: Collection[str] = TOOLS
    for _ in range(SITTINGS):
        asked: dict[str, Answering] = {}
        for tool, row in rows.items():
            if "state" in row or tool not in wanted:
                continue
            asked[tool] = Answering(code(DRAWN, tool, name))
            row |= asked[tool].answer(LIMIT)
            if "state" in row:
                asked.pop(tool).end()
        for tool, found in take_turns(asked, LIMIT, set_against).items():
            passes[tool] += found
            asked[tool].end()
            if asked[tool].state:
                rows[tool]["state"] = asked[tool].state
        wanted = set_against(sums_of(passes))
    for tool, row in rows.items():
        if passes[tool]:
            row |= summary(passes[tool]) | {"state": "drawn"}
        else:
            finish(row, TOOLS[tool].runs_backward)
    return [rounded(row) for row in rows.values()]


def finish(row: dict[str, Any], backward: bool) -> None:
    """A row whose process has ended before anybody asked for more."""
    if "total" in row:  # if the time was over, then for the program alone
        row["state"] = "drawn"
    elif "build" in row.get("parts", {}):  # stopped before the plain run was taken off
        plain = row["plain" if backward else "forward"]
        row["parts"]["build"] = max(row["parts"]["build"] - plain, 0.0)


def set_against(sums: dict[str, float]) -> list[str]:
    """The drawers whose times are divided by each other: ours, and the fastest other one of the backward graph."""
    from bench.drawers import TOOLS

    others = [tool for tool in sums if TOOLS[tool].backward and TOOLS[tool].asks_program]
    ours = [tool for tool in sums if not TOOLS[tool].asks_program]
    return [*ours, min(others, key=sums.__getitem__)] if others else ours


def rounded(facts: Any) -> Any:
    """Milliseconds to a hundredth: a file that can be read."""
    if isinstance(facts, dict):
        return {key: rounded(value) for key, value in facts.items()}
    if isinstance(facts, list):
        return [rounded(value) for value in facts]
    return round(facts, 2) if isinstance(facts, float) else facts


def machine() -> dict[str, Any]:
    """What the numbers depend on, and nothing that tells whose machine it is."""
    import pygraphviz

    import definebyrun

    versions = {name: importlib.metadata.version(name) for name in ("torch", "pygraphviz")}
    for path in sorted(PEERS.glob("torch*.dist-info")):
        name, _, version = path.name.removesuffix(".dist-info").partition("-")
        versions[name] = version
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "graphviz": pygraphviz.__graphviz_version__,
        "dot": program(),
        "versions": {"definebyrun": definebyrun.__version__} | versions,
        "limit": LIMIT,
    }


def program() -> str | None:
    """The version of the program `dot`; None where it is not there."""
    try:
        return ".".join(map(str, graphviz.version()))
    except graphviz.ExecutableNotFound:
        return None


def everything(only: str) -> dict[str, Any]:
    """All measurements whose model has `only` in its name, with a line of progress for each."""
    from bench.drawers import TOOLS
    from bench.models import MODELS, STEPS

    names = [name for name in MODELS if only in name]
    rows: list[dict[str, Any]] = []
    for name in names:
        before = {row["tool"]: row["state"] for row in rows if row["model"] == SMALLER.get(name)}
        for row in pictures(name, before):
            rows.append(row)
            print(f"{name}, {row['tool']}: {words(row)}", flush=True)
    costs = []
    for name in [*names, *(name for name in STEPS if only in name)]:
        costs.append({"model": name} | rounded(ask(code(OVERHEAD, name), LONGER)))
        print(f"{name}, recorded: {span(costs[-1].get('recorded'))}", flush=True)
    print("Recording chains of growing length", flush=True)
    return {
        "machine": machine(),
        "tools": {tool: {"shows": t.shows, "backward": t.backward} for tool, t in TOOLS.items()},
        "pictures": rows,
        "overhead": costs,
        "growth": rounded(ask(code(GROWTH), LONGER)),
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
        PLACE.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"Saved in {PLACE.relative_to(ROOT)}; make book puts it on its page.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
