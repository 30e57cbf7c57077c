"""A comparison goes in, its text, cards, table, sentences and memory come out; any other trace passes through.

Each run is told apart by the rooms before this one, then the two tellings are put together, part by part: what is
equal stands there once, what differs as `A 3 · B 5`, what only one run did under `only A:` or `only B:`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

from . import cards as single
from . import table, text, words
from .align import Pairs, common, in_turn
from .cards import SHARED, Card, Link, State
from .compare import Run, apart, weave
from .memory import kept_after_steps
from .table import Table
from .trace import Trace

__all__ = [
    "canonical",
    "deal",
    "kept",
    "legend",
    "meet",
    "sentences",
    "sizes",
    "summary",
    "tabulate",
]

Part = TypeVar("Part")
SIDES = ("A", "B")
FITS = 30
"""The most characters of a row that shows both runs; a longer one becomes two rows."""
NOTHING = "–"
UNIT = re.compile(r" (?:B|[KMG]iB)\b")
"""A number of bytes and its unit stay one word."""
CALL = re.compile(r"([\w.]+)\(([^()]+)\)")


def meet(a: str, b: str) -> str:
    """Two texts as one: words outside brackets that differ are shown for both.

    >>> meet("y = mul(x, w) → [1, 2]", "y = mul(x, w) → [3, 4]")
    'y = mul(x, w) → A [1, 2] · B [3, 4]'
    >>> meet("grad not yet", "grad 1")
    'grad A not yet · B 1'
    >>> meet("h = mul(x, 2)", "h = mul(x, 3)")
    'h = mul(x, A 2 · B 3)'
    """
    if a == b:
        return a
    one, other = _words(a), _words(b)
    if len(one) != len(other):
        start = _equal(one, other)
        end = _equal(one[start:][::-1], other[start:][::-1])
        middle = [part[start : len(part) - end] for part in (one, other)]
        return " ".join([*one[:start], _pair(*middle), *one[len(one) - end :]])
    found = []
    for same, pairs in groupby(zip(one, other, strict=True), key=lambda pair: pair[0] == pair[1]):
        left, right = zip(*pairs, strict=True)
        found += left if same else [_pair(list(left), list(right))]
    return " ".join(found)


def _pair(a: list[str], b: list[str]) -> str:
    left, right = " ".join(a), " ".join(b)
    mark = left[-1:] if left[-1:] == right[-1:] and left[-1:] in (",", ".", ";", ":") else ""
    left, right = (part.removesuffix(mark) or NOTHING for part in (left, right))
    calls = CALL.fullmatch(left), CALL.fullmatch(right)
    if calls[0] and calls[1] and calls[0][1] == calls[1][1]:
        given = [_words(call[2], ",") for call in calls if call]
        if len(given[0]) == len(given[1]):
            inside = (meet(*pair) for pair in zip(*given, strict=True))
            return f"{calls[0][1]}({', '.join(inside)}){mark}"
    return f"A {left} · B {right}{mark}"


def _equal(a: list[str], b: list[str]) -> int:
    """How many words are equal from the start on."""
    return next(
        (i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]),
        min(len(a), len(b)),
    )


def _words(line: str, cut: str = " ") -> list[str]:
    """A text cut at the blanks, or commas, that lie in no bracket and before no unit."""
    found, depth, start = [], 0, 0
    for place, sign in enumerate(line):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == cut and depth <= 0 and not UNIT.match(line, place):
            found.append(line[start:place].lstrip())
            start = place + 1
    return [*found, line[start:].lstrip()]


def _runs(trace: Trace) -> tuple[Run, Run]:
    return apart(trace, "A"), apart(trace, "B")


# ---- text ----


def canonical(trace: Trace) -> str:
    """The whole trace as text, one fact a line; see `text.canonical`."""
    if not trace.sides:
        return text.canonical(trace)
    told = []
    for run in _runs(trace):
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
    return f"A and B compared{called}: {count['']} {what} in both, {count['A']} only in A, {count['B']} only in B"


def _lines(a: list[str] | None, b: list[str] | None) -> list[str]:
    """The lines of a part as one run or both have it."""
    if a is None or b is None:
        side, lines = ("A", a) if b is None else ("B", b)
        first, *rest = lines or [""]
        return [f"only {side}: {first}", *rest]
    found, i, j = [meet(a[0], b[0])], 1, 1
    rest_a, rest_b = [_about(line) for line in a[1:]], [_about(line) for line in b[1:]]
    for place_a, place_b in [*common(rest_a, rest_b), (len(rest_a), len(rest_b))]:
        found += [f"only A: {line}" for line in a[i : place_a + 1]]
        found += [f"only B: {line}" for line in b[j : place_b + 1]]
        if place_a < len(rest_a):
            found.append(meet(a[place_a + 1], b[place_b + 1]))
        i, j = place_a + 2, place_b + 2
    return found


def _about(line: str) -> str:
    """What a further line of a step speaks of: a node, a leaf's gradient, the receiver of a gradient."""
    return line.rpartition(" to ")[2] if line.startswith("passes ") else line.split(" ")[0]


# ---- cards ----


def deal(trace: Trace) -> tuple[list[Card], list[Link]]:
    """All cards and links of a trace; see `cards.deal`."""
    if not trace.sides:
        return single.deal(trace)
    (cards_a, links_a), (cards_b, links_b) = (_renamed(run) for run in _runs(trace))
    cards = [_one_card(*pair) for pair in _side_by_side(cards_a, cards_b, lambda card: card.id)]
    links = [_one_link(*pair) for pair in _side_by_side(links_a, links_b, _way)]
    data = 0
    for place, link in enumerate(links):
        if link.edge is None:
            links[place] = replace(link, id=f"d{data}")
            data += 1
    used = {link.tail for link in links}
    for card in cards:
        card.output = card.kind in ("op", "plain", "older") and card.id not in used
    return _with_chips(trace, cards, links)


def _renamed(run: Run) -> tuple[list[Card], list[Link]]:
    """The cards and links of one run, with the numbers of the comparison."""
    cards, links = single.deal(run.trace, shared=math.inf)
    numbers = {"n": run.nodes, "o": run.ops, "t": run.tensors}
    names = {card.id: f"{card.id[0]}{numbers[card.id[0]][int(card.id[1:])]}" for card in cards}
    for card in cards:
        card.id = names[card.id]
        card.node = None if card.node is None else run.nodes[card.node]
        card.op = None if card.op is None else run.ops[card.op]
    links = [
        replace(
            link,
            id=link.id if link.edge is None else f"e{run.edges[link.edge]}",
            edge=None if link.edge is None else run.edges[link.edge],
            tail=names[link.tail],
            head=names[link.head],
        )
        for link in links
    ]
    return cards, links


def _way(link: Link) -> tuple[int | None, str, str]:
    return link.edge, link.tail, link.head


def _side_by_side(
    a: list[Part], b: list[Part], key: Callable[[Part], Hashable]
) -> list[tuple[Part | None, Part | None]]:
    """Parts with equal keys in pairs, in A's order; what only B has comes after what it follows in B."""
    same = Pairs()
    for pair in in_turn(
        ((key(p), i) for i, p in enumerate(a)), ((key(p), j) for j, p in enumerate(b))
    ):
        same.add(*pair)
    return [
        (None if i is None else a[i], None if j is None else b[j])
        for i, j in weave(len(a), len(b), same)
    ]


def _one_card(a: Card | None, b: Card | None) -> Card:
    """A card of one run, marked, or of both, with the words of both."""
    if a is None or b is None:
        return replace(a or b, side="B" if a is None else "A")
    values, more_values = _rows(a.values, b.values)
    grads, more_grads = _rows(a.grads, b.grads)
    return replace(
        a,
        title=meet(a.title, b.title),
        values=values,
        more_values=more_values,
        function=meet(a.function, b.function),
        keeps=_over_time(a.keeps, b.keeps, _keeps),
        grads=grads,
        more_grads=more_grads,
        runs=sorted({*a.runs, *b.runs}),
    )


def _rows(a: list[State], b: list[State]) -> tuple[list[State], list[State]]:
    """One row of both runs' states where each fits, else a row for each run."""
    row = _over_time(a, b, meet)
    if all(len(state.text) <= FITS for state in row):
        return row, []
    return (
        _over_time(a, b, lambda one, _: f"A {one}"),
        _over_time(a, b, lambda _, other: f"B {other}"),
    )


def _keeps(a: str, b: str) -> str:
    """What a node keeps in both runs; no `B` in front of the second, which would read as bytes."""
    return a if a == b else f"{a} · {b.removeprefix('keeps ')}"


def _over_time(a: list[State], b: list[State], words_of: Callable[[str, str], str]) -> list[State]:
    """Two rows of states as one: at each time the words of what both show then."""
    found: list[State] = []
    for since in sorted({state.since for state in (*a, *b)}):
        one, other = (
            next((s.text for s in reversed(row) if s.since <= since), NOTHING) for row in (a, b)
        )
        said = words_of(one, other)
        if not found or found[-1].text != said:
            found.append(State(since, said))
    return found


def _one_link(a: Link | None, b: Link | None) -> Link:
    if a is None or b is None:
        return replace(a or b, side="B" if a is None else "A")
    of_a, of_b = ({flow.since: flow.text for flow in link.flows} for link in (a, b))
    flows = []
    for since in sorted({*of_a, *of_b}):
        one, other = of_a.get(since), of_b.get(since)
        if one is None or other is None:
            said = f"A {one}" if other is None else f"B {other}"
        else:
            said = meet(one, other)
            said = said if len(said) <= FITS else f"A {one}\nB {other}"
        flows.append(State(since, said))
    return replace(a, flows=tuple(flows))


def _with_chips(
    trace: Trace, cards: list[Card], links: list[Link]
) -> tuple[list[Card], list[Link]]:
    """A leaf with many uses is copied into a chip for each, as `cards.deal` does it for one run."""
    leaves = {c.id: c for c in cards if c.node is not None and trace.nodes[c.node].leaf is not None}
    uses = Counter(link.tail for link in links if link.edge is not None and link.tail in leaves)
    chips, seen = [], Counter[str]()
    for place, link in enumerate(links):
        if link.edge is None or uses[link.tail] <= SHARED:
            continue
        card, number = leaves[link.tail], uses[link.tail]
        seen[card.id] += 1
        use = seen[card.id] if trace.steps else number + 1 - seen[card.id]
        name, title = f"{card.id}u{seen[card.id]}", f"{card.title} (use {use} of {number})"
        chips.append(replace(card, id=name, title=title, side=link.side or card.side))
        links[place] = replace(link, tail=name)
    return [card for card in cards if uses[card.id] <= SHARED] + chips, links


# ---- table, sentences, memory, legend ----


def tabulate(trace: Trace) -> Table:
    """The run as rows; see `table.tabulate`. A comparison has a column more, which says whose a row is."""
    if not trace.sides:
        return table.tabulate(trace)
    told = []
    for run in _runs(trace):
        ops, leaves = run.trace.ops, [t.index for t in run.trace.leaves if t.op is None]
        keys = [
            *(("tensor", run.tensors[i]) for i in leaves),
            *(("op", run.ops[o.index]) for o in ops),
        ]
        told.append(list(zip(keys, table.tabulate(run.trace).rows, strict=True)))
    rows = []
    for one, other in _side_by_side(*told, key=lambda row: row[0]):
        if one is None or other is None:
            rows.append((f"only {'B' if one is None else 'A'}", *(one or other)[1]))
        else:
            rows.append(("both", *(meet(a, b) for a, b in zip(one[1], other[1], strict=True))))
    return Table(("run", *table.COLUMNS), tuple(rows))


def sentences(trace: Trace) -> list[str]:
    """What happened in each step, in words and numbers; see `words.sentence`."""
    if not trace.sides:
        return [words.sentence(trace, step) for step in trace.steps]
    a, b = (
        {step.index: _after_number(words.sentence(run.trace, step)) for step in run.trace.steps}
        for run in _runs(trace)
    )
    number_of = Counter(step.phase for step in trace.steps)
    count = Counter[str]()
    told = []
    for step in trace.steps:
        count[step.phase] += 1
        start = f"{step.phase.capitalize()} {count[step.phase]} of {number_of[step.phase]}"
        if step.side:
            told.append(f"{start}, only {step.side}. {(a if step.side == 'A' else b)[step.index]}")
        elif step.phase == "forward" and len(_words(one := a[step.index])) == len(
            _words(b[step.index])
        ):
            told.append(f"{start}, both. {meet(one, b[step.index])}")
        elif a[step.index] == b[step.index]:
            told.append(f"{start}, both. {a[step.index]}")
        else:
            told.append(f"{start}, both. In A: {a[step.index]}\nIn B: {b[step.index]}")
    return told


def _after_number(sentence: str) -> str:
    """A sentence without its "Forward 1 of 4": a comparison counts the steps of both."""
    return sentence.partition(". ")[2]


def kept(trace: Trace) -> list[tuple[int, ...]]:
    """Bytes that the graph keeps alive after each step; of a comparison, for each run."""
    if not trace.sides:
        return [(part,) for part in kept_after_steps(trace)]
    columns = []
    for run in _runs(trace):
        known = dict(
            zip((s.index for s in run.trace.steps), kept_after_steps(run.trace), strict=True)
        )
        column, now = [], 0
        for step in trace.steps:
            now = known.get(step.index, now)
            column.append(now)
        columns.append(column)
    return list(zip(*columns, strict=True))


def sizes(parts: tuple[int, ...]) -> str:
    """What `kept` gives for one step, in words.

    >>> sizes((24,)), sizes((24, 2048))
    ('24 B', '24 B in A, 2 KiB in B')
    """
    if len(parts) == 1:
        return text.size(parts[0])
    return ", ".join(f"{text.size(n)} in {side}" for n, side in zip(parts, SIDES, strict=True))


def legend(trace: Trace) -> str:
    """The sentences under the picture of a comparison; empty for any other trace."""
    if not trace.sides:
        return ""
    called = "" if trace.sides == SIDES else f"A is {trace.sides[0]}, B is {trace.sides[1]}. "
    alone = {part.side for part in (*trace.ops, *trace.nodes, *trace.edges, *trace.tensors)}
    marks = {
        "A": "a bar on the left: only A did it",
        "B": "a bar on the right: only B did it",
    }
    said = "; ".join(marks[side] for side in SIDES if side in alone)
    rest = "no bar: both did it" if said else "Both runs did the same"
    said = f"{said[0].upper()}{said[1:]}; {rest}." if said else f"{rest}."
    return f"{called}{said} Numbers that differ: A · B."
