"""What happened on the way back goes in, what cards say of it over time comes out; and values in few characters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..text.format import format_value
from ..trace import Step, Trace
from ..trace.memory import freed_at
from ..trace.value import Value, sum_values
from .model import MAX_ROW_CHARS, State

__all__ = ["BackwardHistory", "clip", "leaf_grads", "node_grads", "values_row"]


@dataclass
class BackwardHistory:
    """What happened on the way back, by node and by edge."""

    runs: dict[int | None, list[Step]] = field(default_factory=dict)
    freed: dict[int, int] = field(default_factory=dict)
    flows: dict[int, list[State]] = field(default_factory=dict)

    @classmethod
    def of(cls, trace: Trace) -> BackwardHistory:
        """All of it, gone through once."""
        found = cls(freed=freed_at(trace))
        for step in trace.steps:
            found.runs.setdefault(step.node, []).append(step)
            for index, value in step.passed:
                flow = State(step.index + 1, format_value(value, 18))
                found.flows.setdefault(index, []).append(flow)
        return found


def node_grads(trace: Trace, node: int, back: BackwardHistory) -> tuple[list[State], list[int]]:
    """What a card says of its gradient over time, and the steps in which its node ran."""
    states = [State(0, "grad not yet")] if trace.steps else []
    ran, arrivals = back.runs.get(node, []), trace.arrivals_at(node)
    if len(arrivals) == len(ran) == 1 and ran[0].received == (arrivals[0][2],):  # most nodes
        step, _, value = arrivals[0]
        states.append(State(step.index + 1, f"grad {format_value(value, MAX_ROW_CHARS - 5)}"))
        return states, [ran[0].index + 1]
    expected = Counter((step.pass_nr, edge.input_nr) for step, edge, _ in arrivals)
    parts: dict[tuple[int, int], list[Value]] = {}
    sums: dict[tuple[int, int], Value] = {}
    several = len({edge.input_nr for _, edge, _ in arrivals}) > 1
    for step, edge, value in arrivals:
        key = (step.pass_nr, edge.input_nr)
        arrived = parts.setdefault(key, [])
        arrived.append(value)
        if len(arrived) == expected[key] or several:
            sums[key] = sum_values(arrived)
        if several:  # outputs of their own: nothing to add across them
            each = [format_value(sums[k], 11) for k in sorted(sums) if k[0] == step.pass_nr]
            text = clip("grad " + "; ".join(each))
        elif len(arrived) < expected[key]:
            text = clip(f"grad {_joined(arrived)} + …")
        else:
            text = _made(arrived, sums[key])
        if states[-1].since == step.index + 1:
            states.pop()  # two edges from one node arrive in one step
        states.append(State(step.index + 1, text))
    for step in ran:  # what it received was more, or other, than what travelled along its edges
        text = _received(step, sums)
        if text is not None:
            states.append(State(step.index + 1, clip(f"grad {text}")))
    return sorted(states, key=lambda state: state.since), [step.index + 1 for step in ran]


def _received(step: Step, sums: dict[tuple[int, int], Value]) -> str | None:
    """What a node received, where its edges have not brought just that: backward began here, or a hook changed it."""
    brought = [
        None if value is None else sums.get((step.pass_nr, nr))
        for nr, value in enumerate(step.received)
    ]
    got = [(nr, value) for nr, value in enumerate(step.received) if value is not None]
    if all(_same(brought[nr], value) for nr, value in got):
        return None
    width = MAX_ROW_CHARS - 5 if len(got) == 1 else 8
    return "; ".join(format_value(value, width) for _, value in got)


def _same(one: Value | None, two: Value) -> bool:
    return one is two or (
        one is not None and format_value(one, MAX_ROW_CHARS) == format_value(two, MAX_ROW_CHARS)
    )


def _joined(parts: list[Value]) -> str:
    return " + ".join(format_value(part, MAX_ROW_CHARS) for part in parts)


def _made(parts: list[Value], whole: Value) -> str:
    """A sum being made, `1 + 5 = 6`, when it fits on the card; else the sum alone."""
    made = format_value(whole, MAX_ROW_CHARS - 5)
    if len(parts) == 1:
        return f"grad {made}"
    text = f"{_joined(parts)} = {made}"
    return text if len(text) <= MAX_ROW_CHARS else clip(f"grad {made}")


def leaf_grads(trace: Trace, leaf: int, ran: list[Step]) -> list[State]:
    """A leaf's row shows `.grad`: None until its `AccumulateGrad` runs, then the sum that it makes."""
    if not trace.steps:
        return []
    sums = {step.index + 1: _leaf_sum(step) for step in ran}
    history = trace.grad_history(leaf)
    states = [] if history and history[0][0] == 0 else [State(0, ".grad not yet")]
    for since, value in history:
        text = ".grad None" if value is None else f".grad {format_value(value, MAX_ROW_CHARS - 6)}"
        states.append(State(since, clip(sums.get(since) or text)))
    return states


def _leaf_sum(step: Step) -> str | None:
    """The sum that a leaf's node makes, `1 + 2 = 3`; None where there is none, or it is no plain sum, or too long."""
    got = [value for value in step.received if value is not None]
    if (
        step.before is None
        or not got
        or not _same(sum_values([step.before, *got]), step.after or step.before)
    ):
        return None
    text = f"{_joined([step.before, *got])} = {format_value(step.after, MAX_ROW_CHARS)}"
    return text if len(text) <= MAX_ROW_CHARS else None


def values_row(values: list[Value]) -> str:
    """The values of an operation's outputs: as many as fit on a card, and a sign where there are more."""
    parts = [
        format_value(value, MAX_ROW_CHARS if len(values) == 1 else MAX_ROW_CHARS // 2)
        for value in values
    ]
    shown = parts[:1]
    for part in parts[1:]:
        more = len(shown) + 1 < len(parts)
        if len("; ".join([*shown, part])) + 3 * more > MAX_ROW_CHARS:
            break
        shown.append(part)
    return "; ".join(shown) + ("; …" if len(shown) < len(parts) else "")


def clip(text: str, width: int = MAX_ROW_CHARS) -> str:
    """A text cut to a width, with a sign where more was."""
    return text if len(text) <= width else text[: width - 1] + "…"
