"""Every number in a record is declared once, as an index into a list or as a plain number."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from definebyrun.trace import Block, Edge, Grad, Node, Op, Saved, Step, Trace
from definebyrun.trace.references import (
    FIELDS,
    LISTS,
    Index,
    Moment,
    Nested,
    Plain,
    indices,
    renumbered,
)
from definebyrun.trace.value import Value

HINTS = [
    (kind, name, hint)
    for kind in FIELDS
    for name, hint in get_type_hints(kind).items()
    if name in {each.name for each in fields(kind)}
]


def holds_a_number(hint: Any) -> bool:
    """Whether an annotation has an `int` in it, outside the values of tensors and other records."""
    return hint is int or any(map(holds_a_number, get_args(hint)))


def form(hint: Any) -> str:
    """How an annotation holds indices: one, several, or several pairs that begin with one."""
    if get_origin(hint) is not tuple:
        return "one"
    return "first" if get_origin(get_args(hint)[0]) is tuple else "each"


@pytest.mark.parametrize(("kind", "name", "hint"), HINTS, ids=lambda part: str(part)[:40])
def test_every_field_with_a_number_in_it_says_what_the_number_means(
    kind: Any, name: str, hint: Any
) -> None:
    declared = FIELDS[kind].get(name)
    if isinstance(declared, Nested):
        assert hint == tuple[declared.kind, ...]
    else:
        assert holds_a_number(hint) == (declared is not None)
    if isinstance(declared, Index):
        assert declared.form == form(hint)
        assert declared.of in {*LISTS, "passes", "storages"}
    if isinstance(declared, Plain | Moment):
        assert form(hint) == "one"


def test_every_list_of_a_trace_and_every_record_in_one_is_declared() -> None:
    hints = get_type_hints(Trace)
    lists = {
        name: get_args(hint)[0]
        for name, hint in hints.items()
        if get_origin(hint) is tuple and get_args(hint)[0] is not str
    }
    assert lists == LISTS
    assert {*LISTS.values(), Saved} == {*FIELDS}
    for kind in FIELDS:
        assert {*FIELDS[kind]} <= {each.name for each in fields(kind)}


def test_indices_are_found_in_every_form() -> None:
    op = Op(
        1,
        "mul",
        line=3,
        code="",
        scope="",
        inputs=(4, 5),
        outputs=(6,),
        args=(4, "2"),
        stack=((0, 3),),
    )
    assert [*indices(op)] == [
        ("index", "ops", 1),
        ("inputs", "tensors", 4),
        ("inputs", "tensors", 5),
        ("outputs", "tensors", 6),
        ("stack", "sources", 0),
        ("args", "tensors", 4),
    ]
    node = Node(2, "MulBackward0", saved=(Saved("self", 7, 8, 4),))
    assert [*indices(node)][1:] == [
        ("saved.storage", "storages", 7),
        ("saved.tensor", "tensors", 4),
    ]


def test_numbers_change_in_every_form_and_what_is_gone_is_left_out() -> None:
    op = Op(1, "mul", line=3, code="", scope="", inputs=(4, 5), outputs=(6,), args=(4, "2", 5))
    numbers = {"tensors": {4: 0, 5: None, 6: 2}, "ops": {1: 9}}
    new = renumbered(op, numbers)
    assert (new.index, new.inputs, new.outputs, new.args) == (9, (0,), (2,), (0, "2"))
    one = Value((), "int64", (1,))
    step = Step(0, "backward", node=1, passed=((0, one), (3, one)))
    assert renumbered(step, {"edges": {0: None, 3: 1}}).passed == ((1, one),)
    assert renumbered(Block(1, 3, outer=2), {"blocks": {1: 0, 2: None}}) == Block(0, 3)
    assert renumbered(Edge(0, 1, 2, 0, 0), {}) == Edge(0, 1, 2, 0, 0)
    with pytest.raises(KeyError):
        renumbered(Edge(0, 1, 2, 0, 0), {"nodes": {1: 0}})


def test_a_moment_stays_between_the_same_steps() -> None:
    steps = {0: 2, 1: 5}
    moments = [renumbered(Grad(0, since), {"steps": steps}).since for since in range(4)]
    assert moments == [0, 3, 6, 7]  # before all, after the first and second, after the last
