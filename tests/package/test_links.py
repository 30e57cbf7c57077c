"""Arrows, on traces written by hand: which cards they join, from which step they are there, what flows along them."""

from __future__ import annotations

from typing import Any

import pytest

from definebyrun.cards.build import build_cards
from definebyrun.cards.chips import with_chips
from definebyrun.cards.clusters import build_clusters
from definebyrun.cards.gradient_rows import BackwardHistory
from definebyrun.cards.links import data_links, edge_links
from definebyrun.cards.model import Card, Link, State
from definebyrun.trace import (
    Block,
    Edge,
    ModuleCall,
    Node,
    Op,
    Saved,
    Step,
    TensorVersion,
    Trace,
)
from definebyrun.trace.memory import freed_at, kept_after_steps
from definebyrun.trace.value import Value

ONE = Value((), "float32", (1.0,))


def tensor(index: int, kind: str = "result", **more: Any) -> TensorVersion:
    return TensorVersion(index, f"t{index}", kind, ONE, **more)


def op(index: int, inputs: tuple[int, ...], outputs: tuple[int, ...], **more: Any) -> Op:
    at = {"line": None, "code": "", "scope": ""}
    return Op(index, f"op{index}", inputs=inputs, outputs=outputs, **at, **more)


def forward(*ops: int) -> tuple[Step, ...]:
    return tuple(Step(place, "forward", op=index) for place, index in enumerate(ops))


def cards(*names: str, born: dict[str, int] | None = None) -> dict[str, Card]:
    return {name: Card(name, "op", name, (born or {}).get(name, 0)) for name in names}


def ways(links: list[Link]) -> list[tuple[str, str]]:
    return [(link.tail, link.head) for link in links]


# ---- solid arrows: the edges of the graph ----


def used(times: int, steps: tuple[Step, ...] = ()) -> tuple[list[Link], list[Card]]:
    """The links and chips of a leaf whose node is 0, used once by each of the nodes from 1 on."""
    nodes = (
        Node(0, "AccumulateGrad", leaf=0),
        *(Node(i, "Mul", op=i - 1) for i in range(1, times + 1)),
    )
    edges = tuple(Edge(i, i + 1, 0, 0, 0) for i in range(times))
    trace = Trace(
        tensors=(
            tensor(0, "leaf", node=0),
            *(tensor(i + 1, op=i, node=i + 1) for i in range(times)),
        ),
        ops=tuple(op(i, (0,), (i + 1,)) for i in range(times)),
        nodes=nodes,
        edges=edges,
        steps=steps,
    )
    by_node = {node.index: Card(f"n{node.index}", "op", "w", node=node.index) for node in nodes}
    links = edge_links(trace, by_node, BackwardHistory.of(trace))
    shown, links = with_chips(trace, list(by_node.values()), links, max_uses=2)
    return links, [card for card in shown if "u" in card.id]


def test_a_leaf_with_few_uses_is_one_card_with_an_arrow_to_each() -> None:
    links, chips = used(2)
    assert ways(links) == [("n0", "n1"), ("n0", "n2")]
    assert chips == []


def test_the_chips_of_a_recorded_run_are_numbered_in_the_order_of_their_uses() -> None:
    links, chips = used(3, forward(0, 1, 2))
    assert ways(links) == [("n0u1", "n1"), ("n0u2", "n2"), ("n0u3", "n3")]
    assert [c.title for c in chips] == ["w (use 1 of 3)", "w (use 2 of 3)", "w (use 3 of 3)"]


def test_the_chips_of_a_drawn_graph_which_is_found_from_its_end_are_numbered_from_the_last() -> (
    None
):
    _, chips = used(3)
    assert [c.title for c in chips] == ["w (use 3 of 3)", "w (use 2 of 3)", "w (use 1 of 3)"]


def test_a_gradient_is_written_on_its_edge_in_the_step_that_passed_it() -> None:
    """Steps are counted from 1, their indices from 0."""
    trace = Trace(
        tensors=(tensor(0, "leaf", node=0), tensor(1, op=0, node=1)),
        ops=(op(0, (0,), (1,)),),
        nodes=(Node(0, "AccumulateGrad", leaf=0), Node(1, "Mul", op=0)),
        edges=(Edge(0, 1, 0, 0, 0),),
        steps=(
            *forward(0),
            Step(1, "backward", node=1, received=(ONE,), passed=((0, ONE),)),
            Step(2, "backward", node=0, received=(ONE,), after=ONE),
        ),
    )
    leaf, result = build_cards(trace)[0]
    (link,) = build_cards(trace)[1]
    assert link.flows == (State(2, "1"),)
    assert result.grads == [State(0, "grad not yet"), State(2, "grad 1")]
    assert leaf.grads == [State(0, ".grad not yet"), State(3, ".grad 1")]
    assert (result.born, result.runs, leaf.runs) == (1, [2], [3])


def repeated(edge: Edge, **more: Any) -> Link:
    """The link of an edge between the nodes of two operations of a repeated block."""
    trace = Trace(
        tensors=(tensor(0, op=0, node=0), tensor(1, op=1, node=1)),
        ops=(op(0, (1,), (0,), block=0), op(1, (0,), (1,), block=0)),
        nodes=(Node(0, "Mul", op=0), Node(1, "Tanh", op=1)),
        edges=(edge,),
        steps=forward(0, 1),
        blocks=(Block(0, 5),),
        **more,
    )
    by_node = {i: Card(f"n{i}", "op", "", born=i + 1, node=i) for i in (0, 1)}
    return edge_links(trace, by_node, BackwardHistory.of(trace))[0]


@pytest.mark.parametrize(
    ("edge", "back", "born"),
    [
        (Edge(0, 1, 0, 0, 0), False, 2),  # op 1 reads what op 0 has made just before
        (Edge(0, 0, 1, 0, 0), True, 2),  # op 0 reads what op 1 made in the repetition before
        (Edge(0, 1, 1, 0, 0), True, 2),  # op 1 reads what it made itself
    ],
)
def test_an_edge_that_leads_to_the_repetition_before_points_back(
    edge: Edge, back: bool, born: int
) -> None:
    link = repeated(edge)
    assert (link.back, link.born) == (back, born)


def test_nodes_of_one_operation_are_linked_across_repetitions_only_where_the_edge_says_so() -> None:
    for again in (False, True):
        trace = Trace(
            tensors=(tensor(0, op=0, node=0),),
            ops=(op(0, (), (0,), block=0),),
            nodes=(Node(0, "Mul", op=0), Node(1, "T", op=0)),
            edges=(Edge(0, 0, 1, 0, 0, again=again),),
            steps=forward(0),
            blocks=(Block(0, 5),),
        )
        by_node = {i: Card(f"n{i}", "op", "", node=i) for i in (0, 1)}
        (link,) = edge_links(trace, by_node, BackwardHistory.of(trace))
        assert link.back == again


def test_outside_of_repetitions_no_edge_points_back() -> None:
    trace = Trace(
        tensors=(tensor(0, op=0, node=0), tensor(1, op=1, node=1)),
        ops=(op(0, (1,), (0,)), op(1, (0,), (1,))),
        nodes=(Node(0, "Mul", op=0), Node(1, "Tanh", op=1)),
        edges=(Edge(0, 0, 1, 0, 0),),
        steps=forward(0, 1),
    )
    by_node = {i: Card(f"n{i}", "op", "", node=i) for i in (0, 1)}
    (link,) = edge_links(trace, by_node, BackwardHistory.of(trace))
    assert not link.back


# ---- dashed arrows: data without a gradient ----


def test_a_constant_has_a_dashed_arrow_and_what_an_edge_leads_back_to_has_none() -> None:
    trace = Trace(
        tensors=(tensor(0, "leaf", node=0), tensor(1, "constant"), tensor(2, op=0, node=1)),
        ops=(op(0, (0, 1), (2,)),),
        nodes=(Node(0, "AccumulateGrad", leaf=0), Node(1, "Mul", op=0)),
        edges=(Edge(0, 1, 0, 0, 0),),
        steps=forward(0),
    )
    links = data_links(trace, cards("n0", "t1", "n1", born={"n1": 1}))
    assert [(link.id, link.tail, link.head, link.born) for link in links] == [("d0", "t1", "n1", 1)]
    assert links[0].edge is None


def test_an_input_that_is_the_results_own_node_has_no_arrow() -> None:
    """An operation in place: its input is known by the node that it has made."""
    trace = Trace(
        tensors=(tensor(0, op=0, node=0),),
        ops=(op(0, (0,), (0,), inplace=True),),
        nodes=(Node(0, "Mul", op=0),),
        steps=forward(0),
    )
    assert data_links(trace, cards("n0")) == []


def test_two_versions_of_one_leaf_have_one_arrow_between_the_same_two_cards() -> None:
    trace = Trace(
        tensors=(tensor(0, "constant"), tensor(1, "constant", origin=0), tensor(2, op=0)),
        ops=(op(0, (0, 1), (2,)),),
        steps=forward(0),
    )
    assert ways(data_links(trace, cards("t0", "o0"))) == [("t0", "o0")]


def in_a_block(kind: str) -> list[Link]:
    """The first of two repeated operations reads what the second makes: a result, or a constant."""
    trace = Trace(
        tensors=(tensor(0, op=0), tensor(1, kind, op=1)),
        ops=(op(0, (1,), (0,), block=0), op(1, (), (1,), block=0, factory=kind != "result")),
        steps=forward(0, 1),
        blocks=(Block(0, 5),),
    )
    return data_links(trace, cards("o0", "o1", "t1", born={"o0": 1, "o1": 2, "t1": 2}))


def test_data_that_the_repetition_before_has_made_points_back() -> None:
    (link,) = in_a_block("result")
    assert (link.tail, link.head, link.back, link.born) == ("o1", "o0", True, 2)


def test_a_constant_that_a_repetition_makes_anew_does_not_point_back() -> None:
    (link,) = in_a_block("constant")
    assert (link.tail, link.head, link.back, link.born) == ("t1", "o0", False, 1)


@pytest.mark.parametrize("block", [None, 0])
def test_an_operation_that_reads_its_own_result_has_an_arrow_to_itself_in_a_repetition_alone(
    block: int | None,
) -> None:
    trace = Trace(
        tensors=(tensor(0, op=0),),
        ops=(op(0, (0,), (0,), block=block),),
        steps=forward(0),
        blocks=(Block(0, 5),),
    )
    links = data_links(trace, cards("o0"))
    assert [(link.tail, link.head, link.back) for link in links] == (
        [] if block is None else [("o0", "o0", True)]
    )


def test_an_arrow_leads_from_an_operation_to_the_leaf_that_it_made_and_to_no_other_leaf() -> None:
    trace = Trace(
        tensors=(
            tensor(0, "constant"),
            tensor(1, "leaf", op=0, node=0),  # of a factory, which has no card
            tensor(2, "leaf", op=1, node=1),
            tensor(3, "leaf", op=2, node=2),  # of an operation that stands on another card
        ),
        ops=(op(0, (), (1,), factory=True), op(1, (), (2,)), op(2, (), (3,))),
        nodes=tuple(Node(i, "AccumulateGrad", leaf=i + 1) for i in range(3)),
        steps=forward(0, 1, 2),
    )
    links = data_links(trace, cards("t0", "o0", "o1", "n0", "n1", "n2"))
    assert [(link.tail, link.head, link.born) for link in links] == [("o1", "n1", 2)]


@pytest.mark.parametrize(("version", "card"), [(0, "n0"), (1, "n0")])
def test_a_leaf_that_had_a_node_only_before_or_later_stands_on_the_card_of_that_node(
    version: int, card: str
) -> None:
    versions = [tensor(0, "constant"), tensor(1, "leaf", origin=0)]
    versions[1 - version] = TensorVersion(
        1 - version, "w", "leaf", ONE, node=0, origin=versions[1 - version].origin
    )
    trace = Trace(
        tensors=(*versions, tensor(2, op=0)),
        ops=(op(0, (version,), (2,)),),
        nodes=(Node(0, "AccumulateGrad", leaf=1 - version),),
        steps=forward(0),
    )
    assert ways(data_links(trace, cards("n0", "t0", "o0"))) == [(card, "o0")]


def test_a_leaf_without_any_node_stands_on_the_card_of_its_first_version() -> None:
    trace = Trace(
        tensors=(tensor(0, "constant"), tensor(1, "constant", origin=0), tensor(2, op=0)),
        ops=(op(0, (1,), (2,)),),
        steps=forward(0),
    )
    assert ways(data_links(trace, cards("t0", "t1", "o0"))) == [("t0", "o0")]


@pytest.mark.parametrize(("born", "chip"), [(1, "n0u1"), (3, "n0u1"), (4, "n0u2"), (9, "n0u2")])
def test_a_dashed_arrow_from_a_leaf_with_chips_starts_at_the_last_use_before_it(
    born: int, chip: str
) -> None:
    trace = Trace(
        tensors=(tensor(0, "leaf", node=0), tensor(1, op=0)),
        ops=(op(0, (0,), (1,)),),
        nodes=(Node(0, "AccumulateGrad", leaf=0),),
        steps=forward(0),
    )
    links = [Link("e0", "n0", "n1", 2, 0), Link("e1", "n0", "n2", 4, 1)]
    links += data_links(trace, cards("n0", "o0", born={"o0": born}))
    _, links = with_chips(trace, [Card("n0", "leaf", "w", node=0)], links, max_uses=1)
    assert ways(links[2:]) == [(chip, "o0")]


# ---- what else cards say over time ----


def test_a_recomputed_node_lets_go_of_what_it_saved_when_its_original_has_run() -> None:
    """The step of index 2 runs the original: the card says freed from step 3 on, and the memory falls there."""
    trace = Trace(
        tensors=(tensor(0, op=0, node=0), tensor(1, op=1, node=1)),
        ops=(op(0, (), (0,)), op(1, (), (1,), during="recompute", within=0)),
        nodes=(
            Node(0, "CheckpointBackward", op=0),
            Node(1, "Exp", op=1, saved=(Saved("result", 0, 4),), until=2),
        ),
        steps=(
            *forward(0, 1),
            Step(2, "backward", node=0, received=(ONE,)),
            Step(3, "backward", node=1, received=(ONE,)),
        ),
    )
    assert freed_at(trace) == {1: 3}
    assert kept_after_steps(trace) == (0, 4, 0, 0)
    card = next(card for card in build_cards(trace)[0] if card.node == 1)
    assert card.keeps == [State(2, "keeps 4 B"), State(3, "freed")]


def test_a_constant_made_anew_in_each_repetition_lies_in_the_block_and_not_in_its_module() -> None:
    trace = Trace(
        tensors=(
            tensor(0, "constant", block=0, times=5),
            *(tensor(i, op=i - 1) for i in (1, 2, 3, 4)),
        ),
        ops=(
            op(0, (0,), (1,), block=0, call=0, times=5),
            op(1, (1,), (2,), block=0, call=0, times=5),
            op(2, (2,), (3,), block=0, times=5),
            op(3, (3,), (4,)),
        ),
        steps=forward(0, 1, 2, 3),
        calls=(ModuleCall(0, "layer", "Linear"),),
        blocks=(Block(0, 5),),
    )
    drawn, links = build_cards(trace)
    block, layer = build_clusters(trace, drawn, links)
    assert (block.rolled, block.cards) == (True, ["t0", "o2"])
    assert (layer.outer, layer.cards) == (block.id, ["o0", "o1"])
