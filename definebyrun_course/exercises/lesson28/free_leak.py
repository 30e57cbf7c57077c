"""Exercise `free_leak`: a training loop that keeps every step's graph, repaired."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import SGD

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    closed_by,
    counted,
    drawn,
    expect,
    forms,
    near,
    tried,
)
from ..live import Live
from ..measures import Work
from ..networks import linear

__all__ = ["EXERCISE"]

WHO = "Who holds them: a name, a list, a hook? A float holds nothing."


SMALL_BYTES = 64
"""A number, and what PyTorch makes it of; a result of the first layer has 160 bytes."""

NUMBERS_BYTES = 32
"""For the loss and the norm of a step, in a tensor that grows."""


class _Box:
    """A saved tensor, so that its end can be seen."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # an output that holds its own node would be a cycle


class Net(nn.Module):
    """Two layers that note what is alive when they are called: saved tensors, results of the first layer, bytes.

    `live` counts the bytes of whatever operations have made and somebody holds, without small tensors.
    """

    def __init__(self, draw: Drawn) -> None:
        super().__init__()
        self.first, self.last = linear(draw, 3, 4), linear(draw, 4, 1)
        self.boxes: weakref.WeakSet[Any] = weakref.WeakSet()
        self.results: weakref.WeakSet[Any] = weakref.WeakSet()
        self.alive: list[tuple[int, int, int]] = []
        self.live = Live()
        self.first.register_forward_hook(
            lambda module, given, result: self.results.add(result.untyped_storage())
        )

    def forward(self, x: Tensor) -> Tensor:
        pieces = [piece.bytes for piece in self.live.held() if piece.bytes > SMALL_BYTES]
        self.alive.append((len(self.boxes), len(self.results), sum(pieces)))

        def pack(tensor: Tensor) -> _Box:
            box = _Box(tensor)
            self.boxes.add(box)
            return box

        with saved_tensors_hooks(pack, lambda box: box.tensor):
            return self.last(torch.tanh(self.first(x)))  # type: ignore[no-any-return]


def reference(
    model: Any, x: Tensor, y: Tensor, steps: int
) -> tuple[float, list[float], list[float]]:
    """The loop without a leak."""
    optimizer = SGD(model.parameters(), lr=0.1)
    losses, norms = [], []
    handle = model.first.register_forward_hook(
        lambda m, i, o: norms.append(o.detach().norm().item())
    )
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    handle.remove()
    return sum(losses) / steps, losses, norms


def check_free_leak(train: Callable[..., Any]) -> None:
    """`train(model, x, y, steps)` gives the mean loss, all losses and the first layer's norms, and keeps nothing."""
    for steps in (1, 2, 10):
        _judge(train, Drawn(1), steps, f"in {counted(steps, 'step')}")
    draw = drawn()
    steps = draw.whole(4, 8)
    _judge(train, draw, steps, f"in {steps} steps ({draw})")


def grown(alive: list[tuple[int, int, int]]) -> list[int]:
    """How many bytes more than at the second step are held at the third one, and so on."""
    return [held - alive[1][2] for *_, held in alive[2:]]


def _judge(train: Any, draw: Drawn, steps: int, where: str) -> None:
    model, x, y = Net(draw), draw.normal(5, 3), draw.normal(5, 1)
    twin = Net(Drawn(0))
    twin.load_state_dict(model.state_dict())
    want = reference(twin, x, y, steps)
    hooks = len(model.first._forward_hooks)
    with closed_by(gc.enable):
        gc.disable()
        with Work() as work, model.live:
            found = train(model, x, y, steps)
        alive, results = len(model.boxes), len(model.results)
    expect(
        len(model.alive) == steps,
        f"The model was called {counted(len(model.alive), 'time')} {where}.",
        "One forward pass for each step.",
    )
    now = model.alive
    expect(
        all(boxes == 0 for boxes, *_ in now),
        f"When the steps begin, {[boxes for boxes, *_ in now]} saved tensors are alive {where}.",
        WHO,
    )
    expect(
        all(kept <= 1 for _, kept, _ in now),
        f"When the steps begin, {[kept for _, kept, _ in now]} results of the first layer are alive {where}.",
        "The hook is to tell a norm: what does it keep?",
    )
    more = grown(now)
    expect(
        all(n <= NUMBERS_BYTES * i for i, n in enumerate(more, start=1)),
        f"From the third step on, {more} bytes more are held than at the second {where}.",
        "A copy is a tensor, too: what is kept from step to step beside the numbers that are asked for?",
    )
    mean, losses, norms = forms.sequence(found, "Mean, losses and norms", 3)
    for name, numbers in (("losses", losses), ("norms", norms)):
        kind = next(
            (
                type(n).__name__
                for n in forms.sequence(numbers, f"The list of {name}")
                if not isinstance(n, float)
            ),
            None,
        )
        expect(
            kind is None,
            f"The {name} are of type {kind} {where}; the history is asked for as floats.",
            "item() gives a float.",
        )
    expect(
        isinstance(mean, float),
        f"The mean is of type {type(mean).__name__} {where}; a float is asked for.",
        "item() gives a float.",
    )
    expect(
        near(forms.numbers(losses, "The list of losses", steps), want[1], 1e-9),
        f"The losses are not those of the leaking loop {where}.",
        "Same batch, same rate, same order of the calls.",
    )
    expect(
        near(forms.numbers(norms, "The list of norms", steps), want[2], 1e-9),
        f"The norms are not those of the first layer's results {where}.",
        "One norm for each step, by the hook.",
    )
    expect(
        near(mean, want[0], 1e-9),
        f"The mean is {mean:.5g}; that of the losses is {want[0]:.5g}, {where}.",
        "The sum of all losses, divided by their number.",
    )
    same = all(near(a, b, 1e-9) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    expect(
        same,
        f"The weights at the end are not those of the leaking loop {where}.",
        "The training itself was right.",
    )
    expect(
        not alive and not results,
        f"After the return {counted(alive + results, 'tensor')} of the last step are still alive {where}.",
        WHO,
    )
    expect(
        len(model.first._forward_hooks) == hooks,
        f"A hook is left on the first layer {where}.",
        "Its handle has remove().",
    )
    reads = work.count("_local_scalar_dense")
    expect(
        reads <= 2 * steps + 2,
        f"A number was read out of a tensor {reads} times {where}.",
        "Each item() waits for the device: once for the loss, once for the norm.",
    )


# ---- right answers ----


def by_floats(model: Any, x: Tensor, y: Tensor, steps: int) -> Any:
    optimizer = SGD(model.parameters(), lr=0.1)
    losses: list[float] = []
    norms: list[float] = []
    handle = model.first.register_forward_hook(
        lambda module, given, result: norms.append(result.norm().item())
    )
    try:
        for _ in range(steps):
            loss = (model(x) - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    finally:
        handle.remove()
    return sum(losses) / len(losses), losses, norms


def read_at_the_end(model: Any, x: Tensor, y: Tensor, steps: int) -> Any:
    """Detached numbers wait in tensors; they are read once, at the end."""
    optimizer = SGD(model.parameters(), lr=0.1)
    kept: dict[str, list[Tensor]] = {"loss": [], "norm": []}

    def hook(module: nn.Module, given: Any, result: Tensor) -> None:
        kept["norm"].append(result.detach().norm())

    handle = model.first.register_forward_hook(hook)
    for _ in range(steps):
        model.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        kept["loss"].append(loss.detach())
        loss.backward()
        optimizer.step()
    handle.remove()
    losses, norms = (torch.stack(values).tolist() for values in kept.values())
    return sum(losses) / steps, losses, norms


# ---- wrong answers ----


def _train(model: Any, x: Tensor, y: Tensor, steps: int, mistake: str = "") -> Any:
    optimizer = SGD(model.parameters(), lr=0.1)
    total: Any = 0.0
    losses: list[Any] = []
    norms: list[Any] = []
    kept: list[Any] = []

    def hook(module: nn.Module, given: Any, result: Tensor) -> None:
        if mistake == "results in a list":
            kept.append(result)
        if mistake == "no_grad in the hook":
            with torch.no_grad():
                kept.append(result)
        if mistake == "results detached":
            kept.append(result.detach())
        if mistake == "results copied":
            kept.append(result.detach().clone())
        norms.append(
            result.norm() if mistake == "norms with a graph" else result.detach().norm().item()
        )

    handle = model.first.register_forward_hook(hook)
    for _ in range(steps):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        if mistake == "detached before backward":
            loss = loss.detach().requires_grad_()
        loss.backward(
            retain_graph=mistake
            in ("losses in a list, retained", "collected", "graphs retained", "del loss")
        )
        if mistake == "weights by .data":
            for p in model.parameters():
                p.data -= 0.2 * p.grad
        else:
            optimizer.step()
        if mistake in ("losses in a list", "losses in a list, retained", "collected", "del loss"):
            losses.append(loss)
        elif mistake != "no history":
            losses.append(loss.detach() if mistake == "losses as tensors" else loss.item())
        if mistake == "many reads":
            losses[-1] = sum(p.sum().item() for p in model.parameters()) * 0 + losses[-1]
        total = total + (
            loss
            if mistake == "the sum has a graph"
            else float(loss.detach())
            if mistake == "no history"
            else 0.0
        )
        if mistake == "collected":
            gc.collect(0)
        if mistake == "del loss":
            del loss
    if mistake != "the hook stays":
        handle.remove()
    if mistake == "the sum has a graph":
        return total / steps, losses, norms
    if mistake == "keeps the last graph":
        model.last_loss = (model.forward(x) - y).mean() if steps < 0 else loss
        model.kept = model.first(x)
    if mistake == "no history":
        return total / steps, losses, norms
    values = [
        v.item() if isinstance(v, Tensor) and mistake != "losses as tensors" else v for v in losses
    ]
    return sum(values) / steps, values, norms


SAYS = {
    "losses in a list, retained": "[0, 4] saved",
    "the sum has a graph": "The mean",
    "results in a list": "9] results",
    "no_grad in the hook": "9] results",
    "results detached": "9] results",
    "results copied": "[160, 320",
    "graphs retained": "[0, 4] saved",
    "norms with a graph": "The norms",
    "detached before backward": "The weights",
    "weights by .data": "The weights",
    "losses as tensors": "The losses",
    "no history": "The list",
    "collected": "[0, 4] saved",
    "del loss": "[0, 4] saved",
    "the hook stays": "layer in",
    "many reads": "A number",
    "keeps the last graph": "return 1",
}


def oracle(train: Callable[..., Any]) -> Any:
    """Losses, norms, weights, and what is alive, for several numbers of steps."""

    def told(seed: int, steps: int) -> Any:
        draw = Drawn(seed)
        model, x, y = Net(draw), draw.normal(4, 3), draw.normal(4, 1)
        gc.disable()
        try:
            with Work() as work, model.live:
                mean, losses, norms = train(model, x, y, steps)
            left = len(model.boxes), len(model.results)
        finally:
            gc.enable()
        numbers = [[round(float(n), 5) for n in each] for each in ([mean], losses, norms)]
        kinds = [type(n).__name__ for n in (mean, *losses, *norms)]
        weights = [torch.round(p.detach(), decimals=5) + 0.0 for p in model.parameters()]
        grows = [boxes == 0 and kept <= 1 for boxes, kept, _ in model.alive]
        grows += [n <= NUMBERS_BYTES * i for i, n in enumerate(grown(model.alive), start=1)]
        return [
            numbers,
            kinds,
            weights,
            grows,
            list(left),
            len(model.first._forward_hooks),
            work.count("_local_scalar_dense") <= 2 * steps + 2,
        ]

    return [tried(told, seed, steps) for seed in (4, 5) for steps in (1, 3, 6)]


EXERCISE = Exercise(
    "free_leak",
    "The same training, the same history, and nothing kept from step to step.",
    check_free_leak,
    tuple(Wrong(name, partial(_train, mistake=name), says) for name, says in SAYS.items()),
    right=(Right("floats", by_floats), Right("read at the end", read_at_the_end)),
    may_change=(0,),
    oracle=oracle,
)
