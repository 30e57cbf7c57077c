"""A run that stopped goes in, where and why it did comes out: the call that raised, what it was given, what it said."""

from __future__ import annotations

from ..trace import Stop, Trace
from ..trace.value import Value
from .format import enumerated, sentence_value
from .labels import node_label, op_call, tensor_label

__all__ = [
    "call_words",
    "changed_words",
    "given_words",
    "shape_words",
    "stop_facts",
    "stop_sentence",
]


def stop_facts(trace: Trace, stop: Stop) -> list[str]:
    """The same as lines of the canonical text: the call, what it was given, and the reason."""
    given = given_words(trace, stop)
    lines = [f"{call_words(trace, stop)} was given {given}" if given else call_words(trace, stop)]
    if not stop.name and stop.code:
        lines.append(stop.code)
    if stop.node is not None:
        lines.append(f"at {node_label(trace, stop.node)}{_received(stop, ' which had received ')}")
    changed = changed_words(trace, stop)
    if changed:
        lines.append(f"where {changed}")
    if stop.error != trace.error:
        lines.append(f"raised {stop.error}")
    return lines


def stop_sentence(trace: Trace, stop: Stop) -> str:
    """Where the run stopped and why, in a sentence, and the exception as it is."""
    line = "" if stop.line is None else f" in line {stop.line}"
    if stop.node is not None:
        received = _received(stop, " which had received ")
        text = f"Stopped{line}: the backward pass came to {node_label(trace, stop.node)}{received}."
        if stop.name not in ("backward", "grad"):
            text += f" There {call_words(trace, stop)} was given {given_words(trace, stop)}."
    elif stop.name:
        given = given_words(trace, stop) or "nothing that was recorded"
        text = f"Stopped{line}: {call_words(trace, stop)} was given {given}."
    else:
        text = f"Stopped{line}, which is no call of PyTorch."
    changed = changed_words(trace, stop)
    if changed:
        text += f" {changed[0].upper()}{changed[1:]}."
    return f"{text}\n{stop.error}"


def call_words(trace: Trace, stop: Stop) -> str:
    """What raised, in a word: a torch function, a module, the program."""
    return stop.name or "a line of the program"


def given_words(trace: Trace, stop: Stop) -> str:
    """What the call that raised was given: tensors with their shapes, and what else was written."""
    found = [
        arg
        if isinstance(arg, str)
        else f"{tensor_label(trace, arg)} ({shape_words(trace.tensors[arg].value)})"
        for arg in stop.args
        if not (isinstance(arg, str) and stop.name in ("backward", "grad"))
    ]
    return enumerated(found) if found else ""


def changed_words(trace: Trace, stop: Stop, *, as_call: bool = True) -> str:
    """Which saved tensor was changed, and by which operation, as a call or by name; empty where none was."""
    if stop.changed_by is None or stop.node is None:
        return ""
    op = trace.ops[stop.changed_by]
    what = "its saved result" if stop.saved == "result" else f"what it had saved as {stop.saved}"
    line = "" if op.line is None else f" in line {op.line}"
    return f"{what} was changed by {op_call(trace, op) if as_call else op.name}{line}"


def shape_words(value: Value) -> str:
    """A shape as people write it: `2×4`, `scalar`."""
    return "×".join(map(str, value.shape)) or "scalar"


def _received(stop: Stop, words: str) -> str:
    got = [sentence_value(value) for value in stop.received if value is not None]
    return f",{words}{enumerated(got)}" if got else ""
