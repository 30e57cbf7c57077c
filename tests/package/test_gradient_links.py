"""Gradients that are tensors of the run have arrows: what backward is given, what runs in a custom backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import definebyrun as dbr


def arrows(tape: dbr.Tape) -> set[tuple[str, str, str]]:
    """The titles of the cards that dashed arrows join, with the word at the end of each."""
    cards, links, _ = tape.view.drawn
    titles = {card.id: card.title for card in cards}
    return {(titles[x.tail], titles[x.head], x.head_word) for x in links if x.edge is None}


@pytest.mark.parametrize("start", [torch.Tensor.backward, torch.autograd.backward])
def test_the_vector_of_backward_has_an_arrow_to_what_it_is_the_gradient_of(start: Any) -> None:
    w, v = torch.ones(3, requires_grad=True), torch.tensor([1.0, 2.0, 3.0])
    with dbr.record() as tape:
        y = w * 2
        start(y, v)
    assert ("v", "y = mul", "grad") in arrows(tape)
    assert dbr.load(tape.json()).trace == tape.trace


def test_a_pass_from_a_scalar_has_none() -> None:
    w = torch.ones(3, requires_grad=True)
    with dbr.record() as tape:
        (w * 2).sum().backward()
    assert arrows(tape) == set()


def test_a_vector_of_the_pass_before_has_no_arrow_in_the_next() -> None:
    w, v = torch.ones(3, requires_grad=True), torch.ones(3)
    with dbr.record() as tape:
        y = w * 2
        y.backward(v, retain_graph=True)
        y.sum().backward()
    assert [step.given for step in tape.steps if step.given] == [(2,)]


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 3

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad * 3


def test_what_runs_in_the_backward_of_a_function_is_connected() -> None:
    w = torch.ones(2, requires_grad=True)
    with dbr.record() as tape:
        x = w.exp()
        Scaled.apply(x).sum().backward()
    found = arrows(tape)
    assert ("Scaled#3", "grad", "") in found
    assert any(a.endswith(", in backward") and (b, c) == ("x = exp", "grad") for a, b, c in found)
    for way in (tape, tape.fold(repeats=True), dbr.compare(tape, tape)):
        assert dbr.load(way.json()).trace == way.trace
        way.html()


def test_each_result_of_grad_hangs_from_what_made_it() -> None:
    w, b = (torch.ones(2, requires_grad=True) for _ in range(2))
    with dbr.record() as tape:
        inner = (w * b).sum()
        gw, gb = torch.autograd.grad(inner, [w, b], create_graph=True)
        (gw * gb).sum().backward()
    cards, links, _ = tape.view.drawn
    titles = {card.id: card.title for card in cards}
    joined = {(titles[x.tail], titles[x.head]) for x in links}
    assert {("b", "gw = grad"), ("w", "gb = grad")} <= joined
