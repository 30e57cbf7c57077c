"""The lists of a trace go in, whose records are sound each by itself; a `ValueError` comes out where they do not fit.

A comparison is two runs: each of them has to fit together by itself, and so has what is shown of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .references import indices
from .validate import Lists, damaged

__all__ = ["check_consistency"]

Run = Mapping[str, Mapping[int, Any]]
"""By name of a list and index: the records of one run."""


def check_consistency(lists: Lists, root: int | None, sides: tuple[str, ...]) -> None:
    """Raises `ValueError` where records contradict each other."""
    both = _run(lists, None)
    halves = [_run(lists, side) for side in ("A", "B")] if sides else []
    for half in halves:
        _check_border(half)
    for run in (both, *halves):
        _check_nesting(run)
        _check_steps(run)
    for run in halves or [both]:
        _check_leaves(run)
        _check_ops(run)
        _check_stops(run)
        if not lists["blocks"]:  # in a rolled-up block, what comes later is read the next time
            _check_acyclic(run)
    if not lists["blocks"] and not sides:  # a comparison has B's operations in A's order
        _check_order(both)
    if root is not None and (both["ops"] or both["steps"] or both["tensors"][root].node is None):
        raise damaged(f"tensors[{root}] cannot be the root of a drawn graph")


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
                        f"{name}[{i}].{field} speaks of {of}[{number}], which only the other run has"
                    )


def _check_nesting(run: Run) -> None:
    """A module call lies inside one that began before it, as the module's first did; blocks lie within each other."""
    for i, call in run["calls"].items():
        if call.outer is not None and call.outer >= i:
            raise damaged(f"calls[{i}] cannot lie within calls[{call.outer}]")
        if call.first is not None and (
            call.first >= i or run["calls"][call.first].first is not None
        ):
            raise damaged(
                f"calls[{call.first}] cannot be the first call of the module of calls[{i}]"
            )
    blocks, known = run["blocks"], set[int]()
    for i in blocks:
        chain: dict[int, None] = {}
        block: int | None = i
        while block is not None and block not in known:
            if block in chain:
                raise damaged(f"blocks[{block}] lies within itself")
            chain[block] = None
            block = blocks[block].outer
        known.update(chain)


def _check_leaves(run: Run) -> None:
    """The versions of a leaf follow its first one, and a leaf and its `AccumulateGrad` name each other."""
    tensors, nodes = run["tensors"], run["nodes"]
    filled: set[tuple[int, int]] = set()  # a node, and the first version of the leaf that it fills
    for i, tensor in tensors.items():
        first = i if tensor.origin is None else tensor.origin
        if tensor.origin is not None:
            kinds = (tensor.kind, tensors[first].kind)
            if first >= i or tensors[first].origin is not None or "result" in kinds:
                raise damaged(f"tensors[{i}] cannot be a version of the leaf tensors[{first}]")
        if tensor.node is not None and tensor.kind != "result":
            filled.add((tensor.node, first))
    named = {(i, node.leaf) for i, node in nodes.items() if node.leaf is not None}
    first_of = {leaf: tensors[leaf].origin for _, leaf in named}
    for node, leaf in filled ^ {
        (i, leaf if first_of[leaf] is None else first_of[leaf]) for i, leaf in named
    }:
        raise damaged(
            f"tensors[{leaf}] is the leaf of nodes[{node}], but one of them does not say so"
        )
    for i, tensor in tensors.items():
        if tensor.node is not None:
            of_leaf = nodes[tensor.node].leaf is not None
            if of_leaf == (tensor.kind == "result") or tensor.kind == "constant":
                raise damaged(
                    f"tensors[{i}] is a {tensor.kind} and cannot have nodes[{tensor.node}]"
                )
    for i, node in nodes.items():
        if node.leaf is not None and (node.op, node.made) != (None, None):
            raise damaged(f"nodes[{i}] is that of a leaf, which no operation makes")
    for i, change in run["grads"].items():
        if tensors[change.tensor].origin is not None or tensors[change.tensor].kind == "result":
            raise damaged(f"grads[{i}] must speak of the first version of a leaf")


def _check_ops(run: Run) -> None:
    """An operation has results; its nodes are its own, or those of the pass that it ran; a factory has none."""
    made: dict[int, set[bool]] = {}
    for i, node in run["nodes"].items():
        if node.op is not None:
            made.setdefault(node.op, set()).add(node.made is not None)
            if run["ops"][node.op].factory or len(made[node.op]) > 1:
                raise damaged(f"nodes[{i}] cannot be made by ops[{node.op}]")
    for i, op in run["ops"].items():
        if not op.outputs or any(run["tensors"][output].op != i for output in op.outputs):
            raise damaged(f"the outputs of ops[{i}] must be tensors that it made")
        if op.times > 1 and op.block is None:
            raise damaged(f"ops[{i}] cannot stand for {op.times} repetitions outside of a block")
        if op.beside and not (op.inplace and op.results):
            raise damaged(f"ops[{i}] cannot have changed {op.beside} tensors besides")
    passes = {step.pass_nr for step in run["steps"].values() if step.phase == "backward"}
    for name in ("ops", "nodes"):
        for i, part in run[name].items():
            recorded = part.pass_nr is not None
            if recorded != (part.generation > 1) or (recorded and part.pass_nr not in passes):
                raise damaged(f"{name}[{i}] is of a backward pass that did not run")
            if name == "nodes" and part.made is not None and not recorded:
                raise damaged(f"nodes[{i}] must say which backward pass made it")


def _check_steps(run: Run) -> None:
    """Each operation ran in one forward step, in order; in every other step a node ran and used its own edges."""
    ran: list[int] = []
    for i, step in run["steps"].items():
        if step.phase == "forward":
            if step.op is None or step.node is not None:
                raise damaged(f"steps[{i}] must name the operation that ran, and no node")
            of_backward = (step.received, step.passed, step.before, step.after, step.freed)
            tensors = (step.given, step.arrived, step.returned)
            if any(of_backward) or step.pass_nr or any(tensors):
                raise damaged(f"steps[{i}] is forward and has what only a backward step has")
            ran.append(step.op)
        elif step.node is None or step.op is not None:
            raise damaged(f"steps[{i}] must name the node that ran, and no operation")
        if step.returned and len(step.returned) != len(step.passed):
            raise damaged(
                f"steps[{i}] must say what was returned for each gradient that was passed"
            )
        for edge, _ in step.passed:
            if run["edges"][edge].source != step.node:
                raise damaged(f"steps[{i}] cannot pass a gradient along edges[{edge}]")
    if ran != sorted(run["ops"]):
        raise damaged("each operation must have run in one step, in the order of their numbers")


def _check_stops(run: Run) -> None:
    """A run stops once; only a backward pass stops at a node, which may have saved what was changed since."""
    if len(run["stops"]) > 1:
        raise damaged("a run cannot stop twice")
    for i, stop in run["stops"].items():
        if stop.node is None and (stop.received or stop.saved or stop.changed_by is not None):
            raise damaged(f"stops[{i}] must say which node stopped")
        if (stop.changed_by is None) != (not stop.saved):
            raise damaged(f"stops[{i}] must say what was changed, and by which operation")


def _check_acyclic(run: Run) -> None:
    """Gradients do not come back to where they were."""
    targets: dict[int, list[int]] = {}
    entering: Counter[int] = Counter()
    for i, edge in run["edges"].items():
        if edge.input_nr and run["nodes"][edge.target].leaf is not None:
            raise damaged(f"edges[{i}] enters a leaf, which has one input")
        targets.setdefault(edge.source, []).append(edge.target)
        entering[edge.target] += 1
    waiting = [i for i in run["nodes"] if not entering[i]]
    for i in waiting:  # grows on the way
        for target in targets.get(i, ()):
            entering[target] -= 1
            if not entering[target]:
                waiting.append(target)
    if len(waiting) < len(run["nodes"]):
        raise damaged("its nodes form a cycle")


def _check_order(run: Run) -> None:
    """What an operation reads was made before; a node that a backward pass made is of a later generation."""
    for i, op in run["ops"].items():
        for index in op.inputs:
            maker = run["tensors"][index].op
            if maker is not None and maker > i:  # a folded module may change its input
                raise damaged(f"ops[{i}] cannot read tensors[{index}], which was made later")
    for i, node in run["nodes"].items():
        if node.within is not None and run["nodes"][node.within].generation >= node.generation:
            raise damaged(f"nodes[{i}] cannot be made while nodes[{node.within}] ran")
