"""A trace goes in, a smaller trace comes out: modules folded into one operation each, repetitions rolled up.

A folded trace is a trace like any other, so every other room works on it. Its operations and nodes say how many
they stand for; what it no longer shows is counted, not invented. Repetitions are looked for after modules are folded.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from ..trace import Trace
from .contraction import contract
from .modules import call_depths, calls_by_op, plan_modules
from .node_graphs import roll_up_nodes
from .roll_up import roll_up_all
from .selection import Modules, folded_into

__all__ = ["fit", "fit_both", "fit_width", "fold"]


def fold(trace: Trace, modules: Modules = False, repeats: bool = False) -> Trace:
    """A trace in which modules are folded, one operation for each call, and repetitions rolled up.

    `modules` is how many levels of modules stay open, or which are folded: with 0 every module that your
    code calls is one operation; with 1 or True those are open and the modules inside them folded. `repeats` rolls up
    what runs at least three times in a row, also through modules of one structure that differ in their numbers.

    Raises `ValueError` for what no module of the run is called, and for a negative number of levels.

    >>> from definebyrun.trace import Op, Step, TensorVersion
    >>> from definebyrun.trace.value import Value
    >>> one = Value((), "int64")
    >>> tensors = [TensorVersion(0, "y", "constant", one)]
    >>> tensors += [TensorVersion(i + 1, "y", "result", one, op=i) for i in range(5)]
    >>> ops = [
    ...     Op(i, "mul", line=3, code="y = y * 2", scope="", inputs=(i,), outputs=(i + 1,), args=(i, "2"))
    ...     for i in range(5)
    ... ]
    >>> steps = [Step(i, "forward", op=i) for i in range(5)]
    >>> folded = fold(Trace(tuple(tensors), tuple(ops), steps=tuple(steps)), repeats=True)
    >>> [(op.name, op.times) for op in folded.ops], len(folded.steps)
    ([('mul', 5)], 1)
    """
    if modules is not False:
        trace = contract(trace, plan_modules(trace, folded_into(trace, modules)))
    return _rolled_up(trace) if repeats else trace


def _rolled_up(trace: Trace) -> Trace:
    """The trace with all its repetitions rolled up."""
    return roll_up_all(trace) if trace.root is None else roll_up_nodes(trace)


def fit(trace: Trace, count: Callable[[Trace], int], most: int) -> Trace:
    """The trace folded as little as it takes that `count` gives at most `most`: repetitions first, then deep modules.

    Where nothing repeats, a level of modules that leaves more than that is recognized without folding it.
    """
    if count(trace) <= most:
        return trace
    folded = _rolled_up(trace)
    repeats = folded is not trace
    if repeats and count(folded) <= most:
        return folded
    depth = call_depths(trace)
    used = (depth[op.call] for op in trace.ops if op.call is not None)
    for level in range(max(used, default=-1), -1, -1):
        into = folded_into(trace, level)
        if level and not repeats and _least_cards(trace, into) > most:
            continue
        folded = _rolled_up(contract(trace, plan_modules(trace, into)))
        if count(folded) <= most:
            break
    return folded


def fit_width(trace: Trace, width_of: Callable[[Trace], float], most: float) -> Trace:
    """The trace folded as little as it takes that `width_of` gives at most `most`; else the narrowest.

    As it is, then with repetitions rolled up, then with modules folded as well, the deepest first.
    """
    levels = range(max(call_depths(trace), default=-1), -1, -1)
    narrowest, least = trace, width_of(trace)
    for level in (False, *levels):
        if least <= most:
            break
        folded = fold(trace, level, repeats=True)
        width = inf if folded is trace else width_of(folded)
        if width < least:
            narrowest, least = folded, width
    return narrowest


def _least_cards(trace: Trace, into: list[int | None]) -> int:
    """How many cards are left at least: one for each folded call that has nodes, one for each other operation."""
    calls = calls_by_op(trace)
    left: set[tuple[str, int]] = set()
    for op in {node.op for node in trace.nodes if node.op is not None}:
        call = calls[op]
        whole = None if call is None else into[call]
        left.add(("op", op) if whole is None else ("call", whole))
    return len(left)


def fit_both(
    joined: Trace,
    a: Trace,
    b: Trace,
    join: Callable[[Trace, Trace], Trace],
    count: Callable[[Trace], int],
    most: int,
) -> Trace:
    """A comparison that `count` gives at most `most`: `joined`, or what `join` makes of `a` and `b` folded alike.

    Modules are folded first, the deepest first: each card is then still compared with its own counterpart. Only where
    that is not enough are repetitions rolled up: the last repetition of one run need not be the last of the other.
    """
    depths = [depth for trace in (a, b) for depth in call_depths(trace)]
    deepest_first = range(max(depths, default=-1), -1, -1)
    ways = [(level, repeats) for repeats in (False, True) for level in (False, *deepest_first)]
    for level, repeats in ways[1:]:
        if count(joined) <= most:
            break
        one, other = fold(a, level, repeats), fold(b, level, repeats)
        if one is not a or other is not b:
            joined = join(one, other)
    return joined
