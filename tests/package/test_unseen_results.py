"""Results that no torch call has shown are on the tape wherever the program keeps them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

import definebyrun as dbr


class Square(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return 2 * grad * ctx.saved_tensors[0]


class Split(Function):
    @staticmethod
    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, x * 3

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return 2 * first + 3 * second


class Reversed(Function):
    """Its forward gives its input back, in which no torch call is seen."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return -grad


def kept_in_a_list(y: torch.Tensor) -> Any:
    return [y]


def kept_in_a_dict_of_tuples(y: torch.Tensor) -> Any:
    return {"a": (1, y)}


def kept_in_an_attribute(y: torch.Tensor) -> Any:
    return SimpleNamespace(y=y)


def not_kept(y: torch.Tensor) -> Any:
    return None


@pytest.mark.parametrize(
    "keep", [kept_in_a_list, kept_in_a_dict_of_tuples, kept_in_an_attribute, not_kept]
)
@pytest.mark.parametrize("function", [Square, Split])
def test_the_result_of_a_custom_function_has_its_node(function: Any, keep: Any) -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        kept = keep(function.apply(w))
    assert [op.name for op in tape.ops if op.opaque] == [function.__name__]
    assert [node.name for node in tape.nodes if node.leaf is None] == [
        f"{function.__name__}Backward"
    ]
    assert [edge.target for edge in tape.edges] == [
        node.index for node in tape.nodes if node.leaf is not None
    ]
    del kept


@pytest.mark.parametrize("keep", [kept_in_a_list, kept_in_a_dict_of_tuples, kept_in_an_attribute])
def test_a_function_in_which_no_call_was_seen_is_found_by_where_its_result_lies(keep: Any) -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        kept = keep(Reversed.apply(w))
    assert [node.name for node in tape.nodes if node.leaf is None] == ["ReversedBackward"]
    del kept


def test_what_vmap_gives_is_found_in_a_list() -> None:
    w = torch.ones(3, requires_grad=True)
    with dbr.record() as tape:
        kept = [torch.vmap(lambda x: x * 2)(w)]
    assert [node.name for node in tape.nodes if node.leaf is None] == ["MulBackward0"]
    assert tape.tensors[-1].value.tolist() == kept[0].tolist()


def test_what_was_there_before_is_no_result_of_the_recording() -> None:
    w = torch.ones(2, requires_grad=True)
    before = [Square.apply(w)]
    with dbr.record() as tape:
        torch.ones(2)
    assert not tape.nodes
    del before
