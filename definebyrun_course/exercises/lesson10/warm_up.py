"""Exercise `warm_up`: a module whose exported program forgets to count is repaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ...grading import Exercise, Right, Wrong, drawn, expect, forms, near, plain, shown
from .exports import PYTHON_DECIDES, exported, require_module_class

__all__ = ["EXERCISE"]

CALLS, STEPS = 12, 10
"""So often each module is called; the factor is 1 from the tenth call on."""
SAVED_AFTER_CALLS = 3
REFUSALS = {
    "data-dependent": (
        PYTHON_DECIDES,
        "The smaller of two numbers can be found by an operation.",
    )
}
OTHERWISE = "Everything that happens to the count has to be an operation on a tensor that the module has registered."


def check_warm_up(module: type[nn.Module]) -> None:
    """The module counts its calls in eager mode and in an exported program, and its state can be saved."""
    require_module_class(module, "WarmUp")
    x = torch.tensor([1.0, -2.0])
    for who in ("a module in eager mode", "a second module in eager mode"):
        _judge(module(), x, who, "")
    _judge(as_program(module(), x), x, "the exported program", "")
    _judge_state(module, x)
    draw = drawn()
    x = draw.normal(draw.whole(2, 4), 3, dtype=torch.float64)
    _judge(as_program(module(), x), x, "the exported program", f" ({draw})")


def as_program(module: nn.Module, x: Tensor) -> Any:
    """The exported program as a module; `Mistake` where it cannot be exported."""
    return exported(lambda: module, (x,), REFUSALS, OTHERWISE).module()


def _judge(call: Callable[[Tensor], Any], numbers: Tensor, who: str, source: str) -> None:
    for nr in range(1, CALLS + 1):
        factor = min(nr / STEPS, 1.0)
        x = numbers.clone().requires_grad_()
        found = forms.tensor(call(x), who, tuple(numbers.shape))
        said = f"In call {nr} {who} makes {shown(found)} of {shown(numbers)}{source}"
        expect(torch.equal(x.detach(), numbers), f"{said}, and changes its input.", "x stays.")
        expect(near(found, numbers * factor, atol=1e-5), f"{said}.", _hint(nr, who))
        expect(found.requires_grad, f"{said}, without a graph.", "Gradients flow to x.")
        [grad] = autograd.grad(found.sum(), x)
        expect(
            near(grad, torch.full_like(x, factor), atol=1e-5),
            f"{said}; the value is right, and the gradient is {shown(grad)}.",
            "The factor of the call is the slope, too.",
        )


def _hint(nr: int, who: str) -> str:
    if who.startswith("a second") and nr == 1:
        return "Each module has a count of its own."
    if "exported" in who and nr == 1:
        return "Capturing runs your forward once: which state has it written to for good?"
    if "exported" in who:
        return "What the first call left behind has to be there in the next one: which tensors does export write back?"
    return "0.1 in the first call, a tenth more in each of the next nine, and then 1."


def _judge_state(module: type[nn.Module], x: Tensor) -> None:
    program, fresh = as_program(module(), x), as_program(module(), x)
    for _ in range(SAVED_AFTER_CALLS):
        program(x)
    fresh.load_state_dict({name: value.clone() for name, value in program.state_dict().items()})
    factor = (SAVED_AFTER_CALLS + 1) / STEPS
    found = forms.tensor(fresh(x), "the exported program", tuple(x.shape))
    expect(
        near(found, x * factor, atol=1e-5),
        f"The state_dict of a program was saved after {SAVED_AFTER_CALLS} calls and loaded into a fresh one, whose "
        f"next call makes {shown(found)} of {shown(x)}.",
        "Which of a module's tensors are in its state_dict?",
    )


# ---- answers ----


class _Counting(nn.Module):
    """The solution, with its usual mistakes as class attributes."""

    persistent, most = True, 1.0

    def __init__(self) -> None:
        super().__init__()
        self.calls: Any
        self.register_buffer("calls", torch.tensor(0), persistent=self.persistent)

    def count(self) -> None:
        self.calls += 1

    def forward(self, x: Tensor) -> Tensor:
        self.count()
        return x * (self.calls / STEPS).clamp(max=self.most)


class _AnInt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * min(self.calls / STEPS, 1.0)


class _ATensor(_Counting):
    """A tensor that is no buffer."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.calls = torch.tensor(0)


class _NotSaved(_Counting):
    persistent = False


class _Shared(_Counting):
    """All modules write to one tensor, made anew for each answer that is judged."""

    tensors: list[Tensor]

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.register_buffer("calls", self.tensors[0])


def _sharing() -> type[nn.Module]:
    return type("Shared", (_Shared,), {"tensors": [torch.tensor(0)]})


class _Item(_Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.count()
        return x * min(self.calls.item() / STEPS, 1.0)


class _Data(_Counting):
    def count(self) -> None:
        self.calls.data += 1


class _Afterwards(_Counting):
    def forward(self, x: Tensor) -> Tensor:
        y = x * (self.calls / STEPS).clamp(max=1)
        self.count()
        return y


class _Unlimited(_Counting):
    most = 9.0


class _Nearly(_Counting):
    most = 0.9


class _Detached(_Counting):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class _TwiceTheSlope(_Counting):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + (x - x.detach()))


class _Writing(_Counting):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        x.data.zero_()
        return y


class _Assigned(_Counting):
    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return torch.where(self.calls < STEPS, x * self.calls / STEPS, x)


class _Rate(nn.Module):
    """The factor itself is the state."""

    rate: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rate", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.rate.add_(1 / STEPS).clamp_(max=1.0)
        return x * self.rate.to(x.dtype)


class _Chosen(_Counting):
    """By torch.cond."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        calls = self.calls.float()
        factor = torch.cond(
            calls < STEPS, lambda n: n / STEPS, lambda n: torch.ones_like(n), (calls,)
        )
        return x * factor


def told(module: type[nn.Module]) -> Any:
    """The oracle: values, gradients and states of twelve calls, in eager mode and exported, for several shapes."""
    found: list[Any] = []
    for shape in ((), (1,), (3, 2)):
        x = torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)
        try:
            for call in (module(), module(), as_program(module(), x)):
                found.append([_answer(call, x) for _ in range(CALLS)])
            _judge_state(module, x)
        except Exception as error:
            found.append([type(error).__name__, str(error)[:40]])
    return found


def _answer(call: Callable[[Tensor], Any], numbers: Tensor) -> Any:
    x = numbers.clone().requires_grad_()
    y = call(x)
    grad = autograd.grad(y.sum(), x)[0] if y.requires_grad else None
    return [_rounded(y), grad is not None and _rounded(grad), plain(x)]


def _rounded(x: Tensor) -> Any:
    return (x.detach() * 1000).round().tolist()


EXERCISE = Exercise(
    "warm_up",
    "It counts in the graph, and the count can be saved.",
    check_warm_up,
    (
        Wrong("an int", _AnInt, "In call 2 the exported program makes [0.1, -0.2] of [1, -2]"),
        Wrong("no buffer", _ATensor, "In call 1 the exported program makes [0.2, -0.4]"),
        Wrong("not saved", _NotSaved, "whose next call makes [0.1, -0.2]"),
        Wrong("one count for all", _sharing(), "In call 1 a second module"),
        Wrong("item and min", _Item, "Python decides on a value"),
        Wrong("through .data", _Data, "torch.export refuses with"),
        Wrong("counted afterwards", _Afterwards, "In call 1 a module in eager mode makes [0, "),
        Wrong("no end", _Unlimited, "In call 11 a module in eager mode makes [1.1, -2.2]"),
        Wrong("nine tenths", _Nearly, "In call 10 a module in eager mode makes [0.9, -1.8]"),
        Wrong("detached", _Detached, "makes [0.1, -0.2] of [1, -2], without a graph"),
        Wrong("twice the slope", _TwiceTheSlope, "and the gradient is [0.2, 0.2]"),
        Wrong("writes into x", _Writing, "and changes its input"),
        Wrong("an object", nn.Identity(), "this is Identity()"),
    ),
    right=(
        Right("assigned, and where", _Assigned),
        Right("the factor as state", _Rate),
        Right("torch.cond", _Chosen),
    ),
    oracle=told,
)
