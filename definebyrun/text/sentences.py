"""A step of a trace goes in, the sentence that the player speaks comes out, with the numbers of this run.

Here is what a forward step says: the call, its values, how often it ran. What it left in the graph stands in
`graph_sentences.py`, what a backward step says in `backward_sentences.py`.
"""

from __future__ import annotations

from itertools import takewhile

from ..trace import Op, Step, Trace
from .backward_sentences import backward_sentence
from .format import enumerated, sentence_value
from .graph_sentences import left_in_graph, operations
from .labels import phase_words, tensor_label, written_args

__all__ = ["sentence"]


def sentence(trace: Trace, step: Step) -> str:
    """What happened in one step, in words and numbers."""
    number, number_of = trace.ordinal_of(step), trace.count_steps(step.phase)
    head = f"{step.phase.capitalize()} {number} of {number_of}. "
    if step.phase == "backward":
        return head + backward_sentence(trace, step)
    return head + _forward_sentence(trace, trace.ops[step.op or 0])


def _forward_sentence(trace: Trace, op: Op) -> str:
    made, values = _outputs(trace, op.results)
    if op.factory:
        tensor = trace.tensors[op.outputs[0]]
        asks = "asks for a gradient" if tensor.requires_grad else "asks for no gradient"
        return f"{made} is made: {values}. It is a leaf and {asks}."
    if op.opaque and op.inplace:
        have = "has" if len(op.outputs) == 1 else "have"
        return (
            f"{made} {have} changed without a call that was seen: {values}. Something else wrote into this memory: "
            "NumPy, a native library or another thread, say."
        )
    if op.opaque:
        return f"{op.name} makes {made}: {values}. {_inside_opaque(trace, op)}"
    if op.is_optimizer_step:
        return f"{op.name} changes {made} in place, outside the graph."
    changes = op.inplace and not op.beside
    text = f"{op.name} changes {made} in place" if changes else _makes(trace, op, made)
    when = phase_words(trace, op)
    start = f"{when[:1].upper()}{when[1:]}: " if when else ""
    beside = _changed_beside(trace, op)
    return f"{start}{text}: {values}.{beside}{left_in_graph(trace, op)}{_repeated(trace, op)}"


def _outputs(trace: Trace, tensors: tuple[int, ...]) -> tuple[str, str]:
    """What tensors are called, and their values."""
    return (
        enumerated([tensor_label(trace, i) for i in tensors]),
        enumerated([sentence_value(trace.tensors[i].value) for i in tensors]),
    )


def _changed_beside(trace: Trace, op: Op) -> str:
    """What an operation changed besides, as batch norm does with its running statistics."""
    if not op.beside:
        return ""
    changed, values = _outputs(trace, op.outputs[-op.beside :])
    return f" It also changes {changed} in place: {values}."


def _makes(trace: Trace, op: Op, made: str) -> str:
    """The call of an operation: what it makes, from what, and with which options of `grad`."""
    args = list(dict.fromkeys(written_args(trace, op)))
    name = f"{op.name} ({op.module}, {operations(op.holds)})" if op.module else op.name
    options = [arg for arg in args if op.name == "grad" and arg.endswith("=True")]
    operands = [arg for arg in args if arg not in options]
    return (
        f"{name} makes {made}"
        + (f" from {enumerated(operands)}" if operands else "")
        + (f", with {enumerated(options)}" if options else "")
    )


def _inside_opaque(trace: Trace, op: Op) -> str:
    """What is known of an operation that torch functions do not see: of a custom Function, its forward.

    Not always do its operations stand just before it: it is found at its first use.
    """
    inside = 0
    if op.call is not None:
        inside = sum(other.call == op.call and not other.opaque for other in trace.ops)
    if not inside:
        return "What happens inside cannot be seen from here."
    ran = f"The {inside} operations before it are" if inside > 1 else "The operation before it is"
    return f"{ran} its forward, run without gradients: it has a backward of its own."


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
