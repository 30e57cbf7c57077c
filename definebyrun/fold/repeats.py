"""A trace goes in, the stretches where it does the same several times in a row come out.

Two operations have the same signature when they have the same name, stack, module and kinds of results, and nodes of
the same names. A stretch of operations repeats when each has the signature of the one a period later, and reads what
was made as far back; what the first repetition reads may come from before. The shortest period is found first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from ..trace import Op, Trace, cached

__all__ = ["Repetition", "common_call", "find_repetitions", "find_training_steps", "step_blocks"]

MIN_REPETITIONS = 3
"""What happens fewer times than this in a row is left as it is: a pair is read more easily than its summary."""
MIN_TRAINING_STEPS = 2
"""Steps of a training are many cards: a pair of them is summed up as well."""
MAX_STARTS_TRIED = 8
"""So many operations are tried as the first of a training step."""
MAX_PERIODS_TRIED = 4
"""So many distances to an operation of the same signature are tried as a period, from each operation on."""
_NUMBER, _COUNT = re.compile(r"\d+"), re.compile(r" \(\d+\)")


@dataclass(frozen=True, slots=True)
class Repetition:
    """`times` repetitions of `period` operations, the first at index `start`."""

    start: int
    period: int
    times: int
    label: str = ""

    @property
    def end(self) -> int:
        """The index after the last operation."""
        return self.start + self.period * self.times


def common_call(trace: Trace, one: int | None, two: int | None) -> int | None:
    """The innermost module call around two calls; each has a higher number than the one around it."""
    while one != two:
        if two is None or (one is not None and one > two):
            one = None if one is None else trace.calls[one].outer
        else:
            two = trace.calls[two].outer
    return one


def find_repetitions(trace: Trace, same_structure: bool = False) -> list[Repetition]:
    """The repetitions of the shortest period of which there are any; empty when nothing repeats.

    With `same_structure`, modules whose paths differ only in numbers (`layers.0`, `layers[1]`) count as the same, and
    so do parameters of one shape.
    """
    search = _Search(trace, same_structure)
    if max(Counter(search.signatures).values(), default=0) < MIN_REPETITIONS:
        return []
    longest, limit = len(trace.ops) // MIN_REPETITIONS, 1
    while limit // 2 < longest:
        found = search.find(limit)
        if found:
            return found
        limit *= 2
    return []


def find_training_steps(trace: Trace) -> list[Repetition]:
    """The steps of a training that is the same each time: from one step of an optimizer to the next."""
    steps = [op.index for op in trace.ops if op.is_optimizer_step and op.block is None]
    if len(steps) < MIN_TRAINING_STEPS:
        return []
    search = _Search(trace, same_structure=False, least=MIN_TRAINING_STEPS)
    for step in steps:
        found = search.around(step)
        if found is not None:
            return [found]
    return []


def step_blocks(trace: Trace) -> set[int]:
    """The blocks that are training steps: an optimizer's step is among what repeats."""
    found: set[int] = set()
    for op in trace.ops:
        block = op.block if op.is_optimizer_step else None
        while block is not None:
            found.add(block)
            block = trace.blocks[block].outer
    return found


class _Signatures:
    """What a search asks of a trace whether paths are compared with or without their numbers."""

    def __init__(self, trace: Trace) -> None:
        self.maker = [-1 if t.op is None else t.op for t in trace.tensors]
        self.output_position = [0] * len(trace.tensors)
        for op in trace.ops:
            for position, tensor in enumerate(op.outputs):
                self.output_position[tensor] = position
        numbers: dict[Hashable, int] = {}
        self.may_start: list[bool] = []  # a repetition does not begin in the middle of a block
        self.unnamed: list[int] = []  # equal for operations that differ at most in name and scope
        first, outermost, steps = 0, None, step_blocks(trace)
        for op in trace.ops:
            block = _outermost(trace, op.block, steps)
            self.may_start.append(block is None or block != outermost)
            if self.may_start[-1]:
                first, outermost = op.index, block
            signature = _unnamed_signature(trace, op, op.index - first)
            self.unnamed.append(numbers.setdefault(signature, len(numbers)))
        self.has_no_code = not any(op.stack for op in trace.ops)
        self.by_optimizer = {i for op in trace.ops if op.is_optimizer_step for i in op.outputs}


def _outermost(trace: Trace, block: int | None, steps: set[int]) -> int | None:
    """The outermost block around an operation, within a training step if it is in one."""
    if block in steps:
        return None
    while block is not None:
        outer = trace.blocks[block].outer
        if outer is None or outer in steps:
            break
        block = outer
    return block


def _unnamed_signature(trace: Trace, op: Op, position_in_block: int) -> Hashable:
    outputs = [trace.tensors[i] for i in op.outputs]
    results = tuple([(t.kind, t.value.shape, t.value.dtype) for t in outputs])
    nodes = tuple([trace.nodes[i].name for i in trace.nodes_of(op.index)])
    flags = (op.inplace, op.grad_enabled, op.opaque, op.factory, op.holds, op.times)
    texts = tuple([isinstance(arg, str) for arg in op.args])
    inputs = len(op.inputs)
    return (op.module, op.stack, results, nodes, flags, position_in_block, texts, inputs)


@lru_cache(maxsize=4096)  # the same modules come again with every way of folding
def _without_numbers(path: str) -> str:
    """A path without the numbers that tell modules apart (`layers.0`, `layers[0]`, `Linear (2)`); `conv2d` as it is."""
    path = _COUNT.sub("", path)
    return _NUMBER.sub("#", path) if "." in path or "[" in path else path


class _Search:
    """Finds repetitions in a trace, with paths compared with or without their numbers."""

    def __init__(self, trace: Trace, same_structure: bool, least: int = MIN_REPETITIONS) -> None:
        self.trace, self.same_structure, self.least = trace, same_structure, least
        self.facts = cached(trace, _Signatures)
        numbers: dict[Hashable, int] = {}
        self.signatures: list[int] = []
        for op, unnamed in zip(trace.ops, self.facts.unnamed, strict=True):
            name, scope = op.name, op.scope
            if same_structure:
                name, scope = _without_numbers(name), _without_numbers(scope)
            self.signatures.append(numbers.setdefault((name, scope, unnamed), len(numbers)))
        # by operation: the next one of the same signature; 0 where there is none
        self.next = [0] * len(self.signatures)
        seen: dict[int, int] = {}
        for i in range(len(self.signatures) - 1, -1, -1):
            self.next[i] = seen.get(self.signatures[i], 0)
            seen[self.signatures[i]] = i
        may_start = self.facts.may_start
        self.starts = [(i, n - i) for i, n in enumerate(self.next) if n and may_start[i]]
        self.failed: dict[int, int] = {}  # by period: up to where it has been tried in vain

    def find(self, limit: int) -> list[Repetition]:
        """All repetitions with a period of at most `limit`, from left to right, none within another."""
        found: list[Repetition] = []
        end = 0
        for at, distance in self.starts:
            repetition = self._at(at, limit) if distance <= limit and at >= end else None
            if repetition is not None:
                found.append(repetition)
                end = repetition.end
        return found

    def _at(self, start: int, limit: int) -> Repetition | None:
        signatures, following = self.signatures, start
        for _ in range(MAX_PERIODS_TRIED):
            following = self.next[following]
            period = following - start
            if period <= 0 or period > limit:
                return None
            if self.failed.get(period, -1) >= start:
                continue
            at, last = start, len(signatures) - period
            while at < last and signatures[at] == signatures[at + period]:
                at += 1
            if at - start >= period * (self.least - 1):
                repetition = self._with_same_dataflow(start, period, at)
                if repetition is not None:
                    return repetition
            self.failed[period] = at
        return None

    def _with_same_dataflow(self, start: int, period: int, end: int) -> Repetition | None:
        """The first repetition in a stretch of equal signatures in which what is read was made equally far back."""
        start = self._first_start(start, period, end)
        while end - start >= period * (self.least - 1):
            at = start
            while at < end and self._reads_the_same(at, period, start):
                at += 1
            times = (at - start) // period + 1
            if times >= self.least:
                return Repetition(start, period, times, self._label(start, period, times))
            start += period * ((at - start) // period + 1)
        return None

    def _first_start(self, start: int, period: int, end: int) -> int:
        """Where a repetition begins: where the outermost module is entered, at the line that comes first in the source.

        A graph of `draw` has neither: there the last repetition ends where the stretch of equal signatures ends.

        One repetition may be lost by that, when the first was a little different and the search began within it.
        """
        last = min(start + period, end - period * (self.least - 1) + 1)
        may_start = self.facts.may_start
        starts = [i for i in range(start, max(last, start + 1)) if may_start[i]]
        if self.facts.has_no_code:
            return min(starts, key=lambda i: (end - i) % period)
        return min(starts, key=lambda i: (self._depth(i), self._lines(i), i))

    def around(self, step: int) -> Repetition | None:
        """The repetitions of which this operation and the next of its signature are parts."""
        signatures, period = self.signatures, self.next[step] - step
        if period <= 0:
            return None
        first, end = step, step
        while first and signatures[first - 1] == signatures[first - 1 + period]:
            first -= 1
        while end + period < len(signatures) and signatures[end] == signatures[end + period]:
            end += 1
        starts = range(first, min(first + period, end - period + 1))
        by_line = sorted(
            starts, key=lambda i: (-((end - i) // period), self._depth(i), self._lines(i), i)
        )  # the most times first
        for start in by_line[:MAX_STARTS_TRIED]:
            at = start
            while at < end and self._reads_the_same(at, period, start):
                at += 1
            times = (at - start) // period + 1
            if times >= self.least:
                return Repetition(start, period, times)
        return None

    def _depth(self, at: int) -> int:
        """How many module calls go on from the operation before to this one."""
        calls, ops = self.trace.calls, self.trace.ops
        call = common_call(self.trace, ops[at - 1].call if at else None, ops[at].call)
        depth = 0
        while call is not None:
            call, depth = calls[call].outer, depth + 1
        return depth

    def _lines(self, at: int) -> list[int]:
        """The lines of an operation's stack, outermost first."""
        return [line for _, line in reversed(self.trace.ops[at].stack)]

    def _reads_the_same(self, at: int, period: int, start: int) -> bool:
        """Whether each input of an operation corresponds to that of the operation a period later."""
        one, two = self.trace.ops[at].inputs, self.trace.ops[at + period].inputs
        is_first = at < start + period
        return all(
            self._corresponds(a, b, period, start, is_first) for a, b in zip(one, two, strict=True)
        )

    def _corresponds(self, a: int, b: int, period: int, start: int, is_first: bool) -> bool:
        """Whether two repetitions read the same tensor from before, or tensors that were made a period apart."""
        tensors, maker, positions = self.trace.tensors, self.facts.maker, self.facts.output_position
        made_a, made_b = maker[a], maker[b]
        if a == b:
            return made_a < start or a in self.facts.by_optimizer
        one, two = tensors[a], tensors[b]
        if one.value.shape != two.value.shape or one.value.dtype != two.value.dtype:
            return False
        both_made = made_a >= 0 and made_b >= 0
        if both_made and made_b - made_a == period and positions[a] == positions[b]:
            return True
        if is_first and made_a < start <= made_b < start + period:
            return True  # the state: from before at first, then from the repetition before
        if 0 <= made_a < start and 0 <= made_b < start:
            return self.signatures[made_a] == self.signatures[made_b]
        optimized = made_a == made_b and {a, b} <= self.facts.by_optimizer
        leaves = ((made_a < 0 and made_b < 0) or optimized) and one.kind == two.kind
        if leaves and _without_numbers(one.name or "") != _without_numbers(two.name or ""):
            return False  # a name of its own is not given up
        return leaves and (self.same_structure or not one.requires_grad)

    def _label(self, start: int, period: int, times: int) -> str:
        """The modules that the first and the last repetition ran, where every one had its own."""
        if not self.same_structure:
            return ""
        ops = self.trace.ops
        shift = period * (times - 1)
        for at in range(start, start + period):
            first, last = (op.name if op.module else op.scope for op in (ops[at], ops[at + shift]))
            if first != last:
                return f"{_upto_difference(first, last)} … {_upto_difference(last, first)}"
        return ""


def _upto_difference(path: str, other: str) -> str:
    """A path as far as the first part in which it differs from another."""
    parts = path.split(".")
    for position, (a, b) in enumerate(zip(parts, other.split("."), strict=False)):
        if a != b:
            return ".".join(parts[: position + 1])
    return path
