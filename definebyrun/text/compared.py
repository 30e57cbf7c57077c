"""A comparison goes in, its text, table, sentences and memory come out; any other trace passes through.

Each run is put into words by itself, then the words of both are joined, part by part: what is equal stands there once,
what differs as `A 3 · B 5`, what only one run did under `only A:` or `only B:`.
"""

from __future__ import annotations

from collections import Counter

from ..comparison.sequences import longest_common_subsequence, side_by_side
from ..comparison.split import Half, halves
from ..comparison.word_diff import SIDES, Names, split_words, word_diff
from ..trace import Trace, cached
from ..trace.memory import kept_after_steps
from . import canonical as text
from . import sentences as words
from . import table
from .format import format_bytes
from .stopped import stop_sentence
from .table import Table

__all__ = [
    "bytes_in_words",
    "bytes_kept",
    "canonical_text",
    "legend",
    "sentences",
    "stop_sentences",
    "summary",
    "tabulate",
]


def canonical_text(trace: Trace) -> str:
    """The whole trace as text, one fact a line; see `canonical.canonical_text`. It is made once."""
    whole: str = cached(trace, _canonical_text)
    return whole


def _canonical_text(trace: Trace) -> str:
    if not trace.sides:
        return text.canonical_text(trace)
    of_a, of_b = map(_renumbered_facts, halves(trace))
    both = {
        part: {
            i: _lines(of_a[part].get(i), of_b[part].get(i), trace.sides)
            for i in sorted({*of_a[part], *of_b[part]})
        }
        for part in of_a
    }
    return text.lay_out([*text.head(trace), summary(trace)], both)


def _renumbered_facts(half: Half) -> text.Facts:
    """The lines of one run, under the numbers of the comparison; steps have the same in both."""
    numbers = {"leaves": half.tensors, "graph": half.nodes, "stop": half.stops}
    return {
        part: {numbers[part][i] if part in numbers else i: lines for i, lines in entries.items()}
        for part, entries in text.facts(half.trace).items()
    }


def summary(trace: Trace) -> str:
    """One line: which runs these are, and how much they have in common."""
    what, parts = ("operations", trace.ops) if trace.ops else ("nodes", trace.nodes)
    count = Counter(part.side for part in parts)
    a, b = trace.sides
    return f"{a} and {b} compared, {what}: {count['']} in both, {count['A']} only in {a}, {count['B']} only in {b}"


def _lines(a: list[str] | None, b: list[str] | None, names: Names) -> list[str]:
    """The lines of a part as one run or both have it."""
    if a is None or b is None:
        name, lines = (names[0], a) if b is None else (names[1], b)
        first, *rest = lines or [""]
        return [f"only {name}: {first}", *rest]
    found, i, j = [word_diff(a[0], b[0], names)], 1, 1
    rest_a, rest_b = [_subject(line) for line in a[1:]], [_subject(line) for line in b[1:]]
    same = longest_common_subsequence(rest_a, rest_b)
    for place_a, place_b in [*same, (len(rest_a), len(rest_b))]:
        found += [f"only {names[0]}: {line}" for line in a[i : place_a + 1]]
        found += [f"only {names[1]}: {line}" for line in b[j : place_b + 1]]
        if place_a < len(rest_a):
            found.append(word_diff(a[place_a + 1], b[place_b + 1], names))
        i, j = place_a + 2, place_b + 2
    return found


def _subject(line: str) -> str:
    """What a further line of a step is about: a node, a leaf's gradient, the receiver of a gradient."""
    return line.rpartition(" to ")[2] if line.startswith("passes ") else line.split(" ")[0]


# ---- table, sentences, memory, legend ----


def tabulate(trace: Trace) -> Table:
    """The run as rows; see `table.tabulate`. A comparison has a column more, which says whose a row is."""
    if not trace.sides:
        return table.tabulate(trace)
    names = trace.sides
    rows_a, rows_b = map(_keyed_rows, halves(trace))
    rows: list[tuple[str, ...]] = []
    for one, other in side_by_side(rows_a, rows_b, key=lambda row: row[0]):
        if other is None:
            rows.append((f"only {names[0]}", *(one[1] if one else ())))
        elif one is None:
            rows.append((f"only {names[1]}", *other[1]))
        else:
            pairs = zip(one[1], other[1], strict=True)
            rows.append(("both", *(word_diff(*pair, names) for pair in pairs)))
    return Table(("run", *table.COLUMNS), tuple(rows))


def _keyed_rows(half: Half) -> list[tuple[tuple[str, int], tuple[str, ...]]]:
    """The rows of one run, each with the tensor or operation of the comparison that it is about."""
    keys = [("tensor", half.tensors[t.index]) for t in half.trace.leaves if t.op is None]
    keys += [("op", half.ops[op.index]) for op in half.trace.ops]
    return list(zip(keys, table.tabulate(half.trace).rows, strict=True))


def sentences(trace: Trace) -> list[str]:
    """What happened in each step, in words and numbers; see `sentences.sentence`."""
    if not trace.sides:
        return [words.sentence(trace, step) for step in trace.steps]
    of_a, of_b = (
        {step.index: _after_number(words.sentence(run.trace, step)) for step in run.trace.steps}
        for run in halves(trace)
    )
    found, names = [], trace.sides
    for step in trace.steps:
        number, number_of = trace.ordinal_of(step), trace.count_steps(step.phase)
        start = f"{step.phase.capitalize()} {number} of {number_of}"
        if step.side:
            only = of_a if step.side == "A" else of_b
            name = names[SIDES.index(step.side)]
            found.append(f"{start}, only {name}. {only[step.index]}")
        else:
            forward = step.phase == "forward"
            found.append(
                f"{start}, both. {_joined(of_a[step.index], of_b[step.index], names, forward)}"
            )
    return found


def stop_sentences(trace: Trace) -> list[str]:
    """Where the run stopped, in words: a sentence for each stop of the trace, of which a comparison can have two."""
    if not trace.sides:
        return [stop_sentence(trace, stop) for stop in trace.stops]
    words = [
        {
            i: stop_sentence(run.trace, stop)
            for i, stop in zip(run.stops, run.trace.stops, strict=True)
        }
        for run in halves(trace)
    ]
    found = []
    for i, stop in enumerate(trace.stops):
        if stop.side:
            side = SIDES.index(stop.side)
            found.append(f"Only {trace.sides[side]}. {words[side][i]}")
        else:
            found.append(f"Both. {_joined(words[0][i], words[1][i], trace.sides, True)}")
    return found


def _joined(a: str, b: str, names: Names, forward: bool) -> str:
    """What both runs did in a step: one sentence where they fit together word by word, else a sentence for each."""
    if a == b:
        return a
    if forward and len(split_words(a)) == len(split_words(b)):
        return word_diff(a, b, names)
    return f"In {names[0]}: {a}\nIn {names[1]}: {b}"


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


def bytes_in_words(parts: tuple[int, ...], names: Names = SIDES) -> str:
    """What `bytes_kept` gives for one step, in words.

    >>> bytes_in_words((24,)), bytes_in_words((24, 2048), ("train", "eval"))
    ('24 B', '24 B in train, 2 KiB in eval')
    """
    if len(parts) == 1:
        return format_bytes(parts[0])
    return ", ".join(f"{format_bytes(n)} in {side}" for n, side in zip(parts, names, strict=True))


def legend(trace: Trace) -> str:
    """The sentences under the picture of a comparison; empty for any other trace."""
    if not trace.sides:
        return ""
    a, b = trace.sides
    parts = (trace.ops, trace.nodes, trace.edges, trace.tensors)
    alone: set[str] = {part.side for each in parts for part in each}
    for op in trace.ops:  # both ran it, but only one made a node: its card is not the other's
        nodes = [trace.nodes[number].side for number in trace.nodes_of(op.index)]
        alone |= set(SIDES) if nodes and all(nodes) and not op.side else set()
    marks = {
        "A": f"a bar on the left: only {a} did it",
        "B": f"a bar on the right: only {b} did it",
    }
    bars = "; ".join([*(marks[side] for side in SIDES if side in alone), "no bar: both did it"])
    bars = f"{bars[0].upper()}{bars[1:]}." if alone & {*SIDES} else "Both runs did the same."
    return f"{bars} Numbers that differ: {a}\N{NO-BREAK SPACE}·\N{NO-BREAK SPACE}{b}."
