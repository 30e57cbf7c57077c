"""Functions and captures of them, as exercise `verdicts` compares them: each with the right verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx

__all__ = ["Function", "Pair", "Refusal", "pairs"]

Function = Callable[[Tensor], Tensor]


class Refusal(Exception):
    """An exception that nobody knows."""


def _raising(error: type[Exception]) -> Function:
    def captured(x: Tensor) -> Tensor:
        raise error("Guard failed: x.size()[0] == 2")

    return captured


def _scaled(x: Tensor) -> Tensor:
    with torch.no_grad():
        s = x.abs().max()
    return x / s


def _writing(x: Tensor) -> Tensor:
    with torch.no_grad():
        x.mul_(2)
    return x * 1


@dataclass(frozen=True)
class Pair:
    """What is compared, both functions, the right verdict, and what to look at."""

    what: str
    function: Function
    captured: Function
    want: str
    hint: str


def pairs() -> list[Pair]:
    values = "Compare the results number by number, and their shapes."
    error = "An error of the capture is an answer, too, whatever its type."
    grads = "Two gradients, of copies of x that ask for them: compare these as well."
    none = "Some results have no gradient, and backward raises an error. None twice is the same, None and zeros is not."
    return [
        Pair(
            "the same function twice, x * 2 and x + x",
            lambda x: x * 2,
            fx.symbolic_trace(lambda x: x + x),
            "ok",
            values,
        ),
        Pair("x * 2 and x * 3", lambda x: x * 2, lambda x: x * 3, "WRONG", values),
        Pair("x * 2 and x * 2 + 0.01", lambda x: x * 2, lambda x: x * 2 + 0.01, "WRONG", values),
        Pair(
            "x * 2 and x.flip(0) * 2, whose sums are equal",
            lambda x: x * 2,
            lambda x: x.flip(0) * 2,
            "WRONG",
            values,
        ),
        Pair(
            "x.sum() and the same number twice",
            lambda x: x.sum(),
            lambda x: x.sum().expand(2),
            "WRONG",
            values,
        ),
        Pair(
            "x * 2 and the same numbers as a row",
            lambda x: x * 2,
            lambda x: (x * 2)[None],
            "WRONG",
            values,
        ),
        Pair(
            "a capture that raises a RuntimeError",
            lambda x: x * 2,
            _raising(RuntimeError),
            "refused",
            error,
        ),
        Pair(
            "a capture that raises a TypeError",
            lambda x: x * 2,
            _raising(TypeError),
            "refused",
            error,
        ),
        Pair(
            "a capture that raises an exception of its own",
            lambda x: x * 2,
            _raising(Refusal),
            "refused",
            error,
        ),
        Pair(
            "x / x.abs().max() and a capture that holds the divisor",
            _scaled,
            fx.symbolic_trace(_scaled),
            "WRONG",
            grads,
        ),
        Pair("x * x and x * x.detach()", lambda x: x * x, lambda x: x * x.detach(), "WRONG", grads),
        Pair(
            "x * 2 and a capture whose gradients have the same sum",
            lambda x: x * 2,
            lambda x: x * 2 + (x - x.detach()).flip(0) * _signs(x),
            "WRONG",
            grads,
        ),
        Pair(
            "x * 2 and (x * 2).detach()", lambda x: x * 2, lambda x: (x * 2).detach(), "WRONG", none
        ),
        Pair("x.detach() * 2 and x * 2", lambda x: x.detach() * 2, lambda x: x * 2, "WRONG", none),
        Pair(
            "x.detach() on both sides", lambda x: x.detach(), lambda x: x.detach() * 1, "ok", none
        ),
        Pair(
            "ones, and the same from x * 0",
            lambda x: torch.ones_like(x),
            lambda x: x * 0 + 1,
            "WRONG",
            none,
        ),
        Pair(
            "x * 2 and a capture that writes into its x",
            lambda x: x * 2,
            _writing,
            "WRONG",
            "Each of the two gets a copy of its own.",
        ),
        Pair(
            "a function that writes into its x, twice",
            _writing,
            lambda x: _writing(x),
            "ok",
            "Each of the two gets a copy of its own.",
        ),
    ]


def _signs(x: Tensor) -> Tensor:
    return torch.arange(len(x), dtype=x.dtype) - (len(x) - 1) / 2
