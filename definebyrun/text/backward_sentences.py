"""A backward step goes in, what its node received and passed comes out, in words and numbers.

For common operations the sentence gives the local derivative: which rule a node applies, to which numbers. Nodes
without a rule say what they received and passed.
"""

from __future__ import annotations

from ..trace import Edge, Node, Step, Trace
from ..trace.value import Value, sum_values
from .derivatives import passed_on
from .format import adds_up, enumerated, sentence_value
from .graph_sentences import made_in_pass
from .labels import node_label, short_node_name, tensor_label

__all__ = ["backward_sentence"]

Arrival = tuple[tuple[int, int], Value]
"""The step and the edge of a gradient that arrives, and the gradient."""


def backward_sentence(trace: Trace, step: Step) -> str:
    """What happened in a backward step; a line for each edge that a gradient went along."""
    node = trace.nodes[step.node or 0]
    text = f"{_receives(trace, step, node)}{_unexplained(trace, step, node)}"
    if node.leaf is not None:
        return f"{text} {_accumulated(trace, node.leaf, step)}{made_in_pass(trace, step)}"
    for index, value in step.passed:
        edge = trace.edges[index]
        receiver, time = _receiver(trace, edge), " of an earlier time" if edge.again else ""
        text += f"\nTo {receiver}{time} it passes {passed_on(trace, edge, step, value, receiver)}."
        text += _sum_so_far(trace, step, edge)
    return text + made_in_pass(trace, step)


def _receives(trace: Trace, step: Step, node: Node) -> str:
    got = [sentence_value(value) for value in step.received if value is not None]
    receives = f"receive{'' if node.holds > 1 else 's'} {enumerated(got) if got else 'nothing'}."
    if node.times > 1:
        return f"{_subject(trace, node)}, one of {node.times:,} alike, {receives}"
    return f"{_subject(trace, node)} {receives}"


def _subject(trace: Trace, node: Node) -> str:
    """A node by its name; that of a folded module also by the module's."""
    if node.made is not None:
        how = f"generation {node.generation}"
        if node.within is not None:
            how += f", made while {node_label(trace, node.within)} ran backward"
        return f"{node_label(trace, node.index)} ({how})"
    op = None if node.op is None else trace.ops[node.op]
    module = f" of {op.name}" if op is not None and op.module else ""
    return f"{'The ' if node.holds > 1 else ''}{short_node_name(node.name)}{module}"


def _unexplained(trace: Trace, step: Step, node: Node) -> str:
    """A word where a node received something else than what its edges brought."""
    if node.times > 1:
        return ""
    for output, value in enumerate(step.received):
        parts = [part for _, part in _arrivals(trace, step.pass_nr, node.index, output)]
        if value is not None and parts and not adds_up(parts, value):
            return (
                f" Its edges brought {sentence_value(sum_values(parts))}: a hook, or a gradient with which "
                "backward began, has made the difference."
            )
    return ""


def _arrivals(trace: Trace, run: int, node: int, output: int) -> list[Arrival]:
    """What travelled to one output of a node in one backward pass, in order."""
    return [
        ((step.index, edge.index), value)
        for step, edge, value in trace.arrivals_at(node)
        if step.pass_nr == run and edge.input_nr == output
    ]


def _accumulated(trace: Trace, leaf: int, step: Step) -> str:
    """What an `AccumulateGrad` did to the `.grad` of its leaf."""
    name = f"{tensor_label(trace, leaf)}.grad"
    if step.after is None:
        return f"{name} is None afterwards: a hook took it away."
    now = sentence_value(step.after)
    if step.before is None:
        return f"{name} was None and is now {now}."
    parts = [step.before, *(value for value in step.received if value is not None)]
    if sentence_value(sum_values(parts)) == now:
        return f"It adds that to {name}: {_sum(parts, step.after)}."
    return f"It adds that to {name}, which was {sentence_value(step.before)} and is now {now}."


def _sum(parts: list[Value], total: Value | None) -> str:
    return f"{' + '.join(sentence_value(part) for part in parts)} = {sentence_value(total)}"


def _receiver(trace: Trace, edge: Edge) -> str:
    """Who gets what goes along an edge: a tensor by name where the node is its `grad_fn`, else the node."""
    node = trace.nodes[edge.target]
    if node.leaf is not None:
        return tensor_label(trace, node.leaf)
    if node.made is not None:
        return node_label(trace, node.index)
    if node.op is not None and trace.main_node(node.op) == node.index:
        for index in trace.ops[node.op].outputs:
            tensor = trace.tensors[index]
            if (tensor.node, tensor.output_nr) == (node.index, edge.input_nr):
                return tensor_label(trace, index)
    return short_node_name(node.name)


def _sum_so_far(trace: Trace, step: Step, edge: Edge) -> str:
    """Where several gradients meet: the sum as far as it is made by now."""
    arrivals = _arrivals(trace, step.pass_nr, edge.target, edge.input_nr)
    if len(arrivals) < 2 or edge.again:
        return ""
    number = 1 + [where for where, _ in arrivals].index((step.index, edge.index))
    if number < len(arrivals):
        return f" That is part {number} of {len(arrivals)} of its gradient."
    parts = [value for _, value in arrivals]
    return f" That is the last part; the parts are added: {_sum(parts, sum_values(parts))}."
