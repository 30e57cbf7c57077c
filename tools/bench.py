"""Measures what recording costs, beside the plain run and beside other drawers: `python -m tools.bench`.

Each measurement runs in a process of its own, on one thread, is repeated, and the fastest run is shown as a multiple of
the plain forward and backward pass. Layout is not measured. The drawers do not show the same: see `SHOWS`. Nothing is
stored and no test depends on a time.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "_build" / "peers"
LIMIT = 60
SHOWS = {
    "plain": "forward and backward, nothing drawn",
    "record": "definebyrun: forward and backward recorded with values and gradients",
    "record + DOT": "definebyrun: the same, and the graph as DOT text",
    "torchviz": "backward graph only, no values, no order",
    "torchview": "forward modules only",
    "torchlens": "forward of a module, with values, not yet as DOT",
}


class Residual(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return x


class Recurrent(nn.Module):
    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.cell = steps, nn.Linear(32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.steps):
            x = torch.tanh(self.cell(x))
        return x


MODELS: dict[str, Callable[[], nn.Module]] = {
    "MLP, 2 layers": lambda: nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10)),
    "residual MLP, 50 blocks": lambda: Residual(50),
    "RNN, 200 steps": lambda: Recurrent(200),
}


def job(tool: str, model: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    """One run of one tool on one model, as a function to be timed."""

    def plain() -> torch.Tensor:
        loss = model(x).sum()
        loss.backward()
        return loss

    def record() -> object:
        import definebyrun as dbr

        with dbr.record() as tape:
            plain()
        return tape.trace

    def dot() -> object:
        import definebyrun as dbr

        with dbr.record() as tape:
            plain()
        return tape.dot()

    def torchviz() -> object:
        return (
            importlib.import_module("torchviz")
            .make_dot(plain(), dict(model.named_parameters()))
            .source
        )

    def torchview() -> object:
        graph = importlib.import_module("torchview").draw_graph(model, input_data=x, depth=9)
        return graph.visual_graph.source

    def torchlens() -> object:
        return importlib.import_module("torchlens").trace(model, x)

    return {"plain": plain, "record": record, "record + DOT": dot}.get(tool) or locals()[tool]


def measure(tool: str, name: str) -> float:
    """The time of the fastest run in milliseconds: what else the machine does only ever adds to it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    run = job(tool, MODELS[name](), torch.randn(4, 32))
    run()
    times, until = [], time.perf_counter() + 2
    while len(times) < 3 or (time.perf_counter() < until and len(times) < 50):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def ask(tool: str, name: str) -> float | str:
    """Measure in a process of its own: milliseconds, or why there are none."""
    if tool in ("torchviz", "torchview", "torchlens") and not (PEERS / tool).is_dir():
        return "not installed"
    code = f"import sys; sys.path.append({str(PEERS)!r}); from tools.bench import measure"
    command = [sys.executable, "-c", f"{code}; print(measure({tool!r}, {name!r}))"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"> {LIMIT} s"
    if done.returncode:
        return done.stderr.strip().splitlines()[-1].partition(":")[0]
    return float(done.stdout.split()[-1])


def main() -> int:
    for name in MODELS:
        print(f"\n{name}", flush=True)
        base = ask("plain", name)
        for tool, shows in SHOWS.items():
            found = base if tool == "plain" else ask(tool, name)
            if isinstance(found, float) and isinstance(base, float):
                found = f"{found:9.2f} ms {found / base:8.1f} ×"
            print(f"  {tool:13} {found:>24}   {shows}", flush=True)
    print(
        f"\nFastest runs on this machine, torch {torch.__version__}; × is the multiple of the plain run."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
