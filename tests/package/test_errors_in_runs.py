"""An error in a recorded program: its traceback is that of a plain run, and the tape has all that ran before it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

import definebyrun as dbr


def by_operator() -> None:
    torch.ones(2) @ torch.ones(3, 2)


def by_module() -> None:
    nn.Sequential(nn.Linear(3, 3))(torch.ones(2))


def by_hook() -> None:
    y = torch.ones(2, requires_grad=True) * 2
    y.register_hook(refuse)
    y.sum().backward()


def by_autograd() -> None:
    torch.autograd.backward(torch.ones(2, requires_grad=True) * 2)


def by_grad() -> None:
    w = torch.ones(2, requires_grad=True)
    torch.autograd.grad(w.sum(), [torch.ones(2)])


def by_item() -> None:
    torch.ones(2).item()


def refuse(_: Any) -> None:
    raise ValueError("no")


def lines_of(program: Callable[[], None], *, recorded: bool) -> list[tuple[str, int | None]]:
    """The lines of this file that the traceback of a program's error shows."""
    try:
        with dbr.record() if recorded else nullcontext():
            program()
    except Exception as error:
        shown = traceback.extract_tb(error.__traceback__)[1:]
        assert not any("recorder" in each.filename for each in shown)
        return [(each.name, each.lineno) for each in shown if each.filename == __file__]
    raise AssertionError("the program has not raised")


@pytest.mark.parametrize(
    "program", [by_operator, by_module, by_hook, by_autograd, by_grad, by_item]
)
def test_the_traceback_of_an_error_is_that_of_a_plain_run(program: Callable[[], None]) -> None:
    assert lines_of(program, recorded=True) == lines_of(program, recorded=False)


@pytest.mark.parametrize("start", [torch.Tensor.backward, torch.autograd.backward])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_gradient_is_shown_although_a_hook_behind_it_raises(start: Any, scale: int) -> None:
    w = torch.ones((), requires_grad=True)
    w.register_post_accumulate_grad_hook(refuse)
    with pytest.raises(ValueError, match="no"), dbr.record() as tape:
        start(w if scale == 1 else w * scale)
    last = tape.steps[-1]
    assert last.node is not None
    assert tape.nodes[last.node].leaf is not None
    assert (last.before, last.after.tolist()) == (None, scale)
    assert "w: leaf 1, grad" in tape.text()


def test_a_pass_after_one_that_has_failed_is_shown_as_it_is() -> None:
    w = torch.ones(2, requires_grad=True)
    handle = w.register_post_accumulate_grad_hook(refuse)
    with dbr.record() as tape:
        with pytest.raises(ValueError, match="no"):
            (w * 2).sum().backward()
        handle.remove()
        (w * 2).sum().backward()
    assert "w: leaf [1, 1], grad [4, 4]" in tape.text()
    assert [step.after.tolist() for step in tape.steps if step.after] == [[2.0, 2.0], [4.0, 4.0]]
