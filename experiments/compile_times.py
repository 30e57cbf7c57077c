"""When does `torch.compile` pay? First calls, later calls and eager calls of twelve programs, with the real compiler.

Asked: what does the first call cost, what is a later one worth, and after how many calls has the first one been
earned back? Times are seconds of processor time on one thread, those of the C++ compiler included: on a machine that
does nothing else, a clock shows the same. First calls are measured in a process of its own with empty caches, then
in a second one that finds the first one's files. Later calls are measured in 25 rounds, eager and compiled in turn;
every round is stored, so that a difference has an interval. A program whose mean difference is not above zero by two
standard errors never pays.

It needs a C++ compiler, and takes about five minutes.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["GELU_SIZES", "PROGRAMS", "Telling", "gelu", "run", "ten_times"]

ROUNDS = 25
SECONDS_A_ROUND = 0.01
GELU_SIZES = (10, 1_000, 10_000, 100_000, 1_000_000)
AFTER = (1, 2, 9, 10, 50, 200)
"""Calls after which the time that was spent is noted."""

Call = Callable[[], object]
Program = tuple[Callable[..., Tensor], Callable[[], tuple[Tensor, ...]], bool]


def gelu(x: Tensor) -> Tensor:
    """GELU as its formula has it: nine operations."""
    return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def ten_times(x: Tensor) -> Tensor:
    for _ in range(10):
        x = gelu(x)
    return x


def one_operation(x: Tensor) -> Tensor:
    return x * 2


def chain(x: Tensor) -> Tensor:
    """A hundred and fifty small operations, one after the other."""
    for _ in range(50):
        x = torch.tanh(x * 1.1 + 0.1)
    return x.sum()


def product(a: Tensor, b: Tensor) -> Tensor:
    return a @ b


class Classifier(nn.Module):
    """A multilayer perceptron with its loss."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for one, next_one in itertools.pairwise(widths):
            layers += [nn.Linear(one, next_one), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.layers(x), y)


class Recurrent(nn.Module):
    """A recurrent network, written as a loop over time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.cell = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[1], self.width)
        for step in x:
            h = torch.tanh(self.cell(torch.cat([step, h], dim=1)))
        return h.square().mean()


class Attention(nn.Module):
    """One layer of a transformer, with a loss."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).square().mean()


class Telling(nn.Module):
    """Two layers, and how large what lies between them is: printed in between, or returned."""

    def __init__(self, prints: bool) -> None:
        super().__init__()
        self.first, self.last, self.prints = nn.Linear(8, 16), nn.Linear(16, 1), prints

    def forward(self, x: Tensor) -> Any:
        h = gelu(self.first(x))
        if self.prints:
            print(round(h.mean().item(), 3), end=" ")
            return self.last(h)
        return self.last(h), h.mean()


def _batch(rows: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, width), torch.arange(rows) % 10


PROGRAMS: dict[str, Program] = {
    "one operation": (one_operation, lambda: (torch.ones(10),), False),
    "product of matrices": (product, lambda: (torch.randn(512, 512), torch.randn(512, 512)), False),
    "chain of small operations": (chain, lambda: (torch.randn(1000, requires_grad=True),), True),
    "small MLP": (Classifier(64, 100, 10), lambda: _batch(32, 64), True),
    "wide MLP": (Classifier(512, 1024, 1024, 10), lambda: _batch(128, 512), True),
    "recurrent network": (Recurrent(32), lambda: (torch.randn(30, 16, 32),), True),
    "transformer layer": (Attention(64), lambda: (torch.randn(8, 32, 64),), True),
    **{
        f"gelu of {size}": (gelu, lambda size=size: (torch.linspace(-3, 3, size),), False)
        for size in GELU_SIZES
    },
}
"""What is compiled, its inputs, and whether a call has a backward pass, too."""


def caller(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], trains: bool) -> Call:
    """One call of the program, a backward pass included where it trains."""
    return (lambda: function(*inputs).backward()) if trains else (lambda: function(*inputs))


def cpu_seconds() -> float:
    """Processor time so far, of this process and of all compilers that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def seconds(job: Call, times: int = 1) -> float:
    start = cpu_seconds()
    for _ in range(times):
        job()
    return (cpu_seconds() - start) / times


def rounds(eager: Call, compiled: Call) -> dict[str, list[float]]:
    """Microseconds a call, round by round, the two in turn."""
    for job in (eager, compiled):
        seconds(job, 5)  # what a first call does is not a later call's time
    times = [math.ceil(SECONDS_A_ROUND / max(seconds(job, 5), 1e-7)) for job in (eager, compiled)]
    found: dict[str, list[float]] = {"eager": [], "compiled": []}
    for _ in range(ROUNDS):
        for name, job, often in zip(found, (eager, compiled), times, strict=True):
            found[name].append(seconds(job, often) * 1e6)
    return found


def first_call(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], trains: bool, backend: str
) -> tuple[float, Call]:
    torch.compiler.reset()
    call = caller(torch.compile(function, backend=backend, dynamic=False), inputs, trains)
    return seconds(call), call


def warm_up() -> float:
    """The very first compilation of a process, imports and the compiler's own start included."""
    return seconds(lambda: torch.compile(lambda x: x - 1)(torch.ones(3)))


def telling() -> dict[str, dict[str, list[float]]]:
    """Seconds spent after `AFTER` calls of a network that prints, and of one that returns what its caller prints."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, prints in (("printed inside", True), ("printed outside", False)):
        for way in ("eager", "compiled"):
            torch.compiler.reset()
            torch.manual_seed(0)
            net: Callable[..., Any] = Telling(prints)
            net = torch.compile(net) if way == "compiled" else net
            batches, spent = torch.randn(AFTER[-1], 32, 8), [0.0]

            def call(x: Tensor, net: Callable[..., Any] = net, prints: bool = prints) -> None:
                result = net(x)
                if not prints:
                    print(round(result[1].item(), 3), end=" ")

            with contextlib.redirect_stdout(io.StringIO()):
                for x in batches:
                    spent.append(spent[-1] + seconds(partial(call, x)))
            found.setdefault(name, {})[way] = [spent[calls] for calls in AFTER]
    return found


def pieces() -> dict[str, list[float]]:
    """Ten times `gelu` of a thousand numbers, in one graph and as ten compiled calls: microseconds."""
    x = torch.linspace(-3, 3, 1000)
    torch.compiler.reset()
    whole, piece = torch.compile(ten_times, dynamic=False), torch.compile(gelu, dynamic=False)

    def broken(x: Tensor) -> Tensor:
        for _ in range(10):
            x = piece(x)
        return x

    one, ten = (rounds(partial(ten_times, x), partial(way, x)) for way in (whole, broken))
    return {"eager": one["eager"], "one graph": one["compiled"], "ten graphs": ten["compiled"]}


def numbers() -> dict[str, Any]:
    """How far eager and compiled are from float64, and whether dropout draws the same."""
    torch.compiler.reset()
    x = torch.linspace(-3, 3, 100_000)
    true, drop, ones = gelu(x.double()), nn.Dropout(0.5), torch.ones(1000)

    def drawn(function: Callable[[Tensor], Tensor]) -> Tensor:
        torch.manual_seed(0)
        return function(ones)

    compiled = torch.compile(gelu, dynamic=False)(x)
    found = {
        "equal": bool(torch.equal(gelu(x), compiled)),
        "error eager": (gelu(x) - true).abs().max().item(),
        "error compiled": (compiled - true).abs().max().item(),
        "dropout equal": bool(torch.equal(drawn(drop), drawn(torch.compile(drop)))),
    }
    torch.compiler.reset()
    with torch._inductor.config.patch(fallback_random=True):
        found["dropout equal, fallback_random"] = bool(
            torch.equal(drawn(drop), drawn(torch.compile(drop)))
        )
    return found


def sizes() -> dict[str, dict[str, Any]]:
    """A graph for one size and one for all, `gelu` of a thousand numbers: microseconds a call, seconds of the first."""
    x, found = torch.linspace(-3, 3, 1000), {}
    for name, dynamic in (("one size", False), ("all sizes", True)):
        torch.compiler.reset()
        compiled = partial(torch.compile(lambda x: gelu(x) + 1, dynamic=dynamic), x)
        first = seconds(compiled)
        found[name] = {
            "first call": first,
            "compiled": rounds(partial(gelu, x), compiled)["compiled"],
        }
    return found


def measure(first: bool) -> dict[str, Any]:
    """What one process measures: first calls, and in the first process all the others."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found: dict[str, Any] = {"start": warm_up(), "programs": {}}
    for name, (function, inputs, trains) in PROGRAMS.items():
        given = inputs()
        one: dict[str, Any] = {}
        if first:
            for backend in ("eager", "aot_eager"):
                one[f"first call, {backend}"], _ = first_call(function, given, trains, backend)
        one["first call"], compiled = first_call(function, given, trains, "inductor")
        if first:
            one |= rounds(caller(function, given, trains), compiled)
        found["programs"][name] = one
        print(name, round(cpu_seconds()), file=sys.stderr, flush=True)
    if first:
        found |= {
            "telling": telling(),
            "pieces": pieces(),
            "numbers": numbers(),
            "sizes": sizes(),
        }
    return found


def run() -> dict[str, Any]:
    """The numbers of a process with empty caches, and the first calls of a second one that finds them filled."""
    with tempfile.TemporaryDirectory() as cache:
        told = []
        for which in ("first", "second"):
            ran = subprocess.run(
                [sys.executable, "-m", "experiments.compile_times", which],
                env={
                    **os.environ,
                    "TORCHINDUCTOR_CACHE_DIR": cache,
                    "TORCHINDUCTOR_COMPILE_THREADS": "1",
                },
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            told.append(json.loads(ran.stdout.splitlines()[-1]))
    first, second = told
    first["start, files there"] = second["start"]
    for name, one in second["programs"].items():
        first["programs"][name]["first call, files there"] = one["first call"]
    return {
        "threads": 1,  # those of the measuring process
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "compiler": "g++",
        **first,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1] == "first")))
