"""Exercise `training_log`: a training loop whose log holds every graph, without the leak."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim

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
)
from ..networks import mlp

__all__ = ["EXERCISE"]

Batches = list[tuple[Tensor, Tensor]]
Train = Callable[[nn.Module, Batches, optim.Optimizer], Any]


class _Sentinel:
    """A hook that does nothing: a node holds it as long as it lives."""

    def __call__(self, *grads: Any) -> None:
        pass


@dataclass
class Watch:
    """What is alive of earlier forward passes when one begins: activations, and nodes of the graph."""

    activations: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    _storages: list[weakref.ref[Any]] = field(default_factory=list)
    _sentinels: list[weakref.ref[_Sentinel]] = field(default_factory=list)

    def on(self, model: nn.Sequential) -> None:
        model.register_forward_pre_hook(self._begins)
        model[1].register_forward_hook(self._made)

    def _begins(self, module: nn.Module, inputs: Any) -> None:
        self.activations.append(sum(ref() is not None for ref in self._storages))
        self.nodes.append(sum(ref() is not None for ref in self._sentinels))

    def _made(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if output.grad_fn is not None:
            sentinel = _Sentinel()
            output.grad_fn.register_hook(sentinel)
            self._sentinels.append(weakref.ref(sentinel))
            self._storages.append(weakref.ref(output.untyped_storage()))


@dataclass(frozen=True)
class Task:
    """A model, its batches and its optimizer, what the program of the statement gives for them, and the watch."""

    model: nn.Sequential
    batches: Batches
    optimizer: optim.Optimizer
    smooth: list[float]
    predictions: Tensor
    weights: list[Tensor]
    watch: Watch


def task(draw: Drawn, rows: tuple[int, ...], sizes: tuple[int, ...], dtype: torch.dtype) -> Task:
    """A task drawn from a seed; the results come from a copy of the model."""
    model = mlp(draw, *sizes, dtype=dtype)
    batches = [
        (draw.normal(n, sizes[0], dtype=dtype), draw.normal(n, sizes[-1], dtype=dtype) * (i + 1))
        for i, n in enumerate(rows)
    ]
    twin = copy.deepcopy(model)
    smooth, predictions = detached(twin, batches, _optimizer(twin))
    weights = [p.detach() for p in twin.parameters()]
    watch = Watch()
    watch.on(model)
    return Task(model, batches, _optimizer(model), smooth, predictions, weights, watch)


def _optimizer(model: nn.Module) -> optim.Optimizer:
    return optim.SGD(model.parameters(), lr=0.1)


def detached(
    model: nn.Module, batches: Batches, optimizer: optim.Optimizer
) -> tuple[list[float], Tensor]:
    """The program of the statement with numbers in its log."""
    value, smooth, predictions = 0.0, [], []
    for x, y in batches:
        prediction = model(x)
        loss = (prediction - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        value = 0.9 * value + 0.1 * loss.item()
        smooth.append(value)
        predictions.append(prediction.detach())
    return smooth, torch.cat(predictions)


def check_training_log(train: Train) -> None:
    """`train(model, batches, optimizer)` trains and logs as the program does, and holds no graph."""
    for dtype in (torch.float64, torch.float32):
        _judge(train, task(Drawn(1), (2,), (1, 1, 1), dtype))
        _judge(train, task(Drawn(2), (3, 3, 1, 2, 4), (2, 3, 1), dtype))
    draw = drawn()
    rows = tuple(draw.whole(1, 6) for _ in range(draw.whole(4, 7)))
    sizes = draw.whole(2, 4), draw.whole(5, 6), draw.whole(2, 3)
    _judge(train, task(draw, rows, sizes, torch.float64), f" ({draw})")


def _judge(train: Train, given: Task, source: str = "") -> None:
    where = f"with batches of {[len(x) for x, _ in given.batches]} rows{source}"
    smooth, predictions = forms.sequence(
        train(given.model, given.batches, given.optimizer), "What train returns", 2
    )
    found = forms.sequence(smooth, "The log of losses", len(given.smooth))
    _judge_graphs(given.watch, found, predictions, where)
    numbers = forms.numbers(found, "The log of losses", len(given.smooth))
    expect(
        near(numbers, given.smooth, rtol=1e-4),
        f"The smoothed losses are {shown(numbers)}; the program gives {shown(given.smooth)}, {where}.",
        "value = 0.9 * value + 0.1 * loss, beginning at 0, with the loss before the step.",
    )
    predictions = forms.tensor(predictions, "train, second,", tuple(given.predictions.shape))
    expect(
        near(predictions, given.predictions, rtol=1e-4, atol=1e-5),
        f"The predictions are {shown(predictions)}; the program gives {shown(given.predictions)}, {where}.",
        "Those of the forward pass that is trained on, before the step.",
    )
    trained = zip(given.model.parameters(), given.weights, strict=True)
    expect(
        all(near(p, want, rtol=1e-4, atol=1e-5) for p, want in trained),
        f"The model has learned something else than with the program, {where}.",
        "zero_grad, backward, step, once for each batch.",
    )
    expect(
        len(given.watch.nodes) == len(given.batches),
        f"The model was called {len(given.watch.nodes)} times, {where}.",
        "One forward pass for each batch.",
    )


def _judge_graphs(watch: Watch, smooth: list[Any], predictions: Any, where: str) -> None:
    graphs = [v for v in smooth if isinstance(v, Tensor) and v.requires_grad]
    expect(
        not graphs,
        f"{len(graphs)} of {len(smooth)} entries of your log require gradients, {where}.",
        "Each of these tensors holds the graph of every step before it. What is the number alone?",
    )
    expect(
        not (isinstance(predictions, Tensor) and predictions.requires_grad),
        f"The predictions that you return hold their graphs, {where}.",
        "A tensor can be taken out of its graph without a copy.",
    )
    most = max(watch.activations, default=0)
    expect(
        not most,
        f"When a forward pass began, activations of {counted(most, 'earlier step')} were alive, {where}.",
        "backward frees what was saved, unless it is told not to.",
    )
    most = max(watch.nodes, default=0)
    expect(
        most <= 1,
        f"When a forward pass began, nodes of {counted(most, 'earlier step')} were alive, {where}.",
        "Nothing that you return holds them. Which name or list holds a tensor of every step while the loop runs?",
    )


# ---- answers ----


def logged(
    passes: Callable[[Tensor], Any] = lambda loss: loss.backward(),
    number: Callable[[Tensor], Any] = lambda loss: loss.item(),
    entry: Callable[[Any], Any] = lambda value: value,
    kept: Callable[[Tensor], Tensor] = lambda prediction: prediction.detach(),
    clear: Callable[[optim.Optimizer], Any] = lambda optimizer: optimizer.zero_grad(),
    smoothing: Callable[[Any, Any], Any] = lambda value, new: 0.9 * value + 0.1 * new,
    together: Callable[[list[Tensor]], Tensor] = torch.cat,
) -> Train:
    """The solution with its usual mistakes as switches."""

    def train(model: nn.Module, batches: Batches, optimizer: optim.Optimizer) -> Any:
        value: Any = 0.0
        smooth, predictions = [], []
        for x, y in batches:
            prediction = model(x)
            loss = (prediction - y).square().mean()
            clear(optimizer)
            passes(loss)
            optimizer.step()
            value = smoothing(value, number(loss))
            smooth.append(entry(value))
            predictions.append(kept(prediction))
        return smooth, together(predictions)

    return train


def _retained(loss: Tensor) -> None:
    loss.backward(retain_graph=True)


def _same(thing: Any) -> Any:
    return thing


def _in_no_grad(model: nn.Module, batches: Batches, optimizer: optim.Optimizer) -> Any:
    with torch.no_grad():
        return detached(model, batches, optimizer)


def _called_again(model: nn.Module, batches: Batches, optimizer: optim.Optimizer) -> Any:
    smooth, _ = detached(model, batches, optimizer)
    with torch.no_grad():
        return smooth, torch.cat([model(x) for x, _ in batches])


def _by_step(model: nn.Module, batches: Batches, optimizer: optim.Optimizer) -> Any:
    """A function for the step: its names die when it returns."""

    def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        prediction = model(x)
        loss = nn.functional.mse_loss(prediction, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach(), prediction.detach().clone()

    losses, predictions = zip(*(step(x, y) for x, y in batches), strict=True)
    smooth = [torch.zeros(())]
    for loss in losses:
        smooth.append(0.9 * smooth[-1] + 0.1 * loss)
    return smooth[1:], torch.cat(predictions)


def _into_a_tensor(model: nn.Module, batches: Batches, optimizer: optim.Optimizer) -> Any:
    smooth, rows, value = [], [], 0.0
    for x, y in batches:
        optimizer.zero_grad(set_to_none=False)
        prediction = model(x)
        rows += prediction.tolist()
        loss = ((y - prediction) ** 2).mean()
        loss.backward()
        optimizer.step()
        value += 0.1 * (loss.item() - value)
        smooth.append(value)
        del prediction, loss
    return tuple(smooth), torch.tensor(rows, dtype=batches[0][0].dtype)


def oracle(train: Train) -> Any:
    """What comes back, what was learned, and what was alive."""
    found: list[Any] = []
    for seed, rows in enumerate(((1,), (2, 3), (4, 1, 2, 3, 1, 2))):
        given = task(Drawn(seed), rows, (2, 3, 2), torch.float64)
        told: list[Any] = []
        with suppress(Exception):
            smooth, predictions = train(given.model, given.batches, given.optimizer)
            told.append([round(float(v), 5) for v in smooth])
            told.append([getattr(v, "requires_grad", False) for v in (*smooth, predictions)])
            told.append(plain(predictions.detach().double()))
        told.append([plain(p) for p in given.model.parameters()])
        told += [given.watch.activations, [n > 1 for n in given.watch.nodes]]
        found.append(told)
    return found


EXERCISE = Exercise(
    "training_log",
    "The same log, and no graph behind it.",
    check_training_log,
    (
        Wrong(
            "as it was written",
            logged(_retained, _same, kept=_same),
            "entries of your log require gradients",
        ),
        Wrong(
            "the log alone detached at the end",
            logged(number=_same, entry=lambda value: value.item()),
            "began, nodes of",
        ),
        Wrong("the predictions as they are", logged(kept=_same), "hold their graphs"),
        Wrong(
            "the predictions detached at the end",
            logged(kept=_same, together=lambda rows: torch.cat(rows).detach()),
            "began, nodes of",
        ),
        Wrong("the graph retained", logged(_retained), "began, activations of"),
        Wrong(
            "beginning at the first loss",
            logged(smoothing=lambda value, new: 0.9 * value + 0.1 * new if value else new),
            "The smoothed losses are",
        ),
        Wrong("not smoothed", logged(smoothing=lambda value, new: new), "The smoothed losses are"),
        Wrong(
            "gradients added up",
            logged(clear=lambda optimizer: None),
            "The smoothed losses are",
        ),
        Wrong("in no_grad", _in_no_grad, "does not require grad"),
        Wrong("predictions after the training", _called_again, "The predictions are"),
        Wrong(
            "a mean instead of all predictions",
            logged(together=lambda rows: torch.cat(rows).mean(0)),
            "train, second,",
        ),
        Wrong("the losses alone", lambda m, b, o: detached(m, b, o)[0], "What train returns has 2"),
    ),
    right=(
        Right("a function for the step", _by_step),
        Right("plain numbers", _into_a_tensor),
        Right("with item and detach", detached),
    ),
    may_change=(0, 2),
    oracle=oracle,
)
