"""What a step and an all-reduce cost in seconds: one process with all rows, two with half each, messages of many sizes.

Two processes on one machine, gloo, one thread each, float32. A network of two hidden layers of one width is trained
by SGD; each figure is the least of many repetitions and their median, since other programs only add time. The
numbers belong to the machine that is named beside them; a lesson shows them as an example, and no test compares them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["run"]

PIECES = 4
SIZES = ((32, 64), (256, 64), (1024, 64), (256, 512), (256, 4096))
"""Width of the hidden layers, and rows of the joined batch."""
BYTES = (8, 1_000, 10_000, 100_000, 1_000_000, 8_000_000)
LIMIT_S = 300


def run() -> dict[str, Any]:
    """Seconds of a step alone and shared, of accumulation with and without `no_sync`, of an all-reduce by size."""
    with tempfile.TemporaryDirectory() as folder:
        local = "lo0" if sys.platform == "darwin" else "lo"
        file = Path(folder) / "found.json"
        shared = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": local, "FOUND": str(file)}
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command = [*start, "--nproc-per-node=2", "-m", "experiments.two_processes"]
        subprocess.run(command, env=os.environ | shared, check=True, timeout=LIMIT_S)
        found: dict[str, Any] = json.loads(file.read_text("utf8"))
    return {"seeds": [0], "pieces": PIECES, "cores": os.cpu_count(), **found}


def least(work: Callable[[], None], times: int) -> list[float]:
    """The least and the median of the seconds that `work` takes; all processes begin together."""
    seconds = []
    for _ in range(times):
        dist.barrier()
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return [min(seconds), median(seconds)]


def network(width: int) -> nn.Module:
    torch.manual_seed(0)
    layers = (
        nn.Linear(64, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 10),
    )
    return nn.Sequential(*layers)


def step(model: nn.Module, x: Tensor, y: Tensor, pieces: int = 1, quiet: bool = False) -> None:
    """Backward of the batch's mean in pieces, all but the last without an all-reduce where `quiet`, and one step."""
    model.zero_grad()
    for nth, (a, b) in enumerate(zip(x.chunk(pieces), y.chunk(pieces), strict=True)):
        silent = quiet and nth < pieces - 1
        with model.no_sync() if silent else nullcontext():  # type: ignore[operator]
            (nn.functional.cross_entropy(model(a), b) / pieces).backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.01 * p.grad  # type: ignore[operator]


def steps(width: int, rows: int, rank: int, times: int) -> dict[str, Any]:
    """Seconds of a step: alone on rank 0 while the other waits, with both, and accumulated."""
    net, both = network(width), DistributedDataParallel(network(width))
    x, y = torch.randn(rows, 64), torch.arange(rows) % 10
    alone = least(lambda: step(net, x, y) if rank == 0 else None, times)
    mine, labels = x[rank::2], y[rank::2]
    return {
        "width": width,
        "rows": rows,
        "parameters": sum(p.numel() for p in net.parameters()),
        "alone": alone,
        "both": least(lambda: step(both, mine, labels), times),
        "pieces": least(lambda: step(both, mine, labels, PIECES), times),
        "pieces, no_sync": least(lambda: step(both, mine, labels, PIECES, quiet=True), times),
    }


def main() -> None:
    """What each of the two processes runs; rank 0 writes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank = dist.get_rank()
    shared = [
        steps(width, rows, rank, 200 if width * rows < 50_000 else 80) for width, rows in SIZES
    ]
    messages = []
    for size in BYTES:
        tensor = torch.zeros(size // 4)
        messages.append([size, *least(lambda t=tensor: dist.all_reduce(t), 200)])  # type: ignore[misc]
    if rank == 0:
        found = {"steps": shared, "messages": messages}
        Path(os.environ["FOUND"]).write_text(json.dumps(found), "utf8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
