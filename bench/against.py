"""Two checkouts of the package in turns: `python -m bench.against FOLDER`, where FOLDER is the other, older one.

Prints, for every model and figure, the time of this checkout divided by that of the other: the median over all pairs of
passes, and the error of that median. Exits with 1 where a figure is worse than `WORSE`. Nothing is saved.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

from bench.models import MODELS, RECORDED
from bench.processes import Worker, take_turns
from bench.tables import OURS, ROOT, Table
from tools import kernels

__all__ = ["Ratio", "compare", "table"]

FIGURES = ("record", OURS, f"{OURS}, all of it", f"{OURS} draw", f"{OURS} draw, all of it")
SITTINGS, PASSES, PASSES_SECONDS, LIMIT_SECONDS = 4, 9, 12, 120
WORSE = 1.05


class Ratio(NamedTuple):
    """A median of ratios and its standard error, which is taken from the middle half of the ratios."""

    median: float
    error: float

    @staticmethod
    def of(ratios: Sequence[float]) -> Ratio:
        """
        >>> Ratio.of([1.0, 1.1, 1.2, 1.3])
        Ratio(median=1.15, error=0.1163)
        """
        low, middle, high = quantiles(ratios, n=4)
        return Ratio(round(middle, 4), round(0.93 * (high - low) / len(ratios) ** 0.5, 4))

    @property
    def is_worse(self) -> bool:
        """Whether it is above `WORSE` even when two errors are taken off."""
        return self.median - 2 * self.error > WORSE

    def __str__(self) -> str:
        return f"{self.median:.2f} ± {self.error:.2f}{' !' if self.is_worse else ''}"


def compare(model: str, other: Path) -> dict[str, Ratio]:
    """Every figure of a model: this checkout's time, divided by the other's."""
    pairs: list[tuple[Any, Any]] = []
    for number in range(SITTINGS):
        folders = {"this": ROOT, "other": other}
        order = sorted(folders, reverse=number % 2 == 0)
        workers = {name: Worker("ours", model, package=folders[name]) for name in order}
        try:
            for worker in workers.values():
                worker.start()
            found = take_turns(workers, PASSES, PASSES_SECONDS, LIMIT_SECONDS)
        finally:
            for worker in workers.values():
                worker.end()
        for name, worker in workers.items():
            if not found[name]:
                sys.exit(f"{model} could not be measured in {folders[name]}: {worker.state}")
        both = list(zip(found["this"], found["other"], strict=False))
        pairs += both[1:] or both  # the first pass warms up
    return {
        figure: Ratio.of([this[figure] / that[figure] for this, that in pairs])
        for figure in pairs[0][0]
    }


def table(found: Mapping[str, Mapping[str, Ratio]]) -> Table:
    """A row for each model; `!` marks what is worse."""
    rows = (
        (model, *(str(by.get(figure, "–")) for figure in FIGURES)) for model, by in found.items()
    )
    return Table("This checkout's time, divided by the other's", ("Model", *FIGURES), tuple(rows))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.against", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="another checkout of this repository")
    parser.add_argument("--only", default="", help="only models with this in their name")
    options = parser.parse_args()
    if not (options.folder / OURS / "__init__.py").is_file():
        parser.error(f"{options.folder} holds no package {OURS}: name the folder of a checkout")
    kernels.settle(fast=True)
    found = {}
    for model in (name for name in MODELS | RECORDED if options.only in name):
        found[model] = compare(model, options.folder.resolve())
        print(
            f"{model}: {', '.join(f'{name} {ratio}' for name, ratio in found[model].items())}",
            flush=True,
        )
    print(table(found).text())
    return int(any(ratio.is_worse for by in found.values() for ratio in by.values()))


if __name__ == "__main__":
    sys.exit(main())
