"""Exercise `piecewise_step`: one step on a batch that comes in unequal pieces with ignored labels, clipped once."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
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
    shown,
    tried,
)
from ..networks import mlp

__all__ = ["EXERCISE"]

Pieces = list[tuple[Tensor, Tensor]]
IGNORED = -100
FAR = 1e6
"""A limit that no gradient here reaches."""
CASES: tuple[tuple[str, float, float | None], ...] = (
    ("x", FAR, None),
    ("x", 0.1, None),
    ("xx", FAR, 2.0),
    ("x.", FAR, None),
    ("xx xx", FAR, None),
    ("x xxx", FAR, None),
    ("xx.. xx", FAR, -1.0),
    ("xxx x..", 0.05, None),
    ("xx ...", FAR, None),
    ("... xx .xx", 0.05, 3.0),
)
"""Pieces, one letter for each row (a dot: its label is ignored), the limit, and what stands in `.grad` before."""


def _start(
    text: str, stale: float | None, draw: Drawn, dtype: torch.dtype
) -> tuple[nn.Module, optim.Optimizer, Pieces]:
    net = mlp(draw, 3, 4, 3, dtype=dtype)
    for p in net.parameters():
        p.grad = None if stale is None else torch.full_like(p, stale)
    pieces = []
    for part in text.split():
        labels = [draw.whole(0, 2) if letter == "x" else IGNORED for letter in part]
        pieces.append((draw.normal(len(part), 3).to(dtype) * 2, torch.tensor(labels)))
    return net, _optimizer(net), pieces


def _optimizer(net: nn.Module) -> optim.Optimizer:
    return optim.SGD(net.parameters(), lr=0.5, momentum=0.5)


def check_piecewise_step(train_step: Callable[..., Any]) -> None:
    """`train_step(net, optimizer, pieces, limit)` takes one step and gives the norm before clipping."""
    for dtype in (torch.float64, torch.float32):
        for case in CASES:
            _ask(train_step, *case, Drawn(len(case[0])), dtype)
    draw = drawn()
    _ask(train_step, "xxx. ..x xx", 0.2, 1.0, draw, torch.float64, f" ({draw})")


def _ask(
    train_step: Any,
    text: str,
    limit: float,
    stale: float | None,
    draw: Drawn,
    dtype: torch.dtype,
    seed: str = "",
) -> None:
    net, optimizer, pieces = _start(text, stale, draw, dtype)
    start, twin, unclipped = (deepcopy(net) for _ in range(3))
    wanted = _step(twin, _optimizer(twin), pieces, limit)
    _step(unclipped, _optimizer(unclipped), pieces, FAR)
    where = f"for pieces {' | '.join(text.split())} (a dot: ignored), limit {limit:g}{seed}"
    where += "" if stale is None else f", {stale:g} everywhere in .grad before"
    norm = forms.number(train_step(net, optimizer, pieces, limit), "The norm")
    _norm_is_right(norm, wanted, start, pieces, limit, stale, where)
    if _same(net, twin):
        return
    known = {
        "no weight has moved": (start, "One step of the optimizer is taken."),
        "the weights are where a step that is not clipped leads": (
            unclipped,
            "What does the optimizer find in .grad when it steps?",
        ),
    }
    for words, (other, hint) in known.items():
        expect(not _same(net, other), f"The norm is right, and {words}, {where}.", hint)
    (name, p), right = next(zip(net.named_parameters(), twin.parameters(), strict=True))
    expect(
        False,
        f"The norm is right, and {name} becomes {shown(p.flatten()[:3])} …, "
        f"not {shown(right.flatten()[:3])} …, {where}.",
        "One step, and one factor for all parameters together.",
    )


def _same(net: nn.Module, other: nn.Module) -> bool:
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    return all(near(p, q, rtol=1e-4, atol=1e-6) for p, q in pairs)


def _norm_is_right(
    norm: float,
    wanted: float,
    net: nn.Module,
    pieces: Pieces,
    limit: float,
    stale: float | None,
    where: str,
) -> None:
    if near(norm, wanted, rtol=1e-4):
        return
    expect(
        norm == norm,
        f"The norm is nan, {where}.",
        "A mean over no label is 0 / 0. What is a sum over none?",
    )
    expect(
        not near(norm, min(wanted, limit), rtol=1e-4),
        f"The norm is {norm:.4g}, which is what clipping has left; before it the norm was {wanted:.4g}, {where}.",
        "What does clip_grad_norm_ return?",
    )
    rows = sum(len(y) for _, y in pieces)
    count = sum(int((y != IGNORED).sum()) for _, y in pieces)
    known = {
        rows / count: "Rows whose label is ignored are counted.",
        1 / count: "The gradient of a sum is so much larger than that of a mean.",
    }
    for ratio, hint in known.items():
        expect(
            not near(norm * ratio, wanted, rtol=1e-4),
            f"The norm is {norm:.4g}, {norm / wanted:.4g} times the whole batch's, {where}.",
            hint,
        )
    others: dict[str, tuple[dict[str, Any], str]] = {
        "of the mean of the pieces' means": (
            {"own": True},
            "A label in a small piece counts more there.",
        ),
        "of the last piece alone": ({"clear": "inside"}, "When is .grad cleared?"),
    }
    for words, (switch, hint) in others.items():
        other = deepcopy(net)
        found = _step(other, _optimizer(other), pieces, FAR, **switch)
        expect(
            not near(norm, found, rtol=1e-4),
            f"The norm is {norm:.4g}, which is that {words}; the whole batch's is {wanted:.4g}, {where}.",
            hint,
        )
    expect(
        stale is None,
        f"The norm is {norm:.4g} where .grad was not empty before; the batch's is {wanted:.4g}, {where}.",
        "What was there before does not count.",
    )
    expect(
        False,
        f"The norm is {norm:.4g}; the gradient of the mean over {counted(count, 'label')} has {wanted:.4g}, {where}.",
        "Where was it measured: on the whole batch's gradient, and before anything changed it?",
    )


# ---- answers ----


def _step(
    net: nn.Module, optimizer: optim.Optimizer, pieces: Pieces, limit: float, **switches: Any
) -> Any:
    """The solution, with its usual mistakes as switches."""
    clear, clip = switches.get("clear", "before"), switches.get("clip", "once")
    count = sum(int((y != IGNORED).sum()) for _, y in pieces)
    over = {"labels": count, "rows": sum(len(y) for _, y in pieces), "nothing": 1}[
        switches.get("over", "labels")
    ]
    norm: Any = 0.0
    if clear == "before":
        optimizer.zero_grad()
    for x, y in pieces:
        if clear == "inside":
            optimizer.zero_grad()
        if switches.get("means"):
            loss = F.cross_entropy(net(x), y) / len(pieces)
        elif switches.get("own"):
            loss = (
                F.cross_entropy(net(x), y, reduction="sum")
                / max(int((y != IGNORED).sum()), 1)
                / len(pieces)
            )
        else:
            loss = F.cross_entropy(net(x), y, reduction="sum") / over
        loss.backward()
        if clip == "inside":
            norm = nn.utils.clip_grad_norm_(net.parameters(), limit)
        if switches.get("steps"):
            optimizer.step()
    if clip == "value":
        norm = nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])
        nn.utils.clip_grad_value_(net.parameters(), limit)
    elif clip == "each":
        norm = nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])
        for p in net.parameters():
            nn.utils.clip_grad_norm_([p], limit)
    elif clip == "once":
        norm = nn.utils.clip_grad_norm_(net.parameters(), limit)
    elif clip == "late":
        optimizer.step()
        norm = nn.utils.clip_grad_norm_(net.parameters(), limit)
    elif clip == "never":
        norm = nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])
    if switches.get("left"):
        norm = min(norm.item(), limit)
    if not switches.get("steps") and clip != "late" and not switches.get("idle"):
        optimizer.step()
    return None if switches.get("silent") else float(norm)


def _whole(net: nn.Module, optimizer: optim.Optimizer, pieces: Pieces, limit: float) -> Tensor:
    """The batch in one piece, its gradients asked for, the norm taken by hand."""
    x, y = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    parameters = list(net.parameters())
    grads = torch.autograd.grad(F.cross_entropy(net(x), y), parameters)
    norm = torch.cat([g.flatten() for g in grads]).norm()
    for p, g in zip(parameters, grads, strict=True):
        p.grad = g
    nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    optimizer.step()
    return norm


def _selected(net: nn.Module, optimizer: optim.Optimizer, pieces: Pieces, limit: float) -> float:
    """Ignored rows are taken out before anything is computed."""
    kept = [(x[y != IGNORED], y[y != IGNORED]) for x, y in pieces]
    total = sum(len(y) for _, y in kept)
    optimizer.zero_grad(set_to_none=False)
    for x, y in kept:
        if len(y):
            (F.cross_entropy(net(x), y) * (len(y) / total)).backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), limit).item()
    optimizer.step()
    return norm


WRONG = {
    "the mean of means": ({"means": True}, "of the pieces' means"),
    "the mean of means, without nan": ({"own": True}, "of the pieces' means"),
    "over all rows": ({"over": "rows"}, "Rows whose label is ignored are counted"),
    "a sum": ({"over": "nothing"}, "2 times the whole batch's"),
    "cleared between pieces": ({"clear": "inside"}, "of the last piece alone"),
    "never cleared": ({"clear": "never"}, "where .grad was not empty before"),
    "clipped after each piece": ({"clip": "inside"}, "the gradient of the mean over 4 labels"),
    "clipped after the step": ({"clip": "late"}, "a step that is not clipped"),
    "not clipped": ({"clip": "never"}, "a step that is not clipped"),
    "each element clipped": ({"clip": "value"}, "and 0.weight becomes"),
    "each parameter clipped": ({"clip": "each"}, "and 0.weight becomes"),
    "the norm after clipping": ({"left": True}, "which is what clipping has left"),
    "a step for each piece": ({"steps": True}, "a step that is not clipped"),
    "no step": ({"idle": True}, "no weight has moved"),
    "nothing returned": ({"silent": True}, "The norm is a number"),
}


def oracle(train_step: Callable[..., Any]) -> Any:
    """The norm and the weights after two steps, for many batches."""

    def told(text: str, limit: float, stale: float | None, dtype: torch.dtype) -> Any:
        net, optimizer, pieces = _start(text, stale, Drawn(len(text)), dtype)
        norms = [float(train_step(net, optimizer, pieces, limit)) for _ in range(2)]
        return [norms, [p.detach() for p in net.parameters()]]

    more = (
        ("xxx", 1e-3, 1.0),
        ("x x x x", 0.3, None),
        (".x .x ..", FAR, None),
        ("xxxxxxx .", 0.2, -1.0),
    )
    return [
        tried(told, *case, dtype)
        for case in (*CASES, *more)
        for dtype in (torch.float64, torch.float32)
    ]


EXERCISE = Exercise(
    "piecewise_step",
    "One step on the whole batch, however it was cut.",
    check_piecewise_step,
    tuple(Wrong(name, partial(_step, **switch), says) for name, (switch, says) in WRONG.items()),
    right=(Right("in one piece", _whole), Right("ignored rows taken out", _selected)),
    may_change=(0, 1),
    oracle=oracle,
)
