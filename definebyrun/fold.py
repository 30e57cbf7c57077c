"""A trace goes in, a smaller trace comes out: modules folded into one operation each, repetitions rolled up.

A folded trace is a trace like any other, so every other room works on it. Its operations and nodes say how many
they stand for; what it no longer shows is counted, not invented. Repetitions are looked for after modules are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .chains import roll_nodes
from .modules import chosen, depths, fold_calls
from .repeats import find_runs
from .roll import roll
from .trace import Trace

__all__ = ["fit", "fold"]


def fold(
    trace: Trace, modules: bool | int | str | Iterable[str] = False, repeats: bool = False
) -> Trace:
    """A trace in which modules are folded, one operation for each call, and repetitions rolled up.

    `modules` is how many levels of modules stay open, or the paths of those to fold: with 0 every module that your
    code calls is one operation; with 1 or True those are open and the modules inside them folded. `repeats` rolls up
    what runs at least three times in a row, also through modules of one structure that differ in their numbers.

    Raises `ValueError` for a path that no module of the run has, and for a negative number of levels.

    >>> from definebyrun.trace import Op, Step, Tensor, Value
    >>> one = Value((), "int64")
    >>> tensors = [Tensor(0, "y", "constant", one), *(Tensor(i + 1, "y", "result", one, i) for i in range(5))]
    >>> ops = [Op(i, "mul", 3, "y = y * 2", "", (i,), (i + 1,), args=(i, "2")) for i in range(5)]
    >>> steps = [Step(i, "forward", op=i) for i in range(5)]
    >>> folded = fold(Trace(tuple(tensors), tuple(ops), steps=tuple(steps)), repeats=True)
    >>> [(op.name, op.times) for op in folded.ops], len(folded.steps)
    ([('mul', 5)], 1)
    """
    if modules is not False:
        trace = fold_calls(trace, chosen(trace, modules))
    if repeats and trace.root is not None:
        return roll_nodes(trace)
    if repeats:
        for alike in (False, True):
            while runs := find_runs(trace, alike):
                trace = roll(trace, runs)
    return trace


def fit(trace: Trace, fits: Callable[[Trace], bool]) -> Trace:
    """The trace folded as little as it takes: repetitions first, then modules, the deepest first; else all of it."""
    if fits(trace):
        return trace
    folded = fold(trace, repeats=True)
    depth = depths(trace)
    used = (depth[op.call] for op in trace.ops if op.call is not None)
    for level in range(max(used, default=-1), -1, -1):
        if fits(folded):
            break
        folded = fold(trace, modules=level, repeats=True)
    return folded
