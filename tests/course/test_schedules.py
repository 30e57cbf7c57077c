"""The schedules of lesson 23 are torch's, for every step and parameter group, with a resume in the middle.

Random settings, 200 steps each. torch multiplies the current rate and the pieces compute from the count, so last digits
differ: 1e-12 of the group's largest rate is allowed, and where no rounding can differ, nothing is.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, Optimizer, lr_scheduler

from definebyrun_course.pieces import schedules
from definebyrun_course.pieces.schedules import Factor, Plateau, Schedule, lowered
from tests.course.lesson_code import cells

STEPS, EACH = 200, 26
Rates = list[float]
Setting = tuple[Callable[[Optimizer], Any], list[Factor]]


def optimizer(rates: Rates, kind: type[Optimizer] = SGD) -> Optimizer:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates]
    return kind(groups, lr=1.0)


def some_rates(dice: random.Random) -> Rates:
    return [10 ** dice.uniform(-4, 1) for _ in range(dice.randint(1, 3))]


# ---- one random setting of each scheduler: how torch is asked for it, and the factor of each group ----


def step_lr(dice: random.Random, rates: Rates) -> Setting:
    every, gamma = dice.randint(1, 60), dice.uniform(0.1, 1.1)
    return lambda o: lr_scheduler.StepLR(o, every, gamma), [schedules.step_decay(every, gamma)]


def multi_step_lr(dice: random.Random, rates: Rates) -> Setting:
    at = [dice.randint(0, 250) for _ in range(dice.randint(0, 6))]
    at, gamma = at + at[:1], dice.uniform(0.1, 1.0)  # the first is named twice
    return lambda o: lr_scheduler.MultiStepLR(o, at, gamma), [schedules.milestones(at, gamma)]


def exponential_lr(dice: random.Random, rates: Rates) -> Setting:
    gamma = dice.uniform(0.9, 1.01)
    return lambda o: lr_scheduler.ExponentialLR(o, gamma), [schedules.exponential(gamma)]


def constant_lr(dice: random.Random, rates: Rates) -> Setting:
    factor, until = dice.uniform(0.01, 1.0), dice.randint(1, 250)
    return lambda o: lr_scheduler.ConstantLR(o, factor, until), [schedules.constant(factor, until)]


def linear_lr(dice: random.Random, rates: Rates) -> Setting:
    setting = dice.uniform(0.01, 1.0), dice.uniform(0.0, 1.0), dice.randint(1, 250)
    return lambda o: lr_scheduler.LinearLR(o, *setting), [schedules.linear(*setting)]


def polynomial_lr(dice: random.Random, rates: Rates) -> Setting:
    until, power = dice.randint(1, 250), dice.choice([0.5, 1.0, 2.0, 3.7])
    return (
        lambda o: lr_scheduler.PolynomialLR(o, until, power),
        [schedules.polynomial(until, power)],
    )


def cosine_annealing_lr(dice: random.Random, rates: Rates) -> Setting:
    until, least = dice.randint(1, 150), dice.choice([0.0, min(rates) * dice.uniform(0, 0.9)])
    return (
        lambda o: lr_scheduler.CosineAnnealingLR(o, until, least),
        [schedules.cosine(until, least / rate) for rate in rates],
    )


def warm_restarts(dice: random.Random, rates: Rates) -> Setting:
    first, times, least = dice.randint(1, 60), dice.randint(1, 3), min(rates) * dice.uniform(0, 0.9)
    return (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, first, times, least),
        [schedules.restarts(first, times, least / rate) for rate in rates],
    )


def one_cycle_lr(dice: random.Random, rates: Rates) -> Setting:
    warm, divide, last = dice.uniform(0.05, 0.45), dice.uniform(2, 50), dice.uniform(1, 1e5)
    shape, three = dice.choice(["cos", "linear"]), dice.choice([True, False])
    total = dice.randint(STEPS, 400)
    setting = {"pct_start": warm, "div_factor": divide, "final_div_factor": last}
    setting |= {"anneal_strategy": shape, "three_phase": three}
    factor = schedules.one_cycle(total, 1 / divide, 1.0, 1 / divide / last, warm, shape, three)
    return lambda o: lr_scheduler.OneCycleLR(o, rates, total, **setting), [factor]


def cyclic_lr(dice: random.Random, rates: Rates) -> Setting:
    up, down, low = dice.randint(1, 60), dice.randint(1, 60), dice.uniform(0.01, 0.9)
    mode, gamma = dice.choice(["triangular", "triangular2", "exp_range"]), dice.uniform(0.9, 1.0)
    setting = {"step_size_up": up, "step_size_down": down, "mode": mode, "gamma": gamma}
    lows = [rate * low for rate in rates]
    return (
        lambda o: lr_scheduler.CyclicLR(o, lows, rates, **setting),
        [schedules.cyclic(up, down, low, mode, gamma)],
    )


def lambda_lr(dice: random.Random, rates: Rates) -> Setting:
    bend = [dice.uniform(0.01, 1.0) for _ in rates]
    factors = [lambda step, b=b: 1 / (1 + b * step) for b in bend]
    return lambda o: lr_scheduler.LambdaLR(o, factors), factors


CHAINABLE = [step_lr, multi_step_lr, exponential_lr, constant_lr, linear_lr, polynomial_lr]


def chained(dice: random.Random, rates: Rates) -> Setting:
    parts = [make(dice, rates) for make in dice.sample(CHAINABLE, dice.randint(1, 3))]
    return (
        lambda o: lr_scheduler.ChainedScheduler([make(o) for make, _ in parts]),
        [schedules.product(*(factors[0] for _, factors in parts))],
    )


def sequential(dice: random.Random, rates: Rates) -> Setting:
    kinds = [*CHAINABLE, cosine_annealing_lr, warm_restarts, lambda_lr]
    parts = [make(dice, rates) for make in dice.sample(kinds, dice.randint(1, 3))]
    at = sorted(dice.sample(range(1, STEPS), len(parts) - 1))
    factors = [
        schedules.sequence([own[group % len(own)] for _, own in parts], at)
        for group in range(len(rates))
    ]
    return (
        lambda o: lr_scheduler.SequentialLR(o, [make(o) for make, _ in parts], at),
        factors,
    )


MAKERS = [*CHAINABLE, cosine_annealing_lr, warm_restarts, one_cycle_lr, cyclic_lr, lambda_lr]
MAKERS += [chained, sequential]
EXACT = {lambda_lr}


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # MultiStepLR keeps a Counter


def rates_of(o: Optimizer) -> Rates:
    return [group["lr"] for group in o.param_groups]


def test_there_are_at_least_300_random_settings() -> None:
    assert len(MAKERS) * EACH >= 300


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_each_rate_is_torchs_also_after_a_resume(make: Callable[..., Setting]) -> None:
    for seed in range(EACH):
        dice = random.Random(f"{make.__name__} {seed}")
        rates = some_rates(dice)
        build, factors = make(dice, rates)
        theirs, ours = optimizer(rates), optimizer(rates)
        scheduler, schedule = build(theirs), Schedule(ours, *factors)
        stop = dice.randrange(1, STEPS)
        for step in range(STEPS):
            if step == stop:  # both are put away and built anew
                states = theirs.state_dict(), scheduler.state_dict(), schedule.state_dict()
                theirs, ours = optimizer(rates), optimizer(rates)
                scheduler, schedule = build(theirs), Schedule(ours, *factors)
                theirs.load_state_dict(through_a_file(states[0]))
                scheduler.load_state_dict(through_a_file(states[1]))
                schedule.load_state_dict(through_a_file(states[2]))
            for got, want, rate in zip(rates_of(ours), rates_of(theirs), rates, strict=True):
                near = 0.0 if make in EXACT else 1e-12 * max(rate, abs(want))
                assert abs(got - want) <= near, (make.__name__, seed, step, got, want)
            theirs.step()
            scheduler.step()
            schedule.step()


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("three_phase", [False, True])
def test_one_cycle_moves_momentum_as_torch_does(kind: type[Optimizer], three_phase: bool) -> None:
    o = SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.5)
    o = o if kind is SGD else Adam([torch.zeros(1, requires_grad=True)])
    scheduler = lr_scheduler.OneCycleLR(o, 1.0, STEPS, pct_start=0.4, three_phase=three_phase)
    factor = schedules.one_cycle(STEPS, 0.95, 0.85, 0.95, 0.4, three_phase=three_phase)
    for step in range(STEPS):
        group = o.param_groups[0]
        momentum = group["momentum"] if kind is SGD else group["betas"][0]
        assert momentum == pytest.approx(factor(step), rel=1e-12), step
        o.step()
        scheduler.step()


def losses(dice: random.Random, sign: float) -> list[float]:
    """A walk that falls, rests, jumps; now and then nan or infinite; below zero for some."""
    value, walk = dice.uniform(0.5, 3.0), []
    for _ in range(STEPS):
        value += dice.choice([0.0, 0.0, -0.05, 0.05, -1e-5, 1e-5]) * dice.random()
        walk.append(dice.choice([math.nan, math.inf]) if dice.random() < 0.02 else sign * value)
    return walk


def test_the_rule_that_reacts_to_the_loss_cuts_where_torchs_does() -> None:
    cuts = 0
    for seed in range(100):
        dice = random.Random(seed)
        rates, least = some_rates(dice), dice.choice([0.0, 1e-3])
        how = {"mode": dice.choice(["min", "max"]), "threshold": dice.choice([0.0, 1e-4, 0.1])}
        kind, factor = dice.choice(["rel", "abs"]), dice.uniform(0.1, 0.9)
        waits = {"patience": dice.randint(0, 8), "cooldown": dice.randint(0, 5)}
        eps = dice.choice([0.0, 1e-8, 1e-3])
        setting = {"factor": factor, "min_lr": least, "eps": eps, "threshold_mode": kind}
        build = partial(lr_scheduler.ReduceLROnPlateau, **setting, **how, **waits)

        o = optimizer(rates)
        scheduler, plateau, mine = build(o), Plateau(**waits, kind=kind, **how), list(rates)
        stop = dice.randrange(1, STEPS)
        for step, loss in enumerate(losses(dice, dice.choice([1, -1]))):
            if step == stop:
                states = o.state_dict(), scheduler.state_dict(), plateau.state_dict()
                o = optimizer(rates)
                scheduler, plateau = build(o), Plateau(**waits, kind=kind, **how)
                o.load_state_dict(through_a_file(states[0]))
                scheduler.load_state_dict(through_a_file(states[1]))
                plateau.load_state_dict(through_a_file(states[2]))
            scheduler.step(loss)
            if plateau.cut(loss):
                cuts += 1
                mine = [lowered(rate, factor, least, eps) for rate in mine]
            assert rates_of(o) == mine, (seed, step)  # to the last bit: the same multiplications
            assert (scheduler.best, scheduler.num_bad_epochs) == (plateau.best, plateau.bad)
    assert cuts > 1000


def test_a_phase_without_length_is_refused_where_torch_divides_by_zero() -> None:
    with pytest.raises(ValueError, match="without length"):
        schedules.one_cycle(10, warm=0.1)
    with pytest.raises(ZeroDivisionError):
        lr_scheduler.OneCycleLR(optimizer([1.0]), 1.0, 10, pct_start=0.1, cycle_momentum=False)


def test_a_schedule_wants_one_factor_or_one_for_each_group() -> None:
    with pytest.raises(ValueError, match="one for each of 3 groups; got 2"):
        Schedule(optimizer([1.0, 1.0, 1.0]), abs, abs)


# ---- the lesson builds the same things ----

BUILT = {
    "step_decay": (3, 0.5),
    "milestones": ([2, 5, 5], 0.5),
    "exponential": (0.9,),
    "constant": (0.25, 4),
    "linear": (0.1, 1.0, 7),
    "polynomial": (9, 2.0),
    "cosine": (8, 0.1),
    "restarts": (3, 2, 0.1),
    "one_cycle": (40, 0.04, 1.0, 1e-6),
}


@pytest.fixture(scope="module")
def lesson() -> dict[str, Any]:
    return cells("23", "imports", *PARTS)


PARTS = ["schedule-steps", "schedule-lines", "schedule-cosine", "schedule-restarts"]
PARTS += [
    "schedule-one-cycle",
    "schedule-sequence",
    "schedule-class",
    "better",
    "plateau",
    "lowered",
]


@pytest.mark.parametrize("name", BUILT)
def test_the_lessons_schedule_is_the_piece(name: str, lesson: dict[str, Any]) -> None:
    theirs, ours = lesson[name](*BUILT[name]), getattr(schedules, name)(*BUILT[name])
    assert [theirs(step) for step in range(40)] == [ours(step) for step in range(40)]


def test_the_lessons_sequence_and_product_are_the_pieces(lesson: dict[str, Any]) -> None:
    parts = schedules.linear(0.1, 1.0, 5), schedules.cosine(20)
    for name, setting in [("sequence", (parts, [5])), ("product", parts)]:
        theirs, ours = lesson[name](*setting), getattr(schedules, name)(*setting)
        assert [theirs(step) for step in range(40)] == [ours(step) for step in range(40)]


def test_the_lessons_schedule_class_is_the_piece(lesson: dict[str, Any]) -> None:
    one, other = optimizer([1.0, 0.1]), optimizer([1.0, 0.1])
    factors = schedules.cosine(9), schedules.exponential(0.5)
    theirs, ours = lesson["Schedule"](one, *factors), Schedule(other, *factors)
    for _ in range(12):
        assert rates_of(one) == rates_of(other)
        theirs.step()
        ours.step()


@pytest.mark.parametrize("kind", ["rel", "abs"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_lessons_rule_is_the_piece(mode: str, kind: str, lesson: dict[str, Any]) -> None:
    for seed in range(10):
        how = {"patience": seed % 4, "cooldown": seed % 3, "mode": mode, "kind": kind}
        theirs, ours, walk = (
            lesson["Plateau"](**how),
            Plateau(**how),
            losses(random.Random(seed), -1),
        )
        assert [theirs.cut(loss) for loss in walk] == [ours.cut(loss) for loss in walk]
    for setting in [(0.5,), (1e-8,), (0.5, 0.1, 0.2)]:
        assert lesson["lowered"](*setting) == lowered(*setting)


def test_weight_decay_of_sgd_is_that_of_adamw_without_momentum_and_ten_times_as_strong_with_it() -> (
    None
):
    """What the lesson says of a weight without gradient: 1,000 steps, rate 0.1, weight decay 0.1."""

    def left(make: Callable[..., Optimizer], **more: float) -> float:
        w = torch.ones(1, dtype=torch.float64, requires_grad=True)
        o = make([w], lr=0.1, weight_decay=0.1, **more)
        for _ in range(1000):
            w.grad = torch.zeros(1, dtype=torch.float64)
            o.step()
        return w.item()

    decoupled = left(torch.optim.AdamW)
    assert left(SGD) == pytest.approx(decoupled, rel=1e-9)
    assert math.log(decoupled) == pytest.approx(-0.01 * 1000, rel=0.01)
    assert abs(left(SGD, momentum=0.9)) < 1e-15
