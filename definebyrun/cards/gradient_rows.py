"""What ran backward goes in, what cards show of gradients over time comes out; and values in few characters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..text.format import format_value, shows_numbers
from ..trace import Edge, Step, Trace
from ..trace.memory import freed_at
from ..trace.steps import shown_from
from ..trace.value import Value, sum_values
from .model import MAX_ROW_CHARS, State

__all__ = [
    "MAX_EDGE_CHARS",
    "BackwardHistory",
    "clip",
    "cut_middle",
    "cut_path",
    "leaf_grads",
    "node_grads",
    "values_row",
]

MAX_EDGE_CHARS = 18
"""The most characters of a gradient beside its arrow."""
MAX_PATH_CHARS, PATH_START_CHARS = 36, 8
"""The most characters of a path of modules in a title, and how many of its beginning stay where it is cut."""
MAX_OUTPUT_CHARS = 11
"""The most characters of one gradient in a row that shows those of several outputs."""


@dataclass
class BackwardHistory:
    """What the backward passes did: by node the steps in which it ran, and the step from which its saved tensors are
    freed; by edge the gradients that went along it."""

    steps: dict[int | None, list[Step]] = field(default_factory=dict)
    freed: dict[int, int] = field(default_factory=dict)
    flows: dict[int, list[State]] = field(default_factory=dict)

    @classmethod
    def of(cls, trace: Trace) -> BackwardHistory:
        """The history of a trace, gone through once."""
        history = cls(freed=freed_at(trace))
        for step in trace.steps:
            history.steps.setdefault(step.node, []).append(step)
            for index, value in step.passed:
                flow = State(shown_from(step.index), format_value(value, MAX_EDGE_CHARS))
                history.flows.setdefault(index, []).append(flow)
        return history


def node_grads(trace: Trace, node: int, history: BackwardHistory) -> tuple[list[State], list[int]]:
    """What a card shows of the gradient of its node over time, and the steps in which the node ran."""
    states = [State(0, "grad not yet")] if trace.steps else []
    ran, arrivals = history.steps.get(node, []), trace.arrivals_at(node)
    if len(arrivals) == len(ran) == 1 and ran[0].received == (arrivals[0][2],):  # most nodes
        step, _, value = arrivals[0]
        text = f"grad {format_value(value, MAX_ROW_CHARS - 5)}"
        states.append(State(shown_from(step.index), text))
        return states, [shown_from(ran[0].index)]
    sums = _add_arrivals(arrivals, states)
    for step in ran:  # what it received was more, or other, than what travelled along its edges
        received = _received_text(step, sums)
        if received is not None:
            states.append(State(shown_from(step.index), clip(f"grad {received}")))
    states.sort(key=lambda state: state.since)
    return states, [shown_from(step.index) for step in ran]


def _add_arrivals(
    arrivals: list[tuple[Step, Edge, Value]], states: list[State]
) -> dict[tuple[int, int], Value]:
    """Append a state for each gradient that arrives; give the sums, by backward pass and output of the node."""
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
            own = [sums[k] for k in sorted(sums) if k[0] == step.pass_nr]
            each = [format_value(value, MAX_OUTPUT_CHARS) for value in own]
            text = clip("grad " + "; ".join(each))
            if not shows_numbers(own[0], each[0]):
                text = f"grad {values_row(own, MAX_ROW_CHARS - 5)}"
        elif len(arrived) < expected[key]:
            text = clip(f"grad {_joined(arrived)} + …")
        else:
            text = _sum_text(arrived, sums[key])
        since = shown_from(step.index)
        if states[-1].since == since:
            states.pop()  # two edges from one node arrive in one step
        states.append(State(since, text))
    return sums


def _received_text(step: Step, sums: dict[tuple[int, int], Value]) -> str | None:
    """What a node received, where its edges have not brought just that: backward began here, or a hook changed it."""
    brought = [
        None if value is None else sums.get((step.pass_nr, nr))
        for nr, value in enumerate(step.received)
    ]
    got = [(nr, value) for nr, value in enumerate(step.received) if value is not None]
    if all(_looks_like(brought[nr], value) for nr, value in got):
        return None
    width = MAX_ROW_CHARS - 5 if len(got) == 1 else 8
    return "; ".join(format_value(value, width) for _, value in got)


def _looks_like(one: Value | None, two: Value) -> bool:
    """Whether two values are the same as a card shows them."""
    return one is two or (
        one is not None and format_value(one, MAX_ROW_CHARS) == format_value(two, MAX_ROW_CHARS)
    )


def _joined(parts: list[Value]) -> str:
    return " + ".join(format_value(part, MAX_ROW_CHARS) for part in parts)


def _sum_text(parts: list[Value], total: Value) -> str:
    """A sum being made, `1 + 5 = 6`, when it fits on the card; else the sum alone."""
    shown = format_value(total, MAX_ROW_CHARS - 5)
    if len(parts) == 1:
        return f"grad {shown}"
    text = f"{_joined(parts)} = {shown}"
    return text if len(text) <= MAX_ROW_CHARS else clip(f"grad {shown}")


def leaf_grads(trace: Trace, leaf: int, ran: list[Step]) -> list[State]:
    """A leaf's row shows `.grad`: None until its `AccumulateGrad` runs, then the sum that it makes."""
    if not trace.steps:
        return []
    sums = {shown_from(step.index): _accumulated_text(step) for step in ran}
    history = trace.grad_history(leaf)
    states = [] if history and history[0][0] == 0 else [State(0, ".grad not yet")]
    for since, value in history:
        text = ".grad None" if value is None else f".grad {format_value(value, MAX_ROW_CHARS - 6)}"
        states.append(State(since, clip(sums.get(since) or text)))
    return states


def _accumulated_text(step: Step) -> str | None:
    """The sum that an `AccumulateGrad` makes, `1 + 2 = 3`; None where it makes none, no plain one, or a long one."""
    got = [value for value in step.received if value is not None]
    if step.before is None or not got:
        return None
    parts = [step.before, *got]
    if not _looks_like(sum_values(parts), step.after or step.before):
        return None
    text = f"{_joined(parts)} = {format_value(step.after, MAX_ROW_CHARS)}"
    return text if len(text) <= MAX_ROW_CHARS else None


def values_row(values: list[Value], room: int = MAX_ROW_CHARS) -> str:
    """The values of an operation's outputs: as many as there is room for, and a sign where there are more.

    Where there is no room for the numbers of one of them, the shapes of all.
    """
    parts = [format_value(value, room if len(values) == 1 else room // 2) for value in values]
    shown = parts[:1]
    for part in parts[1:]:
        more = len(shown) + 1 < len(parts)
        if len("; ".join([*shown, part])) + 3 * more > room:
            break
        shown.append(part)
    if len(shown) == len(parts):
        return "; ".join(shown)
    shapes = ["×".join(map(str, value.shape)) or "scalar" for value in values]
    if not shows_numbers(values[0], parts[0]):
        if len(set(shapes)) == 1:
            return f"{len(shapes)} of {shapes[0]}"
        if len("; ".join(shapes)) <= room:
            return "; ".join(shapes)
    return "; ".join(shown) + "; …"


def cut_path(path: str) -> str:
    """A path without its middle, where it is long."""
    return cut_middle(path, MAX_PATH_CHARS)


def cut_middle(path: str, width: int) -> str:
    """A path without its middle, where it is longer than a width: its end tells more than its beginning."""
    if len(path) <= width:
        return path
    return f"{path[:PATH_START_CHARS]}…{path[PATH_START_CHARS + 1 - width :]}"


def clip(text: str, width: int = MAX_ROW_CHARS) -> str:
    """A text cut to a width, with a sign where more was."""
    return text if len(text) <= width else text[: width - 1] + "…"
