"""Canonical texts of small runs, kept as files and read by people: `python tests/test_golden.py` writes them anew."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import definebyrun as dbr
from tests.programs import Cube

PLACE = Path(__file__).parent / "golden"


def reuse() -> dbr.Tape:
    a = torch.tensor(3.0, requires_grad=True)
    with dbr.record() as tape:
        b = a * a
        c = b + a
        c.backward()
    return tape


def views_and_writes() -> dbr.Tape:
    w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with dbr.record() as tape:
        x = w * 2
        first = x[0]
        x[1:] = 0
        x.add_(1)
        loss = (first * x).sum()
        loss.backward()
        with torch.no_grad():
            w[0] = 7
    return tape


def training_step() -> dbr.Tape:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters(), start=1):
            parameter.fill_(number / 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    x, y = torch.tensor([[1.0, -1.0], [2.0, 0.5]]), torch.ones(2, 1)
    with dbr.record() as tape:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return tape


def custom_function() -> dbr.Tape:
    w = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        y = Cube.apply(w)
        y.backward()
    return tape


def checkpointed() -> dbr.Tape:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        y = checkpoint(lambda x: (x * 2).exp(), w, use_reentrant=True)
        y.backward()
    return tape


def double_backward() -> dbr.Tape:
    x = torch.tensor(2.0, requires_grad=True)
    with dbr.record() as tape:
        y = x**3
        (slope,) = torch.autograd.grad(y, x, create_graph=True)
        slope.backward()
    return tape


def several_outputs() -> dbr.Tape:
    x = torch.tensor([[1.0, 5.0], [4.0, 2.0]], requires_grad=True)
    with dbr.record() as tape:
        values = x.max(dim=1).values
        low, high = values.unbind()
        (low * 2 + high).backward()
    return tape


def regions() -> dbr.Tape:
    w = torch.tensor(1.0, requires_grad=True)
    with dbr.record() as tape:
        a = w.detach() * w
        with torch.no_grad():
            c = w * 2
        with torch.inference_mode():
            c = w * 3
            c.add_(1)
        a.backward()
    return tape


def rolled_up() -> dbr.Tape:
    w = torch.tensor(0.5, requires_grad=True)
    with dbr.record() as tape:
        h = torch.tensor(1.0)
        for _ in range(50):
            h = torch.tanh(h * w)
        h.backward()
    return tape.fold(repeats=True)


def stopped() -> dbr.Tape:
    w = torch.ones(2, requires_grad=True)
    try:
        with dbr.record() as tape:
            y = w * 2
            y @ torch.ones(3)
    except RuntimeError:
        pass
    return tape


def compared() -> dbr.Tape:
    def run(number: float) -> dbr.Tape:
        x = torch.tensor(number, requires_grad=True)
        with dbr.record() as tape:
            y = x * 2 if x > 0 else x.exp()
            y.backward()
        return tape

    return dbr.compare(run(3.0), run(-3.0))


def drawn() -> dbr.Tape:
    a, b = (torch.tensor(float(n), requires_grad=True) for n in (2, 3))
    return dbr.draw((a * b + a).sin())


RUNS = (
    *(reuse, views_and_writes, training_step, custom_function, checkpointed, double_backward),
    *(several_outputs, regions, rolled_up, stopped, compared, drawn),
)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_the_text_of_a_run_is_the_one_that_was_read(run: Callable[[], dbr.Tape]) -> None:
    kept = (PLACE / f"{run.__name__}.txt").read_text("utf8")
    assert run().text() + "\n" == kept


def test_every_file_belongs_to_a_run() -> None:
    assert {path.stem for path in PLACE.iterdir()} == {run.__name__ for run in RUNS}


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for run in RUNS:
        (PLACE / f"{run.__name__}.txt").write_text(run().text() + "\n", "utf8")
    print(f"{len(RUNS)} texts are in {PLACE}: read what has changed.", file=sys.stderr)
