"""A comparison goes in, its text, table, sentences and memory come out; any other trace passes through.

Each run is told apart by the rooms before this one, then the two tellings are put together, part by part: what is
equal stands there once, what differs as `A 3 · B 5`, what only one run did under `only A:` or `only B:`.
"""

from __future__ import annotations

from collections import Counter

from ..comparison.sequences import longest_common_subsequence, side_by_side
from ..comparison.split import halves
from ..comparison.word_diff import split_words, word_diff
from ..trace.memory import kept_after_steps
from ..trace.model import Trace, cached
from . import canonical as text
from . import sentences as words
from . import table
from .format import format_bytes
from .table import Table

__all__ = [
    "bytes_in_words",
    "bytes_kept",
    "canonical_text",
    "legend",
    "sentences",
    "summary",
    "tabulate",
]

SIDES = ("A", "B")


def canonical_text(trace: Trace) -> str:
    """The whole trace as text, one fact a line; see `canonical.canonical_text`. It is made once."""
    whole: str = cached(trace, _canonical_text)
    return whole


def _canonical_text(trace: Trace) -> str:
    if not trace.sides:
        return text.canonical_text(trace)
    told = []
    for run in halves(trace):
        found = text.facts(run.trace)
        numbers = {"leaves": run.tensors, "graph": run.nodes, "steps": range(len(trace.steps))}
        told.append(
            {part: {numbers[part][i]: lines for i, lines in found[part].items()} for part in found}
        )
    a, b = told
    both = {
        part: {i: _lines(a[part].get(i), b[part].get(i)) for i in sorted({*a[part], *b[part]})}
        for part in a
    }
    return text.lay_out([*text.head(trace), summary(trace)], both)


def summary(trace: Trace) -> str:
    """One line: which runs these are, and how much they have in common."""
    what, parts = ("operations", trace.ops) if trace.ops else ("nodes", trace.nodes)
    count = Counter(part.side for part in parts)
    called = "" if trace.sides == SIDES else f" (A is {trace.sides[0]}, B is {trace.sides[1]})"
    return f"A and B compared{called}, {what}: {count['']} in both, {count['A']} only in A, {count['B']} only in B"


def _lines(a: list[str] | None, b: list[str] | None) -> list[str]:
    """The lines of a part as one run or both have it."""
    if a is None or b is None:
        side, lines = ("A", a) if b is None else ("B", b)
        first, *rest = lines or [""]
        return [f"only {side}: {first}", *rest]
    found, i, j = [word_diff(a[0], b[0])], 1, 1
    rest_a, rest_b = [_about(line) for line in a[1:]], [_about(line) for line in b[1:]]
    for place_a, place_b in [
        *longest_common_subsequence(rest_a, rest_b),
        (len(rest_a), len(rest_b)),
    ]:
        found += [f"only A: {line}" for line in a[i : place_a + 1]]
        found += [f"only B: {line}" for line in b[j : place_b + 1]]
        if place_a < len(rest_a):
            found.append(word_diff(a[place_a + 1], b[place_b + 1]))
        i, j = place_a + 2, place_b + 2
    return found


def _about(line: str) -> str:
    """What a further line of a step speaks of: a node, a leaf's gradient, the receiver of a gradient."""
    return line.rpartition(" to ")[2] if line.startswith("passes ") else line.split(" ")[0]


# ---- table, sentences, memory, legend ----


def tabulate(trace: Trace) -> Table:
    """The run as rows; see `table.tabulate`. A comparison has a column more, which says whose a row is."""
    if not trace.sides:
        return table.tabulate(trace)
    told = []
    for run in halves(trace):
        ops, leaves = run.trace.ops, [t.index for t in run.trace.leaves if t.op is None]
        keys = [
            *(("tensor", run.tensors[i]) for i in leaves),
            *(("op", run.ops[o.index]) for o in ops),
        ]
        told.append(list(zip(keys, table.tabulate(run.trace).rows, strict=True)))
    rows = []
    for one, other in side_by_side(*told, key=lambda row: row[0]):
        if one is None or other is None:
            rows.append((f"only {'B' if one is None else 'A'}", *(one or other)[1]))
        else:
            rows.append(("both", *(word_diff(a, b) for a, b in zip(one[1], other[1], strict=True))))
    return Table(("run", *table.COLUMNS), tuple(rows))


def sentences(trace: Trace) -> list[str]:
    """What happened in each step, in words and numbers; see `words.sentence`."""
    if not trace.sides:
        return [words.sentence(trace, step) for step in trace.steps]
    a, b = (
        {step.index: _after_number(words.sentence(run.trace, step)) for step in run.trace.steps}
        for run in halves(trace)
    )
    number_of = Counter(step.phase for step in trace.steps)
    count = Counter[str]()
    told = []
    for step in trace.steps:
        count[step.phase] += 1
        start = f"{step.phase.capitalize()} {count[step.phase]} of {number_of[step.phase]}"
        if step.side:
            told.append(f"{start}, only {step.side}. {(a if step.side == 'A' else b)[step.index]}")
        elif step.phase == "forward" and len(split_words(one := a[step.index])) == len(
            split_words(b[step.index])
        ):
            told.append(f"{start}, both. {word_diff(one, b[step.index])}")
        elif a[step.index] == b[step.index]:
            told.append(f"{start}, both. {a[step.index]}")
        else:
            told.append(f"{start}, both. In A: {a[step.index]}\nIn B: {b[step.index]}")
    return told


def _after_number(sentence: str) -> str:
    """A sentence without its "Forward 1 of 4": a comparison counts the steps of both."""
    return sentence.partition(". ")[2]


def bytes_kept(trace: Trace) -> list[tuple[int, ...]]:
    """Bytes that the graph keeps alive after each step; of a comparison, for each run."""
    if not trace.sides:
        return [(part,) for part in kept_after_steps(trace)]
    columns = []
    for run in halves(trace):
        known = dict(
            zip((s.index for s in run.trace.steps), kept_after_steps(run.trace), strict=True)
        )
        column, now = [], 0
        for step in trace.steps:
            now = known.get(step.index, now)
            column.append(now)
        columns.append(column)
    return list(zip(*columns, strict=True))


def bytes_in_words(parts: tuple[int, ...]) -> str:
    """What `kept` gives for one step, in words.

    >>> bytes_in_words((24,)), bytes_in_words((24, 2048))
    ('24 B', '24 B in A, 2 KiB in B')
    """
    if len(parts) == 1:
        return format_bytes(parts[0])
    return ", ".join(f"{format_bytes(n)} in {side}" for n, side in zip(parts, SIDES, strict=True))


def legend(trace: Trace) -> str:
    """The sentences under the picture of a comparison; empty for any other trace."""
    if not trace.sides:
        return ""
    called = "" if trace.sides == SIDES else f"A is {trace.sides[0]}, B is {trace.sides[1]}. "
    alone = {part.side for part in (*trace.ops, *trace.nodes, *trace.edges, *trace.tensors)}
    for op in trace.ops:  # both ran it, but only one made a node: its card is not the other's
        nodes = [trace.nodes[number].side for number in trace.nodes_of(op.index)]
        alone |= set(SIDES) if nodes and all(nodes) and not op.side else set()
    marks = {
        "A": "a bar on the left: only A did it",
        "B": "a bar on the right: only B did it",
    }
    said = "; ".join(marks[side] for side in SIDES if side in alone)
    rest = "no bar: both did it" if said else "Both runs did the same"
    said = f"{said[0].upper()}{said[1:]}; {rest}." if said else f"{rest}."
    return f"{called}{said} Numbers that differ: A\N{NO-BREAK SPACE}·\N{NO-BREAK SPACE}B."
