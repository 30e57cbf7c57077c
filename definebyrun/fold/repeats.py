"""A trace goes in, the places where it does the same several times in a row come out.

Two operations are the same when they have the same name, source line, module and kinds of results, and nodes of the
same names. A block of operations repeats when every one is the same as the one a period later and reads what
lies as far back; what the first repetition reads may come from before. The shortest period is found first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from ..trace import Op, Trace, cached

__all__ = ["MIN_REPETITIONS", "Repetition", "common_call", "find_repetitions"]

MIN_REPETITIONS = 3
"""What happens fewer times than this in a row is left as it is: a pair is read more easily than its summary."""
MAX_PERIODS_TRIED = 4
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Repetition:
    """`times` repetitions of `period` operations, the first at index `start`."""

    start: int
    period: int
    times: int
    label: str = ""


def common_call(trace: Trace, one: int | None, two: int | None) -> int | None:
    """The innermost module call around two calls; each has a higher number than the one around it."""
    while one != two:
        if two is None or (one is not None and one > two):
            one = None if one is None else trace.calls[one].outer
        else:
            two = trace.calls[two].outer
    return one


def find_repetitions(trace: Trace, alike: bool = False) -> list[Repetition]:
    """The runs of the shortest period of which there are any; empty when nothing repeats.

    With `alike`, modules that differ in their numbers only (`layers.0`, `layers.1`) count as the same, and so do
    parameters of one shape.
    """
    search = _Search(trace, alike)
    if max(Counter(search.signs).values(), default=0) < MIN_REPETITIONS:
        return []
    longest, limit = len(trace.ops) // MIN_REPETITIONS, 1
    while limit // 2 < longest:
        runs = search.runs(limit)
        if runs:
            return runs
        limit *= 2
    return []


class _Facts:
    """What a search asks of a trace whether modules count as alike or not."""

    def __init__(self, trace: Trace) -> None:
        self.maker = [-1 if t.op is None else t.op for t in trace.tensors]
        self.slot = [0] * len(trace.tensors)
        for op in trace.ops:
            for slot, tensor in enumerate(op.outputs):
                self.slot[tensor] = slot
        numbers: dict[Hashable, int] = {}
        self.cut: list[bool] = []  # a repetition may begin here: not in the middle of a block
        self.kinds: list[int] = []  # equal for operations that differ in their names at most
        first, outermost = 0, None
        for op in trace.ops:
            block = op.block
            while block is not None and trace.blocks[block].outer is not None:
                block = trace.blocks[block].outer
            self.cut.append(block is None or block != outermost)
            if self.cut[-1]:
                first, outermost = op.index, block
            kind = _kind(trace, op, op.index - first)
            self.kinds.append(numbers.setdefault(kind, len(numbers)))
        self.bare = not any(op.stack for op in trace.ops)


def _kind(trace: Trace, op: Op, place: int) -> Hashable:
    outputs = [trace.tensors[i] for i in op.outputs]
    results = tuple([(t.kind, t.value.shape, t.value.dtype) for t in outputs])
    nodes = tuple([trace.nodes[i].name for i in trace.nodes_of(op.index)])
    marks = (op.inplace, op.grad_enabled, op.opaque, op.factory, op.holds, op.times, place)
    texts = tuple([isinstance(arg, str) for arg in op.args])
    return (op.module, op.stack, results, nodes, marks, texts, len(op.inputs))


@lru_cache(maxsize=4096)  # the same modules come again with every way of folding
def _plain(path: str) -> str:
    return _NUMBER.sub("#", path) if "." in path else path


class _Search:
    def __init__(self, trace: Trace, alike: bool) -> None:
        facts = cached(trace, _Facts)
        self.trace, self.alike = trace, alike
        self.maker, self.slot, self.cut, self.bare = facts.maker, facts.slot, facts.cut, facts.bare
        numbers: dict[Hashable, int] = {}
        self.signs: list[int] = []
        for op, kind in zip(trace.ops, facts.kinds, strict=True):
            name, scope = (_plain(op.name), _plain(op.scope)) if alike else (op.name, op.scope)
            self.signs.append(numbers.setdefault((name, scope, kind), len(numbers)))
        self.next = [0] * len(self.signs)
        seen: dict[int, int] = {}
        for i in range(len(self.signs) - 1, -1, -1):
            self.next[i] = seen.get(self.signs[i], 0)
            seen[self.signs[i]] = i
        # where a repetition may begin, and how far it is to the next operation of the same sign
        self.starts = [(i, n - i) for i, n in enumerate(self.next) if n and self.cut[i]]
        self.failed: dict[int, int] = {}

    def runs(self, limit: int) -> list[Repetition]:
        """All runs with a period of at most `limit`, from left to right, none within another."""
        found: list[Repetition] = []
        end = 0
        for at, near in self.starts:
            run = self._at(at, limit) if near <= limit and at >= end else None
            if run is not None:
                found.append(run)
                end = run.start + run.period * run.times
        return found

    def _at(self, start: int, limit: int) -> Repetition | None:
        signs, then = self.signs, start
        for _ in range(MAX_PERIODS_TRIED):
            then = self.next[then]
            period = then - start
            if period <= 0 or period > limit:
                return None
            if self.failed.get(period, -1) >= start:
                continue
            at, last = start, len(signs) - period
            while at < last and signs[at] == signs[at + period]:
                at += 1
            if at - start >= period * (MIN_REPETITIONS - 1):
                run = self._wired(start, period, at)
                if run is not None:
                    return run
            self.failed[period] = at
        return None

    def _wired(self, start: int, period: int, end: int) -> Repetition | None:
        """The first run in a stretch of equal signs in which what is read lies equally far back."""
        start = self._natural(start, period, end)
        while end - start >= period * (MIN_REPETITIONS - 1):
            at = start
            while at < end and self._same(at, period, start):
                at += 1
            times = (at - start) // period + 1
            if times >= MIN_REPETITIONS:
                return Repetition(start, period, times, self._label(start, period, times))
            start += period * ((at - start) // period + 1)
        return None

    def _natural(self, start: int, period: int, end: int) -> int:
        """Where a repetition begins: where the outermost module is entered, at the line that comes first in the source.

        A graph of `draw` has neither: there the last repetition ends where the stretch of equal signs ends.

        One repetition may be lost by that, when the first was a little different and the search began within it.
        """
        last = min(start + period, end - period * (MIN_REPETITIONS - 1) + 1)
        starts = [i for i in range(start, max(last, start + 1)) if self.cut[i]]
        if self.bare:
            return min(starts, key=lambda i: (end - i) % period)
        return min(starts, key=lambda i: (self._depth(i), self._lines(i), i))

    def _depth(self, at: int) -> int:
        """How many module calls go on from the operation before to this one."""
        calls, ops = self.trace.calls, self.trace.ops
        call = common_call(self.trace, ops[at - 1].call if at else None, ops[at].call)
        depth = 0
        while call is not None:
            call, depth = calls[call].outer, depth + 1
        return depth

    def _lines(self, at: int) -> list[int]:
        return [place[1] for place in reversed(self.trace.ops[at].stack)]

    def _same(self, at: int, period: int, start: int) -> bool:
        """Whether an operation reads what the one a period later reads, a period earlier."""
        tensors, maker = self.trace.tensors, self.maker
        early = at < start + period
        for a, b in zip(self.trace.ops[at].inputs, self.trace.ops[at + period].inputs, strict=True):
            made_a, made_b = maker[a], maker[b]
            if a == b:
                if made_a >= start:
                    return False
                continue
            one, two = tensors[a], tensors[b]
            if one.value.shape != two.value.shape or one.value.dtype != two.value.dtype:
                return False
            if (
                made_a >= 0
                and made_b >= 0
                and self.slot[a] == self.slot[b]
                and made_b - made_a == period
            ):
                continue
            if early and made_a < start <= made_b < start + period:
                continue  # the state: from before at first, then from the time before
            if 0 <= made_a < start and 0 <= made_b < start:
                if self.signs[made_a] != self.signs[made_b]:
                    return False
                continue
            leaves = made_a < 0 and made_b < 0 and one.kind == two.kind
            if not leaves or (one.requires_grad and not self.alike):
                return False
        return True

    def _label(self, start: int, period: int, times: int) -> str:
        """The modules that the first and the last repetition ran, where every one had its own."""
        if not self.alike:
            return ""
        ops = self.trace.ops
        shift = period * (times - 1)
        for at in range(start, start + period):
            first, last = (op.name if op.module else op.scope for op in (ops[at], ops[at + shift]))
            if first != last:
                return f"{_upto(first, last)} … {_upto(last, first)}"
        return ""


def _upto(path: str, other: str) -> str:
    """A path as far as the first part in which it differs from another."""
    parts = path.split(".")
    for place, (a, b) in enumerate(zip(parts, other.split("."), strict=False)):
        if a != b:
            return ".".join(parts[: place + 1])
    return path
