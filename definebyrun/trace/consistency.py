"""The lists of a trace go in, whose records are sound each by itself; a `ValueError` comes out where they do not fit.

A comparison is two runs: each of them has to fit together by itself, and so has what is shown of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .references import indices
from .validate import Lists, damaged

__all__ = ["check_consistency"]

Run = Mapping[str, Mapping[int, Any]]
"""By name of a list and index: the records of one run."""


def check_consistency(lists: Lists, sides: tuple[str, ...]) -> None:
    """Raises `ValueError` where records contradict each other."""
    runs = [_run(lists, side) for side in ("A", "B")] if sides else []
    for run in runs:
        _check_border(run)
    for run in (_run(lists, None), *runs):
        _check_nesting(run)
        _check_steps(run)


def _run(lists: Lists, side: str | None) -> Run:
    """The records of one run of a comparison, or all of a trace."""
    return {name: dict(_of_side(records, side)) for name, records in lists.items()}


def _of_side(records: Iterable[Any], side: str | None) -> Iterator[tuple[int, Any]]:
    for i, record in enumerate(records):
        if side is None or getattr(record, "side", "") in ("", side):
            other = getattr(record, "other", None) if side == "B" else None
            yield i, record if other is None else other


def _check_border(run: Run) -> None:
    """What one run did refers to nothing that only the other has."""
    for name, records in run.items():
        for i, record in records.items():
            for field, of, number in indices(record):
                if of in run and number not in run[of]:
                    raise damaged(
                        f"{name}[{i}].{field} speaks of {of}[{number}], which is not of its run"
                    )


def _check_nesting(run: Run) -> None:
    """Module calls and blocks lie within each other, a call inside one that began before."""
    for i, call in run["calls"].items():
        if call.outer is not None and call.outer >= i:
            raise damaged(f"calls[{i}] cannot lie within calls[{call.outer}]")
    ended: set[int] = set()
    for i in run["blocks"]:
        way: dict[int, None] = {}
        block: int | None = i
        while block is not None and block not in ended:
            if block in way:
                raise damaged(f"blocks[{block}] lies within itself")
            way[block] = None
            block = run["blocks"][block].outer
        ended.update(way)


def _check_steps(run: Run) -> None:
    """Each operation ran in one step, forward; all other steps ran a node."""
    ran: set[int] = set()
    for i, step in run["steps"].items():
        forward = step.phase == "forward"
        if (step.op is None) == forward or (step.node is None) != forward:
            raise damaged(
                f"steps[{i}] must have {'an op' if forward else 'a node'}, and nothing else"
            )
        if forward and step.op in ran:
            raise damaged(f"ops[{step.op}] ran twice")
        if forward:
            ran.add(step.op)
    for i in run["ops"]:
        if i not in ran:
            raise damaged(f"ops[{i}] ran in no step")
