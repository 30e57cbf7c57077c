"""A comparison at its borders: leaves of other kinds, code that has moved, graphs whose roots differ."""

from __future__ import annotations

import linecache
from itertools import count

import pytest
import torch

import definebyrun as dbr
from definebyrun.comparison.word_diff import word_diff

NUMBERS = count()


def recorded(text: str, first: int = 1) -> dbr.Tape:
    """The recording of some lines that begin at line `first` of a cell."""
    cell = "\n" * (first - 1) + "with dbr.record() as tape:\n"
    cell += "".join(f"    {line}\n" for line in text.splitlines())
    name = f"<border {next(NUMBERS)}>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    space = {"dbr": dbr, "torch": torch, "w": torch.tensor(2.0, requires_grad=True)}
    exec(compile(cell, name, "exec"), space)
    return space["tape"]


def sides(tape: dbr.Tape) -> list[tuple[str, str]]:
    return [(op.name, op.side) for op in tape.ops]


# ---- leaves ----


@pytest.mark.parametrize("other", ["torch.ones(())", "w.detach()"])
def test_a_leaf_is_not_the_same_as_a_tensor_of_another_kind_that_is_read_in_its_place(
    other: str,
) -> None:
    def run(tensor: torch.Tensor) -> dbr.Tape:
        with dbr.record() as tape:
            _ = tensor * 2
        return tape

    w = torch.tensor(2.0, requires_grad=True)
    both = dbr.compare(run(w), run(eval(other, {"torch": torch, "w": w})))
    assert sides(both) == [("mul", "")]
    assert sorted((t.kind, t.side) for t in both.leaves) == [("constant", "B"), ("leaf", "A")]


def test_a_leaf_from_before_is_not_one_that_the_run_makes() -> None:
    w = torch.tensor(2.0)

    def run(made: bool) -> dbr.Tape:
        with dbr.record() as tape:
            v = torch.tensor(2.0) if made else w
            _ = v * 2
        return tape

    both = dbr.compare(run(False), run(True))
    assert sides(both) == [("tensor", "B"), ("mul", "")]
    assert [(t.name, t.side) for t in both.leaves] == [("w", "A"), ("v", "B")]


# ---- code ----


def test_code_that_has_moved_is_the_same_code_and_keeps_the_lines_of_a() -> None:
    text = "y = w * 2\nz = y.exp()\nz = z + y"
    both = dbr.compare(recorded(text), recorded(text, first=5))
    assert sides(both) == [("mul", ""), ("exp", ""), ("add", "")]
    assert [op.line for op in both.ops] == [2, 3, 4]
    assert not any(op.other for op in both.ops)
    assert len(both.sources) == 1


def test_a_line_that_was_rewritten_in_its_place_is_the_same_line() -> None:
    before = "y = w * 2\ny = y.exp()\nz = y.sin()"
    after = "y = w * 2\nthe_very_same = torch.Tensor.exp(y)\nz = the_very_same.sin()"
    both = dbr.compare(recorded(before), recorded(after))
    assert sides(both) == [("mul", ""), ("exp", ""), ("sin", "")]


def test_moved_code_has_its_own_lines_where_only_b_ran_it() -> None:
    text = "y = w * 2\nif {}:\n    y = y.sin()\nelse:\n    y = y.cos()"
    both = dbr.compare(recorded(text.format("1")), recorded(text.format("0"), first=9))
    assert sides(both) == [("mul", ""), ("sin", "A"), ("cos", "B")]
    assert [op.line for op in both.ops] == [2, 4, 14]


# ---- drawn graphs ----


def test_graphs_whose_results_have_other_names_are_compared_from_their_roots() -> None:
    a, b, c, d = (torch.tensor(float(n), requires_grad=True) for n in range(4))
    first = (a.exp() * b).sin()
    second = (c.exp() * d).sin()
    both = dbr.compare(dbr.draw(first), dbr.draw(second))
    assert {node.side for node in both.nodes} == {edge.side for edge in both.edges} == {""}
    leaves = {node.leaf for node in both.nodes if node.leaf is not None}
    assert {both.tensors[i].side for i in leaves} == {""}


def test_a_leaf_of_a_drawn_graph_is_the_same_as_the_one_that_its_node_fills() -> None:
    a, b, c = (torch.tensor(float(n), requires_grad=True) for n in (1, 2, 3))
    d, e = (torch.tensor(float(n), requires_grad=True) for n in (4, 5))
    first = torch.stack([a * b, c.sin()])
    second = torch.stack([d.exp(), e.sin()])
    both = dbr.compare(dbr.draw(first), dbr.draw(second))
    sides = {leaf.name: (leaf.side, leaf.other and leaf.other.name) for leaf in both.leaves}
    assert sides == {"a": ("A", None), "b": ("A", None), "c": ("", "e"), "d": ("B", None)}


def test_a_result_that_both_graphs_hold_is_one_result() -> None:
    w = torch.tensor(2.0, requires_grad=True)

    def graph(number: float) -> dbr.Tape:
        held = w * number
        return dbr.draw(held.exp())

    both = dbr.compare(graph(2.0), graph(3.0))
    results = [(t.name, t.side) for t in both.tensors if t.kind == "result"]
    assert sorted(results, key=str) == [("held", ""), (None, "")]


def test_a_result_that_both_graphs_hold_under_other_names_is_one_result() -> None:
    w = torch.tensor(2.0, requires_grad=True)
    mine = w * 2
    first = dbr.draw(mine.exp())
    yours = w * 3
    del mine
    both = dbr.compare(first, dbr.draw(yours.exp()))
    (held,) = (t for t in both.tensors if t.kind == "result" and t.name)
    assert (held.name, held.side, held.other.name) == ("mine", "", "yours")


def test_a_parameter_is_not_the_same_leaf_as_a_plain_tensor() -> None:
    first = dbr.draw(torch.nn.Parameter(torch.tensor(2.0)).exp())
    second = dbr.draw(torch.tensor(2.0, requires_grad=True).exp())
    both = dbr.compare(first, second)
    assert [node.side for node in both.nodes] == ["", "A", "B"]


def test_nodes_of_different_operations_stay_apart_though_the_same_node_leads_to_them() -> None:
    text = "if {}:\n    y = w.exp()\nelse:\n    y = torch.exp(w)\nz = y * 3"
    both = dbr.compare(recorded(text.format("1")), recorded(text.format("0")))
    assert sides(both) == [("exp", "A"), ("exp", "B"), ("mul", "")]
    apart = [(node.name, node.side) for node in both.nodes if node.side]
    assert apart == [("ExpBackward0", "A"), ("ExpBackward0", "B")]


def test_the_root_of_graphs_that_begin_differently_is_that_of_a() -> None:
    w = torch.tensor(2.0, requires_grad=True)
    sine, cosine = w.sin(), w.cos()
    both = dbr.compare(dbr.draw(sine), dbr.draw(cosine))
    root = both.tensors[both.root]
    assert (root.name, root.side, both.nodes[root.node].name) == ("sine", "A", "SinBackward0")


# ---- words ----


@pytest.mark.parametrize(
    ("a", "b", "together"),
    [
        ("one a two three", "one b c two three", "one A a · B b c two three"),
        ("a one two three", "one two three", "A a · B – one two three"),
        ("one two three", "one two three four", "one two three A – · B four"),
    ],
)
def test_what_stands_around_a_longer_difference_stands_there_once(
    a: str, b: str, together: str
) -> None:
    assert word_diff(a, b) == together
