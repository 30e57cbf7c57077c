"""Does decay help? Two data sets, noise that can be learned away and noise that stays, a short and a long budget.

Asked: is the test loss (and accuracy) of a decayed rate better than that of a constant one, each at its best rate?
Decided: the rate of each schedule is the one of eight, a factor of two apart, with the least validation loss on the
seeds 100 to 107; the test set is then opened for the seeds 0 to 31 alone, at these rates. Loss and accuracy are means
of five looks over the last twentieth of the steps, not of one. Seeds are paired: the same start, batches and noise.

The tasks, a network of 32 hidden units, batches of 32, momentum 0.9:
- digits: lesson 17's 1,149 training digits, again and again. The network can learn each of them by heart.
- digits, fresh noise: the same digits; each time a digit is seen, it is moved by up to a pixel, and every pixel gets
  new noise of spread 1. So are the digits of validation and test, once for all.
- letters, 1,149: as many letters of `pieces.strokes`, again and again.
- letters, each once: a new letter for every place in every batch.

"averaged" is the constant rate again, with the mean of the weights over the last quarter of the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from definebyrun_course.pieces.digits import digits_split, network
from definebyrun_course.pieces.schedules import Factor, cosine, linear, sequence
from definebyrun_course.pieces.stack import Batches, Stack, losses, rates_table, train_stack
from definebyrun_course.pieces.strokes import strokes, strokes_split

__all__ = [
    "EPOCH",
    "GRID",
    "SCHEDULES",
    "TASKS",
    "Measured",
    "Task",
    "batches_of",
    "is_look",
    "judged",
    "measure",
    "run",
    "shifted",
    "start",
]

EPOCH, BATCH, LOOKS = 36, 32, 5
BUDGETS = {"short": 10 * EPOCH, "long": 100 * EPOCH}
TUNING, REPORTED = range(100, 108), range(32)
GRID = (0.003, 0.006, 0.012, 0.025, 0.05, 0.1, 0.2, 0.4)
LOWER_GRID = (0.0002, 0.0004, 0.0008, 0.0015, 0.003, 0.006, 0.012, 0.025)
"""For the long budget on images that can be learned by heart: with the other grid its smallest rate was the best."""


def constant(steps: int) -> Factor:
    return lambda step: 1.0


def to_zero(steps: int) -> Factor:
    """A straight line down to 0."""
    return linear(1.0, 0.0, steps)


def stable_then_down(steps: int) -> Factor:
    """Constant for four fifths of the steps, then a straight line down to 0: warm-up–stable–decay without warm-up."""
    turn = 4 * steps // 5
    return sequence([lambda step: 1.0, linear(1.0, 0.0, steps - turn)], [turn])


SCHEDULES: dict[str, Callable[[int], Factor]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": to_zero,
    "stable, then down": stable_then_down,
}


class Task(NamedTuple):
    """What a measurement needs: the training rows, and two sets to judge by."""

    inputs: int
    x: Tensor
    y: Tensor
    val: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    fresh: bool = False
    once: bool = False


class Measured(NamedTuple):
    """Means of the last looks, of shape (candidates, seeds); `averaged` is (loss, accuracy) of averaged weights."""

    loss: Tensor
    accuracy: Tensor
    averaged: tuple[Tensor, Tensor]
    training: Tensor
    curve: Tensor  # training loss (candidates, seeds, points) at `points` equal distances


def shifted(x: Tensor, dice: torch.Generator, spread: float = 1.0) -> Tensor:
    """Digits of shape (rows, 64), each moved by up to a pixel in both directions, with new noise on every pixel."""
    rows = len(x)
    wide = nn.functional.pad(x.reshape(rows, 8, 8), (1, 1, 1, 1), value=x.min().item())
    down, right = torch.randint(0, 3, (2, rows), generator=dice)
    line = torch.arange(8)
    picked = wide[
        torch.arange(rows)[:, None, None],
        (down[:, None] + line)[:, :, None],
        (right[:, None] + line)[:, None, :],
    ]
    return picked.reshape(rows, 64) + spread * torch.randn(rows, 64, generator=dice)


def digits_task(fresh: bool) -> Task:
    data = digits_split(torch.float32)
    sets = (data.x_val, data.y_val), (data.x_test, data.y_test)
    if fresh:
        dice = torch.Generator().manual_seed(999)
        sets = tuple((shifted(x.repeat(8, 1), dice), y.repeat(8)) for x, y in sets)  # type: ignore[assignment]
    return Task(64, data.x_train, data.y_train, *sets, fresh=fresh)


def letters_task(once: bool, steps: int = BUDGETS["long"]) -> Task:
    data = strokes_split(1149, 2000, 4000)
    if not once:
        return Task(144, data.x_train, data.y_train, *_judged(data))
    x, y = strokes(steps * BATCH, seed=7)
    plain, _ = strokes(1149, seed=0)
    return Task(144, (x - plain.mean()) / plain.std(), y, *_judged(data), once=True)


def _judged(data: Any) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return (data.x_val, data.y_val), (data.x_test, data.y_test)


TASKS = {
    "digits": partial(digits_task, fresh=False),
    "digits, fresh noise": partial(digits_task, fresh=True),
    "letters, 1,149": partial(letters_task, once=False),
    "letters, each once": partial(letters_task, once=True),
}


def start(seed: int, inputs: int) -> nn.Sequential:
    """`pieces.digits.network`, for more pixels where there are more."""
    if inputs == 64:
        return network(seed, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 10))


def batches_of(task: Task, seeds: Sequence[int]) -> Batches:
    """Each seed has an order, and noise, of its own; all its candidates see the same."""
    dice = [torch.Generator().manual_seed(seed) for seed in seeds]
    rows: list[Tensor] = []

    def batch(step: int) -> tuple[Tensor, Tensor]:
        place = step % EPOCH
        if place == 0 and not (task.once and step):
            rows[:] = [torch.randperm(len(task.y), generator=own) for own in dice]
        first = (step if task.once else place) * BATCH
        picked = torch.stack([own[first : first + BATCH] for own in rows])
        x, y = task.x[picked], task.y[picked]
        if task.fresh:
            x = torch.stack([shifted(part, own) for part, own in zip(x, dice, strict=True)])
        return x, y

    return batch


def is_look(done: int, steps: int) -> bool:
    """Whether networks are judged after `done` steps: five times over the last twentieth, the end included."""
    left = steps - done
    return left % (steps // 100) == 0 and left // (steps // 100) < LOOKS


@torch.no_grad()
def judged(stack: Stack, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and accuracy of every network, each of shape (candidates, seeds)."""
    logits = stack(x)
    return losses(logits, y), (logits.argmax(-1) == y).float().mean(-1)


def measure(
    task: Task,
    table: Tensor,
    seeds: Sequence[int],
    on: str = "val",
    points: int = 0,
) -> Measured:
    """Train one network per row of `table` and seed; judge them on the validation set or, at the end, the test set."""
    steps = table.shape[1]
    stack = Stack(seeds, len(table), partial(start, inputs=task.inputs))
    x, y = getattr(task, on)
    ends: list[tuple[Tensor, Tensor]] = []
    curve: list[Tensor] = []
    training: list[Tensor] = []
    sums = [torch.zeros_like(p) for p in stack.parameters()]

    def look(done: int) -> None:
        if done > steps - steps // 4:
            for total, parameter in zip(sums, stack.parameters(), strict=True):
                total += parameter.detach() / (steps // 4)
        if is_look(done, steps):
            ends.append(judged(stack, x, y))
            training.append(
                judged(stack, task.x[:1149], task.y[:1149])[0] if points else ends[-1][0]
            )
        if points and done % (steps // points) == 0:
            curve.append(judged(stack, task.x[:1149], task.y[:1149])[0])

    train_stack(stack, batches_of(task, seeds), table, steps, each_step=look)
    with torch.no_grad():
        for parameter, total in zip(stack.parameters(), sums, strict=True):
            parameter.copy_(total)
    loss, accuracy = (torch.stack(part).mean(0) for part in zip(*ends, strict=True))
    told = torch.stack(curve, -1) if curve else torch.empty(0)
    return Measured(loss, accuracy, judged(stack, x, y), torch.stack(training).mean(0), told)


def grid_of(task: Task, steps: int) -> tuple[float, ...]:
    by_heart = not (task.fresh or task.once)
    return LOWER_GRID if by_heart and steps == BUDGETS["long"] else GRID


def tune(task: Task, steps: int) -> dict[str, dict[str, Any]]:
    """For each schedule the mean validation loss at every rate of the grid, and the rate with the least."""
    found: dict[str, dict[str, Any]] = {}
    grid = grid_of(task, steps)

    def note(name: str, loss: Tensor, accuracy: Tensor) -> None:
        mean = loss.mean(1).nan_to_num(99.0)
        found[name] = {
            "val_loss": [round(min(v, 99.0), 4) for v in mean.tolist()],
            "val_accuracy": [round(v, 4) for v in accuracy.mean(1).tolist()],
            "best": grid[int(mean.argmin())],
        }

    for name, factor in SCHEDULES.items():
        got = measure(task, rates_table(grid, factor(steps), steps), TUNING)
        note(name, got.loss, got.accuracy)
        if name == "constant":
            note("averaged", *got.averaged)
    return found


def report(task: Task, steps: int, tuned: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The test set, opened once: each schedule at its best rate, and the averaged weights of the constant one."""
    rows = [tuned[name]["best"] * torch.tensor([f(s) for s in range(steps)])
            for name, f in ((n, make(steps)) for n, make in SCHEDULES.items())]  # fmt: skip
    rows.append(torch.full((steps,), tuned["averaged"]["best"]))
    got = measure(task, torch.stack(rows), REPORTED, on="test")
    loss, accuracy = got.loss, got.accuracy
    loss[-1], accuracy[-1] = got.averaged[0][-1], got.averaged[1][-1]
    names = [*SCHEDULES, "averaged"]
    return {
        name: {
            "rate": tuned[name]["best"],
            "loss": [round(v, 4) for v in loss[nth].tolist()],
            "accuracy": [round(v, 4) for v in accuracy[nth].tolist()],
        }
        for nth, name in enumerate(names)
    }


def run() -> dict[str, Any]:
    """All tasks and budgets; about two minutes."""
    results: dict[str, Any] = {}
    for name, make in TASKS.items():
        task = make()
        for budget, steps in BUDGETS.items():
            tuned = tune(task, steps)
            results[f"{name}; {budget}"] = {
                "steps": steps,
                "grid": grid_of(task, steps),
                "tuned": tuned,
                "test": report(task, steps, tuned),
            }
    return {
        "tuning_seeds": list(TUNING),
        "seeds": list(REPORTED),
        "results": results,
    }
