"""An operation, or a step, goes in; what it has put into the backward graph comes out, in words.

An operation leaves nodes with saved tensors, or none, and then there is a reason. A backward pass that is recorded
itself makes nodes too, of the next generation.
"""

from __future__ import annotations

from ..trace import Node, Op, Step, Trace
from .format import enumerated, format_bytes
from .labels import is_gradient_sum, node_label, short_node_name, tensor_label

__all__ = ["left_in_graph", "made_in_pass", "operations"]

MAX_NAMED_NODES = 4
"""More nodes than this are counted instead of named."""


def operations(number_of: int) -> str:
    """A number of operations in words."""
    return f"{number_of:,} operation{'s' if number_of > 1 else ''}"


def left_in_graph(trace: Trace, op: Op) -> str:
    """What an operation left in the graph: a node or none, and what that keeps."""
    nodes = [trace.nodes[i] for i in trace.nodes_of(op.index)]
    made = [node for node in nodes if node.made is not None]
    if made:
        step = trace.step_of(op.index)
        met = any(is_gradient_sum(node) and node.made == step.index for node in made)
        return _recorded_pass(trace, op, made) + (made_in_pass(trace, step) if met else "")
    if not nodes:
        return _no_node(trace, op)
    return (
        f" It leaves {enumerated([short_node_name(node.name) for node in nodes])} in the graph"
        + (_kept_in_all(op, nodes) if op.module or op.times > 1 else _kept(trace, op, nodes))
    )


def _kept(trace: Trace, op: Op, nodes: list[Node]) -> str:
    """What the nodes of one operation keep, by name."""
    saved = {s.storage: s for node in nodes for s in node.saved}
    if not saved:
        return ", which keeps nothing."
    names = dict.fromkeys(_kept_name(trace, op, s.tensor, s.name) for s in saved.values())
    nbytes = format_bytes(sum(s.nbytes for s in saved.values()))
    return f", keeping {enumerated([*names])} for backward ({nbytes})."


def _kept_in_all(op: Op, nodes: list[Node]) -> str:
    """What the nodes of a folded module, or of all repetitions, keep together."""
    saved = {s.storage: s.nbytes for node in nodes for s in node.saved}
    each = " each time" if op.times > 1 else ""
    much = f"{format_bytes(sum(saved.values()))} in all" if saved else "nothing"
    inside = ""
    if op.parameters:
        many = op.parameters > 1
        inside = (
            f" {op.parameters:,} parameters lie in it." if many else " One parameter lies in it."
        )
    return f"{each}, keeping {much} for backward.{inside}"


def _kept_name(trace: Trace, op: Op, tensor: int | None, attribute: str) -> str:
    """What a saved tensor is called: by its own name, else by that of the node's attribute."""
    if tensor is None:
        return attribute
    if tensor in op.results:
        return "its result"
    return tensor_label(trace, tensor)


def _no_node(trace: Trace, op: Op) -> str:
    """Why an operation left no node."""
    results = [i for i in op.outputs if op.name == "grad" and trace.tensors[i].node is not None]
    if results:
        ends = [
            f"{tensor_label(trace, i)} hangs from {node_label(trace, trace.tensors[i].node or 0)}"
            for i in results
        ]
        return f" Its backward pass was recorded: {enumerated(ends)}."
    if op.name == "grad" and op.grad_enabled and "create_graph=True" not in op.args:
        return " Its backward pass was not recorded (create_graph is False): no node is made."
    if op.inputs and not op.grad_enabled:
        return " Gradients are off here: no node is made."
    if any(trace.tensors[i].requires_grad for i in op.inputs):
        return " No gradient flows through it: no node is made."
    return " No input asks for a gradient: no node is made."


def _recorded_pass(trace: Trace, op: Op, made: list[Node]) -> str:
    """What the call of `grad` says of the nodes that its recorded pass has made."""
    nodes = f"{len(made)} node{'s' if len(made) > 1 else ''} of generation {made[0].generation}"
    text = f" Its backward pass was recorded: it has made {nodes}"
    ends = {trace.tensors[i].node: i for i in reversed(op.outputs)}
    first = next((node.index for node in made if node.index in ends), None)
    if first is None:
        return text + "."
    return f"{text}, and {tensor_label(trace, ends[first])} hangs from {node_label(trace, first)}."


def made_in_pass(trace: Trace, step: Step) -> str:
    """The nodes that a recorded backward pass made in a step: sums of gradients on the way, and the node's own."""
    nodes = [trace.nodes[i] for i in trace.nodes_made_in(step.index)]
    text = ""
    sums = [node for node in nodes if is_gradient_sum(node)]
    if sums:
        verb = "adds" if len(sums) == 1 else "add"
        text += f"\nOn the way here gradients met: {_named(trace, sums)}, {verb} them."
    own = [node for node in nodes if not is_gradient_sum(node)]
    if own:
        text += f"\nThis pass is recorded too: here it makes {_named(trace, own)}."
    return text


def _named(trace: Trace, nodes: list[Node]) -> str:
    """Nodes of one generation by name, or where they are many, by number."""
    names = f"{len(nodes)} nodes"
    if len(nodes) <= MAX_NAMED_NODES:
        names = enumerated([node_label(trace, node.index) for node in nodes])
    return f"{names}, generation {nodes[0].generation}"
