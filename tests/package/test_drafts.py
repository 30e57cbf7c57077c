"""What a type checker sees of a draft is what the record has: names, order, types and defaults of its fields."""

from __future__ import annotations

import ast
from dataclasses import MISSING, fields
from pathlib import Path
from typing import NamedTuple

import pytest

from definebyrun.recorder import drafts
from definebyrun.trace import Node, Op, Step, TensorVersion
from definebyrun.trace.frozen import sealed

RECORDS = {"TensorDraft": TensorVersion, "OpDraft": Op, "NodeDraft": Node, "StepDraft": Step}


class Field(NamedTuple):
    name: str
    type: str
    default: object


def declared() -> dict[str, tuple[list[Field], list[Field]]]:
    """By class that only a type checker sees: its fields that may be given by position, and the others."""
    tree = ast.parse(Path(drafts.__file__).read_text("utf-8"))
    (checked,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    found = {}
    for kind in checked.body:
        if isinstance(kind, ast.ClassDef):
            parts: tuple[list[Field], list[Field]] = ([], [])
            by_name = False
            for line in kind.body:
                if isinstance(line, ast.AnnAssign):
                    name, type_ = ast.unparse(line.target), ast.unparse(line.annotation)
                    default = MISSING if line.value is None else ast.literal_eval(line.value)
                    if type_ == "KW_ONLY":
                        by_name = True
                    else:
                        parts[by_name].append(Field(name, type_, default))
            found[kind.name] = parts
    return found


def test_every_draft_is_declared() -> None:
    assert set(declared()) == set(RECORDS)
    assert set(RECORDS) < set(drafts.__all__)


@pytest.mark.parametrize("name", RECORDS)
def test_a_draft_has_the_fields_of_its_record(name: str) -> None:
    record = [Field(each.name, str(each.type), each.default) for each in fields(RECORDS[name])]
    by_position, by_name = declared()[name]
    assert by_position == record[: len(by_position)]
    assert [each for each in record if each in by_name] == by_name


@pytest.mark.parametrize("name", RECORDS)
def test_a_draft_can_be_changed_until_it_is_sealed(name: str) -> None:
    required = [each.name for each in fields(RECORDS[name]) if each.default is MISSING]
    draft = getattr(drafts, name)(**dict.fromkeys(required))
    draft.index = 3
    (record,) = sealed([draft], RECORDS[name])
    assert (type(record), record.index) == (RECORDS[name], 3)
    with pytest.raises(AttributeError):
        record.index = 4
