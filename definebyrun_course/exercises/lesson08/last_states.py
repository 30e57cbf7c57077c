"""Exercise `last_states`: the last states of a padded batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd, nn

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    drawn,
    expect,
    forms,
    near,
    shown,
    tried,
    untouched,
)
from ..graphs import passed
from ..mistakes import then
from ..models import filled

__all__ = ["EXERCISE"]

LastStates = Callable[[nn.RNNCell, Tensor, Tensor], Any]
PADDINGS = {"zeros": 0.0, "7": 7.0, "nan": float("nan"), "infinity": float("inf")}
SEEN = "What the cell has seen is in the graph, selected or not: nan times 0 is nan."


class Batch:
    """A padded batch, its lengths, and what each sequence gives alone."""

    def __init__(
        self,
        draw: Drawn,
        lengths: list[int],
        steps: int,
        padding: float,
        sizes: tuple[int, int] = (2, 3),
    ) -> None:
        dtype = torch.get_default_dtype()
        self.cell = filled(draw, nn.RNNCell(*sizes, dtype=dtype))
        with torch.no_grad():
            self.cell.weight_ih[0] = 1.5 * torch.tensor([1.0, -1.0, 1.0, -1.0])[: sizes[0]]
        self.lengths = torch.tensor(lengths)
        self.x = draw.normal(steps, len(lengths), sizes[0], dtype=dtype)
        self.real = torch.arange(steps)[:, None] < self.lengths
        self.x[~self.real] = padding

    def alone(self, x: Tensor) -> Tensor:
        """Each sequence by itself, without its padding."""
        states = []
        for number, length in enumerate(self.lengths.tolist()):
            h = x.new_zeros(1, self.cell.hidden_size)
            for step in range(length):
                h = self.cell(x[step, number][None], h)
            states.append(h[0])
        return torch.stack(states)


def check_last_states(last_states: LastStates) -> None:
    """`last_states(cell, batch, lengths)` gives each sequence's state after its last real step."""
    for lengths, steps in (
        ([1], 1),
        ([2], 3),
        ([1, 3], 3),
        ([3, 1, 2, 4], 5),
        ([2, 0, 3], 3),
        ([0], 2),
    ):
        for name, padding in PADDINGS.items():
            _judge(last_states, Batch(Drawn(1), lengths, steps, padding), name, "")
    draw = drawn()
    lengths = [draw.whole(0, 5) for _ in range(draw.whole(2, 4))]
    batch = Batch(draw, lengths, 6, float("nan"), (draw.whole(1, 4), draw.whole(5, 7)))
    _judge(last_states, batch, "nan", f" ({draw})")


def _judge(last_states: LastStates, batch: Batch, padding: str, source: str) -> None:
    lengths = batch.lengths.tolist()
    what = f"lengths {lengths} in {len(batch.x)} steps, padded with {padding}"
    plain_x = batch.x.clone().requires_grad_()
    want = batch.alone(plain_x)
    x = batch.x.clone().requires_grad_()
    with untouched(cell=batch.cell):
        found = last_states(batch.cell, x, batch.lengths)
    found = forms.tensor(found, "last_states", tuple(want.shape))
    for number, length in enumerate(lengths):
        expect(
            near(found[number], want[number], rtol=1e-4, atol=1e-6),
            f"For {what}, the state of sequence {number} is {shown(found[number])}; alone, without padding, "
            f"it comes to {shown(want[number])}{source}.",
            "A padded step has to leave the state as it was; before the first real one it is zero."
            if length
            else "A sequence without a real step has the first state, which is zero.",
        )
    parts = [*batch.cell.parameters(), x]
    weights = torch.arange(want.numel(), dtype=want.dtype).cos().reshape(want.shape)
    if not want.requires_grad:
        return
    expect(
        found.requires_grad,
        f"For {what}, no gradient can flow back{source}.",
        "Work with tensors that have a graph.",
    )
    theirs = autograd.grad(want, [*batch.cell.parameters(), plain_x], weights, allow_unused=True)
    ours = passed(lambda: autograd.grad(found, parts, weights, allow_unused=True), what, SEEN)
    names = [name for name, _ in batch.cell.named_parameters()] + ["the batch"]
    for name, one, two in zip(names, ours, theirs, strict=True):
        _judge_gradient(what, name, one, two, source)


def _judge_gradient(
    what: str, name: str, found: Tensor | None, want: Tensor | None, source: str
) -> None:
    want = torch.zeros(()) if want is None else want
    found = torch.zeros_like(want) if found is None else found
    bad = found[~found.isfinite()]
    expect(
        not len(bad),
        f"For {what}, the states are right, and the gradient of {name} holds {shown(bad[:1])[1:-1]}{source}.",
        SEEN,
    )
    expect(
        near(found, want, rtol=1e-3, atol=1e-5) or not (want.any() or found.any()),
        f"For {what}, the states are right, and the gradient of {name} is not that of the sequences alone{source}.",
        "Every real step has its part in the gradient, and no padded one.",
    )


# ---- answers ----


def run(
    cell: nn.RNNCell,
    batch: Tensor,
    lengths: Tensor,
    first: Callable[[Tensor], Tensor] = lambda h: h,
    alive: Callable[[int, Tensor], Tensor] = lambda step, lengths: step < lengths,
    seen: Callable[[Tensor, Tensor], Tensor] = lambda x, alive: torch.where(
        alive, x, torch.zeros_like(x)
    ),
    kept: Callable[[Tensor], Tensor] = lambda h: h,
) -> Tensor:
    """The solution with its usual mistakes as switches."""
    h = first(batch.new_zeros(batch.shape[1], cell.hidden_size))
    for step, x in enumerate(batch):
        on = alive(step, lengths)[:, None]
        h = torch.where(on, cell(seen(x, on), kept(h)), h)
    return h


def _every_step(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    h = batch.new_zeros(batch.shape[1], cell.hidden_size)
    for x in batch.nan_to_num(posinf=0.0):
        h = cell(x, h)
    return h


def _picked(cell: nn.RNNCell, batch: Tensor, lengths: Tensor, back: int = 1) -> Tensor:
    """All states; then the one of the last step, which is the last of all for a length of 0."""
    clean = torch.where(_real(batch, lengths)[..., None], batch, 0.0)
    h, states = batch.new_zeros(batch.shape[1], cell.hidden_size), []
    for x in clean:
        h = cell(x, h)
        states.append(h)
    return torch.stack(states)[(lengths - back).clamp(max=len(batch) - 1), range(len(lengths))]


def _as_numbers(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    """nan becomes 0, but infinity the largest number; and the choice is a product."""
    h = batch.new_zeros(batch.shape[1], cell.hidden_size)
    for step, x in enumerate(batch):
        on = (step < lengths)[:, None].to(x.dtype)
        h = on * cell(x.nan_to_num(), h) + (1 - on) * h
    return h


def _real(batch: Tensor, lengths: Tensor) -> Tensor:
    return torch.arange(len(batch))[:, None] < lengths


def _overwriting(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    batch.data[~_real(batch, lengths)] = 0.0
    return run(cell, batch, lengths)


def _one_step_at_least(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    return run(cell, batch.nan_to_num(posinf=0.0), lengths.clamp(min=1))


def _as_long_as_the_first(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    return run(cell, batch, lengths[:1].expand_as(lengths))


def _sorted(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    """The longest first, as packed sequences want it; the order is not put back."""
    order = lengths.argsort(descending=True)
    return run(cell, batch[:, order], lengths[order])


def _each_alone(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    """One sequence after the other, without a batch, and with a first state of the default dtype."""
    last = []
    for number, length in enumerate(lengths.tolist()):
        h = torch.zeros(cell.hidden_size)
        for x in batch[:length, number].unbind():
            h = cell(x, h)
        last.append(h)
    return torch.stack(last)


def _shrinking(cell: nn.RNNCell, batch: Tensor, lengths: Tensor) -> Tensor:
    """Only the sequences that still go on are handed to the cell."""
    h = torch.zeros(batch.shape[1], cell.hidden_size, dtype=batch.dtype)
    for step in range(int(lengths.max())):
        on = (lengths > step).nonzero()[:, 0]
        h = h.index_copy(0, on, cell(batch[step, on], h[on]))
    return h


def told(last_states: LastStates) -> Any:
    """The oracle: states and gradients for many lengths and paddings, and the batch afterwards."""
    found: list[Any] = []
    cases = [([1], 1), ([0], 1), ([2, 0, 3, 1], 4), ([7, 7], 7), ([1, 1, 1], 2)]
    for seed, (lengths, steps) in enumerate(cases):
        for padding in PADDINGS.values():
            for sizes in ((1, 1), (2, 5)):
                batch = Batch(Drawn(seed), lengths, steps, padding, sizes)
                x = batch.x.clone().requires_grad_()
                found.append(tried(lambda x, b=batch: last_states(b.cell, x, b.lengths), x))
                found.append(tried(_gradients, last_states, batch, x))
                found.append([batch.lengths.tolist(), [p.grad for p in batch.cell.parameters()]])
    return found


def _gradients(last_states: LastStates, batch: Batch, x: Tensor) -> Any:
    parts = [*batch.cell.parameters(), x]
    states = last_states(batch.cell, x, batch.lengths)
    if not (states.requires_grad or batch.lengths.any()):
        return [torch.zeros_like(p) for p in parts]
    grads = autograd.grad(states.square().sum(), parts, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parts, grads, strict=True)]


EXERCISE = Exercise(
    "last_states",
    "Padding leaves the state alone, and the gradient too.",
    check_last_states,
    (
        Wrong(
            "every step",
            _every_step,
            "lengths [2] in 3 steps, padded with zeros, the state of sequence 0",
        ),
        Wrong(
            "selected afterwards",
            lambda *a: run(*a, seen=lambda x, on: x),
            "and the gradient of weight_ih holds nan",
        ),
        Wrong(
            "one step more",
            lambda *a: run(*a, alive=lambda s, n: s <= n),
            "lengths [2] in 3 steps, padded with zeros, the state of sequence 0",
        ),
        Wrong(
            "one step less",
            lambda *a: run(*a, alive=lambda s, n: s + 1 < n),
            "lengths [1] in 1 steps, padded with zeros, the state",
        ),
        Wrong(
            "one step at least",
            _one_step_at_least,
            "lengths [2, 0, 3] in 3 steps, padded with zeros",
        ),
        Wrong("picked from all states", _picked, "lengths [2, 0, 3] in 3 steps, padded with zeros"),
        Wrong(
            "picked one too late",
            lambda *a: _picked(*a, back=0),
            "lengths [2] in 3 steps, padded with zeros, the state of sequence 0",
        ),
        Wrong("the first length for all", _as_long_as_the_first, "lengths [1, 3] in 3 steps"),
        Wrong("sorted", _sorted, "lengths [1, 3] in 3 steps"),
        Wrong(
            "a first state of ones",
            lambda *a: run(*a, first=torch.ones_like),
            "lengths [1] in 1 steps, padded with zeros, the state",
        ),
        Wrong(
            "cut at every step",
            lambda *a: run(*a, kept=lambda h: h.detach()),
            "not that of the sequences alone",
        ),
        Wrong("batch overwritten", _overwriting, "it was given: batch"),
        Wrong(
            "lengths overwritten",
            then(run, lambda c, b, lengths: lengths.zero_()),
            "it was given: lengths",
        ),
        Wrong("detached", lambda *a: run(*a).detach(), "no gradient can flow back"),
        Wrong(
            "(hidden, sequences)",
            lambda *a: run(*a).T,
            "returns the shape (1, 3) here; yours returned (3, 1)",
        ),
    ),
    right=(
        Right("each alone, zeros of the default dtype", _each_alone),
        Right("a batch that shrinks", _shrinking),
    ),
    oracle=told,
)
