"""Exercise `step_bytes`: the bytes of weights, gradients and optimizer state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn, optim

from ...grading import Drawn, Exercise, Right, Wrong, drawn, expect, forms
from ..models import filled

__all__ = ["EXERCISE"]

StepBytes = Callable[[nn.Module, optim.Optimizer], Any]
Make = Callable[[Iterable[Tensor]], optim.Optimizer]
PARTS = ("weights", "gradients", "optimizer state")


@dataclass(frozen=True)
class Case:
    """A model and its optimizer after some steps, what they are in words, and what to look at when they are missed."""

    what: str
    model: nn.Module
    optimizer: optim.Optimizer
    hint: str


def _sgd(parameters: Iterable[Tensor]) -> optim.Optimizer:
    return optim.SGD(parameters, lr=0.1)


def _momentum(parameters: Iterable[Tensor]) -> optim.Optimizer:
    return optim.SGD(parameters, lr=0.1, momentum=0.9)


def _adam(parameters: Iterable[Tensor]) -> optim.Optimizer:
    return optim.Adam(parameters, lr=0.1)


def _stepped(model: nn.Module, optimizer: optim.Optimizer) -> optim.Optimizer:
    """Fills `.grad` by hand, so that no forward pass is needed, and takes a step."""
    for p in model.parameters():
        p.grad = torch.ones_like(p) if p.requires_grad else None
    optimizer.step()
    return optimizer


class _Tied(nn.Module):
    """An embedding whose table is the output's weight as well."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3, dtype=torch.float32)
        self.head = nn.Linear(3, 5, bias=False, dtype=torch.float32)
        self.head.weight = self.table.weight


def _cases(draw: Drawn) -> list[Case]:
    f32, f64, bf16 = torch.float32, torch.float64, torch.bfloat16
    n, m = draw.whole(2, 6), draw.whole(7, 9)

    def case(what: str, model: nn.Module, make: Make, hint: str, steps: bool = True) -> Case:
        filled(draw, model)
        optimizer = make(model.parameters())
        return Case(what, model, _stepped(model, optimizer) if steps else optimizer, hint)

    frozen = nn.Sequential(nn.Linear(n, m, dtype=f32), nn.Linear(m, 2, dtype=f32))
    frozen[0].requires_grad_(False)
    normed = nn.Sequential(nn.Linear(n, m, dtype=f64), nn.BatchNorm1d(m, dtype=f64))
    grown = nn.Sequential(nn.Linear(n, 2, dtype=f32))
    half = nn.Linear(n, m, dtype=bf16)
    cases = [
        case(
            "one linear layer before its first step",
            nn.Linear(1, 1, dtype=f32),
            _adam,
            "Before the first step there is no gradient and no state.",
            steps=False,
        ),
        case(
            "one linear layer after a step of SGD",
            nn.Linear(2, 3, dtype=f32),
            _sgd,
            "Weight and bias, and a gradient for each; plain SGD keeps nothing. Bytes, not numbers.",
        ),
        case(
            "one linear layer after a step of Adam",
            nn.Linear(2, 3, dtype=f32),
            _adam,
            "Print optimizer.state: Adam has two means for each parameter, and a third tensor that is easily missed.",
        ),
        case("a layer in bfloat16, with momentum", half, _momentum, "A bfloat16 has two bytes."),
        case("a frozen layer below a trainable one", frozen, _adam, "What is frozen has no .grad."),
        case("a batch norm in float64", normed, _momentum, "Running statistics are buffers."),
        case("an embedding tied to the output", _Tied(), _adam, "One parameter under two names."),
    ]
    old = _stepped(grown, _adam([*grown.parameters()]))
    grown[0] = filled(draw, nn.Linear(n, 3, dtype=f32))
    hint = "The optimizer was not told of the new layer: it keeps state for the old one, which takes memory still."
    return [*cases, Case("a layer that was replaced", grown, old, hint)]


def check_step_bytes(step_bytes: StepBytes) -> None:
    """`step_bytes(model, optimizer)` returns bytes of weights, gradients and optimizer state."""
    draw = drawn()
    for source, cases in (("", _cases(Drawn(1))), (f" ({draw})", _cases(draw))):
        for case in cases:
            found = forms.wholes(step_bytes(case.model, case.optimizer), "The answer", 3)
            for part, number, want in zip(PARTS, found, counted(case), strict=True):
                expect(
                    number == want,
                    f"For {case.what} your bytes of {part} are {number}; {want} are there{source}.",
                    case.hint,
                )


def counted(case: Case) -> tuple[int, int, int]:
    """The three numbers, from the distinct parameters and all tensors of the state."""
    weights = [*case.model.parameters()]
    grads = [p.grad for p in weights if p.grad is not None]
    state = [v for entry in case.optimizer.state.values() for v in entry.values()]
    return _size(weights), _size(grads), _size(v for v in state if isinstance(v, Tensor))


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


# ---- answers ----


def told(
    weights: Callable[[nn.Module], Iterable[Tensor]] = lambda model: model.parameters(),
    has: Callable[[Tensor], Any] = lambda p: p.grad,
    state: Callable[[Tensor], bool] = lambda v: True,
    size: Callable[[Tensor], int] = lambda t: t.nbytes,
    order: tuple[int, int, int] = (0, 1, 2),
) -> StepBytes:
    """The solution with its usual mistakes as switches."""

    def step_bytes(model: nn.Module, optimizer: optim.Optimizer) -> tuple[int, ...]:
        grads = [has(p) for p in weights(model) if has(p) is not None]
        kept = [v for entry in optimizer.state.values() for v in entry.values()]
        parts = (
            sum(map(size, weights(model))),
            sum(map(size, grads)),
            sum(size(v) for v in kept if isinstance(v, Tensor) and state(v)),
        )
        return tuple(parts[i] for i in order)

    return step_bytes


def _from_groups(model: nn.Module, optimizer: optim.Optimizer) -> tuple[int, ...]:
    listed = [p for group in optimizer.param_groups for p in group["params"]]
    grads = [p.grad for p in listed if p.grad is not None]
    return _size(listed), _size(grads), told()(model, optimizer)[2]


def _of_the_model_alone(model: nn.Module, optimizer: optim.Optimizer) -> tuple[int, ...]:
    kept = [v for p in model.parameters() for v in optimizer.state.get(p, {}).values()]
    weights, grads, _ = told()(model, optimizer)
    return weights, grads, _size(v for v in kept if isinstance(v, Tensor))


def _of_adam(model: nn.Module, optimizer: optim.Optimizer) -> tuple[int, ...]:
    weights, grads, _ = told()(model, optimizer)
    return weights, grads, 2 * weights if optimizer.state else 0


def _every_name(model: nn.Module) -> list[Tensor]:
    return [p for _, p in model.named_parameters(remove_duplicate=False)]


def _by_storage(model: nn.Module, optimizer: optim.Optimizer) -> dict[str, int]:
    memory = {p.data_ptr(): p for p in model.state_dict(keep_vars=True).values() if _is_weight(p)}
    grads = {p.grad.data_ptr(): p.grad for p in memory.values() if p.grad is not None}
    saved = optimizer.state_dict()["state"]
    state = [v for entry in saved.values() for v in entry.values() if torch.is_tensor(v)]
    sizes = (
        sum(t.untyped_storage().nbytes() for t in each)
        for each in (memory.values(), grads.values(), state)
    )
    return dict(zip(PARTS, sizes, strict=True))


def _is_weight(p: Tensor) -> bool:
    return isinstance(p, nn.Parameter)


def oracle(step_bytes: StepBytes) -> Any:
    """The three numbers for all cases, of two seeds."""
    found: list[Any] = []
    for case in (*_cases(Drawn(2)), *_cases(Drawn(3))):
        try:
            found.append(forms.wholes(step_bytes(case.model, case.optimizer)))
        except Exception as error:
            found.append(type(error).__name__)
    return found


EXERCISE = Exercise(
    "step_bytes",
    "Three of the four bars, of any model.",
    check_step_bytes,
    (
        Wrong("numbers, not bytes", told(size=lambda t: t.numel()), "weights are 2; 8 are there"),
        Wrong(
            "four bytes a number",
            told(size=lambda t: 4 * t.numel()),
            "in bfloat16, with momentum your bytes of weights",
        ),
        Wrong(
            "buffers, too",
            told(weights=lambda model: [*model.parameters(), *model.buffers()]),
            "batch norm in float64 your bytes of weights",
        ),
        Wrong(
            "every name",
            told(weights=_every_name),
            "tied to the output your bytes of weights",
        ),
        Wrong(
            "a gradient for each weight",
            told(has=lambda p: p),
            "before its first step your bytes of gradients",
        ),
        Wrong(
            "the step counter left out",
            told(state=lambda v: v.dim() > 0),
            "step of Adam your bytes of optimizer state are 72;",
        ),
        Wrong("twice the weights", _of_adam, "step of Adam your bytes of optimizer state are 72;"),
        Wrong("what the optimizer lists", _from_groups, "that was replaced your bytes of weights"),
        Wrong(
            "state of the model's parameters alone",
            _of_the_model_alone,
            "that was replaced your bytes of optimizer state are 0;",
        ),
        Wrong("in another order", told(order=(0, 2, 1)), "step of SGD your bytes of gradients"),
        Wrong(
            "one sum",
            lambda model, optimizer: sum(told()(model, optimizer)),
            "such as a list; this is 8",
        ),
    ),
    right=(
        Right("with element sizes", lambda m, o: list(counted(Case("", m, o, "")))),
        Right("a generator", lambda m, o: (n for n in told()(m, o))),
        Right("by memory", lambda m, o: [*_by_storage(m, o).values()]),
    ),
    oracle=oracle,
)
