"""Exercise `left_out`: batches that fail, half way or at once, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from ...grading import (
    Drawn,
    Exercise,
    Mistake,
    Right,
    Wrong,
    drawn,
    expect,
    forms,
    near,
    plain,
    shown,
)

__all__ = ["EXERCISE"]

Loss = Callable[[], Tensor]
Train = Callable[[list[Loss], Optimizer], Any]
HALF_WAY = "Which leaves have received their gradient when a pass stops, and what does the next batch do with it?"


class _Fails(torch.autograd.Function):
    """Passes its input on, and raises backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("out of memory, backward")


class Run:
    """Two parameters, an optimizer, and losses by kind: fine (`o`), refused forward (`f`), half way back (`b`)."""

    def __init__(self, draw: Drawn, kinds: str, adam: bool, old: bool) -> None:
        self.kinds, self.calls = kinds, 0
        dtype = torch.get_default_dtype()
        self.w = draw.normal(2).to(dtype).requires_grad_()
        self.b = draw.normal(1).to(dtype).requires_grad_()
        if old:
            self.w.grad, self.b.grad = torch.full_like(self.w, 9.0), torch.full_like(self.b, 9.0)
        parameters = [self.w, self.b]
        self.optimizer: Optimizer = (
            Adam(parameters, lr=0.1) if adam else SGD(parameters, lr=0.1, momentum=0.5)
        )
        self.data = draw.normal(len(kinds) + 1, 2).to(dtype)
        self.losses: list[Loss] = [self._loss(i, kind) for i, kind in enumerate(kinds)]

    def _loss(self, i: int, kind: str) -> Loss:
        def loss() -> Tensor:
            self.calls += 1
            if kind == "f":
                raise RuntimeError("out of memory, forward")
            if kind == "v":
                raise ValueError("a broken file")
            squares = (self.w * self.data[i]) ** 2
            return (_Fails.apply(squares) if kind == "b" else squares).sum() + 3.0 * self.b.sum()

        return loss

    def without_failures(self) -> None:
        """What the parameters should become."""
        for kind, loss in zip(self.kinds, self.losses, strict=True):
            if kind == "o":
                self.optimizer.zero_grad()
                loss().backward()
                self.optimizer.step()


def check_train(train: Train) -> None:
    """`train(losses, optimizer)` takes a step for each loss that does not fail, and counts the others."""
    for kinds in ("o", "oo", "fo", "bo", "obo", "ob", "obfbo", "ooo"):
        for adam in (False, True):
            for old in (False, True):
                _judge(train, Drawn(4), kinds, adam, old)
    fresh = drawn()
    kinds = "".join("obf"[fresh.whole(0, 2)] for _ in range(6)) + "bo"
    _judge(train, fresh, kinds, True, True, f" ({fresh})")
    _not_caught(train)


def _said(kinds: str) -> str:
    words = {"o": "good", "f": "failing forward", "b": "failing half way back"}
    return f"the batches ({', '.join(words[kind] for kind in kinds)})"


def _judge(train: Train, draw: Drawn, kinds: str, adam: bool, old: bool, source: str = "") -> None:
    run, right = (Run(Drawn(draw.seed), kinds, adam, given) for given in (old, False))
    right.without_failures()
    where = f"For {_said(kinds)}, with {'Adam' if adam else 'SGD'}{source},"
    try:
        found = train(run.losses, run.optimizer)
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise Mistake(
            f"{where} yours stopped with {type(error).__name__}: {error}.",
            "Forward and backward can both fail; the next batch comes all the same.",
        ) from error
    expect(
        run.calls == len(kinds),
        f"{where} {run.calls} losses were computed; there are {len(kinds)}.",
        "Each batch is tried once.",
    )
    hint = "What was in .grad before the call has no part in it." if old else HALF_WAY
    for name in ("w", "b"):
        mine, want = getattr(run, name).detach(), getattr(right, name).detach()
        expect(
            near(mine, want, rtol=1e-4, atol=1e-6),
            f"{where} {name} ends at {shown(mine)}; without the failing ones it is {shown(want)}.",
            hint,
        )
    state, wanted = (plain(each.optimizer.state_dict()) for each in (run, right))
    expect(
        state == wanted,
        f"{where} the optimizer's state is not what it is without the failing ones.",
        "A batch that is left out is no step.",
    )
    failed = len(kinds) - kinds.count("o")
    expect(
        forms.whole(found, "What train returns") == failed,
        f"{where} you returned {forms.said(found)}; {failed} were left out.",
        "Those that failed, forward or backward.",
    )


def _not_caught(train: Train) -> None:
    run = Run(Drawn(6), "ovo", False, False)
    try:
        train(run.losses, run.optimizer)
    except ValueError:
        return
    expect(
        False,
        "A ValueError in a loss was swallowed: a broken file is no lack of memory.",
        "Catch the one kind of error that the statement names.",
    )


# ---- answers ----


def trained(
    losses: list[Loss],
    optimizer: Optimizer,
    first: Callable[[Optimizer], Any] = lambda optimizer: optimizer.zero_grad(),
    caught: type[Exception] = RuntimeError,
    failed: Callable[[Optimizer], Any] = lambda optimizer: None,
    count: int = 1,
) -> int:
    """The solution with its usual mistakes as switches."""
    left_out = 0
    for loss in losses:
        first(optimizer)
        try:
            loss().backward()
        except caught:
            left_out += count
            failed(optimizer)
        else:
            optimizer.step()
    return left_out


def _cleared_after(
    losses: list[Loss], optimizer: Optimizer, at_start: bool = True, on_error: bool = True
) -> int:
    left_out = 0
    if at_start:
        optimizer.zero_grad()
    for loss in losses:
        try:
            loss().backward()
        except RuntimeError:
            left_out += 1
            if on_error:
                optimizer.zero_grad()
            continue
        optimizer.step()
        optimizer.zero_grad()
    return left_out


def _by_grad(losses: list[Loss], optimizer: Optimizer) -> int:
    """Nothing is written before the whole pass has run."""
    parameters, done = optimizer.param_groups[0]["params"], 0
    for loss in losses:
        try:
            grads = torch.autograd.grad(loss(), parameters)
        except RuntimeError:
            continue
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad
        optimizer.step()
        done += 1
    return len(losses) - done


def _only_backward(losses: list[Loss], optimizer: Optimizer) -> int:
    left_out = 0
    for loss in losses:
        optimizer.zero_grad()
        value = loss()
        try:
            value.backward()
        except RuntimeError:
            left_out += 1
        else:
            optimizer.step()
    return left_out


def _stopped(losses: list[Loss], optimizer: Optimizer) -> int:
    try:
        for done, loss in enumerate(losses):  # noqa: B007
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
    except RuntimeError:
        return len(losses) - done
    return 0


def runs(train: Train) -> Any:
    """The oracle: what is returned, the parameters, the optimizer's state, how many losses were computed."""
    found: list[Any] = []
    for number, kinds in enumerate(("o", "b", "f", "obo", "bbo", "fob", "obfbobo", "ovo", "bvo")):
        for adam in (False, True):
            for old in (False, True):
                run = Run(Drawn(300 + number), kinds, adam, old)
                try:
                    told: Any = plain(train(run.losses, run.optimizer))
                except Exception as error:
                    told = type(error).__name__
                state = plain(run.optimizer.state_dict())
                found.append([told, plain(run.w.detach()), plain(run.b.detach()), state, run.calls])
    return found


EXERCISE = Exercise(
    "left_out",
    "A batch that failed has left nothing behind.",
    check_train,
    (
        Wrong(
            "cleared after steps only",
            lambda *a: _cleared_after(*a, on_error=False),
            "Which leaves have received their gradient",
        ),
        Wrong(
            "old gradients counted",
            lambda *a: _cleared_after(*a, at_start=False),
            "before the call has no part in it",
        ),
        Wrong(
            "never cleared",
            lambda *a: trained(*a, first=lambda optimizer: None),
            "before the call has no part in it",
        ),
        Wrong(
            "only the backward pass tried",
            _only_backward,
            "yours stopped with RuntimeError: out of memory",
        ),
        Wrong("stops at the first", _stopped, "1 losses were computed; there are 2"),
        Wrong(
            "a step with what had come",
            lambda *a: trained(*a, failed=lambda optimizer: optimizer.step()),
            "Which leaves have received their gradient",
        ),
        Wrong(
            "a step of zeros",
            lambda *a: trained(
                *a,
                failed=lambda optimizer: (optimizer.zero_grad(set_to_none=False), optimizer.step()),
            ),
            "Which leaves have received their gradient",
        ),
        Wrong(
            "everything caught",
            lambda *a: trained(*a, caught=Exception),
            "A ValueError in a loss was swallowed",
        ),
        Wrong(
            "nothing caught",
            lambda *a: trained(*a, caught=KeyError),
            "yours stopped with RuntimeError: out of memory",
        ),
        Wrong("not counted", lambda *a: trained(*a, count=0), "you returned 0; 1 were left out"),
        Wrong("no return", lambda *a: trained(*a) and None, "is a whole number; this is None"),
    ),
    right=(
        Right("cleared at the start, after steps and after errors", _cleared_after),
        Right("by autograd.grad", _by_grad),
    ),
    may_change=(1,),
    oracle=runs,
)
