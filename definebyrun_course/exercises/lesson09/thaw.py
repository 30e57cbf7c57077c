"""Exercise `thaw`: a fine-tuning that raises nothing: the frozen body's buffers move, and unfrozen it stands still."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, near, plain
from ..models import filled
from . import thaw_answers as answers

__all__ = ["EXERCISE"]

FineTune = Callable[..., Any]
NEVER = 9
FROZEN = (
    "What is frozen has parameters and buffers, and a mode. Which line of the loop sets the mode?"
)
EARLY = "Batches are numbered from 0. From which one on may a parameter of the body move?"
UNKNOWN = "It asks for gradients and has them. Whom would you have to tell?"
RATES = "Go through one batch by hand: what is zeroed, which mode has each part, which rate has each step?"


class Doubled(nn.Module):
    """Computes one thing in training and another in evaluation, as dropout does, and without chance."""

    def forward(self, h: Tensor) -> Tensor:
        return 2 * h if self.training else h


@dataclass
class Case:
    """What an answer is given, and what the parts were before."""

    body: nn.Module
    head: nn.Module
    batches: list[tuple[Tensor, Tensor]]
    thaw: int
    lr: float

    @property
    def where(self) -> str:
        return f"for thaw = {self.thaw} and {len(self.batches)} batches"


def _body(draw: Drawn, kind: str, dtype: torch.dtype) -> nn.Module:
    """A body as its training has left it: perhaps in training mode, and with gradients."""
    layers: dict[str, list[nn.Module]] = {
        "plain": [nn.Linear(3, 2), nn.Tanh()],
        "norm": [nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Tanh()],
        "mode": [nn.Linear(3, 2), Doubled(), nn.Tanh()],
    }
    body = filled(draw, nn.Sequential(*layers[kind]).to(dtype))
    for p in body.parameters():
        p.grad = torch.ones_like(p)
    return body.train(kind != "mode")


def _case(
    draw: Drawn, kind: str, dtype: torch.dtype, batches: int, thaw: int, normed: bool = False
) -> Case:
    parts: list[nn.Module] = [nn.BatchNorm1d(2)] if normed else []
    head = filled(draw, nn.Sequential(*parts, nn.Linear(2, 1)).to(dtype))
    body = _body(draw, kind, dtype)
    given = [
        (draw.normal(4, 3, dtype=dtype), draw.normal(4, 1, dtype=dtype)) for _ in range(batches)
    ]
    return Case(body, head, given, thaw, 0.1)


def _cases(draw: Drawn) -> list[Case]:
    """From the smallest up: never unfrozen, from the first batch on, on the way."""
    cases = []
    for dtype in (torch.float32, torch.float64):
        cases += [
            _case(draw, "plain", dtype, 1, NEVER),
            _case(draw, "norm", dtype, 1, NEVER),
            _case(draw, "mode", dtype, 2, NEVER),
            _case(draw, "mode", dtype, 2, 2, normed=True),
            _case(draw, "plain", dtype, 1, 0),
            _case(draw, "plain", dtype, 2, 1),
            _case(draw, "norm", dtype, 3, 1),
            _case(draw, "mode", dtype, 4, 2, normed=True),
            _case(draw, "norm", dtype, 5, 3),
        ]
    return cases


def _by_hand(case: Case) -> tuple[nn.Module, nn.Module]:
    """Copies of body and head, trained without an optimizer."""
    body, head = copy.deepcopy(case.body), copy.deepcopy(case.head)
    for part in (body, head):
        part.requires_grad_(True)
    for number, (x, target) in enumerate(case.batches):
        open_now = number >= case.thaw
        body.train(open_now)
        head.train()
        moving = [(p, case.lr) for p in head.parameters()]
        moving += [(p, case.lr / 10) for p in body.parameters() if open_now]
        loss = (head(body(x)) - target).square().mean()
        grads = autograd.grad(loss, [p for p, _ in moving])
        with torch.no_grad():
            for (p, rate), grad in zip(moving, grads, strict=True):
                p -= rate * grad
    return body, head


def check_thaw(fine_tune: FineTune) -> None:
    """`fine_tune(body, head, batches, thaw, lr)` trains in place: the head always, the body from batch `thaw` on."""
    for case in _cases(Drawn(1)):
        _judge(fine_tune, case, "")
    draw = drawn()
    for case in _cases(draw):
        _judge(fine_tune, case, f" ({draw})")


def _judge(fine_tune: FineTune, case: Case, source: str) -> None:
    was = copy.deepcopy(case.body.state_dict())
    want_body, want_head = (part.state_dict() for part in _by_hand(case))
    fine_tune(case.body, case.head, case.batches, case.thaw, case.lr)
    found, where = case.body.state_dict(), f"{case.where}{source}"
    for name, before in was.items():
        if case.thaw >= len(case.batches):
            expect(
                torch.equal(found[name], before),
                f"The body's {name} has changed {where}, and the body was frozen all the time.",
                FROZEN if name in dict(case.body.named_buffers()) else EARLY,
            )
        elif not near(want_body[name], before):
            expect(
                not torch.equal(found[name], before),
                f"The body's {name} is what it was {where}.",
                FROZEN if name in dict(case.body.named_buffers()) else UNKNOWN,
            )
    for part, state, want in (
        ("head", case.head.state_dict(), want_head),
        ("body", found, want_body),
    ):
        for name, value in want.items():
            expect(
                near(state[name], value, rtol=1e-4, atol=1e-5),
                f"The {part}'s {name} ends elsewhere {where} than the statement says.",
                RATES,
            )


def told(fine_tune: FineTune) -> Any:
    """The oracle: all numbers of body and head afterwards, or the kind of the error."""
    found: list[Any] = []
    for seed in range(2):
        for case in _cases(Drawn(seed)):
            try:
                fine_tune(case.body, case.head, case.batches, case.thaw, case.lr)
                states = [part.state_dict() for part in (case.body, case.head)]
                found.append(states)
            except Exception as error:
                found.append(type(error).__name__)
    return plain(found)


def _with(**switches: Any) -> FineTune:
    return lambda *given: answers.tuned(*given, **switches)


EXERCISE = Exercise(
    "thaw",
    "Frozen to the last buffer, and then all of it learns.",
    check_thaw,
    (
        Wrong("as it was", answers.as_it_was, "running_mean has changed for thaw = 9"),
        Wrong("eval once", answers.eval_once, "running_mean has changed for thaw = 9"),
        Wrong(
            "only the optimizer mended",
            _with(mode=lambda body, is_open: None),
            "running_mean has changed for thaw = 9",
        ),
        Wrong(
            "only the mode mended",
            _with(known=lambda body: []),
            "0.weight is what it was for thaw = 0",
        ),
        Wrong(
            "never unfrozen",
            _with(opened=lambda number, thaw: False),
            "0.weight is what it was for thaw = 0",
        ),
        Wrong(
            "one batch late",
            _with(opened=lambda number, thaw: number > thaw),
            "0.weight is what it was for thaw = 0",
        ),
        Wrong(
            "one batch early",
            _with(opened=lambda number, thaw: number >= thaw - 1),
            "0.weight has changed for thaw = 2",
        ),
        Wrong(
            "in evaluation for ever",
            _with(mode=lambda body, is_open: body.eval()),
            "1.running_mean is what it was",
        ),
        Wrong(
            "batch norm alone",
            _with(mode=answers.norms_only),
            "The head's 0.weight ends elsewhere for thaw = 9 and 2 batches",
        ),
        Wrong(
            "the head in evaluation, too",
            answers.all_in_evaluation,
            "The head's 0.weight ends elsewhere for thaw = 2 and 2",
        ),
        Wrong(
            "put back after each batch",
            answers.put_back,
            "The head's 0.weight ends elsewhere for thaw = 9 and 1 batches",
        ),
        Wrong("one rate", _with(share=1), "The body's 0.weight ends elsewhere for thaw = 0"),
        Wrong(
            "ten times the rate",
            _with(share=10),
            "The body's 0.weight ends elsewhere for thaw = 0",
        ),
        Wrong(
            "gradients pile up",
            _with(zeroed=lambda number: number == 0),
            "The head's 0.weight ends elsewhere for thaw = 9 and 2 batches",
        ),
        Wrong(
            "the group after zero_grad",
            answers.group_too_late,
            "The body's 0.weight ends elsewhere for thaw = 0",
        ),
        Wrong(
            "the sum",
            _with(loss=lambda out, target: (out - target).square().sum()),
            "The head's 0.weight ends elsewhere for thaw = 9 and 1 batches",
        ),
        Wrong(
            "momentum",
            _with(momentum=0.9),
            "The head's 0.weight ends elsewhere for thaw = 9 and 2 batches",
        ),
        Wrong(
            "copies trained",
            lambda body, head, *rest: answers.tuned(
                copy.deepcopy(body), copy.deepcopy(head), *rest
            ),
            "The head's 0.weight ends elsewhere for thaw = 9 and 1 batches",
        ),
    ),
    right=(
        Right("a group when it is opened", answers.group_in_time),
        Right("a new optimizer", answers.optimizer_anew),
        Right("without an optimizer", answers.without_optimizer),
    ),
    may_change=(0, 1),
    allows={"returns its argument": "what the function returns is asked nowhere"},
    oracle=told,
)
