"""Exercise `unequal_pieces`: one training step on a large batch that comes in unequal pieces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from ...grading import (
    Drawn,
    Exercise,
    Right,
    Wrong,
    apart,
    counted,
    drawn,
    expect,
    forms,
    near,
    tried,
)
from ..networks import mlp

__all__ = ["EXERCISE"]

Pieces = list[tuple[Tensor, Tensor]]
SHARE = "Count the labels of all pieces first: each label that counts has one share of the mean."


class Net(nn.Module):
    """A small network that notes the sizes of its batches, and how many of its graphs are alive."""

    def __init__(self, draw: Drawn, *norms: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(mlp(draw, 3, 4, 4), *norms)
        self.sizes: list[int] = []
        self.alive = self.most = 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        self.sizes.append(len(x))
        if y.requires_grad:
            self.alive += 1
            self.most = max(self.most, self.alive)
            y.register_hook(self._gone)
        return y

    def _gone(self, grad: Tensor) -> None:
        self.alive -= 1


class Counting(SGD):
    """SGD with momentum that counts its steps."""

    steps = 0

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        self.steps += 1
        return super().step(closure)


def pieces(draw: Drawn, sizes: tuple[int, ...], ignored: tuple[int, ...] = ()) -> Pieces:
    """Pieces of so many rows; so many of each one's labels do not count."""
    found = []
    for i, size in enumerate(sizes):
        labels = torch.tensor([draw.whole(0, 3) for _ in range(size)])
        labels[: ignored[i] if ignored else 0] = -100
        found.append((draw.normal(size, 3) * (3 if i == 0 else 1), labels))
    return found


CASES: tuple[tuple[str, tuple[int, ...], tuple[int, ...], float], ...] = (
    ("one piece", (3,), (), 1e9),
    ("two equal pieces", (2, 2), (), 1e9),
    ("pieces of 8 and 2", (8, 2), (), 1e9),
    ("pieces of 1, 1 and 5", (1, 1, 5), (), 1e9),
    ("equal pieces with labels that do not count", (4, 4), (3, 0), 1e9),
    ("a piece in which nothing counts", (2, 3), (2, 1), 1e9),
    ("pieces whose joint gradient is clipped", (5, 2, 3), (), 0.02),
    ("pieces of which each would be clipped more", (2, 6), (1, 0), 0.3),
)


def check_unequal_pieces(train_step: Callable[..., Any]) -> None:
    """`train_step(model, optimizer, pieces, max_norm)` is one step on all pieces together."""
    for words, sizes, ignored, limit in CASES:
        _judge(train_step, Drawn(5), words, sizes, ignored, limit)
    _judge_nothing(train_step)
    _judge_norm(train_step)
    draw = drawn()
    sizes = tuple(draw.whole(1, 5) for _ in range(3))
    _judge(train_step, draw, f"pieces of {sizes} ({draw})", sizes, (), draw.whole(1, 9) / 10)


def joined(
    model: nn.Module, optimizer: Optimizer, all_pieces: Pieces, limit: float
) -> tuple[float, float]:
    """The step on the joined batch: its loss, and the norm of its gradient."""
    x, y = (torch.cat(parts) for parts in zip(*all_pieces, strict=True))
    optimizer.zero_grad()
    loss = cross_entropy(model.body(x), y)  # type: ignore[operator]
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), limit))
    optimizer.step()
    return loss.item(), norm


def _judge(
    train_step: Any,
    draw: Drawn,
    words: str,
    sizes: tuple[int, ...],
    ignored: tuple[int, ...],
    limit: float,
) -> None:
    model = Net(draw)
    twin = Net(Drawn(0))
    twin.load_state_dict(model.state_dict())
    optimizer, other = (
        Counting(model.parameters(), 0.3, momentum=0.9),
        Counting(twin.parameters(), 0.3, momentum=0.9),
    )
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 5.0)
    for nth in (1, 2, 3):
        batch = pieces(draw, sizes, ignored)
        loss, norm = joined(twin, other, batch, limit)
        model.sizes.clear()
        found = forms.number(train_step(model, optimizer, batch, limit), "The loss")
        where = f"for {words}" + (f", at call {nth}" if nth > 1 else "")
        expect(
            model.sizes == list(sizes),
            f"The model saw batches of {model.sizes}, {where}; the pieces have {list(sizes)}.",
            "Each piece once, as it comes.",
        )
        expect(
            model.most <= 1,
            f"{counted(model.most, 'graph')} of pieces were alive at once, {where}.",
            "backward inside the loop lets go of a piece's graph before the next is built.",
        )
        expect(
            optimizer.steps == nth,
            f"The optimizer made {counted(optimizer.steps, 'step')} in {counted(nth, 'call')}, {where}.",
            "One step for all pieces together.",
        )
        texts = apart(found, loss)
        expect(
            near(found, loss, 1e-7),
            f"The loss is {texts[0]}; that of the joined batch is {texts[1]}, {where}.",
            SHARE,
        )
        total = torch.cat(
            [p.grad.flatten() for p in model.parameters() if p.grad is not None] or [torch.zeros(1)]
        )
        want = torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None])
        ratio = float(total.norm() / want.norm())
        expect(
            total.shape == want.shape and near(total, want, 1e-7, 1e-12),
            f"The gradient has {ratio:.4g} times the norm of the joined batch's, which is {norm:.3g} before it is "
            f"clipped to {limit:g}, {where}.",
            SHARE
            if limit > 1
            else "The joined batch is clipped once, when all of its gradient is there.",
        )
        same = all(
            near(a, b, 1e-7, 1e-12)
            for a, b in zip(model.parameters(), twin.parameters(), strict=True)
        )
        expect(
            same,
            f"The parameters are not those of the step on the joined batch, {where}.",
            "Clip, then step.",
        )


def _judge_nothing(train_step: Any) -> None:
    """No label counts: no step, a loss of 0."""
    model = Net(Drawn(1))
    optimizer = Counting(model.parameters(), 0.3)
    before = [p.detach().clone() for p in model.parameters()]
    found = forms.number(
        train_step(model, optimizer, pieces(Drawn(2), (2, 1), (2, 1)), 1.0), "The loss"
    )
    same = all(map(torch.equal, model.parameters(), before))
    expect(
        found == 0 and same and not optimizer.steps,
        f"When no label counts, the loss is {found:g}, with "
        f"{counted(optimizer.steps, 'step')}; 0 and none are asked for.",
        "What is divided by, then?",
    )


def _judge_norm(train_step: Any) -> None:
    """Batch normalisation is refused in training mode, of any kind; not where it is frozen."""

    def trained(*norms: nn.Module, training: bool = True) -> int:
        """How many steps are made; -1 where a ValueError is raised."""
        model = Net(Drawn(1), *norms)
        model.training = training
        optimizer = Counting(model.parameters(), 0.3)
        try:
            train_step(model, optimizer, pieces(Drawn(2), (4, 2)), 1.0)
        except ValueError:
            return -1
        return optimizer.steps

    flat = nn.BatchNorm1d(4).double()
    channels = nn.BatchNorm2d(4).double()
    for norms in ((flat,), (nn.Unflatten(1, (4, 1, 1)), channels, nn.Flatten())):
        kind = "BatchNorm1d" if norms[0] is flat else "BatchNorm2d"
        expect(
            trained(*norms) == -1,
            f"A model with {kind} in training mode raises no ValueError.",
            "Pieces have statistics of their own: no weights make them those of the joined batch.",
        )
    flat.eval()
    for training, words in ((False, "like the whole model"), (True, "the rest in training mode")):
        expect(
            trained(flat, training=training) == 1,
            f"A model with batch normalisation in evaluation mode, {words}, is not trained.",
            "Whose statistics are used then?",
        )


# ---- right answers ----


def _refuse(model: nn.Module) -> None:
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in model.modules()):
        raise ValueError("batch normalisation sees pieces")


def by_sums(model: nn.Module, optimizer: Optimizer, pieces: Pieces, max_norm: float) -> float:
    _refuse(model)
    total = sum(int((y != -100).sum()) for _, y in pieces)
    if not total:
        return 0.0
    optimizer.zero_grad()
    loss = 0.0
    for x, y in pieces:
        part = cross_entropy(model(x), y, reduction="sum") / total
        part.backward()
        loss += part.item()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss


def scaled_at_the_end(
    model: nn.Module, optimizer: Optimizer, pieces: Pieces, max_norm: float
) -> float:
    """Sums first; what they are divided by, and the factor of clipping, come at the end."""
    _refuse(model)
    parameters = list(model.parameters())
    sums, count, loss = [torch.zeros_like(p) for p in parameters], 0, 0.0
    for x, y in pieces:
        counts = y.ge(0)
        each = cross_entropy(model(x), y, reduction="none")[counts].sum()
        for s, g in zip(sums, torch.autograd.grad(each, parameters), strict=True):
            s += g
        count, loss = count + int(counts.sum()), loss + float(each.detach())
    if count == 0:
        return 0.0
    norm = float(torch.stack([s.norm() for s in sums]).norm()) / count
    factor = max_norm / (norm + 1e-6) if norm + 1e-6 > max_norm else 1.0
    for p, s in zip(parameters, sums, strict=True):
        p.grad = s * (factor / count)
    optimizer.step()
    return loss / count


# ---- wrong answers ----


def _step(
    model: nn.Module, optimizer: Optimizer, pieces: Pieces, max_norm: float, mistake: str = ""
) -> Any:
    if mistake in ("BatchNorm1d only", "the mode of the model", "even when frozen"):
        kind = nn.BatchNorm1d if mistake == "BatchNorm1d only" else nn.modules.batchnorm._BatchNorm
        for m in model.modules():
            training = (model if mistake == "the mode of the model" else m).training
            if isinstance(m, kind) and (training or mistake == "even when frozen"):
                raise ValueError("batch normalisation")
    elif mistake == "no error" and any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
        return 0.0
    elif mistake != "batch norm":
        _refuse(model)
    counts = [int((y != -100).sum()) for _, y in pieces]
    rows = [len(y) for _, y in pieces]
    if not sum(counts) and mistake != "nothing counts":
        return 0.0
    if mistake == "joined":
        x, y = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        pieces, counts, rows = [(x, y)], [sum(counts)], [len(y)]
    if mistake != "old gradients":
        optimizer.zero_grad()
    losses: list[Any] = []
    for i, (x, y) in enumerate(pieces):
        if mistake == "zero_grad inside":
            optimizer.zero_grad()
        loss = cross_entropy(model(x), y, reduction="sum") / max(counts[i], 1)
        if mistake == "a mean of nothing":
            loss = cross_entropy(model(x), y) if not losses else loss
        share = counts[i] / max(sum(counts), 1)
        share = {
            "divided by the pieces": 1 / len(pieces),
            "by rows": rows[i] / sum(rows),
            "means added": 1.0,
            "as if full": rows[i] / max(rows) / len(pieces),
        }.get(mistake, share)
        losses.append(loss * share)
        if mistake not in ("one graph for all",):
            losses[-1].backward()
            losses[-1] = losses[-1].detach()
        if mistake == "each piece clipped":
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        if mistake == "a step for each":
            optimizer.step()
    if mistake == "one graph for all":
        sum(losses).backward()  # type: ignore[union-attr]
    if mistake != "not clipped":
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    if mistake != "a step for each":
        optimizer.step()
    last = float(losses[-1].detach()) / (counts[-1] / max(sum(counts), 1) or 1)
    return {"reports 1": 1.0, "reports the last": last}.get(
        mistake, float(torch.as_tensor(sum(losses)).detach())
    )


def _value(model: nn.Module, optimizer: Optimizer, pieces: Pieces, max_norm: float) -> Any:
    """Clips every entry instead of the norm."""
    inner = nn.utils.clip_grad_norm_
    try:
        nn.utils.clip_grad_norm_ = lambda p, n: nn.utils.clip_grad_value_(p, n)  # type: ignore[assignment]
        return _step(model, optimizer, pieces, max_norm)
    finally:
        nn.utils.clip_grad_norm_ = inner


SAYS = {
    "divided by the pieces": "is 1.663;",
    "by rows": "is 1.063;",
    "means added": "is 3.469;",
    "as if full": "is 1.073;",
    "one graph for all": "graphs of pieces were alive",
    "joined": "The model saw batches of",
    "each piece clipped": "has 1 times",
    "not clipped": "has 29.45",
    "zero_grad inside": "has 0.3508",
    "old gradients": "has 14.14",
    "a step for each": "The optimizer made 2 steps",
    "reports 1": "The loss is 1;",
    "reports the last": "is 1.739;",
    "batch norm": "A model with BatchNorm1d",
    "no error": "A model with BatchNorm1d",
    "BatchNorm1d only": "A model with BatchNorm2d",
    "even when frozen": "like the whole model, is not",
    "the mode of the model": "the rest in training mode, is not",
    "nothing counts": "When no label counts",
}


def oracle(train_step: Callable[..., Any]) -> Any:
    """Loss, parameters and gradients after three steps."""

    def told(sizes: tuple[int, ...], ignored: tuple[int, ...], limit: float) -> Any:
        draw = Drawn(sum(sizes))
        model = Net(draw)
        optimizer = Counting(model.parameters(), 0.3, momentum=0.9)
        found: list[Any] = []
        for _ in range(3):
            batch = pieces(draw, sizes, ignored)
            found.append(round(float(train_step(model, optimizer, batch, limit)), 5))
            found += [torch.round(p.detach(), decimals=4) + 0.0 for p in model.parameters()]
            found += [
                None if p.grad is None else torch.round(p.grad, decimals=4) + 0.0
                for p in model.parameters()
            ]
        return [found, model.sizes, model.most, optimizer.steps]

    wide = [(sizes, ignored, limit) for _, sizes, ignored, limit in CASES]
    wide += [((4, 1, 2, 3), (), limit) for limit in (1e9, 0.5, 1e-3)] + [((3, 3), (3, 2), 0.1)]
    found: list[Any] = [tried(told, *each) for each in wide]
    for test in (_judge_nothing, _judge_norm):
        found.append(tried(lambda test=test: test(train_step)))
    return found


EXERCISE = Exercise(
    "unequal_pieces",
    "One step, one clip, and every label that counts has the same share.",
    check_unequal_pieces,
    (
        *(Wrong(name, partial(_step, mistake=name), says) for name, says in SAYS.items()),
        Wrong("clipped by value", _value, "has 5.348"),
    ),
    right=(
        Right("sums divided by the count", by_sums),
        Right("scaled at the end", scaled_at_the_end),
    ),
    may_change=(0, 1),
    oracle=oracle,
)
