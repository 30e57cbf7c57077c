"""Exercises of lesson 08, Debugging a live graph: a bad module, a cut parameter, a hook that clips once, dead units."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]

HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"


def _left_behind(model: nn.Module) -> bool:
    return any(getattr(module, kind) for module in model.modules() for kind in HOOKS)


class _Divide(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x - x)


class _Overflow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs().add(1000).exp()


class _Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("this module always fails")


class _BadAtTheEnd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x) - float("inf")


# ---- 08.1: the first module that is not finite ----


def check_first_nonfinite(first_nonfinite: Callable[[nn.Module, Tensor], str | None]) -> None:
    """`first_nonfinite(model, x)` names the module where it begins, or gives None."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(3, 3), _Divide(), nn.ReLU())
    cases = [
        ("a healthy model", nn.Sequential(nn.Linear(3, 3), nn.Tanh()), None),
        ("a division by zero in an inner module", nn.Sequential(nn.Linear(3, 3), block), "1.1"),
        ("an overflow", nn.Sequential(nn.Linear(3, 3), _Overflow(), nn.Sigmoid()), "1"),
        ("a model that spoils the result itself", _BadAtTheEnd(), ""),
    ]
    for dtype in (torch.float32, torch.float64):
        for what, model, want in cases:
            found = first_nonfinite(model.to(dtype), torch.randn(4, 3, dtype=dtype))
            hint = "Infinity is not a finite number either." if what == "an overflow" else ""
            if want == "1.1" and found == "1":
                hint = "That one contains the culprit, and finishes after it."
            expect(found == want, f"For {what} the answer is {want!r}; yours is {found!r}.", hint)
            expect(not _left_behind(model), f"After {what}, a hook is left on the model.")
    failing = nn.Sequential(nn.Linear(3, 3), _Fails())
    with suppress(ValueError):
        first_nonfinite(failing, torch.randn(2, 3))
    expect(
        not _left_behind(failing),
        "When the model raises an error, your hooks stay on it.",
        "What runs in any case stands in a finally.",
    )


# ---- 08.2: parameters without a path ----


class _Cut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.scale = nn.Linear(3, 2), nn.Parameter(torch.ones(1))
        self.zeroed, self.unused = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) * self.scale.item() + 0 * self.zeroed + self.frozen


def check_unreachable(unreachable: Callable[[Tensor, nn.Module], list[str]]) -> None:
    """`unreachable(loss, model)` names the parameters to which no way leads."""
    torch.manual_seed(0)
    model = _Cut()
    loss = model(torch.randn(4, 3)).square().sum()
    found = list(unreachable(loss, model))
    expect("zeroed" not in found, "A parameter that is multiplied by zero is reached.")
    expect("frozen" not in found, "A parameter that asks for no gradient is not cut off.")
    expect(
        found == ["scale", "unused"],
        f"For a model with one cut and one unused parameter you give {found!r:.80}.",
        "Which AccumulateGrad nodes does the graph lead to, and whose are they?",
    )
    expect(
        all(p.grad is None for p in model.parameters()),
        "Your function writes to .grad of a parameter.",
    )
    try:
        loss.backward()
    except RuntimeError:
        expect(
            False,
            "After your function, loss.backward() fails: the graph has been freed.",
            "Look at the graph instead of running it, or keep it.",
        )
    expect(
        list(unreachable(torch.tensor(1.0), model))
        == [name for name, p in model.named_parameters() if p.requires_grad],
        "From a loss without a graph nothing is reached.",
    )
    line = nn.Linear(1, 1, bias=False)
    loss = line.weight.sum()
    for _ in range(3000):
        loss = loss + loss * 0.5
    expect(list(unreachable(loss, line)) == [], "The parameter at the end of a long chain is lost.")


# ---- 08.3: clip once ----


def check_clip_once(clip_once: Callable[[Tensor, float], Any]) -> None:
    """`clip_once(tensor, limit)` scales one gradient to the limit, then removes itself."""
    for dtype in (torch.float32, torch.float64):
        for seed, limit, want in (([3.0, 4.0], 1.0, [0.6, 0.8]), ([0.3, 0.4], 1.0, [0.3, 0.4])):
            x = torch.zeros(2, dtype=dtype, requires_grad=True)
            side = torch.zeros(2, dtype=dtype, requires_grad=True)
            v, h = side * 1, x * 1
            clip_once(h, limit)
            grad = torch.tensor(seed, dtype=dtype)
            (h + v).backward(grad, retain_graph=True)
            expect(x.grad is not None, "No gradient arrives behind the hook.")
            expect(
                torch.allclose(x.grad, torch.tensor(want, dtype=dtype)),
                f"A gradient {seed} with limit {limit:g} becomes {_told(x.grad)}.",
                "Scaled to the norm of the limit when it is longer, unchanged when not.",
            )
            expect(
                torch.equal(side.grad, torch.tensor(seed, dtype=dtype)),
                "The gradient of another tensor has changed, too.",
                "Two branches may be shown the same memory: return a new tensor.",
            )
            x.grad = None
            (h + v).backward(torch.tensor([30.0, 40.0], dtype=dtype))
            expect(
                torch.allclose(x.grad, torch.tensor([30.0, 40.0], dtype=dtype)),
                f"The second gradient is [30, 40] and becomes {_told(x.grad)}.",
                "Once the hook was called, whether it clipped or not, it goes.",
            )


def _told(x: Tensor) -> list[float]:
    return [round(v, 2) for v in x.flatten().tolist()]


# ---- 08.4: dead units ----


def _relus() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3), nn.ReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, 0], [0, 1]]))
        model[0].bias.copy_(torch.tensor([0.0, 0, -1, 0]))
        model[3].weight.zero_()
        model[3].bias.copy_(torch.tensor([-1.0, 1, -2]))
    return model


def check_dead_units(dead_units: Callable[[nn.Module, Iterable[Tensor]], dict[str, int]]) -> None:
    """`dead_units(model, batches)` counts, for each ReLU, the units that are off for all rows."""
    right, left = torch.tensor([[1.0, 0], [2, 1]]), torch.tensor([[-1.0, 0], [-3, -1]])
    cases = [
        ("one batch", [right], {"1": 2, "4": 2}),
        ("two batches", [right, left], {"1": 1, "4": 2}),
        ("batches of shape (2, 1, 2)", [right[:, None], left[:, None]], {"1": 1, "4": 2}),
    ]
    for training in (True, False):
        for what, batches, want in cases:
            model = _relus().train(training)
            graphs: list[bool] = []
            probe = model[0].register_forward_hook(
                lambda module, args, out, graphs=graphs: graphs.append(out.requires_grad)
            )
            found = dead_units(model, iter(batches))
            probe.remove()
            expect(
                found == want,
                f"For {what} the answer is {want}; yours is {found!r:.60}.",
                "A unit is dead when it is off for every row of every batch.",
            )
            expect(not any(graphs), "Your function builds a graph.")
            expect(not _left_behind(model), "A hook is left on the model.")
            expect(model.training is training, "The mode (train or eval) of the model has changed.")


# ---- what learners write instead ----


def _first(test: Callable[[Tensor], Tensor], last: bool = False, keep: bool = False) -> Any:
    def first_nonfinite(model: nn.Module, x: Tensor) -> str | None:
        bad: list[str] = []
        handles = [
            module.register_forward_hook(
                lambda m, args, out, name=name: bad.append(name) if test(out).any() else None
            )
            for name, module in model.named_modules()
        ]
        model(x)
        for handle in handles:
            if not keep:
                handle.remove()
        return None if not bad else bad[-1 if last else 0]

    return first_nonfinite


def _not_finite(x: Tensor) -> Tensor:
    return ~x.isfinite()


def _by_grad(loss: Tensor, model: nn.Module) -> list[str]:
    loss.backward(retain_graph=True)
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def _freed(loss: Tensor, model: nn.Module) -> list[str]:
    names, asking = zip(
        *((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True
    )
    grads = torch.autograd.grad(loss, asking, allow_unused=True)
    return [n for n, g in zip(names, grads, strict=True) if g is None]


def _by_zero(loss: Tensor, model: nn.Module) -> list[str]:
    asking = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, [p for _, p in asking], materialize_grads=True)
    return [n for (n, _), g in zip(asking, grads, strict=True) if not g.any()]


def _in_place(tensor: Tensor, limit: float) -> None:
    def clip(grad: Tensor) -> None:
        handle.remove()
        if grad.norm() > limit:
            grad.mul_(limit / grad.norm())

    handle = tensor.register_hook(clip)


def _for_ever(tensor: Tensor, limit: float) -> None:
    tensor.register_hook(lambda g: g * min(1.0, limit / max(g.norm().item(), 1e-12)))


def _always_scaled(tensor: Tensor, limit: float) -> None:
    handle = tensor.register_hook(lambda g: (handle.remove(), g * limit / g.norm())[1])


def _dead(join: Callable[[list[Tensor]], Tensor], grad: bool = False) -> Any:
    def dead_units(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, int]:
        seen: dict[str, list[Tensor]] = {}

        def watch(name: str, relu: nn.Module) -> Any:
            off = seen.setdefault(name, [])
            return relu.register_forward_hook(
                lambda m, args, out: off.append((out == 0).flatten(0, -2).all(0))
            )

        relus = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ReLU)]
        handles = [watch(*pair) for pair in relus]
        with torch.set_grad_enabled(grad):
            for batch in batches:
                model(batch)
        for handle in handles:
            handle.remove()
        return {name: int(join(off).sum()) for name, off in seen.items()}

    return dead_units


EXERCISES = (
    Exercise(
        "08.1",
        "The first to finish with a bad number, and no hook left.",
        check_first_nonfinite,
        (
            Wrong("only nan", _first(torch.isnan), "yours is None"),
            Wrong("the outermost", _first(_not_finite, last=True), "inner module"),
            Wrong("hooks stay", _first(_not_finite, keep=True), "is left on the model"),
            Wrong("no finally", _first(_not_finite), "raises an error"),
        ),
    ),
    Exercise(
        "08.2",
        "No way from the loss, whatever .grad says.",
        check_unreachable,
        (
            Wrong("zeros", _by_zero, "multiplied by zero"),
            Wrong("looks at .grad", _by_grad, "writes to .grad"),
            Wrong("frees the graph", _freed, "has been freed"),
        ),
    ),
    Exercise(
        "08.3",
        "One gradient clipped, nobody else's touched.",
        check_clip_once,
        (
            Wrong("in place", _in_place, "another tensor"),
            Wrong("for ever", _for_ever, "second gradient"),
            Wrong("always scaled", _always_scaled, "[0.3, 0.4]"),
        ),
    ),
    Exercise(
        "08.4",
        "Off for every row of every batch.",
        check_dead_units,
        (
            Wrong("the last batch", _dead(lambda u: u[-1]), "{'1': 3"),
            Wrong("off in some batch", _dead(lambda u: torch.stack(u).any(0)), "{'1': 4"),
            Wrong("a graph", _dead(lambda u: torch.stack(u).all(0), grad=True), "builds a graph"),
        ),
    ),
)
