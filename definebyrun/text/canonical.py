"""A trace goes in, its canonical text comes out: the same run gives the same characters in any process.

This is the `text/plain` of every drawing, so it is what notebooks are compared by: it names every tensor,
operation, node, edge and gradient that a drawing shows, and nothing of its geometry.
"""

from __future__ import annotations

from ..trace import Edge, Node, Op, Step, TensorVersion, Trace
from ..trace.steps import shown_from
from .format import format_bytes, format_value
from .labels import (
    is_gradient_sum,
    maker_of_pass,
    node_label,
    op_call,
    phase_words,
    short_node_name,
    tensor_label,
)
from .stopped import stop_facts

__all__ = ["Facts", "canonical_text", "facts", "grad_text", "head", "lay_out"]


def canonical_text(trace: Trace) -> str:
    """The whole trace as text, one fact a line."""
    return lay_out(head(trace), facts(trace))


Facts = dict[str, dict[int, list[str]]]


def head(trace: Trace) -> list[str]:
    """The first lines: how much there is, and what stopped the run."""
    counts = {
        "operations": trace.ops,
        "nodes": trace.nodes,
        "edges": trace.edges,
        "steps": trace.steps,
    }
    lines = [
        ", ".join(_count(len(part), word) for word, part in counts.items() if trace.steps or part)
    ]
    for run, nodes in _passes(trace).items():
        number_of, generation = _count(len(nodes), "nodes"), nodes[0].generation
        lines.append(f"generation {generation}: {number_of}, made by {maker_of_pass(trace, run)}")
    return lines + ([f"stopped by {trace.error}"] if trace.error else [])


def _passes(trace: Trace) -> dict[int, list[Node]]:
    """By backward pass that was recorded itself: the nodes that it made."""
    found: dict[int, list[Node]] = {}
    for node in trace.nodes:
        if node.pass_nr is not None:
            found.setdefault(node.pass_nr, []).append(node)
    return dict(sorted(found.items()))


def facts(trace: Trace) -> Facts:
    """The lines of each part: leaves by index of the tensor, graph by index of the node, steps by theirs.

    The graph part has the nodes that no recorded operation and no recorded pass made: those of `draw`, and older ones.
    The stop part has the call at which the run stopped.
    """
    older = [n for n in trace.nodes if n.op is None and n.leaf is None and n.made is None]
    return {
        "leaves": {tensor.index: [_leaf(trace, tensor)] for tensor in trace.leaves},
        "graph": {
            n.index: [f"{_named(trace, n)}{_times(n)}{_next(trace, n.index)}"] for n in older
        },
        "steps": {
            step.index: (_forward if step.phase == "forward" else _backward)(trace, step)
            for step in trace.steps
        },
        "stop": {i: stop_facts(trace, stop) for i, stop in enumerate(trace.stops)},
    }


def lay_out(first: list[str], found: Facts) -> str:
    """Lines of facts under their headings; steps with their numbers."""
    lines = list(first)
    for part, entries in found.items():
        if entries:
            lines.append(part)
        width = len(str(len(entries)))
        for index, (line, *rest) in entries.items():
            number = f"{shown_from(index):>{width}}  " if part == "steps" else ""
            lines.append(f"  {number}{line}")
            lines += [f"  {'':>{width}}    {more}" for more in rest]
    return "\n".join(lines)


def _count(number_of: int, word: str) -> str:
    return f"{number_of} {word if number_of != 1 else word.removesuffix('s')}"


def _named(trace: Trace, node: Node) -> str:
    """A node without a recorded operation, with the tensors that hang from it."""
    results = [t for t in trace.tensors if t.node == node.index and t.op is None]
    held = "; ".join(f"{t.name or 'tensor'}: {format_value(t.value, 60)}" for t in results)
    return short_node_name(node.name) + (f" ({held})" if held else "")


def _times(node: Node) -> str:
    return f" (the last of {node.times:,} times)" if node.times > 1 else ""


def _leaf(trace: Trace, tensor: TensorVersion) -> str:
    kinds = dict.fromkeys(t.kind for t in trace.leaf_versions(tensor.index) if t.kind != "result")
    text = f"{tensor_label(trace, tensor.index)}: {', then '.join(kinds)} {format_value(tensor.value, 60)}"
    if not trace.steps or all(t.node is None for t in trace.leaf_versions(tensor.index)):
        return text
    return f"{text}, grad {grad_text(trace, tensor.index)}"


def grad_text(trace: Trace, leaf: int, width: int = 60) -> str:
    """What a leaf's `.grad` holds in the end: `not yet` when nothing ever came, `None` when it was taken away."""
    history = trace.grad_history(leaf)
    if not history:
        return "not yet"
    return "None" if history[-1][1] is None else format_value(history[-1][1], width)


def _forward(trace: Trace, step: Step) -> list[str]:
    op = trace.ops[step.op or 0]
    values = "; ".join(format_value(trace.tensors[i].value, 60) for i in op.outputs)
    beside = ", ".join(tensor_label(trace, i) for i in op.outputs[len(op.results) :])
    marks = [
        word
        for word, on in (
            ("in place", op.inplace and not op.opaque and not op.beside),
            (f"{beside} in place", op.beside),
            ("changed without a call that was seen", op.inplace and op.opaque),
            ("opaque", op.opaque and not op.inplace),
            ("no grad", not op.grad_enabled),
            (phase_words(trace, op), op.during),
            (f"{op.module}, {_count(op.holds, 'operations')}{_held(op)}", op.module),
            (f"the last of {op.times:,} times", op.times > 1),
        )
        if on
    ]
    mark = f" ({', '.join(marks)})" if marks else ""
    lines = [f"{op_call(trace, op)} → {values}{mark}"]
    for index in trace.nodes_of(op.index):
        node = trace.nodes[index]
        if node.made is not None:
            if any(trace.tensors[i].node == index for i in op.outputs):
                lines.append(f"{node_label(trace, index)} is of generation {node.generation}")
            continue
        kept = ", ".join(f"{s.name} {format_bytes(s.nbytes)}" for s in node.saved)
        if kept and node.holds * node.times > 1:
            kept = f"{format_bytes(sum(s.nbytes for s in node.saved))} in all"
        lines.append(
            f"{short_node_name(node.name)}{_next(trace, index)}"
            + (f" {_verb(node, 'keeps')} {kept}" if kept else "")
        )
    return lines + _made(trace, step)


def _made(trace: Trace, step: Step) -> list[str]:
    """The nodes that a recorded backward pass made in a step."""
    lines = []
    for index in trace.nodes_made_in(step.index):
        node = trace.nodes[index]
        kept = ", ".join(f"{s.name} {format_bytes(s.nbytes)}" for s in node.saved)
        how = ", where gradients meet" if is_gradient_sum(node) else ""
        lines.append(
            f"makes {node_label(trace, index)}, generation {node.generation}{how}: "
            f"{format_value(node.value, 60) if node.value else 'no shape'}{_next(trace, index)}"
            + (f" keeps {kept}" if kept else "")
        )
    return lines


def _held(op: Op) -> str:
    return f", {_count(op.parameters, 'parameters')}" if op.parameters else ""


def _verb(node: Node, verb: str) -> str:
    """What a node does, or several: `receives`, `receive`."""
    return verb if node.holds == 1 else verb.removesuffix("s")


def _next(trace: Trace, node: int) -> str:
    """The edges that leave a node, as text."""
    edges = trace.edges_of([node])
    return " → " + ", ".join(_target(trace, edge) for edge in edges) if edges else ""


def _target(trace: Trace, edge: Edge) -> str:
    node = trace.nodes[edge.target]
    earlier = " of an earlier time" if edge.again else ""
    if node.leaf is not None:
        return f"AccumulateGrad({tensor_label(trace, node.leaf)}){earlier}"
    if node.made is not None:
        return (
            node_label(trace, node.index)
            + (f"[{edge.input_nr}]" if edge.input_nr else "")
            + earlier
        )
    made = "" if node.op is None else f"({_output(trace, node.op)})"
    return (
        f"{short_node_name(node.name)}{made}"
        + (f"[{edge.input_nr}]" if edge.input_nr else "")
        + earlier
    )


def _output(trace: Trace, op: int) -> str:
    return tensor_label(trace, trace.ops[op].outputs[0])


def _backward(trace: Trace, step: Step) -> list[str]:
    node = trace.nodes[step.node or 0]
    got = "; ".join("none" if v is None else format_value(v, 60) for v in step.received)
    name = short_node_name(node.name) if node.made is None else node_label(trace, node.index)
    lines = [f"{name} {_verb(node, 'receives')} {got}"]
    if node.leaf is not None:
        before = "not yet" if step.before is None else format_value(step.before, 60)
        after = "None" if step.after is None else format_value(step.after, 60)
        lines.append(f"{tensor_label(trace, node.leaf)}.grad: {before} → {after}")
    for index, value in step.passed:
        edge = trace.edges[index]
        summed = " in sum" if edge.summed else ""
        lines.append(f"passes {format_value(value, 60)}{summed} to {_target(trace, edge)}")
    return lines + _made(trace, step)
