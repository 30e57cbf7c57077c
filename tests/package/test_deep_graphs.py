"""A graph so deep that PyTorch may not free it is told of, once, on the user's line."""

from __future__ import annotations

import warnings
from unittest.mock import patch

import pytest
import torch

import definebyrun as dbr
from definebyrun.recorder import deep_graphs

SENTENCE = (
    r"this graph is 11 nodes deep, and PyTorch may end the process .* more than 10 .* detach\(\)"
)


def chain(length: int) -> torch.Tensor:
    x = torch.ones(1, requires_grad=True)
    for _ in range(length):
        x = x + 1
    return x


@pytest.fixture(autouse=True)
def ten_nodes_are_deep() -> object:
    with patch.object(deep_graphs, "MAX_SAFE_DEPTH", 10):
        yield


def test_a_deep_graph_that_is_recorded_is_told_of() -> None:
    with pytest.warns(RuntimeWarning, match=SENTENCE) as told, dbr.record() as tape:
        chain(10)
    assert [each.filename for each in told] == [__file__]
    assert len(tape.nodes) == 11


def test_a_deep_graph_that_is_drawn_is_told_of() -> None:
    x = chain(10)
    with pytest.warns(RuntimeWarning, match=SENTENCE) as told:
        dbr.draw(x)
    assert [each.filename for each in told] == [__file__]


def test_many_nodes_that_lie_side_by_side_are_no_deep_graph() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with dbr.record():
            for _ in range(20):
                chain(9).backward()
        dbr.draw(sum([chain(2) for _ in range(6)], torch.zeros(1)))
