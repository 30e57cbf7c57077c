"""A trace and an index go in, what people call that tensor, operation or node comes out: the same in all pictures."""

from __future__ import annotations

from ..trace import Node, Op, Trace
from ..trace.steps import shown_from

__all__ = [
    "is_gradient_sum",
    "maker_of_pass",
    "node_label",
    "op_call",
    "op_step",
    "phase_words",
    "read_label",
    "short_node_name",
    "tensor_label",
    "written_args",
]


def short_node_name(node_name: str) -> str:
    """A node's name without its C++ namespace: `AccumulateGrad`, `CopySlices`."""
    return node_name.rpartition("::")[2]


def op_step(trace: Trace, op: int) -> int:
    """The number, counted from 1, of the step in which an operation ran."""
    return shown_from(trace.step_of(op).index)


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
    is_only = index not in op.outputs or op.results == (index,)
    return label if is_only else f"{label}[{op.outputs.index(index)}]"


def read_label(trace: Trace, op: Op, index: int) -> str:
    """A tensor as an operation reads it: in a rolled-up block that may be what the time before has made."""
    maker = trace.tensors[index].op
    before = op.times > 1 and maker is not None and maker >= op.index
    return tensor_label(trace, index) + (" of the time before" if before else "")


def op_call(trace: Trace, op: Op) -> str:
    """An operation as a call with its result: `y = mul(x, w)`."""
    names = [trace.tensors[i].name for i in op.outputs]
    left = ", ".join(name or "_" for name in names) + " = " if any(names) else ""
    return f"{left}{op.name}({', '.join(written_args(trace, op))})"


def written_args(trace: Trace, op: Op) -> list[str]:
    """The arguments of an operation's call, tensors by name; those in an index where they stand in it."""
    args = [arg if isinstance(arg, str) else read_label(trace, op, arg) for arg in op.args]
    for position, arg in enumerate(op.args):
        if isinstance(arg, str) and arg.startswith("[") and "{}" in arg:
            end = position + 1 + arg.count("{}")
            inside = iter(args[position + 1 : end])
            text = "".join(part + next(inside, "") for part in arg.split("{}"))
            return [*args[:position], text, *args[end:]]
    return args


def phase_words(trace: Trace, op: Op) -> str:
    """In which backward an operation ran, in words; empty for one that ran forward."""
    node = "a hook" if op.within is None else short_node_name(trace.nodes[op.within].name)
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
        return short_node_name(node.name) + (
            "" if made is None else f"({tensor_label(trace, made)})"
        )
    alike = [i for i in trace.nodes_made_in(node.made) if trace.nodes[i].name == node.name]
    which = f".{alike.index(index) + 1}" if len(alike) > 1 else ""
    return f"{short_node_name(node.name)}#{shown_from(node.made)}{which}"


def is_gradient_sum(node: Node) -> bool:
    """Whether a node that a backward pass made is PyTorch's own sum, where gradients met on the way to a node."""
    return node.made is not None and node.within is None and node.name == "AddBackward0"


def maker_of_pass(trace: Trace, run: int) -> str:
    """Which call ran a backward pass that was recorded itself: `slope = grad`, `grad#3`, `backward`."""
    own = (node.op for node in trace.nodes if node.pass_nr == run and node.made is not None)
    call = next((op for op in own if op is not None), None)
    if call is None:
        last = max(s.index for s in trace.steps if s.node is not None and s.pass_nr == run)
        after = next((step for step in trace.steps if step.index > last), None)
        call = None if after is None else after.op
        if call is None or trace.ops[call].name != "grad":
            return "backward"
    op = trace.ops[call]
    names = [trace.tensors[i].name for i in op.outputs]
    left = ", ".join(name or "_" for name in names)
    return f"{left} = {op.name}" if any(names) else f"{op.name}#{op_step(trace, op.index)}"
