"""What a gradient check found: verdicts on the tensors of one function go in, a `Report` prints them.

Plain data, free of torch; `checker` makes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .slopes import Verdict

__all__ = ["WORST_FIRST", "Finding", "Report"]

WORST_FIRST = ("wrong", "undecided", "jump", "kink", "agrees")


@dataclass(frozen=True)
class Finding:
    """What was found for one tensor: the verdict on its worst entry, or direction when `entry` is None."""

    name: str
    shape: tuple[int, ...]
    entry: tuple[int, ...] | None
    counts: dict[str, int]
    verdict: Verdict

    @property
    def status(self) -> str:
        """agrees, wrong, kink, jump or undecided."""
        return self.verdict.status

    @property
    def reason(self) -> str:
        """Why, in a few words; empty where the numbers say it all."""
        return self.verdict.reason

    def __str__(self) -> str:
        v, counted = self.verdict, ", ".join(f"{n} {status}" for status, n in self.counts.items())
        if v.status == "agrees":
            within = "1e-06" if v.error < 1e-6 else f"{v.error:.0e}"
            return f"{self.name}: {counted or 'empty'}, within {within}"
        where = f" at {list(self.entry)}" if self.entry is not None else ""
        lines = [f"{self.name}: {counted}"]
        if math.isfinite(v.measured):
            lines += [f"  autograd {v.claimed:.4g}, measured {v.measured:.4g}{where}"]
        if math.isfinite(v.error):
            lines[-1] += f", relative error {v.error:.0e}"
        return "\n  ".join(["\n".join(lines), *([v.reason] if v.reason else [])])


@dataclass(frozen=True)
class Report:
    """One `Finding` a tensor, and notes on how the function had to be treated. True when nothing is left to fear."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """The worst status of all findings."""
        return min((f.status for f in self.findings), key=WORST_FIRST.index)

    def __bool__(self) -> bool:
        return self.status in ("agrees", "kink")

    def __getitem__(self, name: str) -> Finding:
        return {finding.name: finding for finding in self.findings}[name]

    def __repr__(self) -> str:
        lines = [str(finding) for finding in self.findings]
        return "\n".join([self.status.upper(), *lines, *(f"note: {note}" for note in self.notes)])
