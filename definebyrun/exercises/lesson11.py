"""Exercises of lesson 11, Train the MLP: scale without a leak, evaluate, stop, resume, accumulate."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from .core import Exercise, Mistake, Wrong, expect

__all__ = ["EXERCISES"]


def _numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers that leave the learner's own random state as it is."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _classes(count: int, seed: int = 0) -> Tensor:
    return torch.randint(3, (count,), generator=torch.Generator().manual_seed(seed))


def _network(seed: int = 0, dropout: float = 0.0, norm: bool = False) -> nn.Sequential:
    """A small network, 5 → 8 → 3, in float64; the learner's random state is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        middle: list[nn.Module] = [nn.BatchNorm1d(8)] if norm else []
        layers = [nn.Linear(5, 8), *middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)]
        return nn.Sequential(*layers).double()


# ---- 11.1: standardise by pixel ------------------------


def check_standardise(standardise_columns: Callable[[Tensor, Tensor], Any]) -> None:
    """`standardise_columns(train, other)` returns both on the training set's scale, column by column."""
    train, other = _numbers(40, 3) * torch.tensor([1.0, 5.0, 0.2]) + 3, _numbers(10, 3, seed=1) + 7
    train[:, 1], other[:4, 1] = 2.0, 9.0
    kept = train.clone(), other.clone()
    result = standardise_columns(train, other)
    expect(
        isinstance(result, (tuple, list))
        and len(result) == 2
        and all(isinstance(part, Tensor) for part in result),
        "standardise_columns returns two tensors, (train, other), both standardised.",
    )
    expect(
        torch.equal(train, kept[0]) and torch.equal(other, kept[1]),
        "Your function changed the tensors that it was given.",
        "Make new tensors: x - mean, not x -= mean.",
    )
    a, b = result
    expect(
        a.shape == train.shape and b.shape == other.shape,
        f"The shapes changed: ({tuple(train.shape)}, {tuple(other.shape)}) became "
        f"({tuple(a.shape)}, {tuple(b.shape)}).",
    )
    expect(
        bool(torch.isfinite(a).all() and torch.isfinite(b).all()),
        "There is a nan or an inf in your result: a pixel that is constant in training has the standard deviation 0.",
        "Divide by 1 where the standard deviation is 0, for example with torch.where.",
    )
    mean, std = train.mean(dim=0), train.std(dim=0, correction=0)
    alive = std > 0
    whole = (train - train.mean()) / train.std(correction=0)
    expect(
        not torch.allclose(a[:, alive], whole[:, alive]),
        "You used one mean for all pixels; this exercise asks for one a pixel.",
        "mean(dim=0) goes down the rows and leaves one number a column.",
    )
    own = (other - other.mean(dim=0)) / other.std(dim=0, correction=0)
    expect(
        not torch.allclose(b[:, alive], own[:, alive], atol=1e-6),
        "other was standardised with its own mean and spread: it came out at mean 0, which new data would not.",
        "Compute both statistics from train, and use them twice.",
    )
    both = torch.cat([train, other])
    leaked = (train - both.mean(dim=0)) / both.std(dim=0, correction=0)
    expect(
        not torch.allclose(a[:, alive], leaked[:, alive], rtol=1e-2),
        "Your statistics come from train and other together: that is the leak.",
        "The training set has to come out at mean 0 by itself.",
    )
    good = (train - mean) / torch.where(alive, std, 1.0) * alive
    unbiased = (train - mean) / torch.where(alive, train.std(dim=0), 1.0) * alive
    expect(
        not torch.allclose(a[:, alive], unbiased[:, alive], rtol=1e-9),
        "Nearly: your spread divides by n - 1.",
        "torch.std does that unless it is given correction=0.",
    )
    centred = (train - mean)[:, alive]
    expect(
        not torch.allclose(a[:, alive], centred),
        "The mean is subtracted, but nothing is divided by the standard deviation.",
    )
    expect(
        torch.allclose(a[:, alive], good[:, alive]),
        "train does not come out at mean 0 and spread 1 in each pixel.",
    )
    expect(
        torch.allclose(b[:, alive], ((other - mean) / torch.where(alive, std, 1.0))[:, alive]),
        "train is right; other is not on the training set's scale.",
    )
    expect(
        not a[:, ~alive].any() and not b[:, ~alive].any(),
        "A pixel that is constant in training has to be 0 in both results; in yours it is not.",
        "other may show something there that training never did: multiply by (std > 0).",
    )


def _standardise(
    train: Tensor,
    other: Tensor,
    source: str = "train",
    guard: bool = True,
    silence: bool = True,
    correction: int = 0,
    divide: bool = True,
) -> tuple[Tensor, ...]:
    """The solution with its usual mistakes as switches."""
    result = []
    for x in (train, other):
        base = {
            "train": train,
            "own": x,
            "both": torch.cat([train, other]),
            "all": train.reshape(-1, 1),
        }[source]
        std = base.std(dim=0, correction=correction)
        scale = torch.where(std > 0, std, 1.0) if guard else std
        scaled = (x - base.mean(dim=0)) / (scale if divide else 1)
        result.append(scaled * (std > 0) if silence and guard else scaled)
    return tuple(result)


# ---- 11.2: an evaluation that leaves no trace ------------------------


def check_evaluate(evaluate_cleanly: Callable[[nn.Module, Any], Any]) -> None:
    """`evaluate_cleanly(model, loader)` returns mean loss and accuracy, and leaves model and graph alone."""
    x, y = _numbers(23, 5), _classes(23)
    loader = DataLoader(TensorDataset(x, y), batch_size=10)
    model = _network(dropout=0.5, norm=True).train()
    seen: list[tuple[bool, bool]] = []
    model.register_forward_hook(lambda m, args, out: seen.append((m.training, out.requires_grad)))
    before = copy.deepcopy(model.state_dict())
    with torch.random.fork_rng(devices=[]):
        result = evaluate_cleanly(model, loader)
    expect(bool(seen), "Your function never called the model.")
    expect(
        isinstance(result, (tuple, list)) and len(result) == 2,
        "evaluate_cleanly returns two numbers: the loss, then the accuracy.",
    )
    expect(
        not any(training for training, _ in seen),
        "The model was in training mode while you measured: its dropout threw half of the units away.",
        "One call before the loop changes that.",
    )
    expect(
        not any(graph for _, graph in seen),
        "A graph was built for every batch: the logits ask for a gradient.",
        "model.eval() does not stop that. torch.no_grad() or torch.inference_mode() does.",
    )
    changed = [
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    ]
    expect(not changed, f"Measuring changed the model: {', '.join(changed)} moved.")
    expect(
        model.training,
        "The model came in training mode and left in evaluation mode: the next epoch would run without dropout.",
        "Remember model.training before you change it.",
    )
    expect(
        torch.is_grad_enabled(),
        "Gradients are switched off after your function: the next backward would fail.",
    )
    expect(
        all(parameter.requires_grad for parameter in model.parameters()),
        "Your function switched the parameters' requires_grad off: the next epoch would learn nothing.",
        "torch.no_grad() stops recording for a while and leaves the parameters as they are.",
    )
    model.eval()
    evaluate_cleanly(model, loader)
    expect(
        not model.training,
        "The model came in evaluation mode and left in training mode.",
        "Restore what was there; do not call train() in any case.",
    )
    expect(
        all(isinstance(number, float) for number in result),
        f"The numbers should be Python floats; yours are {', '.join(type(n).__name__ for n in result)}.",
        "A tensor with one element becomes a number by .item().",
    )
    loss, accuracy = result
    with torch.no_grad():
        logits = model(x)
        means = [cross_entropy(model(part), target).item() for part, target in loader]
    true_loss, true_accuracy = (
        cross_entropy(logits, y).item(),
        (logits.argmax(1) == y).double().mean().item(),
    )
    near = partial(math.isclose, rel_tol=1e-5)
    expect(
        not near(loss, sum(means) / len(means)),
        "Your loss is the mean of the batches' means; the last batch has 3 examples of 23 and counts like 10.",
        "Add sums, and divide once by the number of examples.",
    )
    expect(
        not near(loss, sum(means)),
        "Your loss is the sum of the batches' means: it grows with the number of batches.",
    )
    expect(
        near(loss, true_loss),
        f"The loss is {true_loss:.4f}; your function says {loss:.4f}.",
    )
    expect(
        near(accuracy, true_accuracy),
        f"The loss is right. The accuracy is {true_accuracy:.4f}; your function says {accuracy:.4f}.",
        "Count the examples whose largest logit is at the true class; divide by all examples.",
    )


def _evaluate(
    model: nn.Module,
    loader: Any,
    mode: str = "restore",
    graph: bool = False,
    by_batch: bool = False,
    tensors: bool = False,
    swapped: bool = False,
    frozen: bool = False,
) -> Any:
    """The solution with its usual mistakes as switches."""
    was_training = model.training
    if mode != "never":
        model.eval()
    if frozen:
        model.requires_grad_(False)
    losses, weights, hits, count = [], [], 0, 0
    with torch.set_grad_enabled(graph):
        for x, y in loader:
            logits = model(x)
            losses.append(cross_entropy(logits, y))
            weights.append(1 if by_batch else len(y))
            hits += (logits.argmax(dim=1) == y).sum()
            count += len(y)
    if mode in ("restore", "train"):
        model.train(was_training if mode == "restore" else True)
    loss = sum(weight * value for weight, value in zip(weights, losses, strict=True)) / sum(weights)
    result = (loss, hits / count) if tensors else (loss.item(), int(hits) / count)
    return result[::-1] if swapped else result


# ---- 11.3: early stopping ------------------------


def check_early_stopping(stopping: Callable[[int], Any]) -> None:
    """`EarlyStopping(patience)` says when to stop and keeps the best state, safe from later steps."""
    model = nn.Linear(1, 1)
    early = stopping(3)
    answers = []
    for epoch, loss in enumerate([1.0, 0.8, 0.9, 0.85, 0.7, 0.75, 0.71, 0.72, 0.73], start=1):
        with torch.no_grad():
            model.weight.fill_(float(epoch))
        answers.append(early.update(loss, model))
    odd = next((answer for answer in answers if not isinstance(answer, bool)), True)
    expect(
        isinstance(odd, bool),
        f"update answers True or False, every time; yours answered {odd!r:.60}.",
        "A function without a return answers None.",
    )
    said = [epoch for epoch, answer in enumerate(answers, start=1) if answer]
    expect(
        not said or said[0] != 6,
        "With losses 1.0, 0.8, 0.9, 0.85, 0.7, 0.75 and a patience of 3 it stopped after the third bad epoch in all.",
        "An epoch that is the best so far starts the count again.",
    )
    expect(
        not said or said[0] > 5,
        f"With a patience of 3 and losses 1.0, 0.8, 0.9, 0.85, 0.7 it stopped after epoch {said[0] if said else 0}.",
        "Three epochs in a row have to be no better than the best, not one or two.",
    )
    expect(
        not said or said[0] != 7,
        "It stopped after two bad epochs in a row, with a patience of 3.",
        "Count only epochs that are no better than the best; the best one itself is not one of them.",
    )
    expect(
        bool(said),
        "After the best loss, 0.7, come 0.75, 0.71, 0.72, 0.73: with a patience of 3 it should stop, and did not.",
        "0.71 is better than 0.75, but the comparison is with the best so far.",
    )
    expect(
        said[0] == 8,
        "With a patience of 3 it waited for a fourth bad epoch in a row.",
        "Count the epoch first, then compare the count with the patience.",
    )
    best = getattr(early, "best_state", None)
    expect(
        isinstance(best, dict) and "weight" in best,
        "best_state should be the model's state_dict of the best epoch.",
    )
    kept = best["weight"].item()
    expect(
        kept != model.weight.item(),
        "best_state holds the last epoch's parameters, not the best one's: the training went on underneath.",
        "state_dict() hands out the live tensors. Copy them when you keep them.",
    )
    expect(kept == 5.0, f"best_state holds epoch {kept:.0f}; the lowest loss was in epoch 5.")
    level = stopping(2)
    said_level = [level.update(0.5, model) for _ in range(3)]
    expect(
        said_level == [False, False, True],
        "A loss that stays the same is no better: 0.5, 0.5, 0.5 with a patience of 2 stops at the third.",
        "Better means smaller, not smaller or equal.",
    )


class _EarlyStopping:
    """The solution with its usual mistakes as switches."""

    def __init__(
        self,
        patience: int,
        copies: bool = True,
        resets: bool = True,
        late: int = 0,
        previous: bool = False,
        ties: bool = False,
        silent: bool = False,
    ) -> None:
        self.patience, self.copies, self.resets, self.late, self.previous = (
            patience,
            copies,
            resets,
            late,
            previous,
        )
        self.ties, self.best, self.waited, self.best_state = ties, math.inf, 0, None
        self.silent = silent

    def update(self, loss: float, model: nn.Module) -> bool | None:
        better = loss <= self.best if self.ties else loss < self.best
        if better:
            self.waited = 0 if self.resets else self.waited
            self.best_state = (
                copy.deepcopy(model.state_dict()) if self.copies else model.state_dict()
            )
        else:
            self.waited += 1
        if better or self.previous:
            self.best = loss
        stop = self.waited >= self.patience + self.late
        return None if self.silent and not stop else stop


# ---- 11.4: a checkpoint ------------------------


def check_checkpoint(pack: Callable[..., Any], unpack: Callable[..., Any]) -> None:
    """`pack` gives a dictionary, `unpack` puts it back; a resumed run equals the uninterrupted one bit for bit."""
    with torch.random.fork_rng(devices=[]):
        run = _start(0)
        _steps(*run)
        model, order, dropout = (
            copy.deepcopy(run[0].state_dict()),
            run[2].get_state(),
            torch.get_rng_state(),
        )
        saved = pack(*run)
        expect(
            isinstance(saved, dict),
            f"pack returns a dictionary; yours returned a {type(saved).__name__}.",
        )
        loaded = _through_a_file(saved)
        _steps(*run)
        resumed = _start(1)
        unpack(loaded, *resumed)
        position = torch.get_rng_state()
        expect(
            _equal(resumed[0].state_dict(), model),
            "After unpack the model's parameters are not those that were saved.",
            "load_state_dict copies them into the model that you are given.",
        )
        expect(
            resumed[1].state,
            "The optimizer has forgotten its running means: its state did not come back.",
            "An optimizer has a state_dict as well.",
        )
        again = torch.Generator().manual_seed(0).get_state()
        expect(
            not torch.equal(resumed[2].get_state(), again),
            "The generator starts again from its seed: epoch 4 would see the data in the order of epoch 1.",
            "A seed is where a generator began; get_state() is where it is.",
        )
        expect(
            torch.equal(resumed[2].get_state(), order),
            "The resumed run sees the data in another order: the generator's state did not come back.",
            "generator.get_state() and generator.set_state(...).",
        )
        expect(
            torch.equal(position, dropout),
            "Model, optimizer and order are right, but dropout now throws other units away.",
            "It draws from the global generator: torch.get_rng_state() and torch.set_rng_state(...).",
        )
        _steps(*resumed)
        expect(
            _equal(resumed[0].state_dict(), run[0].state_dict()),
            "The resumed run is not the uninterrupted one, bit for bit.",
        )


def _through_a_file(saved: dict[str, Any]) -> Any:
    """What comes back when the dictionary was written to a file and read with `weights_only=True`."""
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=True)
    except pickle.UnpicklingError as error:
        raise Mistake(
            "torch.load(weights_only=True) refuses your file: there is an object in it that is no plain data.",
            "Pack model.state_dict() and optimizer.state_dict(), and of a generator its get_state().",
        ) from error


def _start(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, torch.Generator]:
    """A run at its beginning: model with dropout, optimizer with momentum, generator for the order."""
    torch.manual_seed(seed)
    model = (
        nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).double().train()
    )
    return (
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-2),
        torch.Generator().manual_seed(seed),
    )


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
    """Three epochs over 20 examples in batches of 8."""
    x, y = _numbers(20, 5), _classes(20)
    for _ in range(3):
        for rows in torch.randperm(20, generator=generator).split(8):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _pack(
    model: nn.Module,
    optimizer: Any,
    generator: Any,
    leave: str = "",
    whole: bool = False,
    seed: bool = False,
) -> dict[str, Any]:
    """The solution with its usual mistakes as switches."""
    parts = {
        "model": model if whole else model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.initial_seed() if seed else generator.get_state(),
        "global": torch.get_rng_state(),
    }
    return {name: part for name, part in parts.items() if name != leave}


def _unpack(
    saved: dict[str, Any], model: nn.Module, optimizer: Any, generator: Any, seed: bool = False
) -> None:
    """Put back what is there."""
    if "model" in saved:
        model.load_state_dict(saved["model"])
    if "optimizer" in saved:
        optimizer.load_state_dict(saved["optimizer"])
    if "generator" in saved:
        put = generator.manual_seed if seed else generator.set_state
        put(saved["generator"])
    if "global" in saved:
        torch.set_rng_state(saved["global"])


# ---- 11.5: accumulate over pieces ------------------------


def check_accumulate(accumulate: Callable[[nn.Module, Tensor, Tensor, int], Any]) -> None:
    """`accumulate(model, x, y, size)` leaves the gradient of the whole batch's mean loss in every `.grad`."""
    x, y, size = _numbers(22, 5), _classes(22), 8
    model = _network()
    pieces = [(x[i : i + size], y[i : i + size]) for i in range(0, 22, size)]
    seen: list[int] = []
    alive, most = 0, 0

    def forward(module: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        nonlocal alive, most
        seen.append(len(args[0]))
        if out.requires_grad:
            alive += 1
            most = max(most, alive)
            out.register_hook(backward)

    def backward(grad: Tensor) -> None:
        nonlocal alive
        alive -= 1

    model.register_forward_hook(forward)
    before = copy.deepcopy(model.state_dict())
    accumulate(model, x, y, size)
    grads = [p.grad for p in model.parameters()]
    expect(bool(seen), "Your function never called the model.")
    expect(
        _equal(model.state_dict(), before),
        "Your function changed the parameters; it should only fill their .grad.",
        "step() is for the caller, who has the optimizer.",
    )
    expect(
        max(seen) <= size,
        f"The model saw a batch of {max(seen)}; with size={size} no piece may be larger than {size}.",
        "x.split(size) cuts a tensor into pieces.",
    )
    expect(
        sum(seen) == 22,
        f"The model saw {sum(seen)} examples; the batch has 22.",
        "The last piece is smaller: take it too.",
    )
    expect(
        all(grad is not None for grad in grads),
        "A parameter has no gradient: was backward called for every piece?",
    )

    expect(
        most <= 1,
        f"{most} pieces' graphs were alive at once: that takes the memory that you wanted to save.",
        "Call backward inside the loop: it lets go of each piece's graph before the next is built.",
    )

    def of(weights: list[float]) -> list[Tensor]:
        other = copy.deepcopy(_network())
        loss = sum(
            w * cross_entropy(other(a), b) for w, (a, b) in zip(weights, pieces, strict=True)
        )
        return list(torch.autograd.grad(loss, list(other.parameters())))

    shares = [len(b) / 22 for _, b in pieces]
    expect(
        not _close(grads, of([1.0, 1.0, 1.0])),
        "Your gradient is the sum of the pieces' mean gradients: about three times too large here.",
        "Each piece's mean should count by its share of the batch.",
    )
    expect(
        not _close(grads, of([1 / 3] * 3)),
        "Each piece counts the same, but the last has 6 examples and the others 8.",
        "The factor is len(piece) / len(batch), not 1 / number of pieces.",
    )
    expect(
        not any(_close(grads, of([0, 0, weight])) for weight in (1.0, shares[2], 1 / 3)),
        "Only the last piece is in the gradient: the ones before were cleared away.",
        "zero_grad belongs before the loop, not into it.",
    )
    expect(
        _close(grads, of(shares)),
        "The gradients are not those of the mean loss over the whole batch.",
    )
    accumulate(model, x, y, size)
    expect(
        _close([p.grad for p in model.parameters()], of(shares)),
        "Called a second time, your function adds to the gradients of the first call.",
        "Clear them before the first piece.",
    )


def _close(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-8, atol=1e-12) for a, b in zip(one, other, strict=True))


def _accumulate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    size: int,
    clear: str = "before",
    weight: str = "share",
    cut: bool = True,
    late: bool = False,
    step: bool = False,
) -> None:
    """The solution with its usual mistakes as switches."""
    if clear == "before":
        model.zero_grad()
    parts = list(zip(x.split(size), y.split(size), strict=True)) if cut else [(x, y)]
    losses: list[Tensor] = []
    for x_part, y_part in parts:
        if clear == "inside":
            model.zero_grad()
        factor = {"share": len(y_part) / len(y), "none": 1.0, "count": 1 / len(parts)}[weight]
        losses.append(cross_entropy(model(x_part), y_part) * factor)
        if not late:
            losses.pop().backward()
    if late:
        sum(losses).backward()
    if step:
        torch.optim.SGD(model.parameters(), lr=0.1).step()


EXERCISES = (
    Exercise(
        "11.1",
        "Every statistic comes from the training set, and an empty pixel stays silent.",
        check_standardise,
        (
            Wrong(
                "each set by its own statistics",
                partial(_standardise, source="own"),
                "its own mean and spread",
            ),
            Wrong(
                "statistics of both sets", partial(_standardise, source="both"), "that is the leak"
            ),
            Wrong("no guard against zero", partial(_standardise, guard=False), "nan or an inf"),
            Wrong(
                "one mean for all pixels",
                partial(_standardise, source="all"),
                "one mean for all pixels",
            ),
            Wrong("torch's own std", partial(_standardise, correction=1), "n - 1"),
            Wrong("not divided", partial(_standardise, divide=False), "nothing is divided"),
            Wrong(
                "constant pixel let through",
                partial(_standardise, silence=False),
                "has to be 0 in both",
            ),
        ),
    ),
    Exercise(
        "11.2",
        "Right numbers, no graph, and the model as it was found.",
        check_evaluate,
        (
            Wrong(
                "training mode",
                partial(_evaluate, mode="never"),
                "in training mode while you measured",
            ),
            Wrong(
                "left in evaluation mode",
                partial(_evaluate, mode="leave"),
                "left in evaluation mode",
            ),
            Wrong(
                "always back to training", partial(_evaluate, mode="train"), "left in training mode"
            ),
            Wrong("graph built", partial(_evaluate, graph=True), "A graph was built"),
            Wrong("parameters frozen", partial(_evaluate, frozen=True), "requires_grad off"),
            Wrong(
                "mean of batch means",
                partial(_evaluate, by_batch=True),
                "mean of the batches' means",
            ),
            Wrong("tensors returned", partial(_evaluate, tensors=True), "Python floats"),
            Wrong("accuracy first", partial(_evaluate, swapped=True), "The loss is"),
        ),
    ),
    Exercise(
        "11.3",
        "It waits for bad epochs in a row, and its best state is safe from later steps.",
        check_early_stopping,
        (
            Wrong(
                "state not copied",
                partial(_EarlyStopping, copies=False),
                "training went on underneath",
            ),
            Wrong(
                "count never starts again",
                partial(_EarlyStopping, resets=False),
                "bad epoch in all",
            ),
            Wrong(
                "one epoch too early",
                partial(_EarlyStopping, late=-1),
                "0.7 it stopped after epoch",
            ),
            Wrong("one epoch too late", partial(_EarlyStopping, late=1), "waited for a fourth"),
            Wrong(
                "compared with the last epoch",
                partial(_EarlyStopping, previous=True),
                "should stop, and did not",
            ),
            Wrong("a tie counts as better", partial(_EarlyStopping, ties=True), "no better"),
            Wrong("answers only to stop", partial(_EarlyStopping, silent=True), "answered None"),
        ),
    ),
    Exercise(
        "11.4",
        "The resumed run is the uninterrupted one, bit for bit.",
        check_checkpoint,
        (
            Wrong("no model", (partial(_pack, leave="model"), _unpack), "parameters are not those"),
            Wrong(
                "no optimizer",
                (partial(_pack, leave="optimizer"), _unpack),
                "forgotten its running means",
            ),
            Wrong("no order", (partial(_pack, leave="generator"), _unpack), "in another order"),
            Wrong(
                "no global generator",
                (partial(_pack, leave="global"), _unpack),
                "Model, optimizer and order are right",
            ),
            Wrong(
                "seed, not state",
                (partial(_pack, seed=True), partial(_unpack, seed=True)),
                "from its seed",
            ),
            Wrong("whole model", (partial(_pack, whole=True), _unpack), "no plain data"),
        ),
    ),
    Exercise(
        "11.5",
        "Small pieces, the gradient of the whole batch.",
        check_accumulate,
        (
            Wrong("means added up", partial(_accumulate, weight="none"), "three times too large"),
            Wrong(
                "divided by the number of pieces",
                partial(_accumulate, weight="count"),
                "Each piece counts the same",
            ),
            Wrong(
                "cleared inside the loop",
                partial(_accumulate, clear="inside"),
                "Only the last piece",
            ),
            Wrong(
                "never cleared",
                partial(_accumulate, clear="never"),
                "adds to the gradients of the first",
            ),
            Wrong("not cut into pieces", partial(_accumulate, cut=False), "no piece may be larger"),
            Wrong("one backward at the end", partial(_accumulate, late=True), "alive at once"),
            Wrong("steps as well", partial(_accumulate, step=True), "changed the parameters"),
        ),
    ),
)
