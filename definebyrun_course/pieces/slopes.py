"""Is this number the slope of that function? A scalar function and a claimed derivative go in, a `Verdict` comes out.

The function is measured at a ladder of falling steps, so that truncation, rounding, kinks and jumps show by how they
change from rung to rung. Plain floats; no torch, no gradients: those are in `checker`. Written out in lesson 20.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

__all__ = [
    "REASONS",
    "Estimate",
    "Rung",
    "Verdict",
    "extrapolate",
    "judge",
    "relative_error",
    "rungs",
]

RATIO = 3.3
"""From rung to rung the step falls by this factor; not a whole number, so that no period of a sine hides in it."""
RUNGS = 24
CALM_SHARE = 0.6
"""A calm bend falls to this share or less: to 0.30 of itself where f is smooth, to 0.55 for `|x|**1.5`."""
CALM_SLOPE = 1e-7
"""A bend below this share of the slope is calm as well: f is straight here, as far as ten digits say."""
NOISE_GRAINS = 20
"""A rise below so many rounding errors of f is not read."""
DEPTH = 3
"""So many times is extrapolated: the error then falls with the eighth power of the step."""
LUCK = 0.3
"""Two neighbours may agree by luck: an estimate bears this share of the doubt of the rung below."""
SEEN = 10
"""Only a difference of so many times the estimated error counts as seen."""
JUMP_GROWTH, STEEP_GROWTH = 8, 1.5
"""Over two rungs a jump's slope grows by 10.9, a cube root's by 4.9, a smooth one's by 1."""
JUMP_SHARE = 1e-6
"""A jump moves f by more than this share of the largest move seen; a smaller one may be rounding."""
KINK_DRIFT, KINK_SHARE = 0.2, 1e-5
"""At a kink the bend stays within a fifth over two rungs, and is more than this share of the slope."""
KINK_EDGE = 0.51
"""A kink excuses a claim this far from its middle, in bends: 0.5 is either slope, and a hundredth for rounding."""
READABLE = 1e-6
"""A rung is readable if rounding hides less than this share of its slope."""
REASONS = {
    "kink": "the slopes left and right differ, however small the step",
    "jump": "f does not move less when the step does: it jumps here",
    "steep": "the slope grows without bound as the step falls",
    "stairs": "right from afar, flat from near: f moves in small stairs",
    "hidden": "rounding hides a slope of this size",
    "smooth": "no two steps agree on a slope, or f is not finite on both sides",
}


@dataclass(frozen=True)
class Rung:
    """The two one-sided slopes at one step: `forward` from x to x + step, `backward` from x - step to x."""

    step: float
    forward: float
    backward: float

    @property
    def central(self) -> float:
        """The central difference: the mean of both sides."""
        return (self.forward + self.backward) / 2

    @property
    def bend(self) -> float:
        """By how much the sides differ: falls with the step where f is smooth, stays at a kink, grows at a jump."""
        return self.forward - self.backward


@dataclass(frozen=True)
class Estimate:
    """A measured slope, how far it may be off, and the smallest step that went into it."""

    value: float
    error: float
    step: float


@dataclass(frozen=True)
class Verdict:
    """`status` is agrees, wrong, kink, jump or undecided; `error` is relative, `resolution` what could be seen."""

    status: str
    claimed: float
    measured: float
    error: float
    resolution: float
    step: float
    reason: str = ""


def relative_error(a: float, b: float, floor: float = 0.0) -> float:
    """How far two numbers are apart, compared to the larger; below `floor` compared to the floor instead.

    >>> relative_error(3.0, 4.0), relative_error(0.0, 1e-12, floor=1e-6)
    (0.25, 1e-06)
    """
    if a == b:
        return 0.0
    error = abs(a - b) / max(abs(a), abs(b), floor)
    return error if math.isfinite(error) else math.inf


def rungs(rise: Callable[[float], float], start: float) -> Iterator[Rung]:
    """The ladder: `rise(t)` is f(x + t) - f(x); rungs where f has no finite value are left out.

    >>> next(rungs(lambda t: 3 * t, 0.01)).central
    3.0
    """
    for k in range(RUNGS):
        h = start / RATIO**k
        up, down = rise(h), rise(-h)
        if math.isfinite(up) and math.isfinite(down):
            yield Rung(h, up / h, -down / h)


def calm(now: Rung, before: Rung, grain: float) -> bool:
    """Whether the sides grow together from one rung to the next, as they do where f is smooth."""
    noise = 4 * grain / now.step
    small = max(CALM_SHARE * abs(before.bend), noise, CALM_SLOPE * steepest(now))
    return abs(now.bend) <= small


def extrapolations(ladder: Sequence[Rung], grain: float) -> list[Estimate]:
    """Ridders' table: central differences extrapolated to step 0, each with the error that its neighbours suggest.

    `grain` is the rounding error of one value of `rise`. C. J. F. Ridders, Advances in Engineering Software 4 (1982).
    """
    found, row = [], []
    for k, rung in enumerate(ladder):
        new, noise = [rung.central], 2 * grain / rung.step
        for j in range(1, min(k, DEPTH) + 1):
            gain = (ladder[k - j].step / rung.step) ** 2 - 1
            new.append(new[-1] + (new[-1] - row[j - 1]) / gain)
            off = max(abs(new[j] - new[j - 1]), abs(new[j] - row[j - 1]), noise)
            if k > 1 and calm(rung, ladder[k - 1], grain):
                found.append(Estimate(new[j], off, rung.step))
        row = new
    return found


def extrapolate(ladder: Sequence[Rung], grain: float) -> Estimate | None:
    """The best of the extrapolations; one small error among large ones is luck, so the next rung down is asked too."""
    found = extrapolations(ladder, grain)
    least: dict[float, float] = {}
    for e in found:
        least[e.step] = min(e.error, least.get(e.step, math.inf))
    steps = sorted(least)
    below = dict(zip(steps[1:], steps, strict=False))
    doubted = []
    for e in found:
        doubt = LUCK * least[below.get(e.step, e.step)]
        doubted.append(Estimate(e.value, max(e.error, doubt), e.step))
    return min(doubted, key=lambda e: e.error, default=None)


def corner(ladder: Sequence[Rung], grain: float) -> str:
    """What the lowest rungs that rounding leaves readable say of the point: smooth, kink, jump or steep."""
    top = max((steepest(rung) * rung.step for rung in ladder), default=0.0)
    floor = max(NOISE_GRAINS * grain, 1e-9 * top)  # a rise below this may be rounding
    seen = [rung for rung in ladder if steepest(rung) * rung.step > floor][-3:]
    if len(seen) < 3:
        return "smooth"
    first, last = seen[0], seen[-1]
    growth = steepest(last) / steepest(first)
    if growth > STEEP_GROWTH:
        large = steepest(last) * last.step > JUMP_SHARE * top
        return "jump" if growth > JUMP_GROWTH and large else "steep"
    same = abs(last.bend - first.bend) < KINK_DRIFT * abs(last.bend)
    return "kink" if same and abs(last.bend) > KINK_SHARE * steepest(last) else "smooth"


def steepest(rung: Rung) -> float:
    """The larger of the two one-sided slopes."""
    return max(abs(rung.forward), abs(rung.backward))


def judge(
    claimed: float,
    rise: Callable[[float], float],
    start: float,
    grain: float,
    tolerance: float,
    zero: float = 0.0,
) -> Verdict:
    """Climb down the ladder until the claim is confirmed; if it never is, say what the ladder shows instead.

    A claim agrees when it is off by at most `tolerance` of its size, or by less than the measurement can see; where
    that hides the claim itself, it agrees only below `zero`, the slope that counts as none. At a kink the status is
    "kink" for a claim between its two slopes, and "wrong" for any other.

    >>> import math
    >>> judge(1.0, math.sin, 0.01, 2e-16, 1e-5).status, judge(1.1, math.sin, 0.01, 2e-16, 1e-5).status
    ('agrees', 'wrong')
    >>> judge(0.0, abs, 0.01, 0.0, 1e-5).status
    'kink'
    >>> judge(1.5, abs, 0.01, 0.0, 1e-5).status
    'wrong'
    """
    ladder: list[Rung] = []
    for rung in rungs(rise, start):
        ladder.append(rung)
        best = extrapolate(ladder[-6:], grain)
        verdict = compare(claimed, best, tolerance) if best else None
        sure = verdict and verdict.resolution <= tolerance
        if sure and verdict.status == "agrees":
            return verdict
        noise = NOISE_GRAINS * grain / rung.step
        if noise > max(steepest(rung), abs(claimed), NOISE_GRAINS * zero):
            break  # from here on there is only rounding
    return explain(claimed, ladder, grain, tolerance, zero)


def explain(
    claimed: float, ladder: Sequence[Rung], grain: float, tolerance: float, zero: float
) -> Verdict:
    """The verdict of a whole ladder: kink or jump, if it ends in one; else on the best slope, if there is one."""
    best, kind = extrapolate(ladder, grain), corner(ladder, grain)
    readable = [r for r in ladder if grain / r.step <= READABLE * steepest(r)]
    low = [Rung(math.nan, math.nan, math.nan), *ladder[:1], *readable][-1]
    if kind == "kink" and abs(claimed - low.central) > KINK_EDGE * abs(low.bend):
        kind, best = "smooth", best or Estimate(low.central, 0.0, low.step)
    if kind == "smooth" and best:
        verdict = compare(claimed, best, tolerance)
        kind = doubt(verdict, ladder, grain, tolerance, zero)
        if not kind:
            return verdict
    status = kind if kind in ("kink", "jump") else "undecided"
    numbers = claimed, low.central, math.nan, math.inf, low.step
    return Verdict(status, *numbers, REASONS[kind])


def doubt(
    verdict: Verdict, ladder: Sequence[Rung], grain: float, tolerance: float, zero: float
) -> str:
    """Why a verdict on a smooth ladder is none after all; empty if it is one."""
    if verdict.status == "agrees":
        size = max(abs(verdict.claimed), abs(verdict.measured))
        unseen = verdict.resolution > 0.5 and verdict.resolution * size > zero
        return "hidden" if unseen else ""
    flat = sum(steepest(rung) == 0 for rung in ladder)
    afar = extrapolate(ladder[:-flat], grain) if flat else None
    said = compare(verdict.claimed, afar, tolerance).status if afar else ""
    return "stairs" if said == "agrees" else ""


def compare(claimed: float, measured: Estimate, tolerance: float) -> Verdict:
    """A claim against a measurement; what the measurement cannot see is the floor of the relative error."""
    seen = SEEN * measured.error
    size = max(abs(claimed), abs(measured.value))
    error = relative_error(claimed, measured.value, seen / tolerance)
    status = "agrees" if error <= tolerance else "wrong"
    resolution = max(seen / size, 0.1 * tolerance) if size else 0.0
    numbers = claimed, measured.value, error, resolution, measured.step
    return Verdict(status, *numbers)
