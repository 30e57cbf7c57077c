"""A gradient checker: a function and the tensors it depends on go in, a `Report` says which gradients are right.

Makes the function repeatable (seeds, buffers, float64, fresh copies of what it may overwrite), asks autograd once,
measures with `slopes`, and restores everything. It checks strided tensors, first derivatives, and with
`check_second_gradients` second ones. Built up in lesson 20.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from .repeat import Repeatable, Slot, alike, first_line, flat, pairs, widened
from .report import WORST_FIRST, Finding, Report
from .slopes import REASONS, Verdict, judge

__all__ = ["Finding", "Report", "check_gradients", "check_second_gradients", "complex_step"]

START = 0.0123


def check_gradients(
    function: Callable[..., Any],
    *inputs: Any,
    parameters: nn.Module | dict[str, Tensor] | None = None,
    directions: int | None = None,
    seed: int = 0,
    tolerance: float | None = None,
) -> Report:
    """Hold autograd's gradients of `function(*inputs)` against measured slopes.

    Checked are the inputs with `requires_grad`, and the `parameters`: those of a module (by default of `function`,
    if it is one) or a dict of leaves. `directions=None` measures every entry; a number measures that many random
    directions in each tensor instead, at a cost that does not grow with its size. `tolerance` is relative: 1e-5, or
    1e-2 where the function cannot be run in float64. Raises ValueError if nothing asks for a gradient.

    >>> x = torch.tensor([0.5, 1.5], requires_grad=True)
    >>> check_gradients(torch.sin, x).status
    'agrees'
    >>> check_gradients(lambda x: x * x.detach(), x)
    WRONG
    input 0: 2 wrong
      autograd -0.735, measured -1.47 at [0], relative error 5e-01
    """
    if directions is not None and directions < 1:
        raise ValueError(f"directions counts random directions, at least 1; got {directions}.")
    with Repeatable(function, inputs, parameters, seed) as run:
        if not run.slots:
            raise ValueError(
                "Nothing to check: no floating-point input or parameter has requires_grad=True."
            )
        loose = run.eps > 1e-10
        return examine(run, run.values, directions, tolerance or (1e-2 if loose else 1e-5))


def examine(
    run: Repeatable,
    values: list[Tensor],
    directions: int | None,
    tolerance: float,
    beside: bool = False,
) -> Report:
    """The check itself, at these values of the slots; once more beside them where something is suspicious."""
    before = [t.detach() for t in run(values)]
    if not all(t.isfinite().all() for t in before):
        return refused(run, "the function is not finite here")
    if not alike(before, run(values), 0.0):
        return refused(
            run, "two evaluations under one seed differ: fix what they depend on, then check again"
        )
    weights = cotangent(before, run.seed)
    claims, complaint = run.gradients(values, weights)
    if complaint:
        return refused(run, complaint, "wrong")
    findings = []
    for nth, slot in enumerate(run.slots):
        verdicts = {}
        for entry, direction in ways(values[nth], directions, run.seed):
            verdicts[entry] = along(
                run, values, nth, direction, claims[nth], weights, before, tolerance
            )
        findings.append(summary(slot, verdicts, directions is None))
    if not beside and any(f.status in ("wrong", "kink", "jump") for f in findings):
        second = examine(run, nudged(values, run.seed), directions, tolerance, beside=True)
        findings = [
            compared(here, there) for here, there in zip(findings, second.findings, strict=True)
        ]
    return Report(tuple(findings), tuple(run.notes))


def along(
    run: Repeatable,
    values: list[Tensor],
    nth: int,
    direction: Tensor,
    claim: Tensor,
    weights: list[Tensor],
    before: list[Tensor],
    tolerance: float,
) -> Verdict:
    """The verdict on one direction in one slot: the derivative of the weighted outputs at step 0."""
    x, trouble = flat(values[nth]), []
    base = [flat(t).double() for t in before]

    def rises(t: float) -> Tensor:
        moved = [
            *values[:nth],
            (x + t * direction).reshape(pairs(values[nth]).shape),
            *values[nth + 1 :],
        ]
        if values[nth].is_complex():
            moved[nth] = torch.view_as_complex(moved[nth].contiguous())
        try:
            after = run(moved)
        except (ValueError, ArithmeticError, RuntimeError) as error:
            trouble.append(f"{type(error).__name__} at step {t:.1e}: {first_line(error)}")
            return torch.tensor([math.nan])
        if [t.shape for t in after] != [t.shape for t in before]:
            trouble.append("the output changes its shape")
            return torch.tensor([math.nan])
        both = zip(weights, after, base, strict=True)
        return torch.cat([w * (flat(b.detach()).double() - a) for w, b, a in both])

    slope = float(flat(claim).double() @ direction.double())
    size = math.sqrt(float((x * direction).double().square().sum()))
    grain = sum(float(w.abs() @ a.abs()) for w, a in zip(weights, base, strict=True))
    scale, zero = max(1.0, size), 1e-8 * grain
    grain = run.eps * (grain + (abs(slope) * size if math.isfinite(slope) else 0.0))
    verdict = judge(
        slope, lambda t: float(rises(t).sum()), START * scale, grain, tolerance, zero / scale
    )
    if verdict.status == "wrong" and between(slope, rises, scale):
        return replace(verdict, status="kink", reason=REASONS["kink"])
    if trouble and verdict.status == "undecided":
        return replace(verdict, reason=trouble[0])
    return verdict


def between(slope: float, rises: Callable[[float], Tensor], scale: float) -> bool:
    """Whether the outputs, each with a kink of its own, leave room for this claim: their sum may hide the kinks."""
    widths = []
    for step in (1e-5 * scale, 1e-6 * scale):
        up, down = rises(step) / step, -rises(-step) / step
        low, high = float(torch.minimum(up, down).sum()), float(torch.maximum(up, down).sum())
        if not low - 1e-3 * (high - low) <= slope <= high + 1e-3 * (high - low):
            return False
        widths.append(high - low)
    return 0.9 < widths[0] / widths[1] < 1.1 if widths[1] > 0 else False


def ways(value: Tensor, directions: int | None, seed: int) -> Iterator[tuple[Any, Tensor]]:
    """Every entry's own direction, or `directions` random ones of length 1 (Gaussian: no error can hide in signs)."""
    x = flat(value)
    if directions is not None:
        draw = torch.Generator().manual_seed(seed)
        for nth in range(directions):
            d = torch.randn(len(x), generator=draw, dtype=torch.float64)
            yield nth, (d / d.norm()).to(x)
        return
    for nth, entry in enumerate(product(*map(range, pairs(value).shape))):
        yield entry, torch.zeros_like(x).index_fill_(0, torch.tensor(nth), 1.0)


def cotangent(outputs: list[Tensor], seed: int) -> list[Tensor]:
    """The random weights that make one number of all outputs: sizes from 0.5 to 1.5, either sign; 1 for one number."""
    if sum(flat(t).numel() for t in outputs) == 1:
        return [torch.ones(1, dtype=torch.float64)]
    draw = torch.Generator().manual_seed(seed)
    sizes = [torch.rand(2, flat(t).numel(), generator=draw, dtype=torch.float64) for t in outputs]
    return [(0.5 + size) * torch.where(sign < 0.5, -1.0, 1.0) for size, sign in sizes]


def summary(slot: Slot, verdicts: dict[Any, Verdict], entries: bool) -> Finding:
    """The worst of a tensor's verdicts, and how many there were of each kind."""
    if not verdicts:
        return Finding(
            slot.name,
            slot.shape,
            None,
            {},
            Verdict("agrees", 0.0, 0.0, 0.0, 0.0, 0.0, "it is empty"),
        )

    def badness(entry: Any) -> tuple[int, float]:
        v = verdicts[entry]
        return WORST_FIRST.index(v.status), -float(f"{v.error:.0e}") if math.isfinite(
            v.error
        ) else -1e300

    worst = min(verdicts, key=badness)
    statuses = [verdict.status for verdict in verdicts.values()]
    counts = {status: statuses.count(status) for status in WORST_FIRST if status in statuses}
    return Finding(slot.name, slot.shape, worst if entries else None, counts, verdicts[worst])


def compared(here: Finding, beside: Finding) -> Finding:
    """A suspicious finding in the light of the same check a little beside it."""
    verdict = here.verdict
    if here.status in ("kink", "jump") and beside.status == "wrong":
        words = f"at a {here.status}, and wrong beside it too"
        verdict = replace(beside.verdict, reason=words)
        return replace(beside, verdict=verdict)
    if here.status in ("kink", "jump") and beside.status == "agrees":
        verdict = replace(verdict, reason=f"{verdict.reason}; beside it the gradient agrees")
    if here.status == "wrong" and beside.status == "agrees":
        verdict = replace(verdict, reason="wrong at this point only; beside it the gradient agrees")
    return replace(here, verdict=verdict)


def nudged(values: list[Tensor], seed: int) -> list[Tensor]:
    """Values a hundredth beside these, each entry by another amount."""
    draw = torch.Generator().manual_seed(seed + 1)
    moved = []
    for value in values:
        off = torch.rand(2, *pairs(value).shape, generator=draw, dtype=torch.float64)
        step = (0.005 + 0.01 * off[0]) * torch.where(off[1] < 0.5, -1.0, 1.0)
        new = pairs(value) + step.to(pairs(value)) * (1 + pairs(value).abs())
        moved.append(torch.view_as_complex(new) if value.is_complex() else new)
    return moved


def refused(run: Repeatable, reason: str, status: str = "undecided") -> Report:
    """The report on a function that cannot be measured, or whose backward fails before it comes to numbers."""
    verdict = Verdict(status, math.nan, math.nan, math.nan, math.inf, math.nan, reason)
    return Report(
        tuple(Finding(s.name, s.shape, None, {status: 1}, verdict) for s in run.slots),
        tuple(run.notes),
    )


def check_second_gradients(function: Callable[..., Any], *inputs: Any, **options: Any) -> Report:
    """The same check on the backward pass itself: its gradients with respect to inputs, parameters and cotangents.

    >>> x = torch.tensor([0.5, 1.5], requires_grad=True)
    >>> check_second_gradients(torch.sin, x).status
    'agrees'
    """
    parameters = options.get("parameters", function if isinstance(function, nn.Module) else None)
    with Repeatable(function, inputs, parameters, options.get("seed", 0)) as run:
        outputs = run(run.values)
        named = list(run.parameters.values())
    leads = []
    for output, weight in zip(outputs, cotangent(outputs, 1), strict=True):
        shaped = weight.reshape(pairs(output.detach()).shape)
        leads.append(torch.view_as_complex(shaped) if output.is_complex() else shaped)

    def backward(*both: Any) -> list[Tensor]:
        given, leading = both[: len(inputs)], both[len(inputs) :]
        wanted = [x for x in (*given, *named) if isinstance(x, Tensor) and x.requires_grad]
        paired = zip(widened(function(*given), None), leading, strict=True)
        live = [(y, v.to(y.dtype)) for y, v in paired if y.requires_grad]
        if not live:
            return [torch.zeros_like(x) for x in wanted]
        ys, vs = zip(*live, strict=True)
        options = {"create_graph": True, "allow_unused": True, "materialize_grads": True}
        return list(torch.autograd.grad(ys, wanted, vs, **options))

    options["parameters"] = parameters
    return check_gradients(backward, *inputs, *(v.requires_grad_() for v in leads), **options)


def complex_step(
    function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, step: float = 1e-30
) -> Tensor:
    """The derivative of an analytic function along `direction`, without any subtraction: Im f(x + i h d) / h.

    Wrong without a word where `function` takes a modulus, a real part or compares; raises where torch cannot.
    W. Squire and G. Trapp, SIAM Review 40 (1998).

    >>> one = torch.ones((), dtype=torch.float64)
    >>> bool(complex_step(torch.exp, one, one) == torch.exp(one))
    True
    """
    z = torch.complex(x.double(), step * direction.double())
    return function(z).imag / step
