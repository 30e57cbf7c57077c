"""Five questions about the rate on lesson 17's digits, a network of 32 hidden units, batches of 32, momentum 0.9.

1. collapse: does "times 0.1 after each epoch" train? Each schedule at the best of eight rates (validation loss, seeds
   100 to 107), and constant and collapse once more at 0.2, where a constant rate jumps about: seeds 0 to 31, test set.
2. floor: has the training loss of a constant rate a floor? Sixty epochs, rates 0.1 and 0.2, seeds 0 to 23.
3. plateau: does the rule that looks at the loss rescue a rate of 0.3? Fifteen epochs, the rule sees the validation
   loss and is judged on the test set, seeds 0 to 31; beside it a cosine from 0.3 and the constant rate of question 1.
4. warm-up: Adam and SGD, five rates each, a cosine after no, 36 or 108 steps of warm-up, seeds 0 to 23: validation
   loss and accuracy (no set is chosen on here, all rates are told), dead units after 36 steps, counted on the
   training digits. Then the best rate of each (seeds 100 to 107) on the test set, seeds 0 to 31.
5. sharpness: the largest eigenvalue of the Hessian of the training loss while the whole training set is one batch,
   without momentum, rates 0.1, 0.3, 0.6, 1.0, by Hessian-vector products; seeds 0 to 23.

Losses and accuracies are means of five looks over the last twentieth of the steps, except where a curve is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from definebyrun_course.pieces.schedules import (
    Factor,
    Plateau,
    cosine,
    exponential,
    linear,
    milestones,
    sequence,
)
from definebyrun_course.pieces.stack import Stack, losses, rates_table, train_stack
from experiments.decay import (
    EPOCH,
    GRID,
    TASKS,
    Task,
    batches_of,
    is_look,
    judged,
    measure,
    start,
)

__all__ = ["collapse", "floor", "plateau", "run", "sharpness", "sharpness_of", "warm_up"]

TUNING, REPORTED = range(100, 108), range(32)
STEPS = 10 * EPOCH


def each_epoch(factor: Factor) -> Factor:
    return lambda step: factor(step // EPOCH)


COLLAPSE: dict[str, Factor] = {
    "constant": lambda step: 1.0,
    "× 0.1 each epoch": each_epoch(exponential(0.1)),
    "× 0.1 at epochs 5 and 8": each_epoch(milestones([5, 8])),
    "cosine": cosine(STEPS),
}


def table(settings: Sequence[tuple[float, Factor]], steps: int) -> Tensor:
    """One row of rates for each peak and shape."""
    return torch.cat([rates_table([rate], factor, steps) for rate, factor in settings])


def rounded(values: Tensor, digits: int = 4) -> list[Any]:
    found: list[Any] = torch.round(values.double(), decimals=digits).tolist()
    return found


def collapse(task: Task, seeds: Sequence[int] = REPORTED) -> dict[str, Any]:
    tuned = {}
    for name, factor in COLLAPSE.items():
        loss = measure(task, rates_table(GRID, factor, STEPS), TUNING).loss.mean(1).nan_to_num(99.0)
        tuned[name] = GRID[int(loss.argmin())]
    settings = [(tuned[name], factor) for name, factor in COLLAPSE.items()]
    settings += [(0.2, factor) for factor in COLLAPSE.values()]
    got = measure(task, table(settings, STEPS), seeds, on="test", points=10)
    names = [*COLLAPSE, *(f"{name}, from 0.2" for name in COLLAPSE)]
    return {
        name: {
            "rate": rate,
            "loss": rounded(got.loss[nth]),
            "accuracy": rounded(got.accuracy[nth]),
            "training": rounded(got.curve[nth].mean(0)),
            "training_last": rounded(got.training[nth]),
        }
        for nth, (name, (rate, _)) in enumerate(zip(names, settings, strict=True))
    }


def floor(task: Task, seeds: Sequence[int] = range(24), epochs: int = 60) -> dict[str, Any]:
    rates = (0.1, 0.2)
    got = measure(
        task, torch.tensor(rates)[:, None].expand(-1, epochs * EPOCH), seeds, points=epochs
    )
    at = [e for e in (1, 2, 5, 10, 20, 40, 60) if e <= epochs]
    picked = got.curve[:, :, [e - 1 for e in at]]
    return {
        "epochs": at,
        "rates": rates,
        "loss": [[[float(f"{v:.3g}") for v in row] for row in rate] for rate in picked.tolist()],
    }


def plateau(
    task: Task, best: float, seeds: Sequence[int] = REPORTED, epochs: int = 15
) -> dict[str, Any]:
    """Arms as candidates of one stack: the rules change the rates of single networks."""
    names = ["constant", "rule, halves", "rule, tenths", "cosine", "constant, best rate"]
    steps, factors = epochs * EPOCH, {1: 0.5, 2: 0.1}
    rates = torch.full((len(names), len(seeds)), 0.3)
    rates[4] = best
    rules = {arm: [Plateau(patience=1) for _ in seeds] for arm in factors}
    first = torch.zeros(len(names), len(seeds))
    stack = Stack(seeds, len(names), lambda seed: start(seed, task.inputs))
    ends: list[tuple[Tensor, Tensor]] = []
    training: list[Tensor] = []
    trained: list[Tensor] = []

    def rate(step: int) -> Tensor:
        rates[3] = 0.3 * cosine(steps)(step)
        return rates

    def look(done: int) -> None:
        if is_look(done, steps):
            ends.append(judged(stack, *task.test))
            trained.append(judged(stack, task.x, task.y)[0])
        if done % EPOCH:
            return
        seen, _ = judged(stack, *task.val)
        for arm, factor in factors.items():
            for nth, rule in enumerate(rules[arm]):
                if rule.cut(seen[arm, nth].item()):
                    first[arm, nth] = first[arm, nth] or done // EPOCH
                    rates[arm, nth] *= factor
        training.append(judged(stack, task.x, task.y)[0])

    train_stack(stack, batches_of(task, seeds), rate, steps, each_step=look)
    loss, accuracy = (torch.stack(part).mean(0) for part in zip(*ends, strict=True))
    curve = torch.stack(training, -1)
    return {
        name: {
            "loss": rounded(loss[nth]),
            "accuracy": rounded(accuracy[nth]),
            "training": rounded(curve[nth].median(0).values),
            "training_last": rounded(torch.stack(trained).mean(0)[nth]),
            "first_cut": [int(cut) for cut in first[nth]],
        }
        for nth, name in enumerate(names)
    }


WARM = (0, EPOCH, 3 * EPOCH)
RATES = {"Adam": (0.003, 0.01, 0.03, 0.1, 0.3), "SGD": (0.03, 0.1, 0.2, 0.4, 0.8)}


def warmed(warm: int) -> Factor:
    if not warm:
        return cosine(STEPS)
    return sequence([linear(0.01, 1.0, warm), cosine(STEPS - warm)], [warm])


def dead_units(stack: Stack, x: Tensor) -> Tensor:
    """The share of hidden units that are 0 for every row of `x`."""
    with torch.no_grad():
        hidden = (x @ stack.weights[0] + stack.biases[0]).relu()
    return (hidden.amax(-2) == 0).float().mean(-1)


def one_warm_up(
    task: Task, kind: str, settings: Sequence[tuple[float, int]], seeds: Sequence[int], on: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and accuracy at the end and dead units after 36 steps, for pairs of a rate and a length of warm-up."""
    rows = table([(rate, warmed(warm)) for rate, warm in settings], STEPS)
    stack = Stack(seeds, len(rows), lambda seed: start(seed, task.inputs))
    dead: list[Tensor] = []

    def look(done: int) -> None:
        if done == EPOCH:
            dead.append(dead_units(stack, task.x))

    train_stack(stack, batches_of(task, seeds), rows, STEPS, adam=kind == "Adam", each_step=look)
    return *judged(stack, *getattr(task, on)), dead[0]


def warm_up(task: Task, seeds: Sequence[int] = range(24)) -> dict[str, Any]:
    told: dict[str, Any] = {"warm": WARM, "rates": RATES}
    for kind, rates in RATES.items():
        settings = [(rate, warm) for warm in WARM for rate in rates]
        loss, accuracy, dead = one_warm_up(task, kind, settings, seeds, "val")
        chosen, *_ = one_warm_up(task, kind, settings, TUNING, "val")
        means = chosen.mean(1).nan_to_num(99.0).view(len(WARM), len(rates))
        best = [rates[int(row.argmin())] for row in means]
        test_loss, test_accuracy, _ = one_warm_up(
            task, kind, list(zip(best, WARM, strict=True)), REPORTED, "test"
        )
        told[kind] = {
            "loss": rounded(loss.mean(1).view(len(WARM), -1)),
            "accuracy": rounded(accuracy.view(len(WARM), len(rates), -1), 3),
            "dead": rounded(dead.mean(1).view(len(WARM), -1)),
            "best": best,
            "test_loss": rounded(test_loss),
            "test_accuracy": rounded(test_accuracy),
        }
    return told


def sharpness_of(stack: Stack, x: Tensor, y: Tensor, rounds: int = 12, seed: int = 0) -> Tensor:
    """The largest eigenvalue of each network's own Hessian: power iteration with Hessian-vector products.

    The networks do not meet, so the Hessian of the sum of their losses has one block for each, and one product with
    a vector is a product with every block.
    """
    parameters = stack.parameters()
    total = losses(stack(x), y).sum()
    grads = torch.autograd.grad(total, parameters, create_graph=True)
    dice = torch.Generator().manual_seed(seed)
    vectors = [torch.randn(p.shape, generator=dice, dtype=p.dtype) for p in parameters]
    for _ in range(rounds):
        length = torch.stack([v.square().sum((-1, -2)) for v in vectors]).sum(0).sqrt()
        vectors = [v / length[..., None, None] for v in vectors]
        products = torch.autograd.grad(grads, parameters, vectors, retain_graph=True)
        value = torch.stack([(v * p).sum((-1, -2)) for v, p in zip(vectors, products, strict=True)])
        vectors = [p.detach() for p in products]
    return value.sum(0).detach()


def sharpness(task: Task, seeds: Sequence[int] = range(24), steps: int = 200) -> dict[str, Any]:
    rates = (0.1, 0.3, 0.6, 1.0)
    at = [n for n in (1, 5, 10, 20, 40, 70, 100, 150, 200) if n <= steps]
    stack = Stack(seeds, len(rates), lambda seed: start(seed, task.inputs))
    x, y = task.x.expand(len(seeds), -1, -1), task.y.expand(len(seeds), -1)
    found: list[Tensor] = []
    loss: list[Tensor] = []

    def look(done: int) -> None:
        if done in at:
            found.append(sharpness_of(stack, x, y))
            loss.append(losses(stack(x), y).detach())

    train_stack(stack, lambda step: (x, y), rates_table(rates, lambda step: 1.0, steps), steps,
                momentum=0.0, each_step=look)  # fmt: skip
    return {
        "rates": rates,
        "steps": at,
        "sharpness": rounded(torch.stack(found, -1), 2),
        "loss": rounded(torch.stack(loss, -1).mean(1)),
    }


def run() -> dict[str, Any]:
    """All five; about a minute."""
    parts: dict[str, Callable[[Task], dict[str, Any]]] = {
        "floor": floor,
        "warm_up": warm_up,
        "sharpness": sharpness,
    }
    task = TASKS["digits"]()
    found: dict[str, Any] = {"collapse": collapse(task)}
    found["plateau"] = plateau(task, found["collapse"]["constant"]["rate"])
    return found | {name: part(task) for name, part in parts.items()}
