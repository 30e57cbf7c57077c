"""A step of a trace goes in, the sentence that the player speaks comes out, with the numbers of this run.

For common operations the sentence gives the local derivative: which rule a node applies, to which numbers. Nodes
without a rule say what they received and passed.
"""

from __future__ import annotations

from itertools import takewhile

from ..trace import Edge, Node, Op, Step, Trace
from ..trace.value import Value, sum_values
from .derivatives import passed_on
from .format import SENTENCE_CHARS, adds_up, format_bytes, format_value
from .labels import (
    is_gradient_sum,
    node_label,
    phase_words,
    read_label,
    short_node_name,
    tensor_label,
)

__all__ = ["sentence"]


def _value(value: Value | None) -> str:
    return format_value(value, SENTENCE_CHARS)


def sentence(trace: Trace, step: Step) -> str:
    """What happened in one step, in words and numbers."""
    head = (
        f"{step.phase.capitalize()} {trace.ordinal_of(step)} of {trace.count_steps(step.phase)}. "
    )
    return head + (_forward(trace, step) if step.phase == "forward" else _backward(trace, step))


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _forward(trace: Trace, step: Step) -> str:
    op = trace.ops[step.op or 0]
    made = _list([tensor_label(trace, i) for i in op.outputs])
    values = _list([_value(trace.tensors[i].value) for i in op.outputs])
    if op.factory:
        tensor = trace.tensors[op.outputs[0]]
        asks = "asks for a gradient" if tensor.requires_grad else "asks for no gradient"
        return f"{made} is made: {values}. It is a leaf and {asks}."
    if op.opaque:
        inside = 0 if op.call is None else _inside(trace, op)
        text = f"{op.name} makes {made}: {values}."
        if not inside:
            return f"{text} What happens inside cannot be seen from here."
        ran = (
            f"The {inside} operations before it are" if inside > 1 else "The operation before it is"
        )
        return f"{text} {ran} its forward, run without gradients: it has a backward of its own."
    if op.name.endswith(".step"):
        return f"{op.name} changes {made} in place, outside the graph."
    when = phase_words(trace, op)
    if op.inplace:
        text = f"{op.name} changes {made} in place: {values}."
    else:
        args = list(
            dict.fromkeys(a if isinstance(a, str) else read_label(trace, op, a) for a in op.args)
        )
        what = f"{op.name} ({op.module}, {_operations(op.holds)})" if op.module else op.name
        told = [arg for arg in args if op.name == "grad" and arg.endswith("=True")]
        args = [arg for arg in args if arg not in told]
        text = f"{what} makes {made}" + (f" from {_list(args)}" if args else "")
        text += (f", with {_list(told)}" if told else "") + f": {values}."
    start = f"{when[:1].upper()}{when[1:]}: " if when else ""
    return start + text + _graph(trace, op) + _repeated(trace, op)


MANY = 4
"""More nodes than this are counted instead of named."""


def _made(trace: Trace, step: Step) -> str:
    """The nodes that a recorded backward pass has made in a step."""
    nodes = [trace.nodes[i] for i in trace.nodes_made_in(step.index)]
    text = ""
    for own in (False, True):
        some = [node for node in nodes if is_gradient_sum(node) != own]
        if not some:
            continue
        what = _list([node_label(trace, node.index) for node in some])
        if len(some) > MANY:
            what = f"{len(some)} nodes"
        generation = f"generation {some[0].generation}"
        if own:
            text += f"\nThis pass is recorded too: here it makes {what}, {generation}."
        else:
            text += f"\nOn the way here gradients met: {what}, {generation}, add{'s' * (len(some) == 1)} them."
    return text


def _differentiable(trace: Trace, op: Op, made: list[Node]) -> str:
    """What the call of `grad` says of its recorded pass."""
    first = next(
        (n for n in made if any(trace.tensors[i].node == n.index for i in op.outputs)), None
    )
    nodes = f"{len(made)} node{'s' if len(made) > 1 else ''}"
    text = (
        f" Its backward pass was recorded: it has made {nodes} of generation {made[0].generation}"
    )
    if first is None:
        return text + "."
    result = next(i for i in op.outputs if trace.tensors[i].node == first.index)
    return f"{text}, and {tensor_label(trace, result)} hangs from {node_label(trace, first.index)}."


def _operations(number_of: int) -> str:
    return f"{number_of:,} operation{'s' if number_of > 1 else ''}"


def _parameters(number_of: int) -> str:
    return f"{number_of:,} parameters lie" if number_of > 1 else "One parameter lies"


def _repeated(trace: Trace, op: Op) -> str:
    """How often an operation of a rolled-up block ran; for the first of a block, what that means."""
    if op.times == 1:
        return ""
    if op.index and trace.ops[op.index - 1].block == op.block:
        return f" That is the last of {op.times:,} times."
    following = (other.block == op.block for other in trace.ops[op.index :])
    same = sum(1 for _ in takewhile(bool, following))
    ran = f"This operation ran {op.times:,} times"
    if same > 1:
        ran = f"The same {same} operations ran {op.times:,} times"
    return f" {ran}; the values are those of the last time."


def _inside(trace: Trace, op: Op) -> int:
    """How many operations ran in the call of an opaque one; not always just before it: it is found at its first use."""
    return sum(other.call == op.call and not other.opaque for other in trace.ops)


def _graph(trace: Trace, op: Op) -> str:
    """What an operation left in the graph: a node or none, and what that keeps."""
    nodes = [trace.nodes[i] for i in trace.nodes_of(op.index)]
    made = [node for node in nodes if node.made is not None]
    if made:
        met = [
            node
            for node in made
            if is_gradient_sum(node) and node.made == trace.step_of(op.index).index
        ]
        return _differentiable(trace, op, made) + (
            _made(trace, trace.step_of(op.index)) if met else ""
        )
    results = [i for i in op.outputs if op.name == "grad" and trace.tensors[i].node is not None]
    if results and not nodes:
        ends = [
            f"{tensor_label(trace, i)} hangs from {node_label(trace, trace.tensors[i].node or 0)}"
            for i in results
        ]
        return f" Its backward pass was recorded: {_list(ends)}."
    if not nodes:
        if op.name == "grad" and op.grad_enabled and "create_graph=True" not in op.args:
            return " Its backward pass was not recorded (create_graph is False): no node is made."
        if op.inputs and not op.grad_enabled:
            return " Gradients are off here: no node is made."
        if any(trace.tensors[i].requires_grad for i in op.inputs):
            return " No gradient flows through it: no node is made."
        return " No input asks for a gradient: no node is made."
    kept = {s.storage: s for node in nodes for s in node.saved}
    text = f" It leaves {_list([short_node_name(node.name) for node in nodes])} in the graph"
    if op.module or op.times > 1:
        each = " each time" if op.times > 1 else ""
        much = f"{format_bytes(sum(s.nbytes for s in kept.values()))} in all" if kept else "nothing"
        inside = f" {_parameters(op.parameters)} in it." if op.parameters else ""
        return f"{text}{each}, keeping {much} for backward.{inside}"
    if not kept:
        return text + ", which keeps nothing."
    names = list(dict.fromkeys(_kept_name(trace, op, s.tensor, s.name) for s in kept.values()))
    return (
        text
        + f", keeping {_list(names)} for backward ({format_bytes(sum(s.nbytes for s in kept.values()))})."
    )


def _kept_name(trace: Trace, op: Op, tensor: int | None, attribute: str) -> str:
    if tensor is None:
        return attribute
    if tensor in op.outputs:
        return "its result"
    return tensor_label(trace, tensor)


def _backward(trace: Trace, step: Step) -> str:
    node = trace.nodes[step.node or 0]
    got = [_value(v) for v in step.received if v is not None]
    receives = f"receive{'' if node.holds > 1 else 's'} {_list(got) if got else 'nothing'}."
    text = f"{_subject(trace, node)} {receives}"
    if node.times > 1:
        text = f"{_subject(trace, node)}, one of {node.times:,} alike, {receives}"
    text += _difference(trace, step, node)
    if node.leaf is not None:
        return f"{text} {_filled(trace, node.leaf, step)}{_made(trace, step)}"
    for index, value in step.passed:
        edge = trace.edges[index]
        to, time = _receiver(trace, edge), " of an earlier time" if edge.again else ""
        text += f"\nTo {to}{time} it passes {passed_on(trace, edge, step, value, to)}."
        text += _arrival(trace, step, edge)
    return text + _made(trace, step)


def _difference(trace: Trace, step: Step, node: Node) -> str:
    """A word where a node received something else than what its edges brought."""
    if node.times > 1:
        return ""
    for nr, value in enumerate(step.received):
        parts = [v for _, v in _meeting(trace, step.pass_nr, node.index, nr)]
        if value is not None and parts and not adds_up(parts, value):
            return (
                f" Its edges brought {_value(sum_values(parts))}: a hook, or a gradient with which backward began, "
                "has made the difference."
            )
    return ""


def _meeting(trace: Trace, run: int, node: int, output: int) -> list[tuple[tuple[int, int], Value]]:
    """What travelled to one output of a node in one backward run: ((step, edge), gradient), in order."""
    return [
        ((step.index, edge.index), value)
        for step, edge, value in trace.arrivals_at(node)
        if step.pass_nr == run and edge.input_nr == output
    ]


def _filled(trace: Trace, leaf: int, step: Step) -> str:
    """What a leaf's node did to its `.grad`."""
    name = f"{tensor_label(trace, leaf)}.grad"
    if step.after is None:
        return f"{name} is None afterwards: a hook took it away."
    if step.before is None:
        return f"{name} was None and is now {_value(step.after)}."
    parts = [step.before, *(value for value in step.received if value is not None)]
    if _value(sum_values(parts)) == _value(step.after):
        return f"It adds that to {name}: {_sum(parts, step.after)}."
    return (
        f"It adds that to {name}, which was {_value(step.before)} and is now {_value(step.after)}."
    )


def _subject(trace: Trace, node: Node) -> str:
    """A node by its name; that of a folded module also by the module's."""
    op = None if node.op is None else trace.ops[node.op]
    inside = f" of {op.name}" if op is not None and op.module else ""
    if node.made is not None:
        how = f"generation {node.generation}"
        if node.within is not None:
            how += f", made while {node_label(trace, node.within)} ran backward"
        return f"{node_label(trace, node.index)} ({how})"
    return f"{'The ' if node.holds > 1 else ''}{short_node_name(node.name)}{inside}"


def _sum(parts: list[Value], total: Value | None) -> str:
    return f"{' + '.join(_value(part) for part in parts)} = {_value(total)}"


def _receiver(trace: Trace, edge: Edge) -> str:
    node = trace.nodes[edge.target]
    if node.leaf is not None:
        return tensor_label(trace, node.leaf)
    if node.made is not None:
        return node_label(trace, node.index)
    if node.op is None or trace.main_node(node.op) != node.index:
        return short_node_name(node.name)
    output = next(
        (
            i
            for i in trace.ops[node.op].outputs
            if (trace.tensors[i].node, trace.tensors[i].output_nr) == (node.index, edge.input_nr)
        ),
        None,
    )
    return short_node_name(node.name) if output is None else tensor_label(trace, output)


def _arrival(trace: Trace, step: Step, edge: Edge) -> str:
    """Where several gradients meet: the sum as far as it is made by now."""
    meeting = _meeting(trace, step.pass_nr, edge.target, edge.input_nr)
    if len(meeting) < 2 or edge.again:
        return ""
    place = next(i for i, part in enumerate(meeting) if part[0] == (step.index, edge.index))
    if place + 1 < len(meeting):
        return f" That is part {place + 1} of {len(meeting)} of its gradient."
    parts = [value for _, value in meeting]
    return f" That is the last part; the parts are added: {_sum(parts, sum_values(parts))}."
