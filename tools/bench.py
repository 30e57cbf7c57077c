"""Measures the drawings and what recording costs: `python -m tools.bench`, with `--save` for the book's page.

Each measurement runs in a process of its own, on one thread, within a time limit. No test depends on a time. What is
saved (`tools/bench.json`) holds no date and no name of a machine; the page *How the drawings compare* is made from it.
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
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import graphviz

from tools import kernels
from tools.measured import PLACE, ROOT, report, span, words

if TYPE_CHECKING:
    from tools.bench_tools import Asked

PEERS = ROOT / "_build" / "peers"
LIMIT = 60
"""Seconds for one drawer on one model; what recording costs has more, since it runs everything several times."""
LONGER = 240
SMALLER = {
    "RNN, 1,000 steps": "RNN, 200 steps",
    "chain of 20,000 operations": "chain of 2,000 operations",
}
"""Where the smaller one already ran into the limit or an error, the larger is not tried."""
SIZES = (100, 200, 500, 1000, 2000, 5000, 10000, 20000)
DRAWN, OVERHEAD, GROWTH = "drawn", "overhead", "growth"


# ---- in the process of one measurement ----


def several(
    run: Callable[[], Any],
    seconds: float,
    most: int,
    known: Callable[[list[Any]], bool] = lambda found: True,
) -> list[Any]:
    """What `run` gives, at least three times, then until the time is over or `most` is reached.

    While the result is not `known` well enough, up to ten times as long and as often: machines have restless times.
    """
    found: list[Any] = []
    start = time.perf_counter()

    def room(times: int) -> bool:
        return time.perf_counter() < start + times * seconds and len(found) < times * most

    while len(found) < 3 or room(1) or (room(10) and not known(found)):
        found.append(run())
    return found


def is_known(numbers: list[float], within: float) -> bool:
    """Whether the median of these is known: its error, by the spread of the middle half, is at most `within`.

    >>> is_known([10.0, 10.2, 9.8, 10.1, 9.9], 0.5), is_known([10.0, 30.0, 2.0, 20.0, 5.0], 0.5)
    (True, False)
    """
    low, _, high = quantiles(numbers, n=4)
    return 0.93 * (high - low) / len(numbers) ** 0.5 <= within  # 1.25 standard errors of a mean


def timed(run: Callable[[], Any]) -> float:
    """Milliseconds of one run; the rubbish of earlier ones is taken away before."""
    gc.collect()
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def prepare(name: str) -> Any:
    """The model, on one thread, after a fixed seed."""
    import torch

    from tools.bench_models import MODELS, STEPS

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return (MODELS | STEPS)[name]()


def drawn(tool: str, name: str) -> None:
    """One drawer on one model: the parts of a pass, its sizes, and the plain run in the same process."""
    from tools.bench_tools import TOOLS, Clock, by_program, plain

    case = prepare(name)

    def bare(backward: bool) -> float:
        case.forget()
        return timed(lambda: plain(case, backward))

    bare(True)
    run = median(several(lambda: bare(True), 0.3, 15))
    forward = median(several(lambda: bare(False), 0.3, 15))
    say(plain=run, forward=forward)

    def once() -> tuple[dict[str, float], float]:
        taken = bare(TOOLS[tool].runs_backward)  # turn by turn: a machine is not always as fast
        case.forget()
        gc.collect()
        clock = Clock()
        TOOLS[tool].draw(case, clock)
        return clock.parts, taken

    def all_known(passes: list[tuple[dict[str, float], float]]) -> bool:
        """What is added to the plain run, to a twentieth of itself or half a millisecond."""
        added = [sum(found.values()) - taken for found, taken in passes]
        return is_known(added, max(0.05 * median(added), 0.5))

    case.forget()
    clock = Clock(lambda parts: say(parts=parts))
    dot, picture = TOOLS[tool].draw(case, clock)
    sizes = {
        "nodes": nodes(clock.asked[-1].dot) if clock.asked else None,
        "engine": engine_of(clock.asked),
        "dot_bytes": len(dot.encode()) if dot else None,
        "svg_bytes": len(picture.encode()) if clock.asked else None,
        "text_bytes": None if clock.asked else len(picture.encode()),
    }
    # a slow one is not repeated: warming up hardly matters to it
    passes = [(clock.parts, run if TOOLS[tool].runs_backward else forward)]
    slow = sum(clock.parts.values()) >= 8000
    if not slow:
        passes = several(once, 2.4, 15, all_known)
    build = median(found.get("build", 0.0) - taken for found, taken in passes)
    parts = {part: median(p.get(part, 0.0) for p, _ in passes) for part in ("write", "layout")}
    totals = [sum(found.values()) for found, _ in passes]
    say(
        parts={"build": max(build, 0.0)} | parts,
        total=median(totals),
        fastest=min(totals),
        passes=len(passes),
        **sizes,
    )
    if TOOLS[tool].asks_program and clock.asked and shutil.which("dot"):
        lay_out = partial(timed, lambda: [by_program(asked) for asked in clock.asked])
        say(program=lay_out() if slow else median(several(lay_out, 1.2, 15)))


def engine_of(asked: list[Asked]) -> str:
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
    from tools.bench_models import STEPS
    from tools.bench_tools import plain

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
    from tools.bench_models import chain

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


def say(**facts: Any) -> None:
    """A line for the process that waits for us; the last one counts."""
    print(json.dumps(facts), flush=True)


# ---- in the process that asks ----


def ask(*question: str, limit: int = LIMIT) -> dict[str, Any]:
    """Measure in a process of its own: its facts, with `state` telling why there are no more of them."""
    code = (
        f"import sys; sys.path.append({str(PEERS)!r}); from tools import bench; "
        f"getattr(bench, {question[0]!r})(*{question[1:]!r})"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            timeout=limit,
        )
    except subprocess.TimeoutExpired as error:
        return heard(error.stdout) | {"state": f"> {limit} s"}
    if done.returncode:
        return heard(done.stdout) | {"state": cause(done.stderr, done.returncode)}
    return heard(done.stdout) | {"state": "drawn"}


def heard(said: str | bytes | None) -> dict[str, Any]:
    """All facts, later ones over earlier ones."""
    text = said.decode() if isinstance(said, bytes) else said or ""
    facts: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("{") and line.endswith("}"):
            facts |= json.loads(line)
    return facts


def cause(words: str, status: int) -> str:
    """The name of the exception that ended a process."""
    if status < 0:
        return f"killed by signal {-status}"
    last = next((line for line in reversed(words.splitlines()) if line[:1].isalpha()), "")
    return last.partition(":")[0].rpartition(".")[2] or f"exit status {status}"


def installed(package: str) -> bool:
    return package == "definebyrun" or (PEERS / package).is_dir()


def picture(tool: str, name: str, before: dict[str, Any] | None) -> dict[str, Any]:
    """The row of one drawer and one model; `before` is the row of the smaller model of the same kind."""
    from tools.bench_tools import TOOLS

    about = TOOLS[tool]
    row: dict[str, Any] = {"model": name, "tool": tool}
    if not installed(about.needs):
        return row | {"state": "not installed"}
    if before and before["state"] != "drawn":
        return row | {"state": "not tried"}
    facts = ask(DRAWN, tool, name)
    if "total" in facts:  # if the time was over, then for the program alone
        facts["state"] = "drawn"
    parts = facts.get("parts", {})
    if "total" not in facts and "build" in parts:  # stopped before the plain run was taken off
        plain = facts["plain" if about.runs_backward else "forward"]
        parts["build"] = max(parts["build"] - plain, 0.0)
    return row | rounded(facts)


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
    from tools.bench_models import MODELS, STEPS
    from tools.bench_tools import TOOLS

    names = [name for name in MODELS if only in name]
    rows: list[dict[str, Any]] = []
    for name in names:
        for tool in TOOLS:
            smaller = [r for r in rows if (r["model"], r["tool"]) == (SMALLER.get(name), tool)]
            rows.append(picture(tool, name, smaller[0] if smaller else None))
            print(f"{name}, {tool}: {words(rows[-1])}", flush=True)
    costs = []
    for name in [*names, *(name for name in STEPS if only in name)]:
        costs.append({"model": name} | rounded(ask(OVERHEAD, name, limit=LONGER)))
        print(f"{name}, recorded: {span(costs[-1].get('recorded'))}", flush=True)
    print("Recording chains of growing length", flush=True)
    return {
        "machine": machine(),
        "tools": {tool: {"shows": t.shows, "backward": t.backward} for tool, t in TOOLS.items()},
        "pictures": rows,
        "overhead": costs,
        "growth": rounded(ask(GROWTH, limit=LONGER)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--save", action="store_true", help="write tools/bench.json for the book")
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
