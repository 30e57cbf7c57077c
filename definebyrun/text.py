"""A trace goes in, canonical text comes out: the same run gives the same characters in any process.

This is the `text/plain` of every drawing, so it is what notebooks are compared by: it names every tensor,
operation, node, edge and gradient that a drawing shows, and nothing of its geometry.
"""

from __future__ import annotations

from functools import lru_cache

from .trace import Edge, Node, Op, Step, Tensor, Trace
from .values import Value, total

__all__ = [
    "Facts",
    "adds",
    "adds_up",
    "brief",
    "canonical",
    "during",
    "facts",
    "grad_text",
    "head",
    "lay_out",
    "made_by",
    "node_label",
    "number",
    "op_call",
    "op_step",
    "read_label",
    "short",
    "size",
    "tensor_label",
]


def number(value: complex | float | int | bool) -> str:
    """A number as people write it, four significant digits: `0.3333`, `6`, `-2.5e-07`, `True`.

    >>> [number(v) for v in (1.0, -0.0, 1 / 3, 12345678.0, True)]
    ['1', '0', '0.3333', '1.235e+07', 'True']
    """
    if type(value) is float:  # most of all
        return f"{value:.4g}" if value else "0"
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, complex):
        sign = "-" if value.imag < 0 else "+"
        return f"{number(value.real)}{sign}{number(abs(value.imag))}j"
    return f"{value + 0.0:.4g}" if value else "0"


def brief(value: Value | None, width: int = 22) -> str:
    """A value in at most about `width` characters: its content when that fits, else its shape and range.

    >>> brief(Value((3,), "float32", (0.5, -2.0, 6.0)))
    '[0.5, -2, 6]'
    >>> brief(Value((64, 10), "float32", None, -1.5, 2.25))
    '64×10 in [-1.5, 2.25]'
    >>> brief(Value((3, 2), "float32", (0.6, 0.8, float("nan"), float("nan"), 1.0, 2.0)))
    '3×2 in [0.6, 2], 2 nan'
    """
    if value is None:
        return "not yet"
    if value.data is not None and len(value.data) * 2 <= width + 2:
        text = _nested(value.tolist())
        if len(text) <= width:
            return text
    shape = _shape(value.shape)
    bounds = value.bounds()
    if bounds is None:
        return f"{shape} {value.dtype}"[:width]
    low, high = bounds
    if low != low:
        return _broken(value, shape, width)
    for text in _ranged(shape, low, high):
        if len(text) <= width:
            return text
    return f"{shape} {value.dtype}"[:width]


@lru_cache(maxsize=1024)
def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


@lru_cache(maxsize=4096)  # a gradient is shown where it leaves and where it arrives
def _ranged(shape: str, low: float, high: float) -> tuple[str, str]:
    """A shape and a range, in more and in fewer characters."""
    full = f"{shape} in [{number(low)}, {number(high)}]"
    if low == high:
        full = f"{shape}, all {number(low)}"
    return full, f"{shape} [{low + 0.0:.2g}, {high + 0.0:.2g}]"


def _broken(value: Value, shape: str, width: int) -> str:
    """A value in which there is what is no number: that is counted, and the range is that of the rest."""
    whole = value.data or ()
    numbers = [n for n in whole if n == n]
    if not numbers:
        return f"{shape}, all nan" if whole else f"{shape} in [nan, nan]"
    low, high = float(min(numbers)), float(max(numbers))  # type: ignore[type-var]
    count = f"{len(whole) - len(numbers)} nan"
    text = f"{shape} in [{number(low)}, {number(high)}], {count}"
    return text if len(text) <= width else f"{shape}, {count}"[:width]


def adds_up(parts: list[Value], value: Value) -> bool:
    """Whether a value is the sum of parts, as far as their numbers are known.

    >>> one, two = (Value((), "float32", (float(n),)) for n in (1, 2))
    >>> adds_up([one, one], two), adds_up([one, two], two)
    (True, False)
    """
    made = total(parts)
    unknown = made.data is None
    return unknown or brief(made, 40) == brief(value, 40)


def _nested(content: object) -> str:
    if isinstance(content, list):
        return "[" + ", ".join(map(_nested, content)) + "]"
    return number(content)  # type: ignore[arg-type]


def size(nbytes: int) -> str:
    """Bytes as people write them.

    >>> size(24), size(4096), size(3_500_000)
    ('24 B', '4 KiB', '3.34 MiB')
    """
    if nbytes < 1024:
        return f"{nbytes} B"
    for unit in ("KiB", "MiB"):
        nbytes /= 1024  # type: ignore[assignment]
        if nbytes < 1024:
            return f"{nbytes:.3g} {unit}" if nbytes < 100 else f"{nbytes:.0f} {unit}"
    return f"{nbytes / 1024:.3g} GiB"


def short(node_name: str) -> str:
    """A node's name without its C++ namespace: `AccumulateGrad`, `CopySlices`."""
    return node_name.rpartition("::")[2]


def op_step(trace: Trace, op: int) -> int:
    """The number, counted from 1, of the step in which an operation ran."""
    return trace.step_of(op).index + 1


def tensor_label(trace: Trace, index: int) -> str:
    """A tensor's name; `relu#3` for the unnamed result of the operation of step 3, `tensor` for other unnamed ones."""
    tensor = trace.tensors[index]
    if tensor.name is not None:
        return tensor.name
    if tensor.op is None:
        return "tensor"
    op = trace.ops[tensor.op]
    if op.factory:
        return op.name
    label = f"{op.name}#{op_step(trace, op.index)}"
    return (
        f"{label}[{op.outputs.index(index)}]"
        if len(op.outputs) > 1 and index in op.outputs
        else label
    )


def read_label(trace: Trace, op: Op, index: int) -> str:
    """A tensor as an operation reads it: in a rolled-up block that may be what the time before has made."""
    maker = trace.tensors[index].op
    before = op.times > 1 and maker is not None and maker >= op.index
    return tensor_label(trace, index) + (" of the time before" if before else "")


def op_call(trace: Trace, op: Op) -> str:
    """An operation as a call with its result: `y = mul(x, w)`."""
    names = [trace.tensors[i].name for i in op.outputs]
    left = ", ".join(name or "_" for name in names) + " = " if any(names) else ""
    args = (arg if isinstance(arg, str) else read_label(trace, op, arg) for arg in op.args)
    return f"{left}{op.name}({', '.join(args)})"


def during(trace: Trace, op: Op) -> str:
    """In which backward an operation ran, in words; empty for one that ran forward."""
    node = "a hook" if op.within is None else short(trace.nodes[op.within].name)
    return {"backward": f"in the backward of {node}", "recompute": f"recomputed for {node}"}.get(
        op.during, ""
    )


def node_label(trace: Trace, index: int) -> str:
    """A node and what it belongs to: `MulBackward0(y)`; `MulBackward0#3` where a backward pass made it, in step 3."""
    node = trace.nodes[index]
    if node.leaf is not None:
        return f"AccumulateGrad({tensor_label(trace, node.leaf)})"
    results = () if node.op is None else trace.ops[node.op].outputs
    own = next((i for i in results if trace.tensors[i].node == index), None)
    if node.made is None or own is not None:
        made = own if own is not None else next(iter(results), None)
        return short(node.name) + ("" if made is None else f"({tensor_label(trace, made)})")
    alike = [i for i in trace.nodes_made_in(node.made) if trace.nodes[i].name == node.name]
    which = f".{alike.index(index) + 1}" if len(alike) > 1 else ""
    return f"{short(node.name)}#{node.made + 1}{which}"


def adds(node: Node) -> bool:
    """Whether a node that a backward pass made is PyTorch's own sum, where gradients met on the way to a node."""
    return node.made is not None and node.within is None and node.name == "AddBackward0"


def made_by(trace: Trace, run: int) -> str:
    """Which call ran a backward pass that was recorded itself: `slope = grad`, `grad#3`, `backward`."""
    own = (node.op for node in trace.nodes if node.run == run and node.made is not None)
    call = next((op for op in own if op is not None), None)
    if call is None:
        last = max(s.index for s in trace.steps if s.node is not None and s.run == run)
        after = next((step for step in trace.steps if step.index > last), None)
        call = None if after is None else after.op
        if call is None or trace.ops[call].name != "grad":
            return "backward"
    op = trace.ops[call]
    names = [trace.tensors[i].name for i in op.outputs]
    left = ", ".join(name or "_" for name in names)
    return f"{left} = {op.name}" if any(names) else f"{op.name}#{op_step(trace, op.index)}"


def canonical(trace: Trace) -> str:
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
        lines.append(f"generation {generation}: {number_of}, made by {made_by(trace, run)}")
    return lines + ([f"stopped by {trace.error}"] if trace.error else [])


def _passes(trace: Trace) -> dict[int, list[Node]]:
    """By backward pass that was recorded itself: the nodes that it made."""
    found: dict[int, list[Node]] = {}
    for node in trace.nodes:
        if node.run is not None:
            found.setdefault(node.run, []).append(node)
    return dict(sorted(found.items()))


def facts(trace: Trace) -> Facts:
    """The lines of each part: leaves by index of the tensor, graph by index of the node, steps by theirs."""
    loose = [n for n in trace.nodes if n.op is None and n.leaf is None and n.made is None]
    return {
        "leaves": {tensor.index: [_leaf(trace, tensor)] for tensor in trace.leaves},
        "graph": {
            n.index: [f"{_named(trace, n)}{_times(n)}{_next(trace, n.index)}"] for n in loose
        },
        "steps": {
            step.index: (_forward if step.phase == "forward" else _backward)(trace, step)
            for step in trace.steps
        },
    }


def lay_out(first: list[str], found: Facts) -> str:
    """Lines of facts under their headings; steps with their numbers."""
    lines = list(first)
    for part, entries in found.items():
        if entries:
            lines.append(part)
        width = len(str(len(entries)))
        for index, (line, *rest) in entries.items():
            number = f"{index + 1:>{width}}  " if part == "steps" else ""
            lines.append(f"  {number}{line}")
            lines += [f"  {'':>{width}}    {more}" for more in rest]
    return "\n".join(lines)


def _count(number_of: int, word: str) -> str:
    return f"{number_of} {word if number_of != 1 else word.removesuffix('s')}"


def _named(trace: Trace, node: Node) -> str:
    """A node without a recorded operation, with the tensors that hang from it."""
    results = [t for t in trace.tensors if t.node == node.index and t.op is None]
    held = "; ".join(f"{t.name or 'tensor'}: {brief(t.value, 60)}" for t in results)
    return short(node.name) + (f" ({held})" if held else "")


def _times(node: Node) -> str:
    return f" (the last of {node.times:,} times)" if node.times > 1 else ""


def _leaf(trace: Trace, tensor: Tensor) -> str:
    kinds = dict.fromkeys(t.kind for t in trace.family(tensor.index) if t.kind != "result")
    text = f"{tensor_label(trace, tensor.index)}: {', then '.join(kinds)} {brief(tensor.value, 60)}"
    if not trace.steps or all(t.node is None for t in trace.family(tensor.index)):
        return text
    return f"{text}, grad {grad_text(trace, tensor.index)}"


def grad_text(trace: Trace, leaf: int, width: int = 60) -> str:
    """What a leaf's `.grad` holds in the end: `not yet` when nothing ever came, `None` when it was taken away."""
    history = trace.grads_of(leaf)
    if not history:
        return "not yet"
    return "None" if history[-1][1] is None else brief(history[-1][1], width)


def _forward(trace: Trace, step: Step) -> list[str]:
    op = trace.ops[step.op or 0]
    values = "; ".join(brief(trace.tensors[i].value, 60) for i in op.outputs)
    marks = [
        word
        for word, on in (
            ("in place", op.inplace),
            ("opaque", op.opaque),
            ("no grad", not op.grad_enabled),
            (during(trace, op), op.during),
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
        kept = ", ".join(f"{s.name} {size(s.nbytes)}" for s in node.saved)
        if kept and node.holds * node.times > 1:
            kept = f"{size(sum(s.nbytes for s in node.saved))} in all"
        lines.append(
            f"{short(node.name)}{_next(trace, index)}"
            + (f" {_verb(node, 'keeps')} {kept}" if kept else "")
        )
    return lines + _made(trace, step)


def _made(trace: Trace, step: Step) -> list[str]:
    """The nodes that a recorded backward pass made in a step."""
    lines = []
    for index in trace.nodes_made_in(step.index):
        node = trace.nodes[index]
        kept = ", ".join(f"{s.name} {size(s.nbytes)}" for s in node.saved)
        how = ", where gradients meet" if adds(node) else ""
        lines.append(
            f"makes {node_label(trace, index)}, generation {node.generation}{how}: "
            f"{brief(node.value, 60) if node.value else 'no shape'}{_next(trace, index)}"
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
    return f"{short(node.name)}{made}" + (f"[{edge.input_nr}]" if edge.input_nr else "") + earlier


def _output(trace: Trace, op: int) -> str:
    return tensor_label(trace, trace.ops[op].outputs[0])


def _backward(trace: Trace, step: Step) -> list[str]:
    node = trace.nodes[step.node or 0]
    got = "; ".join("none" if v is None else brief(v, 60) for v in step.received)
    name = short(node.name) if node.made is None else node_label(trace, node.index)
    lines = [f"{name} {_verb(node, 'receives')} {got}"]
    if node.leaf is not None:
        before = "not yet" if step.before is None else brief(step.before, 60)
        after = "None" if step.after is None else brief(step.after, 60)
        lines.append(f"{tensor_label(trace, node.leaf)}.grad: {before} → {after}")
    for index, value in step.passed:
        edge = trace.edges[index]
        summed = " in sum" if edge.summed else ""
        lines.append(f"passes {brief(value, 60)}{summed} to {_target(trace, edge)}")
    return lines + _made(trace, step)
