"""A trace goes in, the ways to fold it come out, the least first: recipes, which can be applied to any run.

A recipe says what becomes one: the steps of a training, repetitions, the nodes of an operation, small modules, then
modules of one class after the other, from the deepest on; of each class the first call stays open as long as it can.
Which of them is shown is decided where pictures are laid out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace

from ..trace import Trace, cached
from ..trace.records import FUNCTION
from .contraction import contract
from .groups import fold_blocks, fold_chains, fold_middle, fold_statements, fold_unrolled
from .modules import call_depths, calls_by_op, outermost, plan_modules
from .node_graphs import roll_up_nodes
from .operations import fold_operations, fold_passes
from .roll_up import roll_up_all, roll_up_steps

__all__ = ["Recipe", "fold_by", "outcome", "recipes"]

MAX_OPS_OF_SMALL_MODULE = 12
"""A module without modules inside it is folded early if it runs at most so many operations."""


@dataclass(frozen=True)
class Recipe:
    """A way to fold a run. `grouped` is for the picture: parameters that the same cards read are one card there.

    `classes` are modules that become one, by depth and class; `open_class` is the one of them whose first call stays
    as it is.
    """

    steps: bool = False
    repeats: bool = False
    operations: bool = False
    grouped: bool = False
    functions: bool = False
    passes: bool = False
    statements: bool = False
    chains: bool = False
    unrolled: bool = False
    blocks: bool = False
    middle: bool = False
    small_modules: bool = False
    classes: frozenset[tuple[int, str]] = frozenset()
    open_class: tuple[int, str] | None = None


def recipes(traces: Iterable[Trace]) -> Iterator[Recipe]:
    """The ways to fold these runs, all by the same recipe: first none of them, then always more."""
    traces = list(traces)
    yield Recipe()
    if traces[0].root is not None:
        yield Recipe(repeats=True)
        yield Recipe(repeats=True, grouped=True)
        return
    yield Recipe(steps=True)
    yield Recipe(steps=True, repeats=True)
    way = Recipe(steps=True, repeats=True, operations=True)
    yield way
    way = replace(way, grouped=True)
    yield way
    way = replace(way, functions=True)
    yield way
    way = replace(way, passes=True)
    yield way
    way = replace(way, statements=True)
    yield way
    yield replace(way, chains=True)
    for chains in (False, True):  # which makes a picture lower, and often wider
        way = replace(way, chains=chains, small_modules=True, classes=frozenset())
        yield way
        for wanted in _classes(traces):
            yield replace(way, classes=way.classes | {wanted}, open_class=wanted)
            way = replace(way, classes=way.classes | {wanted})
            yield way
    for start in (replace(way, classes=frozenset()), way):
        yield replace(start, chains=False, unrolled=True)
        yield replace(start, chains=False, blocks=True)
        yield replace(start, chains=False, unrolled=True, blocks=True)
        yield replace(start, middle=True)


def _classes(traces: list[Trace]) -> list[tuple[int, str]]:
    """The classes of modules at each depth, the deepest first, and there the one that runs the most operations."""
    held: Counter[tuple[int, str]] = Counter()
    for trace in traces:
        depths = call_depths(trace)
        for call in calls_by_op(trace):
            while call is not None:
                if trace.calls[call].kind == FUNCTION:
                    call = trace.calls[call].outer
                    continue
                held[depths[call], trace.calls[call].kind] += 1
                call = trace.calls[call].outer
    return sorted(held, key=lambda each: (-each[0], -held[each], each[1]))


def fold_by(trace: Trace, recipe: Recipe) -> Trace:
    """The trace folded by a recipe; itself where that changes nothing."""
    if trace.root is not None:
        return roll_up_nodes(trace) if recipe.repeats else trace
    trace = _prepared(trace, recipe)
    into = _folded_into(trace, recipe)
    if any(call is not None for call in into):
        trace = contract(trace, plan_modules(trace, into))
        trace = roll_up_all(trace) if recipe.repeats else trace
    elif recipe.repeats:
        trace = cached(trace, roll_up_all)
    trace = fold_unrolled(trace) if recipe.unrolled else trace
    trace = fold_blocks(trace) if recipe.blocks else trace
    return fold_middle(trace) if recipe.middle else trace


def outcome(trace: Trace, recipe: Recipe) -> Hashable:
    """Equal for two recipes that fold a trace alike, which is known without folding it by them."""
    if trace.root is not None:
        return recipe.repeats
    trace = _prepared(trace, recipe)
    last = (recipe.repeats, recipe.unrolled, recipe.blocks, recipe.middle)
    return id(trace), tuple(_folded_into(trace, recipe)), last


def _prepared(trace: Trace, recipe: Recipe) -> Trace:
    """What is done before calls are folded; recipes begin alike, so what one has done is kept for the next."""
    stages = (
        (recipe.steps, roll_up_steps),
        (recipe.operations, fold_operations),
        (recipe.passes, fold_passes),
        (recipe.statements, fold_statements),
        (recipe.chains, fold_chains),
    )
    for is_wanted, stage in stages:
        if is_wanted:
            trace = cached(trace, stage)
    return trace


def _folded_into(trace: Trace, recipe: Recipe) -> list[int | None]:
    """By module call: the call that it is folded into, if any."""
    wanted: list[bool] = [False] * len(trace.calls)
    if recipe.small_modules:
        for number in _small_calls(trace):
            wanted[number] = True
    if recipe.functions:
        for call in trace.calls:
            wanted[call.index] = wanted[call.index] or call.kind == FUNCTION
    first = recipe.open_class
    for call, depth in zip(trace.calls, call_depths(trace), strict=True):
        if (depth, call.kind) in recipe.classes and call.kind != FUNCTION:
            is_open = (depth, call.kind) == first
            wanted[call.index] = wanted[call.index] or not is_open
            first = None if is_open else first
    return outermost(trace, wanted)


def _small_calls(trace: Trace) -> list[int]:
    """The calls of modules that call no module and run few operations; not one that is the whole run."""
    found: list[int] = cached(trace, _find_small_calls)
    return found


def _find_small_calls(trace: Trace) -> list[int]:
    held = Counter(call for call in calls_by_op(trace) if call is not None)
    around = {call.outer for call in trace.calls if call.kind != FUNCTION}
    whole = len(trace.calls) == 1
    return [
        call.index
        for call in trace.calls
        if call.kind != FUNCTION
        and call.index not in around
        and 0 < held[call.index] <= MAX_OPS_OF_SMALL_MODULE
        and not whole
    ]
