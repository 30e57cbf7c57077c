"""Exercise `fit_batch`: a training on one batch that has five silent bugs."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from ...grading import Drawn, Exercise, Right, Wrong, counted, drawn, expect, near, shown, tried
from ...grading.forms import said

__all__ = ["EXERCISE"]

FitBatch = Callable[[nn.Module, optim.Optimizer, Tensor, Tensor, int], Any]
OPTIMIZERS = {
    "SGD": partial(optim.SGD, lr=0.5),
    "SGD with momentum": partial(optim.SGD, lr=0.2, momentum=0.5),
}


class Mode(nn.Module):
    """Doubles in training mode, as a stand-in for dropout that has no chance in it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if self.training else x


@dataclass(frozen=True)
class Case:
    """One training: its sizes, how often it steps, by which optimizer, and the state in which the network comes."""

    rows: int
    classes: int
    steps: int
    optimizer: str = "SGD"
    stale: float | None = None
    trains: bool = True

    @property
    def words(self) -> str:
        rows, steps = counted(self.rows, "row"), counted(self.steps, "step")
        what = f"{rows}, {self.classes} classes, {steps} of {self.optimizer}"
        what += "" if self.trains else ", a network that comes in eval()"
        return what + ("" if self.stale is None else f", {self.stale:g} everywhere in .grad before")


CASES = (
    Case(1, 2, 1),
    Case(2, 3, 1),
    Case(3, 3, 1),
    Case(3, 2, 1, trains=False),
    Case(3, 2, 1, stale=1.0),
    Case(4, 3, 2),
    Case(4, 3, 3, "SGD with momentum", stale=-2.0, trains=False),
    Case(2, 3, 0, stale=5.0, trains=False),
)
"""From the smallest up; in the third a wrong axis of the softmax does not show in the shape."""
FEATURES = 2


def _start(
    case: Case, draw: Drawn, dtype: torch.dtype
) -> tuple[nn.Module, optim.Optimizer, Tensor, Tensor]:
    net = nn.Sequential(nn.Linear(FEATURES, 3), Mode(), nn.Tanh(), nn.Linear(3, case.classes))
    net.to(dtype)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(draw.normal(*p.shape))
            p.grad = None if case.stale is None else torch.full_like(p, case.stale)
    inputs = draw.normal(case.rows, FEATURES).to(dtype)
    labels = torch.tensor([draw.whole(0, case.classes - 1) for _ in range(case.rows)])
    net.train(case.trains)
    return net, OPTIMIZERS[case.optimizer](net.parameters()), inputs, labels


def check_fit_batch(fit_batch: FitBatch) -> None:
    """`fit_batch(net, optimizer, inputs, labels, steps)` trains on one batch and gives the losses."""
    for dtype in (torch.float32, torch.float64):
        for case in CASES:
            _judge(fit_batch, case, Drawn(case.rows), dtype)
    draw = drawn()
    case = Case(draw.whole(5, 8), 4, draw.whole(2, 4), "SGD with momentum", stale=3.0)
    _judge(fit_batch, case, draw, torch.float64, f" ({draw})")


def _judge(
    fit_batch: FitBatch, case: Case, draw: Drawn, dtype: torch.dtype, seed: str = ""
) -> None:
    net, optimizer, inputs, labels = _start(case, draw, dtype)
    twin = deepcopy(net)
    want = _fit(twin, OPTIMIZERS[case.optimizer](twin.parameters()), inputs, labels, case.steps)
    found = fit_batch(net, optimizer, inputs, labels, case.steps)
    where = f"for {case.words}{seed}"
    expect(
        isinstance(found, list | tuple),
        f"The answer is a list of losses; yours is {said(found)}.",
        "Is a `return` missing?" if found is None else "Collect one number in each step.",
    )
    expect(
        not any(isinstance(loss, Tensor) for loss in found),
        f"The list holds tensors {where}, not Python numbers.",
        "A tensor keeps its memory, and a loss keeps its graph's last node besides.",
    )
    expect(
        len(found) == case.steps,
        f"The list has {counted(len(found), 'number')} {where}.",
        "One for each step, and none for no step.",
    )
    if found:
        expect(
            near(torch.tensor(found[0]), torch.tensor(want[0]), atol=1e-4),
            f"The first loss is {found[0]:.4f} {where}; mean cross-entropy of what the network gives "
            f"before any step is {want[0]:.4f}.",
            "No step was taken yet: look at the formula of the loss, at the rows, and at the mode.",
        )
    for i, (loss, wanted) in enumerate(zip(found, want, strict=True)):
        expect(
            near(torch.tensor(loss), torch.tensor(wanted), atol=1e-4),
            f"The first losses are right, and before step {i} the loss is {loss:.4f} {where}; "
            f"it should be {wanted:.4f}.",
            "An earlier step moved the weights by something else than the gradient of its own loss.",
        )
    for (name, p), wanted in zip(net.named_parameters(), twin.parameters(), strict=True):
        expect(
            near(p, wanted, atol=1e-4),
            f"The losses are right, and {name} is {shown(p.flatten()[:3])} … at the end {where}; "
            f"it should be {shown(wanted.flatten()[:3])} ….",
            "The last step counts too: which gradient did it use, and was it taken?",
        )
    expect(
        all(module.training for module in net.modules()),
        f"The network is not in training mode at the end {where}.",
        "It may come in eval(), also when there is no step to take.",
    )


# ---- answers ----


def _fit(
    net: nn.Module,
    optimizer: optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    steps: int,
    scores: Callable[[Tensor], Tensor] = lambda z: z,
    reduction: str = "mean",
    mode: bool | None = True,
    clear: str = "before",
    kept: Callable[[Tensor], Any] = Tensor.item,
    taken: bool = True,
    after: bool = False,
    restored: bool = False,
) -> Any:
    """The solution, with its faults as switches."""
    losses, came = [], net.training
    if mode is not None:
        net.train(mode)
    if clear == "once":
        optimizer.zero_grad()
    for _ in range(steps):
        if clear == "before":
            optimizer.zero_grad()
        loss = F.cross_entropy(scores(net(inputs)), labels, reduction=reduction)
        loss.backward()
        if clear == "between":
            optimizer.zero_grad()
        if taken:
            optimizer.step()
        if clear == "after":
            optimizer.zero_grad()
        losses.append(kept(F.cross_entropy(net(inputs), labels) if after else loss))
    if restored:
        net.train(came)
    return losses


def _with_a_closure(
    net: nn.Module, optimizer: optim.Optimizer, inputs: Tensor, labels: Tensor, steps: int
) -> list[float]:
    def closure() -> float:
        optimizer.zero_grad()
        loss = -net(inputs).log_softmax(1).gather(1, labels[:, None]).mean()
        loss.backward()
        return loss.item()

    net.train()
    return [optimizer.step(closure) for _ in range(steps)]


def _by_autograd_grad(
    net: nn.Module, optimizer: optim.Optimizer, inputs: Tensor, labels: Tensor, steps: int
) -> list[float]:
    net.train()
    losses, parameters = [], list(net.parameters())
    for _ in range(steps):
        loss = F.cross_entropy(net(inputs), labels, reduction="sum") / len(labels)
        for p, grad in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.grad = grad
        optimizer.step()
        losses.append(loss.item())
    return losses


def _own_optimizer(
    net: nn.Module, optimizer: optim.Optimizer, inputs: Tensor, labels: Tensor, steps: int
) -> Any:
    return _fit(net, optim.SGD(net.parameters(), lr=0.5), inputs, labels, steps)


def _first_row(
    net: nn.Module, optimizer: optim.Optimizer, inputs: Tensor, labels: Tensor, steps: int
) -> Any:
    return _fit(net, optimizer, inputs[:1], labels[:1], steps)


def _one_step_more(
    net: nn.Module, optimizer: optim.Optimizer, inputs: Tensor, labels: Tensor, steps: int
) -> Any:
    return _fit(net, optimizer, inputs, labels, steps + 1)


def _step_after_the_last(
    net: nn.Module, optimizer: optim.Optimizer, inputs: Tensor, labels: Tensor, steps: int
) -> Any:
    losses = _fit(net, optimizer, inputs, labels, steps)
    if steps:
        _fit(net, optimizer, inputs, labels, 1)
    return losses


def _last_loss(*given: Any) -> Any:
    losses = _fit(*given)
    return losses[-1] if losses else 0.0


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "as it was": (
        {"scores": lambda z: z.softmax(0), "mode": None, "clear": "never", "kept": lambda x: x},
        "The list holds tensors",
    ),
    "tensors": ({"kept": lambda loss: loss}, "The list holds tensors"),
    "detached tensors": ({"kept": Tensor.detach}, "The list holds tensors"),
    "softmax over the rows": ({"scores": lambda z: z.softmax(0)}, "The first loss is 0.6931"),
    "softmax twice": ({"scores": lambda z: z.softmax(1)}, "The first loss is 1.0348"),
    "log_softmax over the rows": (
        {"scores": lambda z: z.log_softmax(0)},
        "The first loss is 0.6931",
    ),
    "the sum": ({"reduction": "sum"}, "The first loss is 3.4031"),
    "in eval()": ({"mode": False}, "The first loss is 1.4965"),
    "the mode as it comes": ({"mode": None}, "The first loss is 0.3308"),
    "the mode put back": ({"restored": True}, "is not in training mode at the end"),
    "no zero_grad": ({"clear": "never"}, "0.weight is [0.3344, -0.2477"),
    "zero_grad once": ({"clear": "once"}, "0.weight is [-2.121"),
    "zero_grad after the step": ({"clear": "after"}, "0.weight is [0.3344, -0.2477"),
    "zero_grad before the step": ({"clear": "between"}, "0.weight is [0.6614, 0.2669"),
    "no step": ({"taken": False}, "0.weight is [0.6614, 0.2669"),
    "the loss after the step": ({"after": True}, "The first loss is 0.2634"),
}


def oracle(fit_batch: FitBatch) -> Any:
    """The losses, their kind, the weights and the mode afterwards, for trainings of many sizes and states."""
    cases = [*CASES, Case(7, 2, 3, stale=1e3), Case(3, 7, 2, "SGD with momentum", trains=False)]

    def told(case: Case, seed: int) -> Any:
        net, optimizer, inputs, labels = _start(case, Drawn(seed), torch.float64)
        losses = list(fit_batch(net, optimizer, inputs, labels, case.steps))
        kinds = [isinstance(loss, Tensor) for loss in losses]
        modes = [module.training for module in net.modules()]
        return [[float(loss) for loss in losses], kinds, modes, *net.parameters()]

    return [tried(told, case, seed) for case in cases for seed in (1, 2)]


EXERCISE = Exercise(
    "fit_batch",
    "Every step follows the gradient of its own loss.",
    check_fit_batch,
    (
        *(Wrong(name, partial(_fit, **fault), says) for name, (fault, says) in FAULTS.items()),
        Wrong("an optimizer of its own", _own_optimizer, "before step 1 the loss is 1.0334"),
        Wrong("the first row", _first_row, "The first loss is 2.5493"),
        Wrong("one step more", _one_step_more, "The list has 2 numbers"),
        Wrong("a step after the last", _step_after_the_last, "0.09005"),
        Wrong("the last loss", _last_loss, "yours is 1.599"),
        Wrong("no return", lambda *given: _fit(*given) and None, "Is a `return` missing?"),
    ),
    right=(
        Right("a closure and log_softmax", _with_a_closure),
        Right("by autograd.grad", _by_autograd_grad),
    ),
    may_change=(0, 1),
    oracle=oracle,
)
