"""Which wrong backwards does each known gradient check catch, and which right ones does it accuse?

Asked: the checks and the wrong backwards of lesson 21, as its cells define them, and the functions of the tests' grid
whose gradients are right. A function is taken if its inputs are real tensors, if it gives real tensors (several are
strung together) and if autograd differentiates it as a check calls it; modules are left out, since only some of the
checks look at parameters. All checks have the default numbers of their authors. The grid is ours, with hard cases on
purpose: its shares are no forecast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from definebyrun_course.pieces.repeat import widened
from tests.course.gradient_grid import RIGHT, Case
from tests.course.lesson_code import cells

CELLS = ("imports", "pieces", "op", "bugs-draw", "bugs-formulas", "bugs-more", "bugs-stale", "bugs")
CHECKS = ("check-tools", "check-more-tools", "check-cs231n", "check-others", "checks")
UNSEEN = ("right if square: (3, 3)", "right if positive: +++")
"""Where the wrong backward gives the right numbers: no check can see it there."""


def taken(case: Case) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]] | None:
    """A function of real tensors with one real output, or None for what not every check can be given."""
    function, inputs = case()
    if isinstance(function, nn.Module) or any(x.is_complex() or not x.numel() for x in inputs):
        return None

    def single(*xs: Tensor) -> Tensor:
        found = widened(function(*xs), None)
        return found[0] if len(found) == 1 else torch.cat([y.reshape(-1) for y in found])

    leaves = [x.detach().clone().requires_grad_() * 1 for x in inputs]
    with torch.no_grad():
        try:
            real = not single(*[x.detach().clone() for x in inputs]).is_complex()
        except RuntimeError:  # a gradient inside: not to be had under no_grad
            return None
    return (single, inputs) if real and single(*leaves).requires_grad else None


def run() -> dict[str, Any]:
    """For each check, the wrong backwards that it catches and the right functions that it accuses."""
    lesson = cells("21", *CELLS, *CHECKS)
    bugs, checks, caught = lesson["bugs"], lesson["CHECKS"], lesson["caught"]
    right = {name: found for name, case in RIGHT.items() if (found := taken(case))}
    return {
        "seeds": "fixed in the lesson and in the grid",
        "unseen": UNSEEN,
        "right": list(right),
        "caught": {c: [n for n in bugs if caught(f, *bugs[n])] for c, f in checks.items()},
        "accused": {c: [n for n in right if caught(f, *right[n])] for c, f in checks.items()},
    }
