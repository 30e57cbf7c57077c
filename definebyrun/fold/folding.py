"""A trace goes in, a smaller trace comes out: modules folded into one operation each, repetitions rolled up.

A folded trace is a trace like any other, so every other room works on it. Its operations and nodes say how many
they stand for; what it no longer shows is counted, not invented. Repetitions are looked for after modules are folded.
"""

from __future__ import annotations

from ..trace import Trace
from .contraction import contract
from .modules import plan_modules
from .node_graphs import roll_up_nodes
from .roll_up import roll_up_all
from .selection import Modules, folded_into

__all__ = ["fold"]


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
