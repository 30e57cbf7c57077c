"""Puts small faults into code, one at a time, and asks what should notice: `python -m tools.mutants package`.

`package` mutates the package and asks its tests: a sample from every room alike, the same for the same seed. `checks`
mutates right answers to exercises, all of them, and asks the exercises' checks. Prints for each room or lesson how many
were tried and what became of them. One that is not noticed is a test that is missing, or a hole in a check, unless it
stands in `equivalent.toml` with the reason why nothing can see it, or need not. Exits with 1 when one is not listed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Protocol

from tools import ROOT, kernels
from tools.mutants.forks import can_fork
from tools.mutants.operators import Mutant
from tools.mutants.package import Package, Sources, Verdict

__all__ = ["FEW", "PARTS", "listed", "sample", "table", "told_of"]

LISTED = Path(__file__).with_name("equivalent.toml")
FEW = Path(__file__).with_name("few.toml")
MISSED = ("survived", "hole")
SHOWN = (*MISSED, "crashed", "equivalent")
"""Outcomes that are printed one by one."""


class Part(Protocol):
    """Code that can be mutated, and what says whether a mutant is noticed: by tests, or by any other judge.

    `outcomes` are the columns of the table, `count` is how many are tried unless told otherwise, None for all.
    """

    @property
    def outcomes(self) -> tuple[str, ...]: ...

    @property
    def count(self) -> int | None: ...

    def mutants(self) -> list[Mutant]: ...

    def run(self, mutants: Sequence[Mutant]) -> list[Verdict]: ...


def package(say: Callable[[str], None], few: bool) -> Part:
    tests, by = ("tests/package", "definebyrun"), told_of(FEW, "package") if few else {}
    return Package(Sources(ROOT, "definebyrun"), tests, ROOT / "_build" / "mutants", say, by)


def checks(say: Callable[[str], None], few: bool) -> Part:
    from tools.mutants.checks import Checks  # imports the package, which `package` must not do

    return Checks(say)


PARTS: dict[str, Callable[[Callable[[str], None], bool], Part]] = {
    "package": package,
    "checks": checks,
}
"""What `PART` can be: how to make it, from a way to tell how far it is, and whether only the listed few are tried."""


def room(mutant: Mutant) -> str:
    """The folder in which a mutant's file lies, such as a lesson; the file itself where it lies in none."""
    return mutant.file.partition("/")[0]


def sample(mutants: Iterable[Mutant], count: int | None, seed: int) -> list[Mutant]:
    """So many mutants, from every room alike until a room has no more; None takes all."""
    rooms: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in sorted(mutants, key=lambda mutant: mutant.rank(seed)):
        rooms[room(mutant)].append(mutant)
    dealt = chain.from_iterable(zip_longest(*(rooms[name] for name in sorted(rooms))))
    return [mutant for mutant in dealt if mutant is not None][:count]


def told_of(file: Path, part: str) -> dict[str, str]:
    """What a file of mutants says of each: by name, what stands beside it."""
    entries = tomllib.loads(file.read_text("utf-8")).get(part, [])
    return dict(entry.values() for entry in entries)


def listed(part: str) -> dict[str, str]:
    """The names of the mutants that no test kills, and why none has to."""
    return told_of(LISTED, part)


def table(verdicts: Sequence[Verdict], outcomes: Sequence[str]) -> str:
    """A line for each room: how many were tried, and what became of them."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for verdict in verdicts:
        counts[room(verdict.mutant)][verdict.outcome] += 1
    rows = [*sorted(counts.items()), ("in all", sum(counts.values(), Counter()))]
    head = f"{'':16}{'tried':>7}" + "".join(f"{name:>12}" for name in outcomes)
    lines = [
        f"{name:16}{count.total():7}" + "".join(f"{count[each]:12}" for each in outcomes)
        for name, count in rows
    ]
    return "\n".join([head, *lines])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutants", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("part", choices=PARTS, help="what to mutate")
    parser.add_argument("--count", type=int, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another sample")
    parser.add_argument("--only", default="", help="only mutants with this in their name")
    parser.add_argument("--few", action="store_true", help="those that few.toml names")
    parser.add_argument("--all", action="store_true", help="print every mutant and its killer")
    options = parser.parse_args()
    if not can_fork():
        sys.exit("make mutants forks processes, which this system cannot do: use Linux or macOS")
    kernels.settle()
    start = time.monotonic()
    out = os.dup(sys.stdout.fileno())

    def say(words: str) -> None:  # from any process
        os.write(out, f"{words} ({time.monotonic() - start:.0f} s)\n".encode())

    part, reasons = PARTS[options.part](say, options.few), listed(options.part)
    mutants = [mutant for mutant in part.mutants() if options.only in mutant.name]
    chosen = sample(mutants, options.count or part.count, options.seed)
    verdicts = part.run([mutant for mutant in chosen if mutant.name not in reasons])
    verdicts += [
        Verdict(mutant, "equivalent", reasons[mutant.name])
        for mutant in chosen
        if mutant.name in reasons
    ]
    for verdict in sorted(verdicts, key=lambda verdict: verdict.mutant.name):
        if options.all or verdict.outcome in SHOWN:
            print(told(verdict))
    print(table(verdicts, part.outcomes))
    return int(any(verdict.outcome in MISSED for verdict in verdicts))


def told(verdict: Verdict) -> str:
    """What became of one mutant, in a line."""
    mutant, why = verdict.mutant, f" ({verdict.why})" if verdict.why else ""
    return f"{verdict.outcome}: line {mutant.line} of {mutant.name}{why}"


if __name__ == "__main__":
    sys.exit(main())
