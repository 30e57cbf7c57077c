"""Exercises of lesson 06, Changing the model: a branch that starts at zero, an optimizer told, a wider layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ..grading import Exercise, Wrong, expect

__all__ = ["EXERCISES"]


# ---- 06.1: a branch that changes nothing at first ----


def check_branch(add_branch: Callable[[int], nn.Module]) -> None:
    """`add_branch(width)` is a module h + second(tanh(first(h))), at first the identity, able to learn."""
    torch.manual_seed(0)
    for width in (3, 8):
        branch = add_branch(width)
        expect(isinstance(branch, nn.Module), f"add_branch returns a module, not {branch!r:.40}.")
        h = torch.randn(5, width)
        expect(
            torch.allclose(branch(h), h),
            "The branch changes its input before it has learned anything.",
            "What has to be zero for the second layer to give zeros?",
        )
        shapes = sorted(tuple(p.shape) for p in branch.parameters())
        expect(
            shapes == sorted([(width, width), (width,)] * 2),
            f"Two linear layers from {width} to {width} have four parameters; yours: {shapes}.",
        )
        target = torch.randn(5, width)
        moved = []
        for _ in range(3):
            branch.zero_grad()
            (branch(h) - target).square().sum().backward()
            with torch.no_grad():
                for p in branch.parameters():
                    if p.grad is not None:
                        p -= 0.01 * p.grad
                        moved.append(bool(p.grad.any()))
        expect(
            sum(moved) > 6 and len(moved) == 12,
            "After three steps some weights have never had a gradient.",
            "With both layers zero each waits for the other: one of them needs random numbers.",
        )


# ---- 06.2: tell the optimizer ----


def check_swap(swap: Callable[[nn.Module, str, nn.Module, Optimizer], Any]) -> None:
    """`swap(model, name, layer, optimizer)` replaces a child and what the optimizer knows of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 1))
    optimizer = Adam(model.parameters(), lr=0.01)
    x = torch.randn(4, 3)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()

    step()
    old, new = list(model[2].parameters()), nn.Linear(3, 3)
    others = [*model[0].parameters(), *model[3].parameters()]
    states = [optimizer.state[p] for p in others]
    swap(model, "2", new, optimizer)
    expect(model[2] is new, "The new layer is not in the model.", "setattr takes a name.")
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    expect(
        all(id(p) in known for p in new.parameters()),
        "The optimizer does not know the new layer's parameters.",
        "add_param_group, or the list in param_groups.",
    )
    expect(
        not any(id(p) in known for p in old),
        "The optimizer still holds the old layer's parameters.",
        "They are in param_groups; compare with `is` or by id.",
    )
    expect(
        not any(p in optimizer.state for p in old),
        "The old layer's running means are still in optimizer.state.",
    )
    kept = all(optimizer.state.get(p) is s for p, s in zip(others, states, strict=True))
    expect(
        kept and all(id(p) in known for p in others),
        "The optimizer has forgotten what it knew about the other layers.",
        "Change the optimizer that is there.",
    )
    before = new.weight.detach().clone()
    step()
    expect(not torch.equal(before, new.weight), "After a step the new layer stands where it was.")


# ---- 06.3: wider, with the state ----

MEANS = ("exp_avg", "exp_avg_sq")


def check_widen(widen_adam: Callable[[nn.Linear, nn.Linear, int, Optimizer], Any]) -> None:
    """`widen_adam(first, second, extra, optimizer)` copies neurons, divides, and takes Adam's state along."""
    torch.manual_seed(0)
    first, second = nn.Linear(3, 2).double(), nn.Linear(2, 4).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    olds = [*first.parameters(), *second.parameters()]
    optimizer = Adam(olds, lr=0.1)
    second(first(x).relu()).square().sum().backward()
    optimizer.step()
    before = second(first(x).relu()).detach()
    kept = {key: [optimizer.state[p][key].clone() for p in olds] for key in MEANS}
    wide, after = widen_adam(first, second, 3, optimizer)
    shapes = [tuple(wide.weight.shape), tuple(after.weight.shape)]
    expect(shapes == [(5, 3), (4, 5)], f"The new weights have shapes {shapes}: (5, 3) and (4, 5).")
    now = after(wide(x).relu()).detach()
    expect(
        torch.allclose(now, before),
        "The function has changed.",
        "Neuron 0 is there three times now, neuron 1 twice: divide what goes out of each.",
    )
    source = [0, 1, 0, 1, 0]
    same = torch.equal(wide.weight.detach(), first.weight.detach()[source])
    expect(same, "The new neurons are copies of neurons 0, 1, 0, in this order.")
    news = [*wide.parameters(), *after.parameters()]
    known = [id(p) for group in optimizer.param_groups for p in group["params"]]
    expect(
        sorted(known) == sorted(map(id, news)),
        "The optimizer does not hold the new parameters in place of the old ones.",
    )
    expect(
        all(p in optimizer.state for p in news),
        "The new parameters have no state: Adam begins anew.",
    )
    for key, means in kept.items():
        wanted = [means[0][source], means[1][source], means[2][:, source], means[3]]
        for p, mean in zip(news, wanted, strict=True):
            state = optimizer.state[p]
            expect(key in state, f"The state of a parameter holds no {key}.")
            expect(
                state[key].shape == p.shape,
                f"{key} has shape {tuple(state[key].shape)}; its parameter {tuple(p.shape)}.",
            )
            expect(
                torch.allclose(state[key], mean),
                f"{key} is not the copy that its weight is.",
                "The same copying as for the weights, and no division.",
            )
    for p in news:
        step = optimizer.state[p].get("step", 0)
        expect(int(step) == 1, "The step count was not taken over.")
    optimizer.zero_grad()
    after(wide(x).relu()).square().sum().backward()
    optimizer.step()


# ---- what learners write instead ----


class _Branch(nn.Module):
    def __init__(self, width: int, zero_first: bool, zero_second: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        for layer, zero in ((self.first, zero_first), (self.second, zero_second)):
            for p in layer.parameters() if zero else ():
                nn.init.zeros_(p)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(torch.tanh(self.first(h)))


def _swap_only(model: Any, name: str, layer: nn.Module, optimizer: Any) -> None:
    setattr(model, name, layer)


def _swap_add(model: Any, name: str, layer: nn.Module, optimizer: Any) -> None:
    setattr(model, name, layer)
    optimizer.add_param_group({"params": list(layer.parameters())})


def _swap_anew(model: Any, name: str, layer: nn.Module, optimizer: Any) -> None:
    setattr(model, name, layer)
    optimizer.__init__(model.parameters(), lr=0.01)


def _widen(divide: bool, state: Callable[..., Any] | None) -> Callable[..., Any]:
    """`state(key, value, copied)` is what the new parameter keeps for the old one's `value`."""

    def widen_adam(first: nn.Linear, second: nn.Linear, extra: int, optimizer: Any) -> Any:
        n = first.out_features
        source = torch.cat([torch.arange(n), torch.arange(extra) % n])
        copies = source.bincount()[source] if divide else 1
        wide = nn.Linear(first.in_features, n + extra).to(first.weight.dtype)
        after = nn.Linear(n + extra, second.out_features).to(first.weight.dtype)
        with torch.no_grad():
            wide.weight.copy_(first.weight[source])
            wide.bias.copy_(first.bias[source])
            after.weight.copy_(second.weight[:, source] / copies)
            after.bias.copy_(second.bias)
        olds = [*first.parameters(), *second.parameters()]
        news = [*wide.parameters(), *after.parameters()]
        rows, columns = (lambda t: t[source]), (lambda t: t[:, source])
        ways = [rows, rows, columns, lambda t: t]
        for old, new, copied in zip(olds, news, ways, strict=True):
            kept = optimizer.state.pop(old)
            if state:
                optimizer.state[new] = {key: state(key, kept[key], copied) for key in kept}
        optimizer.param_groups[0]["params"] = news
        return wide, after

    return widen_adam


def _as_it_was(key: str, value: Tensor, copied: Callable[[Tensor], Tensor]) -> Tensor:
    return value


def _first_mean_only(key: str, value: Tensor, copied: Callable[[Tensor], Tensor]) -> Tensor:
    if key == "step":
        return value
    return copied(value) if key == "exp_avg" else torch.zeros_like(copied(value))


EXERCISES = (
    Exercise(
        "06.1",
        "Nothing at first, and room to learn.",
        check_branch,
        (
            Wrong("nothing zero", lambda w: _Branch(w, False, False), "changes its input"),
            Wrong("everything zero", lambda w: _Branch(w, True, True), "never had a gradient"),
        ),
    ),
    Exercise(
        "06.2",
        "The new one in, the old one out, the others as they were.",
        check_swap,
        (
            Wrong("not told", _swap_only, "does not know"),
            Wrong("only added", _swap_add, "still holds"),
            Wrong("an optimizer anew", _swap_anew, "has forgotten"),
        ),
    ),
    Exercise(
        "06.3",
        "The same function, and Adam remembers.",
        check_widen,
        (
            Wrong("not divided", _widen(False, _as_it_was), "has changed"),
            Wrong("state dropped", _widen(True, None), "have no state"),
            Wrong("state not copied", _widen(True, _as_it_was), "its parameter"),
            Wrong("one mean of two", _widen(True, _first_mean_only), "exp_avg_sq is not the copy"),
        ),
    ),
)
