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

from ..grading import Exercise, Mistake, Wrong, expect

__all__ = ["EXERCISES"]


def _numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers that leave the learner's own random state as it is."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _classes(count: int) -> Tensor:
    return torch.randint(3, (count,), generator=torch.Generator().manual_seed(0))


def _network(dropout: float = 0.0, norm: bool = False, seed: int = 0) -> nn.Sequential:
    """A small network, 5 → 8 → 3, in float64; the learner's random state is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        middle = [nn.BatchNorm1d(8)] if norm else []
        layers = [nn.Linear(5, 8), *middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)]
        return nn.Sequential(*layers).double()


def _close(one: Any, other: Any, rtol: float = 1e-8) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.allclose(a, b, rtol=rtol, atol=1e-12) for a, b in pairs)


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _wrong(solution: Callable[..., Any], *rows: tuple[str, dict[str, Any], str]) -> tuple:
    """Wrong answers: a name, the switch that turns the solution into it, and what the verdict says."""
    return tuple(Wrong(name, partial(solution, **switch), says) for name, switch, says in rows)


# ---- 11.1: standardise by pixel ----


def check_standardise(standardise_columns: Callable[[Tensor, Tensor], Any]) -> None:
    """`standardise_columns(train, other)` returns both on the training set's scale, column by column."""
    train, other = _numbers(40, 3) * torch.tensor([1.0, 5.0, 0.2]) + 3, _numbers(10, 3, seed=1) + 7
    train[:, 1], other[:4, 1] = 2.0, 9.0
    kept = train.clone(), other.clone()
    result = standardise_columns(train, other)
    expect(
        isinstance(result, (tuple, list)) and [type(part) for part in result] == [Tensor, Tensor],
        "standardise_columns returns two tensors, (train, other), both standardised.",
    )
    expect(
        torch.equal(train, kept[0]) and torch.equal(other, kept[1]),
        "Your function changed the tensors that it was given.",
        "Make new tensors: x - mean, not x -= mean.",
    )
    a, b = result
    shapes = [tuple(x.shape) for x in (train, other, a, b)]
    expect(shapes[:2] == shapes[2:], f"The shapes {shapes[:2]} became {shapes[2:]}.")
    expect(
        a.isfinite().all() and b.isfinite().all(),
        "There is a nan or an inf in your result: a pixel that is constant in training has the standard deviation 0.",
        "Divide by 1 where the standard deviation is 0, for example with torch.where.",
    )
    live = [0, 2]
    a_live, b_live = a[:, live], b[:, live]

    def mistaken(tolerance: float = 1e-5, **switch: Any) -> bool:
        """Whether the first result (with `own` statistics: the second) is what this mistake gives."""
        nth = int(switch.get("source") == "own")
        made = _standardise(train, other, **switch)[nth][:, live]
        return torch.allclose((a_live, b_live)[nth], made, rtol=tolerance)

    expect(
        not mistaken(source="all"),
        "You used one mean for all pixels; this exercise asks for one a pixel.",
        "mean(dim=0) goes down the rows and leaves one number a column.",
    )
    expect(
        not mistaken(source="own"),
        "other was standardised with its own mean and spread: it came out at mean 0, which new data would not.",
        "Compute both statistics from train, and use them twice.",
    )
    expect(
        not mistaken(1e-2, source="both"),
        "Your statistics come from train and other together: that is the leak.",
        "The training set has to come out at mean 0 by itself.",
    )
    expect(
        not mistaken(1e-9, correction=1),
        "Nearly: your spread divides by n - 1.",
        "torch.std does that unless it is given correction=0.",
    )
    expect(
        not mistaken(divide=False),
        "The mean is subtracted, but nothing is divided by the standard deviation.",
    )
    good_a, good_b = (x[:, live] for x in _standardise(train, other))
    expect(
        torch.allclose(a_live, good_a),
        "train does not come out at mean 0 and spread 1 in each pixel.",
    )
    expect(
        torch.allclose(b_live, good_b), "train is right; other is not on the training set's scale."
    )
    expect(
        not a[:, 1].any() and not b[:, 1].any(),
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
        bases = {"train": train, "own": x, "both": torch.cat([train, other])}
        base = bases.get(source, train.reshape(-1, 1))
        std = base.std(dim=0, correction=correction)
        scale = torch.where(std > 0, std, 1.0) if guard else std
        scaled = (x - base.mean(dim=0)) / (scale if divide else 1)
        result.append(scaled * (std > 0) if silence and guard else scaled)
    return tuple(result)


# ---- 11.2: an evaluation that leaves no trace ----


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
    expect(seen, "Your function never called the model.")
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
    expect(_equal(model.state_dict(), before), "Measuring changed the model's state.")
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
    kinds = [type(number).__name__ for number in result]
    expect(
        kinds == ["float", "float"],
        f"The numbers should be Python floats; yours are {', '.join(kinds)}.",
        "A tensor with one element becomes a number by .item().",
    )
    loss, accuracy = result
    with torch.no_grad():
        logits = model(x)
        means = [cross_entropy(model(part), target).item() for part, target in loader]
    true_loss = cross_entropy(logits, y).item()
    true_accuracy = (logits.argmax(1) == y).double().mean().item()
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
    expect(near(loss, true_loss), f"The loss is {true_loss:.4f}; your function says {loss:.4f}.")
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
    weigh: Callable[[Any], int] = len,
    tensors: bool = False,
    swapped: bool = False,
    frozen: bool = False,
) -> Any:
    """The solution with its usual mistakes as switches."""
    was_training = model.training
    model.train(model.training and mode == "never")
    model.requires_grad_(not frozen)
    losses, weights, hits, count = [], [], 0, 0
    with torch.set_grad_enabled(graph):
        for x, y in loader:
            logits = model(x)
            losses.append(cross_entropy(logits, y) * weigh(y))
            weights.append(weigh(y))
            hits += (logits.argmax(dim=1) == y).sum()
            count += len(y)
    if mode in ("restore", "train"):
        model.train(was_training or mode == "train")
    loss = sum(losses) / sum(weights)
    result = (loss, hits / count) if tensors else (loss.item(), int(hits) / count)
    return result[::-1] if swapped else result


# ---- 11.3: early stopping ----


def check_early_stopping(stopping: Callable[[int], Any]) -> None:
    """`EarlyStopping(patience)` says when to stop and keeps the best state, safe from later steps."""
    model = nn.Linear(1, 1)
    early = stopping(3)
    answers = []
    for epoch, loss in enumerate([1.0, 0.8, 0.9, 0.85, 0.7, 0.75, 0.71, 0.72, 0.73], start=1):
        nn.init.constant_(model.weight, epoch)
        answers.append(early.update(loss, model))
    odd = next((answer for answer in answers if not isinstance(answer, bool)), True)
    expect(
        isinstance(odd, bool),
        f"update answers True or False, every time; yours answered {odd!r:.60}.",
        "A function without a return answers None.",
    )
    stop = next((epoch for epoch, answer in enumerate(answers, start=1) if answer), math.inf)
    expect(
        stop != 6,
        "With losses 1.0, 0.8, 0.9, 0.85, 0.7, 0.75 and a patience of 3 it stopped after the third bad epoch in all.",
        "An epoch that is the best so far starts the count again.",
    )
    expect(
        stop > 5,
        f"With a patience of 3 and losses 1.0, 0.8, 0.9, 0.85, 0.7 it stopped after epoch {stop}.",
        "Three epochs in a row have to be no better than the best, not one or two.",
    )
    expect(
        stop != 7,
        "It stopped after two bad epochs in a row, with a patience of 3.",
        "Count only epochs that are no better than the best; the best one itself is not one of them.",
    )
    expect(
        stop < math.inf,
        "After the best loss, 0.7, come 0.75, 0.71, 0.72, 0.73: with a patience of 3 it should stop, and did not.",
        "0.71 is better than 0.75, but the comparison is with the best so far.",
    )
    expect(
        stop == 8,
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
    expect(
        [level.update(0.5, model) for _ in range(3)] == [False, False, True],
        "A loss that stays the same is no better: 0.5, 0.5, 0.5 with a patience of 2 stops at the third.",
        "Better means smaller, not smaller or equal.",
    )


class _EarlyStopping:
    """The solution with its usual mistakes as switches."""

    def __init__(self, patience: int, **switches: Any) -> None:
        self.patience, self.switches = patience, switches
        self.best, self.waited, self.best_state = math.inf, 0, None

    def update(self, loss: float, model: nn.Module) -> bool | None:
        on = self.switches.get
        better = loss < self.best or (loss == self.best and on("ties"))
        if better:
            self.waited = self.waited if on("total") else 0
            state = model.state_dict()
            self.best_state = state if on("live") else copy.deepcopy(state)
        else:
            self.waited += 1
        if better or on("previous"):
            self.best = loss
        stop = self.waited >= self.patience + on("late", 0)
        return None if on("silent") and not stop else stop


# ---- 11.4: a checkpoint ----


def check_checkpoint(pack: Callable[..., Any], unpack: Callable[..., Any]) -> None:
    """`pack` gives a dictionary, `unpack` puts it back; a resumed run equals the uninterrupted one bit for bit."""
    with torch.random.fork_rng(devices=[]):
        run = _start(0)
        _steps(*run)
        model, order = copy.deepcopy(run[0].state_dict()), run[2].get_state()
        dropout = torch.get_rng_state()
        saved = pack(*run)
        kind = type(saved).__name__
        expect(isinstance(saved, dict), f"pack returns a dictionary; yours returned a {kind}.")
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
    model = _network(dropout=0.5, seed=seed)
    order = torch.Generator().manual_seed(seed)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2), order


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
    """Three epochs over 20 examples in batches of 8."""
    x, y = _numbers(20, 5), _classes(20)
    for _ in range(3):
        for rows in torch.randperm(20, generator=generator).split(8):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()


def _checkpoint(leave: str = "", whole: bool = False, seed: bool = False) -> tuple[Callable, ...]:
    """The solution's `pack` and `unpack` with their usual mistakes as switches."""

    def pack(model: nn.Module, optimizer: Any, generator: Any) -> dict[str, Any]:
        parts = {
            "model": model if whole else model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.initial_seed() if seed else generator.get_state(),
            "global": torch.get_rng_state(),
        }
        return {name: part for name, part in parts.items() if name != leave}

    def unpack(saved: dict[str, Any], model: nn.Module, optimizer: Any, generator: Any) -> None:
        back = {
            "model": model.load_state_dict,
            "optimizer": optimizer.load_state_dict,
            "generator": generator.manual_seed if seed else generator.set_state,
            "global": torch.set_rng_state,
        }
        for name, part in saved.items():
            back[name](part)

    return pack, unpack


# ---- 11.5: accumulate over pieces ----


def check_accumulate(accumulate: Callable[[nn.Module, Tensor, Tensor, int], Any]) -> None:
    """`accumulate(model, x, y, size)` leaves the gradient of the whole batch's mean loss in every `.grad`."""
    x, y, size = _numbers(22, 5), _classes(22), 8
    model = _network()
    pieces = list(zip(x.split(size), y.split(size), strict=True))
    seen: list[int] = []
    alive: list[int] = [0]  # graphs alive, after each forward and each backward

    def forward(module: nn.Module, args: tuple[Tensor], out: Tensor) -> None:
        seen.append(len(args[0]))
        if out.requires_grad:
            alive.append(alive[-1] + 1)
            out.register_hook(lambda grad: alive.append(alive[-1] - 1))

    model.register_forward_hook(forward)
    before = copy.deepcopy(model.state_dict())
    accumulate(model, x, y, size)
    grads = [p.grad for p in model.parameters()]
    expect(seen, "Your function never called the model.")
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
        max(alive) <= 1,
        f"{max(alive)} pieces' graphs were alive at once: that takes the memory that you wanted to save.",
        "Call backward inside the loop: it lets go of each piece's graph before the next is built.",
    )

    def of(*weights: float) -> list[Tensor]:
        other = _network()
        losses = [w * cross_entropy(other(a), b) for w, (a, b) in zip(weights, pieces, strict=True)]
        return list(torch.autograd.grad(sum(losses), list(other.parameters())))

    shares = [len(b) / 22 for _, b in pieces]
    expect(
        not _close(grads, of(1, 1, 1)),
        "Your gradient is the sum of the pieces' mean gradients: about three times too large here.",
        "Each piece's mean should count by its share of the batch.",
    )
    expect(
        not _close(grads, of(1 / 3, 1 / 3, 1 / 3)),
        "Each piece counts the same, but the last has 6 examples and the others 8.",
        "The factor is len(piece) / len(batch), not 1 / number of pieces.",
    )
    expect(
        not any(_close(grads, of(0, 0, weight)) for weight in (1.0, shares[2], 1 / 3)),
        "Only the last piece is in the gradient: the ones before were cleared away.",
        "zero_grad belongs before the loop, not into it.",
    )
    expect(
        _close(grads, of(*shares)),
        "The gradients are not those of the mean loss over the whole batch.",
    )
    accumulate(model, x, y, size)
    expect(
        _close([p.grad for p in model.parameters()], of(*shares)),
        "Called a second time, your function adds to the gradients of the first call.",
        "Clear them before the first piece.",
    )


def _accumulate(
    model: nn.Module, x: Tensor, y: Tensor, size: int, clear: str = "before", **switches: Any
) -> None:
    """The solution with its usual mistakes as switches."""
    size = len(y) if switches.get("whole") else size
    parts = list(zip(x.split(size), y.split(size), strict=True))
    waiting: list[Tensor] = []
    for nth, (x_part, y_part) in enumerate(parts):
        if clear == "inside" or (clear == "before" and nth == 0):
            model.zero_grad()
        factor = switches.get("factor", lambda share, pieces: share)
        factor = factor(len(y_part) / len(y), len(parts))
        waiting.append(cross_entropy(model(x_part), y_part) * factor)
        if not switches.get("late") or nth == len(parts) - 1:
            sum(waiting).backward()
            waiting.clear()
    if switches.get("step"):
        torch.optim.SGD(model.parameters(), lr=0.1).step()


LOST = (
    ("no model", {"leave": "model"}, "parameters are not those"),
    ("no optimizer", {"leave": "optimizer"}, "forgotten its running means"),
    ("no order", {"leave": "generator"}, "in another order"),
    ("no global generator", {"leave": "global"}, "Model, optimizer and order are right"),
    ("seed, not state", {"seed": True}, "from its seed"),
    ("whole model", {"whole": True}, "no plain data"),
)
EXERCISES = (
    Exercise(
        "11.1",
        "Every statistic comes from the training set, and an empty pixel stays silent.",
        check_standardise,
        _wrong(
            _standardise,
            ("each set by its own statistics", {"source": "own"}, "its own mean and spread"),
            ("statistics of both sets", {"source": "both"}, "that is the leak"),
            ("no guard against zero", {"guard": False}, "nan or an inf"),
            ("one mean for all pixels", {"source": "all"}, "one mean for all pixels"),
            ("torch's own std", {"correction": 1}, "n - 1"),
            ("not divided", {"divide": False}, "nothing is divided"),
            ("constant pixel let through", {"silence": False}, "has to be 0 in both"),
        ),
    ),
    Exercise(
        "11.2",
        "Right numbers, no graph, and the model as it was found.",
        check_evaluate,
        _wrong(
            _evaluate,
            ("training mode", {"mode": "never"}, "in training mode while you measured"),
            ("left in evaluation mode", {"mode": "leave"}, "left in evaluation mode"),
            ("always back to training", {"mode": "train"}, "left in training mode"),
            ("graph built", {"graph": True}, "A graph was built"),
            ("parameters frozen", {"frozen": True}, "requires_grad off"),
            ("mean of batch means", {"weigh": lambda y: 1}, "mean of the batches' means"),
            ("tensors returned", {"tensors": True}, "Python floats"),
            ("accuracy first", {"swapped": True}, "The loss is"),
        ),
    ),
    Exercise(
        "11.3",
        "It waits for bad epochs in a row, and its best state is safe from later steps.",
        check_early_stopping,
        _wrong(
            _EarlyStopping,
            ("state not copied", {"live": True}, "training went on underneath"),
            ("count never starts again", {"total": True}, "bad epoch in all"),
            ("one epoch too early", {"late": -1}, "0.7 it stopped after epoch"),
            ("one epoch too late", {"late": 1}, "waited for a fourth"),
            ("compared with the last epoch", {"previous": True}, "should stop, and did not"),
            ("a tie counts as better", {"ties": True}, "no better"),
            ("answers only to stop", {"silent": True}, "answered None"),
        ),
    ),
    Exercise(
        "11.4",
        "The resumed run is the uninterrupted one, bit for bit.",
        check_checkpoint,
        tuple(Wrong(name, _checkpoint(**switch), says) for name, switch, says in LOST),
    ),
    Exercise(
        "11.5",
        "Small pieces, the gradient of the whole batch.",
        check_accumulate,
        _wrong(
            _accumulate,
            ("means added up", {"factor": lambda share, pieces: 1}, "three times too large"),
            (
                "divided by the number of pieces",
                {"factor": lambda share, pieces: 1 / pieces},
                "Each piece counts the same",
            ),
            ("cleared inside the loop", {"clear": "inside"}, "Only the last piece"),
            ("never cleared", {"clear": "never"}, "adds to the gradients of the first"),
            ("not cut into pieces", {"whole": True}, "no piece may be larger"),
            ("one backward at the end", {"late": True}, "alive at once"),
            ("steps as well", {"step": True}, "changed the parameters"),
        ),
    ),
)
