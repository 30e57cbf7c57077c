"""Exercise `two_losses`: the gradients of two losses that share a trunk, apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    counted,
    drawn,
    expect,
    forms,
    near,
    plain,
    shown,
    untouched,
)
from ..models import filled

__all__ = ["EXERCISE"]

Separate = Callable[[Tensor, Tensor, Iterable[Tensor]], Any]


class Case:
    """Two losses, the parameters by name, and one that both losses use, if they do."""

    def __init__(
        self, code: str, first: Tensor, second: Tensor, parameters: dict[str, Tensor], shared: str
    ) -> None:
        self.code, self.losses, self.parameters = code, (first, second), parameters
        self.shared = parameters.get(shared)

    def wanted(self) -> list[tuple[Tensor, ...]]:
        """The gradients of each loss; the graph stays whole."""
        return [
            autograd.grad(
                loss, [*self.parameters.values()], retain_graph=True, materialize_grads=True
            )
            for loss in self.losses
        ]


def _small(code: str) -> Case:
    p = torch.tensor([0.3, -1.2], dtype=torch.get_default_dtype(), requires_grad=True)
    q = torch.tensor([[0.7, 0.1, 2.3]], dtype=p.dtype, requires_grad=True)
    if code == "h.sum() and (h * h).sum(), where h = p.exp()":
        h = p.exp()
        return Case(code, h.sum(), (h * h).sum(), {"p": p}, "p")
    q.grad = torch.full_like(q, 5.0)
    return Case(code, (p * p).sum(), (q * q).mean(), {"p": p, "q": q}, "")


def _network(draw: Drawn, code: str) -> Case:
    model = nn.ModuleDict(
        {"trunk": nn.Linear(2, 3), "one": nn.Linear(3, 1), "two": nn.Linear(3, 4)}
    )
    for number, parameter in enumerate(filled(draw, model).parameters()):
        parameter.grad = torch.full_like(parameter, 2.0) if number % 2 else None
    h = model["trunk"](draw.normal(5, 2, dtype=torch.get_default_dtype())).tanh()
    losses = model["one"](h).square().mean(), model["two"](h).sin().sum()
    named = {name.replace(".", "_"): parameter for name, parameter in model.named_parameters()}
    return Case(code, *losses, named, "trunk_weight")


def check_separate(separate: Separate) -> None:
    """`separate(first, second, parameters)` returns two tuples of gradients and leaves no .grad."""
    _judge(separate, _small("h.sum() and (h * h).sum(), where h = p.exp()"), list)
    _judge(separate, _small("(p * p).sum() and (q * q).mean()"), list)
    _judge(separate, _network(Drawn(1), "a trunk with two heads"), tuple)
    _judge(separate, _network(Drawn(2), "a trunk with two heads"), iter)
    draw = drawn()
    _judge(separate, _network(draw, f"a trunk with two heads ({draw})"), iter)


def _judge(separate: Separate, case: Case, form: Callable[[Iterable[Tensor]], Any]) -> None:
    first, second = case.losses
    want, names = case.wanted(), [*case.parameters]
    with untouched(**case.parameters):
        found = separate(first, second, form([*case.parameters.values()]))
    found = forms.sequence(found, "The answer", 2)
    hint = "model.parameters() is a generator: it can be read once." if form is iter else ""
    expect(
        not any(isinstance(part, Tensor) for part in found),
        f"For {case.code} yours returned two tensors; the answer is two tuples of tensors.",
        "The gradients of first are a tuple, and those of second another.",
    )
    both = [forms.sequence(part, f"For {case.code} each of the two") for part in found]
    lengths = [len(part) for part in both]
    expect(
        lengths == [len(names)] * 2,
        f"For {case.code} you gave {lengths[0]} and {lengths[1]} gradients for {counted(len(names), 'parameter')}.",
        hint or "One gradient for each parameter, in their order.",
    )
    expect(
        not (_same(both[0], want[1]) and _same(both[1], want[0])) or _same(*want),
        f"For {case.code} the two are in the wrong order.",
        "The gradients of first come first.",
    )
    for number, (which, part) in enumerate(zip(("first", "second"), both, strict=True)):
        for name, grad, right in zip(names, part, want[number], strict=True):
            _judge_one(case, which, name, grad, right)
    _freed(case)


def _same(found: Iterable[Any], want: Iterable[Tensor]) -> bool:
    return all(near(one, two) for one, two in zip(found, want, strict=True))


def _judge_one(case: Case, which: str, name: str, grad: Any, right: Tensor) -> None:
    expect(
        grad is not None,
        f"For {case.code} the gradient of {which} for {name} is None.",
        "A loss does not use what only the other uses. There is an argument that gives zeros instead.",
    )
    expect(
        isinstance(grad, Tensor) and grad.shape == right.shape,
        f"For {case.code} the gradient of {which} for {name} is {shown(grad)}, not a tensor of the shape "
        f"{tuple(right.shape)}.",
        "A gradient has the shape of its parameter, a gradient of zeros too.",
    )
    expect(
        near(grad, right, rtol=1e-4, atol=1e-6),
        f"For {case.code} the gradient of {which} for {name} is {shown(grad)}, which is not that of {which} alone.",
        "Does anything of the other loss come in, or of an earlier pass?",
    )


def _freed(case: Case) -> None:
    if case.shared is None:
        return
    for loss in case.losses:
        try:
            autograd.grad(loss, case.shared)
        except RuntimeError:
            continue
        expect(
            False,
            f"For {case.code} the trunk still holds its saved tensors.",
            "Which of the two passes is the last to need them?",
        )


# ---- answers ----


def apart(
    first: Tensor,
    second: Tensor,
    parameters: Iterable[Tensor],
    retain: tuple[bool, bool] = (True, False),
    zeros: bool = True,
    missing: Callable[[Tensor], Any] = lambda parameter: None,
    kept: Callable[[Iterable[Tensor]], Any] = list,
) -> Any:
    """The solution with its usual mistakes as switches."""
    parameters = kept(parameters)
    options = {"materialize_grads": True} if zeros else {"allow_unused": True}
    found = []
    for loss, retained in zip((first, second), retain, strict=True):
        given = list(parameters)
        grads = autograd.grad(loss, given, retain_graph=retained, **options) if given else ()
        found.append(
            tuple(missing(p) if g is None else g for p, g in zip(given, grads, strict=True))
        )
    return tuple(found)


def _by_backward(
    first: Tensor, second: Tensor, parameters: Iterable[Tensor], tidy: bool = True
) -> Any:
    parameters, found = list(parameters), []
    for loss, retained in ((first, True), (second, False)):
        for p in parameters if tidy else ():
            p.grad = None
        loss.backward(retain_graph=retained)
        found.append(
            tuple(torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters)
        )
    for p in parameters if tidy else ():
        p.grad = None
    return tuple(found)


def _of_the_sum(first: Tensor, second: Tensor, parameters: Iterable[Tensor]) -> Any:
    grads = autograd.grad(first + second, list(parameters), materialize_grads=True)
    return grads, grads


def _batched(first: Tensor, second: Tensor, parameters: Iterable[Tensor]) -> Any:
    parameters, losses = list(parameters), torch.stack([first, second])
    rows = torch.eye(2, dtype=losses.dtype)
    grads = autograd.grad(losses, parameters, rows, is_grads_batched=True, allow_unused=True)
    both = [
        torch.zeros(2, *p.shape) if g is None else g for p, g in zip(parameters, grads, strict=True)
    ]
    return [[g[0] for g in both], [g[1] for g in both]]


def _second_first(first: Tensor, second: Tensor, parameters: Iterable[Tensor]) -> Any:
    parameters = list(parameters)
    grads: list[Any] = []
    for loss, retained in ((second, True), (first, False)):
        found = autograd.grad(loss, parameters, retain_graph=retained, allow_unused=True)
        grads.append(
            [
                torch.zeros_like(p) if g is None else g
                for p, g in zip(parameters, found, strict=True)
            ]
        )
    return grads[1], grads[0]


def separated(separate: Separate) -> Any:
    """The oracle: the gradients, every .grad afterwards, and whether the trunk is free."""

    def cases() -> Iterator[Case]:
        yield _small("h.sum() and (h * h).sum(), where h = p.exp()")
        yield _small("other")
        for seed in range(3):
            yield _network(Drawn(seed), "")

    found: list[Any] = []
    for form in (list, iter):
        for case in cases():
            parameters = [*case.parameters.values()]
            try:
                parts = separate(*case.losses, form(parameters))
                told: Any = [[plain(grad) for grad in part] for part in parts]
                _freed(case)
            except Exception as error:
                told = type(error).__name__
            found.append([told, plain(parameters), plain([p.grad for p in parameters])])
    return found


EXERCISE = Exercise(
    "two_losses",
    "Apart, untouched, and freed by the last pass.",
    check_separate,
    (
        Wrong(
            "nothing retained",
            lambda *a: apart(*a, retain=(False, False)),
            "backward through the graph a second time",
        ),
        Wrong("retained for ever", lambda *a: apart(*a, retain=(True, True)), "still holds"),
        Wrong("None left in", lambda *a: apart(*a, zeros=False), "is None"),
        Wrong(
            "0.0 for zeros",
            lambda *a: apart(*a, zeros=False, missing=lambda p: 0.0),
            "for q is 0, not a tensor",
        ),
        Wrong(
            "one zero for zeros",
            lambda *a: apart(*a, zeros=False, missing=lambda p: torch.zeros(1)),
            "for q is [0], not a tensor",
        ),
        Wrong(
            "a generator read twice", lambda *a: apart(*a, kept=lambda p: p), "6 and 0 gradients"
        ),
        Wrong("by backward, .grad emptied", _by_backward, "parameters[1], its .grad"),
        Wrong("by backward", lambda *a: _by_backward(*a, tidy=False), "argument 3[0], its .grad"),
        Wrong("of the sum", _of_the_sum, "which is not that of first alone"),
        Wrong("the other way round", lambda f, s, p: apart(s, f, p), "in the wrong order"),
        Wrong(
            "first alone",
            lambda f, s, p: apart(f, s, p)[0],
            "The answer has 2 entries; yours has 1",
        ),
        Wrong(
            "all in one list",
            lambda f, s, p: sum(apart(f, s, p), ()),
            "yours returned two tensors",
        ),
    ),
    right=(
        Right("both in one pass, lists", _batched),
        Right("second first", _second_first),
    ),
    oracle=separated,
)
