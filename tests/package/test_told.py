"""What is said of small runs: text, sentences, table, cards, arrows, clusters, what each step lights up.

Kept as files and read by people; `python -m tests.package.test_told` writes them anew.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import definebyrun as dbr
from definebyrun.cards.clusters import Cluster
from definebyrun.cards.model import Card, Link, State
from definebyrun.text.compared import sentences, tabulate
from definebyrun.text.table import Table
from tests.programs import Cube

PLACE = Path(__file__).parent / "told"


def arithmetic() -> dbr.Tape:
    """Every kind of local derivative: elementwise, broadcast, by keyword, of a result, of an input."""
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = torch.tensor([[3.0, -4.0], [0.5, 6.0]], requires_grad=True)
    with dbr.record() as tape:
        c = (a * b - 2 * a) / b
        d = (3 - c).relu() + c * c
        e = torch.sub(d, a, alpha=2).pow(2)
        loss = (e @ a).mean() - a.exp().sum() + torch.dot(a, a) * 0.5
        loss.backward()
    return tape


def matrices() -> dbr.Tape:
    torch.manual_seed(0)
    x = torch.tensor([[1.0, -1.0]], requires_grad=True)
    w, b = (torch.full(shape, 0.5, requires_grad=True) for shape in ((3, 2), (3,)))
    with dbr.record() as tape:
        h = nn.functional.linear(x, w, b).tanh()
        parts = torch.cat([h, h[:, :1]], dim=1).view(2, 2).t()
        torch.stack([parts.sum(0), parts.mean(1)]).softmax(0)[0].sum().backward()
    return tape


def kinds_of_values() -> dbr.Tape:
    """Numbers that are no numbers, whole ones, complex ones, large and empty tensors."""
    with dbr.record() as tape:
        holes = torch.tensor([1.0, float("nan"), -2.0, float("inf")])
        nothing = holes * float("nan")
        many = torch.linspace(-1, 2, 60).reshape(20, 3)
        gaps = torch.where(many > 0, many, float("nan"))
        equal = torch.full((30,), 2.5)
        rough = torch.linspace(-1.2345e-7, 9.8765e-9, 50)
        whole = torch.arange(40)
        signs = many > 0
        wave = torch.tensor([1 + 2j, 3 - 0.5j])
        empty = torch.zeros(0, 3)
    assert [nothing, gaps, equal, rough, whole, signs, wave, empty]
    return tape


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x * self.scale)


def network() -> dbr.Tape:
    model = nn.Sequential(Inner(), nn.Tanh(), Inner())
    x = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        y = model(x) + x
        y.backward()
    return tape


def folded() -> dbr.Tape:
    return network().fold(modules=0)


def partly_folded() -> dbr.Tape:
    return network().fold(modules=1)


def rolled_up() -> dbr.Tape:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        h, total = torch.tensor(1.0), torch.tensor(0.0)
        for _ in range(5):
            h = torch.tanh(h * w)
            total = total + h
        total.backward()
    return tape.fold(repeats=True)


def rolled_up_alone() -> dbr.Tape:
    """A block of a single operation, between two others."""
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        h = w.exp()
        for _ in range(4):
            h = h * w
        h.sin().backward()
    return tape.fold(repeats=True)


def trained() -> dbr.Tape:
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.5, -0.25]]))
        model.bias.zero_()
    optimizer, x = torch.optim.SGD(model.parameters(), lr=0.5), torch.tensor([[1.0, -1.0]])
    with dbr.record() as tape:
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(x).pow(2).sum()
            loss.backward()
            optimizer.step()
    return tape.fold(repeats=True)


def written() -> dbr.Tape:
    w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with dbr.record() as tape:
        x = w * 2
        first = x[0]
        x[1:] = 0
        x.add_(1)
        (first * x).sum().backward()
        with torch.no_grad():
            w[0] = 7
    return tape


def accumulated() -> dbr.Tape:
    """Several passes into one leaf, which holds a gradient already, and a leaf that is not reached."""
    w, v = torch.tensor(2.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    w.grad = torch.tensor(10.0)
    with dbr.record() as tape:
        y = w * w
        y.backward(retain_graph=True)
        y.backward()
        w.grad = None
        (w + v.detach()).backward()
    return tape


class Halve(torch.autograd.Function):
    """One operation forward, one backward."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x / 2

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
        return grad / 2


def custom_functions() -> dbr.Tape:
    w = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        y = Halve.apply(Cube.apply(w))
        y.backward()
    return tape


def hooked() -> dbr.Tape:
    w = torch.tensor(3.0, requires_grad=True)
    with dbr.record() as tape:
        y = w * 2
        y.register_hook(lambda grad: grad * 10)
        (y + w).backward()
    return tape


def recomputed() -> dbr.Tape:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        checkpoint(lambda x: (x * 2).exp(), w, use_reentrant=False).backward()
    return tape


def second_derivative() -> dbr.Tape:
    x = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        y = x**3 + x * x
        (slope,) = torch.autograd.grad(y, x, create_graph=True)
        (slope * slope).backward()
    return tape


def second_derivative_by_backward() -> dbr.Tape:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with warnings.catch_warnings(), dbr.record() as tape:
        warnings.simplefilter("ignore")  # the cycle that it warns of is cut below
        (x * x * x).sum().backward(create_graph=True)
        assert x.grad is not None
        x.grad.sum().backward()
    x.grad = None
    return tape


def several_outputs() -> dbr.Tape:
    x = torch.tensor([[1.0, 5.0], [4.0, 2.0]], requires_grad=True)
    with dbr.record() as tape:
        values, where = x.max(dim=1)
        low, high = values.unbind()
        (low * 2 + high * where.sum()).backward()
    return tape


def compared() -> dbr.Tape:
    """Two runs of one function: another value, another operation, a step that passes on to one more."""

    def run(number: float) -> dbr.Tape:
        x = torch.tensor(number, requires_grad=True)
        w = torch.tensor(2.0, requires_grad=number > 0)
        with dbr.record() as tape:
            y = x * w
            z = y.exp() if y > 0 else y - 1
            z.backward()
        return tape

    return dbr.compare(run(0.5), run(-3.0), names=("plus", "minus"))


def drawn() -> dbr.Tape:
    a, b = (torch.tensor(float(n), requires_grad=True) for n in (2, 3))
    kept = a * b
    return dbr.draw((kept + a).sin() + kept)


RUNS = (
    *(arithmetic, matrices, kinds_of_values, folded, partly_folded, rolled_up, rolled_up_alone),
    *(trained, written, accumulated, custom_functions, hooked, recomputed, second_derivative),
    *(second_derivative_by_backward, several_outputs, compared, drawn),
)


def told(tape: dbr.Tape) -> str:
    """All of it but for geometry, and for the lines of this file."""
    cards, links, clusters = tape.view.drawn
    return "\n".join(
        [
            *(tape.text(), "", *sentences(tape.trace), "", table(tape), ""),
            *("cards", *map(told_part, cards), "", "arrows", *map(told_part, links), ""),
            *("clusters", *map(told_part, clusters), "", "steps", *lit(tape), ""),
        ]
    )


def table(tape: dbr.Tape) -> str:
    whole = tabulate(tape.trace)
    line = whole.columns.index("line")
    columns, *rows = (row[:line] + row[line + 1 :] for row in (whole.columns, *whole.rows))
    return repr(Table(columns, tuple(rows)))


def told_part(part: Card | Link | Cluster) -> str:
    """A record in one line: every field that has another value than by default."""
    said = []
    for each in fields(part):
        value = getattr(part, each.name)
        default = each.default_factory() if callable(each.default_factory) else each.default
        if value != default:
            states = isinstance(value, (list, tuple)) and value and isinstance(value[0], State)
            shown = " | ".join(f"{s.since}: {s.text}" for s in value) if states else value
            said.append(f"{each.name} {shown}")
    return "  " + ", ".join(said).replace("\n", "\\n")


def lit(tape: dbr.Tape) -> list[str]:
    """For each position of the player's slider: the cards and arrows that light up, and the bytes kept alive."""
    found = re.search(r'class="dbr-json">(.*?)</script>', tape.html())
    if found is None:  # a drawn graph is not played
        return []
    return [
        f"  {step['m']}, {'backward' if step['b'] else 'forward'}: {' '.join(step['c'] + step['e'])}"
        for step in json.loads(found[1])
    ]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_what_is_said_of_a_run_is_what_was_read(run: Callable[[], dbr.Tape]) -> None:
    assert told(run()) == (PLACE / f"{run.__name__}.txt").read_text("utf8")


def test_every_file_belongs_to_a_run() -> None:
    assert {path.stem for path in PLACE.iterdir()} == {run.__name__ for run in RUNS}


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for run in RUNS:
        (PLACE / f"{run.__name__}.txt").write_text(told(run()), "utf8")
    print(f"{len(RUNS)} files are in {PLACE}: read what has changed.", file=sys.stderr)
