"""What cards say of gradients over time, on traces written by hand: sums being made, what hooks change, what fits."""

from __future__ import annotations

from typing import Any

import pytest

from definebyrun.cards.gradient_rows import (
    BackwardHistory,
    clip,
    leaf_grads,
    node_grads,
    values_row,
)
from definebyrun.cards.model import MAX_ROW_CHARS
from definebyrun.text.format import format_value
from definebyrun.trace import Edge, Node, Step, TensorVersion, Trace
from definebyrun.trace.value import Value


def value(*numbers: float) -> Value:
    return Value((len(numbers),), "float32", numbers)


def said(length: int) -> Value:
    """A value that is written in so many characters."""
    found = next(
        value(a, b)
        for a in (1, 12, 1.5, 1.25, 1.125, -1.125, 11.25)
        for b in (1, 12, 1.5, 1.25, 1.125, -1.125, 11.25, 0.0001252, -0.0001252)
        if len(format_value(value(a, b), 99)) == length
    )
    return found


def arrivals(*passed: tuple[int, Value], received: Value | None, **more: Any) -> list[str]:
    """What the card of node 0 shows, when nodes 1, 2 … pass it a gradient each, by output, and it then receives one."""
    nodes = tuple(Node(i, "Mul") for i in range(len(passed) + 1))
    edges = tuple(Edge(i, i + 1, 0, output, 0, **more) for i, (output, _) in enumerate(passed))
    steps = tuple(
        Step(i, "backward", node=i + 1, received=(part,), passed=((i, part),))
        for i, (_, part) in enumerate(passed)
    )
    if received is not None:
        steps += (Step(len(steps), "backward", node=0, received=(received,)),)
    trace = Trace(nodes=nodes, edges=edges, steps=steps)
    states, ran = node_grads(trace, 0, BackwardHistory.of(trace))
    assert ran == ([] if received is None else [len(steps)])
    return [f"{state.since}: {state.text}" for state in states]


def test_one_gradient_that_arrives_is_what_the_node_receives() -> None:
    assert arrivals((0, value(2)), received=value(2)) == ["0: grad not yet", "1: grad [2]"]


def test_gradients_that_meet_are_a_sum_being_made() -> None:
    shown = arrivals((0, value(2)), (0, value(3)), received=value(5))
    assert shown == ["0: grad not yet", "1: grad [2] + …", "2: [2] + [3] = [5]"]


def test_gradients_of_different_outputs_stand_beside_each_other() -> None:
    shown = arrivals((0, value(2)), (1, value(3)), received=None)
    assert shown == ["0: grad not yet", "1: grad [2]", "2: grad [2]; [3]"]


def test_what_a_hook_makes_of_the_gradient_is_shown_when_the_node_runs() -> None:
    shown = arrivals((0, value(2)), received=value(20))
    assert shown == ["0: grad not yet", "1: grad [2]", "2: grad [20]"]


def test_where_nothing_arrived_backward_began() -> None:
    assert arrivals(received=value(1)) == ["0: grad not yet", "1: grad [1]"]


def test_several_gradients_with_which_backward_began_have_eight_characters_each() -> None:
    nodes, steps = (Node(0, "Unbind"),), (Step(0, "backward", node=0, received=(said(8), said(9))),)
    trace = Trace(nodes=nodes, steps=steps)
    states, _ = node_grads(trace, 0, BackwardHistory.of(trace))
    assert states[-1].text == clip(f"grad {format_value(said(8), 99)}; {format_value(said(9), 8)}")
    assert format_value(said(9), 8) != format_value(said(9), 99)


@pytest.mark.parametrize("received", [True, False])
def test_a_value_that_just_fits_beside_its_word_is_written_out(received: bool) -> None:
    fits, long = said(MAX_ROW_CHARS - 5), value(1.125, 1.125, 1.125)
    for part, whole in ((fits, True), (long, False)):
        shown = arrivals(received=part) if received else arrivals((0, part), received=None)
        assert (shown[-1] == f"1: grad {format_value(part, 99)}") == whole
        assert len(shown[-1]) <= MAX_ROW_CHARS + 3


def test_a_sum_that_just_fits_is_written_out_and_a_longer_one_is_its_result_alone() -> None:
    fits = arrivals((0, value(1, 1)), (0, value(0, 0)), received=None)[-1]
    assert fits == "2: [1, 1] + [0, 0] = [1, 1]"
    assert len(fits) == len("2: ") + MAX_ROW_CHARS
    longer = arrivals((0, value(1, 1)), (0, value(9, 0)), received=None)[-1]
    assert longer == "2: grad [10, 1]"
    fits, long = said(MAX_ROW_CHARS - 5), value(1.125, 1.125, 1.125)
    nothing = value(0, 0)
    assert (
        arrivals((0, fits), (0, nothing), received=None)[-1] == f"2: grad {format_value(fits, 99)}"
    )
    assert format_value(long, 99) not in arrivals((0, long), (0, value(0, 0, 0)), received=None)[-1]


def test_a_sum_of_which_only_the_range_is_known_is_its_shape() -> None:
    large = Value((5000,), "float32", None, 0.0, 1.0)
    assert arrivals((0, large), (0, large), received=None)[-1] == "2: grad 5000 float32"


def test_a_gradient_that_just_fits_is_written_out_where_one_edge_brings_all() -> None:
    fits, long = said(MAX_ROW_CHARS - 5), said(MAX_ROW_CHARS - 4)
    assert arrivals((0, fits), received=fits)[-1] == f"1: grad {format_value(fits, 99)}"
    assert format_value(long, 99) not in arrivals((0, long), received=long)[-1]


# ---- leaves ----


def leaf(before: Value | None, received: Value, after: Value) -> list[str]:
    step = Step(0, "backward", node=0, received=(received,), before=before, after=after)
    trace = Trace(
        tensors=(TensorVersion(0, "w", "leaf", value(1), node=0),),
        nodes=(Node(0, "AccumulateGrad", leaf=0),),
        steps=(step,),
    )
    return [f"{state.since}: {state.text}" for state in leaf_grads(trace, 0, [step])]


def test_a_leaf_shows_the_sum_that_its_node_makes() -> None:
    assert leaf(value(1), value(2), value(3)) == ["0: .grad not yet", "1: [1] + [2] = [3]"]
    assert leaf(None, value(2), value(2)) == ["0: .grad not yet", "1: .grad [2]"]


def test_a_leaf_whose_gradient_is_no_plain_sum_shows_what_it_holds() -> None:
    assert leaf(value(1), value(2), value(9))[-1] == "1: .grad [9]"


def test_a_long_sum_of_a_leaf_is_its_result_alone() -> None:
    assert leaf(value(1, 1), value(0, 0), value(1, 1))[-1] == "1: [1, 1] + [0, 0] = [1, 1]"
    assert leaf(value(1, 1), value(9, 0), value(10, 1))[-1] == "1: .grad [10, 1]"


def test_a_gradient_of_a_leaf_that_just_fits_is_written_out() -> None:
    fits, long = said(MAX_ROW_CHARS - 6), said(MAX_ROW_CHARS - 5)
    assert leaf(None, fits, fits)[-1] == f"1: .grad {format_value(fits, 99)}"
    assert format_value(long, 99) not in leaf(None, long, long)[-1]


def test_a_leaf_of_a_drawn_graph_says_nothing_of_gradients() -> None:
    assert leaf_grads(Trace(tensors=(TensorVersion(0, "w", "leaf", value(1)),)), 0, []) == []


# ---- values ----


def test_as_many_values_of_an_operation_are_shown_as_fit_and_a_sign_where_there_are_more() -> None:
    assert values_row([value(1)]) == "[1]"
    assert values_row([said(19)]) == format_value(said(19), 99)
    assert format_value(said(19), 99) not in values_row([said(19), value(1)])
    assert values_row([value(1), value(2)]) == "[1]; [2]"
    assert values_row([said(11), said(11)]) == "; ".join([format_value(said(11), 12)] * 2)
    assert values_row([said(11), said(11), value(1)]) == f"{format_value(said(11), 12)}; …"
    assert values_row([value(n) for n in range(9)]) == "[0]; [1]; [2]; [3]; …"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert clip("x" * MAX_ROW_CHARS) == "x" * MAX_ROW_CHARS
    assert clip("x" * (MAX_ROW_CHARS + 1)) == "x" * (MAX_ROW_CHARS - 1) + "…"
